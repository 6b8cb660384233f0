package delay

import (
	"bytes"
	"context"
	"errors"
	"math"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
	"github.com/tidemark-mq/tidemark/protocol/private"
)

// The steps of bringing what is due into its target, as a shard takes them: see "Once" in the package comment.

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

// rest has a target wait for its next message.
func (m *machine) rest(tx *runtime.Tx, t Target) {
	at := m.target(t)
	at.busy, at.fail = false, 0
	if err := m.await(tx, t); err != nil {
		m.backOff(tx, t, err)
	}
}
