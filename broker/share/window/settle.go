package window

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/tidemark-mq/tidemark/coordinator/share"
)

// Settle does all of the actions, or none of them and answers an error that wraps ErrState or ErrRange. Actions that overlap
// are ErrState, as in Kafka: the second finds nothing acquired. Offsets below Start were settled before and are passed over. A
// nil change: it is done, there is nothing to persist (Renew without Durable, or all below Start).
func (w *Window) Settle(holder string, actions []Action, now time.Time, l Limits) (*Change, error) {
	byFirst := func(a, b Action) int { return int(min(max(a.First-b.First, -1), 1)) }
	if !slices.IsSortedFunc(actions, byFirst) {
		actions = slices.Clone(actions)
		slices.SortFunc(actions, byFirst)
	}
	next := int64(math.MinInt64)
	for i := range actions {
		a := &actions[i]
		if err := w.check(holder, a, now); err != nil {
			return nil, err
		}
		if a.First < next {
			return nil, fmt.Errorf("offset %d named twice: %w", a.First, ErrState)
		}
		next = a.Last + 1
	}
	var c *Change
	for i := range actions {
		c = w.act(c, &actions[i], now, l)
	}
	return w.seal(c), nil
}

// check tells whether all of an action's offsets are held as it says.
func (w *Window) check(holder string, a *Action, now time.Time) (err error) {
	if a.First > a.Last || a.Last >= max(w.end, w.start) || a.Kind < Gap || a.Kind > DeadLetter {
		return fmt.Errorf("offsets %d to %d, action %d: %w", a.First, a.Last, a.Kind, ErrRange)
	}
	if a.Last < w.start {
		return nil
	}
	w.key.first = w.find(max(a.First, w.start)).first
	w.all.AscendGreaterOrEqual(&w.key, func(r *run) bool {
		if r.first > a.Last {
			return false
		}
		if !r.answers(holder, a, now) {
			err = fmt.Errorf("offset %d: %w", max(r.first, a.First), ErrState)
		}
		return err == nil
	})
	return err
}

func (r *run) answers(holder string, a *Action, now time.Time) bool {
	return r.is(share.Acquired) &&
		(a.Force || r.holder == holder && r.until > now.UnixMilli()) &&
		(a.Delivery == 0 || int32(r.deliveries) == min(a.Delivery, math.MaxInt16))
}

// act does an action that was checked.
func (w *Window) act(c *Change, a *Action, now time.Time, l Limits) *Change {
	s := Span{max(a.First, w.start), a.Last}
	if s.First > s.Last {
		return c
	}
	for _, r := range w.carve(s) {
		if b := r.batch(); a.Kind != Renew {
			if c == nil {
				c = w.newChange()
			}
			w.change(c, r, c.answer(b, a.Kind, wholeMillis(now), l))
		} else if b.Until = wholeMillis(a.Until); !l.Durable {
			w.set(r, b)
		} else {
			if c == nil {
				c = w.newChange()
			}
			w.change(c, r, b)
		}
	}
	w.join(s)
	return c
}

// answer is what a held run becomes by a final answer or by being given back, counted in the change. A back-off begins at from, in ms.
func (c *Change) answer(b share.Batch, k Kind, from int64, l Limits) share.Batch {
	n := b.Last - b.First + 1
	switch k {
	case Accept:
		b.State = share.Acknowledged
		c.Add.Accepted += n
	case Reject:
		b.State = share.Archived
		c.Add.Rejected += n
	case Gap:
		b.State = share.Archived
	case DeadLetter:
		b.State = share.Archiving
	default:
		if b = givenBack(b, k == Fail, from, l); b.State == share.Archived {
			c.Add.Rejected += n
		}
	}
	return b
}

// wholeMillis is t in milliseconds, rounded up: leases and back-offs are kept in milliseconds, and end no part of one early.
func wholeMillis(t time.Time) int64 { return t.Add(time.Millisecond - 1).UnixMilli() }

// givenBack is what a held run becomes without a final answer: Available, or at a limit Archiving or Archived.
func givenBack(b share.Batch, failed bool, from int64, l Limits) share.Batch {
	b.Until, b.Holder = 0, ""
	limit := l.Deliveries > 0 && int(b.Deliveries) >= l.Deliveries
	if failed {
		b.Failures++
		limit = limit || l.Failures > 0 && int(b.Failures) >= l.Failures
	}
	switch {
	case limit && l.DeadLetter:
		b.State = share.Archiving
	case limit:
		b.State = share.Archived
	default:
		b.State = share.Available
		if failed && l.Backoff != nil {
			if wait := l.Backoff(b.Failures); wait > 0 {
				b.Until = from + wait.Milliseconds()
			}
		}
	}
	return b
}

// ReleaseHolder gives back what the holder holds, as Release does: its session is closed. Acquisitions that are not committed yet
// are not among it: call it again then. Nil: it holds nothing.
func (w *Window) ReleaseHolder(holder string, now time.Time, l Limits) *Change {
	var runs []*run
	w.held.AscendGreaterOrEqual(&run{holder: holder, first: math.MinInt64}, func(r *run) bool {
		if r.holder == holder {
			runs = append(runs, r)
		}
		return r.holder == holder
	})
	if len(runs) == 0 {
		return nil
	}
	c := w.newChange()
	for _, r := range runs {
		w.change(c, r, c.answer(r.batch(), Release, now.UnixMilli(), l))
	}
	return w.joined(c)
}

// joined merges the runs of a change that was just made, and seals it.
func (w *Window) joined(c *Change) *Change {
	c = w.seal(c)
	for _, b := range c.Batches {
		w.join(Span{b.First, b.Last})
	}
	return c
}

// Expire ends the leases and back-offs that are over by now. A lease that ran out is a failure. Nil: there is nothing to
// persist, although records may be free that were not.
//
// In a durable window what has reached no limit is free at once: see the package. Otherwise it is when the change is committed.
func (w *Window) Expire(now time.Time, l Limits) *Change {
	w.ripen(now)
	var c *Change
	for r, ok := w.leases.Min(); ok && r.until <= now.UnixMilli(); r, ok = w.leases.Min() {
		if b := givenBack(r.batch(), true, r.until, l); l.Durable && b.State == share.Available {
			w.set(r, b)
			w.join(Span{r.first, r.last})
			continue
		}
		if c == nil {
			c = w.newChange()
		}
		w.change(c, r, c.answer(r.batch(), Fail, r.until, l))
	}
	w.ripen(now) // back-offs count from the end of the lease, and may be over
	if c == nil {
		return nil
	}
	return w.joined(c)
}

// Deadline is when Expire is to be called next; zero: not before something else happens.
func (w *Window) Deadline() time.Time {
	until := int64(math.MaxInt64)
	for _, t := range []*tree{w.leases, w.backoffs} {
		if r, ok := t.Min(); ok {
			until = min(until, r.until)
		}
	}
	if until == math.MaxInt64 {
		return time.Time{}
	}
	return time.UnixMilli(until)
}
