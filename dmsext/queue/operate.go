package queue

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/protocol/private"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// What operators do with queues; no part of the DMS service.

// Purge removes all messages of a queue, the delayed ones too. Dead letters belong to their groups and stay.
func (s *Service) Purge(ctx context.Context, project, id string) error {
	q, err := s.find(ctx, project, id)
	if err != nil {
		return s.told(err)
	}
	// The delayed first: one that becomes due in between is removed with the others.
	if err = s.cancelDelays(ctx, q.Topic); err != nil {
		return s.told(err)
	}
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.Version, req.TimeoutMillis = 2, millis(brokerTime)
	topic := kmsg.NewDeleteRecordsRequestTopic()
	topic.Topic = q.topicName
	for n := range q.Partitions {
		topic.Partitions = append(topic.Partitions, kmsg.DeleteRecordsRequestTopicPartition{Partition: n, Offset: -1})
	}
	req.Topics = append(req.Topics, topic)
	return s.told(patiently(ctx, patience, func() error {
		resp, err := ask[*kmsg.DeleteRecordsResponse](ctx, s, req)
		if err != nil {
			return err
		}
		for i := range resp.Topics {
			for _, p := range resp.Topics[i].Partitions {
				if err := refused("delete records", p.ErrorCode, ""); err != nil {
					return err
				}
			}
		}
		return nil
	}))
}

// The states of a range of records in ListLeases.
const (
	rangeAvailable = 0
	rangeAcquired  = 1
	rangeArchiving = 3
)

// Leases lists what a group's consumers hold of a queue, or with deadLetters of the group's dead letters, by partition and offset,
// at most limit ranges; more tells whether there are others.
func (s *Service) Leases(ctx context.Context, project, id, group string, deadLetters bool, limit int) (l []Lease, more bool, err error) {
	_, g, topic, err := s.findLeased(ctx, project, id, group, deadLetters)
	if err != nil {
		return nil, false, s.told(err)
	}
	l = []Lease{}
	if topic.IsZero() {
		return l, false, nil
	}
	held, more, err := s.held(ctx, g, topic, -1, 0, int32(max(1, min(limit, 1<<20))))
	for i := range held {
		h := &held[i]
		out := Lease{Partition: h.Partition, First: h.First, Last: h.Last, State: "leased", Holder: h.Holder, Until: time.UnixMilli(h.UntilMillis),
			Deliveries: int(h.Deliveries), Failures: int(h.Failures)}
		switch h.State {
		case rangeAvailable:
			out.State = "waiting"
		case rangeArchiving:
			out.State = "dead-lettering"
		}
		l = append(l, out)
	}
	return l, more, s.told(err)
}

// findLeased is the group that a request of the tools names, and the topic: the queue's, or that of the group's dead letters, zero
// while there is none.
func (s *Service) findLeased(ctx context.Context, project, id, group string, deadLetters bool) (*queue, *group, uuid.ID, error) {
	q, g, err := s.findGroup(ctx, project, id, group)
	if err != nil {
		return nil, nil, uuid.ID{}, err
	}
	topic := q.Topic
	if deadLetters {
		topic, err = s.letterTopic(ctx, g)
	}
	return q, g, topic, err
}

// held lists the leases of a group on a topic: of all partitions (-1), or of one from an offset on.
func (s *Service) held(ctx context.Context, g *group, topic uuid.ID, partition int32, from int64, limit int32) (held []private.HeldRange, more bool, err error) {
	err = patiently(ctx, patience, func() error {
		resp, err := ask[*private.ListLeasesResponse](ctx, s, &private.ListLeasesRequest{Group: g.share, TopicID: topic, Partition: partition, From: from, Limit: limit})
		if err != nil {
			return err
		}
		held, more = resp.Leases, resp.More
		return refused("list leases", resp.ErrorCode, resp.ErrorMessage)
	})
	return held, more, err
}

