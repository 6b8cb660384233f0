package server

import (
	"sync/atomic"
	"time"
)

// coarseClock is a clock that is read for the price of a load: the sweeper moves it on. Time limits of connections are
// measured with it, so they hold to within one sweep.
type coarseClock struct{ now atomic.Int64 }

func (c *coarseClock) set(t time.Time) { c.now.Store(t.UnixNano()) }

// stallClock says since when something makes no progress.
type stallClock struct {
	clock *coarseClock
	since atomic.Int64 // 0 while there is progress
}

func (s *stallClock) begin() {
	if s.since.Load() == 0 {
		s.since.Store(s.clock.now.Load())
	}
}

func (s *stallClock) end() {
	if s.since.Load() != 0 {
		s.since.Store(0)
	}
}

// lasted is how long there has been no progress, at the clock's time.
func (s *stallClock) lasted() time.Duration {
	since := s.since.Load()
	if since == 0 {
		return 0
	}
	return time.Duration(s.clock.now.Load() - since)
}
