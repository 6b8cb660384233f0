package handler

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
)

// ListOffsets (key 2), versions 1 to 11.
//
//	v2  isolation level        v4  leader epochs          v6  flexible           v7  largest timestamp (-3)
//	v8  earliest local (-4)    v9  latest tiered (-5)     v10 a timeout          v11 earliest pending upload (-6)
//
// There is no tiered storage, so everything is local, nothing is tiered, and no answer has to wait.
func (h *handlers) listOffsets(c *call.Call) {
	req := c.Request.(*kmsg.ListOffsetsRequest)
	resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
	image := h.Cluster.Image()
	named := timesNamed(req)
	for i := range req.Topics {
		rt := &req.Topics[i]
		out := kmsg.NewListOffsetsResponseTopic()
		out.Topic = rt.Topic
		out.Partitions = make([]kmsg.ListOffsetsResponseTopicPartition, 0, len(rt.Partitions))
		t := image.Topic(rt.Topic)
		for n := range rt.Partitions {
			rp := &rt.Partitions[n]
			at := topicPartition{rt.Topic, rp.Partition}
			switch times := named[at]; {
			case times == 1:
				out.Partitions = append(out.Partitions, h.listOffset(req, t, rp))
			case times > 1:
				out.Partitions = append(out.Partitions, h.noOffset(rp.Partition, kerr.InvalidRequest))
				named[at] = 0 // answered
			}
		}
		if len(out.Partitions) > 0 {
			resp.Topics = append(resp.Topics, out)
		}
	}
	c.Reply(call.Response{Message: resp})
}

type topicPartition struct {
	topic     string
	partition int32
}

func timesNamed(req *kmsg.ListOffsetsRequest) map[topicPartition]int {
	named := make(map[topicPartition]int, len(req.Topics))
	for i := range req.Topics {
		rt := &req.Topics[i]
		for n := range rt.Partitions {
			named[topicPartition{rt.Topic, rt.Partitions[n].Partition}]++
		}
	}
	return named
}

// sinceVersion is the version that brought each timestamp that is no time.
var sinceVersion = map[int64]int16{
	replica.Latest: 1, replica.Earliest: 1, replica.MaxTimestamp: 7, replica.EarliestLocal: 8, replica.LatestTiered: 9,
	replica.EarliestPendingUpload: 11,
}

func (h *handlers) listOffset(req *kmsg.ListOffsetsRequest, t *cluster.Topic, rp *kmsg.ListOffsetsRequestTopicPartition) kmsg.ListOffsetsResponseTopicPartition {
	if req.IsolationLevel < 0 || req.IsolationLevel > 1 {
		return h.noOffset(rp.Partition, kerr.UnknownServerError) // as Kafka
	}
	if since, special := sinceVersion[rp.Timestamp]; rp.Timestamp < 0 && (!special || req.Version < since) {
		return h.noOffset(rp.Partition, kerr.UnsupportedVersion)
	}
	p, err := h.partition(t, rp.Partition)
	if err != nil {
		return h.noOffset(rp.Partition, err)
	}
	epoch := int32(-1)
	if req.Version >= 4 {
		epoch = rp.CurrentLeaderEpoch
	}
	found, err := p.OffsetFor(rp.Timestamp, req.IsolationLevel == 1, epoch)
	if err != nil {
		return h.noOffset(rp.Partition, err)
	}
	out := kmsg.NewListOffsetsResponseTopicPartition()
	out.Partition = rp.Partition
	out.Offset, out.Timestamp, out.LeaderEpoch = found.Offset, found.Timestamp, found.LeaderEpoch
	return out
}

func (h *handlers) noOffset(partition int32, err error) kmsg.ListOffsetsResponseTopicPartition {
	out := kmsg.NewListOffsetsResponseTopicPartition()
	out.Partition, out.ErrorCode = partition, h.code(err, "list offsets")
	return out
}
