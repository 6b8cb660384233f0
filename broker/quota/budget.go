// Package quota holds what limits the memory of requests in flight.
//
// A Budget counts bytes. Whoever takes memory for a request takes a Lease first and waits when the budget is spent; that
// wait is the broker's back-pressure, because a connection whose reader waits is not read. Waiters are served in the
// order they came, so small requests do not starve a large one.
//
// No wait can last for ever. A lease that grows (a frame that arrives in parts) or that is larger than the whole budget may
// overdraw it, one lease at a time: that one always gets through, and the budget is passed by at most its size. Holders
// of leases of one Budget never wait for another first take of the same Budget. Amounts so small that the number of those who
// take them bounds them well enough do not wait at all (TakeNow).
package quota

import (
	"container/list"
	"context"
	"sync"
	"sync/atomic"
)

// Budget is a number of bytes that leases are taken from. Safe for concurrent use. Taking and giving back while
// nobody waits is one atomic operation.
type Budget struct {
	limit   int64
	used    atomic.Int64
	waiting atomic.Int32 // length of both queues; changed under mu

	mu       sync.Mutex
	growing  list.List // *waiter; served before first, because they hold memory already
	first    list.List // *waiter
	overdraw *Lease    // the lease that may pass the limit, nil if none does
}

// Lease is what one request holds of a Budget. The zero value holds nothing. One goroutine uses a lease at a time.
type Lease struct {
	budget *Budget
	held   int64
	over   bool // this lease is budget.overdraw
}

// waiter is one goroutine that waits for n bytes; granted is closed once they are counted.
type waiter struct {
	lease   *Lease
	n       int64
	granted chan struct{}
}

// NewBudget makes a budget of limit bytes.
func NewBudget(limit int64) *Budget { return &Budget{limit: limit} }

// Limit is the size of the budget, in bytes.
func (b *Budget) Limit() int64 { return b.limit }

// Used is how many bytes are leased; it can be more than Limit by the size of one lease, and by what TakeNow gave.
func (b *Budget) Used() int64 { return b.used.Load() }

// Waiting is how many goroutines wait for bytes.
func (b *Budget) Waiting() int { return int(b.waiting.Load()) }

// Take adds n bytes to l, waiting for them if need be. A lease that holds bytes already grows, which goes before others'
// first take. The error is ctx's cause; l is unchanged then.
func (b *Budget) Take(ctx context.Context, l *Lease, n int64) error {
	switch {
	case n <= 0:
		return nil
	case l.over:
		b.used.Add(n)
	case b.waiting.Load() == 0 && b.tryAdd(n):
	default:
		return b.wait(ctx, l, n)
	}
	l.budget = b
	l.held += n
	return nil
}

// TryTake adds n bytes to l if they fit and nobody waits. A first take that would wait is better made small: a lease that
// holds something may overdraw to grow, and so does not depend on what others hold for long.
func (b *Budget) TryTake(l *Lease, n int64) bool {
	if b.waiting.Load() > 0 || !b.tryAdd(n) {
		return false
	}
	l.budget = b
	l.held += n
	return true
}

// TakeNow adds n bytes to l whether they fit or not. For amounts that are bounded otherwise, so that those who want little
// are served while others hold all there is.
func (b *Budget) TakeNow(l *Lease, n int64) {
	b.used.Add(n)
	l.budget = b
	l.held += n
}

// tryAdd counts n bytes if they fit.
func (b *Budget) tryAdd(n int64) bool {
	for {
		used := b.used.Load()
		if n > b.limit-used {
			return false
		}
		if b.used.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

func (b *Budget) wait(ctx context.Context, l *Lease, n int64) error {
	w := &waiter{lease: l, n: n, granted: make(chan struct{})}
	b.mu.Lock()
	queue := &b.first
	if l.held > 0 {
		queue = &b.growing
	}
	place := queue.PushBack(w)
	b.waiting.Add(1)
	b.grantLocked()
	b.mu.Unlock()

	select {
	case <-w.granted:
		return nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-w.granted: // at the same moment: the bytes are counted, the caller has them
		return nil
	default:
	}
	queue.Remove(place)
	b.waiting.Add(-1)
	b.grantLocked() // whoever is next may want less
	return context.Cause(ctx)
}

// grantLocked serves waiters in order until one has to go on waiting.
func (b *Budget) grantLocked() {
	for {
		queue := &b.growing
		if queue.Len() == 0 {
			queue = &b.first
		}
		front := queue.Front()
		if front == nil {
			return
		}
		w := front.Value.(*waiter)
		if !b.admitLocked(w) {
			return
		}
		queue.Remove(front)
		b.waiting.Add(-1)
		w.lease.budget = b
		w.lease.held += w.n
		close(w.granted)
	}
}

// admitLocked counts w's bytes if they fit or if w may overdraw.
func (b *Budget) admitLocked(w *waiter) bool {
	if b.tryAdd(w.n) {
		return true
	}
	if b.overdraw != nil || w.lease.held == 0 && w.n <= b.limit {
		return false
	}
	b.overdraw, w.lease.over = w.lease, true
	b.used.Add(w.n)
	return true
}

// Held is how many bytes l holds.
func (l *Lease) Held() int64 { return l.held }

// Release gives everything back. The lease can be used again after it.
func (l *Lease) Release() {
	if l.held == 0 {
		return
	}
	b, over := l.budget, l.over
	b.used.Add(-l.held)
	*l = Lease{}
	// A waiter counts itself before it looks at used again: either it sees these bytes or it is seen here.
	if !over && b.waiting.Load() == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if over {
		b.overdraw = nil
	}
	b.grantLocked()
}
