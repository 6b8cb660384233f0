package fetch

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// scope is what one request means: the partitions to read and the session it belongs to.
type scope struct {
	places      []*place // copies: the session's own may change while the request waits
	session     *session // nil: none
	id          int32    // session id to answer
	incremental bool     // answer only what changed
}

// scope finds out what a request means, updating the session table as it says. The error
// is a Kafka code for the whole request.
func (s *Sessions) scope(req *kmsg.FetchRequest, now time.Time) (scope, *kerr.Error) {
	asked := placesOf(req)
	if req.SessionEpoch == initialEpoch || req.SessionEpoch == finalEpoch {
		if req.SessionID != 0 {
			s.remove(req.SessionID)
		}
		if req.SessionEpoch == finalEpoch || req.Version < 7 {
			return scope{places: asked}, nil
		}
		// The session's places are kept apart from those the request works on.
		x := s.open(clonePlaces(asked), req.Version >= 13, req.ReplicaID >= 0, now)
		if x == nil {
			return scope{places: asked}, nil
		}
		return scope{places: asked, session: x, id: x.id}, nil
	}
	x := s.find(req.SessionID)
	if x == nil {
		return scope{}, kerr.FetchSessionIDNotFound
	}
	return s.resume(x, req, asked, now)
}

func (s *Sessions) resume(x *session, req *kmsg.FetchRequest, asked []*place, now time.Time) (scope, *kerr.Error) {
	x.mu.Lock()
	if x.epoch != req.SessionEpoch {
		x.mu.Unlock()
		return scope{}, kerr.InvalidFetchSessionEpoch
	}
	if x.usesIDs != (req.Version >= 13) {
		x.mu.Unlock()
		return scope{}, kerr.FetchSessionTopicIDError
	}
	grown := x.update(asked, req.ForgottenTopics)
	x.lastUsed = now
	x.epoch = nextEpoch(x.epoch)
	out := scope{places: clonePlaces(x.order), session: x, id: x.id, incremental: true}
	x.mu.Unlock()
	s.grew(grown)
	if len(out.places) == 0 {
		s.remove(x.id)
		return scope{}, nil
	}
	return out, nil
}

func clonePlaces(from []*place) []*place {
	all := make([]place, len(from))
	out := make([]*place, len(from))
	for i, p := range from {
		all[i] = *p
		out[i] = &all[i]
	}
	return out
}

// placesOf lists a request's partitions in order; of one named twice the last counts.
func placesOf(req *kmsg.FetchRequest) []*place {
	n := 0
	for i := range req.Topics {
		n += len(req.Topics[i].Partitions)
	}
	all := make([]place, 0, n)
	out := make([]*place, 0, n)
	var seen map[placeKey]int
	if n > 1 {
		seen = make(map[placeKey]int, n)
	}
	for i := range req.Topics {
		t := &req.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			all = append(all, place{topic: t.Topic, partition: p.Partition, offset: p.FetchOffset, maxBytes: p.PartitionMaxBytes,
				currentEpoch: p.CurrentLeaderEpoch, lastEpoch: p.LastFetchedEpoch, highWatermark: -1, logStart: -1})
			at := &all[len(all)-1]
			if req.Version >= 13 {
				at.topic, at.id, at.byID = "", t.TopicID, true
			}
			if seen == nil {
				return append(out, at)
			}
			if k, again := seen[at.key()]; again {
				out[k] = at
				continue
			}
			seen[at.key()] = len(out)
			out = append(out, at)
		}
	}
	return out
}

// settle notes in the session what its client is about to be told, picks what an
// incremental answer mentions, and rotates the order.
func (c *scope) settle(results []result) []result {
	if c.session == nil {
		return results
	}
	x := c.session
	x.mu.Lock()
	defer x.mu.Unlock()
	mentioned := results[:0:0]
	served := map[*place]bool{}
	for i := range results {
		r := &results[i]
		own := x.places[r.place.key()]
		if own == nil { // forgotten by a later request meanwhile
			if !c.incremental {
				mentioned = append(mentioned, *r)
			}
			continue
		}
		changed := r.header.ErrorCode != 0 || r.slice.Len > 0 || !own.told ||
			own.highWatermark != r.header.HighWatermark || own.logStart != r.header.LogStartOffset || r.diverged
		own.told = r.header.ErrorCode == 0
		own.highWatermark, own.logStart = r.header.HighWatermark, r.header.LogStartOffset
		if r.slice.Len > 0 {
			served[own] = true
		}
		if changed || !c.incremental {
			mentioned = append(mentioned, *r)
		}
	}
	x.rotate(served)
	return mentioned
}
