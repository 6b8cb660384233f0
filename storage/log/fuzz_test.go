package log

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/storage/segment"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// FuzzOpen: whatever the files of a log and its journal entries hold, it is recovered or offline, what was promised is there or
// said to be gone, and all of what is there can be read and appended to, save batches below the recovery point that are not as they
// were synced: those are reported.
func FuzzOpen(f *testing.F) {
	var data []byte
	for i := range int64(3) {
		data = append(data, batchOf(2, 3, t0.UnixMilli(), record.Spec{BaseOffset: 2 * i, Producer: &record.Producer{ID: 1, Sequence: int32(2 * i)}})...)
	}
	entry := batchOf(1, 3, t0.UnixMilli(), record.Spec{BaseOffset: 6})
	f.Add(data, []byte(entry), []byte("0\n1\n0 0\n"), int64(0), int64(7), int64(0))
	f.Add(data[:150], []byte{}, []byte{}, int64(2), int64(2), int64(3))
	f.Add(data, data, []byte("?"), int64(6), int64(6), int64(9))
	f.Fuzz(func(t *testing.T, file, entries, epochs []byte, recoveryPoint, promised, start int64) {
		const most = 1 << 40
		if recoveryPoint < 0 || promised < 0 || start < 0 || recoveryPoint > most || promised > most || start > most {
			return
		}
		disk := vfs.NewCrash(1)
		w := &world{t: t, fs: disk, cfg: testConfig(), recoveryPoint: recoveryPoint, promised: promised, start: start}
		w.entries = []Entry{{Batches: entries}}
		require.NoError(t, disk.MkdirAll(testDir, 0o755))
		require.NoError(t, vfs.WriteFileAtomic(disk, testDir+"/"+segment.Name(0, segment.LogExt), file))
		require.NoError(t, vfs.WriteFileAtomic(disk, testDir+"/"+segment.EpochFile, epochs))
		if err := w.open(); err != nil {
			require.ErrorIs(t, err, segment.ErrNewerVersion)
			return
		}
		if w.last.Damage != nil {
			require.Less(t, start, max(promised, recoveryPoint))
			return
		}
		require.True(t, w.l.End() >= promised || start >= promised)
		batches := w.readGood(recoveryPoint)
		done, err := w.l.Append(Append{Batches: idempotent(1, 1<<40, 0, 0), LeaderEpoch: 1<<31 - 1, Now: t0})
		require.NoError(t, err)
		require.Equal(t, w.l.End(), done.Last+1)
		for range 2 {
			if n := len(w.readGood(recoveryPoint)); n != len(batches) { // they end at a bad one
				require.Equal(t, len(batches)+1, n)
			}
			last := w.read(done.Base, w.l.End(), 1, true)
			require.Equal(t, [][2]int64{{done.Base, done.Last}}, offsets(last))
			w.stop()
		}
	})
}

// readGood reads the log from its start up to a batch that is damaged, which must begin below the recovery point.
func (w *world) readGood(recoveryPoint int64) (all []record.Batch) {
	w.t.Helper()
	for from := w.l.Start(); from < w.l.End(); {
		slice, err := w.l.Read(from, w.l.End(), 1<<20, true)
		var bad *segment.CorruptError
		if errors.As(err, &bad) {
			require.GreaterOrEqual(w.t, bad.Offset, from)
			require.Less(w.t, bad.Offset, recoveryPoint)
			break
		}
		require.NoError(w.t, err)
		slice.Release()
		batches := w.read(from, w.l.End(), 1<<20, true)
		if len(batches) == 0 {
			break
		}
		all = append(all, batches...)
		from = batches[len(batches)-1].NextOffset()
	}
	return all
}
