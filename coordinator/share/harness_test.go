package share

import (
	"bytes"
	"fmt"
	goruntime "runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/storage/kv"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// memLog is a partition's log in memory. Appends are committed at once unless held.
type memLog struct {
	mu      sync.Mutex
	batches []record.Batch
	start   int64
	end     int64
	hw      int64
	held    bool // commits wait for release
	forget  bool // batches are counted and not kept
	waiting []func(error)
	refuse  func(batch []byte) error
}

func (l *memLog) Append(epoch int32, batch []byte) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refuse != nil {
		if err := l.refuse(batch); err != nil {
			return 0, err
		}
	}
	base := l.end
	b := record.Batch(batch)
	if !l.forget {
		b = bytes.Clone(batch)
		l.batches = append(l.batches, b)
	}
	b.Stamp(base, epoch)
	l.end = b.NextOffset()
	if !l.held {
		l.hw = l.end
	}
	return base, nil
}

func (l *memLog) WhenCommitted(end int64, fn func(error)) {
	l.mu.Lock()
	if l.hw < end {
		l.waiting = append(l.waiting, fn)
		fn = nil
	}
	l.mu.Unlock()
	if fn != nil {
		fn(nil)
	}
}

// hold keeps appends from being committed until release.
func (l *memLog) hold() {
	l.mu.Lock()
	l.held = true
	l.mu.Unlock()
}

func (l *memLog) release() {
	l.mu.Lock()
	l.held, l.hw = false, l.end
	due := l.waiting
	l.waiting = nil
	l.mu.Unlock()
	for _, fn := range due {
		fn(nil)
	}
}

// refuseBy has appends answer what fn does, unless that is nil.
func (l *memLog) refuseBy(fn func(batch []byte) error) {
	l.mu.Lock()
	l.refuse = fn
	l.mu.Unlock()
}

// cut is the log after a crash that kept what is below end.
func (l *memLog) cut(end int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var kept []record.Batch
	for _, b := range l.batches {
		if b.NextOffset() <= end {
			kept = append(kept, b)
		}
	}
	l.batches, l.waiting, l.held = kept, nil, false
	l.end = l.start
	if len(kept) > 0 {
		l.end = kept[len(kept)-1].NextOffset()
	}
	l.hw = l.end
}

// deleteBelow is DeleteRecords.
func (l *memLog) deleteBelow(start int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var kept []record.Batch
	for _, b := range l.batches {
		if b.LastOffset() >= start {
			kept = append(kept, b)
		}
	}
	l.batches, l.start = kept, start
}

func (l *memLog) Read(from int64, maxBytes int) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []byte
	for _, b := range l.batches {
		if b.LastOffset() >= from {
			if len(out) > 0 && len(out)+len(b) > maxBytes {
				break
			}
			out = append(out, b...)
		}
	}
	return out, nil
}

func (l *memLog) Start() int64         { l.mu.Lock(); defer l.mu.Unlock(); return l.start }
func (l *memLog) End() int64           { l.mu.Lock(); defer l.mu.Unlock(); return l.end }
func (l *memLog) HighWatermark() int64 { l.mu.Lock(); defer l.mu.Unlock(); return l.hw }

// records decodes the log from an offset on, one line a record.
func (l *memLog) records(t *testing.T, from int64) []string {
	var lines []string
	l.each(t, from, func(rec *record.Record) { lines = append(lines, line(t, rec.Key, rec.Value)) })
	return lines
}

func (l *memLog) each(t *testing.T, from int64, fn func(*record.Record)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.batches {
		for rec, err := range b.All(64 << 20) {
			require.NoError(t, err)
			if rec.Offset >= from {
				fn(&rec)
			}
		}
	}
}

// line shows a record as tests expect it: times are left out.
func line(t *testing.T, key, value []byte) string {
	typ, k, ok := decodeKey(key)
	require.True(t, ok)
	name := fmt.Sprintf("%s/%d", k.Group, k.Partition)
	if value == nil {
		return name + " gone"
	}
	var c *change
	var err error
	var s string
	if typ == typeSnapshot {
		c, err = decodeSnapshot(value)
		s = fmt.Sprintf("%s snapshot %d: state %d leader %d", name, c.snapshotEpoch, c.stateEpoch, c.leaderEpoch)
		if c.fence != c.leaderEpoch {
			s += fmt.Sprintf(" fence %d", c.fence)
		}
	} else {
		c, err = decodeUpdate(value)
		s = fmt.Sprintf("%s update of %d: leader %d", name, c.snapshotEpoch, c.leaderEpoch)
		if !c.replaces {
			s += " merging"
		}
	}
	require.NoError(t, err)
	s += fmt.Sprintf(" start %d complete %d", c.start, c.complete)
	if c.counters != nil {
		s += fmt.Sprintf(" counters %v", *c.counters)
	}
	if c.producer != nil {
		s += fmt.Sprintf(" producer %d/%d/%d", c.producer.ID, c.producer.Epoch, c.producer.Sequence)
	}
	if text := show(c.batches); text != "" {
		s += " " + text
	}
	return s
}

