package log

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// TestSequences walks through what a producer may send, as Apache Kafka 4.4 answers it.
func TestSequences(t *testing.T) {
	type step struct {
		name  string
		epoch int16
		seq   int32
		n     int
		err   error
		dup   bool
		base  int64
	}
	const id = 7
	for _, tc := range []struct {
		name  string
		steps []step
	}{
		{"one epoch", []step{
			{name: "first", seq: 0, n: 3, base: 0},
			{name: "repeat", seq: 0, n: 3, dup: true, base: 0},
			{name: "repeat, shorter", seq: 0, n: 2, err: ErrOutOfOrderSequence},
			{name: "overlapping", seq: 2, n: 3, err: ErrOutOfOrderSequence},
			{name: "gap", seq: 4, n: 1, err: ErrOutOfOrderSequence},
			{name: "next", seq: 3, n: 2, base: 3},
			{name: "filling", seq: 5, n: 1, base: 5}, {name: "filling", seq: 6, n: 1, base: 6}, {name: "filling", seq: 7, n: 1, base: 7},
			{name: "filling", seq: 8, n: 1, base: 8}, {name: "filling", seq: 9, n: 1, base: 9},
			{name: "repeat of the oldest kept", seq: 5, n: 1, dup: true, base: 5},
			{name: "repeat of one no longer kept", seq: 0, n: 3, err: ErrOutOfOrderSequence},
			{name: "repeat of another", seq: 3, n: 2, err: ErrOutOfOrderSequence},
			{name: "next again", seq: 10, n: 1, base: 10},
			{name: "backwards", seq: 8, n: 2, err: ErrOutOfOrderSequence},
		}},
		{"epochs", []step{
			{name: "first", seq: 0, n: 2, base: 0},
			{name: "next epoch, sequence not 0", epoch: 1, seq: 2, n: 1, err: ErrOutOfOrderSequence},
			{name: "next epoch", epoch: 1, seq: 0, n: 1, base: 2},
			{name: "old epoch", epoch: 0, seq: 2, n: 1, err: ErrInvalidProducerEpoch},
			{name: "old epoch, repeated", epoch: 0, seq: 0, n: 2, err: ErrInvalidProducerEpoch},
			{name: "two epochs on", epoch: 3, seq: 0, n: 1, base: 3},
			{name: "going on", epoch: 3, seq: 1, n: 1, base: 4},
		}},
		{"unknown producer", []step{
			{name: "any sequence", epoch: 9, seq: 5, n: 1, base: 0},
			{name: "then the next", epoch: 9, seq: 6, n: 1, base: 1},
		}},
		{"wrapping", []step{
			{name: "at the end", seq: 1<<31 - 1, n: 2, base: 0},
			{name: "repeat", seq: 1<<31 - 1, n: 2, dup: true, base: 0},
			{name: "wrapped", seq: 1, n: 1, base: 2},
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, vfs.NewCrash(1), testConfig())
			for _, s := range tc.steps {
				end := w.l.End()
				done, err := w.l.Append(Append{Batches: idempotent(s.n, id, s.epoch, s.seq), Now: t0})
				if s.err != nil {
					require.ErrorIs(t, err, s.err, s.name)
					require.Equal(t, end, w.l.End(), s.name)
					continue
				}
				require.NoError(t, err, s.name)
				require.Equal(t, s.dup, done.Duplicate, s.name)
				require.Equal(t, [2]int64{s.base, s.base + int64(s.n) - 1}, [2]int64{done.Base, done.Last}, s.name)
				require.Equal(t, done.Last+1, done.FlushEnd, s.name)
			}
		})
	}
}

