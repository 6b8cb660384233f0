package record

import (
	"bytes"
	"hash/crc32"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// t0 is when test records say they were made.
const t0 = int64(1_700_000_000_000)

// sent is a batch as another client encodes it: kmsg writes header and records, kgo compresses. Fields that are nil or zero
// say what a correct producer would.
type sent struct {
	recs       []kmsg.Record
	pid        int64 // 0: none
	epoch      int16
	seq        int32
	first      int64 // 0: t0
	maxTS      *int64
	attrs      int16
	codec      Codec
	magic      int8 // 0: 2
	count      *int32
	lastDelta  *int32
	badCRC     bool
	base       int64
	moreLength int32
	payload    []byte // instead of the records
}

func ptr[T any](v T) *T { return &v }

// kv is a record with the i-th offset, i ms after the batch's first timestamp.
func kv(i int, key, value []byte, headers ...kmsg.Header) kmsg.Record {
	return rec(int32(i), int64(i), key, value, headers...)
}

func rec(offset int32, ms int64, key, value []byte, headers ...kmsg.Header) kmsg.Record {
	return kmsg.Record{OffsetDelta: offset, TimestampDelta64: ms, Key: key, Value: value, Headers: headers}
}

// values are records with keys and the given values.
func values(vs ...string) []kmsg.Record {
	var recs []kmsg.Record
	for i, v := range vs {
		recs = append(recs, kv(i, []byte{'k', '0' + byte(i)}, []byte(v)))
	}
	return recs
}

// filled are n records whose values are size bytes that compress well.
func filled(n, size int) []kmsg.Record {
	var recs []kmsg.Record
	for i := range n {
		recs = append(recs, kv(i, []byte("key"), bytes.Repeat([]byte{'a' + byte(i%26)}, size)))
	}
	return recs
}

// encodeRecords is the records as kmsg encodes them, with their sizes.
func encodeRecords(recs []kmsg.Record) []byte {
	var out []byte
	for _, r := range recs {
		body := r
		body.Length = 0
		r.Length = int32(len(body.AppendTo(nil)) - 1)
		out = r.AppendTo(out)
	}
	return out
}

func (s sent) encode(t testing.TB) Batch {
	if s.first == 0 {
		s.first = t0
	}
	most := int64(-1)
	for _, r := range s.recs {
		most = max(most, s.first+r.TimestampDelta64)
	}
	if s.maxTS != nil {
		most = *s.maxTS
	}
	payload := s.payload
	if payload == nil {
		payload = kgoCompress(t, s.codec, encodeRecords(s.recs))
	}
	if s.pid == 0 {
		s.pid, s.epoch, s.seq = -1, -1, -1
	}
	b := kmsg.RecordBatch{
		FirstOffset: s.base, PartitionLeaderEpoch: -1, Magic: s.magic, Attributes: s.attrs | int16(s.codec),
		LastOffsetDelta: int32(len(s.recs)) - 1, FirstTimestamp: s.first, MaxTimestamp: most,
		ProducerID: s.pid, ProducerEpoch: s.epoch, FirstSequence: s.seq, NumRecords: int32(len(s.recs)), Records: payload,
	}
	if b.Magic == 0 {
		b.Magic = 2
	}
	if s.count != nil {
		b.NumRecords = *s.count
	}
	if s.lastDelta != nil {
		b.LastOffsetDelta = *s.lastDelta
	}
	b.Length = int32(49+len(payload)) + s.moreLength
	raw := b.AppendTo(nil)
	b.CRC = int32(crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	if s.badCRC {
		b.CRC ^= 1
	}
	return b.AppendTo(nil)
}

func kgoCompress(t testing.TB, c Codec, src []byte) []byte {
	if c == None || !c.Valid() {
		return src
	}
	comp, err := kgo.DefaultCompressor(map[Codec]kgo.CompressionCodec{
		Gzip: kgo.GzipCompression(), Snappy: kgo.SnappyCompression(), LZ4: kgo.Lz4Compression(), Zstd: kgo.ZstdCompression(),
	}[c])
	require.NoError(t, err)
	var buf bytes.Buffer
	out, got := comp.Compress(&buf, src)
	require.EqualValues(t, c, got)
	return bytes.Clone(out)
}

func kgoDecompress(t testing.TB, c Codec, src []byte) []byte {
	out, err := kgo.DefaultDecompressor().Decompress(src, kgo.CompressionCodecType(c))
	require.NoError(t, err)
	return out
}

// read is what another client reads from a batch.
func read(t testing.TB, b Batch) (kmsg.RecordBatch, []kmsg.Record) {
	var k kmsg.RecordBatch
	require.NoError(t, k.ReadFrom(b))
	require.EqualValues(t, crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)), uint32(k.CRC))
	require.EqualValues(t, len(b), k.Length+12)
	p := k.Records
	if c := b.Codec(); c != None {
		p = kgoDecompress(t, c, p)
	}
	var recs []kmsg.Record
	for range k.NumRecords {
		var r kmsg.Record
		require.NoError(t, r.ReadFrom(p))
		p = p[int(r.Length)+varintSize(int64(r.Length)):]
		recs = append(recs, r)
	}
	require.Empty(t, p)
	return k, recs
}

