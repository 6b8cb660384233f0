package queue

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/protocol/private"
	"github.com/tidemark-mq/tidemark/protocol/record"
)

// Send stores messages (DMS reference 4.1). What is wrong with the request refuses all of it; what the storage refuses is told for
// each message (D25). All messages of a call that are not delayed enter one partition in their order, as one batch.
func (s *Service) Send(ctx context.Context, project, id string, messages []Message) ([]Sent, error) {
	q, err := s.find(ctx, project, id)
	if err != nil {
		return nil, s.told(err)
	}
	if err = checkMessages(q, messages); err != nil {
		return nil, err
	}
	out := make([]Sent, len(messages))
	delayed := 0
	for i := range messages {
		if messages[i].Delay > 0 {
			delayed++
		}
	}
	partition := q.nextPartition()
	var atOnce, later error
	if delayed < len(messages) {
		atOnce = s.produce(ctx, q, partition, messages, out)
	}
	if delayed > 0 {
		later = s.delay(ctx, q, partition, messages, out)
	}
	return s.sent(q, out, s.missing(ctx, q, atOnce), s.missing(ctx, q, later))
}

// sent is the answer of Send from what became of both halves.
func (s *Service) sent(q *queue, out []Sent, atOnce, later error) ([]Sent, error) {
	stored := false
	for i := range out {
		stored = stored || out[i].ID != ""
	}
	for _, err := range [...]error{atOnce, later} {
		var storage *refusal
		switch {
		case err == nil || stored:
		case !errors.As(err, &storage), isPassing(err), isRefusal(err, kerr.ThrottlingQuotaExceeded), isRefusal(err, kerr.UnknownTopicOrPartition):
			return nil, s.told(err)
		}
	}
	var failures [2]*Error
	for k, err := range [...]error{atOnce, later} {
		if err != nil {
			failures[k] = s.failure(err)
			s.log.Warn("messages are not stored", zap.String("queue", q.docName()), zap.Error(err))
		}
	}
	for i := range out {
		if out[i].ID == "" {
			if out[i].Err = failures[0]; out[i].Err == nil {
				out[i].Err = failures[1]
			}
		}
	}
	return out, nil
}

// nextPartition is the partition for a call, each in turn.
func (q *queue) nextPartition() int32 {
	if q.Partitions <= 1 {
		return 0
	}
	return int32(q.live.next.Add(1) % uint32(q.Partitions))
}

// sender is the memory of one produce request, used again.
type sender struct {
	builder    record.Builder
	headers    []record.Header
	req        kmsg.ProduceRequest
	topics     [1]kmsg.ProduceRequestTopic
	partitions [1]kmsg.ProduceRequestTopicPartition
}

type senderPool struct{ pool sync.Pool }

func (p *senderPool) get() *sender {
	if w, ok := p.pool.Get().(*sender); ok {
		return w
	}
	w := &sender{req: *kmsg.NewPtrProduceRequest()}
	w.req.Version, w.req.Acks, w.req.TimeoutMillis = 13, -1, millis(brokerTime)
	return w
}

// put takes a sender back, of whose memory the broker has no part any more.
func (p *senderPool) put(w *sender) {
	clear(w.headers[:cap(w.headers)]) // they point into callers' bodies
	p.pool.Put(w)
}

// produce stores the messages that are not delayed and puts their ids into out. The partition is another one in each attempt, since
// another broker may lead that.
func (s *Service) produce(ctx context.Context, q *queue, partition int32, messages []Message, out []Sent) error {
	return patiently(ctx, patience, func() error {
		at := partition
		partition = (partition + 1) % max(q.Partitions, 1)
		w := s.senders.get()
		batch, err := w.batch(s.now().UnixMilli(), messages)
		if err != nil {
			return err
		}
		base, err := s.produceBatch(ctx, q, at, w, batch)
		if err != nil {
			return err
		}
		for i := range messages {
			if messages[i].Delay <= 0 {
				out[i].ID = recordID(q, at, base)
				base++
			}
		}
		return nil
	})
}

// batch builds the batch of the messages that are not delayed.
func (w *sender) batch(now int64, messages []Message) (record.Batch, error) {
	w.builder.Reset(record.Spec{})
	for i := range messages {
		if m := &messages[i]; m.Delay <= 0 {
			w.headers = headersOf(w.headers[:0], m)
			w.builder.Append(now, nil, m.Body, w.headers...)
		}
	}
	return w.builder.Build()
}

// produceBatch stores one batch in a partition and answers the offset of its first record.
func (s *Service) produceBatch(ctx context.Context, q *queue, partition int32, w *sender, batch record.Batch) (int64, error) {
	w.partitions[0] = kmsg.ProduceRequestTopicPartition{Partition: partition, Records: batch}
	w.topics[0] = kmsg.ProduceRequestTopic{TopicID: q.Topic, Partitions: w.partitions[:]}
	w.req.Topics = w.topics[:]
	resp, err := ask[*kmsg.ProduceResponse](ctx, s, &w.req)
	if err != nil {
		return 0, err // the broker may still read the request
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return 0, refused("produce", kerr.UnknownServerError.Code, "the partition is not answered")
	}
	p := &resp.Topics[0].Partitions[0]
	if err = refused("produce", p.ErrorCode, text(p.ErrorMessage)); err == nil {
		s.senders.put(w)
	}
	return p.BaseOffset, err
}

// dueMillis is when a message of that delay is due: a fraction of the delay's last millisecond does not count, one of now does, so that
// the message is not early by any part of a millisecond.
func dueMillis(now time.Time, delay time.Duration) int64 {
	return now.Add(time.Millisecond-1).UnixMilli() + delay.Milliseconds()
}

// delay hands the delayed messages over and puts their ids into out.
func (s *Service) delay(ctx context.Context, q *queue, partition int32, messages []Message, out []Sent) error {
	now := s.now()
	req := &private.DelayRequest{TopicID: q.Topic, Partition: partition}
	ids := make([]string, 0, len(messages))
	for i := range messages {
		m := &messages[i]
		if m.Delay <= 0 {
			continue
		}
		id := delayedID()
		// Copies: when ctx ends, the broker may read them after the caller has gone.
		d := private.DelayedMessage{DueMillis: dueMillis(now, m.Delay), Value: bytes.Clone(m.Body)}
		for _, h := range headersOf(nil, m) {
			d.Headers = append(d.Headers, private.Header{Key: h.Name, Value: bytes.Clone(h.Value)})
		}
		d.Headers = append(d.Headers, private.Header{Key: idHeader, Value: []byte(id)})
		req.Messages, ids = append(req.Messages, d), append(ids, id)
	}
	err := patiently(ctx, patience, func() error {
		resp, err := ask[*private.DelayResponse](ctx, s, req)
		if err != nil {
			return err
		}
		return refused("delay", resp.ErrorCode, resp.ErrorMessage)
	})
	if err != nil {
		return err
	}
	for i, k := 0, 0; i < len(messages); i++ {
		if messages[i].Delay > 0 {
			out[i].ID = ids[k]
			k++
		}
	}
	return nil
}
