package handler

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
)

// SyncGroup (key 14), versions 0 to 5.
//
//	v1  throttle time     v3  group instance id (KIP-345)     v4  flexible
//	v5  protocol type and name, checked and answered (KIP-559)
//
// The answer comes when the leader has sent the assignments.
func (h *handlers) syncGroup(c *call.Call) {
	req := c.Request.(*kmsg.SyncGroupRequest)
	gone := req.ResponseKind().(*kmsg.SyncGroupResponse)
	gone.ErrorCode = kerr.NotCoordinator.Code
	h.Groups.SyncGroup(req, parked(c, gone))
}
