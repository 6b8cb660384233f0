package handler

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
)

// DeleteGroups (key 42), versions 0 to 3.
//
//	v1  throttle time     v2  flexible     v3  error message
func (h *handlers) deleteGroups(c *call.Call) {
	req := c.Request.(*kmsg.DeleteGroupsRequest)
	var refused []kmsg.DeleteGroupsResponseGroup
	open := *req
	open.Groups = nil
	for _, name := range req.Groups {
		err := h.guardGroup(c, name)
		if err == nil {
			open.Groups = append(open.Groups, name)
			continue
		}
		out := kmsg.NewDeleteGroupsResponseGroup()
		out.Group, out.ErrorCode = name, h.code(err, "delete group")
		if req.Version >= 3 {
			out.ErrorMessage = reasonOf(err)
		}
		refused = append(refused, out)
	}
	h.Groups.DeleteGroups(&open, func(r *kmsg.DeleteGroupsResponse) {
		r.Groups = append(r.Groups, refused...)
		c.Reply(call.Response{Message: r})
	})
}
