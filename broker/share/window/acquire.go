package window

import (
	"math"
	"time"

	"github.com/tidemark-mq/tidemark/coordinator/share"
)

// Acquire takes records that are free. The grants of a durable window may leave only when the change is committed, and are void
// when it is rolled back; otherwise they hold at once, and a change, if any, only says what was filtered or holds no record. A
// nil change: there is nothing to persist.
//
// A record that was delivered half as often as Limits.Deliveries allows comes with fewer others each time, and for the last time
// alone, so that one that brings down whoever handles it takes no others with it to the limit.
func (w *Window) Acquire(a Acquire, l Limits) (granted []Grant, c *Change) {
	w.ripen(a.Now)
	p := planner{a: &a, l: &l, room: w.room(l), pieces: w.pieces[:0], batch: -1}
	p.plan(w)
	if w.pieces = p.pieces; cap(w.pieces) > keptScratch {
		w.pieces = nil
	}
	if len(p.pieces) == 0 {
		return nil, nil
	}
	w.extend(p.pieces[len(p.pieces)-1].Last + 1)
	w.gapsOf(p.pieces)
	if l.Durable || p.filtered || p.taken == 0 {
		c = w.newChange()
	}
	granted = w.take(&a, l.Durable, p.pieces, c)
	w.shrink()
	return granted, w.seal(c)
}

// fate is what an acquisition does with offsets.
type fate int8

const (
	taken fate = iota
	filtered
	gap
)

type piece struct {
	Span
	fate fate
}

// gapsOf settles the offsets that hold no record.
func (w *Window) gapsOf(pieces []piece) {
	for _, p := range pieces {
		if p.fate != gap {
			continue
		}
		for _, r := range w.carve(p.Span) {
			w.set(r, share.Batch{State: share.Archived})
		}
		w.join(p.Span)
		w.gaps = append(w.gaps, p.Span)
	}
	w.advance()
}

// take does what was planned beside the gaps.
func (w *Window) take(a *Acquire, durable bool, pieces []piece, c *Change) (granted []Grant) {
	until := wholeMillis(a.Until)
	for _, p := range pieces {
		if p.fate == gap {
			continue
		}
		for _, r := range w.carve(p.Span) {
			b := r.batch()
			if p.fate == filtered {
				b.State = share.Archived
				c.Add.Filtered += r.len()
				w.change(c, r, b)
				continue
			}
			b.State, b.Holder, b.Until = share.Acquired, a.Holder, until
			b.Deliveries = b.Deliveries + 1
			if r.deliveries == math.MaxInt16 {
				b.Deliveries = math.MaxInt16
			}
			if durable {
				w.change(c, r, b)
			} else {
				w.set(r, b)
			}
			granted = appendGrant(granted, Grant{b.First, b.Last, b.Deliveries, b.Failures})
		}
		w.join(p.Span)
	}
	return granted
}

func appendGrant(gs []Grant, g Grant) []Grant {
	if n := len(gs); n > 0 {
		if p := &gs[n-1]; p.Last+1 == g.First && p.Deliveries == g.Deliveries && p.Failures == g.Failures {
			p.Last = g.Last
			return gs
		}
	}
	return append(gs, g)
}

// planner decides what becomes of the offsets that were read, in their order, without changing the window.
type planner struct {
	a        *Acquire
	l        *Limits
	room     int64 // for new records
	pieces   []piece
	taken    int64
	filtered bool

	batch          int   // the record batch that is walked
	shut           bool  // in it, nothing more may be taken
	full           bool  // the window has no room for what is walked
	left           int64 // how many may be taken of the run that is walked
	want, unwanted int   // cursors
}

func (p *planner) plan(w *Window) {
	read := Span{max(p.a.Read.First, w.start), p.a.Read.Last}
	stop := w.stop(*p.l)
	more := w.ascend(w.free, read.First, func(r *run) bool {
		if r.first > read.Last || r.first > stop {
			return false
		}
		return p.offer(max(r.first, read.First), min(r.last, read.Last), r)
	})
	if first := max(w.end, read.First); more && stop == math.MaxInt64 && first <= read.Last {
		p.offer(first, read.Last, nil)
	}
}

