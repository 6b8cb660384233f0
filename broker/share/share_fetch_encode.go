package share

import (
	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/broker/share/window"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
)

// answered is one partition of an answer: fetched, acknowledged, or both.
type answered struct {
	topicPartition
	slot *slot
	ack  *ack
}

// fetchWriter lays out a ShareFetchResponse body (Kafka's schema, versions 1 and 2) around records that stay in their files.
type fetchWriter struct {
	f     *fetching
	image *cluster.Image
	buf   []byte
	cuts  []cut
	hints leaderHints
}

// cut is a run of records that stands after the first at bytes of the buffer.
type cut struct {
	at    int
	slice *replica.Slice
}

// encode is the answer: what is news of the fetch, and all that was acknowledged.
func (f *fetching) encode(news []*slot) *call.Payload {
	w := &fetchWriter{f: f, image: f.door.engine.o.Image()}
	list := f.merge(news)
	w.buf = make([]byte, 0, 64+len(list)*96)
	w.buf = kbin.AppendInt32(w.buf, 0) // throttle time
	w.buf = kbin.AppendInt16(w.buf, 0)
	w.buf = kbin.AppendCompactNullableString(w.buf, nil)
	w.buf = kbin.AppendInt32(w.buf, int32(f.set.LockDuration.Milliseconds()))
	topics := byTopic(list)
	w.buf = kbin.AppendCompactArrayLen(w.buf, len(topics))
	for _, t := range topics {
		w.buf = append(w.buf, t[0].topic[:]...)
		w.buf = kbin.AppendCompactArrayLen(w.buf, len(t))
		for i := range t {
			w.partition(&t[i])
		}
		w.buf = append(w.buf, 0)
	}
	w.nodes(w.hints.nodes(f.door, w.image, f.c.Peer.Listener))
	w.buf = append(w.buf, 0)
	return w.payload()
}

// merge puts acknowledgements to what was fetched; those of partitions that have no other news come last.
func (f *fetching) merge(news []*slot) []answered {
	list := make([]answered, 0, len(news)+len(f.list))
	with := make(map[topicPartition]struct{}, min(len(news), len(f.list)))
	for _, s := range news {
		a := answered{topicPartition: s.member.topicPartition, slot: s, ack: f.of(s.member.topicPartition)}
		if a.ack != nil {
			with[a.topicPartition] = struct{}{}
		}
		list = append(list, a)
	}
	for i := range f.list {
		a := &f.list[i]
		if _, said := with[a.topicPartition]; !said {
			list = append(list, answered{topicPartition: a.topicPartition, ack: a})
		}
	}
	return list
}

// byTopic gathers partitions by topic, both in the order of their first appearance.
func byTopic(list []answered) (topics [][]answered) {
	var at map[[16]byte]int // made when a topic follows another
	last := -1
	for i := range list {
		id := list[i].topic
		switch {
		case last < 0:
			topics, last = append(topics, nil), 0
		case topics[last][0].topic == id:
		case at == nil:
			at = map[[16]byte]int{}
			for t := range topics {
				at[topics[t][0].topic] = t
			}
			fallthrough
		default:
			t, have := at[id]
			if !have {
				t = len(topics)
				topics, at[id] = append(topics, nil), t
			}
			last = t
		}
		if n := len(topics[last]); n > 0 && &topics[last][n-1] == &list[i-1] { // the run goes on: nothing is copied
			topics[last] = list[i-n : i+1 : i+1]
		} else if n == 0 {
			topics[last] = list[i : i+1 : i+1]
		} else {
			topics[last] = append(topics[last], list[i])
		}
	}
	return topics
}

