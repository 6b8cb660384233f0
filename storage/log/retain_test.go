package log

import (
	"fmt"
	"math"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/storage/segment"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// hourly is a log of one segment of two batches for each of n hours, committed.
func hourly(t *testing.T, n int, change func(*Config)) *world {
	cfg := testConfig()
	cfg.SegmentTime = 59 * time.Minute
	cfg.DeleteDelay = time.Minute
	if change != nil {
		change(&cfg)
	}
	w := newWorld(t, vfs.NewCrash(1), cfg)
	for h := range n {
		for range 2 {
			_, err := w.l.Append(Append{Batches: batchOf(1, 30, t0.Add(time.Duration(h)*time.Hour).UnixMilli(), record.Spec{}), Now: t0})
			require.NoError(t, err)
		}
	}
	require.Len(t, w.l.Segments(), n)
	w.l.SetHighWatermark(w.l.End())
	return w
}

func TestRetention(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Config)
		now    time.Duration // after the first record
		start  int64
	}{
		"time":            {func(c *Config) { c.RetentionTime = 2 * time.Hour }, 4*time.Hour + time.Millisecond, 6},
		"time, not yet":   {func(c *Config) { c.RetentionTime = 2 * time.Hour }, 2 * time.Hour, 0},
		"time, all":       {func(c *Config) { c.RetentionTime = time.Hour }, 10 * time.Hour, 10},
		"size":            {func(c *Config) { c.RetentionBytes = 3 * 200 }, 0, 4},
		"size, almost":    {func(c *Config) { c.RetentionBytes = 3*200 + 1 }, 0, 2},
		"size, zero":      {func(c *Config) { c.RetentionBytes = 0 }, 0, 10},
		"only compaction": {func(c *Config) { c.RetentionBytes, c.RetentionTime, c.Delete = 0, 0, false }, 100 * time.Hour, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := hourly(t, 5, tc.change)
			r, err := w.l.Retain(t0.Add(tc.now))
			require.NoError(t, err)
			require.Equal(t, Retained{Segments: int(tc.start / 2), Bytes: tc.start * 100, Start: tc.start}, r)
			require.Equal(t, [2]int64{tc.start, tc.start}, [2]int64{w.l.Start(), w.start})
			require.Len(t, w.readAll(), 10-int(tc.start))
		})
	}
}

// What is appended to the active segment after it was seen to be expired does not go with it.
func TestRecordAppendedDuringRetentionStays(t *testing.T) {
	for name, rolled := range map[string]bool{"to the active segment": false, "which is rolled then": true} {
		t.Run(name, func(t *testing.T) {
			w := hourly(t, 3, func(c *Config) { c.RetentionTime = time.Hour })
			now := t0.Add(100 * time.Hour)
			n, end := w.l.countExpired(now)
			require.Equal(t, 3, n)
			done := w.append(batchOf(1, 30, t0.Add(2*time.Hour).UnixMilli(), record.Spec{}))
			if rolled {
				require.NoError(t, w.l.Roll(t0))
			}
			w.l.syncMu.Lock()
			require.NoError(t, w.l.deleteOldest(n, end, now, nil))
			w.l.syncMu.Unlock()
			require.Equal(t, int64(4), w.l.Start())
			require.Equal(t, [][2]int64{{done.Base, done.Last}}, offsets(w.read(done.Base, w.l.End(), 1, true)))
		})
	}
}

func TestRetentionStopsAtTheWatermark(t *testing.T) {
	cfg := testConfig()
	cfg.SegmentBytes, cfg.RetentionBytes = 210, 0
	w := newWorld(t, vfs.NewCrash(1), cfg)
	w.fill(10)
	_, err := w.l.Retain(t0)
	require.NoError(t, err)
	require.Zero(t, w.l.Start(), "nothing is flushed")
	w.l.SetHighWatermark(5)
	_, err = w.l.Retain(t0)
	require.NoError(t, err)
	require.Equal(t, int64(4), w.l.Start())
}

func TestDeletedFilesAreRemovedLater(t *testing.T) {
	w := hourly(t, 5, func(c *Config) { c.RetentionBytes = 3 * 200 })
	disk := w.fs.(*vfs.Crash)
	deleted := func() (n int) {
		names, err := disk.List(testDir)
		require.NoError(t, err)
		for _, name := range names {
			if _, ext, suffix, _ := segment.ParseName(name); suffix == segment.DeletedSuffix && ext == segment.LogExt {
				n++
			}
		}
		return n
	}
	for _, step := range []struct {
		after   time.Duration
		left    int
		removed int
	}{{0, 2, 0}, {59 * time.Second, 2, 0}, {time.Minute, 0, 2}} {
		r, err := w.l.Retain(t0.Add(step.after))
		require.NoError(t, err)
		require.Equal(t, step.removed, r.Removed)
		require.Equal(t, step.left, deleted())
	}
	_, err := w.l.DeleteRecordsTo(7)
	require.NoError(t, err)
	require.Equal(t, 1, deleted())
	require.NoError(t, w.sync())
	w.crash(disk.Kill()) // a start removes what an earlier life had no time for
	disk = w.fs.(*vfs.Crash)
	require.Zero(t, deleted())
	require.Equal(t, int64(7), w.l.Start())
}

