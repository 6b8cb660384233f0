package handler

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
)

// Heartbeat (key 12), versions 0 to 4.
//
//	v1  throttle time     v3  group instance id (KIP-345)     v4  flexible
func (h *handlers) heartbeat(c *call.Call) {
	h.Groups.Heartbeat(c.Request.(*kmsg.HeartbeatRequest), func(r *kmsg.HeartbeatResponse) {
		c.Reply(call.Response{Message: r})
	})
}
