package fetch

import (
	"math/rand/v2"
	"sync"
	"time"
)

// Limits of the session table.
const (
	// evictAfter is how long a session is safe from being evicted for a new one.
	evictAfter = 2 * time.Minute
	// maxCachedPlaces bounds the partitions of all sessions together, at some 250 bytes each.
	maxCachedPlaces = 250_000
)

// Sessions is the bounded table of fetch sessions.
type Sessions struct {
	slots     int
	maxPlaces int

	mu     sync.Mutex
	byID   map[int32]*session
	places int // of all sessions
}

// NewSessions makes a table of at most slots sessions
// (max.incremental.fetch.session.cache.slots); 0 turns sessions off.
func NewSessions(slots int) *Sessions {
	return &Sessions{slots: slots, maxPlaces: maxCachedPlaces, byID: map[int32]*session{}}
}

// Len is the number of sessions.
func (s *Sessions) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.byID)
}

// Places is the number of partitions of all sessions.
func (s *Sessions) Places() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.places
}

func (s *Sessions) find(id int32) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byID[id]
}

// remove forgets a session.
func (s *Sessions) remove(id int32) {
	s.mu.Lock()
	x := s.takeLocked(id)
	s.mu.Unlock()
	x.end()
}

// takeLocked takes a session out of the table; its end is the caller's, without the table's lock.
func (s *Sessions) takeLocked(id int32) *session {
	x := s.byID[id]
	if x != nil {
		delete(s.byID, id)
		s.places -= x.size
	}
	return x
}

// end lets requests that found the session before it was removed see that; x may be nil.
func (x *session) end() {
	if x == nil {
		return
	}
	x.mu.Lock()
	x.gone = true
	x.mu.Unlock()
}

// open adds a session. It answers false when there is no room: then the client goes on without one.
func (s *Sessions) open(x *session, now time.Time) bool {
	s.mu.Lock()
	if s.slots == 0 || s.places+x.size > s.maxPlaces {
		s.mu.Unlock()
		return false
	}
	var old *session
	if len(s.byID) >= s.slots {
		if old = s.leastWorthLocked(x, now); old == nil {
			s.mu.Unlock()
			return false
		}
		s.takeLocked(old.id)
	}
	for x.id == 0 || s.byID[x.id] != nil {
		x.id = rand.Int32()
	}
	s.byID[x.id] = x
	s.places += x.size
	s.mu.Unlock()
	old.end()
	return true
}

// leastWorthLocked is the session to end for a new one, nil if that has no right to any: one that nobody used for
// evictAfter, the longest first; else, of those that have existed for that long, the smallest, if it is smaller than the
// new one. A follower's session goes only for another follower's.
func (s *Sessions) leastWorthLocked(for_ *session, now time.Time) *session {
	var idle, small *session
	for _, x := range s.byID {
		if x.follower && !for_.follower {
			continue
		}
		if idle == nil || x.lastUsed.Load() < idle.lastUsed.Load() {
			idle = x
		}
		if now.Sub(x.created) >= evictAfter && x.size < for_.size && (small == nil || x.size < small.size) {
			small = x
		}
	}
	if idle != nil && now.UnixMilli()-idle.lastUsed.Load() >= evictAfter.Milliseconds() {
		return idle
	}
	return small
}

// resize counts a session's places anew, with x.mu held. It answers false, and changes nothing, when there is no room for
// as many or the session was removed.
func (s *Sessions) resize(x *session, to int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byID[x.id] != x || to > x.size && s.places+to-x.size > s.maxPlaces {
		return false
	}
	s.places += to - x.size
	x.size = to
	return true
}
