package handler

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
)

// OffsetDelete (key 47), version 0 (KIP-496).
func (h *handlers) offsetDelete(c *call.Call) {
	req := c.Request.(*kmsg.OffsetDeleteRequest)
	resp := req.ResponseKind().(*kmsg.OffsetDeleteResponse)
	image := h.Cluster.Image()
	asked := req.Topics
	req.Topics = nil // becomes what there is of it
	for _, t := range asked {
		there := image.Topic(t.Topic)
		told := kmsg.NewOffsetDeleteResponseTopic()
		told.Topic = t.Topic
		known := kmsg.OffsetDeleteRequestTopic{Topic: t.Topic}
		for _, p := range t.Partitions {
			answer := kmsg.NewOffsetDeleteResponseTopicPartition()
			answer.Partition = p.Partition
			if there != nil && p.Partition >= 0 && int(p.Partition) < len(there.Partitions) {
				known.Partitions = append(known.Partitions, p)
			} else {
				answer.ErrorCode = kerr.UnknownTopicOrPartition.Code
			}
			told.Partitions = append(told.Partitions, answer)
		}
		if len(told.Partitions) > 0 {
			resp.Topics = append(resp.Topics, told)
		}
		if len(known.Partitions) > 0 {
			req.Topics = append(req.Topics, known)
		}
	}
	if len(req.Topics) == 0 {
		c.Reply(call.Response{Message: resp})
		return
	}
	h.Groups.OffsetDelete(req, func(r *kmsg.OffsetDeleteResponse) {
		if r.ErrorCode != 0 {
			resp.ErrorCode, resp.Topics = r.ErrorCode, nil
		} else {
			mergeDelete(resp, r)
		}
		c.Reply(call.Response{Message: resp})
	})
}

// mergeDelete puts the coordinator's codes, which are in the order of what was handed to it, where they belong.
func mergeDelete(resp, from *kmsg.OffsetDeleteResponse) {
	var codes []int16
	for i := range from.Topics {
		for j := range from.Topics[i].Partitions {
			codes = append(codes, from.Topics[i].Partitions[j].ErrorCode)
		}
	}
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			if p := &resp.Topics[i].Partitions[j]; p.ErrorCode == 0 && len(codes) > 0 {
				p.ErrorCode, codes = codes[0], codes[1:]
			}
		}
	}
}
