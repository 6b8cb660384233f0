package journal

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// written is a journal of n rounds of one entry each for two logs, on a file system of its own.
func written(t *testing.T, n int) *vfs.Crash {
	disk := vfs.NewCrash(1)
	synctest.Test(t, func(t *testing.T) {
		f, err := Start(Options{FS: disk, Dir: "journal", Record: func([]Point) error { return nil }})
		require.NoError(t, err)
		logs := []*Stream{f.Open(testKey(0), &callback{told: func(int64) {}}, 0), f.Open(testKey(1), &callback{told: func(int64) {}}, 0)}
		for i := range int64(n) {
			logs[i%2].Appended(i/2, i/2+1, 7, bytes.Repeat([]byte{byte(i + 1)}, 5000))
			synctest.Wait()
		}
		require.NoError(t, f.Close())
	})
	return disk
}

func testKey(n int32) Key { return Key{Topic: uuid.ID{9}, Partition: n} }

func entriesOf(t *testing.T, r *Replayed, key Key) (all []Entry) {
	require.NoError(t, r.Entries(key, func(e Entry) error { all = append(all, e); return nil }))
	return all
}

func poke(t *testing.T, fsys vfs.FS, name string, at int64, b []byte) {
	f, err := fsys.OpenReadWrite(name, vfs.Unspecified)
	require.NoError(t, err)
	_, err = f.WriteAt(b, at)
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	require.NoError(t, f.Close())
}

func TestReplayAnswersEntriesInOrder(t *testing.T) {
	disk := written(t, 9)
	r, err := Replay(disk, "journal")
	require.NoError(t, err)
	require.Equal(t, 9, r.Rounds)
	all := entriesOf(t, r, testKey(0))
	require.Len(t, all, 5)
	for i, e := range all {
		require.EqualValues(t, i, e.Base)
		require.EqualValues(t, i+1, e.End)
		require.EqualValues(t, 7, e.Epoch)
		require.Equal(t, bytes.Repeat([]byte{byte(2*i + 1)}, 5000), e.Batches)
	}
	require.EqualValues(t, 5, r.Logs[testKey(0)].Promised)
}

func TestReplayOfNothing(t *testing.T) {
	disk := vfs.NewCrash(1)
	r, err := Replay(disk, "journal")
	require.NoError(t, err)
	require.Empty(t, r.Logs)
	require.NoError(t, disk.MkdirAll("journal", 0o755))
	poke(t, disk, "journal/0000.journal", 0, []byte("made halfway"))
	poke(t, disk, "journal/README", 0, []byte("not ours"))
	r, err = Replay(disk, "journal")
	require.NoError(t, err)
	require.Empty(t, r.Logs)
}

// frame i of written is at block 1 + 2*i: 5,096 bytes take two blocks.
func framePos(i int) int64 { return blockBytes * int64(1+2*i) }

func TestATornTailIsNoDamage(t *testing.T) {
	disk := written(t, 6)
	poke(t, disk, "journal/0000.journal", framePos(5)+4000, make([]byte, 1000))
	r, err := Replay(disk, "journal")
	require.NoError(t, err)
	require.Equal(t, 5, r.Rounds)
	require.Len(t, entriesOf(t, r, testKey(1)), 2)
}

func TestDamageInTheMiddleIsReported(t *testing.T) {
	for name, at := range map[string]int64{"header": framePos(2) + 3, "length": framePos(2) + 32, "entry": framePos(2) + 100, "batch": framePos(2) + 4500} {
		t.Run(name, func(t *testing.T) {
			disk := written(t, 6)
			poke(t, disk, "journal/0000.journal", at, []byte{0xEE})
			r, err := Replay(disk, "journal")
			var damage *DamageError
			require.ErrorAs(t, err, &damage)
			require.Equal(t, "journal/0000.journal", damage.File)
			require.Equal(t, framePos(2), damage.Position)
			require.Equal(t, damage.Seq+3, damage.Newest)
			require.Equal(t, 5, r.Rounds, "what is readable can be had all the same")
		})
	}
}

func TestALostFileIsReported(t *testing.T) {
	disk := vfs.NewCrash(1)
	synctest.Test(t, func(t *testing.T) {
		o := small()
		o.MaxBytes = 4 << 20 // no checkpoint comes due
		o.FS, o.Dir, o.Record = disk, "journal", func([]Point) error { return nil }
		f, err := Start(o)
		require.NoError(t, err)
		s := f.Open(testKey(0), &callback{told: func(int64) {}}, 0)
		for i := range int64(20) {
			s.Appended(i, i+1, 0, make([]byte, 6000))
			synctest.Wait()
		}
		require.NoError(t, f.Close())
	})
	_, err := Replay(disk, "journal")
	require.NoError(t, err)
	require.NoError(t, disk.Remove("journal/0001.journal"))
	_, err = Replay(disk, "journal")
	var damage *DamageError
	require.ErrorAs(t, err, &damage)
}

