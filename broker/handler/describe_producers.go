package handler

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
)

// DescribeProducers (key 61), version 0 (KIP-664): the producers whose state a partition's leader keeps.
func (h *handlers) describeProducers(c *call.Call) {
	req := c.Request.(*kmsg.DescribeProducersRequest)
	resp := req.ResponseKind().(*kmsg.DescribeProducersResponse)
	image := h.Cluster.Image()
	for i := range req.Topics {
		rt := &req.Topics[i]
		out := kmsg.NewDescribeProducersResponseTopic()
		out.Topic = rt.Topic
		t := image.Topic(rt.Topic)
		for _, n := range eachOnce(rt.Partitions) {
			out.Partitions = append(out.Partitions, h.producersOf(rt.Topic, t, n))
		}
		resp.Topics = append(resp.Topics, out)
	}
	c.Reply(call.Response{Message: resp})
}

// eachOnce leaves out what was there before: an answer is as large as the state it shows, however often it is asked for.
func eachOnce(partitions []int32) []int32 {
	seen := make(map[int32]bool, len(partitions))
	return slices.DeleteFunc(slices.Clone(partitions), func(n int32) bool {
		again := seen[n]
		seen[n] = true
		return again
	})
}

func (h *handlers) producersOf(topic string, t *cluster.Topic, n int32) kmsg.DescribeProducersResponseTopicPartition {
	out := kmsg.NewDescribeProducersResponseTopicPartition()
	out.Partition = n
	if t == nil {
		err := unknownTopic(topic)
		out.ErrorCode, out.ErrorMessage = h.code(err, "describe producers"), reasonOf(err)
		if out.ErrorMessage == nil {
			out.ErrorMessage = &kerr.UnknownTopicOrPartition.Description
		}
		return out
	}
	p, err := h.partition(t, n)
	if err != nil {
		out.ErrorCode = h.code(err, "describe producers")
		return out
	}
	producers, err := p.Producers()
	out.ErrorCode = h.code(err, "describe producers")
	for _, s := range producers {
		rp := kmsg.NewDescribeProducersResponseTopicPartitionActiveProducer()
		rp.ProducerID, rp.ProducerEpoch = s.ID, int32(s.Epoch)
		rp.LastSequence, rp.LastTimestamp = s.LastSequence, s.LastTimestamp
		rp.CoordinatorEpoch, rp.CurrentTxnStartOffset = s.CoordinatorEpoch, s.CurrentTxnStart
		out.ActiveProducers = append(out.ActiveProducers, rp)
	}
	return out
}
