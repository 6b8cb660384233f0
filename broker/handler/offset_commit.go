package handler

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
)

// OffsetCommit (key 8), versions 2 to 10.
//
//	v2-4  retention time                                   v5  the broker's retention only (KIP-211)
//	v3    throttle time                                    v6  leader epoch (KIP-320)
//	v7    group instance id (KIP-345)                      v8  flexible
//	v9    GROUP_ID_NOT_FOUND, STALE_MEMBER_EPOCH (KIP-848)
//	v10   topic ids instead of names (KIP-848), UNKNOWN_TOPIC_ID
func (h *handlers) offsetCommit(c *call.Call) {
	req := c.Request.(*kmsg.OffsetCommitRequest)
	resp := req.ResponseKind().(*kmsg.OffsetCommitResponse)
	image := h.Cluster.Image()
	asked := req.Topics
	req.Topics = nil // becomes what there is of it
	for i := range asked {
		told, known := commitTopic(image, req.Version, &asked[i])
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
	h.Groups.OffsetCommit(req, func(r *kmsg.OffsetCommitResponse) {
		mergeCommit(resp, r)
		c.Reply(call.Response{Message: resp})
	})
}

// commitTopic splits a topic of a request: told is the answer for all its partitions, with UNKNOWN errors where they belong,
// known what of it exists.
func commitTopic(image *cluster.Image, version int16, asked *kmsg.OffsetCommitRequestTopic) (told kmsg.OffsetCommitResponseTopic, known kmsg.OffsetCommitRequestTopic) {
	told = kmsg.NewOffsetCommitResponseTopic()
	told.Topic, told.TopicID = asked.Topic, asked.TopicID
	var t *cluster.Topic
	unknown := kerr.UnknownTopicOrPartition.Code
	if version >= 10 {
		if t = image.TopicByID(asked.TopicID); t == nil {
			unknown = kerr.UnknownTopicID.Code
		}
	} else {
		t = image.Topic(asked.Topic)
	}
	if t != nil {
		known.Topic, known.TopicID = t.Name, t.ID
	}
	for _, p := range asked.Partitions {
		there := kmsg.NewOffsetCommitResponseTopicPartition()
		there.Partition = p.Partition
		if t != nil && p.Partition >= 0 && int(p.Partition) < len(t.Partitions) {
			known.Partitions = append(known.Partitions, p)
		} else {
			there.ErrorCode = unknown
		}
		told.Partitions = append(told.Partitions, there)
	}
	return told, known
}

// mergeCommit puts the coordinator's codes, which are in the order of what was handed to it, where they belong.
func mergeCommit(resp, from *kmsg.OffsetCommitResponse) {
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
