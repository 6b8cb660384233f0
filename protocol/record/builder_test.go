package record

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBuilderWritesWhatAnotherClientReads(t *testing.T) {
	rnd := seeded(t)
	var w Builder
	for round := range 20 {
		recs := randomRecords(rnd, 1+rnd.IntN(50))
		spec := Spec{
			BaseOffset: 1 << 33, LeaderEpoch: 5, Codec: Codec(round) % numCodecs,
			Producer: &Producer{ID: 77, Epoch: 2, Sequence: 41}, Transactional: round%2 == 0,
		}
		w.Reset(spec)
		most := int64(NoTimestamp)
		for _, r := range recs {
			var hs []Header
			for _, h := range r.Headers {
				hs = append(hs, Header{Name: h.Key, Value: h.Value})
			}
			w.Append(t0+r.TimestampDelta64, r.Key, r.Value, hs...)
			most = max(most, t0+r.TimestampDelta64)
		}
		require.Equal(t, len(recs), w.Len())
		b, err := w.Build()
		require.NoError(t, err)
		if spec.Codec == None {
			require.Equal(t, len(b), w.Size())
		}
		k, got := read(t, b)
		require.Equal(t, spec.BaseOffset, k.FirstOffset)
		require.Equal(t, spec.LeaderEpoch, k.PartitionLeaderEpoch)
		require.EqualValues(t, len(recs)-1, k.LastOffsetDelta)
		require.Equal(t, *spec.Producer, Producer{ID: k.ProducerID, Epoch: k.ProducerEpoch, Sequence: k.FirstSequence})
		require.Equal(t, spec.Transactional, b.IsTransactional())
		require.Equal(t, t0+recs[0].TimestampDelta64, k.FirstTimestamp)
		require.Equal(t, most, k.MaxTimestamp)
		for i, r := range got {
			require.EqualValues(t, i, r.OffsetDelta)
			require.Equal(t, recs[i].Key, r.Key)
			require.Equal(t, recs[i].Value, r.Value)
			require.Len(t, r.Headers, len(recs[i].Headers))
			for j, h := range r.Headers {
				require.Equal(t, recs[i].Headers[j].Key, h.Key)
				require.Equal(t, recs[i].Headers[j].Value, h.Value)
			}
		}
		requireRecords(t, spec.BaseOffset, t0, recs, all(t, b))
		b.Stamp(0, 5)
		r := DefaultRules(t0)
		r.AfterMax = 1 << 40
		info, err := Validate(b, r)
		require.NoError(t, err)
		require.False(t, info.Rebuilt)
	}
}

func TestZeroBuilderBuildsAPlainBatch(t *testing.T) {
	var w Builder
	w.Append(t0, []byte("k"), []byte("v"))
	b, err := w.Build()
	require.NoError(t, err)
	require.Equal(t, sent{recs: values("v")[:1]}.encode(t)[43:57], b[43:57], "no producer")
	info, err := Validate(b, DefaultRules(t0))
	require.NoError(t, err)
	require.Equal(t, t0, info.MaxTimestamp)
	require.False(t, b.HasProducerID())
}

func TestBuilderWithoutRecords(t *testing.T) {
	var w Builder
	w.Reset(Spec{BaseOffset: 9})
	b, err := w.Build()
	require.NoError(t, err)
	require.Len(t, b, HeaderSize)
	require.NoError(t, b.CheckCRC())
	require.EqualValues(t, 9, b.NextOffset())
	require.Equal(t, NoTimestamp, b.MaxTimestamp())
}

func TestBuilderForAppendTime(t *testing.T) {
	var w Builder
	w.Reset(Spec{AppendTime: true, AppendTimestamp: t0 + 9})
	w.Append(t0+50, nil, nil)
	b, err := w.Build()
	require.NoError(t, err)
	require.Equal(t, t0+9, b.MaxTimestamp())
	require.Equal(t, t0+9, all(t, b)[0].Timestamp)
}

func TestMarkers(t *testing.T) {
	for _, typ := range []ControlType{Abort, Commit} {
		b := MarkerBatch(123, 4, Marker{Type: typ, CoordinatorEpoch: 9}, t0)
		k, recs := read(t, b)
		require.EqualValues(t, 0x30, k.Attributes)
		require.Equal(t, []int64{123, 4, -1}, []int64{k.ProducerID, int64(k.ProducerEpoch), int64(k.FirstSequence)})
		require.Equal(t, []byte{0, 0, 0, byte(typ)}, recs[0].Key)
		require.Equal(t, []byte{0, 0, 0, 0, 0, 9}, recs[0].Value)
		m, err := b.Marker()
		require.NoError(t, err)
		require.Equal(t, Marker{Type: typ, CoordinatorEpoch: 9}, m)
	}
	for _, r := range []Record{
		{}, {Key: []byte{0, 0, 0}}, {Key: []byte{0x80, 0, 0, 1}, Value: make([]byte, 6)}, {Key: []byte{0, 0, 0, 2}, Value: make([]byte, 6)},
		{Key: []byte{0, 0, 0, 1}}, {Key: []byte{0, 0, 0, 1}, Value: []byte{0xff, 0xff, 0, 0, 0, 0}},
	} {
		_, err := ParseMarker(&r)
		require.ErrorIs(t, err, ErrInvalidRecord, "%v", r)
	}
	_, err := ParseMarker(&Record{Key: []byte{0, 9, 0, 1, 7}, Value: []byte{0, 9, 0, 0, 0, 1, 7}})
	require.NoError(t, err, "newer versions are read as far as they are known")
	_, err = sent{recs: values("a")}.encode(t).Marker()
	require.ErrorIs(t, err, ErrInvalidRecord)
}
