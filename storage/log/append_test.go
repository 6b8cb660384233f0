package log

import (
	"io/fs"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/storage/segment"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

func TestNothingOnDiskBeforeTheFirstAppend(t *testing.T) {
	disk := vfs.NewCrash(1)
	w := newWorld(t, disk, testConfig())
	w.l.AssignEpoch(3)
	require.NoError(t, w.sync())
	_, err := w.l.Retain(t0)
	require.NoError(t, err)
	w.stop()
	_, err = disk.Stat(testDir)
	require.ErrorIs(t, err, fs.ErrNotExist)
	trash, err := w.l.Delete()
	require.NoError(t, err)
	require.Empty(t, trash)
}

func TestAppendRefuses(t *testing.T) {
	cfg := testConfig()
	cfg.MaxMessageBytes, cfg.SegmentBytes, cfg.Compact = 2000, 1000, true
	w := newWorld(t, vfs.NewCrash(1), cfg)
	plain := func(n, size int) []byte { return batchOf(n, size, t0.UnixMilli(), record.Spec{}) }
	bad := plain(1, 10)
	bad[len(bad)-1]++
	for name, tc := range map[string]struct {
		batches []byte
		err     error
	}{
		"too large":       {plain(1, 3000), record.ErrTooLarge},
		"above segment":   {plain(1, 1500), ErrAboveSegment},
		"checksum":        {bad, record.ErrCorrupt},
		"nothing":         {nil, record.ErrInvalidRecord},
		"cut":             {plain(1, 10)[:70], record.ErrInvalidRecord},
		"two":             {append(plain(1, 10), plain(1, 10)...), record.ErrInvalidRecord},
		"control batch":   {record.MarkerBatch(1, 0, record.Marker{}, 0), record.ErrInvalidRecord},
		"no key":          {keyless(), record.ErrInvalidRecord},
		"time far before": {batchOf(1, 1, t0.UnixMilli()-5000, record.Spec{}), record.ErrInvalidTimestamp},
	} {
		c := cfg
		c.TimestampBefore = time.Second
		w.l.SetConfig(c)
		_, err := w.l.Append(Append{Batches: tc.batches, Now: t0})
		require.ErrorIs(t, err, tc.err, name)
	}
	require.Zero(t, w.l.End())
	done := w.append(append(plain(2, 10), 1, 2, 3))
	require.Equal(t, Appended{Base: 0, Last: 1, LogAppendTime: -1, FlushEnd: 2}, done)
}

func keyless() record.Batch {
	var b record.Builder
	b.Append(t0.UnixMilli(), nil, []byte("v"))
	out, err := b.Build()
	if err != nil {
		panic(err)
	}
	return out
}

func TestLogAppendTimeNeverGoesBack(t *testing.T) {
	cfg := testConfig()
	cfg.LogAppendTime = true
	w := newWorld(t, vfs.NewCrash(1), cfg)
	for _, ms := range []int64{100, 90, 120} {
		done, err := w.l.Append(Append{Batches: batchOf(2, 1, 5, record.Spec{}), Now: time.UnixMilli(ms)})
		require.NoError(t, err)
		require.Equal(t, max(100, ms), done.LogAppendTime)
	}
	for i, b := range w.readAll() {
		require.True(t, b.IsAppendTime())
		require.Equal(t, []int64{100, 100, 120}[i], b.MaxTimestamp())
	}
	found, err := w.l.OffsetForTime(101)
	require.NoError(t, err)
	require.Equal(t, TimedOffset{Timestamp: 120, Offset: 4}, found)
}

func TestTopicCodec(t *testing.T) {
	cfg := testConfig()
	cfg.Compression = record.Compression{Force: true, Codec: record.Zstd}
	w := newWorld(t, vfs.NewCrash(1), cfg)
	w.append(batchOf(50, 20, t0.UnixMilli(), record.Spec{}))
	got := w.readAll()
	require.Len(t, got, 1)
	require.Equal(t, record.Zstd, got[0].Codec())
	require.Equal(t, int32(50), got[0].NumRecords())
}

func TestRolls(t *testing.T) {
	base := testConfig()
	base.SegmentTime = time.Hour
	bases := func(w *world) (out []int64) {
		for _, s := range w.l.Segments() {
			out = append(out, s.Base)
		}
		return out
	}
	at := func(w *world, d time.Duration) {
		_, err := w.l.Append(Append{Batches: batchOf(1, 30, t0.Add(d).UnixMilli(), record.Spec{}), Now: t0})
		require.NoError(w.t, err)
	}
	t.Run("size", func(t *testing.T) {
		cfg := base
		cfg.SegmentBytes = 250
		w := newWorld(t, vfs.NewCrash(1), cfg)
		w.fill(5) // 100 bytes each
		require.Equal(t, []int64{0, 2, 4}, bases(w))
	})
	t.Run("time of the records", func(t *testing.T) {
		w := newWorld(t, vfs.NewCrash(1), base)
		for _, d := range []time.Duration{0, time.Hour, time.Hour + time.Second, time.Hour, 2*time.Hour + time.Second, 3 * time.Hour} {
			at(w, d)
		}
		require.Equal(t, []int64{0, 2, 5}, bases(w))
	})
	t.Run("index full", func(t *testing.T) {
		cfg := base
		cfg.IndexBytes, cfg.IndexInterval, cfg.SegmentBytes = 24, 0, 1<<20
		w := newWorld(t, vfs.NewCrash(1), cfg)
		w.fill(6)
		require.Equal(t, []int64{0, 2, 4}, bases(w)) // the first batch has no entry, and 12 of 24 bytes of time index are kept free
	})
	t.Run("jitter", func(t *testing.T) {
		cfg := base
		cfg.SegmentJitter = time.Hour
		early := 0
		for range 20 {
			w := newWorld(t, vfs.NewCrash(1), cfg)
			at(w, 0)
			at(w, 40*time.Minute)
			early += len(w.l.Segments()) - 1
		}
		require.Positive(t, early)
	})
	t.Run("jitter beyond segment.ms", func(t *testing.T) {
		cfg := base
		cfg.SegmentJitter = 1000 * time.Hour
		w := newWorld(t, vfs.NewCrash(1), cfg)
		w.fill(20)
		require.Equal(t, []int64{0}, bases(w))
	})
	t.Run("offsets too far from the base", func(t *testing.T) {
		w := newWorld(t, vfs.NewCrash(1), base)
		for i, offset := range []int64{5, 1<<31 + 4, 1<<31 + 5, 1 << 33} {
			b := batchOf(1, 1, t0.UnixMilli(), record.Spec{BaseOffset: offset})
			require.NoError(t, w.l.AppendAsFollower(b), i)
		}
		require.Equal(t, []int64{5, 1<<31 + 5, 1 << 33}, bases(w))
		require.Len(t, w.readAll(), 4)
		require.NoError(t, w.sync())
		w.crash(w.fs.(*vfs.Crash).PowerCutAll())
		require.Len(t, w.readAll(), 4, "gaps of a follower are no damage")
	})
	t.Run("on demand", func(t *testing.T) {
		w := newWorld(t, vfs.NewCrash(1), base)
		require.NoError(t, w.l.Roll(t0))
		w.fill(1)
		require.NoError(t, w.l.Roll(t0))
		require.NoError(t, w.l.Roll(t0))
		require.Equal(t, []int64{0, 1}, bases(w))
	})
}

func TestFollowerKeepsWhatTheLeaderStored(t *testing.T) {
	leader := newWorld(t, vfs.NewCrash(1), testConfig())
	leader.fill2(20, 1)
	leader.fill2(40, 4)
	follower := newWorld(t, vfs.NewCrash(2), testConfig())
	for from := int64(0); from < leader.l.End(); from = follower.l.End() {
		slice, err := leader.l.Read(from, leader.l.End(), 2000, true)
		require.NoError(t, err)
		data, err := slice.Bytes(nil)
		slice.Release()
		require.NoError(t, err)
		require.NoError(t, follower.l.AppendAsFollower(data))
	}
	require.Equal(t, leader.readAll(), follower.readAll())
	require.Equal(t, int32(4), follower.l.LatestEpoch())
	require.Equal(t, int32(1), follower.l.EpochOf(19))

	b := batchOf(1, 1, 0, record.Spec{BaseOffset: 3})
	require.ErrorIs(t, follower.l.AppendAsFollower(b), ErrUnexpectedOffset)
	b = batchOf(1, 1, 0, record.Spec{BaseOffset: 60})
	b[70]++
	require.ErrorIs(t, follower.l.AppendAsFollower(b), record.ErrCorrupt)
	require.Equal(t, int64(60), follower.l.End())
}

// A write that fails leaves nothing behind; the next one goes where it should have gone.
func TestDiskFull(t *testing.T) {
	faults := vfs.NewFaults(vfs.NewCrash(1))
	w := newWorld(t, faults, testConfig())
	w.append(idempotent(2, 7, 0, 0))
	faults.FillAfter(50)
	for range 2 {
		_, err := w.l.Append(Append{Batches: idempotent(2, 7, 0, 2), Now: t0})
		require.ErrorIs(t, err, ErrOffline)
		require.ErrorIs(t, err, syscall.ENOSPC)
		require.Equal(t, int64(2), w.l.End())
	}
	faults.FillAfter(-1)
	require.False(t, w.append(idempotent(1, 7, 0, 2)).Duplicate)
	require.Equal(t, [][2]int64{{0, 1}, {2, 2}}, offsets(w.readAll()))
	require.NoError(t, w.sync())
}

// What a failed write left and could not be removed must not be written over.
func TestFailedWriteThatCannotBeUndone(t *testing.T) {
	faults := vfs.NewFaults(vfs.NewCrash(1))
	w := newWorld(t, faults, testConfig())
	w.fill(1)
	write := faults.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpWrite}, Path: "*.log", Short: 20, Err: syscall.EIO})
	faults.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpTruncate}, Path: "*.log", Err: syscall.EIO})
	_, err := w.l.Append(Append{Batches: idempotent(1, 1, 0, 0), Now: t0})
	require.ErrorIs(t, err, segment.ErrDirtyEnd)
	write.Remove()
	_, err = w.l.Append(Append{Batches: idempotent(1, 1, 0, 0), Now: t0})
	require.ErrorIs(t, err, ErrOffline)
	require.Len(t, w.readAll(), 1, "it can be read all the same")
}

