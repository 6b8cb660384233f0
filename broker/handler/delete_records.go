package handler

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
)

// DeleteRecords (key 21), versions 0 to 2: v2 is flexible. It moves the start of partitions' logs and answers where they start
// now; -1 means the high watermark. What clients may not delete are the coordinators' records.
func (h *handlers) deleteRecords(c *call.Call) {
	req := c.Request.(*kmsg.DeleteRecordsRequest)
	resp := req.ResponseKind().(*kmsg.DeleteRecordsResponse)
	image := h.Cluster.Image()
	for i := range req.Topics {
		rt := &req.Topics[i]
		if len(rt.Partitions) == 0 {
			continue
		}
		out := kmsg.NewDeleteRecordsResponseTopic()
		out.Topic = rt.Topic
		out.Partitions = make([]kmsg.DeleteRecordsResponseTopicPartition, 0, len(rt.Partitions))
		t := image.Topic(rt.Topic)
		last := make(map[int32]int, len(rt.Partitions))
		for n := range rt.Partitions {
			last[rt.Partitions[n].Partition] = n
		}
		for n := range rt.Partitions {
			rp := &rt.Partitions[n]
			if last[rp.Partition] != n {
				continue // of a partition named twice the last counts, as in Kafka
			}
			op := kmsg.NewDeleteRecordsResponseTopicPartition()
			start, err := int64(-1), guardTopic(c, rt.Topic)
			if err == nil {
				start, err = h.deleteRecordsTo(t, rp.Partition, rp.Offset)
			}
			op.Partition, op.LowWatermark, op.ErrorCode = rp.Partition, start, h.code(err, "delete records")
			out.Partitions = append(out.Partitions, op)
		}
		resp.Topics = append(resp.Topics, out)
	}
	c.Reply(call.Response{Message: resp})
}

func (h *handlers) deleteRecordsTo(t *cluster.Topic, n int32, offset int64) (start int64, err error) {
	if t != nil && t.Internal {
		return -1, kerr.InvalidTopicException
	}
	p, err := h.partition(t, n)
	if err != nil {
		return -1, err
	}
	if start, err = p.DeleteRecords(offset); err != nil {
		return -1, err
	}
	return start, nil
}
