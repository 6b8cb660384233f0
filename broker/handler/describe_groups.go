package handler

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
)

// groupOperations is the bit field of what may be done to a group, by whom nobody restricts: READ, DELETE, DESCRIBE,
// DESCRIBE_CONFIGS, ALTER_CONFIGS (KIP-430).
const groupOperations = 1<<3 | 1<<6 | 1<<8 | 1<<10 | 1<<11

// DescribeGroups (key 15), versions 0 to 6.
//
//	v1  throttle time                         v3  authorised operations (KIP-430)
//	v4  group instance ids (KIP-345)          v5  flexible
//	v6  GROUP_ID_NOT_FOUND for a group that is not there, with a message (KIP-1043); before, state Dead without an error
func (h *handlers) describeGroups(c *call.Call) {
	req := c.Request.(*kmsg.DescribeGroupsRequest)
	h.Groups.DescribeGroups(req, func(r *kmsg.DescribeGroupsResponse) {
		for i := range r.Groups {
			if req.IncludeAuthorizedOperations && r.Groups[i].ErrorCode == 0 {
				r.Groups[i].AuthorizedOperations = groupOperations
			}
		}
		c.Reply(call.Response{Message: r})
	})
}