// offer walks free offsets; r is their run, nil behind the end. False: that is all that is taken.
func (p *planner) offer(first, last int64, r *run) bool {
	throttled := false
	p.left = math.MaxInt64
	switch {
	case r == nil:
		p.left, p.full = p.room, p.room <= 0
	case p.l.Deliveries > 0 && int(r.deliveries) >= max(2, (p.l.Deliveries+1)/2):
		if p.taken > 0 {
			return false
		}
		throttled, p.left = true, p.fewer(r)
	}
	for at := first; at <= last; {
		next, ok := p.step(at, last, r == nil, throttled)
		if !ok {
			return false
		}
		at = next
	}
	return !throttled || p.taken == 0
}

// fewer is how many records of a run that was delivered often may be delivered together: half of it, a quarter, one.
func (p *planner) fewer(r *run) int64 {
	if int(r.deliveries) >= p.l.Deliveries-1 {
		return 1
	}
	return max(1, r.len()>>(int(r.deliveries)-max(2, (p.l.Deliveries+1)/2)+1))
}

// step decides on offsets from at on, and answers where to go on.
func (p *planner) step(at, last int64, fresh, throttled bool) (next int64, ok bool) {
	k := max(p.batch, 0)
	for k < len(p.a.Batches) && p.a.Batches[k].Last < at {
		k++
	}
	if k == len(p.a.Batches) || p.a.Batches[k].First > at {
		if k < len(p.a.Batches) {
			last = min(last, p.a.Batches[k].First-1)
		}
		return p.put(at, last, gap), true
	}
	if k != p.batch || p.a.Strict {
		p.batch, p.shut = k, p.taken >= int64(p.a.MaxRecords) || p.left <= 0
	} else if throttled {
		p.shut = p.shut || p.left <= 0
	}
	last = min(last, p.a.Batches[k].Last)
	last, f, some := p.class(at, last)
	switch {
	case !some:
		return last + 1, !p.l.Ordered
	case f == filtered:
		p.filtered = true
		return p.put(at, last, filtered), true
	case p.shut || p.full:
		return at, false
	}
	if p.a.Strict {
		last = min(last, clampAdd(at, int64(p.a.MaxRecords)-p.taken))
	}
	if p.a.Strict || throttled {
		last = min(last, clampAdd(at, p.left))
	}
	p.taken += last - at + 1
	p.left -= last - at + 1
	return p.put(at, last, taken), true
}

// clampAdd is the last of n offsets from at.
func clampAdd(at, n int64) int64 {
	if n > math.MaxInt64-at {
		return math.MaxInt64
	}
	return at + n - 1
}

// class is what is asked for an offset, and up to where; false: nothing.
func (p *planner) class(at, last int64) (to int64, f fate, some bool) {
	in, to := seek(p.a.Filtered, &p.unwanted, at, last)
	if in {
		return to, filtered, true
	}
	if p.a.Want == nil {
		return to, taken, true
	}
	in, to = seek(p.a.Want, &p.want, at, to)
	return to, taken, in
}

// seek tells whether an offset is in one of the spans, and up to where that holds. Offsets come in rising order.
func seek(spans []Span, cursor *int, at, last int64) (in bool, to int64) {
	for *cursor < len(spans) && spans[*cursor].Last < at {
		*cursor++
	}
	if *cursor == len(spans) {
		return false, last
	}
	if s := spans[*cursor]; s.First <= at {
		return true, min(last, s.Last)
	} else {
		return false, min(last, s.First-1)
	}
}

// put notes what becomes of offsets.
func (p *planner) put(first, last int64, f fate) (next int64) {
	if n := len(p.pieces); n > 0 && p.pieces[n-1].fate == f && p.pieces[n-1].Last+1 == first {
		p.pieces[n-1].Last = last
	} else {
		p.pieces = append(p.pieces, piece{Span{first, last}, f})
	}
	return last + 1
}

// ripen frees what has backed off for long enough.
func (w *Window) ripen(now time.Time) {
	for r, ok := w.backoffs.Min(); ok && r.until <= now.UnixMilli(); r, ok = w.backoffs.Min() {
		b := r.batch()
		b.Until = 0
		w.set(r, b)
		w.join(Span{r.first, r.last})
	}
}
