package record

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// fuzzLimit keeps one execution short; what it stands for is tested elsewhere.
const fuzzLimit = 256 << 10

// seeds are batches of every codec and kind.
func seeds(f *testing.F) (out []Batch) {
	recs := []kmsg.Record{
		kv(0, []byte("key"), []byte("value"), kmsg.Header{Key: "h", Value: []byte("v")}), kv(1, nil, []byte("x")), kv(2, []byte("k"), nil),
	}
	for codec := None; codec < numCodecs; codec++ {
		out = append(out, sent{recs: recs, codec: codec, pid: 5, seq: 1}.encode(f), sent{recs: filled(40, 100), codec: codec}.encode(f))
	}
	out = append(out, MarkerBatch(1, 0, Marker{Type: Abort, CoordinatorEpoch: 3}, t0), sent{}.encode(f))
	return append(out, sent{recs: recs, attrs: 0x48, maxTS: ptr(t0 + 7)}.encode(f))
}

// FuzzValidate makes the checksum right, so that bytes behind it are reached, and holds what was accepted against a Reader.
func FuzzValidate(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add([]byte(b), uint8(0))
		f.Add(append(append([]byte{}, b...), b...), uint8(0xff))
	}
	f.Fuzz(func(t *testing.T, p []byte, flags uint8) {
		b, err := Single(p)
		if err != nil {
			requireRejected(t, err)
			return
		}
		b = bytes.Clone(b)
		b.putCRC()
		r := DefaultRules(t0)
		r.Internal, r.Compacted, r.AppendTime = flags&1 != 0, flags&2 != 0, flags&4 != 0
		r.Compression = Compression{Force: flags&8 != 0, Codec: Codec(flags>>4) % numCodecs}
		r.MaxExpansion = fuzzLimit
		info, err := Validate(b, r)
		if err != nil {
			requireRejected(t, err)
			return
		}
		require.NoError(t, info.Batch.CheckCRC())
		require.Equal(t, len(info.Batch), info.Batch.Size())
		n := 0
		for rec, err := range info.Batch.All(2 * fuzzLimit) {
			require.NoError(t, err)
			for range rec.Headers() {
			}
			n++
		}
		require.EqualValues(t, info.Batch.NumRecords(), n)
	})
}

func requireRejected(t *testing.T, err error) {
	var r *RejectedError
	require.True(t, errors.As(err, &r), "%v", err)
	require.NotNil(t, r.Kind)
}

// FuzzReader holds the passes over a batch against each other, and another batch built from its records.
func FuzzReader(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		b, _, err := First(p)
		if err != nil {
			return
		}
		var filter Filter
		keep := func(r *Record) bool { return r.Offset&1 == 0 }
		out, left, filterErr := filter.Rewrite(b, Retention{Keep: keep, KeepEmpty: true, Horizon: t0, MaxExpansion: fuzzLimit})
		full, err := b.Records(fuzzLimit)
		if err != nil {
			require.Error(t, filterErr)
			return
		}
		defer full.Close()
		times, err := b.Records(fuzzLimit)
		require.NoError(t, err)
		defer times.Close()
		n, kept := 0, 0
		for {
			rec, ok, err := full.Next()
			offset, ts, alsoOK, alsoErr := times.NextTime()
			if err != nil {
				require.Error(t, filterErr)
				return
			}
			require.NoError(t, alsoErr)
			require.Equal(t, ok, alsoOK)
			if !ok {
				break
			}
			require.Equal(t, []int64{rec.Offset, rec.Timestamp}, []int64{offset, ts})
			if n++; keep(&rec) {
				kept++
			}
		}
		require.NoError(t, filterErr)
		require.Equal(t, kept, left)
		if left != n {
			require.NoError(t, out.CheckCRC())
			require.Len(t, all(t, out), left)
		}
		_, _, _ = b.OffsetOfMaxTimestamp(fuzzLimit)
		_, _ = b.Marker()
	})
}

// FuzzDecompress also holds the limit: what fits it exactly comes out, one byte less is refused.
func FuzzDecompress(f *testing.F) {
	for _, b := range seeds(f) {
		for codec := Gzip; codec < numCodecs; codec++ {
			packed, err := Compress(nil, codec, 0, b)
			require.NoError(f, err)
			f.Add(uint8(codec), packed)
			f.Add(uint8(codec), kgoCompress(f, codec, b))
		}
	}
	f.Fuzz(func(t *testing.T, c uint8, p []byte) {
		codec := Gzip + Codec(c)%(numCodecs-1)
		out, err := Decompress(nil, codec, p, fuzzLimit)
		if err != nil {
			require.True(t, errors.Is(err, ErrBrokenData) || errors.Is(err, ErrExpansion), "%v", err)
			return
		}
		if len(out) == 0 {
			return
		}
		again, err := Decompress(nil, codec, p, int64(len(out)))
		require.NoError(t, err)
		require.True(t, bytes.Equal(out, again))
		if len(out) > 1 {
			_, err = Decompress(nil, codec, p, int64(len(out)-1))
			require.ErrorIs(t, err, ErrExpansion)
		}
	})
}

// FuzzCompress holds our codecs against another client's.
func FuzzCompress(f *testing.F) {
	f.Add(uint8(0), int16(0), []byte("some bytes, some bytes, some more bytes"))
	f.Add(uint8(2), int16(1), bytes.Repeat([]byte{0}, 100_000))
	f.Fuzz(func(t *testing.T, c uint8, level int16, p []byte) {
		codec := Gzip + Codec(c)%(numCodecs-1)
		lv := int(level)
		if !CheckLevel(codec, lv) {
			lv = 0
		}
		packed, err := Compress(nil, codec, lv, p)
		require.NoError(t, err)
		if len(p) > 0 {
			require.True(t, bytes.Equal(p, kgoDecompress(t, codec, packed)))
		}
		out, err := Decompress(nil, codec, packed, math.MaxInt32)
		require.NoError(t, err)
		require.True(t, bytes.Equal(p, out))
	})
}
