package log

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/storage/segment"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// flip changes one bit of a file, on the disk as well.
func flip(t *testing.T, disk vfs.FS, path string, at int64, bit uint) {
	f, err := disk.OpenReadWrite(path, vfs.Unspecified)
	require.NoError(t, err)
	var b [1]byte
	_, err = f.ReadAt(b[:], at)
	require.NoError(t, err)
	b[0] ^= 1 << bit
	_, err = f.WriteAt(b[:], at)
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	require.NoError(t, f.Close())
}

// contents is all files of the log's directory.
func contents(t *testing.T, disk vfs.FS) map[string]string {
	names, err := disk.List(testDir)
	require.NoError(t, err)
	all := map[string]string{}
	for _, name := range names {
		data, err := vfs.ReadFile(disk, testDir+"/"+name, 1<<20)
		require.NoError(t, err)
		all[name] = string(data)
	}
	return all
}

// Rule 6: a bit flipped anywhere in acknowledged batches above the recovery point takes the log offline, with the place, and
// leaves its files alone. Only the leader epoch of the very last batch can change without a trace; it is outside the checksum.
func TestFlippedBitInAcknowledgedBatches(t *testing.T) {
	disk := vfs.NewCrash(1)
	w := newWorld(t, disk, testConfig())
	w.fill2(2, 1)
	require.NoError(t, w.sync())
	w.fill2(3, 1)
	require.NoError(t, w.l.Sync(5))
	w.promised = 5 // while the recovery point recorded is 2
	path := w.l.Segments()[0].Path
	each := w.l.SizeBytes() / 5
	for at := 2 * each; at < 5*each; at++ {
		if in := at - 4*each; in >= 12 && in < 16 {
			continue
		}
		for _, b := range []uint{0, 6} {
			left := disk.Kill()
			flip(t, left, path, at, b)
			before := contents(t, left)
			u := *w
			u.fs = left
			require.NoError(t, u.open())
			what := fmt.Sprintf("byte %d, bit %d", at, b)
			d := u.last.Damage
			require.NotNil(t, d, what)
			require.Equal(t, path, d.File, what)
			require.Equal(t, int64(5), d.Promised, what)
			// A leader epoch that rose is only seen where it falls again.
			require.Contains(t, []int64{at / each, at/each + 1}, d.Offset, what)
			require.Equal(t, d.Offset*each, d.Position, what)
			require.Equal(t, before, contents(t, left), what)
			u.refusesAll(d)
		}
	}
}

// refusesAll checks that an offline log does nothing.
func (w *world) refusesAll(d *Damage) {
	l := w.l
	require.Equal(w.t, d, l.Damage())
	_, err1 := l.Read(0, 1, 1, true)
	_, err2 := l.Append(Append{Batches: idempotent(1, 1, 0, 0), Now: t0})
	_, err3 := l.OffsetForTime(0)
	_, err4 := l.DeleteRecordsTo(1)
	_, err5 := l.Retain(t0)
	_, err6 := l.Close()
	_, err7 := l.AbortedTxns(0, 1)
	for i, err := range []error{err1, err2, err3, err4, err5, err6, err7, l.Sync(1 << 40), l.TruncateTo(0), l.TruncateFullyAndStartAt(3), l.Roll(t0),
		l.AppendAsFollower(idempotent(1, 1, 0, 0))} {
		require.ErrorIs(w.t, err, ErrOffline, i)
	}
}

// The same bits in batches that nobody was promised end the log there.
func TestFlippedBitInUnacknowledgedTail(t *testing.T) {
	disk := vfs.NewCrash(1)
	w := newWorld(t, disk, testConfig())
	w.fill(2)
	require.NoError(t, w.sync())
	w.fill(2)
	path := w.l.Segments()[0].Path
	each := w.l.SizeBytes() / 4
	for at := 2 * each; at < 3*each; at++ {
		if in := at - 2*each; in >= 12 && in < 16 {
			continue // the leader epoch
		}
		left := disk.Kill()
		flip(t, left, path, at, 2)
		u := *w
		u.fs = left
		require.NoError(t, u.open())
		require.Nil(t, u.last.Damage)
		require.Equal(t, int64(2), u.l.End(), "byte %d", at)
		require.Len(t, u.last.Cut, 1)
		c := u.last.Cut[0]
		require.Equal(t, [3]int64{2 * each, 2 * each, 2}, [3]int64{c.Position, c.Bytes, c.Offset})
		u.fill(1)
		require.Len(t, u.readAll(), 3)
	}
}

