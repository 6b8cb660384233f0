package fetch

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
)

// result is what is to be said of one partition.
type result struct {
	place    *place
	header   kmsg.FetchResponseTopicPartition // RecordBatches stays nil: the records are slice
	slice    replica.Slice
	diverged bool
}

// noAborted is the empty list of aborted transactions, which is not the absent one.
var noAborted = []kmsg.FetchResponseTopicPartitionAbortedTransaction{}

// readAll reads every partition in order within the request's limits. urgent: something
// in it is worth an answer however few bytes there are.
func (p *poll) readAll(image *cluster.Image) (results []result, total int64, urgent bool) {
	results = make([]result, 0, len(p.scope.places))
	left := min(p.req.MaxBytes, p.fetcher.o.MaxBytes)
	first := true
	for _, at := range p.scope.places {
		r := result{place: at}
		p.readOne(image, &r, left, first)
		if r.slice.Len > 0 {
			first = false
			total += int64(r.slice.Len)
		}
		left = max(0, left-int32(min(r.slice.Len, 1<<30)))
		urgent = urgent || r.header.ErrorCode != 0 || r.diverged
		results = append(results, r)
	}
	return results, total, urgent
}

func (p *poll) readOne(image *cluster.Image, r *result, left int32, first bool) {
	at := r.place
	part, code := p.fetcher.find(image, at)
	if code != nil {
		r.header = failed(at.partition, code.Code, noAborted)
		return
	}
	if p.replicaID >= 0 { // a follower: none is known to a broker that is alone
		r.header = failed(at.partition, kerr.NotLeaderForPartition.Code, nil)
		p.pointToLeader(image, r)
		return
	}
	limit := min(at.maxBytes, left)
	if limit < 0 { // as Kafka answers a limit that is no size
		r.header = failed(at.partition, kerr.UnknownServerError.Code, nil)
		return
	}
	found, err := part.Read(replica.Read{Offset: at.offset, MaxBytes: int(limit), AtLeastOne: first,
		Committed: p.req.IsolationLevel == 1, Epoch: at.currentEpoch, LastEpoch: p.lastEpoch(at)})
	if err != nil {
		r.header = failed(at.partition, p.fetcher.code(err, "fetch"), nil)
		p.pointToLeader(image, r)
		return
	}
	h := kmsg.NewFetchResponseTopicPartition()
	h.Partition, h.HighWatermark, h.LastStableOffset, h.LogStartOffset = at.partition, found.HighWatermark, found.StableOffset, found.LogStart
	if p.req.IsolationLevel == 1 {
		h.AbortedTransactions = noAborted
		for _, a := range found.Aborted {
			t := kmsg.NewFetchResponseTopicPartitionAbortedTransaction()
			t.ProducerID, t.FirstOffset = a.ProducerID, a.FirstOffset
			h.AbortedTransactions = append(h.AbortedTransactions, t)
		}
	}
	if found.Diverged {
		r.diverged = true
		h.DivergingEpoch.Epoch, h.DivergingEpoch.EndOffset = found.DivergingLast, found.DivergingEnd
	}
	r.header, r.slice = h, found.Slice
}

// lastEpoch is the epoch of the client's last record; only versions that answer a
// diverging epoch ask for the check.
func (p *poll) lastEpoch(at *place) int32 {
	if p.req.Version < 12 {
		return -1
	}
	return at.lastEpoch
}

// find resolves a place to a partition of this broker.
func (f *Fetcher) find(image *cluster.Image, at *place) (*replica.Partition, *kerr.Error) {
	t := image.TopicByID(at.id)
	unknown := kerr.UnknownTopicID
	if !at.byID {
		t = image.Topic(at.topic)
		unknown = kerr.UnknownTopicOrPartition
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
	return part, nil
}

// failed is the answer for a partition that cannot be read.
func failed(partition int32, code int16, aborted []kmsg.FetchResponseTopicPartitionAbortedTransaction) kmsg.FetchResponseTopicPartition {
	h := kmsg.NewFetchResponseTopicPartition()
	h.Partition, h.ErrorCode, h.HighWatermark, h.LastStableOffset, h.LogStartOffset = partition, code, -1, -1, -1
	h.AbortedTransactions = aborted
	return h
}

// pointToLeader tells a client of version 16 and up who leads (KIP-951).
func (p *poll) pointToLeader(image *cluster.Image, r *result) {
	if p.req.Version < 16 || r.header.ErrorCode != kerr.NotLeaderForPartition.Code && r.header.ErrorCode != kerr.FencedLeaderEpoch.Code {
		return
	}
	t := image.TopicByID(r.place.id)
	if t == nil || int(r.place.partition) >= len(t.Partitions) {
		return
	}
	l := t.Partitions[r.place.partition]
	r.header.CurrentLeader.LeaderID, r.header.CurrentLeader.LeaderEpoch = l.Leader, l.LeaderEpoch
}
