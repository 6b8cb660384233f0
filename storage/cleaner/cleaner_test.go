package cleaner

import (
	"bytes"
	"context"
	"fmt"
	"math/rand"
	"strings"
	"syscall"
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
		for len(data) > 0 {
			b, rest, err := record.First(data)
			require.NoError(w.t, err)
			require.NoError(w.t, b.CheckCRC())
			data = rest
			batches = append(batches, b)
			r, err := b.Records(1 << 20)
			require.NoError(w.t, err)
			for {
				rec, ok, err := r.Next()
				require.NoError(w.t, err)
				if !ok {
					break
				}
				records = append(records, kept{rec.Offset, string(rec.Key), string(rec.Value), rec.Value == nil})
			}
			r.Close()
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

func TestOnlyTheNewestRecordOfAKeyStays(t *testing.T) {
	w := newWorld(t, vfs.NewCrash(1), config())
	for i := range 200 {
		w.append(record.Spec{}, t0, pair{fmt.Sprint("k", i%7), fmt.Sprint("value ", i)}, pair{fmt.Sprint("once", i), "v"})
	}
	w.commit()
	before := w.l.SizeBytes()
	r := w.clean(New(Options{}), t0)
	require.Less(t, w.l.SizeBytes(), before)
	require.Greater(t, r.RecordsIn, r.RecordsOut)
	w.holdsNewest()
	records, _ := w.read()
	seen := map[string]int{}
	for _, rec := range records {
		if rec.offset < r.To {
			seen[rec.key]++
		}
	}
	for key, n := range seen {
		require.Equal(t, 1, n, "key %s below the checkpoint", key)
	}
	require.Equal(t, r.To, w.l.CleanedTo())
	require.Zero(t, w.clean(New(Options{}), t0).BytesRead, "nothing is dirty any more")
}

func TestATombstoneStaysForItsTime(t *testing.T) {
	w := newWorld(t, vfs.NewCrash(1), config())
	has := func() bool {
		records, _ := w.read()
		for _, r := range records {
			if r.key == "gone" {
				require.True(t, r.tombstone)
				return true
			}
		}
		return false
	}
	round := func(now time.Time) {
		for i := range 60 {
			w.append(record.Spec{}, now, pair{"other", fmt.Sprint(i, "................................")})
		}
		w.commit()
		w.clean(New(Options{}), now)
	}
	w.append(record.Spec{}, t0, pair{"gone", "value"})
	w.append(record.Spec{}, t0, pair{"gone", ""})
	round(t0)
	require.True(t, has(), "its value is gone, the tombstone is there")
	round(t0.Add(59 * time.Minute))
	require.True(t, has(), "not before delete.retention.ms")
	round(t0.Add(61 * time.Minute))
	require.False(t, has())
	w.holdsNewest()
}

func TestAProducersLastBatchLeavesItsHeader(t *testing.T) {
	w := newWorld(t, vfs.NewCrash(1), config())
	producer := &record.Producer{ID: 77, Epoch: 3, Sequence: 0}
	w.append(record.Spec{Producer: producer}, t0, pair{"a", "1"})
	producer.Sequence = 1
	done := w.append(record.Spec{Producer: producer}, t0, pair{"a", "2"})
	for i := range 100 {
		w.append(record.Spec{}, t0, pair{"a", fmt.Sprint(i, "...............................")})
	}
	w.commit()
	w.clean(New(Options{}), t0)
	_, batches := w.read()
	require.Equal(t, done.Base, batches[0].BaseOffset(), "the first batch of the producer is gone, its last is there")
	require.Zero(t, batches[0].NumRecords())
	require.Equal(t, int32(1), batches[0].BaseSequence())

	// After a restart that has only the batches, a repeat is known and a gap is refused.
	crash := w.fs.(*vfs.Crash)
	w.fs = crash.Kill()
	names, err := w.fs.List(dir)
	require.NoError(t, err)
	for _, name := range names {
		if strings.HasSuffix(name, segment.SnapshotExt) {
			require.NoError(t, w.fs.Remove(w.fs.PathJoin(dir, name)))
		}
	}
	w.open()
	states := w.l.Producers()
	require.Len(t, states, 1)
	require.Equal(t, int32(1), states[0].LastSequence)
}

// When the marker of an aborted transaction is compacted away, so is its entry in the index: otherwise the producer's next transaction
// would be taken for the aborted one, by consumers and by the next run.
func TestATransactionAfterAnAbortedOneStays(t *testing.T) {
	w := newWorld(t, vfs.NewCrash(1), config())
	producer := &record.Producer{ID: 7}
	marker := func(kind record.ControlType) {
		_, err := w.l.Append(log.Append{Batches: record.MarkerBatch(7, 0, record.Marker{Type: kind}, t0.UnixMilli()), Origin: log.Coordinator, Now: t0})
		require.NoError(t, err)
	}
	round := func(now time.Time) {
		for i := range 40 {
			w.append(record.Spec{}, t0, pair{"x", fmt.Sprint(i, "...............................")})
		}
		w.commit()
		w.clean(New(Options{}), now)
		w.holdsNewest()
	}
	w.append(record.Spec{Producer: producer, Transactional: true}, t0, pair{"a", "aborted"})
	delete(w.last, "a")
	marker(record.Abort)
	producer.Sequence = 1
	w.append(record.Spec{Producer: producer, Transactional: true}, t0, pair{"b", "committed"})
	marker(record.Commit)
	producer.Sequence = 2
	w.append(record.Spec{Producer: producer, Transactional: true}, t0, pair{"c", "committed"})
	marker(record.Commit)
	round(t0)
	aborted, err := w.l.AbortedTxns(0, w.l.End())
	require.NoError(t, err)
	require.Len(t, aborted, 1, "its marker is still there")
	round(t0.Add(2 * time.Hour))
	_, batches := w.read()
	require.NotEqual(t, int64(1), batches[0].BaseOffset(), "the marker is gone")
	aborted, err = w.l.AbortedTxns(0, w.l.End())
	require.NoError(t, err)
	require.Empty(t, aborted)
	round(t0.Add(4 * time.Hour))
}

// Segments that are merged into one leave no snapshots of producers behind.
func TestSnapshotsGoWithTheirSegments(t *testing.T) {
	w := newWorld(t, vfs.NewCrash(1), config())
	for i := range 100 {
		w.append(record.Spec{}, t0, pair{"x", fmt.Sprint(i, "...............................")})
	}
	w.commit()
	w.clean(New(Options{}), t0)
	names, err := w.fs.List(dir)
	require.NoError(t, err)
	snapshots := 0
	for _, name := range names {
		if strings.HasSuffix(name, segment.SnapshotExt) {
			snapshots++
		}
	}
	require.Equal(t, len(w.l.Segments())-1, snapshots)
}

// A disk that fails while segments are replaced takes the log offline, and a restart finds the records all the same.
func TestAFailedReplacementLosesNothing(t *testing.T) {
	for n := 1; ; n++ {
		disk := vfs.NewCrash(1)
		faults := vfs.NewFaults(disk)
		w := newWorld(t, faults, config())
		for i := range 60 {
			w.append(record.Spec{}, t0, pair{fmt.Sprint("k", i%7), fmt.Sprint(i, "...............................")})
		}
		w.commit()
		rule := faults.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpRename, vfs.OpSync, vfs.OpSyncDir}, Nth: n, Once: true, Err: syscall.EIO})
		_, err := New(Options{}).Clean(context.Background(), w.l, t0)
		rule.Remove()
		if err == nil {
			require.Greater(t, n, 5)
			return
		}
		w.fs = disk.Kill()
		w.open()
		w.holdsNewest()
	}
}

