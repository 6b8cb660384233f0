package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// produced is what a broker does with the records of one partition of a request.
func produced(records []byte, r Rules) (Info, error) {
	b, err := Single(records)
	if err != nil {
		return Info{}, err
	}
	return Validate(b, r)
}

// oldMessage is a message of format 0 or 1.
func oldMessage(magic int8) []byte {
	if magic == 0 {
		return (&kmsg.MessageV0{MessageSize: 4 + 1 + 1 + 4 + 1 + 4 + 1, Key: []byte("k"), Value: []byte("v")}).AppendTo(nil)
	}
	return (&kmsg.MessageV1{MessageSize: 4 + 1 + 1 + 8 + 4 + 1 + 4 + 1, Magic: 1, Key: []byte("k"), Value: []byte("v")}).AppendTo(nil)
}

func join(parts ...[]byte) (out []byte) {
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// The answers are those recorded from Kafka 4.4.
func TestBadBatches(t *testing.T) {
	good := sent{recs: values("a")}.encode(t)
	two := values("a", "b")
	for _, c := range []struct {
		name  string
		bytes []byte
		want  error
	}{
		{"empty records", []byte{}, ErrInvalidRecord},
		{"bad crc", sent{recs: two, badCRC: true}.encode(t), ErrCorrupt},
		{"magic 3", sent{recs: two, magic: 3}.encode(t), ErrCorrupt},
		{"magic -1", sent{recs: two, magic: -1}.encode(t), ErrCorrupt},
		{"magic 0 message", oldMessage(0), ErrInvalidRecord},
		{"magic 1 message", oldMessage(1), ErrInvalidRecord},
		{"two batches", join(good, good), ErrInvalidRecord},
		{"a batch and an old message", join(good, oldMessage(1)), ErrInvalidRecord},
		{"a batch and 12 bytes with a tiny length", join(good, make([]byte, 12)), ErrCorrupt},
		{"cut batch", good[:len(good)-1], ErrInvalidRecord},
		{"cut header", good[:40], ErrInvalidRecord},
		{"one byte", []byte{1}, ErrInvalidRecord},
		{"trailing byte", join(good, []byte{7}), nil},
		{"batch and cut batch", join(good, good[:60]), nil},
		{"length too small", sent{recs: two, moreLength: -1}.encode(t), ErrCorrupt},
		{"length too big", sent{recs: two, moreLength: 1}.encode(t), ErrInvalidRecord},
		{"length below a header", sent{recs: two, moreLength: -40}.encode(t), ErrCorrupt},
		{"length 0", sent{payload: []byte{}, moreLength: -49}.encode(t), ErrCorrupt},
		{"length negative", sent{recs: two, moreLength: math.MinInt32}.encode(t), ErrCorrupt},
		{"no records in the batch", sent{}.encode(t), ErrInvalidRecord},
		{"count too high", sent{recs: two, count: ptr(int32(3))}.encode(t), ErrInvalidRecord},
		{"count too low", sent{recs: two, count: ptr(int32(1))}.encode(t), ErrInvalidRecord},
		{"count 0", sent{recs: two, count: ptr(int32(0))}.encode(t), ErrInvalidRecord},
		{"count negative", sent{recs: two, count: ptr(int32(-1))}.encode(t), ErrInvalidRecord},
		{"last delta too high", sent{recs: two, lastDelta: ptr(int32(5))}.encode(t), ErrInvalidRecord},
		{"last delta too low", sent{recs: two, lastDelta: ptr(int32(0))}.encode(t), ErrInvalidRecord},
		{"last delta and count agree on a lie", sent{recs: two, lastDelta: ptr(int32(4)), count: ptr(int32(5))}.encode(t), ErrInvalidRecord},
		{"the largest lie", sent{recs: two, lastDelta: ptr(int32(math.MaxInt32 - 1)), count: ptr(int32(math.MaxInt32))}.encode(t), ErrInvalidRecord},
		{"compressed lie", sent{recs: two, codec: Zstd, lastDelta: ptr(int32(4)), count: ptr(int32(5))}.encode(t), ErrInvalidRecord},
		{"compressed, too few", sent{recs: two, codec: Zstd, lastDelta: ptr(int32(0)), count: ptr(int32(1))}.encode(t), ErrInvalidRecord},
		{"offset deltas with a gap", sent{recs: []kmsg.Record{rec(0, 0, nil, nil), rec(2, 0, nil, nil)}, lastDelta: ptr(int32(2)), count: ptr(int32(3))}.encode(t), ErrInvalidRecord},
		{"offset deltas with a gap, count as is", sent{recs: []kmsg.Record{rec(0, 0, nil, nil), rec(2, 0, nil, nil)}, lastDelta: ptr(int32(2))}.encode(t), ErrInvalidRecord},
		{"offset deltas backwards", sent{recs: []kmsg.Record{rec(1, 0, nil, nil), rec(0, 0, nil, nil)}}.encode(t), nil},
		{"offset deltas all 0", sent{recs: []kmsg.Record{rec(0, 0, nil, nil), rec(0, 0, nil, nil)}}.encode(t), nil},
		{"control batch", sent{recs: two, attrs: 0x20}.encode(t), ErrInvalidRecord},
		{"transactional without a producer id", sent{recs: two, attrs: 0x10}.encode(t), nil}, // the handler's business
		{"delete horizon bit", sent{recs: two, attrs: 0x40}.encode(t), nil},
		{"unknown attribute bit", sent{recs: two, attrs: 0x80}.encode(t), nil},
		{"LogAppendTime bit", sent{recs: two, attrs: 0x8}.encode(t), nil},
		{"codec 5", sent{recs: two, attrs: 5}.encode(t), ErrUnknownCodec},
		{"codec 7", sent{recs: two, attrs: 7}.encode(t), ErrUnknownCodec},
		{"said gzip, is not", sent{recs: two, attrs: 1}.encode(t), ErrBrokenData},
		{"said snappy, is not", sent{recs: two, attrs: 2}.encode(t), ErrBrokenData},
		{"said lz4, is not", sent{recs: two, attrs: 3}.encode(t), ErrBrokenData},
		{"said zstd, is not", sent{recs: two, attrs: 4}.encode(t), ErrBrokenData},
		{"negative timestamp", sent{recs: two, first: -1}.encode(t), nil},
		{"max timestamp wrong", sent{recs: two, maxTS: ptr(t0 - 5)}.encode(t), nil},
		{"far future", sent{recs: two, first: 4_000_000_000_000}.encode(t), ErrInvalidTimestamp},
		{"pid without epoch", sent{recs: two, pid: 123456789, epoch: -1}.encode(t), nil},
		{"pid without sequence", sent{recs: two, pid: 123456789, seq: -1}.encode(t), ErrInvalidRecord},
		{"pid below -1", sent{recs: two, pid: -7, seq: -1}.encode(t), nil},
		{"base offset", sent{recs: two, base: 77}.encode(t), ErrInvalidRecord},
		{"base offset and bad crc", sent{recs: two, base: 77, badCRC: true}.encode(t), ErrInvalidRecord},
		{"record of no bytes", sent{recs: two[:1], payload: []byte{0}}.encode(t), ErrInvalidRecord},
		{"record of negative size", sent{recs: two[:1], payload: []byte{1}}.encode(t), ErrInvalidRecord},
		{"record size without end", sent{recs: two[:1], payload: []byte{0xff, 0xff, 0xff, 0xff, 0xff}}.encode(t), ErrInvalidRecord},
		{"record larger than the batch", sent{recs: two[:1], payload: []byte{0xfe, 0xff, 0xff, 0xff, 0xf, 0}}.encode(t), ErrInvalidRecord},
		{"record size too small", sent{recs: two[:1], payload: []byte{14, 0, 0, 0, 4, 'k', '0', 2, 'a', 0}}.encode(t), ErrInvalidRecord},
		{"record size too big", sent{recs: two[:1], payload: []byte{20, 0, 0, 0, 4, 'k', '0', 2, 'a', 0, 0}}.encode(t), ErrInvalidRecord},
		{"a key beyond the record", sent{recs: two[:1], payload: []byte{18, 0, 0, 0, 40, 'k', '0', 2, 'a', 0}}.encode(t), ErrInvalidRecord},
		{"key size -5 is no key", sent{recs: two[:1], payload: []byte{14, 0, 0, 0, 9, 2, 'a', 0}}.encode(t), nil},
		{"negative number of headers", sent{recs: two[:1], payload: []byte{12, 0, 0, 0, 1, 1, 1}}.encode(t), ErrInvalidRecord},
		{"headers without end", sent{recs: two[:1], payload: []byte{20, 0, 0, 0, 1, 1, 0xfe, 0xff, 0xff, 0xff, 0xf}}.encode(t), ErrInvalidRecord},
		{"header without a name", sent{recs: two[:1], payload: []byte{16, 0, 0, 0, 1, 1, 2, 1, 1}}.encode(t), ErrInvalidRecord},
		{"overlong numbers", sent{recs: two[:1], payload: []byte{18, 0, 0x80, 0, 0x80, 0x80, 0, 1, 1, 0}}.encode(t), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := produced(c.bytes, DefaultRules(t0+1000))
			if c.want == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, c.want)
			var r *RejectedError
			require.ErrorAs(t, err, &r)
			require.NotEmpty(t, r.Reason)
		})
	}
}