func TestDeleteRecords(t *testing.T) {
	w := hourly(t, 3, nil)
	for _, tc := range []struct{ to, start int64 }{{0, 0}, {3, 3}, {2, 3}, {3, 3}, {6, 6}} {
		start, err := w.l.DeleteRecordsTo(tc.to)
		require.NoError(t, err)
		require.Equal(t, [2]int64{tc.start, tc.start}, [2]int64{start, w.l.Start()})
	}
	for _, to := range []int64{-1, 7} {
		_, err := w.l.DeleteRecordsTo(to)
		require.ErrorIs(t, err, ErrOffsetOutOfRange)
	}
	require.Len(t, w.l.Segments(), 1)
	w.stop()
	require.Equal(t, [2]int64{6, 6}, [2]int64{w.l.Start(), w.l.End()})
	require.Equal(t, int64(6), w.append(batchOf(1, 1, t0.UnixMilli(), record.Spec{})).Base)
}

// Ten thousand logs with a few records each, opened after a clean stop, cost little memory and keep no file open.
func TestIdleLogsAreSmall(t *testing.T) {
	const logs = 1000
	disk := vfs.NewCrash(1)
	files := segment.NewCache(disk, 64)
	var states []State
	option := func(i int) Options {
		return Options{FS: disk, Dir: fmt.Sprintf("data/t-%d", i), ID: testTopic, Config: testConfig(), Files: files}
	}
	for i := range logs {
		l, err := Create(option(i))
		require.NoError(t, err)
		for seq := range int32(3) {
			_, err = l.Append(Append{Batches: idempotent(1, 1, 0, seq)})
			require.NoError(t, err)
		}
		state, err := l.Close()
		require.NoError(t, err)
		states = append(states, state)
	}
	require.NoError(t, files.Close())
	files = segment.NewCache(disk, 64)
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	open := make([]*Log, logs)
	for i := range open {
		l, report, err := Open(option(i), Recovery{Clean: true, State: states[i]})
		require.NoError(t, err)
		require.True(t, report.Clean)
		open[i] = l
	}
	each := (heap() - before) / logs
	t.Logf("%d bytes a log", each)
	require.Less(t, each, int64(8<<10))
	require.Zero(t, files.Open())
	require.Equal(t, int64(3), open[7].End())
}

func TestStateRoundTrip(t *testing.T) {
	w := hourly(t, 5, nil)
	w.l.SetCleanedTo(4)
	state, err := w.l.Close()
	require.NoError(t, err)
	data := state.Encode([]byte("before"))
	got, err := ParseState(data[6:])
	require.NoError(t, err)
	require.Equal(t, state, got)
	for i := 6; i < len(data); i++ {
		data[i] ^= 4
		_, err := ParseState(data[6:])
		require.ErrorIs(t, err, ErrState)
		data[i] ^= 4
		_, err = ParseState(data[6:i])
		require.ErrorIs(t, err, ErrState)
	}
}

func FuzzParseState(f *testing.F) {
	f.Add(State{}.Encode(nil))
	f.Add(State{Start: 1, End: 9, Producers: 3, Gaps: true, Epochs: []segment.EpochEntry{{Epoch: 1, Start: 2}},
		Segments: []segment.Meta{{Base: 1, Next: 9, Size: 100, MaxTime: math.MaxInt64, HasTxns: true}}}.Encode(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ParseState(data)
		if err != nil {
			require.ErrorIs(t, err, ErrState)
			return
		}
		again, err := ParseState(s.Encode(nil))
		require.NoError(t, err)
		require.Equal(t, s, again)
	})
}

// Epochs that end where the log begins are forgotten, as in Kafka.
func TestEpochsGoWithTheirRecords(t *testing.T) {
	w := newWorld(t, vfs.NewCrash(1), testConfig())
	for epoch := range int32(3) {
		_, err := w.l.Append(Append{Batches: batchOf(2, 30, t0.UnixMilli(), record.Spec{}), LeaderEpoch: epoch, Now: t0})
		require.NoError(t, err)
	}
	_, err := w.l.DeleteRecordsTo(2)
	require.NoError(t, err)
	require.Equal(t, []segment.EpochEntry{{Epoch: 1, Start: 2}, {Epoch: 2, Start: 4}}, *w.l.epochs.Load())
	_, err = w.l.DeleteRecordsTo(5)
	require.NoError(t, err)
	require.Equal(t, []segment.EpochEntry{{Epoch: 2, Start: 5}}, *w.l.epochs.Load())
}
