package handler

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
)

// DeleteShareGroupOffsets (key 92), version 0 (KIP-932).
func (h *handlers) deleteShareGroupOffsets(c *call.Call) {
	req := c.Request.(*kmsg.DeleteShareGroupOffsetsRequest)
	gone := req.ResponseKind().(*kmsg.DeleteShareGroupOffsetsResponse)
	if err := h.guardGroup(c, req.GroupID); err != nil {
		gone.ErrorCode, gone.ErrorMessage = h.code(err, "change a share group's offsets"), reasonOf(err)
		c.Reply(call.Response{Message: gone})
		return
	}
	gone.ErrorCode = kerr.NotCoordinator.Code
	h.Groups.DeleteShareGroupOffsets(req, parked(c, gone))
}