func TestYoungRecordsAndTheActiveSegmentAreLeftAlone(t *testing.T) {
	cfg := config()
	cfg.MinCompactionLag = time.Hour
	w := newWorld(t, vfs.NewCrash(1), cfg)
	for i := range 100 {
		w.append(record.Spec{}, t0, pair{"k", fmt.Sprint(i, "..............................")})
	}
	w.commit()
	require.Zero(t, w.clean(New(Options{}), t0.Add(30*time.Minute)).RecordsIn)
	require.NotZero(t, w.clean(New(Options{}), t0.Add(61*time.Minute)).RecordsIn)
	w.holdsNewest()
}

func TestNothingAboveTheWatermarkOrTheRecoveryPointIsCompacted(t *testing.T) {
	w := newWorld(t, vfs.NewCrash(1), config())
	w.append(record.Spec{}, t0, pair{"k", "0"})
	w.commit()
	for i := range 100 {
		w.append(record.Spec{}, t0, pair{"k", fmt.Sprint(i, "..............................")})
	}
	require.Zero(t, w.clean(New(Options{}), t0).RecordsIn)
}

// A map too small for the dirty range is filled several times.
func TestAFullMapEndsTheRunEarly(t *testing.T) {
	w := newWorld(t, vfs.NewCrash(1), config())
	for i := range 3000 {
		w.append(record.Spec{}, t0, pair{fmt.Sprint("k", i%1500), fmt.Sprint(i)})
	}
	w.commit()
	c := New(Options{MapBytes: minSlots * slotBytes})
	first := w.clean(c, t0)
	require.Less(t, first.To, w.l.End()/2)
	for range 20 {
		if r := w.clean(c, t0); r.From == r.To {
			break
		}
	}
	w.holdsNewest()
	records, _ := w.read()
	require.Less(t, len(records), 1600)
}

