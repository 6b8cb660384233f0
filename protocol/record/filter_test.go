package record

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestFilterKeepsWhatIsAsked(t *testing.T) {
	rnd := seeded(t)
	var f Filter
	for range 30 {
		recs := randomRecords(rnd, 1+rnd.IntN(40))
		for i := range recs {
			if recs[i].Value == nil {
				recs[i].Value = []byte("not a tombstone")
			}
		}
		codec := Codec(rnd.IntN(int(numCodecs)))
		b := sent{recs: recs, codec: codec, pid: 8, epoch: 1, seq: 5, attrs: 0x10}.encode(t)
		b.Stamp(5000, 6)
		before := append(Batch{}, b...)
		keep := make([]bool, len(recs))
		var want []kmsg.Record
		for i := range keep {
			if keep[i] = rnd.IntN(3) == 0; keep[i] {
				want = append(want, recs[i])
			}
		}
		asked := 0
		out, left, err := f.Rewrite(b, Retention{KeepEmpty: true, Horizon: 1, Keep: func(r *Record) bool {
			require.EqualValues(t, 5000+asked, r.Offset)
			asked++
			return keep[asked-1]
		}})
		require.NoError(t, err)
		require.Equal(t, before, b)
		require.Equal(t, len(recs), asked)
		require.Equal(t, len(want), left)
		k, got := read(t, out)
		require.Len(t, got, len(want))
		require.Equal(t, b.LastOffset(), out.LastOffset())
		require.Equal(t, b[:8], out[:8])
		require.EqualValues(t, 6, k.PartitionLeaderEpoch)
		require.Equal(t, b[43:57], out[43:57], "producer, epoch and sequence")
		require.True(t, out.IsTransactional())
		_, horizon := out.DeleteHorizon()
		require.False(t, horizon)
		if left == 0 {
			require.Equal(t, None, out.Codec())
			require.Equal(t, NoTimestamp, out.BaseTimestamp())
			require.Equal(t, b.MaxTimestamp(), out.MaxTimestamp())
			require.Len(t, out, HeaderSize)
			continue
		}
		require.Equal(t, codec, out.Codec())
		requireRecords(t, 5000, t0, want, all(t, out))
		most := int64(NoTimestamp)
		for _, r := range want {
			most = max(most, t0+r.TimestampDelta64)
		}
		require.Equal(t, most, out.MaxTimestamp())
	}
}

func everything(*Record) bool { return true }

func TestFilterLeavesAWholeBatchAlone(t *testing.T) {
	var f Filter
	b := sent{recs: values("a", "b"), codec: Gzip}.encode(t)
	out, left, err := f.Rewrite(b, Retention{Keep: everything})
	require.NoError(t, err)
	require.Equal(t, 2, left)
	require.Same(t, &b[0], &out[0])
	out, left, err = f.Rewrite(b, Retention{Keep: func(*Record) bool { return false }})
	require.NoError(t, err)
	require.Nil(t, out)
	require.Zero(t, left)
}

func TestFilterSetsTheDeleteHorizonOnce(t *testing.T) {
	var f Filter
	recs := []kmsg.Record{kv(0, []byte("a"), []byte("x")), kv(1, []byte("b"), nil), kv(2, []byte("c"), nil)}
	b := sent{recs: recs}.encode(t)
	keepSecond := func(r *Record) bool { return string(r.Key) != "c" }
	out, left, err := f.Rewrite(b, Retention{Keep: keepSecond, Horizon: t0 + 100})
	require.NoError(t, err)
	require.Equal(t, 2, left)
	horizon, ok := out.DeleteHorizon()
	require.True(t, ok)
	require.Equal(t, t0+100, horizon)
	requireRecords(t, 0, t0, recs[:2], all(t, out))

	first := append(Batch{}, out...)
	out, _, err = f.Rewrite(first, Retention{Keep: everything, Horizon: t0 + 900})
	require.NoError(t, err)
	require.Same(t, &first[0], &out[0], "the horizon stands from the first pass")
	out, _, err = f.Rewrite(first, Retention{Keep: func(r *Record) bool { return r.Value == nil }, Horizon: t0 + 900})
	require.NoError(t, err)
	horizon, _ = out.DeleteHorizon()
	require.Equal(t, t0+100, horizon)
	requireRecords(t, 0, t0, recs[1:2], all(t, out))

	marker := MarkerBatch(1, 0, Marker{Type: Commit}, t0)
	out, _, err = f.Rewrite(marker, Retention{Keep: everything, Horizon: t0 + 5})
	require.NoError(t, err)
	require.Same(t, &marker[0], &out[0])
	out, _, err = f.Rewrite(marker, Retention{Keep: everything, Horizon: t0 + 5, EmptyTransaction: true})
	require.NoError(t, err)
	horizon, ok = out.DeleteHorizon()
	require.True(t, ok)
	require.Equal(t, t0+5, horizon)
	m, err := out.Marker()
	require.NoError(t, err)
	require.Equal(t, Commit, m.Type)
	require.Equal(t, t0, all(t, out)[0].Timestamp)
}

func TestFilterKeepsAppendTime(t *testing.T) {
	var f Filter
	b := sent{recs: values("a", "b")}.encode(t)
	b.SetAppendTime(t0 + 999)
	out, _, err := f.Rewrite(b, Retention{Keep: func(r *Record) bool { return r.Offset == 1 }})
	require.NoError(t, err)
	require.True(t, out.IsAppendTime())
	require.Equal(t, t0+999, out.MaxTimestamp())
	require.Equal(t, t0+999, all(t, out)[0].Timestamp)
}

func TestFilterReportsDamage(t *testing.T) {
	var f Filter
	_, _, err := f.Rewrite(sent{recs: values("a"), count: ptr(int32(2))}.encode(t), Retention{Keep: everything})
	require.ErrorIs(t, err, ErrInvalidRecord)
}
