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
	gone.ErrorCode = kerr.NotCoordinator.Code
	h.Groups.DeleteShareGroupOffsets(req, parked(c, gone))
}