// The property the cleaner lives by: over random histories, with crashes and restarts at
// random sync points, the newest value of every key survives.
func TestNewestValuesSurviveRandomHistories(t *testing.T) {
	seed := time.Now().UnixNano()
	rounds := 60
	if testing.Short() {
		rounds = 15
	}
	for i := range rounds {
		history(t, seed+int64(i))
	}
}

func history(t *testing.T, seed int64) {
	r := rand.New(rand.NewSource(seed))
	fail := func() { t.Logf("seed %d", seed) }
	defer func() {
		if t.Failed() {
			fail()
		}
	}()
	cfg := config()
	cfg.DeleteRetention = time.Duration(r.Intn(3)) * time.Minute
	w := newWorld(t, vfs.NewCrash(uint64(seed)), cfg)
	c := New(Options{MapBytes: int64(minSlots*slotBytes) << r.Intn(3)})
	now := t0
	codecs := []record.Codec{record.None, record.Gzip, record.Snappy, record.LZ4, record.Zstd}
	for range 30 {
		now = now.Add(time.Duration(r.Intn(60)) * time.Second)
		switch r.Intn(10) {
		default:
			for range r.Intn(40) {
				var pairs []pair
				for range 1 + r.Intn(4) {
					p := pair{fmt.Sprint("k", r.Intn(50)), fmt.Sprint(r.Int63(), "...........")}
					if r.Intn(5) == 0 {
						p.value = ""
					}
					pairs = append(pairs, p)
				}
				w.append(record.Spec{Codec: codecs[r.Intn(len(codecs))]}, now, pairs...)
			}
			w.commit()
		case 0, 1, 2:
			w.clean(c, now)
			w.holdsNewest()
		case 3:
			w.crashWhileCleaning(r, c, now)
			w.holdsNewest()
		}
	}
	w.clean(c, now)
	w.holdsNewest()
}

// crashWhileCleaning cuts a run at a random sync point and goes on with what a power cut
// or a kill leaves.
func (w *world) crashWhileCleaning(r *rand.Rand, c *Cleaner, now time.Time) {
	w.t.Helper()
	crash := w.fs.(*vfs.Crash)
	when := []vfs.When{vfs.BeforeSync, vfs.AfterSync}[r.Intn(2)]
	crash.CutAt(crash.Ops()+int64(1+r.Intn(20)), when)
	_, _ = c.Clean(context.Background(), w.l, now)
	crash.Cut()
	if r.Intn(2) == 0 {
		w.fs = crash.Kill()
	} else {
		w.fs = crash.PowerCut(r.Uint64())
	}
	w.open()
}

// Every sync point of one run, before and after, with a power cut that loses all that was
// not synced, one that loses nothing, and one that loses some.
func TestARunCutAtEverySyncPoint(t *testing.T) {
	build := func() *world {
		w := newWorld(t, vfs.NewCrash(1), config())
		for i := range 150 {
			value := fmt.Sprint(i, ".......................")
			if i%10 == 9 {
				value = ""
			}
			w.append(record.Spec{}, t0, pair{fmt.Sprint("k", i%13), value})
		}
		w.commit()
		return w
	}
	w := build()
	before := w.fs.(*vfs.Crash).Ops()
	w.clean(New(Options{}), t0)
	points := w.fs.(*vfs.Crash).Ops() - before
	require.Greater(t, points, int64(5))
	for n := int64(1); n <= points; n++ {
		for _, when := range []vfs.When{vfs.BeforeSync, vfs.AfterSync} {
			for _, left := range []func(*vfs.Crash) *vfs.Crash{(*vfs.Crash).PowerCutAll, (*vfs.Crash).PowerCutNone,
				func(c *vfs.Crash) *vfs.Crash { return c.PowerCut(uint64(n)) }} {
				w := build()
				crash := w.fs.(*vfs.Crash)
				crash.CutAt(crash.Ops()+n, when)
				_, _ = New(Options{}).Clean(context.Background(), w.l, t0)
				crash.Cut()
				w.fs = left(crash)
				w.open()
				w.holdsNewest()
				w.clean(New(Options{}), t0)
				w.holdsNewest()
			}
		}
	}
}
