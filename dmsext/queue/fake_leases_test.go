package queue

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/protocol/private"
	"github.com/tidemark-mq/tidemark/protocol/record"
)

// readBatch reads what a producer sent.
func readBatch(t *testing.T, batch record.Batch) []private.LeasedRecord {
	t.Helper()
	_, err := record.Validate(batch, record.DefaultRules(time.Now().UnixMilli()))
	require.NoError(t, err)
	var out []private.LeasedRecord
	for rec, err := range batch.All(0) {
		require.NoError(t, err)
		leased := private.LeasedRecord{Key: slices.Clone(rec.Key), Value: slices.Clone(rec.Value)}
		for name, value := range rec.Headers() {
			leased.Headers = append(leased.Headers, private.Header{Key: string(name), Value: slices.Clone(value)})
		}
		out = append(out, leased)
	}
	return out
}

// lease waits for records as long as the request says.
func (b *fakeBroker) lease(ctx context.Context, r *private.LeaseRequest) (kmsg.Response, error) {
	timer := time.NewTimer(time.Duration(r.MaxWaitMillis) * time.Millisecond)
	defer timer.Stop()
	over := false
	for {
		resp, changed, err := b.tryLease(r)
		if err != nil || resp.(*private.LeaseResponse).ErrorCode != 0 || len(resp.(*private.LeaseResponse).Records) > 0 || over {
			return resp, err
		}
		select {
		case <-changed:
		case <-timer.C:
			over = true
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (b *fakeBroker) tryLease(r *private.LeaseRequest) (kmsg.Response, <-chan struct{}, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if resp, err := b.first(r); resp != nil || err != nil {
		return resp, nil, err
	}
	topic, g := b.topicByID(r.TopicID), b.groups[r.Group]
	switch {
	case topic == nil:
		return &private.LeaseResponse{ErrorCode: kerr.UnknownTopicID.Code}, nil, nil
	case g == nil:
		return &private.LeaseResponse{ErrorCode: kerr.GroupIDNotFound.Code}, nil, nil
	}
	for range topic.partitions {
		n := g.next % int32(len(topic.partitions))
		g.next++
		if resp := b.leaseFrom(r, topic, g, n); len(resp.Records) > 0 {
			return resp, nil, nil
		}
	}
	return &private.LeaseResponse{Partition: -1}, b.changed, nil
}

func (g *fakeGroup) share(topic *fakeTopic, partition int32) *fakeShare {
	key := fakeKey{topic.id, partition}
	if g.shares[key] == nil {
		g.shares[key] = &fakeShare{records: map[int64]*fakeRecord{}}
	}
	return g.shares[key]
}

func (s *fakeShare) at(offset int64) *fakeRecord {
	if s.records[offset] == nil {
		s.records[offset] = &fakeRecord{}
	}
	return s.records[offset]
}

func (b *fakeBroker) leaseFrom(r *private.LeaseRequest, topic *fakeTopic, g *fakeGroup, partition int32) *private.LeaseResponse {
	until := time.Now().Add(time.Duration(r.LeaseMillis) * time.Millisecond)
	resp := &private.LeaseResponse{Partition: partition, UntilMillis: until.UnixMilli()}
	s := g.share(topic, partition)
	b.expire(r.Group, topic, partition, s)
	for _, rec := range topic.partitions[partition].records {
		st := s.at(rec.Offset)
		if st.held && b.settings[r.Group]["share.order"] == "partition" || len(resp.Records) == int(r.MaxRecords) {
			break
		}
		if st.held || st.done {
			continue
		}
		if !matches(&rec, r) {
			st.done = true
			s.filtered++
			continue
		}
		st.held, st.holder, st.until = true, r.Holder, until
		st.deliveries++
		rec.Deliveries, rec.Failures = st.deliveries, st.failures
		resp.Records = append(resp.Records, rec)
	}
	return resp
}

func matches(rec *private.LeasedRecord, r *private.LeaseRequest) bool {
	n := 0
	for _, h := range rec.Headers {
		if h.Key == private.LabelHeader && slices.Contains(r.Labels, string(h.Value)) {
			n++
		}
	}
	return len(r.Labels) == 0 || n > 0 && (!r.AllLabels || n == len(r.Labels))
}

// expire fails leases that are over.
func (b *fakeBroker) expire(group string, topic *fakeTopic, partition int32, s *fakeShare) {
	for offset, st := range s.records {
		if st.held && !time.Now().Before(st.until) {
			b.fail(group, topic, partition, offset, st, s)
		}
	}
}

// fail gives a record back as failed, or makes it a dead letter.
func (b *fakeBroker) fail(group string, topic *fakeTopic, partition int32, offset int64, st *fakeRecord, s *fakeShare) {
	st.held = false
	st.failures++
	settings := b.settings[group]
	limit, _ := strconv.Atoi(settings["share.failure.count.limit"])
	if dlq := settings["errors.deadletterqueue.topic.name"]; dlq != topic.name && limit > 0 && int(st.failures) >= limit {
		b.deadLetter(dlq, topic, partition, offset, st, s)
	}
}

func (b *fakeBroker) deadLetter(dlq string, topic *fakeTopic, partition int32, offset int64, st *fakeRecord, s *fakeShare) {
	st.held, st.done = false, true
	s.deadLettered++
	if b.topics[dlq] == nil {
		b.addTopic(dlq, 1, nil)
	}
	p := &topic.partitions[partition]
	rec := p.records[offset-p.start]
	rec.Headers = append(slices.Clone(rec.Headers), private.Header{Key: originPartition, Value: strconv.AppendInt(nil, int64(partition), 10)},
		private.Header{Key: originOffset, Value: strconv.AppendInt(nil, offset, 10)})
	b.add(b.topics[dlq], 0, rec)
}

func (b *fakeBroker) settle(r *private.SettleRequest) *private.SettleResponse {
	topic, g := b.topicByID(r.TopicID), b.groups[r.Group]
	switch {
	case topic == nil:
		return &private.SettleResponse{ErrorCode: kerr.UnknownTopicID.Code}
	case g == nil:
		return &private.SettleResponse{ErrorCode: kerr.GroupIDNotFound.Code}
	}
	for _, l := range r.Leases {
		s := g.share(topic, l.Partition)
		b.expire(r.Group, topic, l.Partition, s)
		for _, rec := range l.Records {
			st := s.at(rec.Offset)
			if !st.held || !l.Force && st.holder != l.Holder || rec.Delivery != 0 && rec.Delivery != st.deliveries {
				return &private.SettleResponse{ErrorCode: kerr.InvalidRecordState.Code}
			}
		}
	}
	resp := &private.SettleResponse{}
	for _, l := range r.Leases {
		b.settleLease(r, &l, topic, g.share(topic, l.Partition), resp)
	}
	b.wake()
	return resp
}

// settleLease applies one lease's actions, in order if that is asked for.
func (b *fakeBroker) settleLease(r *private.SettleRequest, l *private.SettledLease, topic *fakeTopic, s *fakeShare, resp *private.SettleResponse) {
	actions := map[int64]private.Action{}
	for _, rec := range l.Records {
		actions[rec.Offset] = rec.Action
	}
	var offsets []int64
	for offset, st := range s.records {
		_, said := actions[offset]
		if said || r.InOrder && st.held && st.holder == l.Holder {
			offsets = append(offsets, offset)
		}
	}
	slices.Sort(offsets)
	accepted := int32(0)
	for i, offset := range offsets {
		action, said := actions[offset]
		st := s.records[offset]
		if !said {
			break
		}
		switch action {
		case private.Accept:
			st.held, st.done = false, true
			s.accepted++
			accepted++
		case private.Reject:
			st.held, st.done = false, true
		case private.Release:
			st.held = false
		case private.DeadLetter:
			b.deadLetter(b.settings[r.Group]["errors.deadletterqueue.topic.name"], topic, l.Partition, offset, st, s)
		case private.Fail:
			b.fail(r.Group, topic, l.Partition, offset, st, s)
			for _, later := range offsets[i+1:] {
				s.records[later].held = false
			}
		}
		if action == private.Fail && r.InOrder {
			break
		}
	}
	resp.Accepted += accepted
	resp.Others += int32(len(l.Records)) - accepted
}

func (b *fakeBroker) listLeases(r *private.ListLeasesRequest) *private.ListLeasesResponse {
	resp := &private.ListLeasesResponse{}
	g := b.groups[r.Group]
	if g == nil {
		resp.ErrorCode = kerr.GroupIDNotFound.Code
		return resp
	}
	for key, s := range g.shares {
		for offset, st := range s.records {
			if key.topic == r.TopicID && st.held && (r.Partition < 0 || r.Partition == key.partition && offset >= r.From) {
				resp.Leases = append(resp.Leases, private.HeldRange{Partition: key.partition, First: offset, Last: offset, State: rangeAcquired,
					Holder: st.holder, UntilMillis: st.until.UnixMilli(), Deliveries: st.deliveries, Failures: st.failures})
			}
		}
	}
	slices.SortFunc(resp.Leases, func(a, b private.HeldRange) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.First, b.First))
	})
	if len(resp.Leases) > int(r.Limit) {
		resp.Leases, resp.More = resp.Leases[:r.Limit], true
	}
	return resp
}

