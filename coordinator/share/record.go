package share

import (
	"encoding/binary"
	"fmt"
	"math"
)

// valueVersion is the version of both kinds of values, the only one there is.
const valueVersion = 0

// batchLeast is the size of an encoded batch without tagged fields.
const batchLeast = 8 + 8 + 1 + 2 + 1

// change is a decoded value: a whole state (ShareSnapshot), or what becomes of one (ShareUpdate).
type change struct {
	snapshotEpoch int32
	stateEpoch    int32 // snapshots only
	leaderEpoch   int32 // of updates -1: as before
	start         int64 // of updates -1: as before
	complete      int32 // deliveryCompleteCount, -1 unknown
	created       int64 // snapshots only; ms
	written       int64 // snapshots only; ms
	batches       []Batch
	all           *ranges // in place of batches, of a snapshot that is to be written

	// Ours.
	fence    int32     // snapshots only: the newest leader epoch seen, where it is not leaderEpoch
	counters *Counters // of updates nil: as before
	producer *Producer // of updates nil: as before
	replaces bool      // updates only: batches replace what was there; Kafka's are merged with it
}

func (c *change) appendSnapshot(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, valueVersion)
	b = binary.BigEndian.AppendUint32(b, uint32(c.snapshotEpoch))
	b = binary.BigEndian.AppendUint32(b, uint32(c.stateEpoch))
	b = binary.BigEndian.AppendUint32(b, uint32(c.leaderEpoch))
	b = binary.BigEndian.AppendUint64(b, uint64(c.start))
	b = binary.BigEndian.AppendUint64(b, uint64(c.created))
	b = binary.BigEndian.AppendUint64(b, uint64(c.written))
	return c.appendRest(b, typeSnapshot)
}

func (c *change) appendUpdate(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, valueVersion)
	b = binary.BigEndian.AppendUint32(b, uint32(c.snapshotEpoch))
	b = binary.BigEndian.AppendUint32(b, uint32(c.leaderEpoch))
	b = binary.BigEndian.AppendUint64(b, uint64(c.start))
	return c.appendRest(b, typeUpdate)
}

// appendRest is what both values end with: the batches and the tagged fields.
func (c *change) appendRest(b []byte, typ int) []byte {
	var held holders
	if c.all != nil {
		b = binary.AppendUvarint(b, uint64(c.all.len())+1)
		c.all.each(func(v *Batch) { b = appendBatch(b, v, &held) })
	} else {
		b = binary.AppendUvarint(b, uint64(len(c.batches))+1)
		for i := range c.batches {
			b = appendBatch(b, &c.batches[i], &held)
		}
	}
	t := newTagger(b)
	c.appendTags(&t, &held, typ)
	return t.b
}

func decodeSnapshot(b []byte) (*change, error) {
	r := reader{b: b}
	version := r.uint16()
	c := &change{snapshotEpoch: r.int32(), stateEpoch: r.int32(), leaderEpoch: r.int32(), start: r.int64(), created: r.int64(), written: r.int64()}
	c.fence = c.leaderEpoch
	return c, c.decodeRest(&r, version, typeSnapshot)
}

func decodeUpdate(b []byte) (*change, error) {
	r := reader{b: b}
	version := r.uint16()
	c := &change{snapshotEpoch: r.int32(), leaderEpoch: r.int32(), start: r.int64()}
	return c, c.decodeRest(&r, version, typeUpdate)
}

func (c *change) decodeRest(r *reader, version uint16, typ int) error {
	if version != valueVersion {
		return fmt.Errorf("share state of version %d", version)
	}
	c.complete = -1
	n := r.count(max(r.uvarint(), 1)-1, batchLeast)
	c.batches = make([]Batch, 0, n)
	refs := make([]uint64, 0, n) // which holder in the table, from 1
	for range n {
		b, ref := decodeBatch(r)
		if r.short {
			break
		}
		if b.First < 0 || b.Last < b.First || b.Last == math.MaxInt64 {
			continue // Kafka writes what it is given; such a batch names no offset
		}
		c.batches, refs = append(c.batches, b), append(refs, ref)
	}
	var table []string
	r.tags(func(tag uint64, value reader) { c.decodeTag(tag, value, &table, typ) })
	if r.short {
		return fmt.Errorf("share state cut short: %d batches", len(c.batches))
	}
	for i, ref := range refs {
		if ref > 0 && ref <= uint64(len(table)) {
			c.batches[i].Holder = table[ref-1]
		}
	}
	return nil
}

// writtenAt is when a snapshot was written, in ms, without decoding the rest.
func writtenAt(snapshot []byte) int64 {
	const at = 2 + 4 + 4 + 4 + 8 + 8
	if len(snapshot) < at+8 {
		return 0
	}
	return int64(binary.BigEndian.Uint64(snapshot[at:]))
}
