package group

import (
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
	"github.com/tidemark-mq/tidemark/coordinator/share"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// positionsAtOnce bounds the states that one request asks for at the same time.
const positionsAtOnce = 64

// DescribeShareGroupOffsets tells where share groups are: the first offset that is not settled, and how many offsets up to the
// end of the log are not. A partition without a position has -1 for both and no error, also when there is no such group, topic
// or partition. Without topics it tells of all that the group reads.
func (s *Service) DescribeShareGroupOffsets(req *kmsg.DescribeShareGroupOffsetsRequest, done func(*kmsg.DescribeShareGroupOffsetsResponse)) {
	r := req.ResponseKind().(*kmsg.DescribeShareGroupOffsetsResponse)
	r.Groups = make([]kmsg.DescribeShareGroupOffsetsResponseGroup, len(req.Groups))
	// One group after the other: what one request may ask for at once is bounded.
	spread(len(req.Groups), 1, func(i int, next func()) {
		s.positions(&req.Groups[i], func(g kmsg.DescribeShareGroupOffsetsResponseGroup) {
			r.Groups[i] = g
			next()
		})
	}, func() { done(r) })
}

// positions answers for one group.
func (s *Service) positions(asked *kmsg.DescribeShareGroupOffsetsRequestGroup, done func(kmsg.DescribeShareGroupOffsetsResponseGroup)) {
	answer := kmsg.NewDescribeShareGroupOffsetsResponseGroup()
	answer.GroupID = asked.GroupID
	if asked.GroupID == "" || tooLong(asked.GroupID) {
		answer.ErrorCode, answer.ErrorMessage = kerr.InvalidGroupID.Code, text("The group id is invalid.")
		done(answer)
		return
	}
	var all map[uuid.ID][]int32
	err := runtime.ErrNotCoordinator
	if n := s.partitions(); n > 0 {
		err = s.rt.Read(PartitionFor(asked.GroupID, n), func(r runtime.Reader) (err error) {
			if asked.Topics == nil {
				all, err = readTopics(r, asked.GroupID)
			}
			return err
		})
	}
	if err != nil {
		answer.ErrorCode = codeOf(err).Code
		done(answer)
		return
	}
	if asked.Topics != nil {
		answer.Topics = s.named(asked.Topics)
	} else {
		for _, id := range slices.SortedFunc(maps.Keys(all), compareID) {
			if name, _, ok := s.topics.TopicByID(id); ok {
				answer.Topics = append(answer.Topics, positionsOf(name, id, all[id]))
			}
		}
	}
	s.fill(&answer, done)
}

// named is the answer for topics that were asked for, as long as nothing is known. What is named again is told once, except of
// topics that do not exist, as in Kafka.
func (s *Service) named(asked []kmsg.DescribeShareGroupOffsetsRequestGroupTopic) (topics []kmsg.DescribeShareGroupOffsetsResponseGroupTopic) {
	at := map[uuid.ID]int{}
	seen := map[share.Key]bool{}
	for i := range asked {
		t := &asked[i]
		id, _, there := s.topics.Topic(t.Topic)
		if !there {
			topics = append(topics, positionsOf(t.Topic, id, t.Partitions))
			continue
		}
		var fresh []int32
		for _, p := range t.Partitions {
			if k := (share.Key{Topic: id, Partition: p}); !seen[k] {
				seen[k] = true
				fresh = append(fresh, p)
			}
		}
		told := positionsOf(t.Topic, id, fresh)
		if j, again := at[id]; again {
			topics[j].Partitions = append(topics[j].Partitions, told.Partitions...)
			continue
		}
		at[id] = len(topics)
		topics = append(topics, told)
	}
	return topics
}

// positionsOf is the answer for a topic as long as nothing is known.
func positionsOf(name string, id uuid.ID, partitions []int32) kmsg.DescribeShareGroupOffsetsResponseGroupTopic {
	t := kmsg.NewDescribeShareGroupOffsetsResponseGroupTopic()
	t.Topic, t.TopicID = name, id
	for _, p := range partitions {
		out := kmsg.NewDescribeShareGroupOffsetsResponseGroupTopicPartition()
		out.Partition, out.StartOffset = p, -1
		t.Partitions = append(t.Partitions, out)
	}
	return t
}

// fill looks up what an answer, which names each partition that exists once, is to tell.
func (s *Service) fill(answer *kmsg.DescribeShareGroupOffsetsResponseGroup, done func(kmsg.DescribeShareGroupOffsetsResponseGroup)) {
	var keys []share.Key
	var places []*kmsg.DescribeShareGroupOffsetsResponseGroupTopicPartition
	for i := range answer.Topics {
		t := &answer.Topics[i]
		_, there, _ := s.topics.TopicByID(t.TopicID)
		for j := range t.Partitions {
			p := &t.Partitions[j]
			if p.Partition < 0 || p.Partition >= there {
				continue
			}
			keys = append(keys, share.Key{Group: answer.GroupID, Topic: t.TopicID, Partition: p.Partition})
			places = append(places, p)
		}
	}
	spread(len(keys), positionsAtOnce, func(i int, next func()) {
		s.position(keys[i], places[i], next)
	}, func() { done(*answer) })
}

// position fills in one partition. Beyond the log's end, where somebody may have set a group, nothing lags; Kafka tells a lag below 0.
func (s *Service) position(k share.Key, p *kmsg.DescribeShareGroupOffsetsResponseGroupTopicPartition, next func()) {
	s.share.Summary(k, func(state share.Stored, err error) {
		if err != nil {
			p.ErrorCode = stateCode(err).Code
			next()
			return
		}
		if p.LeaderEpoch = state.LeaderEpoch; state.Start < 0 {
			next()
			return
		}
		s.topics.LogEnd(k.Topic, k.Partition, func(end int64, err error) {
			p.StartOffset, p.Lag = state.Start, -1
			if err == nil && state.DeliveryComplete >= 0 {
				p.Lag = max(end-state.Start-int64(state.DeliveryComplete), 0)
			}
			next()
		})
	})
}

// stateChanged tells whoever keeps a window over a state that it is another one now.
func (s *Service) stateChanged(k share.Key) {
	if s.shareStateChanged != nil {
		s.shareStateChanged(k)
	}
}
