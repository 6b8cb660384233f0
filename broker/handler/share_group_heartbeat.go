package handler

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/coordinator/group"
)

// ShareGroupHeartbeat (key 76), version 1 (KIP-932).
//
// The answer that gives a member partitions comes when the group's states of them are there. Clients ask nobody for the share
// coordinator, so its topic is made here.
func (h *handlers) shareGroupHeartbeat(c *call.Call) {
	req := c.Request.(*kmsg.ShareGroupHeartbeatRequest)
	gone := req.ResponseKind().(*kmsg.ShareGroupHeartbeatResponse)
	gone.ErrorCode = kerr.NotCoordinator.Code
	if req.MemberEpoch >= 0 {
		h.shareState(c)
	}
	caller := group.Caller{ClientID: c.Header.ClientID, ClientHost: c.Peer.Host()}
	h.Groups.ShareGroupHeartbeat(caller, req, parked(c, gone))
}
