package handler

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
)

// DescribeShareGroupOffsets (key 90), versions 0 to 1 (KIP-932).
//
//	v1  lag (KIP-1226)
func (h *handlers) describeShareGroupOffsets(c *call.Call) {
	req := c.Request.(*kmsg.DescribeShareGroupOffsetsRequest)
	gone := req.ResponseKind().(*kmsg.DescribeShareGroupOffsetsResponse)
	for i := range req.Groups {
		g := kmsg.NewDescribeShareGroupOffsetsResponseGroup()
		g.GroupID, g.ErrorCode = req.Groups[i].GroupID, kerr.NotCoordinator.Code
		gone.Groups = append(gone.Groups, g)
	}
	h.Groups.DescribeShareGroupOffsets(req, parked(c, gone))
}
