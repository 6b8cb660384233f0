package replica

import (
	"container/heap"
	"sync"
)

// offsetWaiters holds who waits for an offset to be passed: parked produce answers and
// coordinator operations. Almost all arrive in the order of their offsets, so they stand
// in a queue; the few that do not go to a heap beside it.
type offsetWaiters struct {
	mu     sync.Mutex
	queue  []offsetWaiter // ascending; queue[head:] are live
	head   int
	strays strayHeap
	failed error // set once nobody can be served any more
}

type offsetWaiter struct {
	end int64
	fn  func(error)
}

// add parks fn until the passed offset reaches end. passed is read under the lock, so an
// advance that happens meanwhile is not missed. It answers false when fn need not wait:
// then the caller runs it.
func (w *offsetWaiters) add(end int64, passed func() int64, fn func(error)) (parked bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed != nil {
		return false, w.failed
	}
	if passed() >= end {
		return false, nil
	}
	if n := len(w.queue); n > w.head && w.queue[n-1].end > end {
		heap.Push(&w.strays, offsetWaiter{end, fn})
		return true, nil
	}
	w.queue = append(w.queue, offsetWaiter{end, fn})
	return true, nil
}

// release runs everyone who waited for an offset up to passed, outside the lock.
func (w *offsetWaiters) release(passed int64) {
	var buf [16]func(error)
	for _, fn := range w.take(passed, buf[:0]) {
		fn(nil)
	}
}

func (w *offsetWaiters) take(passed int64, due []func(error)) []func(error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.head < len(w.queue) && w.queue[w.head].end <= passed {
		due = append(due, w.queue[w.head].fn)
		w.queue[w.head].fn = nil
		w.head++
	}
	for len(w.strays) > 0 && w.strays[0].end <= passed {
		due = append(due, heap.Pop(&w.strays).(offsetWaiter).fn)
	}
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
	return due
}

// fail runs everyone with err. With forGood, later add calls answer err as well.
func (w *offsetWaiters) fail(err error, forGood bool) {
	w.mu.Lock()
	due := append([]offsetWaiter{}, w.queue[w.head:]...)
	due = append(due, w.strays...)
	w.queue, w.head, w.strays = nil, 0, nil
	if forGood {
		w.failed = err
	}
	w.mu.Unlock()
	for _, d := range due {
		d.fn(err)
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

// Watcher is told when a partition has news for readers: a higher watermark or stable
// offset, another log start, a change of leadership. One watcher may stand on many
// partitions; it is called from whichever goroutine made the news and must not block.
type Watcher interface{ PartitionChanged(p *Partition) }

// watchers is the set of a partition's readers that wait. Waiting readers are few per
// partition and come and go quickly, so a slice with swap-removal does.
type watchers struct {
	mu   sync.Mutex
	list []Watcher
}

func (w *watchers) add(x Watcher) {
	w.mu.Lock()
	w.list = append(w.list, x)
	w.mu.Unlock()
}

func (w *watchers) remove(x Watcher) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, have := range w.list {
		if have == x {
			last := len(w.list) - 1
			w.list[i], w.list[last] = w.list[last], nil
			w.list = w.list[:last]
			break
		}
	}
	if len(w.list) == 0 {
		w.list = nil
	}
}

func (w *watchers) wake(p *Partition) {
	w.mu.Lock()
	if len(w.list) == 0 {
		w.mu.Unlock()
		return
	}
	var buf [8]Watcher
	due := append(buf[:0], w.list...)
	w.mu.Unlock()
	for _, x := range due {
		x.PartitionChanged(p)
	}
}
