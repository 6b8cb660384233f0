package server

import "time"

// peerCheck is how long a reader waits for earlier answers before the sweeper looks whether its client is still there: a
// reader that waits does not see the end of its connection.
const peerCheck = time.Second

// sweep closes connections that are idle or stalled. One goroutine looks at all of them every interval, so that
// connections need no timers of their own.
func (s *Server) sweep() {
	ticker := time.NewTicker(s.sweepInterval())
	defer ticker.Stop()
	var conns []*conn
	for {
		select {
		case <-s.ctx.Done():
			return
		case now := <-ticker.C:
			s.clock.set(now)
			s.mu.Lock()
			conns = s.appendConnsLocked(conns[:0])
			s.mu.Unlock()
			short := s.requests.Waiting() > 0
			for _, c := range conns {
				if err := c.overdue(short); err != nil {
					c.fail(err)
				}
			}
			clear(conns) // hold on to none of them until the next round
		}
	}
}

// sweepInterval is a quarter of the shortest limit, at most a second.
func (s *Server) sweepInterval() time.Duration {
	shortest := s.stall
	if s.idle > 0 {
		shortest = min(shortest, s.idle)
	}
	return max(min(shortest/4, time.Second), time.Millisecond)
}

// overdue says why the connection is to be closed now, nil if it is not. short says that others wait for memory.
func (c *conn) overdue(short bool) error {
	s := c.srv
	switch {
	case c.standsStill(c.stall.lasted()), c.frames.late(s.stall), short && c.frames.hinders():
		return errStalled
	case c.ending.lasted() > s.stall:
		return errPeerGone
	case c.waits.lasted() > peerCheck && c.stream.peerGone():
		return errPeerGone
	case s.idle > 0 && time.Duration(s.clock.now.Load()-c.active.Load()) > s.idle && c.isIdle():
		return errIdle
	}
	return nil
}

// lightAnswers is how much memory a client that does not read on may make the broker hold for as long as it may be idle, in
// bytes: what is gathered for one write and what goes before the files of an answer; the kernel holds more of it.
const lightAnswers = 2 * gatherLimit

// standsStill tells whether a client has read nothing of its answers for too long. Consumers may leave a fetch half read while
// they are busy with what they have, and its records lie in files: that is no worse than an idle connection.
func (c *conn) standsStill(lasted time.Duration) bool {
	s := c.srv
	if lasted <= s.stall || c.memory() > lightAnswers {
		return lasted > s.stall
	}
	return s.idle > 0 && lasted > s.idle
}

// memory is how many bytes the connection holds for a client that does not read on: answers, and a request that waits for them.
func (c *conn) memory() int64 {
	n := c.held.Load()
	c.mu.Lock()
	defer c.mu.Unlock()
	for q := c.first; q != nil; q = q.next {
		if q.ready {
			n += q.answerMemory()
		}
	}
	if q := c.blocked; q != nil {
		n += q.frameLease.Held() + q.decodeLease.Held()
	}
	return n
}

// isIdle tells whether nothing of a request or an answer is under way.
func (c *conn) isIdle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.inFlight == 0 && !c.writing && c.frames.since.Load() == 0
}
