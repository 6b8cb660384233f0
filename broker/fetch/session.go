package fetch

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// The session epochs with a meaning of their own (KIP-227).
const (
	initialEpoch = 0
	finalEpoch   = -1
)

// place is a partition in a request or session: what is asked of it and, in a session,
// what its client was last told.
type place struct {
	topic     string  // versions up to 12
	id        uuid.ID // from 13 on
	byID      bool
	partition int32

	ask   atomic.Pointer[ask] // replaced by a session's later requests
	asked ask                 // what ask points to first
	part  atomic.Pointer[replica.Partition]

	// What the client was told, by the request whose turn it is in the session; -1: nothing, or an error.
	saidWatermark, saidStart atomic.Int64
	served                   bool // in rotate only; guarded by session.mu
}

// ask is what a client wants of a partition. It does not change.
type ask struct {
	offset       int64
	maxBytes     int32
	currentEpoch int32
	lastEpoch    int32
}

type placeKey struct {
	topic     string
	id        uuid.ID
	partition int32
}

func (p *place) key() placeKey { return placeKey{p.topic, p.id, p.partition} }

// forget makes the next answer mention the place, whatever it is then.
func (p *place) forget() {
	p.saidWatermark.Store(-1)
	p.saidStart.Store(-1)
}

// session is the partitions a client fetches, remembered between its requests.
type session struct {
	id       int32
	usesIDs  bool
	follower bool
	created  time.Time
	lastUsed atomic.Int64 // ms since 1970

	size int // places, as the table counts them; guarded by Sessions.mu

	mu     sync.Mutex
	gone   bool  // not in the table any more
	epoch  int32 // the next one expected
	places map[placeKey]*place
	most   int      // places that the map has room for
	order  []*place // those longest without records first; replaced, never changed
}

func newSession(places []*place, usesIDs, follower bool, now time.Time) *session {
	x := &session{usesIDs: usesIDs, follower: follower, created: now, epoch: 1, size: len(places)}
	x.lastUsed.Store(now.UnixMilli())
	x.fillLocked(places)
	return x
}

// fillLocked makes the map anew.
func (x *session) fillLocked(places []*place) {
	x.places, x.most, x.order = make(map[placeKey]*place, len(places)), len(places), places
	for _, p := range places {
		x.places[p.key()] = p
	}
}

// updateLocked brings a session to what an incremental request changes: partitions added or
// moved, partitions forgotten.
func (x *session) updateLocked(add []*place, forget []kmsg.FetchRequestForgottenTopic) {
	var added, dropped []*place
	for _, p := range add {
		if have := x.places[p.key()]; have != nil {
			what := *p.ask.Load() // a copy, so that nothing else of the request stays
			have.ask.Store(&what)
			continue
		}
		x.places[p.key()] = p
		added = append(added, p)
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
			if p := x.places[key]; p != nil {
				delete(x.places, key)
				dropped = append(dropped, p)
			}
		}
	}
	if len(added) == 0 && len(dropped) == 0 {
		return
	}
	order := make([]*place, 0, len(x.places))
	for _, p := range append(x.order[:len(x.order):len(x.order)], added...) {
		if len(dropped) == 0 || x.places[p.key()] == p {
			order = append(order, p)
		}
	}
	x.order = order
	// A map does not shrink by itself, and what a session holds is counted by its places.
	if x.most = max(x.most, len(x.places)); x.most > leastRefill && len(x.places) < x.most/4 {
		x.fillLocked(order)
	}
}

// leastRefill is from where a map is worth making anew.
const leastRefill = 1024

// growthLocked is by how many places updateLocked would make the session larger, before it forgets any.
func (x *session) growthLocked(add []*place) int {
	n := 0
	for _, p := range add {
		if x.places[p.key()] == nil {
			n++
		}
	}
	return n
}

// nextEpoch follows e; it wraps around to 1.
func nextEpoch(e int32) int32 {
	if e <= 0 || e == 1<<31-1 {
		return 1
	}
	return e + 1
}

// rotateLocked moves the places that were answered with records to the end, so that the others
// come first next time.
func (x *session) rotateLocked(results []result) {
	n := 0
	for i := range results {
		if results[i].slice.Len > 0 {
			results[i].place.served = true
			n++
		}
	}
	if n > 0 && n < len(x.order) {
		order := make([]*place, 0, len(x.order))
		for _, p := range x.order {
			if !p.served {
				order = append(order, p)
			}
		}
		for _, p := range x.order {
			if p.served {
				order = append(order, p)
			}
		}
		x.order = order
	}
	for i := range results {
		results[i].place.served = false
	}
}
