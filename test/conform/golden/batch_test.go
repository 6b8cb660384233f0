package golden

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// stamp is the time of every record that has no other: far enough in the past that no
// mask takes it for now.
const stamp = 1_700_000_000_000

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// batch says what a record batch holds; the zero value with records is a plain good one.
type batch struct {
	records    []kmsg.Record // offsets and time deltas count up by themselves
	attributes int16
	producer   int64 // -1 none; 0 stands for none as well
	epoch      int16
	sequence   int32
	first      int64 // timestamp
	magic      int8
	spoil      func(*kmsg.RecordBatch) // before the checksum
	rework     func([]byte) []byte     // after it
}

func rec(key, value string) kmsg.Record {
	r := kmsg.NewRecord()
	r.Key, r.Value = []byte(key), []byte(value)
	return r
}

func keyless(value string) kmsg.Record {
	r := kmsg.NewRecord()
	r.Value = []byte(value)
	return r
}

// one is a batch of a single small record.
func one(key, value string) []byte { return batch{records: []kmsg.Record{rec(key, value)}}.bytes() }

func (b batch) bytes() []byte {
	out := kmsg.NewRecordBatch()
	out.Magic, out.Attributes = 2, b.attributes
	out.FirstTimestamp = stamp
	if b.first != 0 {
		out.FirstTimestamp = b.first
	}
	out.ProducerID, out.ProducerEpoch, out.FirstSequence = -1, -1, -1
	if b.producer > 0 {
		out.ProducerID, out.ProducerEpoch, out.FirstSequence = b.producer, b.epoch, b.sequence
	}
	out.NumRecords = int32(len(b.records))
	out.LastOffsetDelta = out.NumRecords - 1
	out.MaxTimestamp = out.FirstTimestamp + int64(max(out.LastOffsetDelta, 0))
	out.PartitionLeaderEpoch = -1
	out.Records = compress(b.attributes&7, records(b.records))
	if b.magic != 0 {
		out.Magic = b.magic
	}
	if b.spoil != nil {
		b.spoil(&out)
	}
	raw := out.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12))
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], castagnoli))
	if b.rework != nil {
		raw = b.rework(raw)
	}
	return raw
}

func records(rs []kmsg.Record) (out []byte) {
	for i, r := range rs {
		r.OffsetDelta, r.TimestampDelta64 = int32(i), int64(i)
		body := r.AppendTo(nil)
		r.Length = int32(len(body) - 1) // the length itself took one byte while it was 0
		out = r.AppendTo(out)
	}
	return out
}

func compress(codec int16, in []byte) []byte {
	var out bytes.Buffer
	switch codec {
	case 1:
		w := gzip.NewWriter(&out)
		_, _ = w.Write(in)
		_ = w.Close()
	case 4:
		w, err := zstd.NewWriter(nil)
		if err != nil {
			panic(err)
		}
		return w.EncodeAll(in, nil)
	default:
		return in
	}
	return out.Bytes()
}

// batches renders what a fetch returned. A batch that was cut off at the end, as Kafka does
// where the last one does not fit, says nothing: clients drop it, and so may a broker.
func batches(b []byte) string {
	var out []string
	for len(b) >= 12 {
		size := int(int32(binary.BigEndian.Uint32(b[8:]))) + 12
		if size < 61 || size > len(b) {
			break
		}
		out = append(out, describe(b[:size]))
		b = b[size:]
	}
	return "[" + strings.Join(out, " ") + "]"
}

func describe(raw []byte) string {
	var b kmsg.RecordBatch
	if err := b.ReadFrom(raw); err != nil {
		return err.Error()
	}
	sum := "good"
	if crc32.Checksum(raw[21:], castagnoli) != uint32(b.CRC) {
		sum = "BAD"
	}
	from := "none"
	if b.ProducerID >= 0 {
		from = fmt.Sprintf("%d@%d", b.FirstSequence, b.ProducerEpoch)
	}
	when := func(ms int64) string {
		if d := ms - stamp; d >= 0 && d < 1_000_000 {
			return fmt.Sprintf("+%d", d)
		}
		return "other"
	}
	return fmt.Sprintf("{%d..%d n=%d epoch=%d attr=%#x time=%s..%s producer=%s crc=%s %s}", b.FirstOffset, b.FirstOffset+int64(b.LastOffsetDelta),
		b.NumRecords, b.PartitionLeaderEpoch, b.Attributes, when(b.FirstTimestamp), when(b.MaxTimestamp), from, sum, contents(&b))
}

// contents of a plain batch are short enough to be shown. Those of a compressed one
// depend on the compressor's release; that they are what was sent the checksum tells.
func contents(b *kmsg.RecordBatch) string {
	if b.Attributes&7 != 0 {
		return "compressed"
	}
	return fmt.Sprintf("%q", b.Records)
}
