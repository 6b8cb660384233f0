package log

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/storage/segment"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

func TestReadRanges(t *testing.T) {
	w := newWorld(t, vfs.NewCrash(1), testConfig())
	slice, err := w.l.Read(0, 10, 100, true)
	require.NoError(t, err)
	require.Zero(t, slice.Len)
	for range 3 {
		w.append(batchOf(3, 20, t0.UnixMilli(), record.Spec{})) // 3 x 3 offsets
	}
	size := int(w.l.SizeBytes() / 3)
	for name, tc := range map[string]struct {
		from, upTo int64
		maxBytes   int
		one        bool
		want       [][2]int64
	}{
		"all":                              {0, 9, 1 << 20, false, [][2]int64{{0, 2}, {3, 5}, {6, 8}}},
		"within a batch":                   {4, 9, 1 << 20, false, [][2]int64{{3, 5}, {6, 8}}},
		"watermark":                        {0, 6, 1 << 20, false, [][2]int64{{0, 2}, {3, 5}}},
		"watermark within a batch":         {0, 5, 1 << 20, false, [][2]int64{{0, 2}}},
		"beyond the end":                   {7, 99, 1 << 20, false, [][2]int64{{6, 8}}},
		"at the end":                       {9, 9, 1 << 20, true, nil},
		"at the watermark":                 {6, 6, 1 << 20, true, nil},
		"bytes of two":                     {0, 9, 2 * size, false, [][2]int64{{0, 2}, {3, 5}}},
		"bytes of almost two":              {0, 9, 2*size - 1, false, [][2]int64{{0, 2}}},
		"bytes of less than one":           {3, 9, 10, false, nil},
		"one at least":                     {3, 9, 10, true, [][2]int64{{3, 5}}},
		"one at least, not past watermark": {3, 4, 10, true, nil},
	} {
		require.Equal(t, tc.want, offsets(w.read(tc.from, tc.upTo, tc.maxBytes, tc.one)), name)
	}
	for _, from := range []int64{-1, 10} {
		_, err := w.l.Read(from, 9, 100, true)
		require.ErrorIs(t, err, ErrOffsetOutOfRange)
	}
	// Not from what is remembered of the last batches, but by the indexes.
	w.stop()
	require.Equal(t, [][2]int64{{3, 5}}, offsets(w.read(5, 6, size, false)))
}

// What a reader holds stays readable when its segment is deleted, removed, and the log is closed.
func TestSliceOutlivesItsSegment(t *testing.T) {
	for name, disk := range map[string]vfs.FS{"memory": vfs.NewCrash(1), "disk": vfs.Disk()} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			w := newWorld(t, disk, testConfig())
			w.fill(60)
			slice, err := w.l.Read(0, 60, 1000, false)
			require.NoError(t, err)
			want, err := slice.Bytes(nil)
			require.NoError(t, err)
			w.l.Flushed(60)
			w.l.SetHighWatermark(60)
			_, err = w.l.DeleteRecordsTo(60)
			require.NoError(t, err)
			r, err := w.l.Retain(time.Now().Add(time.Hour))
			require.NoError(t, err)
			require.Positive(t, r.Removed)
			_, err = w.l.Close()
			require.NoError(t, err)
			got, err := slice.Bytes(nil)
			require.NoError(t, err)
			require.Equal(t, want, got)
			slice.Release()
			require.NoError(t, w.l.o.Files.Close())
			require.Zero(t, w.l.o.Files.Open())
		})
	}
}

// A file that does not hold batches where they should begin is reported, and nothing of it served.
func TestReadMeetsCorruption(t *testing.T) {
	faults := vfs.NewFaults(vfs.NewCrash(1))
	w := newWorld(t, faults, testConfig())
	w.fill(30)
	w.stop()
	faults.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpRead}, Path: "*.log", Corrupt: vfs.FlipBit(16, 3)}) // magic of the first batch
	var bad *segment.CorruptError
	_, err := w.l.Read(0, 30, 100, true)
	require.ErrorAs(t, err, &bad)
	require.Equal(t, [2]int64{0, 0}, [2]int64{bad.Position, bad.Offset})
	require.ErrorIs(t, err, record.ErrCorrupt)
	_, err = w.l.OffsetForTime(0)
	require.ErrorIs(t, err, segment.ErrCorrupt)
	require.Equal(t, int64(29), w.read(29, 30, 100, true)[0].BaseOffset(), "the rest can be read")
}

