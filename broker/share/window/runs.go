package window

import (
	"github.com/google/btree"

	"github.com/tidemark-mq/tidemark/coordinator/share"
)

// run is offsets of one state. In memory a settled run is always Acknowledged without numbers: how it was settled matters to
// nobody but to what is persisted, and like this settled neighbours merge.
type run struct {
	first, last int64
	until       int64 // ms: Acquired: the lease's end; Available: the back-off's, or 0
	holder      string
	intent      *share.Intent
	change      *Change // uncommitted, of which it is part; the rest is as before it
	failures    int32
	deliveries  int16
	state       share.State
}

func (r *run) len() int64 { return r.last - r.first + 1 }
func (r *run) busy() bool { return r.change != nil }
func (r *run) virgin() bool {
	return r.is(share.Available) && r.deliveries == 0 && r.failures == 0 && r.until == 0
}

// is tells whether a run has the state and is not busy.
func (r *run) is(s share.State) bool { return r.state == s && r.change == nil }

func (r *run) batch() share.Batch {
	return share.Batch{First: r.first, Last: r.last, State: r.state, Deliveries: r.deliveries, Failures: r.failures,
		Holder: r.holder, Until: r.until, Intent: r.intent}
}

// same tells whether neighbours are to be one run. Each intent is of one run.
func (r *run) same(o *run) bool {
	return r.state == o.state && r.deliveries == o.deliveries && r.failures == o.failures && r.until == o.until &&
		r.change == o.change && r.intent == o.intent && r.holder == o.holder
}

type tree = btree.BTreeG[*run]

func byFirst(a, b *run) bool { return a.first < b.first }

func byUntil(a, b *run) bool {
	if a.until != b.until {
		return a.until < b.until
	}
	return a.first < b.first
}

func byHolder(a, b *run) bool {
	if a.holder != b.holder {
		return a.holder < b.holder
	}
	return a.first < b.first
}

func newTree(less btree.LessFunc[*run]) *tree {
	return btree.NewWithFreeListG(16, less, btree.NewFreeListG[*run](8))
}

// byState is the index in which a run of this state stands; nil for settled ones.
func (w *Window) byState(r *run) *tree {
	switch {
	case r.state == share.Archiving:
		return w.letters
	case r.state.Final():
		return nil
	case r.state == share.Acquired || r.busy() || r.until > 0:
		return w.closed
	}
	return w.free
}

// place enters a run in the indexes that its state asks for, beside all.
func (w *Window) place(r *run) {
	if t := w.byState(r); t != nil {
		t.ReplaceOrInsert(r)
	}
	switch {
	case r.is(share.Acquired):
		w.leases.ReplaceOrInsert(r)
		w.held.ReplaceOrInsert(r)
	case r.is(share.Available) && r.until > 0:
		w.backoffs.ReplaceOrInsert(r)
	}
}

// lift is place undone.
func (w *Window) lift(r *run) {
	if t := w.byState(r); t != nil {
		t.Delete(r)
	}
	switch {
	case r.is(share.Acquired):
		w.leases.Delete(r)
		w.held.Delete(r)
	case r.is(share.Available) && r.until > 0:
		w.backoffs.Delete(r)
	}
}

// count adds a run's offsets to the window's numbers, or takes them off.
func (w *Window) count(r *run, sign int64) {
	switch {
	case r.state == share.Acquired:
		w.inFlight += sign * r.len()
	case r.state.Final():
		w.complete += sign * r.len()
	}
}

// add enters a new run.
func (w *Window) add(b share.Batch) *run {
	r := w.blank()
	r.first, r.last = b.First, b.Last
	r.become(b)
	w.all.ReplaceOrInsert(r)
	w.place(r)
	w.count(r, 1)
	return r
}

// remove takes a run out of the window.
func (w *Window) remove(r *run) {
	w.lift(r)
	w.all.Delete(r)
	w.count(r, -1)
	w.recycle(r)
}

// set gives a run another state, free of a change.
func (w *Window) set(r *run, b share.Batch) {
	w.lift(r)
	w.count(r, -1)
	r.change = nil
	r.become(b)
	w.place(r)
	w.count(r, 1)
}

// mark makes a run part of a change, or (nil) of none.
func (w *Window) mark(r *run, c *Change) {
	w.lift(r)
	r.change = c
	w.place(r)
}

// become takes over a batch's state but not its offsets.
func (r *run) become(b share.Batch) {
	if b.State.Final() {
		b = share.Batch{State: share.Acknowledged}
	}
	r.state, r.deliveries, r.failures, r.until, r.holder, r.intent = b.State, b.Deliveries, b.Failures, b.Until, b.Holder, b.Intent
}

// find is the run of an offset, or nil outside of the window.
func (w *Window) find(offset int64) (found *run) {
	w.key.first = offset
	w.all.DescendLessOrEqual(&w.key, func(r *run) bool {
		if r.last >= offset {
			found = r
		}
		return false
	})
	return found
}

// split cuts a run in two and answers the second, which begins at the offset.
func (w *Window) split(r *run, at int64) *run {
	n := w.blank()
	*n = *r
	n.first, r.last = at, at-1
	w.all.ReplaceOrInsert(n)
	w.place(n)
	return n
}

// carve makes runs begin and end with the span, which lies in the window, and answers those in it. They are good until the
// next carve or join.
func (w *Window) carve(s Span) []*run {
	r := w.find(s.First)
	if r.first < s.First {
		r = w.split(r, s.First)
	}
	if r.last < s.Last {
		r = w.find(s.Last)
	}
	if r.last > s.Last {
		w.split(r, s.Last+1)
	}
	if r.first == s.First {
		w.scratch = append(w.scratch[:0], r)
		return w.scratch
	}
	return w.within(s)
}

// within is the runs that begin in the span, good until the next carve, within or join.
func (w *Window) within(s Span) []*run {
	if w.scratch = w.scratch[:0]; cap(w.scratch) > keptScratch {
		w.scratch = nil
	}
	w.key.first = s.First
	w.all.AscendGreaterOrEqual(&w.key, func(r *run) bool {
		if r.first > s.Last {
			return false
		}
		w.scratch = append(w.scratch, r)
		return true
	})
	return w.scratch
}

// join merges equal neighbours from the one before the span to the one after it.
func (w *Window) join(s Span) {
	if r := w.find(s.First - 1); r != nil {
		s.First = r.first
	}
	var left *run
	for _, r := range w.within(Span{s.First, s.Last + 1}) {
		if left == nil || !left.same(r) {
			left = r
			continue
		}
		w.lift(r)
		w.all.Delete(r)
		left.last = r.last
		w.recycle(r)
	}
}

// advance moves the start over what is settled.
func (w *Window) advance() {
	for r, ok := w.all.Min(); ok && r.state.Final(); r, ok = w.all.Min() {
		w.start = r.last + 1
		w.remove(r)
	}
}

// shrink makes the window as small as it can be: neither what is settled at its start, nor what was never touched at its end.
func (w *Window) shrink() {
	w.advance()
	for r, ok := w.all.Max(); ok && r.virgin(); r, ok = w.all.Max() {
		w.end = r.first
		w.remove(r)
	}
}

// What is kept for use again: runs, and places in the slices that calls work in.
const (
	spares      = 64
	keptScratch = 1024
)

func (w *Window) blank() *run {
	if n := len(w.spare); n > 0 {
		r := w.spare[n-1]
		w.spare = w.spare[:n-1]
		return r
	}
	return new(run)
}

func (w *Window) recycle(r *run) {
	*r = run{}
	if len(w.spare) < spares {
		w.spare = append(w.spare, r)
	}
}
