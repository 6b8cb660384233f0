package journal

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// world is a small data directory: logs of one file each, recovery points in one file, and the journal. It keeps a model of
// what was appended and what was told as flushed, and recovers as durability rule 6 says.
type world struct {
	t    *testing.T
	fs   vfs.FS
	opt  Options
	life int
	f    *Flusher
	logs []*testLog

	mu     sync.Mutex
	points map[string]int64
	gate   chan struct{} // not nil: recording points waits until it is closed
	slow   *rand.Rand    // not nil: recording points and syncing logs take random times
}

// linger lets up to most of virtual time pass, in a world that is slow, now and then.
func (w *world) linger(most time.Duration) {
	if w.slow == nil {
		return
	}
	w.mu.Lock()
	d, now := time.Duration(w.slow.Int64N(int64(most))), w.slow.IntN(3) == 0
	w.mu.Unlock()
	if now {
		<-time.After(d)
	}
}

const recordHead = 16 // length, offset, checksum

// testLog is a log with one record an offset.
type testLog struct {
	w    *world
	key  Key
	path string
	s    *Stream

	syncing   chan struct{} // a lock, held by whoever syncs or cuts; time may pass under it
	appending sync.Mutex
	file      vfs.File
	size      int64
	starts    []int64 // position of each record

	mu      sync.Mutex
	synced  bool // the file's name is
	history [][]byte
	ever    map[int64]map[uint32]bool // checksums of all records ever written at an offset
	acked   int64                     // told as flushed, and not taken back by a truncation
	cutting bool                      // a Void is under way
}

func newWorld(t *testing.T, fsys vfs.FS, logs int, opt Options) *world {
	opt.FS, opt.Dir = fsys, "data/journal"
	w := &world{t: t, fs: fsys, opt: opt, points: map[string]int64{}}
	for i := range logs {
		l := &testLog{w: w, syncing: make(chan struct{}, 1), key: Key{Topic: uuid.ID{1, byte(i)}, Partition: int32(i)}, ever: map[int64]map[uint32]bool{}}
		l.path = fmt.Sprintf("data/log-%d", i)
		w.logs = append(w.logs, l)
	}
	return w
}

// small are options that make everything happen with little data.
func small() Options {
	return Options{FileBytes: 64 << 10, MaxBytes: 256 << 10, OwnSyncBytes: 8 << 10, MaxRoundBytes: 32 << 10, OwnSyncs: 2}
}

// after is the world on another file system, with the same model.
func (w *world) after(fsys vfs.FS) *world {
	n := newWorld(w.t, fsys, 0, w.opt)
	n.life, n.slow = w.life, w.slow
	for _, l := range w.logs {
		n.logs = append(n.logs, &testLog{w: n, syncing: make(chan struct{}, 1), key: l.key, path: l.path, history: l.history, ever: l.ever, acked: l.acked})
	}
	return n
}

