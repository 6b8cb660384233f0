package fetch

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// The session epochs with a meaning of their own (KIP-227).
const (
	initialEpoch = 0
	finalEpoch   = -1
)

// place is a partition in a request or session: what is asked of it and, in a session,
// what the client was last told.
type place struct {
	topic     string  // versions up to 12
	id        uuid.ID // from 13 on
	byID      bool
	partition int32

	offset       int64
	maxBytes     int32
	currentEpoch int32
	lastEpoch    int32

	told          bool // an answer mentioned it without an error
	highWatermark int64
	logStart      int64
}

type placeKey struct {
	topic     string
	id        uuid.ID
	partition int32
}

func (p *place) key() placeKey { return placeKey{p.topic, p.id, p.partition} }

// session is the partitions a client fetches, remembered between its requests.
type session struct {
	id       int32
	usesIDs  bool
	follower bool
	created  time.Time

	mu       sync.Mutex
	epoch    int32 // the next one expected
	places   map[placeKey]*place
	order    []*place // those longest without records first
	lastUsed time.Time
}

// Limits of the session table.
const (
	// evictAfter is how long a session is safe from being evicted for a new one.
	evictAfter = 2 * time.Minute
	// maxCachedPlaces bounds the partitions of all sessions together.
	maxCachedPlaces = 1_000_000
)

// Sessions is the bounded table of fetch sessions.
type Sessions struct {
	slots int

	mu     sync.Mutex
	byID   map[int32]*session
	places int // of all sessions, about: counted when a session is made or changed
}

// NewSessions makes a table of at most slots sessions
// (max.incremental.fetch.session.cache.slots); 0 turns sessions off.
func NewSessions(slots int) *Sessions {
	return &Sessions{slots: slots, byID: map[int32]*session{}}
}

// Len is the number of sessions.
func (s *Sessions) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.byID)
}

func (s *Sessions) find(id int32) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byID[id]
}

// remove forgets a session; n is the number of places it held.
func (s *Sessions) remove(id int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removeLocked(id)
}

func (s *Sessions) removeLocked(id int32) {
	if old := s.byID[id]; old != nil {
		delete(s.byID, id)
		old.mu.Lock()
		s.places -= len(old.places)
		old.mu.Unlock()
	}
}

// open makes a session of the places of a full request. It answers nil when there is no
// room: then the client goes on without one.
func (s *Sessions) open(places []*place, usesIDs, follower bool, now time.Time) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.slots == 0 || s.places+len(places) > maxCachedPlaces || len(s.byID) >= s.slots && !s.evictLocked(follower, now) {
		return nil
	}
	n := &session{usesIDs: usesIDs, follower: follower, created: now, epoch: 1, lastUsed: now,
		places: make(map[placeKey]*place, len(places)), order: places}
	for _, p := range places {
		n.places[p.key()] = p
	}
	for n.id == 0 || s.byID[n.id] != nil {
		n.id = rand.Int32()
	}
	s.byID[n.id] = n
	s.places += len(places)
	return n
}

// evictLocked makes room by ending the session longest unused, if it was unused for
// evictAfter. A follower's session goes only for another follower's.
func (s *Sessions) evictLocked(follower bool, now time.Time) bool {
	var oldest *session
	var used time.Time
	for _, x := range s.byID {
		if x.follower && !follower {
			continue
		}
		x.mu.Lock()
		last := x.lastUsed
		x.mu.Unlock()
		if oldest == nil || last.Before(used) {
			oldest, used = x, last
		}
	}
	if oldest == nil || now.Sub(used) < evictAfter {
		return false
	}
	s.removeLocked(oldest.id)
	return true
}

func (s *Sessions) grew(by int) {
	s.mu.Lock()
	s.places += by
	s.mu.Unlock()
}

// update brings a session to what an incremental request changes: partitions added or
// moved, partitions forgotten. It answers by how many places the session grew.
func (x *session) update(add []*place, forget []kmsg.FetchRequestForgottenTopic) int {
	before := len(x.places)
	for _, p := range add {
		if have := x.places[p.key()]; have != nil {
			have.offset, have.maxBytes, have.currentEpoch, have.lastEpoch = p.offset, p.maxBytes, p.currentEpoch, p.lastEpoch
			continue
		}
		x.places[p.key()] = p
		x.order = append(x.order, p)
	}
	for i := range forget {
		f := &forget[i]
		for _, n := range f.Partitions {
			key := placeKey{topic: f.Topic, id: f.TopicID, partition: n}
			if x.usesIDs {
				key.topic = ""
			} else {
				key.id = uuid.ID{}
			}
			delete(x.places, key)
		}
	}
	if len(x.places) < len(x.order) {
		kept := x.order[:0]
		for _, p := range x.order {
			if x.places[p.key()] == p {
				kept = append(kept, p)
			}
		}
		clear(x.order[len(kept):])
		x.order = kept
	}
	return len(x.places) - before
}

// nextEpoch follows e; it wraps around to 1.
func nextEpoch(e int32) int32 {
	if e <= 0 || e == 1<<31-1 {
		return 1
	}
	return e + 1
}

// rotate moves the places that were answered with records to the end, so that the others
// come first next time.
func (x *session) rotate(served map[*place]bool) {
	if len(served) == 0 || len(served) == len(x.order) {
		return
	}
	kept := make([]*place, 0, len(x.order))
	var last []*place
	for _, p := range x.order {
		if served[p] {
			last = append(last, p)
		} else {
			kept = append(kept, p)
		}
	}
	x.order = append(kept, last...)
}