// Below the recovery point only the ends of segments are looked at, and what is missing is seen.
func TestDamageBelowTheRecoveryPoint(t *testing.T) {
	for name, harm := range map[string]func(t *testing.T, disk vfs.FS, s []SegmentInfo){
		"segment missing":       func(t *testing.T, disk vfs.FS, s []SegmentInfo) { require.NoError(t, disk.Remove(s[1].Path)) },
		"first segment missing": func(t *testing.T, disk vfs.FS, s []SegmentInfo) { require.NoError(t, disk.Remove(s[0].Path)) },
		"last segment missing":  func(t *testing.T, disk vfs.FS, s []SegmentInfo) { require.NoError(t, disk.Remove(s[len(s)-1].Path)) },
		"all missing":           func(t *testing.T, disk vfs.FS, s []SegmentInfo) { require.NoError(t, disk.RemoveAll(testDir)) },
		"batch missing": func(t *testing.T, disk vfs.FS, s []SegmentInfo) {
			require.NoError(t, disk.Truncate(s[1].Path, s[1].Bytes-100))
		},
		"end cut": func(t *testing.T, disk vfs.FS, s []SegmentInfo) {
			require.NoError(t, disk.Truncate(s[0].Path, s[0].Bytes-7))
		},
		"last end cut": func(t *testing.T, disk vfs.FS, s []SegmentInfo) {
			require.NoError(t, disk.Truncate(s[len(s)-1].Path, 5))
		},
		"bytes after": func(t *testing.T, disk vfs.FS, s []SegmentInfo) {
			require.NoError(t, disk.Truncate(s[0].Path, s[0].Bytes+7))
		},
	} {
		t.Run(name, func(t *testing.T) {
			disk := vfs.NewCrash(1)
			cfg := testConfig()
			cfg.SegmentBytes = 1 << 10
			w := newWorld(t, disk, cfg)
			w.fill(33)
			require.NoError(t, w.sync())
			infos := w.l.Segments()
			left := disk.Kill()
			harm(t, left, infos)
			w.crash(left)
			require.NotNil(t, w.last.Damage)
			require.ErrorIs(t, w.l.Damage(), ErrOffline)
			t.Log(w.last.Damage)
		})
	}
}

// A bit that flipped in a batch that recovery does not look at, after a clean stop or below the recovery point, is found when the batch
// is first read: what lies before and behind it is served, and it is not.
func TestFlippedBitBelowTheRecoveryPointIsNotServed(t *testing.T) {
	for name, end := range map[string]func(w *world){
		"clean stop": func(w *world) {
			state, err := w.l.Close()
			require.NoError(w.t, err)
			w.clean, w.state = true, state
		},
		"crash": func(w *world) { require.NoError(w.t, w.sync()) },
	} {
		t.Run(name, func(t *testing.T) {
			disk := vfs.NewCrash(1)
			cfg := testConfig()
			cfg.SegmentBytes = 1 << 10
			w := newWorld(t, disk, cfg)
			w.fill(38)
			list := w.l.Segments()
			each := w.l.SizeBytes() / 38
			end(w)
			for _, n := range []int{0, len(list) - 1} { // a sealed one, and the one that is read whole
				s := list[n]
				require.Greater(t, s.End, s.Base+3)
				for at := each + 21; at < 2*each; at += 13 { // the second batch of the segment, behind its checksum
					left := disk.Kill()
					flip(t, left, s.Path, at, 3)
					u := *w
					u.fs = left
					require.NoError(t, u.open())
					require.Nil(t, u.last.Damage)
					require.Equal(t, s.Base, u.read(s.Base, s.End, 1<<20, true)[0].BaseOffset())
					require.Len(t, u.read(s.Base, s.End, 1<<20, true), 1)
					_, err := u.l.Read(s.Base+1, s.End, 1<<20, true)
					var bad *segment.CorruptError
					require.ErrorAs(t, err, &bad)
					require.ErrorIs(t, err, record.ErrCorrupt)
					require.Equal(t, []any{s.Path, each, s.Base + 1}, []any{bad.File, bad.Position, bad.Offset})
					require.Len(t, u.read(s.Base+2, s.End, 1<<20, true), int(s.End-s.Base)-2)
				}
			}
		})
	}
}

