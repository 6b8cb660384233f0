package replica

import "sync"

// Watcher is told when a partition has news for readers: a higher watermark or stable
// offset, another log start, a change of leadership. One watcher may stand on many
// partitions; it is called from whichever goroutine made the news and must not block.
type Watcher interface{ PartitionChanged(p *Partition) }

// Watch is one watcher's place on one partition. The zero value with To set is ready; it is used for one Watch and one Unwatch.
type Watch struct {
	To         Watcher
	prev, next *Watch // guarded by the partition's watchers
	listed     bool
}

// watchers is a partition's readers that wait, as a list, so that each of very many comes and goes in constant time.
type watchers struct {
	mu    sync.Mutex
	first *Watch
	n     int
}

func (w *watchers) add(x *Watch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if x.listed {
		return
	}
	x.listed, x.prev, x.next = true, nil, w.first
	if w.first != nil {
		w.first.prev = x
	}
	w.first = x
	w.n++
}

func (w *watchers) remove(x *Watch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !x.listed {
		return
	}
	if x.prev != nil {
		x.prev.next = x.next
	} else {
		w.first = x.next
	}
	if x.next != nil {
		x.next.prev = x.prev
	}
	x.listed, x.prev, x.next = false, nil, nil
	w.n--
}

func (w *watchers) wake(p *Partition) {
	w.mu.Lock()
	if w.n == 0 {
		w.mu.Unlock()
		return
	}
	var buf [8]Watcher
	due := buf[:0]
	if w.n > len(buf) {
		due = make([]Watcher, 0, w.n)
	}
	for x := w.first; x != nil; x = x.next {
		due = append(due, x.To)
	}
	w.mu.Unlock()
	for _, x := range due {
		x.PartitionChanged(p)
	}
}
