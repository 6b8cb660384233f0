package logdir

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/storage/log"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// world is a data directory and a model of what its topics hold. The catalogue of topics stands for the cluster's metadata: it is
// durable at once.
type world struct {
	t      *testing.T
	fs     vfs.FS
	opt    Options
	cfg    log.Config
	d      *Dir
	topics []*testTopic
	made   int

	cutAt int64
	when  vfs.When
}

// testTopic is a topic of one partition.
type testTopic struct {
	w     *world
	name  string
	id    uuid.ID
	flush bool
	l     *log.Log

	mu      sync.Mutex
	values  [][]byte             // by offset, as appended last
	ever    map[int64][]([]byte) // all that were appended at an offset
	acked   int64                // told as flushed, and not taken back by a truncation
	start   int64                // log start told to a client
	cutting bool
}

func newWorld(t *testing.T, fsys vfs.FS, topics int) *world {
	w := &world{t: t, fs: fsys, cfg: log.DefaultConfig()}
	w.cfg.SegmentBytes, w.cfg.IndexInterval, w.cfg.DeleteDelay = 16<<10, 512, 0
	w.opt = Options{
		Dir: "data", BrokerID: 1, ClusterID: "cluster", NoCleaner: true, Reserve: -1,
		Journal: JournalOptions{FileBytes: 64 << 10, MaxBytes: 256 << 10, OwnSyncBytes: 8 << 10, MaxRoundBytes: 32 << 10},
	}
	for range topics {
		w.makeTopic(true)
	}
	return w
}

func (w *world) makeTopic(flush bool) *testTopic {
	w.made++
	tp := &testTopic{w: w, name: fmt.Sprintf("topic%d", len(w.topics)), flush: flush, ever: map[int64][][]byte{}}
	binary.BigEndian.PutUint64(tp.id[8:], uint64(w.made))
	w.topics = append(w.topics, tp)
	return tp
}

// after is the world on another file system, with the same model.
func (w *world) after(fsys vfs.FS) *world {
	n := *w
	n.fs, n.d, n.cutAt = fsys, nil, 0
	n.topics = nil
	for _, tp := range w.topics {
		n.topics = append(n.topics, &testTopic{w: &n, name: tp.name, id: tp.id, flush: tp.flush, values: tp.values, ever: tp.ever, acked: tp.acked, start: tp.start})
	}
	return &n
}

// begin opens the directory as a broker does.
func (w *world) begin() error {
	o := w.opt
	o.FS = w.fs
	var err error
	if w.d, err = w.open(o); err != nil {
		return err
	}
	d := w.d
	w.t.Cleanup(func() { _ = d.Close() })
	for _, tp := range w.topics {
		if err := tp.open(); err != nil {
			return err
		}
	}
	if err := w.d.Activate(); err != nil {
		return err
	}
	return w.d.RemoveStrays()
}

// open puts a cut that would hit the opening of a directory that was there before off until afterwards: Pebble panics when its
// disk fails between replaying its log and the end of its Open.
func (w *world) open(o Options) (*Dir, error) {
	disk, ok := w.fs.(*vfs.Crash)
	if _, err := w.fs.Stat("data"); err != nil || !ok || w.cutAt == 0 {
		return Open(o)
	}
	disk.CutAt(0, w.when)
	d, err := Open(o)
	synctest.Wait() // Pebble also looks at its tables again and again when it cannot read them
	disk.CutAt(max(w.cutAt, disk.Ops()+1), w.when)
	return d, err
}

// cut has the power go at a sync point.
func (w *world) cut(at int64, when vfs.When) {
	w.cutAt, w.when = at, when
	w.fs.(*vfs.Crash).CutAt(at, when)
}

func (tp *testTopic) open() error {
	l, err := tp.w.d.OpenLog(tp.name, tp.id, 0, tp.w.cfg, tp.flush)
	if err != nil {
		var damage *log.Damage
		require.False(tp.w.t, errors.As(err, &damage), "%s: %v", tp.name, err)
		return err
	}
	tp.l = l
	l.OnFlushed(func(end int64) { tp.flushed(l, end) })
	return tp.check()
}

func (tp *testTopic) flushed(l *log.Log, end int64) {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	if l.ID() != tp.id || tp.cutting {
		return // deleted, or about to be taken back
	}
	assert.GreaterOrEqual(tp.w.t, end, tp.acked, "%s: flushed ends do not fall", tp.name)
	assert.LessOrEqual(tp.w.t, end, int64(len(tp.values)))
	if tp.flush {
		tp.acked = end
	}
}

// told is the flushed end that was told.
func (tp *testTopic) told() int64 {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	return tp.acked
}

// check compares the log with the model, after a start, and takes the log's end over.
func (tp *testTopic) check() error {
	t, l := tp.w.t, tp.l
	require.GreaterOrEqual(t, l.End(), tp.acked, "%s: what was told as flushed is kept", tp.name)
	require.GreaterOrEqual(t, l.Start(), tp.start, "%s: the log start does not go back", tp.name)
	got, err := tp.read()
	if err != nil {
		return err
	}
	require.Len(t, got, int(l.End()-l.Start()))
	for i, value := range got {
		offset := l.Start() + int64(i)
		if offset < tp.acked {
			require.Equal(t, tp.values[offset], value, "%s: flushed record %d", tp.name, offset)
			continue
		}
		known := false
		for _, v := range tp.ever[offset] {
			known = known || bytes.Equal(v, value)
		}
		require.True(t, known, "%s: record %d was never appended", tp.name, offset)
	}
	values := make([][]byte, l.End())
	copy(values, tp.values[:min(len(tp.values), len(values))])
	copy(values[l.Start():], got)
	tp.mu.Lock()
	defer tp.mu.Unlock()
	tp.values = values
	if tp.flush {
		tp.acked = l.End()
	}
	return nil
}

