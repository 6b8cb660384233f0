package server

import "context"

// enqueue waits until q may start and puts it into the connection's order; false if the connection ends instead.
//
// The rule: a request starts when every request before it is answered. A request of an API with Overlap (Produce) may
// start while only such requests are unanswered: what it does is done, in order, before its handler returns, and only
// the answers wait. Apart from that the reader waits while too many answers are out or too many bytes of them wait for the
// client to read.
func (c *conn) enqueue(q *request) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.mayStartLocked(q) {
		if c.broken || context.Cause(c.ctx) != nil {
			return false
		}
		c.waits.begin()
		c.blocked = q
		c.changed.Wait()
		c.blocked = nil
	}
	c.waits.end()
	if c.broken || context.Cause(c.ctx) != nil {
		return false
	}
	if c.first == nil {
		c.first = q
	} else {
		c.last.next = q
	}
	c.last = q
	c.inFlight++
	c.unanswered++
	if !q.api.Overlap {
		c.serial++
	}
	q.running = true
	c.active.Store(c.srv.clock.now.Load())
	return true
}

func (c *conn) mayStartLocked(q *request) bool {
	if c.unanswered > 0 && (!q.api.Overlap || c.serial > 0) {
		return false
	}
	return c.inFlight < c.srv.maxInFlight && c.unsent <= c.srv.maxUnsent
}

// answered takes note of q's answer and writes what is next in order, unless somebody does already.
func (c *conn) answered(q *request) {
	c.mu.Lock()
	q.ready = true
	c.unanswered--
	if !q.api.Overlap {
		c.serial--
	}
	if q.parked {
		c.srv.metrics.parked.Add(-1)
	}
	if c.broken {
		c.changed.Broadcast()
		c.mu.Unlock()
		q.releaseAnswer()
		return
	}
	c.unsent += q.size
	// The reader writes for the handler that it is in, so that this goroutine, which may be the handler itself, is done.
	if q.running || c.writing || !c.first.ready || c.first.running {
		c.changed.Broadcast()
		c.mu.Unlock()
		return
	}
	alone := c.inFlight == 1
	c.writing = true
	c.changed.Broadcast()
	c.mu.Unlock()
	if alone {
		c.write(false)
		return
	}
	// More answers are on their way to a client that pipelines: a goroutine of its own will find several of them ready.
	c.spawnWriter()
}

// handled is called by the reader when q's handler has returned.
func (c *conn) handled(q *request) {
	c.mu.Lock()
	q.running = false
	if !q.ready {
		q.parked = true
		c.srv.metrics.parked.Add(1)
	}
	if c.writing || c.first == nil || !c.first.ready {
		c.mu.Unlock()
		return
	}
	c.writing = true
	c.mu.Unlock()
	c.write(true)
}

// takeLocked removes the next answer in order; nil while there is none.
func (c *conn) takeLocked() *request {
	q := c.first
	if q == nil || !q.ready || q.running {
		return nil
	}
	c.first = q.next
	if c.first == nil {
		c.last = nil
	}
	q.next = nil
	c.inFlight--
	c.unsent -= q.size
	return q
}

// dropLocked removes all requests and gives those that are answered, as a list; the others free their answers when these
// come.
func (c *conn) dropLocked() *request {
	var answered *request
	for q := c.first; q != nil; {
		next := q.next
		q.next = nil
		if q.ready {
			q.next, answered = answered, q
		}
		q = next
	}
	c.first, c.last, c.inFlight, c.unsent = nil, nil, 0, 0
	return answered
}