func TestAnotherVersionIsRefused(t *testing.T) {
	disk := written(t, 1)
	poke(t, disk, "journal/0000.journal", 19, []byte{formatVersion + 1})
	_, err := Replay(disk, "journal")
	require.ErrorIs(t, err, ErrVersion)
	require.ErrorContains(t, err, "journal/0000.journal")
}

// TestAClientsBytesAreNoFrame: a batch that holds a whole frame of the journal, where a frame could begin, counts as nothing,
// also when the round around it is damaged.
func TestAClientsBytesAreNoFrame(t *testing.T) {
	disk := vfs.NewCrash(1)
	synctest.Test(t, func(t *testing.T) {
		f, err := Start(Options{FS: disk, Dir: "journal", Record: func([]Point) error { return nil }})
		require.NoError(t, err)
		s := f.Open(testKey(0), &callback{told: func(int64) {}}, 0)
		forged := appendEntry(make([]byte, frameHeaderBytes), &Entry{Kind: KindVoid, Key: testKey(0)})
		sealFrame(forged, frameHeader{salt: f.files.cur.salt ^ 1, seq: f.files.next() + 10, entries: 1})
		batch := make([]byte, 3*blockBytes)
		copy(batch[blockBytes-frameHeaderBytes-entryHeaderBytes:], forged)
		s.Appended(0, 1, 0, batch)
		synctest.Wait()
		require.NoError(t, f.Close())
	})
	r, err := Replay(disk, "journal")
	require.NoError(t, err)
	require.Len(t, entriesOf(t, r, testKey(0)), 1)
	poke(t, disk, "journal/0000.journal", blockBytes, []byte("torn"))
	r, err = Replay(disk, "journal")
	require.NoError(t, err)
	require.Empty(t, r.Logs)
}

// FuzzReplay reads what follows the header block of a file, and once more with the first frame's checksum made right, so that the
// entries are reached.
func FuzzReplay(f *testing.F) {
	salt := uint64(0x1122334455667788)
	frame := appendEntry(make([]byte, frameHeaderBytes), &Entry{Kind: KindData, Key: testKey(3), Base: 5, End: 8, Flushed: 4, Epoch: 2, Batches: []byte("batches")})
	frame = appendEntry(frame, &Entry{Kind: KindNote, Key: testKey(4), Base: 9, End: 9, Flushed: 9})
	frame = appendEntry(frame, &Entry{Kind: KindVoid, Key: testKey(3), Base: 1, End: 1, Flushed: 1})
	sealFrame(frame, frameHeader{salt: salt, seq: 1 << 20, oldest: 1 << 20, entries: 3})
	f.Add(frame)
	f.Add(frame[:len(frame)-9])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, tail []byte) {
		b := append(fileHeader(salt), tail...)
		replayBytes(t, b)
		if h, ok := parseFrameHeader(b[blockBytes:], salt); ok {
			end := min(int64(len(b)), blockBytes+frameHeaderBytes+int64(h.length))
			sealFrame(b[blockBytes:end], h)
			replayBytes(t, b)
		}
	})
}

// replayBytes replays one file and checks what it answers against itself.
func replayBytes(t *testing.T, b []byte) {
	frames, err := scanFrames(bytes.NewReader(b), int64(len(b)), 0, nil)
	require.NoError(t, err)
	r := &Replayed{Logs: map[Key]*History{}, paths: []string{"fuzz"}}
	frames, _ = r.live(frames)
	for _, at := range frames {
		if err := r.indexFrame(at, b[at.pos+frameHeaderBytes:][:at.length]); err != nil {
			require.ErrorIs(t, err, errMalformed)
			return
		}
	}
	for key, h := range r.Logs {
		require.GreaterOrEqual(t, h.Promised, int64(0))
		for _, ref := range h.refs {
			var e Entry
			_, err := decodeEntry(b[ref.pos:][:ref.size], &e)
			require.NoError(t, err)
			require.Equal(t, key, e.Key)
			require.Equal(t, KindData, e.Kind)
		}
	}
}

// TestGoldenFile pins the format: a file of version 1 must stay readable.
func TestGoldenFile(t *testing.T) {
	golden := filepath.Join("testdata", "v1.journal")
	b, err := os.ReadFile(golden)
	require.NoError(t, err)
	disk := vfs.NewCrash(1)
	require.NoError(t, disk.MkdirAll("journal", 0o755))
	poke(t, disk, "journal/0000.journal", 0, b)
	r, err := Replay(disk, "journal")
	require.NoError(t, err)
	require.EqualValues(t, 1<<20, r.LastSeq)
	require.EqualValues(t, 9, r.Logs[testKey(4)].Promised)
	all := entriesOf(t, r, testKey(3))
	require.Equal(t, []Entry{{Kind: KindData, Key: testKey(3), Base: 5, End: 8, Flushed: 4, Epoch: 2, Batches: []byte("batches")}}, all)
}