// Repeats of any of the last five batches are known again after a clean stop, and after a crash that cut right behind a roll.
func TestProducersSurviveRestarts(t *testing.T) {
	for _, how := range []string{"clean", "kill"} {
		t.Run(how, func(t *testing.T) {
			cfg := testConfig()
			cfg.SegmentBytes = 400 // a few batches
			w := newWorld(t, vfs.NewCrash(1), cfg)
			var bases []int64
			for i := range int32(7) {
				bases = append(bases, w.append(idempotent(2, 7, 3, i*2)).Base)
			}
			require.Greater(t, len(w.l.Segments()), 1)
			if how == "clean" {
				w.stop()
			} else {
				w.crash(w.fs.(*vfs.Crash).Kill())
			}
			for i := int32(2); i < 7; i++ {
				done := w.append(idempotent(2, 7, 3, i*2))
				require.True(t, done.Duplicate, "batch %d", i)
				require.Equal(t, bases[i], done.Base)
			}
			_, err := w.l.Append(Append{Batches: idempotent(1, 7, 3, 16), Now: t0})
			require.ErrorIs(t, err, ErrOutOfOrderSequence)
			require.False(t, w.append(idempotent(1, 7, 3, 14)).Duplicate)
		})
	}
}

// A producer whose records were all deleted is still known, after a crash too.
func TestProducersSurviveDeleteRecords(t *testing.T) {
	cfg := testConfig()
	cfg.SegmentBytes = 400
	w := newWorld(t, vfs.NewCrash(1), cfg)
	w.append(idempotent(2, 7, 0, 0))
	w.fill(12)
	_, err := w.l.DeleteRecordsTo(10)
	require.NoError(t, err)
	require.Greater(t, w.l.Segments()[0].Base, int64(2))
	for range 2 {
		require.True(t, w.append(idempotent(2, 7, 0, 0)).Duplicate)
		require.NoError(t, w.sync())
		w.crash(w.fs.(*vfs.Crash).PowerCutAll())
	}
}

func TestProducersExpireAndAreBounded(t *testing.T) {
	cfg := testConfig()
	cfg.ProducerExpiry, cfg.MaxProducers = time.Hour, 3
	w := newWorld(t, vfs.NewCrash(1), cfg)
	at := func(d time.Duration, b record.Batch) {
		_, err := w.l.Append(Append{Batches: b, Now: t0.Add(d), Origin: Coordinator})
		require.NoError(t, err)
	}
	ids := func() (ids []int64) {
		for _, p := range w.l.Producers() {
			ids = append(ids, p.ID)
		}
		return ids
	}
	at(0, idempotent(1, 1, 0, 0))
	at(time.Minute, batchOf(1, 1, 0, record.Spec{Producer: &record.Producer{ID: 2}, Transactional: true}))
	at(2*time.Minute, idempotent(1, 3, 0, 0))
	at(3*time.Minute, idempotent(1, 1, 0, 1))
	at(4*time.Minute, idempotent(1, 4, 0, 0))
	require.Equal(t, []int64{1, 2, 4}, ids(), "the longest idle one without a transaction makes room")

	r, err := w.l.Retain(t0.Add(63*time.Minute + time.Second))
	require.NoError(t, err)
	require.Equal(t, 1, r.Expired)
	require.Equal(t, []int64{2, 4}, ids(), "an open transaction is kept")
	at(0, idempotent(1, 1, 0, 55)) // forgotten, so that any sequence will do
}

