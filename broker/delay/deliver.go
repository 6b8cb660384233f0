package delay

import (
	"bytes"
	"context"
	"errors"
	"math"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/coordinator/runtime"
	"github.com/tidemark-mq/tidemark/protocol/private"
	"github.com/tidemark-mq/tidemark/protocol/record"
)

// begin opens the intent for what is due, or sets the timer if nothing is.
func (m *machine) begin(v runtime.View, t Target) runtime.Outcome {
	at := m.targets[t]
	if at == nil || at.busy {
		return runtime.Outcome{}
	}
	p, err := m.producerOf(v, t)
	if err != nil {
		return m.later(t, err)
	}
	if p == nil {
		return runtime.Outcome{
			Then:  func(*runtime.Tx) { at.busy = true },
			Reply: func(err error) { m.s.arrange(m.partition, t, err) },
		}
	}
	refs, messages, err := m.due(v, t, v.Now())
	if err != nil {
		return m.later(t, err)
	}
	if len(refs) == 0 {
		return runtime.Outcome{Then: func(tx *runtime.Tx) { m.rest(tx, t) }}
	}
	return m.open(t, p, refs, messages, nil)
}

// open makes the outcome that opens an intent.
func (m *machine) open(t Target, p *producer, refs []ref, messages []private.DelayedMessage, before []runtime.Record) runtime.Outcome {
	next := *p
	next.open = &intent{sequence: p.sequence, from: m.s.logEnd(t), messages: refs}
	next.sequence = advance(p.sequence, len(refs))
	return runtime.Outcome{
		Records: append(before, runtime.Record{Key: targetKey(t), Value: next.encode()}),
		Then: func(*runtime.Tx) {
			at := m.target(t)
			at.busy, at.fail = true, 0
		},
		Reply: func(err error) {
			if err != nil {
				m.s.again(m.partition, t, err)
				return
			}
			m.s.copies(m.partition, t, &next, messages, false)
		},
		Refused: func(tx *runtime.Tx, err error) { m.backOff(tx, t, err) },
	}
}

// advance is the sequence after n records: it wraps as producers' sequences do.
func advance(sequence int32, n int) int32 { return int32((int64(sequence) + int64(n)) & math.MaxInt32) }

// rest has a target wait for its next message.
func (m *machine) rest(tx *runtime.Tx, t Target) {
	at := m.target(t)
	at.busy, at.fail = false, 0
	if err := m.await(tx, t); err != nil {
		m.backOff(tx, t, err)
	}
}

// resume goes on with the open intent of a target, after a restart or a failed attempt.
func (m *machine) resume(v runtime.View, t Target) runtime.Outcome {
	if _, err := m.s.find(t); errors.Is(err, errTargetGone) {
		return m.drop(v, t)
	}
	p, err := m.producerOf(v, t)
	switch {
	case err != nil:
		return m.later(t, err)
	case p == nil || p.open == nil:
		return runtime.Outcome{Then: func(tx *runtime.Tx) { m.target(t).busy = false; m.rest(tx, t) }}
	}
	messages := make([]private.DelayedMessage, len(p.open.messages))
	for i, at := range p.open.messages {
		value, ok, err := v.Get(keyOf(t, at))
		if err == nil && !ok {
			err = errMalformed // broken invariant: messages of an open intent are not cancelled
		}
		if err == nil {
			messages[i], err = decodeMessage(bytes.Clone(value))
			messages[i].DueMillis = at.due
		}
		if err != nil {
			return m.later(t, err)
		}
	}
	return runtime.Outcome{Reply: func(err error) {
		if err != nil {
			m.s.again(m.partition, t, err)
			return
		}
		m.s.copies(m.partition, t, p, messages, true)
	}}
}

// again has a target tried again whose step was not committed in time; nothing happens where the shard's life is over.
func (s *Service) again(partition int32, t Target, err error) {
	s.start(func(context.Context) {
		_ = s.rt.Do(partition, func(m *machine, _ runtime.View) runtime.Outcome { return m.later(t, err) })
	})
}

// later is the outcome of an attempt that failed.
func (m *machine) later(t Target, err error) runtime.Outcome {
	return runtime.Outcome{Then: func(tx *runtime.Tx) { m.backOff(tx, t, err) }}
}

const (
	firstRetry = 20 * time.Millisecond
	lastRetry  = 5 * time.Second
)

// backOff has the target tried again, later each time.
func (m *machine) backOff(tx *runtime.Tx, t Target, err error) {
	at := m.target(t)
	at.busy = true
	wait := min(firstRetry<<min(at.fail, 10), lastRetry)
	if at.fail++; at.fail > 5 {
		m.s.log.Warn("delayed messages are held up", zap.Stringer("topic", t.Topic), zap.Int32("partition", t.Partition), zap.Int("attempts", at.fail), zap.Error(err))
	}
	tx.Schedule(timerOf(timerRetry, t), tx.Now().Add(wait))
}