func (w *world) start() error {
	w.life++
	if err := vfs.MkdirAllSync(w.fs, "data"); err != nil {
		return err
	}
	if err := vfs.SyncDir(w.fs, "."); err != nil {
		return err
	}
	last, clean, err := w.takeCleanMark()
	if err != nil {
		return err
	}
	if b, err := vfs.ReadFile(w.fs, "data/points", 1<<20); err == nil {
		require.NoError(w.t, json.Unmarshal(b, &w.points))
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	replayed := &Replayed{Logs: map[Key]*History{}}
	if !clean {
		if replayed, err = Replay(w.fs, w.opt.Dir); err != nil {
			return err
		}
		last = replayed.LastSeq
	}
	for _, l := range w.logs {
		if err := l.recover(replayed, clean); err != nil {
			return err
		}
	}
	if !clean {
		if err := w.savePoints(); err != nil {
			return err
		}
	}
	o := w.opt
	o.FS, o.After, o.Reset, o.Record = w.fs, last, !clean, w.record
	if w.f, err = Start(o); err != nil {
		return err
	}
	for _, l := range w.logs {
		l.s = w.f.Open(l.key, l, l.end())
	}
	return nil
}

func (w *world) takeCleanMark() (last uint64, clean bool, err error) {
	b, err := vfs.ReadFile(w.fs, "data/clean", 64)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	if err := w.fs.Remove("data/clean"); err != nil {
		return 0, false, err
	}
	return binary.BigEndian.Uint64(b), true, vfs.SyncDir(w.fs, "data")
}

// stop is a clean stop.
func (w *world) stop() error {
	for _, l := range w.logs {
		if err := l.Sync(l.end()); err != nil {
			return err
		}
		l.s.Close()
		w.mu.Lock()
		w.points[l.path] = l.end()
		w.mu.Unlock()
	}
	if err := w.savePoints(); err != nil {
		return err
	}
	if err := w.f.Close(); err != nil {
		return err
	}
	return vfs.WriteFileAtomic(w.fs, "data/clean", binary.BigEndian.AppendUint64(nil, w.f.LastSeq()))
}

func (w *world) record(points []Point) error {
	w.linger(3 * time.Second)
	w.mu.Lock()
	gate := w.gate
	w.mu.Unlock()
	if gate != nil {
		<-gate
	}
	w.mu.Lock()
	for _, p := range points {
		for _, l := range w.logs {
			if l.key == p.Key {
				w.points[l.path] = p.End
			}
		}
	}
	w.mu.Unlock()
	return w.savePoints()
}

func (w *world) savePoints() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	b, err := json.Marshal(w.points)
	require.NoError(w.t, err)
	return vfs.WriteFileAtomic(w.fs, "data/points", b)
}

// read answers the log's valid records.
func (l *testLog) read() (records [][]byte, err error) {
	b, err := vfs.ReadFile(l.w.fs, l.path, 64<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for len(b) >= recordHead {
		n := int64(binary.BigEndian.Uint32(b))
		if n < recordHead || n > int64(len(b)) || !validRecord(b[:n], int64(len(records))) {
			break
		}
		records = append(records, b[:n:n])
		b = b[n:]
	}
	return records, nil
}

func validRecord(b []byte, offset int64) bool {
	return int64(binary.BigEndian.Uint64(b[4:])) == offset && binary.BigEndian.Uint32(b[12:]) == crc32.ChecksumIEEE(b[recordHead:])
}

// recover is durability rule 6 and 7, with the model's checks.
func (l *testLog) recover(r *Replayed, clean bool) error {
	records, err := l.read()
	if err != nil {
		return err
	}
	t := l.w.t
	point := l.w.points[l.path]
	require.GreaterOrEqual(t, int64(len(records)), point, "%s: below the recovery point nothing is lost", l.path)
	promised := int64(0)
	if h := r.Logs[l.key]; h != nil {
		promised = h.Promised
	}
	err = r.Entries(l.key, func(e Entry) error {
		require.Equal(t, e.End, e.Base+1)
		if e.Base == int64(len(records)) {
			require.True(t, validRecord(e.Batches, e.Base))
			records = append(records, e.Batches)
		}
		return nil
	})
	if err != nil {
		return err
	}
	end := int64(len(records))
	require.GreaterOrEqual(t, end, promised, "%s: a promised end is kept", l.path)
	require.GreaterOrEqual(t, end, l.acked, "%s: what was told as flushed is kept", l.path)
	for i, b := range records {
		sum := crc32.ChecksumIEEE(b)
		require.True(t, l.ever[int64(i)][sum], "%s: record %d was never written", l.path, i)
		if int64(i) < l.acked {
			require.Equal(t, crc32.ChecksumIEEE(l.history[i]), sum, "%s: flushed record %d is another one", l.path, i)
		}
	}
	if clean {
		require.Len(t, l.history, int(end))
	}
	return l.rewrite(records)
}

// rewrite leaves exactly records in the file, synced.
func (l *testLog) rewrite(records [][]byte) error {
	l.history, l.size, l.starts = records, 0, nil
	file, err := l.w.fs.OpenReadWrite(l.path, vfs.Unspecified)
	if err != nil {
		return err
	}
	l.file = file
	for _, b := range records {
		if _, err := file.WriteAt(b, l.size); err != nil {
			return err
		}
		l.starts = append(l.starts, l.size)
		l.size += int64(len(b))
	}
	if err := l.w.fs.Truncate(l.path, l.size); err != nil {
		return err
	}
	if err := l.Sync(l.end()); err != nil {
		return err
	}
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	l.w.points[l.path] = l.end()
	l.acked = l.end()
	return nil
}

func (l *testLog) end() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int64(len(l.history))
}