// A consumer asks for a damaged batch again and again: one line a minute and segment is enough.
func TestADamagedBatchIsLoggedNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		faults := vfs.NewFaults(vfs.NewCrash(1))
		w := newWorld(t, faults, testConfig())
		w.fill(60)
		second := w.l.Segments()[1].Base
		core, lines := observer.New(zap.ErrorLevel)
		w.stop()
		w.l.o.Log = zap.New(core)
		faults.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpRead}, Path: "*.log", Corrupt: vfs.FlipBit(16, 3)})
		fetch := func() {
			for range 10 {
				for _, from := range []int64{0, second} {
					_, err := w.l.Read(from, 60, 100, true)
					require.ErrorIs(t, err, segment.ErrCorrupt)
				}
			}
		}
		fetch()
		require.Equal(t, 2, lines.Len(), "one for each segment")
		time.Sleep(time.Minute - 1)
		fetch()
		require.Equal(t, 2, lines.Len())
		time.Sleep(time.Nanosecond)
		fetch()
		require.Equal(t, 4, lines.Len())
	})
}

// An index that leads astray costs time, not records.
func TestReadWithAWrongIndex(t *testing.T) {
	disk := vfs.NewCrash(1)
	w := newWorld(t, disk, testConfig())
	w.fill(35)
	w.stop()
	f, err := disk.OpenReadWrite(testDir+"/"+segment.Name(0, segment.IndexExt), vfs.Unspecified)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte{0, 0, 0, 9, 0, 0, 0, 33}, 16)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	for from := range int64(35) {
		require.Equal(t, from, w.read(from, 35, 100, true)[0].BaseOffset())
	}
}

// Reading a whole segment to build its indexes again may take a second: appends to another one must not wait for it, and a
// truncation that makes it the active one does.
func TestIndexesAreBuiltAgainBesideAppends(t *testing.T) {
	for _, truncate := range []bool{false, true} {
		faults := vfs.NewFaults(vfs.NewCrash(1))
		w := newWorld(t, faults, testConfig())
		w.fill(100)
		w.stop()
		first, trap, read := segment.Name(0, segment.LogExt), vfs.NewTrap(), make(chan error)
		scan := faults.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpRead}, Path: first, Nth: 2, Once: true, Hold: trap})
		faults.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpRead}, Path: first, Once: true, Corrupt: vfs.FlipBit(16, 3)})
		go func() {
			slice, err := w.l.Read(0, 20, 1<<20, true)
			slice.Release()
			read <- err
		}()
		<-trap.Reached()
		w.fill(1)
		cut := make(chan error)
		go func() {
			if truncate {
				cut <- w.l.TruncateTo(20)
			} else {
				cut <- w.l.Sync(101)
			}
		}()
		if !truncate {
			require.NoError(t, <-cut)
		}
		trap.Release()
		if err := <-read; !truncate { // which may take from a reader what it is about to read
			require.NoError(t, err)
		} else {
			require.NoError(t, <-cut)
		}
		require.Equal(t, 1, scan.Hits())
		w.fill(30)
		for range 2 {
			all := w.readAll()
			require.Len(t, all, int(w.l.End()))
			for from := range w.l.End() {
				require.Equal(t, from, w.read(from, w.l.End(), 100, true)[0].BaseOffset())
			}
			w.stop()
		}
	}
}

// The special cases of ListOffsets, as Apache Kafka 4.4 answers them.
func TestTimes(t *testing.T) {
	w := newWorld(t, vfs.NewCrash(1), testConfig())
	ms := t0.UnixMilli()
	max, err := w.l.OffsetOfMaxTime()
	require.NoError(t, err)
	require.Equal(t, noTimed, max)
	b := func(times ...int64) {
		var w1 record.Builder
		for _, at := range times {
			w1.Append(ms+at, []byte("k"), []byte("v"))
		}
		out, err := w1.Build()
		require.NoError(t, err)
		w.append(out)
	}
	b(0, 500, 200)
	b(300, 301)
	b(100)
	at := func(d int64) TimedOffset {
		found, err := w.l.OffsetForTime(ms + d)
		require.NoError(t, err)
		return found
	}
	for range 2 {
		require.Equal(t, TimedOffset{ms, 0, 0}, at(-1000))
		require.Equal(t, TimedOffset{ms, 0, 0}, at(0))
		for _, d := range []int64{1, 150, 201, 500} {
			require.Equal(t, TimedOffset{ms + 500, 1, 0}, at(d))
		}
		require.Equal(t, noTimed, at(501))
		max, err := w.l.OffsetOfMaxTime()
		require.NoError(t, err)
		require.Equal(t, TimedOffset{ms + 500, 1, 0}, max)
		w.stop()
	}
	_, err = w.l.DeleteRecordsTo(2)
	require.NoError(t, err)
	require.Equal(t, TimedOffset{ms + 200, 2, 0}, at(0))
	max, err = w.l.OffsetOfMaxTime()
	require.NoError(t, err)
	require.Equal(t, TimedOffset{ms + 500, 1, -1}, max, "below the log's start, as in Kafka")
	_, err = w.l.DeleteRecordsTo(6)
	require.NoError(t, err)
	require.Equal(t, noTimed, at(0))
}
