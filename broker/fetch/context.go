package fetch

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// scope is what one request means: the partitions to read and the session it belongs to.
type scope struct {
	places  []*place
	session *session // nil: none, or one that the answer opens
	opens   *session // the session that the answer opens, if there is room
	id      int32    // session id to answer
	epoch   int32    // what the session expects next if no other request came in between
}

// incremental tells whether the answer mentions only what is news.
func (c *scope) incremental() bool { return c.session != nil }

// scope finds out what a request means, updating the session table as it says. The error
// is a Kafka code for the whole request.
func (s *Sessions) scope(req *kmsg.FetchRequest, now time.Time) (scope, *kerr.Error) {
	asked := placesOf(req)
	if req.SessionEpoch == initialEpoch || req.SessionEpoch == finalEpoch {
		if req.SessionID != 0 {
			s.remove(req.SessionID)
		}
		if req.SessionEpoch == finalEpoch || req.Version < 7 || s.slots == 0 {
			return scope{places: asked}, nil
		}
		return scope{places: asked, opens: newSession(asked, req.Version >= 13, replicaOf(req) >= 0, now)}, nil
	}
	x := s.find(req.SessionID)
	if x == nil {
		return scope{}, kerr.FetchSessionIDNotFound
	}
	return s.resume(x, req, asked, now)
}

// resume is scope for the next request of a session.
func (s *Sessions) resume(x *session, req *kmsg.FetchRequest, asked []*place, now time.Time) (scope, *kerr.Error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.gone:
		return scope{}, kerr.FetchSessionIDNotFound
	case x.epoch != req.SessionEpoch:
		return scope{}, kerr.InvalidFetchSessionEpoch
	case x.usesIDs != (req.Version >= 13):
		return scope{}, kerr.FetchSessionTopicIDError
	}
	if grown := x.growthLocked(asked); grown > 0 && !s.resize(x, len(x.places)+grown) {
		// No room for so many. The client begins anew, and without a session if need be.
		s.end(x)
		return scope{}, kerr.FetchSessionIDNotFound
	}
	x.updateLocked(asked, req.ForgottenTopics)
	if len(x.places) == 0 {
		s.end(x)
		return scope{}, nil
	}
	s.resize(x, len(x.places))
	x.lastUsed.Store(now.UnixMilli())
	x.epoch = nextEpoch(x.epoch)
	return scope{places: x.order, session: x, id: x.id, epoch: x.epoch}, nil
}

// end is remove for whoever holds x.mu.
func (s *Sessions) end(x *session) {
	x.gone = true
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byID[x.id] == x {
		s.takeLocked(x.id)
	}
}

// replicaOf is the broker that fetches as a follower; negative: a consumer.
func replicaOf(req *kmsg.FetchRequest) int32 {
	if req.Version < 15 {
		return req.ReplicaID
	}
	return req.ReplicaState.ID
}

// placesOf lists a request's partitions in order; one named twice stands where it was named first, asked as it was last.
func placesOf(req *kmsg.FetchRequest) []*place {
	n := 0
	for i := range req.Topics {
		n += len(req.Topics[i].Partitions)
	}
	out := make([]*place, 0, n)
	var seen map[placeKey]*place
	if n > 1 {
		seen = make(map[placeKey]*place, n)
	}
	for i := range req.Topics {
		t := &req.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			at := &place{topic: t.Topic, partition: p.Partition} // one by one: a session may keep few of them for long
			if req.Version >= 13 {
				at.topic, at.id, at.byID = "", t.TopicID, true
			}
			at.asked = ask{offset: p.FetchOffset, maxBytes: p.PartitionMaxBytes, currentEpoch: p.CurrentLeaderEpoch, lastEpoch: p.LastFetchedEpoch}
			if again := seen[at.key()]; again != nil {
				again.ask.Store(&at.asked)
				continue
			}
			at.ask.Store(&at.asked)
			at.forget()
			if seen != nil {
				seen[at.key()] = at
			}
			out = append(out, at)
		}
	}
	return out
}

// settle notes in the session what its client is about to be told. It answers false when the client has asked again
// meanwhile: then this answer is not the one it goes on from.
func (c *scope) settle(s *Sessions, results []result, now time.Time) bool {
	if c.opens != nil {
		if s.open(c.opens, now) {
			c.id = c.opens.id
			note(results)
		}
		return true
	}
	if c.session == nil {
		return true
	}
	x := c.session
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.epoch != c.epoch {
		return false
	}
	note(results)
	x.rotateLocked(results)
	return true
}

func note(results []result) {
	for i := range results {
		r := &results[i]
		if r.code != 0 || r.diverged {
			r.place.forget() // to be mentioned when it is over
			continue
		}
		r.place.saidWatermark.Store(r.watermark)
		r.place.saidStart.Store(r.start)
	}
}

// news tells whether a session's answer mentions the result.
func (r *result) news() bool {
	return r.code != 0 || r.diverged || r.slice.Len > 0 || r.watermark != r.place.saidWatermark.Load() || r.start != r.place.saidStart.Load()
}
