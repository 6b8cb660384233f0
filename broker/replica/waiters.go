package replica

import (
	"container/heap"
	"sync"
	"sync/atomic"
)

// offsetWaiters holds who waits for an offset to be passed: parked produce answers and
// coordinator operations. Almost all arrive in the order of their offsets, so they stand
// in a queue; the few that do not go to a heap beside it.
type offsetWaiters struct {
	total *atomic.Int64 // of all partitions; nil: not counted

	mu     sync.Mutex
	queue  []offsetWaiter // ascending; queue[head:] are live
	head   int
	strays strayHeap
}

type offsetWaiter struct {
	end   int64
	fn    func(error)
	epoch int32 // leader epoch of what is waited for
}

// add parks x until the passed offset reaches x.end. It answers false when x need not wait: then the caller runs it with
// the error. lost (why it would wait in vain) and passed are asked under the lock, so that neither an advance nor an end
// that happens meanwhile is missed: whoever makes one lets it be seen before calling take or fail.
func (w *offsetWaiters) add(x offsetWaiter, passed func() int64, lost func() error) (parked bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := lost(); err != nil {
		return false, err
	}
	if passed() >= x.end {
		return false, nil
	}
	w.parkLocked(x)
	w.count(1)
	return true, nil
}

func (w *offsetWaiters) parkLocked(x offsetWaiter) {
	if n := len(w.queue); n > w.head && w.queue[n-1].end > x.end {
		heap.Push(&w.strays, x)
	} else {
		w.queue = append(w.queue, x)
	}
}

func (w *offsetWaiters) count(n int) {
	if w.total != nil {
		w.total.Add(int64(n))
	}
}

// take removes everyone who waited for an offset up to passed and appends them to due.
func (w *offsetWaiters) take(passed int64, due []offsetWaiter) []offsetWaiter {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.head < len(w.queue) && w.queue[w.head].end <= passed {
		due = append(due, w.queue[w.head])
		w.queue[w.head].fn = nil
		w.head++
	}
	for len(w.strays) > 0 && w.strays[0].end <= passed {
		due = append(due, heap.Pop(&w.strays).(offsetWaiter))
	}
	w.compactLocked()
	w.count(-len(due))
	return due
}

// compactLocked gives back room that nobody stands in any more.
func (w *offsetWaiters) compactLocked() {
	switch {
	case w.head == len(w.queue):
		w.queue, w.head = w.queue[:0], 0
	case w.head > 64 && w.head > len(w.queue)/2:
		n := copy(w.queue, w.queue[w.head:])
		clear(w.queue[n:])
		w.queue, w.head = w.queue[:n], 0
	}
	if cap(w.queue) > 1024 && len(w.queue) == 0 {
		w.queue = nil // a burst is over: its memory goes too
	}
	if cap(w.strays) > 1024 && len(w.strays) == 0 {
		w.strays = nil
	}
}

// fail runs everyone with err, save those of the epoch keep.
func (w *offsetWaiters) fail(err error, keep int32) {
	w.mu.Lock()
	all := append(w.queue[w.head:], w.strays...)
	w.queue, w.head, w.strays = nil, 0, nil
	var due []offsetWaiter
	for _, x := range all {
		if x.epoch == keep {
			w.parkLocked(x)
		} else {
			due = append(due, x)
		}
	}
	w.count(-len(due))
	w.mu.Unlock()
	for _, x := range due {
		x.fn(err)
	}
}

func (w *offsetWaiters) waiting() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.queue) - w.head + len(w.strays)
}

type strayHeap []offsetWaiter

func (h strayHeap) Len() int           { return len(h) }
func (h strayHeap) Less(i, j int) bool { return h[i].end < h[j].end }
func (h strayHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *strayHeap) Push(x any)        { *h = append(*h, x.(offsetWaiter)) }
func (h *strayHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = offsetWaiter{}
	*h = old[:len(old)-1]
	return last
}
