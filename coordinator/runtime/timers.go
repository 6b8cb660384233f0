package runtime

import (
	"container/heap"
	"sync"
	"time"
)

// timers is one heap for all shards of a runtime, driven by a single time.Timer.
//
// A timer that is only ever pushed back, as every heartbeat does, does not touch the
// heap: its entry stays where it is and is queued again when it surfaces too early.
type timers struct {
	now    func() time.Time
	mu     sync.Mutex
	queue  entryHeap
	wake   *time.Timer
	armed  time.Time // when wake fires; zero: not armed
	closed bool
	wg     sync.WaitGroup
}

// entry is one timer. due and at are guarded by its owner's lock; at, by which the heap is
// ordered, changes only while timers.mu is held too. index is guarded by timers.mu.
type entry struct {
	owner firer
	key   Timer
	due   time.Time // when it is to fire
	at    time.Time // where it is queued, never after due
	index int       // in the heap; -1: not there
}

type firer interface{ fire(e *entry) }

// fireChunk bounds how many due timers are taken off the heap at once.
const fireChunk = 256

func newEntry(owner firer, key Timer) *entry { return &entry{owner: owner, key: key, index: -1} }

// schedule has e fire at the given time. The owner's lock is held.
func (t *timers) schedule(e *entry, at time.Time) {
	e.due = at
	if !e.at.IsZero() && !at.Before(e.at) {
		return // it surfaces earlier anyway, and is queued again then
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.queueLocked(e, at)
}

// requeue puts e, which surfaced before it was due, back. The owner's lock is held.
func (t *timers) requeue(e *entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.queueLocked(e, e.due)
}

func (t *timers) queueLocked(e *entry, at time.Time) {
	if t.closed {
		return
	}
	e.at = at
	if e.index >= 0 {
		heap.Fix(&t.queue, e.index)
	} else {
		heap.Push(&t.queue, e)
	}
	t.armLocked()
}

// remove forgets e. It may still surface once if it is just being fired, which its owner
// recognises. The owner's lock is held.
func (t *timers) remove(e *entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e.index >= 0 && !t.closed {
		heap.Remove(&t.queue, e.index)
	}
}

func (t *timers) armLocked() {
	if len(t.queue) == 0 {
		t.armed = time.Time{}
		if t.wake != nil {
			t.wake.Stop()
		}
		return
	}
	at := t.queue[0].at
	if at.Equal(t.armed) {
		return
	}
	t.armed = at
	if t.wake == nil {
		t.wake = time.AfterFunc(at.Sub(t.now()), t.run)
	} else {
		t.wake.Reset(at.Sub(t.now()))
	}
}

// run fires what is due, on the timer's own goroutine.
func (t *timers) run() {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return
	}
	t.wg.Add(1)
	defer t.wg.Done()
	now := t.now()
	due := make([]*entry, 0, 8)
	for len(t.queue) > 0 && len(due) < fireChunk && !t.queue[0].at.After(now) {
		due = append(due, heap.Pop(&t.queue).(*entry))
	}
	t.armed = time.Time{}
	t.armLocked()
	t.mu.Unlock()
	for _, e := range due {
		e.owner.fire(e)
	}
}

// close stops firing and waits for what is being fired.
func (t *timers) close() {
	t.mu.Lock()
	t.closed = true
	t.queue = nil
	if t.wake != nil {
		t.wake.Stop()
	}
	t.mu.Unlock()
	t.wg.Wait()
}

type entryHeap []*entry

func (h entryHeap) Len() int           { return len(h) }
func (h entryHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }

func (h entryHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *entryHeap) Push(x any) {
	e := x.(*entry)
	e.index = len(*h)
	*h = append(*h, e)
}

func (h *entryHeap) Pop() any {
	old := *h
	last := len(old) - 1
	e := old[last]
	old[last] = nil
	e.index = -1
	*h = old[:last]
	return e
}
