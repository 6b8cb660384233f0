package handler

import (
	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/protocol/private"
)

// registerGroup answers RegisterGroup: a share group that is there before anybody reads with it.
func (h *handlers) registerGroup(c *call.Call) {
	req := c.Request.(*private.RegisterGroupRequest)
	// Coordinators' topics are made when they are first needed.
	h.coordinatorTopic(c.Context, coordinatorTopics[0])
	h.shareState(c)
	h.Groups.RegisterShareGroup(req.Group, req.TopicIDs, func(err error) {
		resp := &private.RegisterGroupResponse{ErrorCode: h.code(err, "register a share group")}
		if err != nil {
			resp.ErrorMessage = err.Error()
		}
		c.Reply(call.Response{Message: resp})
	})
}
