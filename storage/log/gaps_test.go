package log

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/storage/segment"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// A log that was compacted has offsets missing below the recovery point. Offsets missing above it are lost records: when a power cut takes
// the tail of a segment and leaves the one after it, the journal must fill the hole (durability rules 6 and 9).
func TestAHoleAboveTheRecoveryPointIsNotTakenForCompaction(t *testing.T) {
	crash := vfs.NewCrash(1)
	w := newWorld(t, crash, testConfig())
	w.fill(120)
	require.NoError(t, w.sync())
	w.compactFirstSegment()
	compacted := offsets(w.readAll())

	w.journal = true
	for len(w.l.Segments()) < 6 {
		w.fill(5)
	}
	w.fill(3)
	acknowledged := offsets(w.readAll())
	require.Greater(t, len(acknowledged), len(compacted))

	// Only the newest segment reached the disk; what was written to the ones before it since the last sync did not.
	infos := w.l.Segments()
	newest, err := w.fs.OpenReadWrite(infos[len(infos)-1].Path, vfs.Unspecified)
	require.NoError(t, err)
	require.NoError(t, newest.Sync())
	require.NoError(t, newest.Close())
	require.NoError(t, vfs.SyncDir(w.fs, testDir))
	w.crash(crash.PowerCutAll())
	require.Nil(t, w.last.Damage)
	require.Equal(t, acknowledged, offsets(w.readAll()))
}

// A segment that was synced and then rolled, with nothing appended in between, may be compacted before its indexes are synced. The sync that
// would have done it must not miss the files.
func TestASegmentIsReplacedBeforeItsIndexesAreSynced(t *testing.T) {
	w := newWorld(t, vfs.NewCrash(1), testConfig())
	w.fill(10)
	require.NoError(t, w.sync())
	require.NoError(t, w.l.Roll(t0))
	w.compactFirstSegment()
	_, err := w.l.Retain(time.Now().Add(time.Hour)) // which removes the files
	require.NoError(t, err)
	w.fill(1)
	require.NoError(t, w.sync())
}

// compactFirstSegment leaves every second batch of the oldest segment.
func (w *world) compactFirstSegment() {
	w.t.Helper()
	first := w.l.Segments()[0]
	into, err := w.l.CreateCleaned(first.Base)
	require.NoError(w.t, err)
	for _, b := range w.read(first.Base, first.End, int(first.Bytes), true) {
		if b.LastOffset() < first.End-1 && b.BaseOffset()%2 == 0 {
			require.NoError(w.t, into.Append(record.Batch(b), 100))
		}
	}
	require.NoError(w.t, into.Seal())
	require.NoError(w.t, w.l.ReplaceSegments([]int64{first.Base}, []*segment.Segment{into}))
}

// Acknowledgements do not wait while compacted segments, which may be large, are synced.
func TestSyncGoesOnBesideAReplacement(t *testing.T) {
	faults := vfs.NewFaults(vfs.NewCrash(1))
	w := newWorld(t, faults, testConfig())
	w.fill(10)
	require.NoError(t, w.l.Roll(t0))
	require.NoError(t, w.sync())
	trap := vfs.NewTrap()
	faults.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpSync}, Path: "*" + segment.LogExt + segment.CleanedSuffix, Hold: trap})
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.compactFirstSegment()
	}()
	<-trap.Reached()
	w.fill(1)
	require.NoError(t, w.l.Sync(w.l.End()))
	trap.Release()
	<-done
	require.Len(t, w.readAll(), 6)
}

// The note that offsets are missing must be on disk before a gap is: after one that could not be written, the next append with a gap tries
// again.
func TestGapsAreNotTakenForNotedAfterAFailure(t *testing.T) {
	faults := vfs.NewFaults(vfs.NewCrash(1))
	w := newWorld(t, faults, testConfig())
	w.fill(1)
	require.NoError(t, w.sync())
	apart := append(batchOf(1, 30, t0.UnixMilli(), record.Spec{BaseOffset: 1}), batchOf(1, 30, t0.UnixMilli(), record.Spec{BaseOffset: 5})...)
	faults.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpCreate}, Path: segment.MetadataFile + "*", Once: true, Err: syscall.ENOSPC})
	require.ErrorIs(t, w.l.AppendAsFollower(apart), syscall.ENOSPC)
	require.NoError(t, w.l.AppendAsFollower(apart))
	data, err := vfs.ReadFile(w.fs, testDir+"/"+segment.MetadataFile, 1<<10)
	require.NoError(t, err)
	m, err := segment.DecodeMetadata(data)
	require.NoError(t, err)
	require.True(t, m.Gaps)
}