func TestStoredHeaderIsCorrectedAsKafkaDoes(t *testing.T) {
	two := values("a", "b")
	for _, c := range []struct {
		name         string
		sent         sent
		appendTime   bool
		attrs        int16
		max, changed int64
		delta        int32
	}{
		{"as it is", sent{recs: two}, false, 0, t0 + 1, 0, 1},
		{"max timestamp wrong", sent{recs: two, maxTS: ptr(t0 - 5)}, false, 0, t0 + 1, 1, 1},
		{"max timestamp wrong, compressed", sent{recs: two, maxTS: ptr(t0 - 5), codec: Gzip}, false, 1, t0 + 1, 1, 1},
		{"times go down", sent{recs: []kmsg.Record{rec(0, 5, nil, nil), rec(1, -5, nil, nil)}}, false, 0, t0 + 5, 0, 0},
		{"time 0", sent{recs: []kmsg.Record{rec(0, -t0, nil, nil)}}, false, 0, 0, 0, 0},
		{"no time", sent{recs: []kmsg.Record{rec(0, 0, nil, nil)}, first: -1}, false, 0, -1, 0, -1},
		{"times below -1", sent{recs: []kmsg.Record{rec(0, 0, nil, nil)}, first: -9, maxTS: ptr(int64(-9))}, false, 0, -1, 1, -1},
		{"unknown bit alone", sent{recs: two, attrs: 0x80}, false, 0x80, t0 + 1, 0, 1},
		{"unknown bit goes with a correction", sent{recs: two, attrs: 0xc0, maxTS: ptr(t0)}, false, 0x40, t0 + 1, 1, 1},
		{"LogAppendTime bit", sent{recs: two, attrs: 0x8}, false, 0, t0 + 1, 1, 0},
		{"to append time", sent{recs: two, attrs: 0x10, pid: 5}, true, 0x18, t0 + 1000, 1, 0},
		{"to append time, compressed", sent{recs: two, codec: Snappy}, true, 0xa, t0 + 1000, 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := c.sent.encode(t)
			before := append(Batch{}, b...)
			r := DefaultRules(t0 + 1000)
			r.AppendTime = c.appendTime
			info, err := Validate(b, r)
			require.NoError(t, err)
			require.False(t, info.Rebuilt)
			require.Same(t, &b[0], &info.Batch[0])
			require.NoError(t, b.CheckCRC())
			require.Equal(t, c.attrs, b.Attributes())
			require.Equal(t, c.max, b.MaxTimestamp())
			require.Equal(t, c.max, info.MaxTimestamp)
			require.Equal(t, c.delta, info.MaxTimestampDelta)
			require.EqualValues(t, len(encodeRecords(c.sent.recs)), info.Uncompressed)
			require.Equal(t, c.changed == 0, string(before) == string(b))
			if c.appendTime {
				require.Equal(t, t0+1000, info.AppendTime)
			} else {
				require.EqualValues(t, -1, info.AppendTime)
			}
		})
	}
}

