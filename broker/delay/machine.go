package delay

import (
	"bytes"
	"time"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
	"github.com/tidemark-mq/tidemark/protocol/private"
)

// machine is one shard: the targets that have messages waiting or on their way.
type machine struct {
	s         *Service
	partition int32
	targets   map[Target]*target
	lastID    int64
}

// target is what is at hand of one.
type target struct {
	next int64 // due time of the first message that waits, as far as is known; the timer stands there
	busy bool  // a copy is on its way, or being arranged
	fail int   // attempts in a row that came to nothing
}

// The timers of a target; Timer.Of is its bytes.
const (
	timerDue   uint8 = iota + 1 // the first message is due
	timerRetry                  // go on with the open intent
)

func timerOf(kind uint8, t Target) runtime.Timer {
	return runtime.Timer{Kind: kind, Of: string(t.append(nil))}
}

func newMachine(s *Service, partition int32) *machine {
	return &machine{s: s, partition: partition, targets: map[Target]*target{}}
}

// Restore implements runtime.Machine: it looks at one row a target.
func (m *machine) Restore(tx *runtime.Tx) error {
	counts := []byte{kindOwn, kindCount}
	err := tx.Scan(counts, nil, func(key, _ []byte) bool {
		if len(key) == len(counts)+targetSize {
			m.targets[parseTarget(key[len(counts):])] = &target{}
		}
		return true
	})
	if err != nil {
		return err
	}
	open := map[Target]bool{}
	err = tx.Scan([]byte{kindTarget}, nil, func(key, value []byte) bool {
		p, bad := decodeProducer(value)
		if bad != nil {
			m.s.log.Error("a target's record cannot be read", zap.Error(bad))
		} else if p.open != nil {
			open[parseTarget(key[1:])] = true
		}
		return true
	})
	if err != nil {
		return err
	}
	for t := range open {
		m.target(t).busy = true
		tx.Schedule(timerOf(timerRetry, t), tx.Now())
	}
	for t := range m.targets {
		if !open[t] {
			if err := m.await(tx, t); err != nil {
				return err
			}
		}
	}
	return nil
}

// Abandon implements runtime.Machine; nobody is held back here.
func (m *machine) Abandon(*runtime.Tx) {}

// Fire implements runtime.Machine.
func (m *machine) Fire(v runtime.View, timer runtime.Timer) runtime.Outcome {
	t := parseTarget([]byte(timer.Of))
	if timer.Kind == timerRetry {
		return m.resume(v, t)
	}
	return m.begin(v, t)
}

func (m *machine) target(t Target) *target {
	at := m.targets[t]
	if at == nil {
		at = &target{}
		m.targets[t] = at
	}
	return at
}

// await sets the timer for a target's first message, or forgets a target that has none.
func (m *machine) await(tx *runtime.Tx, t Target) error {
	at := m.target(t)
	first, some := ref{}, false
	err := tx.Scan(messagesOf(t), nil, func(key, _ []byte) bool {
		first, some = parseRef(key[1+targetSize:]), true
		return false
	})
	switch {
	case err != nil:
		return err
	case !some:
		delete(m.targets, t)
		tx.Cancel(timerOf(timerDue, t))
		return nil
	}
	at.next = first.due
	tx.Schedule(timerOf(timerDue, t), time.UnixMilli(first.due))
	return nil
}

// keep takes in messages for a target.
func (m *machine) keep(v runtime.View, t Target, messages []private.DelayedMessage, done func([]int64, error)) runtime.Outcome {
	waiting, err := count(v, t)
	if err == nil && waiting+int64(len(messages)) > m.s.maxPending {
		err = &TooManyError{Target: t, Waiting: waiting, Limit: m.s.maxPending}
	}
	if err != nil {
		return runtime.Outcome{Reply: func(error) { done(nil, err) }}
	}
	records := make([]runtime.Record, len(messages))
	ids := make([]int64, len(messages))
	earliest := messages[0].DueMillis
	for i := range messages {
		id, err := m.newID(v, t, messages[i].DueMillis)
		if err != nil {
			return runtime.Outcome{Reply: func(error) { done(nil, err) }}
		}
		ids[i], earliest = id, min(earliest, messages[i].DueMillis)
		records[i] = runtime.Record{Key: keyOf(t, ref{messages[i].DueMillis, id}), Value: encodeMessage(&messages[i])}
	}
	return runtime.Outcome{
		Records: records,
		Then: func(tx *runtime.Tx) {
			at, known := m.targets[t]
			if !known {
				at = m.target(t)
			}
			if !known || earliest < at.next {
				at.next = earliest
				tx.Schedule(timerOf(timerDue, t), time.UnixMilli(earliest))
			}
		},
		Reply: func(err error) {
			if err != nil {
				ids = nil
			}
			done(ids, err)
		},
	}
}

// newID is an id above all given in this life, and of no message that waits: ids of messages that are due together give their
// order.
func (m *machine) newID(v runtime.View, t Target, due int64) (int64, error) {
	m.lastID = max(m.lastID+1, v.Now().UnixMicro())
	for {
		_, taken, err := v.Get(keyOf(t, ref{due, m.lastID}))
		if err != nil || !taken {
			return m.lastID, err
		}
		m.lastID++ // given by an earlier life whose clock was ahead
	}
}

// producerOf is a target's producer, nil while it has none.
func (m *machine) producerOf(r runtime.Reader, t Target) (*producer, error) {
	value, ok, err := r.Get(targetKey(t))
	if err != nil || !ok {
		return nil, err
	}
	return decodeProducer(value)
}

// due collects the messages that are due, in order, as far as one batch takes them.
func (m *machine) due(r runtime.Reader, t Target, now time.Time) (refs []ref, messages []private.DelayedMessage, err error) {
	room := batchBytes
	prefix := messagesOf(t)
	var bad error
	err = r.Scan(prefix, nil, func(key, value []byte) bool {
		at := parseRef(key[len(prefix):])
		if at.due > now.UnixMilli() || len(refs) > 0 && len(value) > room || len(refs) == batchMessages {
			return false
		}
		room -= len(value)
		var one private.DelayedMessage
		if one, bad = decodeMessage(bytes.Clone(value)); bad != nil {
			return false
		}
		one.DueMillis = at.due
		refs, messages = append(refs, at), append(messages, one)
		return true
	})
	if err == nil {
		err = bad
	}
	return refs, messages, err
}

// A batch into a target holds at most so many messages and bytes (one message is taken however large).
const (
	batchMessages = 500
	batchBytes    = 512 << 10
)
