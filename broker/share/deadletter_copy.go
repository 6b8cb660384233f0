package share

import (
	"errors"
	"fmt"
	"math"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/broker/share/window"
	"github.com/tidemark-mq/tidemark/coordinator/share"
	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/storage/log"
)

// errNoCopy says that a copy can not be made as it was intended, now or ever.
var errNoCopy = errors.New("share: a dead letter cannot be copied as intended")

// copy makes the copies of intents that are durable, in their order, and settles the sources of those that stand.
func (p *partition) copy(s *settings, copies []letter, to destination) error {
	var b record.Builder
	var stand []window.Span
	var failed error
	type appended struct {
		end   int64
		epoch int32
	}
	var last appended
	for i := range copies {
		batch, err := p.build(s, &copies[i], &b)
		if err == nil {
			var done replica.Appended
			done, err = to.part.Append(replica.Append{Batches: batch, Origin: log.Client, Acks: -1, Epoch: -1})
			last = appended{max(last.end, done.FlushEnd), done.Epoch}
		}
		if err != nil {
			failed = fmt.Errorf("copying offset %d: %w", copies[i].of.First, err)
			break
		}
		stand = append(stand, copies[i].span())
	}
	if len(stand) > 0 {
		if err := p.durable(to.part, last.end, last.epoch); err != nil {
			return err
		}
		if err := p.copied(stand); err != nil {
			return err
		}
	}
	switch {
	case failed == nil:
		return nil
	case errors.Is(failed, replica.ErrOutOfOrderSequence), errors.Is(failed, replica.ErrInvalidProducerEpoch), errors.Is(failed, replica.ErrInvalidTxnState):
		return p.cancel(to.part.ID, to.part, failed)
	case refusedForGood(failed):
		return p.refusedCopy(&copies[len(stand)], to, failed)
	}
	return failed
}

// refusedForGood tells errors that are about a batch itself.
func refusedForGood(err error) bool {
	var rejected *record.RejectedError
	return errors.As(err, &rejected) || errors.Is(err, replica.ErrAboveSegment) || errors.Is(err, record.ErrTooLarge)
}

// refusedCopy goes on after the target refused a copy for what it is: its records are tried one by one, and one that is refused alone
// gets no copy.
func (p *partition) refusedCopy(c *letter, to destination, why error) error {
	if err := p.cancel(to.part.ID, to.part, why); err != nil {
		return err
	}
	if len(c.records) == 1 {
		p.e.o.Log.Error("a dead letter is not taken by its topic", zap.Stringer("partition", p.key), zap.Int64("offset", c.of.First), zap.Error(why))
		return p.abandon([]window.Span{c.span()})
	}
	p.mu.Lock()
	p.mu.dead.alone = true
	p.mu.Unlock()
	return nil
}

// durable waits until what a partition holds below an offset is as durable as it gets, or the engine ends.
func (p *partition) durable(part *replica.Partition, end int64, epoch int32) error {
	done := make(chan error, 1)
	part.WhenDurable(end, epoch, -1, func(err error) { done <- err })
	select {
	case err := <-done:
		return err
	case <-p.e.ctx.Done():
		return p.e.ctx.Err()
	}
}

// intended is the dead letters with an intent.
func intended(w *window.Window) (open []share.Batch) {
	for b := range w.DeadLetters(0) {
		if b.Intent != nil {
			open = append(open, b)
		}
	}
	return open
}

// settleStanding settles open intents whose copies are in the target's log, so that they are not copied again when the others are
// cancelled.
func (p *partition) settleStanding(part *replica.Partition) error {
	if _, err := p.enter(); err != nil {
		return err
	}
	open := intended(p.mu.window)
	p.leave()
	if len(open) == 0 {
		return nil
	}
	if err := p.durable(part, part.LogEnd(), -1); err != nil { // what is found there stays
		return err
	}
	stand := make([]bool, len(open))
	if err := p.search(part, open, stand); err != nil {
		return err
	}
	var done []window.Span
	for i, b := range open {
		if stand[i] {
			done = append(done, window.Span{First: b.First, Last: b.Last})
		}
	}
	return p.copiedSome(done)
}

// cancel takes back all open intents whose copies do not stand in part (nil: none do), together with a new epoch of the producer: what
// is still to be copied is intended again.
func (p *partition) cancel(topic uuid.ID, part *replica.Partition, why error) error {
	p.e.o.Log.Warn("dead letters are intended again", zap.Stringer("partition", p.key), zap.Error(why))
	if part != nil {
		if err := p.settleStanding(part); err != nil {
			return err
		}
	}
	next, err := p.bumped(topic)
	if err != nil {
		return err
	}
	return p.change(&next, func(w *window.Window) (cs []*window.Change, err error) {
		for _, b := range intended(w) {
			s := window.Span{First: b.First, Last: b.Last}
			c, err := w.Intend(s, nil)
			if err != nil {
				return cs, err
			}
			cs = append(cs, c)
		}
		return cs, nil
	})
}