func TestRecordsThatATopicRefuses(t *testing.T) {
	noKeys := []kmsg.Record{kv(0, []byte("k"), nil), kv(1, nil, nil), kv(2, []byte{}, nil), kv(3, nil, nil)}
	bounds := func(r *Rules) { r.BeforeMax, r.AfterMax = 1000, 1000 }
	compacted := func(r *Rules) { r.Compacted = true }
	for _, c := range []struct {
		name  string
		sent  sent
		rules func(*Rules)
		want  error
		index []int32
	}{
		{"no key", sent{recs: noKeys}, compacted, ErrInvalidRecord, []int32{1, 3}},
		{"no key, compressed", sent{recs: noKeys, codec: Zstd}, compacted, ErrInvalidRecord, []int32{1, 3}},
		{"tombstone", sent{recs: []kmsg.Record{kv(0, []byte("k"), nil)}}, compacted, nil, nil},
		{"too old", sent{recs: values("a", "b"), first: t0 - 1001}, bounds, ErrInvalidTimestamp, []int32{0}},
		{"too old, compressed", sent{recs: values("a", "b"), first: t0 - 5000, codec: Gzip}, bounds, ErrInvalidTimestamp, []int32{0, 1}},
		{"as old as it may be", sent{recs: values("a"), first: t0 - 1000}, bounds, nil, nil},
		{"too new", sent{recs: values("a", "b"), first: t0 + 1000}, bounds, ErrInvalidTimestamp, []int32{1}},
		{"no time", sent{recs: []kmsg.Record{kv(0, nil, nil)}, first: -1}, bounds, nil, nil},
		{"old without a key", sent{recs: append(noKeys[:2:2], rec(2, -5000, []byte("k"), nil)), first: t0}, func(r *Rules) {
			bounds(r)
			compacted(r)
		}, ErrInvalidTimestamp, []int32{1, 2}},
		{"LogAppendTime set by the producer", sent{recs: values("a"), attrs: 8}, func(r *Rules) { r.AppendTime = true }, ErrInvalidTimestamp, []int32{0}},
		{"LogAppendTime set, no time", sent{recs: values("a"), attrs: 8, maxTS: ptr(int64(-1))}, func(*Rules) {}, ErrInvalidTimestamp, []int32{0}},
		{"times do not matter", sent{recs: values("a"), first: 1}, func(r *Rules) {
			bounds(r)
			r.AppendTime = true
		}, nil, nil},
		{"a time at the end of its range", sent{recs: values("a"), first: math.MaxInt64}, func(*Rules) {}, ErrInvalidTimestamp, []int32{0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := DefaultRules(t0)
			c.rules(&r)
			_, err := Validate(c.sent.encode(t), r)
			if c.want == nil {
				require.NoError(t, err)
				return
			}
			var bad *RejectedError
			require.ErrorAs(t, err, &bad)
			require.ErrorIs(t, err, c.want)
			var index []int32
			for _, e := range bad.Records {
				index = append(index, e.Index)
				require.NotEmpty(t, e.Message)
			}
			require.Equal(t, c.index, index)
		})
	}
}