func TestTransactions(t *testing.T) {
	w := newWorld(t, vfs.NewCrash(1), testConfig())
	data := func(id int64, epoch int16, seq int32) record.Batch {
		return batchOf(1, 10, t0.UnixMilli(), record.Spec{Producer: &record.Producer{ID: id, Epoch: epoch, Sequence: seq}, Transactional: true})
	}
	marker := func(id int64, kind record.ControlType, coordinator int32) error {
		b := record.MarkerBatch(id, 0, record.Marker{Type: kind, CoordinatorEpoch: coordinator}, t0.UnixMilli())
		_, err := w.l.Append(Append{Batches: b, Origin: Coordinator, Now: t0})
		return err
	}
	stable := func(want int64) {
		t.Helper()
		require.Equal(t, want, w.l.StableOffset())
	}
	w.fill(1)
	w.append(data(1, 0, 0)) // 1
	w.append(data(2, 0, 0)) // 2
	w.append(data(1, 0, 1)) // 3
	w.l.SetHighWatermark(w.l.End())
	stable(1)
	require.NoError(t, marker(1, record.Abort, 5)) // 4
	w.l.SetHighWatermark(4)
	stable(1) // the marker is not committed
	w.l.SetHighWatermark(5)
	stable(2)
	require.NoError(t, marker(2, record.Commit, 5)) // 5
	w.l.SetHighWatermark(6)
	stable(6)

	require.ErrorIs(t, marker(1, record.Commit, 4), ErrCoordinatorFenced)
	w.append(data(1, 0, 2)) // 6
	_, err := w.l.Append(Append{Batches: idempotent(1, 1, 0, 3), Now: t0})
	require.ErrorIs(t, err, ErrInvalidTxnState)

	for range 2 {
		aborted, err := w.l.AbortedTxns(0, w.l.End())
		require.NoError(t, err)
		require.Len(t, aborted, 1)
		require.Equal(t, [4]int64{1, 1, 4, 2}, [4]int64{aborted[0].ProducerID, aborted[0].FirstOffset, aborted[0].LastOffset, aborted[0].StableOffset})
		aborted, err = w.l.AbortedTxns(5, w.l.End())
		require.NoError(t, err)
		require.Empty(t, aborted)
		require.Equal(t, int64(6), w.l.Producers()[0].CurrentTxnStart)
		stable(6)
		// The same again after a crash that takes all that was not synced, index of aborted transactions included.
		require.NoError(t, w.sync())
		w.crash(w.fs.(*vfs.Crash).PowerCutAll())
		w.l.SetHighWatermark(w.l.End())
	}
}

func TestEndOffsetForEpoch(t *testing.T) {
	w := newWorld(t, vfs.NewCrash(1), testConfig())
	ask := func(epoch int32) [2]int64 {
		e, end := w.l.EndOffsetForEpoch(epoch)
		return [2]int64{int64(e), end}
	}
	none := [2]int64{-1, -1}
	require.Equal(t, none, ask(0))
	w.l.AssignEpoch(0) // nothing was written under it
	w.l.AssignEpoch(2)
	require.Equal(t, [2]int64{2, 0}, ask(2))
	w.fill2(2, 2)
	w.l.AssignEpoch(5)
	w.fill2(3, 5)
	for range 2 {
		require.Equal(t, [2]int64{-2, 0}, ask(-2))
		require.Equal(t, none, ask(-1))
		require.Equal(t, [2]int64{1, 0}, ask(1), "below all of the log's")
		require.Equal(t, [2]int64{2, 2}, ask(2))
		require.Equal(t, [2]int64{2, 2}, ask(4))
		require.Equal(t, [2]int64{5, 5}, ask(5))
		require.Equal(t, none, ask(6))
		require.Equal(t, []int32{2, 5, 5}, []int32{w.l.EpochOf(1), w.l.EpochOf(2), w.l.EpochOf(5)})
		w.stop()
	}
	_, err := w.l.Append(Append{Batches: idempotent(1, 1, 0, 0), LeaderEpoch: 4})
	require.ErrorIs(t, err, ErrStaleEpoch)
	_, err = w.l.DeleteRecordsTo(3)
	require.NoError(t, err)
	require.Equal(t, int32(-1), w.l.EpochOf(2))
	require.Equal(t, [2]int64{4, 3}, ask(4))
	require.NoError(t, w.l.TruncateTo(3))
	require.Equal(t, int32(-1), w.l.LatestEpoch())
}

// fill2 appends n batches under an epoch.
func (w *world) fill2(n int, epoch int32) {
	for range n {
		_, err := w.l.Append(Append{Batches: batchOf(1, 30, t0.UnixMilli(), record.Spec{}), LeaderEpoch: epoch, Now: t0})
		require.NoError(w.t, err)
	}
}

func TestErrorsKeepTheirKind(t *testing.T) {
	d := &Damage{Reason: record.ErrCorrupt}
	require.True(t, errors.Is(d, ErrOffline) && errors.Is(d, record.ErrCorrupt))
}
