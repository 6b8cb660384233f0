package share

import (
	"container/heap"
	"sync"
	"time"
)

// deadlines is the one clock of an engine: which partition has something to do next, and when. A timer runs for the first of
// them only.
type deadlines struct {
	now   func() time.Time
	due   func(*partition) // called without locks, one at a time
	enter func() bool      // before due, leave after it; false: the engine is closed
	leave func()

	mu      sync.Mutex
	queue   deadlineHeap
	timer   *time.Timer
	set     time.Time // what timer is set to; zero: it does not run
	stopped bool
}

// deadline is a partition's entry, in the partition.
type deadline struct {
	at    time.Time // zero: not in the queue
	index int
}

// put sets when p is due; zero: not at all.
func (d *deadlines) put(p *partition, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := &p.deadline
	switch {
	case e.at.Equal(at) || d.stopped:
		return
	case e.at.IsZero():
		e.at = at
		heap.Push(&d.queue, p)
	case at.IsZero():
		heap.Remove(&d.queue, e.index)
		e.at = at
	default:
		e.at = at
		heap.Fix(&d.queue, e.index)
	}
	d.windLocked()
}

// windLocked sets the timer to the first deadline. One that is set to fire earlier is left: it costs one look for nothing, where
// setting it for every change of the first deadline would cost more.
func (d *deadlines) windLocked() {
	if len(d.queue) == 0 {
		return
	}
	first := d.queue[0].deadline.at
	if !d.set.IsZero() && !first.Before(d.set) {
		return
	}
	d.set = first
	wait := max(0, first.Sub(d.now()))
	if d.timer == nil {
		d.timer = time.AfterFunc(wait, d.fire)
		return
	}
	d.timer.Reset(wait)
}

// fire calls due for everyone whose time has come.
func (d *deadlines) fire() {
	if !d.enter() {
		return
	}
	defer d.leave()
	for {
		d.mu.Lock()
		if d.stopped || len(d.queue) == 0 || d.queue[0].deadline.at.After(d.now()) {
			d.set = time.Time{}
			if !d.stopped {
				d.windLocked()
			}
			d.mu.Unlock()
			return
		}
		p := heap.Pop(&d.queue).(*partition)
		p.deadline.at = time.Time{}
		d.mu.Unlock()
		d.due(p)
	}
}

func (d *deadlines) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopped = true
	d.queue = nil
	if d.timer != nil {
		d.timer.Stop()
	}
}

type deadlineHeap []*partition

func (h deadlineHeap) Len() int           { return len(h) }
func (h deadlineHeap) Less(i, j int) bool { return h[i].deadline.at.Before(h[j].deadline.at) }
func (h deadlineHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].deadline.index, h[j].deadline.index = i, j
}
func (h *deadlineHeap) Push(x any) {
	p := x.(*partition)
	p.deadline.index = len(*h)
	*h = append(*h, p)
}
func (h *deadlineHeap) Pop() any {
	old := *h
	p := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return p
}
