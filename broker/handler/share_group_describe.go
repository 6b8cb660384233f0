package handler

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
)

// ShareGroupDescribe (key 77), version 1 (KIP-932).
func (h *handlers) shareGroupDescribe(c *call.Call) {
	req := c.Request.(*kmsg.ShareGroupDescribeRequest)
	h.Groups.ShareGroupDescribe(req, func(r *kmsg.ShareGroupDescribeResponse) {
		for i := range r.Groups {
			if req.IncludeAuthorizedOperations && r.Groups[i].ErrorCode == 0 {
				r.Groups[i].AuthorizedOperations = groupOperations
			}
		}
		c.Reply(call.Response{Message: r})
	})
}
