package handler

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
)

// DeleteGroups (key 42), versions 0 to 3.
//
//	v1  throttle time     v2  flexible     v3  error message
func (h *handlers) deleteGroups(c *call.Call) {
	h.Groups.DeleteGroups(c.Request.(*kmsg.DeleteGroupsRequest), func(r *kmsg.DeleteGroupsResponse) {
		c.Reply(call.Response{Message: r})
	})
}
