package handler

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
)

// AlterShareGroupOffsets (key 91), version 0 (KIP-932).
func (h *handlers) alterShareGroupOffsets(c *call.Call) {
	req := c.Request.(*kmsg.AlterShareGroupOffsetsRequest)
	gone := req.ResponseKind().(*kmsg.AlterShareGroupOffsetsResponse)
	if err := h.guardGroup(c, req.GroupID); err != nil {
		gone.ErrorCode, gone.ErrorMessage = h.code(err, "change a share group's offsets"), reasonOf(err)
		c.Reply(call.Response{Message: gone})
		return
	}
	h.coordinatorTopic(c.Context, coordinatorTopics[shareType]) // the group may be new, and the first
	gone.ErrorCode = kerr.NotCoordinator.Code
	h.Groups.AlterShareGroupOffsets(req, parked(c, gone))
}
