package share

import (
	"encoding/binary"
	"math/bits"
)

// Tagged fields. Kafka counts its own from 0; ours begin where it will not come to soon.
const (
	tagComplete = 0 // Kafka's deliveryCompleteCount

	tagCounters = 100
	tagProducer = 101
	tagFence    = 102
	tagHolders  = 103
	tagReplaces = 104

	// Of a batch.
	tagLease  = 100
	tagIntent = 101
)

// tagger appends the tagged fields of a message, in order of their tags; fewer than 128.
type tagger struct {
	b  []byte
	at int // where their number is
}

func newTagger(b []byte) tagger { return tagger{append(b, 0), len(b)} }

func (t *tagger) add(tag byte, value []byte) {
	t.b[t.at]++
	t.b = binary.AppendUvarint(append(t.b, tag), uint64(len(value)))
	t.b = append(t.b, value...)
}

// open begins a field of a size that is known, less than 128 bytes, which the caller then appends.
func (t *tagger) open(tag, size byte) {
	t.b[t.at]++
	t.b = append(t.b, tag, size)
}

func (c *change) appendTags(t *tagger, held *holders, typ int) {
	if c.complete != -1 {
		t.open(tagComplete, 4)
		t.b = binary.BigEndian.AppendUint32(t.b, uint32(c.complete))
	}
	if n := c.counters; n != nil {
		var space [5 * binary.MaxVarintLen64]byte
		b := space[:0]
		for _, v := range [...]int64{n.Accepted, n.Rejected, n.DeadLettered, n.Filtered, n.Skipped} {
			b = binary.AppendUvarint(b, uint64(v))
		}
		t.add(tagCounters, b)
	}
	if p := c.producer; p != nil {
		t.open(tagProducer, 8+2+4+16)
		t.b = binary.BigEndian.AppendUint64(t.b, uint64(p.ID))
		t.b = binary.BigEndian.AppendUint16(t.b, uint16(p.Epoch))
		t.b = binary.BigEndian.AppendUint32(t.b, uint32(p.Sequence))
		t.b = append(t.b, p.Topic[:]...)
	}
	if typ == typeSnapshot && c.fence > c.leaderEpoch {
		t.open(tagFence, 4)
		t.b = binary.BigEndian.AppendUint32(t.b, uint32(c.fence))
	}
	if len(held.table) > 0 {
		t.b[t.at]++
		t.b = binary.AppendUvarint(append(t.b, tagHolders), uint64(uvarintSize(len(held.table))+held.size))
		t.b = held.appendTo(t.b)
	}
	if typ == typeUpdate && c.replaces {
		t.open(tagReplaces, 0)
	}
}

// decodeTag takes a field over; one that is not as it should be is as if it were not there, as is one not known.
func (c *change) decodeTag(tag uint64, r reader, table *[]string, typ int) {
	switch tag {
	case tagComplete:
		if v := r.int32(); !r.short {
			c.complete = v
		}
	case tagCounters:
		var n [5]int64
		for i := range n {
			n[i] = int64(r.uvarint())
		}
		if !r.short {
			c.counters = &Counters{n[0], n[1], n[2], n[3], n[4]}
		}
	case tagProducer:
		p := Producer{ID: r.int64(), Epoch: int16(r.uint16()), Sequence: r.int32()}
		copy(p.Topic[:], r.take(16))
		if !r.short {
			c.producer = &p
		}
	case tagFence:
		if v := r.int32(); !r.short && typ == typeSnapshot {
			c.fence = max(c.fence, v)
		}
	case tagHolders:
		*table = make([]string, r.count(r.uvarint(), 1))
		for i := range *table {
			(*table)[i] = r.text()
		}
	case tagReplaces:
		c.replaces = typ == typeUpdate
	}
}

// holders is the table of who holds the batches of a record, to name each once: if it is found again in a small cache, that is,
// for a window of many holders must not cost a map of them.
type holders struct {
	table []string
	size  int        // of all of them as they are encoded
	cache [256]int32 // by a hash of the name: the place in the table, from 1
}

// ref is the place of a holder in the table, from 1; 0 for nobody.
func (h *holders) ref(holder string) int {
	if holder == "" {
		return 0
	}
	hash := uint32(2166136261)
	for i := max(0, len(holder)-8); i < len(holder); i++ { // names differ at their ends
		hash = (hash ^ uint32(holder[i])) * 16777619
	}
	slot := &h.cache[(hash^hash>>16)%uint32(len(h.cache))]
	if *slot > 0 && h.table[*slot-1] == holder {
		return int(*slot)
	}
	h.table = append(h.table, holder)
	h.size += uvarintSize(len(holder)) + len(holder)
	*slot = int32(len(h.table))
	return len(h.table)
}

func (h *holders) appendTo(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(h.table)))
	for _, name := range h.table {
		b = binary.AppendUvarint(b, uint64(len(name)))
		b = append(b, name...)
	}
	return b
}

func uvarintSize(n int) int { return (bits.Len64(uint64(n)|1) + 6) / 7 }

func appendBatch(b []byte, v *Batch, held *holders) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(v.First))
	b = binary.BigEndian.AppendUint64(b, uint64(v.Last))
	b = append(b, byte(v.State))
	b = binary.BigEndian.AppendUint16(b, uint16(v.Deliveries))
	lease := v.Failures != 0 || v.Holder != "" || v.Until != 0
	switch {
	case !lease && v.Intent == nil:
		return append(b, 0)
	case lease && v.Intent != nil:
		b = append(b, 2)
	default:
		b = append(b, 1)
	}
	if lease {
		var space [3 * binary.MaxVarintLen64]byte
		f := binary.AppendUvarint(space[:0], uint64(uint32(v.Failures)))
		f = binary.AppendUvarint(f, uint64(held.ref(v.Holder)))
		f = binary.AppendUvarint(f, uint64(v.Until))
		b = append(append(b, tagLease, byte(len(f))), f...)
	}
	if i := v.Intent; i != nil {
		f := append([]byte(nil), i.Topic[:]...)
		f = binary.BigEndian.AppendUint32(f, uint32(i.Partition))
		f = binary.BigEndian.AppendUint64(f, uint64(i.ProducerID))
		f = binary.BigEndian.AppendUint16(f, uint16(i.Epoch))
		f = binary.BigEndian.AppendUint32(f, uint32(i.Sequence))
		f = binary.AppendUvarint(f, uint64(len(i.Cause)))
		f = append(f, i.Cause...)
		b = binary.AppendUvarint(append(b, tagIntent), uint64(len(f)))
		b = append(b, f...)
	}
	return b
}

// decodeBatch answers the batch and the place of its holder in the table.
func decodeBatch(r *reader) (b Batch, holder uint64) {
	b = Batch{First: r.int64(), Last: r.int64(), State: State(r.number(1)), Deliveries: int16(r.uint16())}
	r.tags(func(tag uint64, f reader) {
		switch tag {
		case tagLease:
			failures, ref, until := f.uvarint(), f.uvarint(), f.uvarint()
			if !f.short {
				b.Failures, holder, b.Until = int32(failures), ref, int64(until)
			}
		case tagIntent:
			var i Intent
			copy(i.Topic[:], f.take(16))
			i.Partition, i.ProducerID, i.Epoch, i.Sequence = f.int32(), f.int64(), int16(f.uint16()), f.int32()
			if i.Cause = f.text(); !f.short {
				b.Intent = &i
			}
		}
	})
	return b, holder
}