func TestRecordErrorsAreBounded(t *testing.T) {
	var recs []kmsg.Record
	for i := range 3 * MaxRecordErrors {
		recs = append(recs, kv(i, nil, nil))
	}
	r := DefaultRules(t0)
	r.Compacted, r.BeforeMax, r.AfterMax = true, math.MaxInt64, math.MaxInt64
	_, err := Validate(sent{recs: recs}.encode(t), r)
	var bad *RejectedError
	require.ErrorAs(t, err, &bad)
	require.Len(t, bad.Records, MaxRecordErrors)
	require.Contains(t, bad.Reason, "3000 of 3000")
}

func TestSizes(t *testing.T) {
	plain := sent{recs: filled(20, 200)}
	packed := plain
	packed.codec = Gzip
	r := DefaultRules(t0)
	r.MaxBytes = len(plain.encode(t))
	_, err := Validate(plain.encode(t), r)
	require.NoError(t, err)
	r.MaxBytes--
	_, err = Validate(plain.encode(t), r)
	require.ErrorIs(t, err, ErrTooLarge)
	_, err = Validate(packed.encode(t), r)
	require.NoError(t, err, "what counts is the size as sent")
	r.Compression = Compression{Force: true}
	_, err = Validate(packed.encode(t), r)
	require.ErrorIs(t, err, ErrTooLarge, "and as stored")
	bad := plain
	bad.badCRC = true
	_, err = Validate(bad.encode(t), r)
	require.ErrorIs(t, err, ErrTooLarge, "the size comes before the checksum")

	r = DefaultRules(t0)
	r.MaxRecordBytes = 200
	_, err = Validate(packed.encode(t), r)
	require.ErrorIs(t, err, ErrInvalidRecord)
	_, err = Validate(plain.encode(t), r)
	require.NoError(t, err, "the record limit is for compressed batches")
	r.MaxRecordBytes = 300
	_, err = Validate(packed.encode(t), r)
	require.NoError(t, err)
}