// show is batches in short.
func show(batches []Batch) string {
	var all []string
	for _, b := range batches {
		s := fmt.Sprintf("%d-%d:%d*%d", b.First, b.Last, b.State, b.Deliveries)
		if b.Failures != 0 {
			s += fmt.Sprintf("!%d", b.Failures)
		}
		if b.Holder != "" {
			s += "@" + b.Holder
		}
		if b.Until != 0 {
			s += fmt.Sprintf("<%d", b.Until)
		}
		if b.Intent != nil {
			s += fmt.Sprintf("->%d/%d", b.Intent.ProducerID, b.Intent.Sequence)
		}
		all = append(all, s)
	}
	return strings.Join(all, " ")
}

// coord is a coordinator of one partition.
type coord struct {
	*Service
	t      testing.TB
	log    *memLog
	fs     vfs.FS
	db     *kv.DB
	conf   Config
	life   int32 // leader epoch
	pruned struct {
		sync.Mutex
		upTo []int64
	}
	known func(uuid.ID) int32
}

// coordinator is one that is loaded.
func coordinator(t testing.TB, conf Config) *coord {
	c := newCoord(t, conf)
	c.start()
	return c
}

func newCoord(t testing.TB, conf Config) *coord {
	c := &coord{t: t, log: &memLog{}, fs: vfs.NewCrash(1), conf: conf}
	t.Cleanup(c.stop)
	return c
}

func (c *coord) start() {
	c.t.Helper()
	var err error
	c.db, err = kv.Open(kv.Options{FS: c.fs, Dir: "/kv"})
	require.NoError(c.t, err)
	c.Service, err = New(Options{
		KV: c.db, Config: c.conf, Partitions: func() int32 { return 1 },
		Prune: func(_ int32, upTo int64) {
			c.pruned.Lock()
			c.pruned.upTo = append(c.pruned.upTo, upTo)
			c.pruned.Unlock()
			c.log.deleteBelow(upTo)
		},
		TopicPartitions: c.known,
	})
	require.NoError(c.t, err)
	c.life++
	c.Load(uuid.ID{1}, 0, c.life, c.log)
	for c.Shards()[0] != runtime.Active {
		goruntime.Gosched()
	}
}

func (c *coord) stop() {
	if c.Service != nil {
		c.Close()
		require.NoError(c.t, c.db.Close())
		c.Service = nil
	}
}

// restart is a new life of the coordinator, from log and view.
func (c *coord) restart() {
	c.t.Helper()
	c.stop()
	c.start()
}

// rebuild is a new life from the log alone.
func (c *coord) rebuild() {
	c.t.Helper()
	c.stop()
	c.fs = vfs.NewCrash(1)
	c.start()
}

// pending is an answer that is to come.
type pending struct {
	mu   sync.Mutex
	done bool
	s    Stored
	err  error
}

func (p *pending) set(s Stored, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done {
		panic("answered twice")
	}
	p.done, p.s, p.err = true, s, err
}

func (p *pending) ack(err error) { p.set(Stored{}, err) }

func (p *pending) get(t testing.TB) (Stored, error) {
	t.Helper()
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	require.True(t, p.done, "not answered")
	return p.s, p.err
}

func (p *pending) open() bool {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.done
}

var key = Key{"g", uuid.ID{7}, 0}

func (c *coord) read(k Key, epoch int32) (Stored, error) {
	c.t.Helper()
	var p pending
	c.Read(k, epoch, p.set)
	return p.get(c.t)
}

func (c *coord) mustRead(k Key, epoch int32) Stored {
	c.t.Helper()
	s, err := c.read(k, epoch)
	require.NoError(c.t, err)
	return s
}

// state is what is there, without saying who asks.
func (c *coord) state(k Key) Stored {
	c.t.Helper()
	s := Stored{None: true, Start: -1, DeliveryComplete: -1}
	require.NoError(c.t, c.rt.Do(0, func(m *machine, v runtime.View) runtime.Outcome {
		p, err := m.find(v, k)
		require.NoError(c.t, err)
		if p != nil {
			s = p.stored()
			s.Batches = p.batches()
		}
		return runtime.Outcome{}
	}))
	return s
}

// cuts is where the log was cut.
func (c *coord) cuts() []int64 {
	synctest.Wait()
	c.pruned.Lock()
	defer c.pruned.Unlock()
	return c.pruned.upTo
}

func (c *coord) write(w *Write) error {
	c.t.Helper()
	var p pending
	c.Write(w, p.ack)
	_, err := p.get(c.t)
	return err
}

func (c *coord) init(k Key, epoch int32, start int64) error {
	c.t.Helper()
	var p pending
	c.Initialize(k, epoch, start, p.ack)
	_, err := p.get(c.t)
	return err
}

func (c *coord) remove(k Key) error {
	c.t.Helper()
	var p pending
	c.Delete(k, p.ack)
	_, err := p.get(c.t)
	return err
}

// fill leases single offsets, each with a holder of its own, in some writes.
func (c *coord) fill(k Key, n int, after func()) {
	c.t.Helper()
	const chunk = 500
	for from := 0; from < n; from += chunk {
		w := &Write{Key: k, StateEpoch: 1, Start: -1}
		for i := range min(chunk, n-from) {
			at := int64(from + i)
			w.Batches = append(w.Batches, lease(at, at, fmt.Sprintf("lease-%030d", at)))
		}
		done := make(chan error, 1)
		c.Write(w, func(err error) { done <- err })
		require.NoError(c.t, <-done)
		after()
	}
}

// simulate runs a test in virtual time.
func simulate(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}

var _ runtime.Log = (*memLog)(nil)
