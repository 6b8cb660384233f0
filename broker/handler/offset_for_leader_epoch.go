package handler

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
)

// OffsetForLeaderEpoch (key 23), versions 2 to 4: v3 names the replica that asks, v4 is flexible (KIP-101, KIP-320).
func (h *handlers) offsetForLeaderEpoch(c *call.Call) {
	req := c.Request.(*kmsg.OffsetForLeaderEpochRequest)
	resp := req.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
	image := h.Cluster.Image()
	for i := range req.Topics {
		rt := &req.Topics[i]
		out := kmsg.NewOffsetForLeaderEpochResponseTopic()
		out.Topic = rt.Topic
		out.Partitions = make([]kmsg.OffsetForLeaderEpochResponseTopicPartition, len(rt.Partitions))
		t := image.Topic(rt.Topic)
		for n := range rt.Partitions {
			rp, op := &rt.Partitions[n], &out.Partitions[n]
			op.Default()
			op.Partition = rp.Partition
			p, err := h.partition(t, rp.Partition)
			if err == nil {
				op.LeaderEpoch, op.EndOffset, err = p.EndOfEpoch(rp.LeaderEpoch, rp.CurrentLeaderEpoch)
			}
			op.ErrorCode = h.code(err, "find the end of an epoch")
		}
		resp.Topics = append(resp.Topics, out)
	}
	c.Reply(call.Response{Message: resp})
}
