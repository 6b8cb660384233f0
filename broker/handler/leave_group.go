package handler

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
)

// LeaveGroup (key 13), versions 0 to 5.
//
//	v1  throttle time     v3  several members, also by instance id (KIP-345)
//	v4  flexible          v5  reason (KIP-800)
func (h *handlers) leaveGroup(c *call.Call) {
	h.Groups.LeaveGroup(c.Request.(*kmsg.LeaveGroupRequest), func(r *kmsg.LeaveGroupResponse) {
		c.Reply(call.Response{Message: r})
	})
}
