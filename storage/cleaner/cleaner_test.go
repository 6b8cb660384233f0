package cleaner

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/storage/log"
	"github.com/tidemark-mq/tidemark/storage/segment"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

func TestOnlyTheNewestRecordOfAKeyStays(t *testing.T) {
	w := newWorld(t, vfs.NewCrash(1), config())
	for i := range 200 {
		w.append(record.Spec{}, t0, pair{fmt.Sprint("k", i%7), fmt.Sprint("value ", i)}, pair{fmt.Sprint("once", i), "v"})
	}
	w.commit()
	before := w.l.SizeBytes()
	r := w.clean(New(Options{}), t0)
	require.Less(t, w.l.SizeBytes(), before)
	require.Greater(t, r.RecordsIn, r.RecordsOut)
	w.holdsNewest()
	records, _ := w.read()
	seen := map[string]int{}
	for _, rec := range records {
		if rec.offset < r.To {
			seen[rec.key]++
		}
	}
	for key, n := range seen {
		require.Equal(t, 1, n, "key %s below the checkpoint", key)
	}
	require.Equal(t, r.To, w.l.CleanedTo())
	require.Zero(t, w.clean(New(Options{}), t0).BytesRead, "nothing is dirty any more")
}

func TestATombstoneStaysForItsTime(t *testing.T) {
	w := newWorld(t, vfs.NewCrash(1), config())
	has := func() bool {
		records, _ := w.read()
		for _, r := range records {
			if r.key == "gone" {
				require.True(t, r.tombstone)
				return true
			}
		}
		return false
	}
	round := func(now time.Time) {
		for i := range 60 {
			w.append(record.Spec{}, now, pair{"other", fmt.Sprint(i, "................................")})
		}
		w.commit()
		w.clean(New(Options{}), now)
	}
	w.append(record.Spec{}, t0, pair{"gone", "value"})
	w.append(record.Spec{}, t0, pair{"gone", ""})
	round(t0)
	require.True(t, has(), "its value is gone, the tombstone is there")
	round(t0.Add(59 * time.Minute))
	require.True(t, has(), "not before delete.retention.ms")
	round(t0.Add(61 * time.Minute))
	require.False(t, has())
	w.holdsNewest()
}

func TestAProducersLastBatchLeavesItsHeader(t *testing.T) {
	w := newWorld(t, vfs.NewCrash(1), config())
	producer := &record.Producer{ID: 77, Epoch: 3, Sequence: 0}
	w.append(record.Spec{Producer: producer}, t0, pair{"a", "1"})
	producer.Sequence = 1
	done := w.append(record.Spec{Producer: producer}, t0, pair{"a", "2"})
	for i := range 100 {
		w.append(record.Spec{}, t0, pair{"a", fmt.Sprint(i, "...............................")})
	}
	w.commit()
	w.clean(New(Options{}), t0)
	_, batches := w.read()
	require.Equal(t, done.Base, batches[0].BaseOffset(), "the first batch of the producer is gone, its last is there")
	require.Zero(t, batches[0].NumRecords())
	require.Equal(t, int32(1), batches[0].BaseSequence())

	// After a restart that has only the batches, a repeat is known and a gap is refused.
	crash := w.fs.(*vfs.Crash)
	w.fs = crash.Kill()
	names, err := w.fs.List(dir)
	require.NoError(t, err)
	for _, name := range names {
		if strings.HasSuffix(name, segment.SnapshotExt) {
			require.NoError(t, w.fs.Remove(w.fs.PathJoin(dir, name)))
		}
	}
	w.open()
	states := w.l.Producers()
	require.Len(t, states, 1)
	require.Equal(t, int32(1), states[0].LastSequence)
}