func TestTheBrokerItselfMayWriteMore(t *testing.T) {
	r := DefaultRules(t0)
	r.Internal = true
	r.Compression = Compression{Force: true, Codec: Zstd}
	marker := MarkerBatch(7, 1, Marker{Type: Commit}, t0)
	marker.Stamp(1234, 5)
	info, err := Validate(marker, r)
	require.NoError(t, err)
	require.False(t, info.Rebuilt, "control records are not compressed")
	require.EqualValues(t, 1234, info.Batch.BaseOffset())
	var w Builder
	empty, err := w.Build()
	require.NoError(t, err)
	r.Compression = Compression{}
	_, err = Validate(empty, r)
	require.NoError(t, err)
	_, err = Validate(sent{recs: values("a"), count: ptr(int32(-4))}.encode(t), r)
	require.ErrorIs(t, err, ErrInvalidRecord)
}

func TestTopicCompressionRebuildsBatches(t *testing.T) {
	rnd := seeded(t)
	recs := randomRecords(rnd, 40)
	for source := None; source < numCodecs; source++ {
		for target := None; target < numCodecs; target++ {
			s := sent{recs: recs, codec: source, pid: 99, epoch: 3, seq: 17, attrs: 0x10}
			b := s.encode(t)
			r := DefaultRules(t0)
			r.AfterMax = math.MaxInt64
			r.Compression = Compression{Force: true, Codec: target}
			info, err := Validate(b, r)
			require.NoError(t, err)
			require.Equal(t, source != target, info.Rebuilt)
			require.Equal(t, target, info.Batch.Codec())
			k, got := read(t, info.Batch)
			require.Equal(t, []int64{99, 3, 17, 0x10}, []int64{k.ProducerID, int64(k.ProducerEpoch), int64(k.FirstSequence), int64(k.Attributes &^ 7)})
			require.Equal(t, b.MaxTimestamp(), k.MaxTimestamp)
			require.Equal(t, info.MaxTimestamp, k.MaxTimestamp)
			require.Len(t, got, len(recs))
			requireRecords(t, 0, t0, recs, all(t, info.Batch))
		}
	}
}

