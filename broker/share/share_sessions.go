package share

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kerr"
)

// mostSessionPartitions bounds the partitions of all sessions together, at some 200 bytes each.
const mostSessionPartitions = 250_000

// mostPartitions bounds the partitions of one session, and those that one request names: more than a broker has reason to lead.
// Until it is answered a request takes some 700 bytes for each, see FetchCost.
const mostPartitions = 20_000

// sessions is the bounded table of share sessions. The zero value is empty and has no room: see limit. Lock order: session.mu, sessions.mu.
type sessions struct {
	mu         sync.Mutex
	byKey      map[sessionKey]*session
	partitions int                     // of all sessions
	leaving    map[sessionKey][]func() // sessions that are over but still being given back, and what waits for that
	closed     bool
	none       chan struct{} // closed when leaving is empty; nil while nobody waits for that
}

// room is how many sessions, and partitions of all of them and of each, there may be.
type room struct{ sessions, partitions, each int }

// Len is the number of sessions.
func (s *sessions) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.byKey)
}

func (s *sessions) find(key sessionKey) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byKey[key]
}

// open makes a session, in place of the one that its member has. What that one holds is the new one's: the member may still
// settle it.
func (s *sessions) open(key sessionKey, asked []topicPartition, r room) (*session, *kerr.Error) {
	x := newSession(key, asked)
	for {
		old := s.find(key)
		done, code := s.replace(old, x, r)
		if done {
			return x, code
		}
	}
}

// replace puts x where old is, which may be nil; done is false when the table changed meanwhile.
func (s *sessions) replace(old, x *session, r room) (done bool, code *kerr.Error) {
	var waiting *fetching
	x.held, x.size = map[topicPartition]struct{}{}, len(x.parts)
	if old != nil {
		old.mu.Lock()
		defer func() {
			old.mu.Unlock()
			waiting.interrupt(errReplaced)
		}()
		x.held = old.held
		x.size = x.countLocked()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byKey[x.key] != old {
		return false, nil
	}
	sessions, partitions := len(s.byKey)+1, s.partitions+x.size
	if old != nil {
		sessions, partitions = sessions-1, partitions-old.size
	}
	if s.closed || sessions > r.sessions || partitions > r.partitions || x.size > r.each {
		return true, kerr.ShareSessionLimitReached
	}
	if s.byKey == nil {
		s.byKey = map[sessionKey]*session{}
	}
	s.byKey[x.key], s.partitions = x, partitions
	if old != nil {
		old.over, old.held = errReplaced, nil
		waiting, old.waiting = old.waiting, nil
		if old.unhook != nil {
			old.unhook()
		}
	}
	return true, nil
}

// resize counts a session's partitions anew, with x.mu held. It answers false, and changes nothing, when there is no room for
// as many.
func (s *sessions) resize(x *session, to int, r room) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if to > x.size && (to > r.each || s.partitions+to-x.size > r.partitions) {
		return false
	}
	s.partitions += to - x.size
	x.size = to
	return true
}

// remove takes a session out of the table and answers what its member may hold, once: false for a session that is over already.
// A fetch that waits is answered. Whoever removed it says left when that is free.
func (s *sessions) remove(x *session, why error) (held []topicPartition, removed bool) {
	x.mu.Lock()
	if x.over != nil {
		x.mu.Unlock()
		return nil, false
	}
	x.over = why
	for tp := range x.held {
		held = append(held, tp)
	}
	x.held = nil
	waiting := x.waiting
	x.waiting = nil
	if x.unhook != nil {
		x.unhook()
	}
	s.mu.Lock()
	if s.byKey[x.key] == x {
		delete(s.byKey, x.key)
		s.partitions -= x.size
	}
	if s.leaving == nil {
		s.leaving = map[sessionKey][]func(){}
	}
	if _, also := s.leaving[x.key]; !also { // the one before may be, with who waits for that
		s.leaving[x.key] = nil
	}
	s.mu.Unlock()
	x.mu.Unlock()
	waiting.interrupt(why)
	return held, true
}

// left says that what a removed session's member held is free, and answers what waited for that.
func (s *sessions) left(key sessionKey) (waited []func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	waited = s.leaving[key]
	delete(s.leaving, key)
	if len(s.leaving) == 0 && s.none != nil {
		close(s.none)
		s.none = nil
	}
	return waited
}

// whenLeft calls fn if no session of that key is being given back; if one is, fn is among what left answers.
func (s *sessions) whenLeft(key sessionKey, fn func()) {
	s.mu.Lock()
	next, leaving := s.leaving[key]
	if leaving {
		s.leaving[key] = append(next, fn)
	}
	s.mu.Unlock()
	if !leaving {
		fn()
	}
}

// shut lets no more sessions open and answers those that are.
func (s *sessions) shut() (left []*session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, x := range s.byKey {
		left = append(left, x)
	}
	return left
}

// wait waits, within ctx, until no session is being given back.
func (s *sessions) wait(ctx context.Context) error {
	s.mu.Lock()
	if len(s.leaving) == 0 {
		s.mu.Unlock()
		return nil
	}
	if s.none == nil {
		s.none = make(chan struct{})
	}
	none := s.none
	s.mu.Unlock()
	select {
	case <-none:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// countdown calls done when it was told to as often as it was made for.
type countdown struct {
	left atomic.Int64
	done func()
}

func newCountdown(n int, done func()) *countdown {
	c := &countdown{done: done}
	c.left.Store(int64(n))
	return c
}

func (c *countdown) one() {
	if c.left.Add(-1) == 0 {
		c.done()
	}
}