// append writes one record of n bytes and tells the stream.
func (l *testLog) append(n int) (offset int64, err error) {
	l.appending.Lock()
	defer l.appending.Unlock()
	offset = l.end()
	b := make([]byte, recordHead+n)
	for i := recordHead; i < len(b); i++ {
		b[i] = byte(i*7 + int(offset)*13 + l.w.life*31 + int(l.key.Partition))
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)))
	binary.BigEndian.PutUint64(b[4:], uint64(offset))
	binary.BigEndian.PutUint32(b[12:], crc32.ChecksumIEEE(b[recordHead:]))
	l.mu.Lock()
	if l.ever[offset] == nil {
		l.ever[offset] = map[uint32]bool{}
	}
	l.ever[offset][crc32.ChecksumIEEE(b)] = true
	l.history = append(l.history[:offset:offset], b)
	l.mu.Unlock()
	if _, err := l.file.WriteAt(b, l.size); err != nil {
		return 0, err
	}
	l.starts = append(l.starts, l.size)
	l.size += int64(len(b))
	l.s.Appended(offset, offset+1, 0, b)
	return offset, nil
}

// Sync implements Syncer.
func (l *testLog) Sync(int64) error {
	l.syncing <- struct{}{}
	defer func() { <-l.syncing }()
	l.w.linger(time.Second)
	return l.syncFile()
}

func (l *testLog) syncFile() error {
	if err := l.file.SyncData(); err != nil {
		return err
	}
	l.mu.Lock()
	synced := l.synced
	l.mu.Unlock()
	if synced {
		return nil
	}
	if err := vfs.SyncDir(l.w.fs, "data"); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.synced = true
	return nil
}

// Flushed implements Syncer.
func (l *testLog) Flushed(end int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	assert.LessOrEqual(l.w.t, end, int64(len(l.history)), "flushed beyond the end")
	if !l.cutting {
		assert.GreaterOrEqual(l.w.t, end, l.acked, "flushed ends do not fall")
	}
	l.acked = end
}

// truncate cuts the log as durability rule 4 says.
func (l *testLog) truncate(end int64) error {
	l.syncing <- struct{}{}
	defer func() { <-l.syncing }()
	l.appending.Lock()
	defer l.appending.Unlock()
	if end >= l.end() {
		return nil
	}
	if err := l.syncFile(); err != nil {
		return err
	}
	l.mu.Lock()
	l.acked, l.cutting = min(l.acked, end), true
	l.mu.Unlock()
	err := l.s.Void(end, func() error {
		l.w.mu.Lock()
		l.w.points[l.path] = min(l.w.points[l.path], end)
		l.w.mu.Unlock()
		return l.w.savePoints()
	})
	if err != nil {
		return err
	}
	// What Flushed told between the two was below the old end only.
	l.mu.Lock()
	l.acked, l.cutting = min(l.acked, end), false
	l.history = l.history[:end:end]
	l.mu.Unlock()
	l.size, l.starts = l.starts[end], l.starts[:end]
	if err := l.w.fs.Truncate(l.path, l.size); err != nil {
		return err
	}
	return l.syncFile()
}

// seeded answers a random source and prints its seed when the test fails.
func seeded(t *testing.T, seed uint64) *rand.Rand {
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 7))
}

// requireAllTold checks that nothing appended to logs that flush waits for ever.
func (w *world) requireAllTold() {
	for _, l := range w.logs {
		w.f.mu.Lock()
		flush := l.s.flush
		w.f.mu.Unlock()
		if flush {
			require.Equal(w.t, l.end(), acked(l), "%s: everything is told in the end", l.path)
		}
	}
}