func (b *fakeBroker) count(r *private.CountQueueRequest) *private.CountQueueResponse {
	topic := b.topicByID(r.TopicID)
	if topic == nil {
		return &private.CountQueueResponse{ErrorCode: kerr.UnknownTopicID.Code}
	}
	resp := &private.CountQueueResponse{Delayed: int64(len(b.delays[r.TopicID]))}
	for i := range topic.partitions {
		resp.Records += int64(len(topic.partitions[i].records))
	}
	for _, name := range r.Groups {
		out := private.GroupCount{Group: name}
		if g := b.groups[name]; g == nil {
			out.ErrorCode = kerr.GroupIDNotFound.Code
		} else {
			b.countGroup(topic, g, &out)
		}
		resp.Groups = append(resp.Groups, out)
	}
	return resp
}

func (b *fakeBroker) countGroup(topic *fakeTopic, g *fakeGroup, out *private.GroupCount) {
	for n := range topic.partitions {
		s := g.share(topic, int32(n))
		out.Accepted += s.accepted
		out.DeadLettered += s.deadLettered
		out.Filtered += s.filtered
		for _, rec := range topic.partitions[n].records {
			st := s.at(rec.Offset)
			if !st.done {
				out.Available++
			}
			if st.held {
				out.InFlight++
			}
		}
	}
}