// A disk that does not answer is not a reason to cut anything.
func TestUnreadableSegment(t *testing.T) {
	disk := vfs.NewCrash(1)
	w := newWorld(t, disk, testConfig())
	w.fill(3)
	require.NoError(t, w.sync())
	w.fill(3)
	faults := vfs.NewFaults(disk.Kill())
	faults.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpRead}, Path: "*.log", Err: syscall.EIO})
	before := contents(t, disk)
	w.crash(faults)
	require.ErrorIs(t, w.last.Damage, syscall.EIO)
	require.Equal(t, before, contents(t, faults.Unwrap().(vfs.FS)))
}

// A torn tail is made good by the journal, from the first entry that is needed on.
func TestJournalContinuesATornTail(t *testing.T) {
	disk := vfs.NewCrash(1)
	w := newWorld(t, disk, testConfig())
	w.fill(10)
	require.NoError(t, w.sync())
	w.journal = true
	w.fill(10)
	want := w.readAll()
	for cut := int64(10); cut <= 20; cut++ {
		left := disk.Kill()
		size := w.l.SizeBytes() / 20 * cut
		require.NoError(t, left.Truncate(w.l.Segments()[0].Path, size-min(1, cut-10)*50))
		u := *w
		u.fs = left
		require.NoError(t, u.open())
		require.Nil(t, u.last.Damage)
		require.Equal(t, want, u.readAll())
		require.Equal(t, int(20-cut)+int(min(1, cut-10)), u.last.Replayed)
	}
	// An entry missing in the middle: what comes after it was promised and is gone.
	left := disk.Kill()
	require.NoError(t, left.Truncate(w.l.Segments()[0].Path, w.l.SizeBytes()/2))
	w.entries = slices.Delete(w.entries, 4, 5)
	w.crash(left)
	require.Equal(t, int64(10), w.last.Damage.Offset)
}

func TestBrokenSideFilesAreMadeAgain(t *testing.T) {
	cfg := testConfig()
	cfg.SegmentBytes = 1 << 10
	for _, clean := range []bool{false, true} {
		for _, ext := range []string{segment.IndexExt, segment.TimeExt, segment.SnapshotExt, segment.EpochFile, segment.MetadataFile} {
			for _, how := range []string{"gone", "empty", "garbage"} {
				t.Run(fmt.Sprintf("clean %v %s %s", clean, ext, how), func(t *testing.T) {
					disk := vfs.NewCrash(1)
					w := newWorld(t, disk, cfg)
					for i := range int32(25) {
						w.append(idempotent(1, 7, 0, i))
					}
					if clean {
						state, err := w.l.Close()
						require.NoError(t, err)
						w.clean, w.state = true, state
						w.promised, w.recoveryPoint = state.End, state.End
					} else {
						require.NoError(t, w.sync())
					}
					w.harmSideFiles(disk, ext, how)
					w.crash(disk.Kill())
					require.Nil(t, w.last.Damage)
					for from := range int64(25) {
						require.Equal(t, from, w.read(from, 25, 10, true)[0].BaseOffset())
					}
					found, err := w.l.OffsetForTime(0)
					require.NoError(t, err)
					require.Zero(t, found.Offset)
					require.True(t, w.append(idempotent(1, 7, 0, 23)).Duplicate)
					require.Equal(t, int32(0), w.l.EpochOf(3))
				})
			}
		}
	}
}

func (w *world) harmSideFiles(disk *vfs.Crash, ext, how string) {
	names, err := disk.List(testDir)
	require.NoError(w.t, err)
	for _, name := range names {
		if name != ext && (len(name) <= len(ext) || name[len(name)-len(ext):] != ext) {
			continue
		}
		path := testDir + "/" + name
		switch how {
		case "gone":
			require.NoError(w.t, disk.Remove(path))
		case "empty":
			require.NoError(w.t, disk.Truncate(path, 0))
		case "garbage":
			f, err := disk.OpenReadWrite(path, vfs.Unspecified)
			require.NoError(w.t, err)
			_, err = f.WriteAt([]byte("no file of this kind looks like this, and it is longer than most"), 0)
			require.NoError(w.t, err)
			require.NoError(w.t, f.Close())
		}
	}
}

