package window

import (
	"slices"
	"time"

	"github.com/tidemark-mq/tidemark/coordinator/share"
)

// newChange is a change that also says what no other one said yet.
func (w *Window) newChange() *Change {
	c := &Change{owed: w.owed, Add: w.owed}
	w.owed = share.Counters{}
	for _, s := range w.gaps {
		if s.Last < w.start {
			continue // Start says it
		}
		s.First = max(s.First, w.start)
		c.gaps = append(c.gaps, s)
		c.Batches = append(c.Batches, share.Batch{First: s.First, Last: s.Last, State: share.Archived})
	}
	w.gaps = w.gaps[:0]
	return c
}

// change enters what a run is to become.
func (w *Window) change(c *Change, r *run, to share.Batch) {
	if to.State != share.Acquired {
		to.Holder = ""
	}
	if to.State.Final() || to.State == share.Archiving {
		to.Until = 0
	}
	w.mark(r, c)
	c.Batches = append(c.Batches, to)
	if to.State == share.Archiving && r.state != share.Archiving {
		c.DeadLetters = append(c.DeadLetters, to)
	}
}

// seal ends the making of a change.
func (w *Window) seal(c *Change) *Change {
	if c == nil {
		return nil
	}
	c.Batches = tidy(c.Batches)
	c.DeadLetters = tidy(c.DeadLetters)
	c.Start = w.start
	return c
}

// tidy sorts batches and merges equal neighbours.
func tidy(bs []share.Batch) []share.Batch {
	byFirst := func(a, b share.Batch) int { return int(min(max(a.First-b.First, -1), 1)) }
	if !slices.IsSortedFunc(bs, byFirst) {
		slices.SortFunc(bs, byFirst)
	}
	kept := bs[:0]
	for _, b := range bs {
		if n := len(kept); n > 0 && continues(&kept[n-1], &b) {
			kept[n-1].Last = b.Last
			continue
		}
		kept = append(kept, b)
	}
	return kept
}

func continues(a, b *share.Batch) bool {
	return a.Last+1 == b.First && a.State == b.State && a.Deliveries == b.Deliveries && a.Failures == b.Failures &&
		a.Until == b.Until && a.Holder == b.Holder && a.Intent == b.Intent
}

// Commit says that the change is durable: what it says is so.
func (w *Window) Commit(c *Change, now time.Time) {
	for _, b := range c.Batches {
		if b.First < w.start { // the log's start passed it meanwhile
			if !b.State.Final() {
				w.owed.Skipped += min(b.Last+1, w.start) - b.First
			}
			b.First = w.start
		}
		if b.First > b.Last {
			continue
		}
		if b.State == share.Available && b.Until <= now.UnixMilli() {
			b.Until = 0
		}
		for _, r := range w.carve(Span{b.First, b.Last}) {
			if r.change == c {
				w.set(r, b)
			}
		}
		w.join(Span{b.First, b.Last})
	}
	w.shrink()
}

// Rollback says that the change is not durable and never will be: what it says is not so. Leases that ended meanwhile are for the
// next Expire; a caller that got here from Expire waits a little before.
func (w *Window) Rollback(c *Change, _ time.Time) {
	w.owed = w.owed.Add(c.owed)
	for _, s := range c.gaps {
		w.owed.Skipped -= below(s, w.start)
		w.gaps = append(w.gaps, s)
	}
	for _, b := range c.Batches {
		s := Span{b.First, b.Last}
		w.owed.Skipped += below(s, w.start)
		if s.First = max(s.First, w.start); s.First > s.Last {
			continue
		}
		for _, r := range w.carve(s) {
			if r.change == c {
				w.mark(r, nil)
			}
		}
		w.join(s)
	}
	w.shrink()
}

// below is how much of a span lies below an offset.
func below(s Span, start int64) int64 { return max(min(s.Last+1, start)-s.First, 0) }

// AdvanceStart drops what is below the log's start, leases included; what was not settled counts as skipped. The change has no
// busy offsets and takes effect at once, but goes to Commit or Rollback as others do. Nil: there is nothing below.
func (w *Window) AdvanceStart(logStart int64, _ time.Time) *Change {
	if logStart <= w.start {
		return nil
	}
	w.extend(logStart)
	gone := Span{w.start, logStart - 1}
	for _, r := range w.carve(gone) {
		if !r.state.Final() && !r.busy() { // what is busy is counted when its change ends
			w.owed.Skipped += r.len()
		}
		w.remove(r)
	}
	w.start = logStart
	w.shrink()
	return w.seal(w.newChange())
}
