package record

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHeaderFieldsAreThoseOfAnotherClient(t *testing.T) {
	b := sent{
		recs: values("a", "b", "c"), pid: 1 << 40, epoch: 7, seq: 1<<31 - 2, base: 99, attrs: 0x10 | 0x40, codec: Zstd,
	}.encode(t)
	b.Stamp(1<<35, 12)
	k, _ := read(t, b)
	require.Equal(t, k.FirstOffset, b.BaseOffset())
	require.Equal(t, k.PartitionLeaderEpoch, b.LeaderEpoch())
	require.Equal(t, int(k.Length)+12, b.Size())
	require.Equal(t, k.Magic, b.Magic())
	require.Equal(t, uint32(k.CRC), b.CRC())
	require.Equal(t, k.Attributes, b.Attributes())
	require.Equal(t, Zstd, b.Codec())
	require.True(t, b.IsTransactional())
	require.False(t, b.IsControl())
	require.False(t, b.IsAppendTime())
	horizon, ok := b.DeleteHorizon()
	require.True(t, ok)
	require.Equal(t, k.FirstTimestamp, horizon)
	require.Equal(t, k.FirstTimestamp, b.BaseTimestamp())
	require.Equal(t, k.MaxTimestamp, b.MaxTimestamp())
	require.Equal(t, k.LastOffsetDelta, b.LastOffsetDelta())
	require.Equal(t, int64(1<<35+2), b.LastOffset())
	require.Equal(t, int64(1<<35+3), b.NextOffset())
	require.Equal(t, k.ProducerID, b.ProducerID())
	require.Equal(t, k.ProducerEpoch, b.ProducerEpoch())
	require.Equal(t, k.FirstSequence, b.BaseSequence())
	require.EqualValues(t, 0, b.LastSequence(), "it wraps after 2^31-1")
	require.EqualValues(t, 3, b.NumRecords())
	require.Equal(t, k.Records, b.Payload())
	require.NoError(t, b.CheckCRC(), "stamping leaves the checksum alone")
}

func TestSequenceNumbersWrapAround(t *testing.T) {
	const most = 1<<31 - 1
	for _, c := range []struct{ seq, n, want int32 }{
		{0, 0, 0}, {0, 5, 5}, {most, 0, most}, {most, 1, 0}, {most - 1, 3, 1}, {most, most, most - 1}, {1, most, 0},
	} {
		require.Equal(t, c.want, IncrementSequence(c.seq, c.n), "%d + %d", c.seq, c.n)
		require.Equal(t, c.seq, DecrementSequence(c.want, c.n), "%d - %d", c.want, c.n)
	}
	b := sent{recs: values("a")}.encode(t)
	require.Equal(t, NoSequence, b.LastSequence())
}

func TestFirstSplitsBatches(t *testing.T) {
	one, two := sent{recs: values("a")}.encode(t), sent{recs: values("b", "c"), codec: Gzip}.encode(t)
	buf := append(append([]byte{}, one...), two...)
	b, rest, err := First(buf)
	require.NoError(t, err)
	require.Equal(t, one, b)
	require.Equal(t, len(b), cap(b), "appending to a batch may not run into the next")
	b, rest, err = First(rest)
	require.NoError(t, err)
	require.Equal(t, two, b)
	require.Empty(t, rest)
	for n := range one {
		_, rest, err = First(one[:n])
		require.ErrorIs(t, err, ErrShort)
		require.Len(t, rest, n)
	}
	for _, bad := range []sent{
		{recs: values("a"), magic: 3}, {recs: values("a"), magic: 1}, {moreLength: -1}, {moreLength: -500},
	} {
		_, _, err = First(bad.encode(t))
		require.ErrorIs(t, err, ErrCorrupt)
	}
	size, err := PeekSize(one[:17])
	require.NoError(t, err)
	require.Equal(t, len(one), size)
}

func TestChecksumCoversEverythingFromTheAttributesOn(t *testing.T) {
	b := sent{recs: values("a", "b")}.encode(t)
	for i := range b {
		b[i] ^= 0x20
		err := b.CheckCRC()
		b[i] ^= 0x20
		if i >= 17 {
			require.ErrorIs(t, err, ErrCorrupt, "byte %d", i)
		} else {
			require.NoError(t, err, "byte %d", i)
		}
	}
	require.ErrorIs(t, Batch(b[:10]).CheckCRC(), ErrCorrupt)
}

func TestSetAppendTime(t *testing.T) {
	b := sent{recs: values("a", "b"), attrs: 0x80, codec: LZ4}.encode(t)
	b.SetAppendTime(t0 + 77)
	k, _ := read(t, b)
	require.EqualValues(t, 0x8|int16(LZ4), k.Attributes)
	require.Equal(t, t0+77, k.MaxTimestamp)
	require.Equal(t, t0, k.FirstTimestamp)
	for _, r := range all(t, b) {
		require.Equal(t, t0+77, r.Timestamp)
	}
	same := append(Batch{}, b...)
	b.SetAppendTime(t0 + 77)
	require.Equal(t, same, b)
}