// finish brings intents to their end that a life before this one, or a round that failed, has left open: some of their copies may
// stand already.
func (p *partition) finish(s *settings, open []share.Batch) error {
	in := open[0].Intent
	part, err := p.e.o.Replicas.Partition(in.Topic, in.Partition)
	if err != nil || part.Closed() {
		if p.e.o.Image().TopicByID(in.Topic) != nil {
			return fmt.Errorf("dead letters under way: %w", replica.ErrNotLeader)
		}
		return p.cancel(in.Topic, nil, errNoCopy) // the target is deleted, and the copies with it
	}
	to := destination{part: part}
	stand, err := p.standing(part, open)
	if errors.Is(err, errNoCopy) {
		return p.cancel(in.Topic, part, err)
	}
	if err != nil {
		return err
	}
	var done []window.Span
	var again []letter
	for i, b := range open {
		if stand[i] {
			done = append(done, window.Span{First: b.First, Last: b.Last})
			continue
		}
		var c letter
		if c, err = p.reread(s, b, to); err != nil {
			break
		}
		again = append(again, c)
	}
	if err := p.copiedSome(done); err != nil {
		return err
	}
	switch {
	case errors.Is(err, errNoCopy):
		return p.cancel(in.Topic, part, err)
	case err != nil || len(again) == 0:
		return err
	}
	return p.copy(s, again, to)
}

func (p *partition) copiedSome(spans []window.Span) error {
	if len(spans) == 0 {
		return nil
	}
	return p.copied(spans)
}

// reread reads the records of an intent again. errNoCopy: they are not what they were.
func (p *partition) reread(s *settings, b share.Batch, to destination) (letter, error) {
	d := p.digger(s, to)
	d.each, d.most = copyRecords, math.MaxInt32 // as they were intended, whatever has changed since
	if _, err := d.batch(b); err != nil {
		return letter{}, err
	}
	if len(d.lost) > 0 || len(d.copies) != 1 {
		return letter{}, fmt.Errorf("%w: offsets %d to %d make %d copies now, %v is lost", errNoCopy, b.First, b.Last, len(d.copies), d.lost)
	}
	c := d.copies[0]
	c.intent = b.Intent
	return c, nil
}

// standing tells which of the intents' copies stand. A log that remembers the producer answers repeats by itself; one that does
// not would take them again, so it is read.
func (p *partition) standing(part *replica.Partition, open []share.Batch) ([]bool, error) {
	stand := make([]bool, len(open))
	known, err := part.Producers()
	if err != nil {
		return nil, err
	}
	in := open[0].Intent
	for _, k := range known {
		switch {
		case k.ID != in.ProducerID:
		case k.Epoch > in.Epoch:
			return nil, fmt.Errorf("%w: the target knows epoch %d of its producer", errNoCopy, k.Epoch)
		default: // repeats are answered as such; of an older epoch there are none
			return stand, nil
		}
	}
	if err := p.durable(part, part.LogEnd(), -1); err != nil { // what is found there stays
		return nil, err
	}
	return stand, p.search(part, open, stand)
}

// search looks for the copies in the target's log.
func (p *partition) search(part *replica.Partition, open []share.Batch, stand []bool) error {
	for at := part.LogStart(); at < part.HighWatermark(); {
		if err := p.e.ctx.Err(); err != nil {
			return err
		}
		got, err := part.Read(replica.Read{Offset: at, MaxBytes: largePiece, AtLeastOne: true, Epoch: -1, LastEpoch: -1})
		if errors.Is(err, replica.ErrOffsetOutOfRange) && at < part.LogStart() {
			at = part.LogStart()
			continue
		}
		if err != nil || got.Slice.Len == 0 {
			return err
		}
		h := headers{slice: got.Slice}
		for h.pos < got.Slice.Len && err == nil {
			var b record.Batch
			if b, _, err = h.next(); err != nil {
				break
			}
			for i := range open {
				in := open[i].Intent
				stand[i] = stand[i] || b.ProducerID() == in.ProducerID && b.ProducerEpoch() == in.Epoch && b.BaseSequence() == in.Sequence
			}
		}
		at = got.Slice.End
		got.Slice.Release()
		if err != nil {
			return err
		}
	}
	return nil
}
