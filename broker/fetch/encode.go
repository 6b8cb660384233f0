package fetch

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kbin"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
)

// encode lays out a FetchResponse body (Kafka's FetchResponse schema, versions 4 to 18)
// around records that stay in their files.
func (p *poll) encode(image *cluster.Image, results []result) *call.Payload {
	w := &bodyWriter{version: p.req.Version, flexible: p.req.Version >= 12}
	w.buf = make([]byte, 0, 64+len(results)*96)
	w.buf = kbin.AppendInt32(w.buf, 0) // throttle time
	if w.version >= 7 {
		w.buf = kbin.AppendInt16(w.buf, 0)
		w.buf = kbin.AppendInt32(w.buf, p.scope.id)
	}
	groups := byTopic(results)
	w.arrayLen(len(groups))
	for _, g := range groups {
		w.topic(g)
	}
	w.brokers(p, image, results)
	payload := w.payload()
	payload.Release = func() { releaseAll(results) }
	return payload
}

// byTopic gathers results by topic, both in the order of their first appearance.
func byTopic(results []result) [][]*result {
	var groups [][]*result
	var at map[placeKey]int // made when a topic follows another
	last := -1
	for i := range results {
		r := &results[i]
		key := placeKey{topic: r.place.topic, id: r.place.id}
		if last >= 0 && groups[last][0].place.topic == key.topic && groups[last][0].place.id == key.id {
			groups[last] = append(groups[last], r)
			continue
		}
		if last >= 0 && at == nil {
			first := groups[last][0].place
			at = map[placeKey]int{{topic: first.topic, id: first.id}: last}
		}
		g, ok := at[key]
		if !ok {
			g = len(groups)
			groups = append(groups, nil)
			if at != nil {
				at[key] = g
			}
		}
		groups[g] = append(groups[g], r)
		last = g
	}
	return groups
}

// bodyWriter collects the encoded bytes in one buffer and where records go between them.
type bodyWriter struct {
	version  int16
	flexible bool
	buf      []byte
	cuts     []cut
}

// cut is a run of records that stands after the first at bytes of the buffer.
type cut struct {
	at int
	r  *result
}

func (w *bodyWriter) arrayLen(n int) {
	if w.flexible {
		w.buf = kbin.AppendCompactArrayLen(w.buf, n)
	} else {
		w.buf = kbin.AppendArrayLen(w.buf, n)
	}
}

func (w *bodyWriter) noTags() {
	if w.flexible {
		w.buf = append(w.buf, 0)
	}
}

func (w *bodyWriter) topic(g []*result) {
	switch first := g[0].place; {
	case w.version >= 13:
		w.buf = append(w.buf, first.id[:]...)
	case w.flexible:
		w.buf = kbin.AppendCompactString(w.buf, first.topic)
	default:
		w.buf = kbin.AppendString(w.buf, first.topic)
	}
	w.arrayLen(len(g))
	for _, r := range g {
		w.partition(r)
	}
	w.noTags()
}

func (w *bodyWriter) partition(r *result) {
	w.buf = kbin.AppendInt32(w.buf, r.place.partition)
	w.buf = kbin.AppendInt16(w.buf, r.code)
	w.buf = kbin.AppendInt64(w.buf, r.watermark)
	w.buf = kbin.AppendInt64(w.buf, r.stable)
	if w.version >= 5 {
		w.buf = kbin.AppendInt64(w.buf, r.start)
	}
	w.aborted(r.listed, r.aborted)
	if w.version >= 11 {
		w.buf = kbin.AppendInt32(w.buf, noReplica)
	}
	if w.flexible {
		w.buf = kbin.AppendUvarint(w.buf, uint32(r.slice.Len)+1)
	} else {
		w.buf = kbin.AppendInt32(w.buf, int32(r.slice.Len))
	}
	if r.slice.Len > 0 {
		w.cuts = append(w.cuts, cut{len(w.buf), r})
	}
	w.partitionTags(r)
}

// noReplica is the preferred read replica of a partition that has none but its leader.
const noReplica = -1

func (w *bodyWriter) aborted(listed bool, list []replica.Aborted) {
	switch {
	case !listed && w.flexible:
		w.buf = append(w.buf, 0)
	case !listed:
		w.buf = kbin.AppendInt32(w.buf, -1)
	default:
		w.arrayLen(len(list))
	}
	for i := range list {
		w.buf = kbin.AppendInt64(w.buf, list[i].ProducerID)
		w.buf = kbin.AppendInt64(w.buf, list[i].FirstOffset)
		w.noTags()
	}
}

// partitionTags are the diverging epoch (tag 0) and the current leader (tag 1).
func (w *bodyWriter) partitionTags(r *result) {
	if !w.flexible {
		return
	}
	n := byte(0)
	if r.diverged {
		n++
	}
	if r.leader >= 0 {
		n++
	}
	w.buf = append(w.buf, n)
	if r.diverged {
		w.buf = append(w.buf, 0, 13)
		w.buf = kbin.AppendInt32(w.buf, r.divergingEpoch)
		w.buf = kbin.AppendInt64(w.buf, r.divergingEnd)
		w.buf = append(w.buf, 0)
	}
	if r.leader >= 0 {
		w.buf = append(w.buf, 1, 9)
		w.buf = kbin.AppendInt32(w.buf, r.leader)
		w.buf = kbin.AppendInt32(w.buf, r.leaderEpoch)
		w.buf = append(w.buf, 0)
	}
}

// brokers are the endpoints of the leaders named (version 16, tag 0 of the response).
func (w *bodyWriter) brokers(p *poll, image *cluster.Image, results []result) {
	if !w.flexible {
		return
	}
	var named []int32
	for i := range results {
		if id := results[i].leader; id >= 0 && w.version >= 16 && p.replicaID < 0 && !slices.Contains(named, id) {
			named = append(named, id)
		}
	}
	var list []byte
	n := 0
	for _, id := range named {
		host, port, rack, ok := p.fetcher.endpoint(image, id, p.call.Peer.Listener)
		if !ok {
			continue
		}
		n++
		list = kbin.AppendInt32(list, id)
		list = kbin.AppendCompactString(list, host)
		list = kbin.AppendInt32(list, port)
		list = kbin.AppendCompactNullableString(list, rack)
		list = append(list, 0)
	}
	if n == 0 {
		w.buf = append(w.buf, 0)
		return
	}
	list = append(kbin.AppendCompactArrayLen(nil, n), list...)
	w.buf = append(w.buf, 1, 0)
	w.buf = kbin.AppendUvarint(w.buf, uint32(len(list)))
	w.buf = append(w.buf, list...)
}

// payload cuts the buffer where records go.
func (w *bodyWriter) payload() *call.Payload {
	pieces := make([]call.Piece, 0, 2*len(w.cuts)+1)
	from := 0
	for _, c := range w.cuts {
		pieces = append(pieces, call.Piece{Bytes: w.buf[from:c.at:c.at]},
			call.Piece{File: c.r.slice.File, Pos: c.r.slice.Pos, Len: int64(c.r.slice.Len)})
		from = c.at
	}
	if from < len(w.buf) {
		pieces = append(pieces, call.Piece{Bytes: w.buf[from:]})
	}
	return &call.Payload{Pieces: pieces}
}
