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
	gone.ErrorCode = kerr.NotCoordinator.Code
	h.Groups.AlterShareGroupOffsets(req, parked(c, gone))
}