// When the marker of an aborted transaction is compacted away, so is its entry in the index: otherwise the producer's next transaction
// would be taken for the aborted one, by consumers and by the next run.
func TestATransactionAfterAnAbortedOneStays(t *testing.T) {
	w := newWorld(t, vfs.NewCrash(1), config())
	producer := &record.Producer{ID: 7}
	marker := func(kind record.ControlType) {
		_, err := w.l.Append(log.Append{Batches: record.MarkerBatch(7, 0, record.Marker{Type: kind}, t0.UnixMilli()), Origin: log.Coordinator, Now: t0})
		require.NoError(t, err)
	}
	round := func(now time.Time) {
		for i := range 40 {
			w.append(record.Spec{}, t0, pair{"x", fmt.Sprint(i, "...............................")})
		}
		w.commit()
		w.clean(New(Options{}), now)
		w.holdsNewest()
	}
	w.append(record.Spec{Producer: producer, Transactional: true}, t0, pair{"a", "aborted"})
	delete(w.last, "a")
	marker(record.Abort)
	producer.Sequence = 1
	w.append(record.Spec{Producer: producer, Transactional: true}, t0, pair{"b", "committed"})
	marker(record.Commit)
	producer.Sequence = 2
	w.append(record.Spec{Producer: producer, Transactional: true}, t0, pair{"c", "committed"})
	marker(record.Commit)
	round(t0)
	aborted, err := w.l.AbortedTxns(0, w.l.End())
	require.NoError(t, err)
	require.Len(t, aborted, 1, "its marker is still there")
	round(t0.Add(2 * time.Hour))
	_, batches := w.read()
	require.NotEqual(t, int64(1), batches[0].BaseOffset(), "the marker is gone")
	aborted, err = w.l.AbortedTxns(0, w.l.End())
	require.NoError(t, err)
	require.Empty(t, aborted)
	round(t0.Add(4 * time.Hour))
}

// Segments that are merged into one leave no snapshots of producers behind.
func TestSnapshotsGoWithTheirSegments(t *testing.T) {
	w := newWorld(t, vfs.NewCrash(1), config())
	for i := range 100 {
		w.append(record.Spec{}, t0, pair{"x", fmt.Sprint(i, "...............................")})
	}
	w.commit()
	w.clean(New(Options{}), t0)
	names, err := w.fs.List(dir)
	require.NoError(t, err)
	snapshots := 0
	for _, name := range names {
		if strings.HasSuffix(name, segment.SnapshotExt) {
			snapshots++
		}
	}
	require.Equal(t, len(w.l.Segments())-1, snapshots)
}

// A disk that fails while segments are replaced takes the log offline, and a restart finds the records all the same.
func TestAFailedReplacementLosesNothing(t *testing.T) {
	for n := 1; ; n++ {
		disk := vfs.NewCrash(1)
		faults := vfs.NewFaults(disk)
		w := newWorld(t, faults, config())
		for i := range 60 {
			w.append(record.Spec{}, t0, pair{fmt.Sprint("k", i%7), fmt.Sprint(i, "...............................")})
		}
		w.commit()
		rule := faults.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpRename, vfs.OpSync, vfs.OpSyncDir}, Nth: n, Once: true, Err: syscall.EIO})
		_, err := New(Options{}).Clean(context.Background(), w.l, t0)
		rule.Remove()
		if err == nil {
			require.Greater(t, n, 5)
			return
		}
		w.fs = disk.Kill()
		w.open()
		w.holdsNewest()
	}
}

func TestYoungRecordsAndTheActiveSegmentAreLeftAlone(t *testing.T) {
	cfg := config()
	cfg.MinCompactionLag = time.Hour
	w := newWorld(t, vfs.NewCrash(1), cfg)
	for i := range 100 {
		w.append(record.Spec{}, t0, pair{"k", fmt.Sprint(i, "..............................")})
	}
	w.commit()
	require.Zero(t, w.clean(New(Options{}), t0.Add(30*time.Minute)).RecordsIn)
	require.NotZero(t, w.clean(New(Options{}), t0.Add(61*time.Minute)).RecordsIn)
	w.holdsNewest()
}

func TestNothingAboveTheWatermarkOrTheRecoveryPointIsCompacted(t *testing.T) {
	w := newWorld(t, vfs.NewCrash(1), config())
	w.append(record.Spec{}, t0, pair{"k", "0"})
	w.commit()
	for i := range 100 {
		w.append(record.Spec{}, t0, pair{"k", fmt.Sprint(i, "..............................")})
	}
	require.Zero(t, w.clean(New(Options{}), t0).RecordsIn)
}

// A map too small for the dirty range is filled several times.
func TestAFullMapEndsTheRunEarly(t *testing.T) {
	w := newWorld(t, vfs.NewCrash(1), config())
	for i := range 3000 {
		w.append(record.Spec{}, t0, pair{fmt.Sprint("k", i%1500), fmt.Sprint(i)})
	}
	w.commit()
	c := New(Options{MapBytes: minSlots * slotBytes})
	first := w.clean(c, t0)
	require.Less(t, first.To, w.l.End()/2)
	for range 20 {
		if r := w.clean(c, t0); r.From == r.To {
			break
		}
	}
	w.holdsNewest()
	records, _ := w.read()
	require.Less(t, len(records), 1600)
}
