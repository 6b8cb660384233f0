package segment

import (
	"encoding/hex"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

func TestEpochFile(t *testing.T) {
	entries := []EpochEntry{{0, 0}, {3, 1500}, {9, 1500}}
	data := EncodeEpochs(entries)
	require.Equal(t, "0\n3\n0 0\n3 1500\n9 1500\n", string(data))
	got, err := DecodeEpochs(data)
	require.NoError(t, err)
	require.Equal(t, entries, got)
	for _, bad := range []string{"", "0", "x\n0\n", "0\n1\n", "0\n0\n1 1\n", "0\n1\n1\n", "0\n2\n3 1\n2 5\n", "0\n2\n1 5\n2 4\n", "0\n1\n-1 4\n", "0\n1\n1 9999999999999999999\n"} {
		_, err := DecodeEpochs([]byte(bad))
		require.ErrorIs(t, err, ErrSideFile, bad)
	}
	_, err = DecodeEpochs([]byte("1\n0\n"))
	require.ErrorIs(t, err, ErrNewerVersion)
}

func TestMetadataFile(t *testing.T) {
	m := Metadata{Topic: uuid.ID{1, 2, 3, 15: 9}}
	require.Equal(t, "version: 0\ntopic_id: "+m.Topic.String(), string(m.Encode()))
	for _, m.Gaps = range []bool{false, true} {
		got, err := DecodeMetadata(m.Encode())
		require.NoError(t, err)
		require.Equal(t, m, got)
	}
	for _, bad := range []string{"", "topic_id: x\n", "version: 0\n", "version: 0\ntopic_id: short\n"} {
		_, err := DecodeMetadata([]byte(bad))
		require.ErrorIs(t, err, ErrSideFile, bad)
	}
	_, err := DecodeMetadata([]byte("version: 1\ntopic_id: x\n"))
	require.ErrorIs(t, err, ErrNewerVersion)
}

func sampleProducers() []Producer {
	return []Producer{
		{ID: 1, Epoch: 2, CoordinatorEpoch: -1, TxnStart: -1, LastTime: 5, NumBatches: 1,
			Batches: [ProducerBatches]ProducerBatch{{LastSequence: 9, LastOffset: 19, Delta: 4, Timestamp: 5}}},
		{ID: 7, Epoch: 0, CoordinatorEpoch: 3, TxnStart: 20, LastTime: 9, NumBatches: 0},
		{ID: 9, Epoch: 1, CoordinatorEpoch: -1, TxnStart: -1, LastTime: 8, NumBatches: 5, Batches: [ProducerBatches]ProducerBatch{
			{1, 1, 1, 0}, {2, 2, 2, 0}, {3, 3, 3, 0}, {4, 4, 4, 0}, {5, 8, 5, 1}}},
	}
}

func TestSnapshotFile(t *testing.T) {
	want := sampleProducers()
	data := EncodeSnapshot(len(want), func(yield func(*Producer) bool) {
		for i := range want {
			if !yield(&want[i]) {
				return
			}
		}
	})
	got, err := DecodeSnapshot(data)
	require.NoError(t, err)
	require.Equal(t, want, got)
	for i := range data {
		data[i] ^= 1
		_, err := DecodeSnapshot(data)
		require.Error(t, err, i)
		data[i] ^= 1
	}
	for i := range data {
		_, err := DecodeSnapshot(data[:i])
		require.ErrorIs(t, err, ErrSideFile, i)
	}
}

// A snapshot as Apache Kafka 4.4 wrote it, without the part that is ours: producer 0, one batch of three records.
func TestSnapshotOfKafka(t *testing.T) {
	data, err := hex.DecodeString("0001c1a3468c000000010000000000000000000000000002000000000000000200000002000001a2086ed4c7ffffffffffffffffffffffff")
	require.NoError(t, err)
	got, err := DecodeSnapshot(data)
	require.NoError(t, err)
	require.Equal(t, []Producer{{CoordinatorEpoch: -1, TxnStart: -1, LastTime: 0x1a2086ed4c7, NumBatches: 1,
		Batches: [ProducerBatches]ProducerBatch{{LastOffset: 2, LastSequence: 2, Delta: 2, Timestamp: 0x1a2086ed4c7}}}}, got)
	p := got[0]
	again := EncodeSnapshot(1, slices.Values([]*Producer{&p}))
	require.Equal(t, data[6:], again[6:len(data)], "save the checksum and what is ours, Kafka's bytes")
}

func TestAbortedIndex(t *testing.T) {
	c := NewCache(vfs.NewCrash(1), 4)
	s, err := Create(c, ".", 100, 0, "")
	require.NoError(t, err)
	var want []AbortedTxn
	for i := range int64(300) {
		a := AbortedTxn{ProducerID: i, FirstOffset: 100 + i, LastOffset: 110 + i, StableOffset: 105 + i}
		want = append(want, a)
		require.NoError(t, s.AppendAborted(a))
	}
	all := func() (got []AbortedTxn) {
		require.NoError(t, s.Aborted(func(a AbortedTxn) bool { got = append(got, a); return true }))
		return got
	}
	require.Equal(t, want, all())
	data, err := vfs.ReadFile(c.FS(), Name(100, TxnExt), 1<<20)
	require.NoError(t, err)
	require.Equal(t, "0000"+"0000000000000000"+"0000000000000064"+"000000000000006e"+"0000000000000069", hex.EncodeToString(data[:34]))
	require.NoError(t, s.CutAborted(200))
	require.Equal(t, want[:90], all())
	require.NoError(t, s.CutAborted(100))
	require.Empty(t, all())
	require.False(t, s.Meta().HasTxns)
}