// all reads a batch's records with a Reader, copied.
func all(t testing.TB, b Batch) []Record {
	var out []Record
	for rec, err := range b.All(0) {
		require.NoError(t, err)
		rec.Key, rec.Value, rec.headers = bytes.Clone(rec.Key), bytes.Clone(rec.Value), bytes.Clone(rec.headers)
		out = append(out, rec)
	}
	return out
}

// seeded is a random source whose seed a failing test prints.
func seeded(t testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// randomRecords are records of all shapes, some larger than the window of a stream.
func randomRecords(rnd *rand.Rand, n int) []kmsg.Record {
	blob := func(most int) []byte {
		switch rnd.IntN(6) {
		case 0:
			return nil
		case 1:
			return []byte{}
		}
		p := make([]byte, rnd.IntN(most))
		for i := range p {
			p[i] = byte(rnd.IntN(4)) // compresses
		}
		return p
	}
	var recs []kmsg.Record
	for i := range n {
		most := 200
		if rnd.IntN(20) == 0 {
			most = 3 * windowSize
		}
		r := kmsg.Record{OffsetDelta: int32(i), TimestampDelta64: rnd.Int64N(1<<20) - 1<<19, Key: blob(50), Value: blob(most)}
		for range rnd.IntN(4) {
			r.Headers = append(r.Headers, kmsg.Header{Key: string(blob(20)), Value: blob(most / 4)})
		}
		recs = append(recs, r)
	}
	return recs
}

// requireRecords compares a Reader's records with those sent.
func requireRecords(t testing.TB, base, first int64, want []kmsg.Record, got []Record) {
	t.Helper()
	require.Len(t, got, len(want))
	for i, w := range want {
		g := got[i]
		require.Equal(t, base+int64(w.OffsetDelta), g.Offset)
		require.Equal(t, first+w.TimestampDelta64, g.Timestamp)
		require.Equal(t, w.Key == nil, g.Key == nil)
		require.Equal(t, w.Value == nil, g.Value == nil)
		require.True(t, bytes.Equal(w.Key, g.Key))
		require.True(t, bytes.Equal(w.Value, g.Value))
		require.Equal(t, len(w.Headers), g.NumHeaders())
		at := 0
		for name, value := range g.Headers() {
			require.Equal(t, w.Headers[at].Key, string(name))
			require.Equal(t, w.Headers[at].Value == nil, value == nil)
			require.True(t, bytes.Equal(w.Headers[at].Value, value))
			at++
		}
		require.Equal(t, len(w.Headers), at)
	}
}
