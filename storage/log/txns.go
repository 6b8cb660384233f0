package log

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tidemark-mq/tidemark/storage/segment"
)

// txnTracker knows where transactions begin that are not decided as far as consumers may know: open ones, and ended ones whose
// marker is not committed yet.
type txnTracker struct {
	undecided atomic.Int64 // how many; most logs have none, and then nobody takes the lock

	mu    sync.Mutex
	open  []int64 // first offsets, rising
	ended []endedTxn
}

// endedTxn is a transaction whose marker may lie above the watermark; in order of markers.
type endedTxn struct{ first, marker int64 }

func (t *txnTracker) begin(first int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i, _ := slices.BinarySearch(t.open, first)
	t.open = slices.Insert(t.open, i, first)
	t.countLocked()
}

// finish ends the transaction that began at first, and answers the last stable offset once its marker is committed.
func (t *txnTracker) finish(first, marker, watermark int64) (stable int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i, ok := slices.BinarySearch(t.open, first); ok {
		t.open = slices.Delete(t.open, i, i+1)
	}
	stable = marker + 1
	if len(t.open) > 0 {
		stable = t.open[0]
	}
	if marker >= watermark {
		t.ended = append(t.ended, endedTxn{first, marker})
	}
	t.countLocked()
	return stable
}

// committed forgets ended transactions whose markers lie below the watermark.
func (t *txnTracker) committed(watermark int64) {
	if t.undecided.Load() == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for n < len(t.ended) && t.ended[n].marker < watermark {
		n++
	}
	if t.ended = t.ended[n:]; len(t.ended) == 0 {
		t.ended = nil
	}
	t.countLocked()
}

func (t *txnTracker) countLocked() { t.undecided.Store(int64(len(t.open) + len(t.ended))) }

// reset replaces all that is known by the open transactions of ps.
func (t *txnTracker) reset(ps *producers) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open, t.ended = nil, nil
	for _, p := range ps.byID {
		if p.txnStart >= 0 {
			t.open = append(t.open, p.txnStart)
		}
	}
	slices.Sort(t.open)
	t.countLocked()
}

// stable is the last stable offset under a watermark.
func (t *txnTracker) stable(watermark int64) int64 {
	if t.undecided.Load() == 0 {
		return watermark
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	stable := watermark
	if len(t.open) > 0 {
		stable = min(stable, t.open[0])
	}
	for _, e := range t.ended {
		if e.marker >= watermark {
			stable = min(stable, e.first)
		}
	}
	return stable
}

// StableOffset is the offset below which all transactions are decided and committed (KIP-98): the watermark, or the first offset
// of a transaction that is open or whose marker is not below the watermark.
func (l *Log) StableOffset() int64 { return l.txns.stable(l.HighWatermark()) }

// AbortedTxns lists the aborted transactions that have records in [from, to), in the order in which they ended. For what a Read
// returned, to is the Slice's End.
func (l *Log) AbortedTxns(from, to int64) ([]segment.AbortedTxn, error) {
	for {
		if err := l.readable(); err != nil {
			return nil, err
		}
		found, s, err := l.abortedTxns(from, to)
		if err == nil || !l.replaced(s, err) {
			return found, err
		}
	}
}

func (l *Log) abortedTxns(from, to int64) (found []segment.AbortedTxn, s *segment.Segment, err error) {
	list := l.list()
	if len(list) == 0 {
		return nil, nil, nil
	}
	done := false
	// The marker may lie in a segment after the records, up to the first one that was stable at to.
	for _, s := range list[holding(list, from):] {
		err := s.Aborted(func(a segment.AbortedTxn) bool {
			if a.LastOffset >= from && a.FirstOffset < to {
				found = append(found, a)
			}
			done = a.StableOffset >= to
			return !done
		})
		if err != nil {
			return nil, s, err
		}
		if done {
			break
		}
	}
	return found, nil, nil
}
