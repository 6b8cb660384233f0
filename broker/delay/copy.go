package delay

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/coordinator/runtime"
	"github.com/tidemark-mq/tidemark/protocol/private"
	"github.com/tidemark-mq/tidemark/protocol/record"
)

// The copy of an open intent: one idempotent batch in the target, made outside the shard.

var (
	errTargetGone = errors.New("the topic or partition is gone")
	errNotHere    = errors.New("the partition is not led by this broker")
)

// copies makes the copy of an open intent. again: an earlier attempt may have made it already.
func (s *Service) copies(partition int32, t Target, p *producer, messages []private.DelayedMessage, again bool) {
	s.start(func(ctx context.Context) {
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		err := s.copyOnce(ctx, t, p, messages, again)
		<-s.slots
		if ctx.Err() != nil {
			return // stopping: the open intent is gone on with in the next life
		}
		_ = s.rt.Do(partition, func(m *machine, v runtime.View) runtime.Outcome {
			switch {
			case err == nil:
				return m.settle(v, t, p)
			case errors.Is(err, errTargetGone):
				return m.drop(v, t)
			case errors.Is(err, errOtherProducer):
				return m.renew(v, t, p)
			}
			return m.later(t, err)
		})
	})
}

// errOtherProducer: the target does not take the batch under this producer any more, and it does not stand there.
var errOtherProducer = errors.New("the target refuses the producer's sequence")

// copyOnce writes the batch into the target, unless it stands there, and waits until it is durable.
func (s *Service) copyOnce(ctx context.Context, t Target, p *producer, messages []private.DelayedMessage, again bool) error {
	part, err := s.find(t)
	if err != nil {
		return err
	}
	if again {
		if end, err := stands(part, p); err != nil || end >= 0 {
			return durable(ctx, part, end, -1, err)
		}
	}
	batch, err := build(p, messages)
	if err != nil {
		return err
	}
	done, err := part.Append(replica.Append{Batches: batch, Acks: -1, Epoch: -1})
	if errors.Is(err, replica.ErrOutOfOrderSequence) || errors.Is(err, replica.ErrInvalidProducerEpoch) {
		if end, lost := stands(part, p); lost != nil || end >= 0 {
			return durable(ctx, part, end, -1, lost)
		}
		return errors.Join(errOtherProducer, err)
	}
	return durable(ctx, part, done.FlushEnd, done.Epoch, err)
}

// durable waits until what lies below end is; err is passed on.
func durable(ctx context.Context, part *replica.Partition, end int64, epoch int32, err error) error {
	if err != nil {
		return err
	}
	passed := make(chan error, 1)
	part.WhenDurable(end, epoch, -1, func(err error) { passed <- err })
	select {
	case err := <-passed:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func build(p *producer, messages []private.DelayedMessage) ([]byte, error) {
	var b record.Builder
	b.Reset(record.Spec{Producer: &record.Producer{ID: p.id, Epoch: p.epoch, Sequence: p.open.sequence}})
	now := time.Now().UnixMilli()
	var headers []record.Header
	for i := range messages {
		m := &messages[i]
		headers = headers[:0]
		for _, h := range m.Headers {
			headers = append(headers, record.Header{Name: h.Key, Value: h.Value})
		}
		headers = append(headers, record.Header{Name: private.DueHeader, Value: strconv.AppendInt(nil, m.DueMillis, 10)})
		b.Append(now, m.Key, m.Value, headers...)
	}
	return b.Build()
}

// scanBytes is how much of the target is read at once while looking for a batch.
const scanBytes = 1 << 20

// stands looks for the batch of an open intent in the target and answers the offset after it; -1 when it is not there.
func stands(part *replica.Partition, p *producer) (end int64, err error) {
	log := part.CoordinatorLog(part.Epoch())
	for at := max(p.open.from, log.Start()); at < log.End(); {
		chunk, err := log.Read(at, scanBytes)
		if err != nil || len(chunk) == 0 {
			return -1, err
		}
		for len(chunk) > 0 {
			b, rest, err := record.First(chunk)
			if errors.Is(err, record.ErrShort) {
				break
			}
			if err != nil {
				return -1, err
			}
			if b.ProducerID() == p.id && b.ProducerEpoch() == p.epoch && b.BaseSequence() == p.open.sequence {
				return b.LastOffset() + 1, nil
			}
			at, chunk = b.LastOffset()+1, rest
		}
	}
	return -1, nil
}
