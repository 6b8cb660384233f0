package log

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/storage/segment"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

var testTopic = uuid.ID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}

const testDir = "data/t-0"

// t0 is when the clock of the tests stands still, unless they move it.
var t0 = time.UnixMilli(1_700_000_000_000)

// world is a log with what its owner would keep about it: the facts of durability rule 6.
type world struct {
	t    testing.TB
	fs   vfs.FS
	cfg  Config
	l    *Log
	last Report

	clean         bool
	state         State
	recoveryPoint int64
	promised      int64
	start         int64
	entries       []Entry
	journal       bool // appends are taken for journaled, and so for acknowledged
}

func testConfig() Config {
	c := DefaultConfig()
	c.SegmentBytes, c.IndexInterval, c.DeleteDelay = 4<<10, 256, 0
	c.RetentionTime = -1
	c.TimestampAfter = 1 << 62
	return c
}

func newWorld(t testing.TB, fs vfs.FS, cfg Config) *world {
	w := &world{t: t, fs: fs, cfg: cfg}
	require.NoError(t, fs.MkdirAll("data", 0o755))
	if c, ok := fs.(*vfs.Crash); ok {
		require.NoError(t, vfs.SyncDir(c, "."))
		require.NoError(t, vfs.SyncDir(c, "/"))
	}
	require.NoError(t, w.open())
	return w
}

func (w *world) options() Options {
	return Options{
		FS: w.fs, Dir: testDir, Topic: "t", ID: testTopic, Config: w.cfg, Files: segment.NewCache(w.fs, 4), Sink: w,
		Hooks: Hooks{
			Void: func(end int64) error {
				w.entries, w.recoveryPoint, w.promised = nil, min(w.recoveryPoint, end), end
				return nil
			},
			StartMoved: func(start int64) error { w.start = start; return nil },
			Replacing:  func(upTo int64) error { w.recoveryPoint = max(w.recoveryPoint, upTo); return nil },
		},
	}
}

// Appended implements FlushSink as a journal would that is done at once.
func (w *world) Appended(base, end int64, _ int32, batches []byte) {
	if w.journal {
		w.entries = append(w.entries, Entry{Base: base, End: end, Batches: bytes.Clone(batches)})
		w.promised = end
	}
}

func (w *world) recovery() Recovery {
	return Recovery{Clean: w.clean, State: w.state, RecoveryPoint: w.recoveryPoint, Promised: w.promised, Start: w.start, Entries: w.entries}
}

func (w *world) open() error {
	l, report, err := Open(w.options(), w.recovery())
	if err != nil {
		return err
	}
	w.l, w.last, w.clean = l, report, false
	if report.Damage == nil {
		w.recoveryPoint, w.promised = l.RecoveryPoint(), l.End()
		w.entries = nil
	}
	return nil
}

// sync acknowledges everything by the log's own sync.
func (w *world) sync() error {
	end := w.l.End()
	if err := w.l.Sync(end); err != nil {
		return err
	}
	w.recoveryPoint, w.promised, w.entries = w.l.RecoveryPoint(), max(w.promised, end), nil
	w.l.Flushed(w.promised)
	return nil
}

// stop closes the log and opens it again.
func (w *world) stop() {
	state, err := w.l.Close()
	require.NoError(w.t, err)
	parsed, err := ParseState(state.Encode(nil))
	require.NoError(w.t, err)
	require.Equal(w.t, state.Encode(nil), parsed.Encode(nil))
	w.clean, w.state, w.promised, w.recoveryPoint, w.entries = true, parsed, state.End, state.End, nil
	require.NoError(w.t, w.open())
	require.True(w.t, w.last.Clean)
}

// crash goes on with what is left of the file system.
func (w *world) crash(left vfs.FS) {
	if c, ok := w.fs.(*vfs.Crash); ok {
		c.Cut()
	}
	w.fs = left
	require.NoError(w.t, w.open())
}

// batchOf builds a batch of n records with values of size bytes, the first record's at time ms, the others 1 ms apart.
func batchOf(n, size int, ms int64, spec record.Spec) record.Batch {
	var b record.Builder
	b.Reset(spec)
	for i := range n {
		b.Append(ms+int64(i), fmt.Appendf(nil, "k%d", i), bytes.Repeat([]byte{'v'}, size))
	}
	out, err := b.Build()
	if err != nil {
		panic(err)
	}
	return bytes.Clone(out)
}

func idempotent(n int, id int64, epoch int16, seq int32) record.Batch {
	return batchOf(n, 10, t0.UnixMilli(), record.Spec{Producer: &record.Producer{ID: id, Epoch: epoch, Sequence: seq}})
}

func (w *world) append(b record.Batch) Appended {
	w.t.Helper()
	done, err := w.l.Append(Append{Batches: b, Now: t0})
	require.NoError(w.t, err)
	return done
}

// fill appends n batches of one record of some 100 bytes each.
func (w *world) fill(n int) {
	w.t.Helper()
	for range n {
		w.append(batchOf(1, 30, t0.UnixMilli(), record.Spec{}))
	}
}

// readAll reads the log from its start as batches.
func (w *world) readAll() []record.Batch {
	w.t.Helper()
	var all []record.Batch
	for from := w.l.Start(); from < w.l.End(); {
		batches := w.read(from, w.l.End(), 1<<20, true)
		if len(batches) == 0 {
			break
		}
		all = append(all, batches...)
		from = batches[len(batches)-1].NextOffset()
	}
	return all
}

func (w *world) read(from, upTo int64, maxBytes int, atLeastOne bool) []record.Batch {
	w.t.Helper()
	slice, err := w.l.Read(from, upTo, maxBytes, atLeastOne)
	require.NoError(w.t, err)
	defer slice.Release()
	data, err := slice.Bytes(nil)
	require.NoError(w.t, err)
	var batches []record.Batch
	for b, err := range record.Batches(data) {
		require.NoError(w.t, err)
		require.NoError(w.t, b.CheckCRC())
		require.Less(w.t, b.LastOffset(), slice.End)
		batches = append(batches, b)
	}
	return batches
}

// offsets is the first and last offset of each batch, for comparison.
func offsets(batches []record.Batch) (out [][2]int64) {
	for _, b := range batches {
		out = append(out, [2]int64{b.BaseOffset(), b.LastOffset()})
	}
	return out
}
