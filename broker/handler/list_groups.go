package handler

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
)

// ListGroups (key 16), versions 0 to 5.
//
//	v1  throttle time     v3  flexible
//	v4  filter by state, states answered (KIP-518)     v5  filter by type, types answered (KIP-848)
//
// A broker lists the groups that it coordinates.
func (h *handlers) listGroups(c *call.Call) {
	h.Groups.ListGroups(c.Request.(*kmsg.ListGroupsRequest), func(r *kmsg.ListGroupsResponse) {
		c.Reply(call.Response{Message: r})
	})
}
