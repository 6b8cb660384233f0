// Package window is one share partition's window over its log, as a data structure: which offsets are free, held, settled, or
// on their way to the dead letters. It decides and does nothing: no clock, no goroutine, no input or output. The engine
// (broker/share) owns each Window and calls it from one goroutine at a time, persists the Changes it answers, and says what
// became of them.
//
//	        settled          the window: every offset in exactly one run                 never touched
//	... ───────────────┬──────────┬─────────┬──────────┬───────────┬──────────────┬─────────────────────
//	                   │ acquired │ settled │   free   │ archiving │ settled, ... │      free
//	                   Start                                                       End
//
// A run is offsets of one state; equal neighbours merge. Runs stand in a tree by offset, and in indexes of what is free, of what
// an ordered window may not pass, of dead letters, of leases and back-offs by their end, and of leases by holder. So a call costs
// log n in the runs of the window, plus the runs it touches.
//
// Invariants:
//   - The first run is not settled, the last was touched. What is settled is never granted again.
//   - No offset is held twice. An offset in an uncommitted Change is busy: it keeps its state of before, and nothing happens to it.
//   - Start moves only over what is settled durably, holds no record, or is gone from the log; so each Change may say it.
//
// # What is persisted
//
// Settling, giving back and running out are; acquisitions and renewals only if Limits.Durable. Leases of a durable window that
// ran out without reaching a limit are not written: the lease that is kept, with an end that has passed, says the same. Read back
// it is a failure, and its back-off is counted from that end; the next acquisition writes the number. Offsets that hold no record
// are settled when seen and ride in the next Change; lost, they are seen again.
package window

import (
	"math"
	"time"

	"github.com/tidemark-mq/tidemark/coordinator/share"
)

// Window is one share partition's window: see New. It is not safe for concurrent use.
type Window struct {
	start, end         int64
	inFlight, complete int64

	all      *tree // by first: all offsets from start to end
	free     *tree // by first: to be had now
	closed   *tree // by first: acquired, backing off, or busy and not Archiving; an ordered window does not pass them
	letters  *tree // by first: Archiving
	leases   *tree // by until: Acquired, not busy
	backoffs *tree // by until: Available and not yet free, not busy
	held     *tree // by holder, first: Acquired, not busy

	gaps []Span         // settled as holding no record, which no change has said yet
	owed share.Counters // what no change has said yet

	key     run // to look up
	scratch []*run
	pieces  []piece
	spare   []*run
}

// New is the window of what is kept. start is where the group begins if s has no Start. Leases that were kept go on: their
// holders may settle until they end. Those that ended by now are failures like any other and come out of the first Expire, which
// therefore is to be called before anything else. The caller adds a margin to kept deadlines for the difference of clocks.
func New(s share.Stored, start int64, now time.Time) *Window {
	if s.Start >= 0 {
		start = s.Start
	}
	w := &Window{start: start, end: start, all: newTree(byFirst), free: newTree(byFirst), closed: newTree(byFirst), letters: newTree(byFirst),
		leases: newTree(byUntil), backoffs: newTree(byUntil), held: newTree(byHolder)}
	for _, b := range s.Batches {
		b.First = max(b.First, w.end)
		if b.First > b.Last {
			continue
		}
		if b.State == share.Available && b.Until <= now.UnixMilli() {
			b.Until = 0
		}
		w.extend(b.First)
		left, _ := w.all.Max()
		r := w.add(b)
		w.end = b.Last + 1
		if left != nil && left.same(r) {
			w.join(Span{b.First, b.Last})
		}
	}
	w.shrink()
	return w
}

// extend makes the window reach to an offset, with what was never delivered.
func (w *Window) extend(end int64) {
	if end > w.end {
		w.add(share.Batch{First: w.end, Last: end - 1})
		w.end = end
	}
}

// Start is the first offset that is not settled.
func (w *Window) Start() int64 { return w.start }

// End is behind the last offset that was acquired or settled: from there on nothing was touched.
func (w *Window) End() int64 { return w.end }

// InFlight is how many offsets are acquired.
func (w *Window) InFlight() int64 { return w.inFlight }

// Complete is how many offsets at and above Start are settled (KIP-1226's delivery complete count).
func (w *Window) Complete() int64 { return w.complete }

// room is how many new records may be acquired.
func (w *Window) room(l Limits) int64 {
	if l.MaxRecords <= 0 {
		return math.MaxInt64
	}
	used := w.end - w.start
	if !l.CountSettled {
		used -= w.complete
	}
	return int64(l.MaxRecords) - used
}