func (w *fetchWriter) partition(a *answered) {
	s := a.slot
	if s == nil {
		s = &slot{}
	}
	var ackCode int16
	var ackMessage string
	if a.ack != nil {
		ackCode, ackMessage = w.f.door.engine.code(a.ack.err, "share fetch, acknowledge")
	}
	pointing := s.code
	if !pointsElsewhere(pointing) {
		pointing = ackCode
	}
	leader, epoch := w.hints.leader(w.image, a.topicPartition, pointing)
	w.buf = kbin.AppendInt32(w.buf, a.n)
	w.buf = kbin.AppendInt16(w.buf, s.code)
	w.buf = kbin.AppendCompactNullableString(w.buf, messageOf(s.message))
	w.buf = kbin.AppendInt16(w.buf, ackCode)
	w.buf = kbin.AppendCompactNullableString(w.buf, messageOf(ackMessage))
	w.buf = kbin.AppendInt32(w.buf, leader)
	w.buf = kbin.AppendInt32(w.buf, epoch)
	w.buf = append(w.buf, 0)
	if !w.excerpt(s) {
		w.buf = kbin.AppendUvarint(w.buf, uint32(s.got.slice.Len)+1) // empty, never null
		if s.got.slice.Len > 0 {
			w.cuts = append(w.cuts, cut{len(w.buf), &s.got.slice})
		}
	}
	w.acquired(w.f.parts(s))
	w.buf = append(w.buf, 0)
}

// excerpt writes the records that were acquired without those around them, where that is worth it.
func (w *fetchWriter) excerpt(s *slot) bool {
	if s.part == nil || s.got.slice.Len == 0 {
		return false
	}
	records, ok := s.part.excerpt(nil, &s.got)
	if !ok {
		return false
	}
	s.got.slice.Release()
	s.got.slice = replica.Slice{}
	w.buf = append(kbin.AppendUvarint(w.buf, uint32(len(records))+1), records...)
	return true
}

func (w *fetchWriter) acquired(grants []window.Grant) {
	w.buf = kbin.AppendCompactArrayLen(w.buf, len(grants))
	for _, g := range grants {
		w.buf = kbin.AppendInt64(w.buf, g.First)
		w.buf = kbin.AppendInt64(w.buf, g.Last)
		w.buf = kbin.AppendInt16(w.buf, g.Deliveries)
		w.buf = append(w.buf, 0)
	}
}

func (w *fetchWriter) nodes(list []kmsg.ShareFetchResponseNodeEndpoint) {
	w.buf = kbin.AppendCompactArrayLen(w.buf, len(list))
	for _, n := range list {
		w.buf = kbin.AppendInt32(w.buf, n.NodeID)
		w.buf = kbin.AppendCompactString(w.buf, n.Host)
		w.buf = kbin.AppendInt32(w.buf, n.Port)
		w.buf = kbin.AppendCompactNullableString(w.buf, n.Rack)
		w.buf = append(w.buf, 0)
	}
}

// payload cuts the buffer where records go; it releases them when it is sent.
func (w *fetchWriter) payload() *call.Payload {
	pieces := make([]call.Piece, 0, 2*len(w.cuts)+1)
	from := 0
	for _, c := range w.cuts {
		pieces = append(pieces, call.Piece{Bytes: w.buf[from:c.at:c.at]}, call.Piece{File: c.slice.File, Pos: c.slice.Pos, Len: int64(c.slice.Len)})
		from = c.at
	}
	if from < len(w.buf) {
		pieces = append(pieces, call.Piece{Bytes: w.buf[from:]})
	}
	cuts := w.cuts
	return &call.Payload{Pieces: pieces, Release: func() {
		for _, c := range cuts {
			c.slice.Release()
		}
	}}
}

// parts is what was acquired, in parts of at least as many records as the client wants to acknowledge together: cut behind the
// record batch that reaches that many, as Kafka cuts. A strict record limit is not cut.
func (f *fetching) parts(s *slot) []window.Grant {
	size := int64(max(f.req.BatchSize, 1))
	long := false
	for _, g := range s.got.granted {
		long = long || g.Last-g.First+1 > size
	}
	if !long || f.req.ShareAcquireMode == recordLimit {
		return s.got.granted
	}
	return cutGrants(s.got.granted, s.got.batches, size)
}

// cutGrants cuts grants behind batches, both by offset, where a part has size records or more.
func cutGrants(grants []window.Grant, batches []window.Span, size int64) []window.Grant {
	out := make([]window.Grant, 0, len(grants)+len(batches))
	for _, g := range grants {
		for ; len(batches) > 0 && batches[0].Last < g.Last; batches = batches[1:] {
			if end := batches[0].Last; end-g.First+1 >= size {
				part := g
				part.Last = end
				out = append(out, part)
				g.First = end + 1
			}
		}
		out = append(out, g)
	}
	return out
}
