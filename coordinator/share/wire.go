package share

import (
	"slices"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// The APIs 83 to 87, which other brokers call: InitializeShareGroupState v0, ReadShareGroupState v0, WriteShareGroupState v0-1
// and ReadShareGroupStateSummary v0-1 (v1: deliveryCompleteCount, KIP-1226), DeleteShareGroupState v0. Requests are not kept
// beyond done. As in Kafka each share partition is an operation of its own, and a request without group, topics or partitions
// has an answer without them.
//
// Those that change something take the caller's refusal to do so, nil for none: an error that wraps a *kerr.Error. Nothing is
// done then, and all that the request names is answered with its code and its text.

// gather answers a function that calls done when it was called n times; n is at least 1.
func gather(n int, done func()) func() {
	var left atomic.Int64
	left.Store(int64(n))
	return func() {
		if left.Add(-1) == 0 {
			done()
		}
	}
}

// each runs op for all partitions of a request and done after all of them have called their last argument. sizes are the
// partitions of each topic.
func each(sizes []int, done func(), op func(topic, partition int, finish func())) {
	n := 1
	for _, size := range sizes {
		n += size
	}
	finish := gather(n, done)
	for topic, size := range sizes {
		for partition := range size {
			op(topic, partition, finish)
		}
	}
	finish()
}

// complete tells whether a request has a group, topics, and partitions in each.
func complete(group string, sizes []int) bool {
	for _, size := range sizes {
		if size == 0 {
			return false
		}
	}
	return group != "" && len(sizes) > 0
}

func sizesOf[T any](topics []T, size func(*T) int) []int {
	sizes := make([]int, len(topics))
	for i := range topics {
		sizes[i] = size(&topics[i])
	}
	return sizes
}

// wire is the origin of a request about a partition.
func (s *Service) wire(k Key) origin {
	from := origin{wire: true}
	if known := s.opts.TopicPartitions; known != nil {
		from.unknown = known(k.Topic) <= k.Partition
	}
	return from
}

// words fills in an error, with what Kafka puts before it when no operation was run.
func words(err error, verb string, code *int16, message **string) {
	if err == nil {
		return
	}
	r := refusalOf(err)
	text := r.message
	switch r {
	case errNotCoordinator, errLoading, errNotAvailable, errTooLarge:
		text = "Unable to " + verb + ": " + text
	}
	*code, *message = r.code.Code, &text
}

// InitializeState is API 83.
func (s *Service) InitializeState(req *kmsg.InitializeShareGroupStateRequest, refused error, done func(*kmsg.InitializeShareGroupStateResponse)) {
	r := req.ResponseKind().(*kmsg.InitializeShareGroupStateResponse)
	topics := req.Topics
	if refused == nil { // for this API alone Kafka passes over topics without partitions and answers the others
		topics = slices.DeleteFunc(slices.Clone(topics), func(t kmsg.InitializeShareGroupStateRequestTopic) bool { return len(t.Partitions) == 0 })
	}
	sizes := sizesOf(topics, func(t *kmsg.InitializeShareGroupStateRequestTopic) int { return len(t.Partitions) })
	if refused == nil && !complete(req.GroupID, sizes) {
		done(r)
		return
	}
	for i, t := range topics {
		rt := kmsg.NewInitializeShareGroupStateResponseTopic()
		rt.TopicID, rt.Partitions = t.TopicID, make([]kmsg.InitializeShareGroupStateResponseTopicPartition, sizes[i])
		r.Topics = append(r.Topics, rt)
	}
	each(sizes, func() { done(r) }, func(topic, partition int, finish func()) {
		p, rp := topics[topic].Partitions[partition], &r.Topics[topic].Partitions[partition]
		rp.Partition = p.Partition
		k := Key{req.GroupID, uuid.ID(topics[topic].TopicID), p.Partition}
		answer := func(err error) {
			words(err, "initialize share group state", &rp.ErrorCode, &rp.ErrorMessage)
			finish()
		}
		switch {
		case refused != nil:
			answer(refused)
			return
		case p.StateEpoch < 0 && p.Partition >= 0:
			answer(errNegativeStateEpoch)
			return
		}
		from := s.wire(k)
		s.do(k, answer, func(m *machine, v runtime.View) runtime.Outcome {
			return m.initialize(v, k, p.StateEpoch, p.StartOffset, from, answer)
		})
	})
}

// ReadState is API 84.
func (s *Service) ReadState(req *kmsg.ReadShareGroupStateRequest, done func(*kmsg.ReadShareGroupStateResponse)) {
	r := req.ResponseKind().(*kmsg.ReadShareGroupStateResponse)
	sizes := sizesOf(req.Topics, func(t *kmsg.ReadShareGroupStateRequestTopic) int { return len(t.Partitions) })
	if !complete(req.GroupID, sizes) {
		done(r)
		return
	}
	for i, t := range req.Topics {
		rt := kmsg.NewReadShareGroupStateResponseTopic()
		rt.TopicID, rt.Partitions = t.TopicID, make([]kmsg.ReadShareGroupStateResponseTopicPartition, sizes[i])
		r.Topics = append(r.Topics, rt)
	}
	each(sizes, func() { done(r) }, func(topic, partition int, finish func()) {
		p, rp := &req.Topics[topic].Partitions[partition], &r.Topics[topic].Partitions[partition]
		rp.Partition = p.Partition
		k, epoch := Key{req.GroupID, uuid.ID(req.Topics[topic].TopicID), p.Partition}, p.LeaderEpoch
		answer := func(st Stored, err error) {
			if words(err, "read share group state", &rp.ErrorCode, &rp.ErrorMessage); err == nil {
				rp.StateEpoch, rp.StartOffset = st.StateEpoch, st.Start
				for _, b := range st.Batches {
					sent := kmsg.NewReadShareGroupStateResponseTopicPartitionStateBatch()
					sent.FirstOffset, sent.LastOffset, sent.DeliveryState, sent.DeliveryCount = b.First, b.Last, int8(b.State), b.Deliveries
					rp.StateBatches = append(rp.StateBatches, sent)
				}
			}
			finish()
		}
		fail := func(err error) { answer(Stored{}, err) }
		if epoch < 0 && p.Partition >= 0 {
			fail(errNegativeLeaderEpoch)
			return
		}
		from := s.wire(k)
		s.do(k, fail, func(m *machine, v runtime.View) runtime.Outcome { return m.read(v, k, epoch, from, answer) })
	})
}

// WriteState is API 85. What it says is merged with what is there as Kafka does, and not as Write.
func (s *Service) WriteState(req *kmsg.WriteShareGroupStateRequest, refused error, done func(*kmsg.WriteShareGroupStateResponse)) {
	r := req.ResponseKind().(*kmsg.WriteShareGroupStateResponse)
	sizes := sizesOf(req.Topics, func(t *kmsg.WriteShareGroupStateRequestTopic) int { return len(t.Partitions) })
	if refused == nil && !complete(req.GroupID, sizes) {
		done(r)
		return
	}
	for i, t := range req.Topics {
		rt := kmsg.NewWriteShareGroupStateResponseTopic()
		rt.TopicID, rt.Partitions = t.TopicID, make([]kmsg.WriteShareGroupStateResponseTopicPartition, sizes[i])
		r.Topics = append(r.Topics, rt)
	}
	each(sizes, func() { done(r) }, func(topic, partition int, finish func()) {
		p, rp := &req.Topics[topic].Partitions[partition], &r.Topics[topic].Partitions[partition]
		rp.Partition = p.Partition
		k := Key{req.GroupID, uuid.ID(req.Topics[topic].TopicID), p.Partition}
		answer := func(err error) {
			words(err, "write share group state", &rp.ErrorCode, &rp.ErrorMessage)
			finish()
		}
		if refused != nil {
			answer(refused)
			return
		}
		w, err := replicatedOf(k, p)
		if err != nil {
			answer(err)
			return
		}
		w.from = s.wire(k)
		s.do(k, answer, func(m *machine, v runtime.View) runtime.Outcome { return m.writeReplicated(v, w, answer) })
	})
}

func replicatedOf(k Key, p *kmsg.WriteShareGroupStateRequestTopicPartition) (*replicated, error) {
	switch {
	case p.Partition < 0:
		return nil, errNegativePartition
	case p.LeaderEpoch < 0:
		return nil, errNegativeLeaderEpoch
	case p.StateEpoch < 0:
		return nil, errNegativeStateEpoch
	}
	w := &replicated{Key: k, stateEpoch: p.StateEpoch, leaderEpoch: p.LeaderEpoch, start: p.StartOffset, complete: p.DeliveryCompleteCount}
	for _, b := range p.StateBatches {
		batch := Batch{First: b.FirstOffset, Last: b.LastOffset, State: State(b.DeliveryState), Deliveries: b.DeliveryCount}
		if !valid(&batch) {
			return nil, errBadBatch
		}
		w.batches = append(w.batches, batch)
	}
	return w, nil
}

// DeleteState is API 86.
func (s *Service) DeleteState(req *kmsg.DeleteShareGroupStateRequest, refused error, done func(*kmsg.DeleteShareGroupStateResponse)) {
	r := req.ResponseKind().(*kmsg.DeleteShareGroupStateResponse)
	sizes := sizesOf(req.Topics, func(t *kmsg.DeleteShareGroupStateRequestTopic) int { return len(t.Partitions) })
	if refused == nil && !complete(req.GroupID, sizes) {
		done(r)
		return
	}
	for i, t := range req.Topics {
		rt := kmsg.NewDeleteShareGroupStateResponseTopic()
		rt.TopicID, rt.Partitions = t.TopicID, make([]kmsg.DeleteShareGroupStateResponseTopicPartition, sizes[i])
		r.Topics = append(r.Topics, rt)
	}
	each(sizes, func() { done(r) }, func(topic, partition int, finish func()) {
		rp := &r.Topics[topic].Partitions[partition]
		rp.Partition = req.Topics[topic].Partitions[partition].Partition
		k := Key{req.GroupID, uuid.ID(req.Topics[topic].TopicID), rp.Partition}
		answer := func(err error) {
			words(err, "delete share group state", &rp.ErrorCode, &rp.ErrorMessage)
			finish()
		}
		if refused != nil {
			answer(refused)
			return
		}
		from := s.wire(k)
		s.do(k, answer, func(m *machine, v runtime.View) runtime.Outcome {
			if from.unknown {
				return refuse(answer, errUnknownPartition)
			}
			return m.remove(v, k, answer)
		})
	})
}

// ReadStateSummary is API 87.
func (s *Service) ReadStateSummary(req *kmsg.ReadShareGroupStateSummaryRequest, done func(*kmsg.ReadShareGroupStateSummaryResponse)) {
	r := req.ResponseKind().(*kmsg.ReadShareGroupStateSummaryResponse)
	sizes := sizesOf(req.Topics, func(t *kmsg.ReadShareGroupStateSummaryRequestTopic) int { return len(t.Partitions) })
	if !complete(req.GroupID, sizes) {
		done(r)
		return
	}
	for i, t := range req.Topics {
		rt := kmsg.NewReadShareGroupStateSummaryResponseTopic()
		rt.TopicID, rt.Partitions = t.TopicID, make([]kmsg.ReadShareGroupStateSummaryResponseTopicPartition, sizes[i])
		r.Topics = append(r.Topics, rt)
	}
	each(sizes, func() { done(r) }, func(topic, partition int, finish func()) {
		rp := &r.Topics[topic].Partitions[partition]
		*rp = kmsg.NewReadShareGroupStateSummaryResponseTopicPartition()
		rp.Partition = req.Topics[topic].Partitions[partition].Partition
		k := Key{req.GroupID, uuid.ID(req.Topics[topic].TopicID), rp.Partition}
		answer := func(st Stored, err error) {
			if words(err, "read share group state summary", &rp.ErrorCode, &rp.ErrorMessage); err == nil {
				rp.StateEpoch, rp.LeaderEpoch = st.StateEpoch, st.LeaderEpoch
				rp.StartOffset, rp.DeliveryCompleteCount = st.Start, st.DeliveryComplete
			}
			finish()
		}
		fail := func(err error) { answer(Stored{}, err) }
		from := s.wire(k)
		s.do(k, fail, func(m *machine, v runtime.View) runtime.Outcome {
			if from.unknown {
				return refuse(fail, errUnknownPartition)
			}
			return m.summary(v, k, answer)
		})
	})
}