// settle drops what has entered its target, and opens the next intent if more is due.
func (m *machine) settle(v runtime.View, t Target, p *producer) runtime.Outcome {
	var records []runtime.Record
	for _, at := range p.open.messages {
		records = append(records, runtime.Record{Key: keyOf(t, at)})
	}
	after := *p
	after.open = nil
	gone := make(map[ref]bool, len(p.open.messages))
	for _, at := range p.open.messages {
		gone[at] = true
	}
	refs, messages, err := m.dueBeyond(v, t, gone)
	if err == nil && len(refs) > 0 {
		return m.open(t, &after, refs, messages, records)
	}
	records = append(records, runtime.Record{Key: targetKey(t), Value: after.encode()})
	return runtime.Outcome{Records: records, Then: func(tx *runtime.Tx) { m.rest(tx, t) },
		Refused: func(tx *runtime.Tx, err error) { m.backOff(tx, t, err) }}
}

// dueBeyond is due without the messages that are about to go: those come first in the order.
func (m *machine) dueBeyond(v runtime.View, t Target, gone map[ref]bool) ([]ref, []private.DelayedMessage, error) {
	rest := beyond{Reader: v, gone: gone, at: len(messagesOf(t))}
	return m.due(rest, t, v.Now())
}

// beyond is a reader that passes over messages.
type beyond struct {
	runtime.Reader
	gone map[ref]bool
	at   int
}

func (b beyond) Scan(prefix, from []byte, fn func(key, value []byte) bool) error {
	return b.Reader.Scan(prefix, from, func(key, value []byte) bool {
		return b.gone[parseRef(key[b.at:])] || fn(key, value)
	})
}

// drop settles everything of a target that is gone.
func (m *machine) drop(v runtime.View, t Target) runtime.Outcome {
	records, more, err := m.waiting(v, t, nil)
	if err != nil {
		return m.later(t, err)
	}
	if !more {
		records = append(records, runtime.Record{Key: targetKey(t)})
	}
	return runtime.Outcome{Records: records, Then: func(tx *runtime.Tx) {
		if more {
			m.backOff(tx, t, errTargetGone)
			return
		}
		delete(m.targets, t)
		tx.Cancel(timerOf(timerDue, t))
		tx.Cancel(timerOf(timerRetry, t))
	}}
}

// waiting lists tombstones for the messages of a target but those kept, a bounded number of them.
func (m *machine) waiting(r runtime.Reader, t Target, keep map[ref]bool) (records []runtime.Record, more bool, err error) {
	prefix := messagesOf(t)
	err = r.Scan(prefix, nil, func(key, _ []byte) bool {
		if keep[parseRef(key[len(prefix):])] {
			return true
		}
		if len(records) == cancelAtOnce {
			more = true
			return false
		}
		records = append(records, runtime.Record{Key: bytes.Clone(key)})
		return true
	})
	return records, more, err
}

// cancelAtOnce is how many messages one batch of tombstones drops.
const cancelAtOnce = 2000

var (
	errTargetGone = errors.New("the topic or partition is gone")
	errNotHere    = errors.New("the partition is not led by this broker")
)

// arrange gives a target a producer.
func (s *Service) arrange(partition int32, t Target, err error) {
	if err != nil {
		s.again(partition, t, err)
		return
	}
	s.start(func(ctx context.Context) {
		id, err := s.producerID(ctx)
		_ = s.rt.Do(partition, func(m *machine, v runtime.View) runtime.Outcome {
			if err != nil {
				return m.later(t, err)
			}
			at := m.target(t)
			at.busy = false
			refs, messages, err := m.due(v, t, v.Now())
			if err != nil {
				return m.later(t, err)
			}
			if len(refs) == 0 {
				return runtime.Outcome{Then: func(tx *runtime.Tx) { m.rest(tx, t) }}
			}
			return m.open(t, &producer{id: id}, refs, messages, nil)
		})
	})
}

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

// renew opens the intent again under a new producer.
func (m *machine) renew(v runtime.View, t Target, p *producer) runtime.Outcome {
	m.s.log.Warn("delayed messages go on under another producer", zap.Stringer("topic", t.Topic), zap.Int32("partition", t.Partition), zap.Int64("producer", p.id))
	next := producer{id: p.id, epoch: p.epoch + 1, open: &intent{sequence: 0, from: p.open.from, messages: p.open.messages}, sequence: int32(len(p.open.messages))}
	if p.epoch == math.MaxInt16 {
		return runtime.Outcome{Records: []runtime.Record{{Key: targetKey(t)}}, Then: func(tx *runtime.Tx) { m.rest(tx, t) }}
	}
	return runtime.Outcome{Records: []runtime.Record{{Key: targetKey(t), Value: next.encode()}},
		Then: func(tx *runtime.Tx) { m.backOff(tx, t, errOtherProducer) }}
}

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