func TestRecordsNumberedWrongly(t *testing.T) {
	recs := []kmsg.Record{rec(5, 0, []byte("a"), nil), rec(0, 1, []byte("b"), []byte("x"))}
	r := DefaultRules(t0)
	_, err := Validate(sent{recs: recs, codec: LZ4}.encode(t), r)
	require.ErrorIs(t, err, ErrBrokenData, "which has the code of Kafka's answer")

	info, err := Validate(sent{recs: recs}.encode(t), r)
	require.NoError(t, err)
	require.False(t, info.Rebuilt, "those without compression stay as they are")
	require.EqualValues(t, 5, all(t, info.Batch)[0].Offset)

	r.Compression = Compression{Force: true, Codec: Zstd}
	info, err = Validate(sent{recs: recs, codec: LZ4}.encode(t), r)
	require.NoError(t, err)
	require.True(t, info.Rebuilt)
	got := all(t, info.Batch)
	require.Equal(t, []int64{0, 1}, []int64{got[0].Offset, got[1].Offset})
	require.Equal(t, "b", string(got[1].Key))
}

func TestAFaultIsFoundWhereItIsFirstRead(t *testing.T) {
	good := sent{recs: values("a", "b"), codec: Gzip}
	packed := good.encode(t).Payload()
	bad := bytes.Clone(packed)
	bad[len(bad)-1] ^= 1 // the length in the trailer
	good.payload = bad
	_, err := Validate(good.encode(t), DefaultRules(t0))
	require.ErrorIs(t, err, ErrBrokenData)
	good.payload = mustGzip(t, string([]byte{0, 0, 0}))
	good.payload[len(good.payload)-1] ^= 1
	_, err = Validate(good.encode(t), DefaultRules(t0))
	require.ErrorIs(t, err, ErrInvalidRecord, "the first record is malformed, its data broken only behind it")
}

func TestRebuildForAppendTime(t *testing.T) {
	r := DefaultRules(t0 + 500)
	r.AppendTime = true
	r.Compression = Compression{Force: true, Codec: Zstd, Level: 6}
	info, err := Validate(sent{recs: values("a", "b"), attrs: 0x40}.encode(t), r)
	require.NoError(t, err)
	require.True(t, info.Rebuilt)
	require.True(t, info.Batch.IsAppendTime())
	_, horizon := info.Batch.DeleteHorizon()
	require.False(t, horizon)
	require.Equal(t, t0+500, info.MaxTimestamp)
	require.Equal(t, t0+500, info.AppendTime)
	require.Equal(t, t0, info.Batch.BaseTimestamp())
	require.Equal(t, t0+500, all(t, info.Batch)[1].Timestamp)
}

func TestValidateTakesNoPartOfABatch(t *testing.T) {
	b := sent{recs: values("a")}.encode(t)
	for _, cut := range []Batch{nil, b[:10], b[:60], b[:len(b)-1], append(append(Batch{}, b...), 0)} {
		_, err := Validate(cut, DefaultRules(t0))
		require.ErrorIs(t, err, ErrCorrupt)
	}
}

// TestEveryChangedByte flips bits of batches whose checksum is then made right again: whatever comes out, Validate and Reader
// agree on which records are well formed.
func TestEveryChangedByte(t *testing.T) {
	recs := []kmsg.Record{
		kv(0, []byte("key"), []byte("value"), kmsg.Header{Key: "h", Value: []byte("v")}, kmsg.Header{Key: "", Value: nil}),
		kv(1, nil, []byte{}), kv(2, []byte{}, nil),
	}
	for codec := None; codec < numCodecs; codec++ {
		whole := sent{recs: recs, codec: codec}.encode(t)
		for i := attributesAt; i < len(whole); i++ {
			for bit := range 8 {
				b := append(Batch{}, whole...)
				b[i] ^= 1 << bit
				b.putCRC()
				info, err := Validate(b, Rules{BeforeMax: math.MaxInt64, AfterMax: math.MaxInt64})
				if err != nil {
					var bad *RejectedError
					require.True(t, errors.As(err, &bad), "%v", err)
					continue
				}
				require.Len(t, all(t, info.Batch), int(info.Batch.NumRecords()))
				require.Equal(t, uint32(len(info.Batch)-12), binary.BigEndian.Uint32(info.Batch[8:]))
			}
		}
	}
}
