package handler

import (
	"iter"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
)

// DescribeTopicPartitions (key 75), version 0 (KIP-966): topics in pages. Topics come by name, a page ends after as many
// partitions as the client or max.request.partition.size.limit allows, and the cursor says where the next one begins.
func (h *handlers) describeTopicPartitions(c *call.Call) {
	req := c.Request.(*kmsg.DescribeTopicPartitionsRequest)
	resp := req.ResponseKind().(*kmsg.DescribeTopicPartitionsResponse)
	image := h.Cluster.Image()
	names := namesToDescribe(req)
	if code := checkPage(req, names); code != nil {
		for _, name := range names {
			t := kmsg.NewDescribeTopicPartitionsResponseTopic()
			t.ErrorCode, t.Topic = code.Code, &name
			resp.Topics = append(resp.Topics, t)
		}
		c.Reply(call.Response{Message: resp})
		return
	}
	p := page{reach: reachOf(image, c.Peer.Listener), resp: resp}
	p.left = max(1, min(int(req.ResponsePartitionLimit), int(h.layers(image, "").BrokerInt("max.request.partition.size.limit"))))
	for name, t := range topicsToDescribe(image, req, names) {
		from := 0
		if req.Cursor != nil && req.Cursor.Topic == name {
			from = int(req.Cursor.Partition)
		}
		if full := p.topic(name, t, from); full {
			break
		}
	}
	c.Reply(call.Response{Message: resp})
}

// namesToDescribe is the topics asked for by name, each once; none for all topics.
func namesToDescribe(req *kmsg.DescribeTopicPartitionsRequest) []string {
	names := make([]string, 0, len(req.Topics))
	for i := range req.Topics {
		names = append(names, req.Topics[i].Topic)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// checkPage finds what makes a request of no use as a whole.
func checkPage(req *kmsg.DescribeTopicPartitionsRequest, names []string) *kerr.Error {
	switch cursor := req.Cursor; {
	case len(names) > 0 && names[0] == "":
		return kerr.UnknownServerError // as Kafka
	case cursor == nil:
		return nil
	case cursor.Partition < 0:
		return kerr.InvalidRequest
	case len(names) > 0 && !slices.Contains(names, cursor.Topic):
		return kerr.InvalidRequest
	}
	return nil
}

// topicsToDescribe yields names and topics, nil for one that is not there, from the cursor on. A cursor's topic that went away
// meanwhile is passed over.
func topicsToDescribe(image *cluster.Image, req *kmsg.DescribeTopicPartitionsRequest, names []string) iter.Seq2[string, *cluster.Topic] {
	first := ""
	if req.Cursor != nil {
		first = req.Cursor.Topic
	}
	return func(yield func(string, *cluster.Topic) bool) {
		if len(names) == 0 {
			for t := range image.TopicsFrom(first) {
				if !yield(t.Name, t) {
					return
				}
			}
			return
		}
		from, _ := slices.BinarySearch(names, first)
		for _, name := range names[from:] {
			if !yield(name, image.Topic(name)) {
				return
			}
		}
	}
}

// page is one answer being filled.
type page struct {
	reach reach
	resp  *kmsg.DescribeTopicPartitionsResponse
	left  int // partitions that still fit
}

// topic adds a topic from one of its partitions on, and tells when the page is full.
func (p *page) topic(name string, t *cluster.Topic, from int) (full bool) {
	if p.left == 0 {
		p.next(name, 0)
		return true
	}
	out := kmsg.NewDescribeTopicPartitionsResponseTopic()
	out.Topic, out.IsInternal, out.AuthorizedOperations = &name, cluster.IsInternal(name), topicOperations
	if t == nil {
		code, _ := codeOf(unknownTopic(name))
		out.ErrorCode = code.Code
		p.resp.Topics = append(p.resp.Topics, out)
		return false
	}
	from = min(from, len(t.Partitions))
	to := min(from+p.left, len(t.Partitions))
	out.TopicID = t.ID
	out.Partitions = make([]kmsg.DescribeTopicPartitionsResponseTopicPartition, 0, to-from)
	for n := from; n < to; n++ {
		out.Partitions = append(out.Partitions, p.partition(&t.Partitions[n], int32(n)))
	}
	p.resp.Topics = append(p.resp.Topics, out)
	p.left -= to - from
	if to < len(t.Partitions) {
		p.next(name, int32(to))
		return true
	}
	return false
}

func (p *page) partition(at *cluster.Partition, n int32) kmsg.DescribeTopicPartitionsResponseTopicPartition {
	out := kmsg.NewDescribeTopicPartitionsResponseTopicPartition()
	out.Partition, out.LeaderEpoch = n, at.LeaderEpoch
	out.LeaderID, out.ErrorCode = p.reach.leader(at, true)
	out.Replicas, out.ISR, out.OfflineReplicas = at.Replicas, at.ISR, p.reach.offline(at.Replicas)
	out.EligibleLeaderReplicas, out.LastKnownELR = []int32{}, []int32{}
	return out
}

func (p *page) next(topic string, partition int32) {
	cursor := kmsg.NewDescribeTopicPartitionsResponseNextCursor()
	cursor.Topic, cursor.Partition = topic, partition
	p.resp.NextCursor = &cursor
}
