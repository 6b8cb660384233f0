package share

import (
	"fmt"
	"math"
	"time"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/broker/share/window"
	"github.com/tidemark-mq/tidemark/coordinator/share"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// Dead letters are copied once (durability, leases, rule 1): the intent to copy is durable before the copy, the source is settled
// after it. An intent names the target and the producer id, epoch and sequence of an idempotent produce, which is repeated as it is
// until it stands. What can not be copied as intended is cancelled, durably and together with a new producer epoch, and intended
// again.
//
// A partition works in rounds of up to five intents, by offset; a round ends when all its copies stand and their sources are
// settled. So there are never more than five open, which is as far back as a log tells a repeat from a gap.

// mostIntents is how many intents are open at a time.
const mostIntents = 5

// deadLetters is what a partition knows of its dead letters on their way. It is guarded by the partition's mu.
type deadLetters struct {
	producer *share.Producer
	busy     bool      // bury runs
	retry    time.Time // when it is tried again; zero: nothing failed
	failed   int       // times in a row that it did
	quiet    time.Time // until when those that are too large are not told of
	alone    bool      // one record a copy: the target refused several together
}

// buryLocked tells whether bury is to be run; the caller runs it.
func (p *partition) buryLocked(now time.Time) bool {
	d := &p.mu.dead
	if d.busy || d.retry.After(now) || p.mu.hold.After(now) {
		return false
	}
	d.retry = time.Time{}
	for range p.mu.window.DeadLetters(0) {
		d.busy = true
		return true
	}
	return false
}

// bury copies dead letters until there are none, or it fails, in a goroutine of its own.
func (p *partition) bury() {
	var err error
	for more := true; more && err == nil; {
		more, err = p.round()
	}
	if err != nil && p.e.ctx.Err() == nil && !p.over.Load() {
		p.e.o.Log.Warn("dead letters wait", zap.Stringer("partition", p.key), zap.Error(err))
	}
	p.mu.Lock()
	d := &p.mu.dead
	d.busy = false
	if err == nil {
		d.failed, d.alone = 0, false
	} else {
		d.retry = p.e.now().Add(retryAfter(d.failed))
		d.failed++
	}
	p.leave()
}

// round brings up to five dead letters to their end; false: there are none.
func (p *partition) round() (more bool, err error) {
	if err := p.e.ctx.Err(); err != nil {
		return false, err
	}
	now, err := p.enter()
	if err != nil {
		return false, err
	}
	p.catchUpLocked(now)
	s, open, waiting := p.mu.settings, []share.Batch(nil), []share.Batch(nil)
	for b := range p.mu.window.DeadLetters(0) {
		if b.Intent != nil {
			open = append(open, b)
		} else if len(waiting) < mostIntents {
			waiting = append(waiting, b)
		}
	}
	p.leave()
	switch {
	case len(open) > 0: // of a life before this one, or of a round that failed
		return true, p.finish(s, open)
	case len(waiting) > 0:
		return true, p.intend(s, waiting)
	}
	return false, nil
}

// intend decides where the first of the dead letters go, keeps that, and copies them.
func (p *partition) intend(s *settings, waiting []share.Batch) error {
	to, err := p.target(s)
	if err != nil {
		return err
	}
	if to.part == nil {
		p.e.o.Log.Info("dead letters have nowhere to go", zap.Stringer("partition", p.key), zap.String("topic", s.DeadLetterTopic), zap.String("because", to.nowhere))
		return p.abandon(spansOf(waiting))
	}
	producer, err := p.producer(to.part.ID)
	if err != nil {
		return err
	}
	copies, lost, err := p.dig(s, waiting, to)
	if err != nil {
		return err
	}
	if len(lost) > 0 {
		if err := p.abandon(lost); err != nil || len(copies) == 0 {
			return err
		}
	}
	intents := make([]*share.Intent, len(copies))
	for i, c := range copies {
		intents[i] = &share.Intent{Topic: to.part.ID, Partition: to.part.Number, ProducerID: producer.ID, Epoch: producer.Epoch, Sequence: producer.Sequence,
			Cause: cause(s, &c.of)}
		producer.Sequence = advance(producer.Sequence, len(c.records))
		copies[i].intent = intents[i]
	}
	err = p.change(&producer, func(w *window.Window) (cs []*window.Change, err error) {
		for i, c := range copies {
			one, err := w.Intend(c.span(), intents[i])
			if err != nil {
				return cs, err
			}
			cs = append(cs, one)
		}
		return cs, nil
	})
	if err != nil {
		return err
	}
	return p.copy(s, copies, to)
}

// advance is a sequence number n records on; they begin again after the last one.
func advance(sequence int32, n int) int32 {
	return int32((int64(sequence) + int64(n)) % (math.MaxInt32 + 1))
}

// What Kafka says of the causes that it knows (KIP-1191).
const (
	causeRejected   = "Offset rejected by client."
	causeDeliveries = "Offset delivery count exceeded the threshold."
)

// cause is why records became dead letters, for people.
func cause(s *settings, b *share.Batch) string {
	switch {
	case s.limits.Failures > 0 && int(b.Failures) >= s.limits.Failures:
		return fmt.Sprintf("failed %d times", b.Failures)
	case s.limits.Deliveries > 0 && int(b.Deliveries) >= s.limits.Deliveries:
		return causeDeliveries
	}
	return causeRejected
}

// producer is the identity that copies to a topic are made with, as of the next intent. It is kept with the intents.
func (p *partition) producer(topic uuid.ID) (share.Producer, error) {
	p.mu.Lock()
	known := p.mu.dead.producer
	p.mu.Unlock()
	if known != nil && known.Topic == topic {
		return *known, nil
	}
	return p.bumped(topic)
}

// bumped is the producer with a new epoch, under which no intent of an older one can be mistaken for another, or a new one.
func (p *partition) bumped(topic uuid.ID) (share.Producer, error) {
	p.mu.Lock()
	known := p.mu.dead.producer
	p.mu.Unlock()
	if known == nil || known.Epoch == math.MaxInt16 {
		id, err := p.e.o.ProducerIDs(p.e.ctx)
		return share.Producer{ID: id, Topic: topic}, err
	}
	return share.Producer{ID: known.ID, Epoch: known.Epoch + 1, Topic: topic}, nil
}

// abandon settles dead letters that get no copy.
func (p *partition) abandon(spans []window.Span) error {
	return p.bring(spans, (*window.Window).Abandon, func(n float64) { p.e.metrics.abandoned.Add(n) })
}

// copied settles dead letters whose copies stand.
func (p *partition) copied(spans []window.Span) error {
	return p.bring(spans, (*window.Window).Copied, func(n float64) { p.e.metrics.deadLetters.Add(n) })
}

// bring does one thing with all spans.
func (p *partition) bring(spans []window.Span, do func(*window.Window, window.Span) (*window.Change, error), count func(float64)) error {
	n := int64(0)
	err := p.change(nil, func(w *window.Window) (cs []*window.Change, err error) {
		for _, s := range spans {
			c, err := do(w, s)
			if err != nil {
				return cs, err
			}
			cs = append(cs, c)
			n += s.Len()
		}
		return cs, nil
	})
	if err == nil {
		count(float64(n))
	}
	return err
}

// change makes several changes of the window, and maybe another producer, durable with one write, and waits for that.
func (p *partition) change(producer *share.Producer, decide func(*window.Window) ([]*window.Change, error)) error {
	if _, err := p.enter(); err != nil {
		return err
	}
	changes, err := decide(p.mu.window)
	if err != nil {
		for _, c := range changes {
			if c != nil {
				p.mu.window.Rollback(c, p.e.now())
			}
		}
		p.leave()
		return fmt.Errorf("%v: %w", p.key, err)
	}
	w := &share.Write{Key: p.key, StateEpoch: p.mu.stateEpoch, LeaderEpoch: p.epoch, Start: -1, Producer: producer}
	for _, c := range changes {
		if c == nil {
			continue
		}
		w.Start, w.Add = max(w.Start, c.Start), w.Add.Add(c.Add)
		w.Batches = append(w.Batches, c.Batches...)
	}
	if len(w.Batches) == 0 && w.Add == (share.Counters{}) && producer == nil {
		p.leave()
		return nil // all of it is settled
	}
	p.mu.writes++
	p.mu.unsent++
	p.leave()
	done := make(chan error, 1)
	p.handOver(w, func(err error) { done <- err })
	err = <-done
	p.mu.Lock()
	if err == nil && producer != nil {
		kept := *producer
		p.mu.dead.producer = &kept
	}
	now := p.e.now()
	for _, c := range changes {
		switch {
		case c == nil:
		case err == nil:
			p.commitLocked(c, now)
		default:
			p.mu.window.Rollback(c, now)
		}
	}
	p.endLocked(err, now)
	return err
}

func spansOf(batches []share.Batch) []window.Span {
	spans := make([]window.Span, len(batches))
	for i, b := range batches {
		spans[i] = window.Span{First: b.First, Last: b.Last}
	}
	return spans
}