func TestCleanStopReadsNoSegment(t *testing.T) {
	disk := vfs.NewCrash(1)
	cfg := testConfig()
	cfg.SegmentBytes = 1 << 10
	w := newWorld(t, disk, cfg)
	for i := range int32(25) {
		w.append(idempotent(1, 7, 0, i))
	}
	state, err := w.l.Close()
	require.NoError(t, err)
	faults := vfs.NewFaults(disk)
	faults.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpRead, vfs.OpOpen, vfs.OpWrite, vfs.OpCreate}, Path: "*.log", Err: errors.New("not to be touched")})
	faults.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpSync, vfs.OpSyncDir, vfs.OpWrite, vfs.OpCreate}, Err: errors.New("nothing to be written")})
	w.fs, w.clean, w.state = faults, true, state
	for range 2 {
		require.NoError(t, w.open())
		require.True(t, w.last.Clean)
		require.Equal(t, [3]int64{25, 25, 25}, [3]int64{w.l.End(), w.l.RecoveryPoint(), w.l.FlushedEnd()})
		require.Len(t, w.l.Producers(), 1)
		again, err := w.l.Close()
		require.NoError(t, err)
		require.Equal(t, state, again)
		w.clean, w.state = true, again
	}
}

// A new leader that writes nothing costs no sync, and is not forgotten either.
func TestEpochWithoutRecords(t *testing.T) {
	disk := vfs.NewCrash(1)
	w := newWorld(t, disk, testConfig())
	w.fill2(1, 0)
	w.stop()
	before := disk.Ops()
	for epoch := int32(1); epoch < 4; epoch++ {
		w.l.AssignEpoch(epoch)
		w.stop()
		require.Equal(t, epoch, w.l.LatestEpoch())
	}
	require.Equal(t, before, disk.Ops())
	w.fill2(1, 3)
	require.NoError(t, w.sync())
	w.crash(disk.PowerCutAll())
	require.Equal(t, []int32{0, 3}, []int32{w.l.EpochOf(0), w.l.EpochOf(1)})
}

// A clean stop that the directory does not bear out is none.
func TestCleanStopIsNotBelievedBlindly(t *testing.T) {
	disk := vfs.NewCrash(1)
	w := newWorld(t, disk, testConfig())
	w.fill(5)
	state, err := w.l.Close()
	require.NoError(t, err)
	w.clean, w.state = true, state
	path := testDir + "/" + segment.Name(0, segment.LogExt)
	require.NoError(t, disk.Truncate(path, 400))
	w.crash(disk.Kill())
	require.Equal(t, int64(4), w.last.Damage.Offset)
}

func TestDirectoryOfAnotherTopic(t *testing.T) {
	disk := vfs.NewCrash(1)
	w := newWorld(t, disk, testConfig())
	w.fill(1)
	id, err := ReadTopicID(disk, testDir)
	require.NoError(t, err)
	require.Equal(t, testTopic, id)
	_, err = ReadTopicID(disk, "data/none")
	require.ErrorIs(t, err, fs.ErrNotExist)

	o := w.options()
	o.ID = uuid.ID{9}
	_, _, err = Open(o, Recovery{})
	require.ErrorIs(t, err, ErrWrongTopic)
	fresh, err := Create(o)
	require.NoError(t, err)
	_, err = fresh.Append(Append{Batches: idempotent(1, 1, 0, 0), Now: t0})
	require.ErrorIs(t, err, ErrOffline)

	// Deleted, the name is free at once, and a crash does not bring it back.
	trash, err := w.l.Delete()
	require.NoError(t, err)
	require.True(t, IsTrash(disk.PathBase(trash)))
	require.Equal(t, "data/t-0."+testTopic.String()+"-delete", trash)
	left := disk.PowerCutAll()
	_, err = left.Stat(testDir)
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = fresh.Append(Append{Batches: idempotent(1, 1, 0, 0), Now: t0})
	require.NoError(t, err)
	_, err = w.l.Append(Append{Batches: idempotent(1, 1, 0, 0), Now: t0})
	require.ErrorIs(t, err, ErrClosed)
	_, err = w.l.Read(0, 1, 1, true)
	require.ErrorIs(t, err, ErrClosed)
}

func TestTrashNamesFit(t *testing.T) {
	long := string(make([]byte, 249))
	for _, base := range []string{"t-0", long + "-12", long + "-13"} {
		name := trashName(base, testTopic.String())
		require.LessOrEqual(t, len(name), maxName)
		require.True(t, IsTrash(name))
	}
	require.NotEqual(t, trashName(long+"-12", "x"), trashName(long+"-13", "x"))
}

func TestEntriesThatAreNoBatches(t *testing.T) {
	w := newWorld(t, vfs.NewCrash(1), testConfig())
	b := batchOf(1, 1, 0, record.Spec{})
	w.entries = []Entry{{Base: 0, End: 1, Batches: b}, {Base: 1, End: 2, Batches: b[:30]}}
	w.promised = 1
	require.NoError(t, w.open())
	require.Equal(t, int64(1), w.l.End())
	require.Equal(t, 1, w.last.Replayed)
}
