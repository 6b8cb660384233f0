package record

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestReaderReadsWhatAnotherClientWrote(t *testing.T) {
	rnd := seeded(t)
	for range 10 {
		recs := randomRecords(rnd, 1+rnd.IntN(60))
		for codec := None; codec < numCodecs; codec++ {
			b := sent{recs: recs, codec: codec}.encode(t)
			b.Stamp(1000, 3)
			requireRecords(t, 1000, t0, recs, all(t, b))
			r, err := b.Records(0)
			require.NoError(t, err)
			for _, want := range recs {
				offset, ts, ok, err := r.NextTime()
				require.NoError(t, err)
				require.True(t, ok)
				require.Equal(t, 1000+int64(want.OffsetDelta), offset)
				require.Equal(t, t0+want.TimestampDelta64, ts)
			}
			_, _, ok, err := r.NextTime()
			require.NoError(t, err)
			require.False(t, ok)
			r.Close()
			r.Close()
		}
	}
}

func TestReaderFindsLiesAboutTheCount(t *testing.T) {
	for codec := None; codec < numCodecs; codec++ {
		few := sent{recs: values("a", "b"), codec: codec, count: ptr(int32(3))}.encode(t)
		many := sent{recs: values("a", "b"), codec: codec, count: ptr(int32(1))}.encode(t)
		for _, b := range []Batch{few, many} {
			r, err := b.Records(0)
			require.NoError(t, err)
			n := 0
			for ok := true; ok && err == nil; n++ {
				_, ok, err = r.Next()
			}
			require.ErrorIs(t, err, ErrInvalidRecord)
			require.Equal(t, int(b.NumRecords()), min(n, 3)-boolInt(b.NumRecords() == 1))
			r.Close()
		}
	}
	_, err := sent{recs: values("a"), count: ptr(int32(-1))}.encode(t).Records(0)
	require.ErrorIs(t, err, ErrInvalidRecord)
	_, err = sent{recs: values("a"), attrs: 6}.encode(t).Records(0)
	require.ErrorIs(t, err, ErrUnknownCodec)
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestEmptyBatchHasNoRecords(t *testing.T) {
	b := sent{codec: Zstd, payload: []byte("whatever")}.encode(t)
	require.Empty(t, all(t, b))
}

func TestLookupByTime(t *testing.T) {
	recs := []kmsg.Record{
		rec(0, 10, nil, nil), rec(1, 30, nil, make([]byte, 3*windowSize)), rec(2, 20, nil, nil), rec(3, 30, nil, nil), rec(4, 25, nil, nil),
	}
	for codec := None; codec < numCodecs; codec++ {
		b := sent{recs: recs, codec: codec}.encode(t)
		b.Stamp(100, 0)
		for _, c := range []struct {
			after  int64
			offset int64
			ok     bool
		}{{0, 100, true}, {10, 100, true}, {11, 101, true}, {30, 101, true}, {31, 0, false}} {
			offset, ts, ok, err := b.OffsetForTime(t0+c.after, 0)
			require.NoError(t, err)
			require.Equal(t, c.ok, ok)
			require.Equal(t, c.offset, offset)
			if ok {
				require.Equal(t, t0+recs[offset-100].TimestampDelta64, ts)
			}
		}
		offset, ok, err := b.OffsetOfMaxTimestamp(0)
		require.NoError(t, err)
		require.True(t, ok)
		require.EqualValues(t, 101, offset)

		b.SetAppendTime(t0 + 1000)
		offset, ts, ok, err := b.OffsetForTime(t0+900, 0)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, []int64{100, t0 + 1000}, []int64{offset, ts})
	}
	var w Builder
	empty, err := w.Build()
	require.NoError(t, err)
	_, ok, err := empty.OffsetOfMaxTimestamp(0)
	require.NoError(t, err)
	require.False(t, ok)
}

func TestALargeRecordBetweenSmallOnes(t *testing.T) {
	recs := []kmsg.Record{
		kv(0, []byte("k"), []byte("v")),
		kv(1, make([]byte, 5*windowSize), make([]byte, 3*windowSize), kmsg.Header{Key: "h", Value: make([]byte, 2*windowSize)}),
		kv(2, nil, []byte("v")),
	}
	for codec := Gzip; codec < numCodecs; codec++ {
		b := sent{recs: recs, codec: codec}.encode(t)
		requireRecords(t, 0, t0, recs, all(t, b))
		info, err := Validate(b, DefaultRules(t0))
		require.NoError(t, err)
		require.EqualValues(t, len(encodeRecords(recs)), info.Uncompressed)
	}
	// A large record whose parts do not add up to its size.
	for change := -1; change <= 1; change += 2 {
		bad := recs[1]
		bad.OffsetDelta = 0
		body := encodeRecords([]kmsg.Record{bad})
		size, n := sizedVarint32(body)
		payload := append(appendVarint(nil, int64(size)+int64(change)), body[n:]...)
		packed, err := Compress(nil, Zstd, 0, payload)
		require.NoError(t, err)
		_, err = Validate(sent{recs: recs[:1], codec: Zstd, payload: packed}.encode(t), DefaultRules(t0))
		require.ErrorIs(t, err, ErrInvalidRecord)
	}
}