// read answers the values of all records.
func (tp *testTopic) read() (values [][]byte, err error) {
	for at := tp.l.Start(); at < tp.l.End(); {
		slice, err := tp.l.Read(at, tp.l.End(), 1<<20, true)
		if err != nil {
			return nil, err
		}
		b, err := slice.Bytes(nil)
		slice.Release()
		if err != nil {
			return nil, err
		}
		for batch, err := range record.Batches(b) {
			if err != nil {
				return nil, err
			}
			require.NoError(tp.w.t, batch.CheckCRC())
			for rec, err := range batch.All(1 << 20) {
				require.NoError(tp.w.t, err)
				if offset := rec.Offset; offset >= at {
					values = append(values, bytes.Clone(rec.Value))
				}
			}
			at = batch.NextOffset()
		}
	}
	return values, nil
}

func (tp *testTopic) append(n int) error {
	value := make([]byte, n)
	tp.mu.Lock()
	offset := int64(len(tp.values))
	for i := range value {
		value[i] = byte(i*7 + int(offset)*13 + len(tp.ever[offset])*31 + int(tp.id[15]))
	}
	tp.values = append(tp.values[:offset:offset], value)
	tp.ever[offset] = append(tp.ever[offset], value)
	tp.mu.Unlock()
	var b record.Builder
	b.Reset(record.Spec{})
	b.Append(time.Now().UnixMilli(), nil, value)
	batch, err := b.Build()
	require.NoError(tp.w.t, err)
	got, err := tp.l.Append(log.Append{Batches: batch, Origin: log.Coordinator})
	if err == nil {
		require.Equal(tp.w.t, offset, got.Base)
	}
	return err
}

func (tp *testTopic) truncate(end int64) error {
	if end >= tp.l.End() {
		return nil
	}
	tp.mu.Lock()
	tp.acked, tp.cutting = min(tp.acked, end), true
	tp.mu.Unlock()
	if err := tp.l.TruncateTo(end); err != nil {
		return err
	}
	tp.mu.Lock()
	defer tp.mu.Unlock()
	tp.cutting = false
	tp.values = tp.values[:tp.l.End():tp.l.End()]
	tp.acked = min(tp.acked, tp.l.End())
	return nil
}

func (tp *testTopic) deleteRecords(to int64) error {
	if to > tp.told() {
		return nil
	}
	start, err := tp.l.DeleteRecordsTo(to)
	if err == nil {
		tp.start = start
	}
	return err
}

// drop deletes the topic and makes another one under its name; again, under its id as well.
func (tp *testTopic) drop(again bool) error {
	w := tp.w
	tp.mu.Lock()
	if !again {
		w.made++
		binary.BigEndian.PutUint64(tp.id[8:], uint64(w.made))
	}
	tp.values, tp.acked, tp.start = nil, 0, 0
	if !again {
		tp.ever = map[int64][][]byte{}
	}
	tp.cutting = true
	tp.mu.Unlock()
	if err := w.d.DeleteLog(tp.l); err != nil {
		return err
	}
	tp.mu.Lock()
	tp.acked, tp.cutting = 0, false
	tp.mu.Unlock()
	if err := tp.open(); err != nil {
		return err
	}
	return w.d.Activate()
}

// step is one thing a crash script does; an error ends the script (the power is gone).
type step func(w *world) error

func settle(*world) error { synctest.Wait(); return nil }

func later(d time.Duration) step {
	return func(*world) error {
		<-time.After(d)
		synctest.Wait()
		return nil
	}
}

func appendTo(topic, bytes int) step {
	return func(w *world) error { return w.topics[topic].append(bytes) }
}

func truncate(topic int, end int64) step {
	return func(w *world) error { return w.topics[topic].truncate(end) }
}

func deleteRecords(topic int, to int64) step {
	return func(w *world) error { return w.topics[topic].deleteRecords(to) }
}

func drop(topic int) step { return func(w *world) error { return w.topics[topic].drop(false) } }

func giveBack(topic int) step { return func(w *world) error { return w.topics[topic].drop(true) } }

func setFlush(topic int, on bool) step {
	return func(w *world) error {
		tp := w.topics[topic]
		tp.mu.Lock()
		tp.flush = on
		if !on {
			tp.acked = min(tp.acked, tp.l.FlushedEnd())
		}
		tp.mu.Unlock()
		w.d.Configure(tp.l, w.cfg, on)
		return nil
	}
}

func restart(w *world) error {
	if err := w.d.Close(); err != nil {
		return err
	}
	if err := w.begin(); err != nil {
		return err
	}
	if !w.d.Clean() {
		return errors.New("the stop was not clean")
	}
	return nil
}

func repeat(n int, steps ...step) step {
	return func(w *world) error {
		for range n {
			for _, s := range steps {
				if err := s(w); err != nil {
					return err
				}
			}
		}
		return nil
	}
}

// reboot ends the life of w and answers the world that the power cut leaves. Every fourth seed only kills the process.
func reboot(w *world, disk *vfs.Crash, seed uint64) *world {
	disk.Cut()
	var next *vfs.Crash
	switch seed % 4 {
	case 0:
		next = disk.PowerCutAll()
	case 3:
		next = disk.Kill()
	default:
		next = disk.PowerCut(seed)
	}
	if w.d != nil {
		_ = w.d.Close()
	}
	return w.after(next)
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
