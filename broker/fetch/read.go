package fetch

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
)

// result is what is to be said of one partition.
type result struct {
	place     *place
	code      int16
	watermark int64
	stable    int64
	start     int64
	slice     replica.Slice
	listed    bool // the list of aborted transactions is there, if empty, and not absent
	aborted   []replica.Aborted

	diverged       bool
	divergingEpoch int32
	divergingEnd   int64
	leader         int32 // -1: not told
	leaderEpoch    int32

	more bool // there may be records behind the slice
}

// tally sums up what a request would be answered with.
type tally struct {
	bytes  int64
	urgent bool // something is worth an answer however few bytes there are
}

// readAll reads every partition in order within the request's limits, and answers what is to be mentioned.
func (p *poll) readAll(image *cluster.Image) (results []result, sum tally) {
	room := len(p.scope.places)
	if p.scope.incremental() {
		room = min(room, 16) // most have no news
	}
	results = make([]result, 0, room)
	left := p.maxBytes
	first := true
	for _, at := range p.scope.places {
		r := p.readOne(image, at, left, first)
		if r.slice.Len > 0 {
			first = false
			sum.bytes += int64(r.slice.Len)
		}
		left = max(0, left-int32(r.slice.Len)) // a limit that is no size fails the first partition alone, as in Kafka
		sum.urgent = sum.urgent || r.code != 0 || r.diverged
		if !p.scope.incremental() || r.news() {
			results = append(results, r)
		}
	}
	return results, sum
}

// readOne reads one partition; the caller releases the slice.
func (p *poll) readOne(image *cluster.Image, at *place, left int32, first bool) result {
	part, code := p.fetcher.find(image, at)
	if code != nil {
		r := failed(at, code.Code)
		r.listed = code != kerr.InconsistentTopicID // as Kafka
		return r
	}
	if p.replicaID >= 0 { // a follower: none is known to a broker that is alone
		return p.pointToLeader(image, failed(at, kerr.NotLeaderForPartition.Code))
	}
	what := at.ask.Load()
	limit := min(what.maxBytes, left)
	if limit < 0 { // as Kafka answers a limit that is no size
		return failed(at, kerr.UnknownServerError.Code)
	}
	found, err := part.Read(replica.Read{Offset: what.offset, MaxBytes: int(limit), AtLeastOne: first, Committed: p.committed(),
		Epoch: what.currentEpoch, LastEpoch: p.lastEpoch(what)})
	if err != nil {
		return p.pointToLeader(image, failed(at, p.fetcher.code(err, "fetch")))
	}
	return result{place: at, watermark: found.HighWatermark, stable: found.StableOffset, start: found.LogStart, slice: found.Slice,
		listed: p.committed(), aborted: found.Aborted, more: found.More, leader: -1, leaderEpoch: -1,
		diverged: found.Diverged, divergingEpoch: found.DivergingLast, divergingEnd: found.DivergingEnd}
}

func (p *poll) committed() bool { return p.req.IsolationLevel == 1 }

// lastEpoch is the epoch of the client's last record; only versions that answer a
// diverging epoch ask for the check.
func (p *poll) lastEpoch(what *ask) int32 {
	if p.req.Version < 12 {
		return -1
	}
	return what.lastEpoch
}

// glance tells, without looking into files, whether a partition may have something for the client, and whether that is worth
// an answer whatever it is.
func (p *poll) glance(image *cluster.Image, at *place) (more, urgent bool) {
	part, code := p.fetcher.find(image, at)
	if code != nil {
		return false, true
	}
	what := at.ask.Load()
	found, err := part.Read(replica.Read{Offset: what.offset, Committed: p.committed(), Epoch: what.currentEpoch, LastEpoch: p.lastEpoch(what)})
	return found.More, err != nil || found.Diverged
}

// weigh is what a partition counts for towards the bytes that a client waits for: as Kafka does, what there is up to the
// partition's limit, whole batches or not; and what a segment holds to its end is worth an answer, because the next one is for
// the next answer.
func (p *poll) weigh(image *cluster.Image, at *place) tally {
	r := p.readOne(image, at, p.maxBytes, true)
	if r.slice.Len > 0 {
		r.slice.Release()
	}
	sum := tally{bytes: int64(r.slice.Len), urgent: r.code != 0 || r.diverged}
	if r.slice.Len == 0 || !r.more {
		return sum
	}
	part, code := p.fetcher.find(image, at)
	if code != nil {
		return sum
	}
	what := at.ask.Load()
	behind := replica.Read{Offset: r.slice.End, MaxBytes: max(0, int(min(what.maxBytes, p.maxBytes))-r.slice.Len), AtLeastOne: true,
		Committed: p.committed(), Epoch: what.currentEpoch, LastEpoch: -1}
	next, err := part.Read(behind)
	if err != nil || next.Slice.Len == 0 {
		return sum // nothing is left there after all
	}
	next.Slice.Release()
	if next.Slice.Len <= behind.MaxBytes {
		sum.urgent = true // it would have fitted: it lies in another segment
	}
	sum.bytes = max(sum.bytes, int64(min(what.maxBytes, p.maxBytes)))
	return sum
}

// find resolves a place to a partition of this broker. An id is unknown to whoever names it; to whoever was reading under it,
// its topic is gone or has another id now.
func (f *Fetcher) find(image *cluster.Image, at *place) (*replica.Partition, *kerr.Error) {
	was := at.part.Load()
	if was != nil && !was.Closed() {
		return was, nil // as long as it is not closed, the image has it under this name and id
	}
	t := image.TopicByID(at.id)
	unknown := kerr.UnknownTopicID
	switch {
	case !at.byID:
		t = image.Topic(at.topic)
		unknown = kerr.UnknownTopicOrPartition
	case was != nil && image.Topic(was.Topic) == nil:
		unknown = kerr.UnknownTopicOrPartition
	case was != nil:
		unknown = kerr.InconsistentTopicID
	}
	switch {
	case t == nil:
		return nil, unknown
	case at.partition < 0 || int(at.partition) >= len(t.Partitions):
		return nil, kerr.UnknownTopicOrPartition
	}
	part, err := f.o.Replicas.Partition(t.ID, at.partition)
	if err != nil {
		return nil, kerr.NotLeaderForPartition
	}
	at.part.Store(part)
	return part, nil
}

// failed is the answer for a partition that cannot be read.
func failed(at *place, code int16) result {
	return result{place: at, code: code, watermark: -1, stable: -1, start: -1, leader: -1, leaderEpoch: -1}
}

// pointToLeader tells a client of version 16 and up who leads (KIP-951).
func (p *poll) pointToLeader(image *cluster.Image, r result) result {
	if p.req.Version < 16 || r.code != kerr.NotLeaderForPartition.Code && r.code != kerr.FencedLeaderEpoch.Code {
		return r
	}
	t := image.TopicByID(r.place.id)
	if t == nil || int(r.place.partition) >= len(t.Partitions) {
		return r
	}
	l := t.Partitions[r.place.partition]
	r.leader, r.leaderEpoch = l.Leader, l.LeaderEpoch
	return r
}