// SettleLease ends the lease of one message, whoever holds it.
func (s *Service) SettleLease(ctx context.Context, project, id, group string, f ForcedSettle) error {
	return s.told(s.settleLease(ctx, project, id, group, f))
}

func (s *Service) settleLease(ctx context.Context, project, id, name string, f ForcedSettle) error {
	q, g, topic, err := s.findLeased(ctx, project, id, name, f.DeadLetters)
	if err != nil {
		return err
	}
	action := map[SettleAction]private.Action{ReleaseLease: private.Release, AcceptLease: private.Accept, DiscardLease: private.Reject, DeadLetterLease: private.DeadLetter}[f.Action]
	switch {
	case action == 0:
		return badf(CodeFormat, "The request format is incorrect: there is no such action.")
	case action == private.DeadLetter && (f.DeadLetters || !q.Redrive):
		return badf(CodeFormat, "The request format is incorrect: dead letters are of messages of a queue whose redrive_policy is enabled.")
	case topic.IsZero():
		return noHandle()
	}
	held, _, err := s.held(ctx, g, topic, f.Partition, f.Offset, 1)
	if err == nil && (len(held) == 0 || held[0].First > f.Offset) {
		return noHandle() // settling what is settled already would be no error
	}
	if err == nil {
		err = s.force(ctx, g, topic, []private.SettledLease{{
			Partition: f.Partition, Force: true, Records: []private.SettledRecord{{Offset: f.Offset, Action: action}},
		}})
	}
	if isRefusal(err, kerr.InvalidRecordState) || isRefusal(err, kerr.InvalidRequest) || isRefusal(err, kerr.UnknownTopicOrPartition) {
		return noHandle() // held by nobody, beyond what was ever handed out, in no partition
	}
	return err
}

func (s *Service) force(ctx context.Context, g *group, topic uuid.ID, leases []private.SettledLease) error {
	return patiently(ctx, patience, func() error {
		resp, err := ask[*private.SettleResponse](ctx, s, &private.SettleRequest{Group: g.share, TopicID: topic, Leases: leases})
		if err != nil {
			return err
		}
		return refused("settle", resp.ErrorCode, resp.ErrorMessage)
	})
}

// dropLeases ends all leases of a group that is being deleted.
func (s *Service) dropLeases(ctx context.Context, q *queue, g *group) error {
	letters, err := s.letterTopic(ctx, g)
	if err != nil {
		return err
	}
	for _, topic := range [...]uuid.ID{q.Topic, letters} {
		if topic.IsZero() {
			continue
		}
		if err := s.dropLeasesOf(ctx, g, topic); err != nil && !isRefusal(err, kerr.UnknownTopicID) && !isRefusal(err, kerr.GroupIDNotFound) {
			return err
		}
	}
	return nil
}

// dropLeasesOf ends a group's leases on one topic. A lease that ends by itself meanwhile is fine: nobody can take another any more.
func (s *Service) dropLeasesOf(ctx context.Context, g *group, topic uuid.ID) error {
	const atOnce, mostRounds, mostRecords = 1000, 1000, 10_000
	for range mostRounds {
		held, _, err := s.held(ctx, g, topic, -1, 0, atOnce)
		if err != nil {
			return err
		}
		var leases []private.SettledLease
		records := 0
		for _, h := range held {
			if h.State != rangeAcquired || records >= mostRecords {
				continue
			}
			lease := private.SettledLease{Partition: h.Partition, Holder: h.Holder, Force: true}
			for offset := h.First; offset <= h.Last && records < mostRecords; offset++ {
				lease.Records = append(lease.Records, private.SettledRecord{Offset: offset, Action: private.Release})
				records++
			}
			leases = append(leases, lease)
		}
		if len(leases) == 0 {
			return nil
		}
		if err = s.force(ctx, g, topic, leases); err != nil && !isRefusal(err, kerr.InvalidRecordState) {
			return err
		}
	}
	return nil
}
