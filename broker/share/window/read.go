package window

import (
	"iter"
	"math"
	"time"

	"github.com/tidemark-mq/tidemark/coordinator/share"
)

// Next is the lowest offset that may be acquired now, to read the log from: End if that is all there is. False: nothing may
// be acquired now, because of the order or because the window is full.
func (w *Window) Next(now time.Time, l Limits) (from int64, ok bool) {
	w.ripen(now)
	from, ok = w.end, w.room(l) > 0
	if r, some := w.free.Min(); some {
		from, ok = r.first, true
	}
	return from, ok && from < w.stop(l)
}

// stop is the first offset that may not be acquired whatever its state, because of the order.
func (w *Window) stop(l Limits) int64 {
	if l.Ordered {
		if r, ok := w.closed.Min(); ok {
			return r.first
		}
	}
	return math.MaxInt64
}

// Free is what may be acquired now from an offset on, by offset; the last one ends at math.MaxInt64 if new records may be. The
// window must not be changed meanwhile.
func (w *Window) Free(from int64, now time.Time, l Limits) iter.Seq[Span] {
	return func(yield func(Span) bool) {
		w.ripen(now)
		stop := w.stop(l)
		more := w.ascend(w.free, max(from, w.start), func(r *run) bool {
			return r.first < stop && yield(Span{max(r.first, from), r.last})
		})
		if more && stop == math.MaxInt64 && w.room(l) > 0 {
			yield(Span{max(w.end, from), math.MaxInt64})
		}
	}
}

// ascend walks an index that is by first, beginning with the run of an offset if it is there. It answers whether it came to the end.
func (w *Window) ascend(t *tree, from int64, visit func(*run) bool) bool {
	if r := w.find(from); r != nil {
		from = r.first
	}
	done := true
	t.AscendGreaterOrEqual(&run{first: from}, func(r *run) bool {
		done = visit(r)
		return done
	})
	return done
}

// Held is what the holder holds from an offset on, by offset. What is in an uncommitted change is not among it. The window must not be
// changed meanwhile.
func (w *Window) Held(holder string, from int64) iter.Seq[Grant] {
	return func(yield func(Grant) bool) {
		key := run{holder: holder, first: from}
		if r := w.find(from); r != nil {
			key.first = r.first
		}
		w.held.AscendGreaterOrEqual(&key, func(r *run) bool {
			return r.holder == holder && yield(Grant{max(r.first, from), r.last, r.deliveries, r.failures})
		})
	}
}

// Ranges is what is not settled from an offset up to End, by offset; what is in an uncommitted change is as before it. The window
// must not be changed meanwhile. It costs the settled runs between, too.
func (w *Window) Ranges(from int64) iter.Seq[share.Batch] {
	return func(yield func(share.Batch) bool) {
		w.ascend(w.all, from, func(r *run) bool { return r.state.Final() || yield(clip(r.batch(), from)) })
	}
}

// DeadLetters is, by offset, what is Archiving and not part of an uncommitted change; those with an Intent have a copy under way,
// the others wait for one. The window must not be changed meanwhile.
func (w *Window) DeadLetters(from int64) iter.Seq[share.Batch] {
	return func(yield func(share.Batch) bool) {
		w.ascend(w.letters, from, func(r *run) bool { return r.busy() || yield(clip(r.batch(), from)) })
	}
}

func clip(b share.Batch, from int64) share.Batch {
	b.First = max(b.First, from)
	return b
}