// Durability rule 11: a sync that failed is not tried again as if nothing had been.
func TestFailedSyncIsFinal(t *testing.T) {
	faults := vfs.NewFaults(vfs.NewCrash(1))
	w := newWorld(t, faults, testConfig())
	w.fill(1)
	faults.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpSync}, Path: "*.log", Err: syscall.EIO, Once: true})
	require.ErrorIs(t, w.l.Sync(1), syscall.EIO)
	require.Zero(t, w.l.RecoveryPoint())
	require.ErrorIs(t, w.l.Sync(1), syscall.EIO)
	_, err := w.l.Append(Append{Batches: idempotent(1, 1, 0, 0), Now: t0})
	require.ErrorIs(t, err, ErrOffline)
	_, err = w.l.Close()
	require.ErrorIs(t, err, ErrOffline)
}

// Appends, over rolls too, and reads go on while a sync is under way; it answers for what was there when it began.
func TestAppendsGoOnDuringSync(t *testing.T) {
	faults := vfs.NewFaults(vfs.NewCrash(1))
	w := newWorld(t, faults, testConfig())
	w.fill(10)
	trap := vfs.NewTrap()
	rule := faults.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpSync}, Path: "*.log", Hold: trap})
	synced := make(chan error, 1)
	go func() { synced <- w.l.Sync(10) }()
	<-trap.Reached()
	w.fill(60)
	require.Greater(t, len(w.l.Segments()), 1)
	require.Len(t, w.readAll(), 70)
	require.Zero(t, w.l.RecoveryPoint())
	rule.Remove()
	trap.Release()
	require.NoError(t, <-synced)
	require.Equal(t, int64(10), w.l.RecoveryPoint())
	require.NoError(t, w.l.Sync(70))
	require.Equal(t, int64(70), w.l.RecoveryPoint())
}

func TestFlushedEndIsTold(t *testing.T) {
	w := newWorld(t, vfs.NewCrash(1), testConfig())
	var told []int64
	w.l.OnFlushed(func(end int64) { told = append(told, end) })
	w.fill(3)
	require.NoError(t, w.l.Sync(3))
	require.Zero(t, w.l.FlushedEnd(), "only the flusher knows when it may be told")
	for _, end := range []int64{1, 3, 2} {
		w.l.Flushed(end)
	}
	require.Equal(t, []int64{1, 3}, told)
	require.Equal(t, int64(3), w.l.HighWatermark())
}
