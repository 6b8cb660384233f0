package share

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/broker/share/window"
	"github.com/tidemark-mq/tidemark/protocol/record"
)

// found is what a step read of the log.
type found struct {
	read  window.Span   // Last below First: nothing
	spans []window.Span // the records in it: batches, or runs of records
	bytes int           // how much was read

	slice replica.Slice // of readSpans; to be released
	ats   []batchAt     // where in slice each of spans lies
}

// batchAt is a batch's place in a slice, in bytes from its beginning.
type batchAt struct{ pos, size int }

// readSpans reads which batches there are, and leaves their records in the file.
func (p *partition) readSpans(v view, a *acquire, m *scratch) (found, error) {
	got, err := p.part.Read(replica.Read{Offset: v.from, MaxBytes: a.maxBytes, AtLeastOne: true, Committed: v.settings.ReadCommitted, Epoch: p.epoch, LastEpoch: -1})
	if err != nil || got.Slice.Len == 0 {
		return found{read: window.Span{First: v.from, Last: v.from - 1}}, err
	}
	r := found{read: window.Span{First: v.from, Last: got.Slice.End - 1}, slice: got.Slice, spans: m.spans[:0], ats: m.ats[:0], bytes: got.Slice.Len}
	w := headers{slice: got.Slice, buf: m.buf[:0]}
	skips := newSkips(got.Aborted)
	room := free{spans: v.free}
	wanted := int64(a.maxRecords)
	for wanted > 0 && w.pos < got.Slice.Len {
		b, at, err := w.next()
		if err != nil {
			got.Slice.Release()
			return found{}, err
		}
		if skips.skip(b) {
			continue
		}
		span := window.Span{First: b.BaseOffset(), Last: b.LastOffset()}
		if room.beyond(span.First) {
			r.read.Last = span.First - 1
			break
		}
		r.spans, r.ats = append(r.spans, span), append(r.ats, at)
		if wanted -= room.within(span); wanted <= 0 {
			r.read.Last = span.Last
		}
	}
	m.spans, m.ats, m.buf = r.spans, r.ats, w.buf
	return r, nil
}

// trim is the part of the slice that holds the grants, and the batches in it.
func (r *found) trim(granted []window.Grant) (replica.Slice, []window.Span) {
	first, last := granted[0].First, granted[len(granted)-1].Last
	i, _ := slices.BinarySearchFunc(r.spans, first, func(s window.Span, at int64) int { return cmp.Compare(s.Last, at) })
	j, there := slices.BinarySearchFunc(r.spans, last, func(s window.Span, at int64) int { return cmp.Compare(s.First, at) })
	if !there {
		j--
	}
	out := r.slice
	out.Pos += int64(r.ats[i].pos)
	out.Len = r.ats[j].pos + r.ats[j].size - r.ats[i].pos
	out.End = r.spans[j].Last + 1
	return out, slices.Clone(r.spans[i : j+1])
}

// headers goes over the batches of a slice by their headers.
type headers struct {
	slice replica.Slice
	pos   int // of the next batch
	buf   []byte
	at    int // where in the slice buf begins
}

// headerChunk is how much is read at a time: many small batches, or one large one's header.
const headerChunk = 16 << 10

// next is the next batch's header; the batch is good until the next call.
func (h *headers) next() (record.Batch, batchAt, error) {
	left := h.slice.Len - h.pos
	if left < record.HeaderSize {
		return nil, batchAt{}, fmt.Errorf("%w: %d bytes of a batch", record.ErrShort, left)
	}
	if h.pos < h.at || h.pos+record.HeaderSize > h.at+len(h.buf) {
		n := min(headerChunk, left)
		h.buf = slices.Grow(h.buf[:0], n)[:n]
		if got, err := h.slice.File.ReadAt(h.buf, h.slice.Pos+int64(h.pos)); got < n {
			h.buf = h.buf[:0]
			return nil, batchAt{}, fmt.Errorf("%w: %w", replica.ErrOffline, err)
		}
		h.at = h.pos
	}
	b := record.Batch(h.buf[h.pos-h.at:])
	size, err := record.PeekSize(b)
	if err != nil {
		return nil, batchAt{}, err
	}
	if size < record.HeaderSize || size > left {
		return nil, batchAt{}, fmt.Errorf("%w: a batch of %d bytes in %d", record.ErrCorrupt, size, left)
	}
	at := batchAt{h.pos, size}
	h.pos += size
	return b[:record.HeaderSize], at, nil
}

// skips tells batches without records for a group: control batches, those that compaction emptied, and aborted transactions'.
type skips struct {
	aborted []replica.Aborted // not met yet, by first offset
	active  map[int64]bool    // producers in an aborted transaction
}

func newSkips(aborted []replica.Aborted) skips {
	if len(aborted) == 0 {
		return skips{}
	}
	s := skips{aborted: slices.Clone(aborted), active: map[int64]bool{}}
	slices.SortFunc(s.aborted, func(a, b replica.Aborted) int { return cmp.Compare(a.FirstOffset, b.FirstOffset) })
	return s
}

// skip is asked of each batch in order.
func (s *skips) skip(b record.Batch) bool {
	for len(s.aborted) > 0 && s.aborted[0].FirstOffset <= b.LastOffset() {
		s.active[s.aborted[0].ProducerID] = true
		s.aborted = s.aborted[1:]
	}
	if b.IsControl() {
		delete(s.active, b.ProducerID()) // of a transaction that is in the list it is the end: an abort
		return true
	}
	return b.NumRecords() <= 0 || b.LastOffset() < b.BaseOffset() || b.IsTransactional() && s.active[b.ProducerID()]
}

// free is the runs of offsets that may be acquired, asked in order.
type free struct {
	spans []window.Span
	at    int
}

// within is how many offsets of a span are free. Spans are asked by offset.
func (f *free) within(s window.Span) (n int64) {
	for f.at < len(f.spans) && f.spans[f.at].Last < s.First {
		f.at++
	}
	for i := f.at; i < len(f.spans) && f.spans[i].First <= s.Last; i++ {
		n += min(f.spans[i].Last, s.Last) - max(f.spans[i].First, s.First) + 1
	}
	return n
}

// has tells whether an offset is free. Offsets are asked in order.
func (f *free) has(offset int64) bool { return f.within(window.Span{First: offset, Last: offset}) > 0 }

// beyond tells whether nothing from an offset on is known to be free.
func (f *free) beyond(offset int64) bool {
	return len(f.spans) == 0 || f.spans[len(f.spans)-1].Last < offset
}
