package share

import (
	"bytes"

	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/broker/share/window"
	"github.com/tidemark-mq/tidemark/protocol/private"
	"github.com/tidemark-mq/tidemark/protocol/record"
)

// picker chooses records of a lease by what they are: as many as fit, and those with the labels that are asked for.
type picker struct {
	maxRecords, maxBytes int
	labels               [][]byte // none: all records
	allLabels            bool

	seen     int                    // records looked at, over all steps
	records  []private.LeasedRecord // what fits, by offset
	bytes    int                    // of keys, values and headers
	full     bool
	want     []window.Span // of records
	filtered []window.Span
	spans    []window.Span // where records are at all
}

// The pieces of the log that are read at a time, and how many records are looked at in one acquire.
const (
	firstPiece  = 16 << 10
	largePiece  = 1 << 20
	scanRecords = 2000
)

// readRecords reads records and has them picked. Of an error behind what was picked the next acquire hears.
func (p *partition) readRecords(v view, a *acquire, m *scratch) (found, error) {
	k := a.pick
	k.reset()
	k.spans = m.spans[:0]
	r := found{read: window.Span{First: v.from, Last: v.from - 1}}
	cursor, room := v.from, free{spans: v.free}
	for piece := firstPiece; !k.full && cursor < v.upTo && r.bytes < scanBytes && k.seen < scanRecords && !room.beyond(cursor); piece = min(4*piece, largePiece) {
		got, err := p.part.Read(replica.Read{Offset: cursor, MaxBytes: piece, AtLeastOne: true, Committed: v.settings.ReadCommitted, Epoch: p.epoch, LastEpoch: -1})
		if err == nil && got.Slice.Len > 0 {
			m.buf, err = got.Slice.Bytes(m.buf[:0])
			got.Slice.Release()
		} else if err == nil {
			break
		}
		if err == nil {
			r.bytes += got.Slice.Len
			cursor, err = k.batches(m.buf, cursor, got.Slice.End, &room, newSkips(got.Aborted))
		}
		if err != nil {
			if len(k.records) > 0 {
				break
			}
			return found{}, err
		}
	}
	r.read.Last, r.spans = cursor-1, k.spans
	if !room.beyond(v.from) {
		r.read.Last = min(r.read.Last, v.free[len(v.free)-1].Last)
	}
	m.spans = k.spans
	if cap(m.buf) > 2*largePiece {
		m.buf = nil
	}
	return r, nil
}

func (k *picker) reset() {
	if k.want == nil {
		k.want = []window.Span{} // nil would mean that all are wanted
	}
	k.records, k.bytes, k.full, k.want, k.filtered = k.records[:0], 0, false, k.want[:0], k.filtered[:0]
}

// batches goes over whole batches that hold offsets from cursor up to end, and answers where it stopped.
func (k *picker) batches(buf []byte, cursor, end int64, room *free, s skips) (int64, error) {
	for b, err := range record.Batches(buf) {
		if err != nil {
			return cursor, err
		}
		if s.skip(b) || b.LastOffset() < cursor {
			continue
		}
		if room.within(window.Span{First: b.BaseOffset(), Last: b.LastOffset()}) == 0 {
			k.spans = append(k.spans, window.Span{First: b.BaseOffset(), Last: b.LastOffset()})
			continue
		}
		stopped, err := k.batch(b, room)
		if err != nil {
			return max(cursor, b.BaseOffset()), err
		}
		if k.full {
			return stopped, nil
		}
	}
	return end, nil
}

// batch goes over one batch's records. With full it answers the first offset it did not look at.
func (k *picker) batch(b record.Batch, room *free) (stopped int64, err error) {
	r, err := b.Records(0)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	for {
		rec, ok, err := r.Next()
		if !ok {
			return 0, err
		}
		if !room.has(rec.Offset) {
			k.spans = extend(k.spans, rec.Offset)
			continue
		}
		k.seen++
		switch size := sizeOf(&rec); {
		case !k.matches(&rec):
			k.filtered = extend(k.filtered, rec.Offset)
		case len(k.records) > 0 && k.bytes+size > k.maxBytes:
			k.full = true
			return rec.Offset, nil
		default:
			k.bytes += size
			k.records = append(k.records, leased(&rec, size))
			k.want = extend(k.want, rec.Offset)
		}
		k.spans = extend(k.spans, rec.Offset)
		if len(k.records) >= k.maxRecords || k.seen >= scanRecords {
			k.full = true
			return rec.Offset + 1, nil
		}
	}
}

// extend adds an offset to runs of them.
func extend(spans []window.Span, offset int64) []window.Span {
	if n := len(spans); n > 0 && spans[n-1].Last == offset-1 {
		spans[n-1].Last = offset
		return spans
	}
	return append(spans, window.Span{First: offset, Last: offset})
}

func sizeOf(r *record.Record) int {
	n := len(r.Key) + len(r.Value)
	for name, value := range r.Headers() {
		n += len(name) + len(value)
	}
	return n
}

// matches tells whether a record has the labels asked for.
func (k *picker) matches(r *record.Record) bool {
	if len(k.labels) == 0 {
		return true
	}
	met := 0
	for _, label := range k.labels {
		if hasLabel(r, label) {
			met++
		}
	}
	return met == len(k.labels) || met > 0 && !k.allLabels
}

func hasLabel(r *record.Record, label []byte) bool {
	for name, value := range r.Headers() {
		if string(name) == private.LabelHeader && bytes.Equal(value, label) {
			return true
		}
	}
	return false
}

// leased is a copy of a record, in one piece of memory.
func leased(r *record.Record, size int) private.LeasedRecord {
	room := make([]byte, 0, size)
	keep := func(b []byte) []byte {
		if b == nil {
			return nil
		}
		at := len(room)
		room = append(room, b...)
		return room[at:len(room):len(room)]
	}
	out := private.LeasedRecord{Offset: r.Offset, Timestamp: r.Timestamp, Key: keep(r.Key), Value: keep(r.Value)}
	if n := r.NumHeaders(); n > 0 {
		out.Headers = make([]private.Header, 0, n)
		for name, value := range r.Headers() {
			out.Headers = append(out.Headers, private.Header{Key: string(name), Value: keep(value)})
		}
	}
	return out
}

// granted is the records that were granted, with what is known of them.
func (k *picker) granted(grants []window.Grant) []private.LeasedRecord {
	out := make([]private.LeasedRecord, 0, len(k.records))
	i := 0
	for _, r := range k.records {
		for i < len(grants) && grants[i].Last < r.Offset {
			i++
		}
		if i < len(grants) && grants[i].First <= r.Offset {
			r.Deliveries, r.Failures = int32(grants[i].Deliveries), grants[i].Failures
			out = append(out, r)
		}
	}
	return out
}
