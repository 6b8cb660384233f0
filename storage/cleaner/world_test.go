package cleaner

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/storage/log"
	"github.com/tidemark-mq/tidemark/storage/segment"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

const dir = "data/t-0"

var t0 = time.UnixMilli(1_700_000_000_000)

// world is a log with the facts its owner would keep, and what was written to it.
type world struct {
	t    testing.TB
	fs   vfs.FS
	cfg  log.Config
	l    *log.Log
	end  int64             // synced
	last map[string]string // newest value of each key below end; "" for a tombstone
	at   map[string]int64  // its offset
}

func config() log.Config {
	c := log.DefaultConfig()
	c.Compact, c.Delete = true, false
	c.SegmentBytes, c.IndexInterval, c.DeleteDelay = 2<<10, 256, 0
	c.TimestampAfter, c.DeleteRetention = 1<<62, time.Hour
	return c
}

func newWorld(t testing.TB, fs vfs.FS, cfg log.Config) *world {
	w := &world{t: t, fs: fs, cfg: cfg, last: map[string]string{}, at: map[string]int64{}}
	require.NoError(t, fs.MkdirAll("data", 0o755))
	if c, ok := fs.(*vfs.Crash); ok {
		require.NoError(t, vfs.SyncDir(c, "."))
		require.NoError(t, vfs.SyncDir(c, "/"))
	}
	w.open()
	return w
}

func (w *world) open() {
	w.t.Helper()
	l, report, err := log.Open(log.Options{FS: w.fs, Dir: dir, Topic: "t", ID: uuid.ID{1}, Config: w.cfg, Files: segment.NewCache(w.fs, 8)},
		log.Recovery{RecoveryPoint: w.end, Promised: w.end})
	require.NoError(w.t, err)
	require.Nil(w.t, report.Damage)
	w.l = l
	w.commit()
}

// commit makes all of the log durable and committed.
func (w *world) commit() {
	w.t.Helper()
	end := w.l.End()
	require.NoError(w.t, w.l.Sync(end))
	w.end = end
	w.l.Flushed(end)
	w.l.SetHighWatermark(end)
}

type pair struct {
	key   string
	value string // "" is a tombstone
}

func (w *world) append(spec record.Spec, at time.Time, pairs ...pair) log.Appended {
	w.t.Helper()
	var b record.Builder
	b.Reset(spec)
	for _, p := range pairs {
		var value []byte
		if p.value != "" {
			value = []byte(p.value)
		}
		b.Append(at.UnixMilli(), []byte(p.key), value)
	}
	batch, err := b.Build()
	require.NoError(w.t, err)
	done, err := w.l.Append(log.Append{Batches: bytes.Clone(batch), Now: at})
	require.NoError(w.t, err)
	for i, p := range pairs {
		w.last[p.key], w.at[p.key] = p.value, done.Base+int64(i)
	}
	return done
}

func (w *world) clean(c *Cleaner, now time.Time) Result {
	w.t.Helper()
	r, err := c.Clean(context.Background(), w.l, now)
	require.NoError(w.t, err)
	return r
}

type kept struct {
	offset     int64
	key, value string
	tombstone  bool
}

func (w *world) read() (records []kept, batches []record.Batch) {
	w.t.Helper()
	for from := w.l.Start(); from < w.l.End(); {
		slice, err := w.l.Read(from, w.l.End(), 1<<20, true)
		require.NoError(w.t, err)
		if slice.Len == 0 {
			break
		}
		data, err := slice.Bytes(nil)
		require.NoError(w.t, err)
		from = slice.End
		slice.Release()
		for b, err := range record.Batches(data) {
			require.NoError(w.t, err)
			require.NoError(w.t, b.CheckCRC())
			batches = append(batches, b)
			for rec, err := range b.All(1 << 20) {
				require.NoError(w.t, err)
				records = append(records, kept{rec.Offset, string(rec.Key), string(rec.Value), rec.Value == nil})
			}
		}
	}
	return records, batches
}

// holdsNewest checks that every key's newest record is there, at its offset; tombstones
// may be gone.
func (w *world) holdsNewest() {
	w.t.Helper()
	records, _ := w.read()
	found := map[string]kept{}
	previous := int64(-1)
	for _, r := range records {
		require.Greater(w.t, r.offset, previous, "offsets rise")
		previous = r.offset
		found[r.key] = r
	}
	for key, value := range w.last {
		r, ok := found[key]
		switch {
		case value == "":
			require.True(w.t, !ok || r.tombstone, "key %s was deleted and has value %q again", key, r.value)
		default:
			require.True(w.t, ok, "key %s is gone", key)
			require.Equal(w.t, value, r.value, "key %s", key)
			require.Equal(w.t, w.at[key], r.offset, "key %s keeps its offset", key)
		}
	}
}
