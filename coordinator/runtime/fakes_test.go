package runtime

import (
	"bytes"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// memLog is a partition's log in memory, with a high watermark moved by hand and switches
// for what can go wrong.
type memLog struct {
	mu      sync.Mutex
	batches []record.Batch
	start   int64
	hw      int64
	epoch   int32
	instant bool // the watermark follows every append
	waiting []waiter
	waits   int // calls of WhenCommitted
	reads   []int64

	fail  error // the next append answers this ...
	write bool  // ... after writing the batch, if set
}

type waiter struct {
	end int64
	fn  func(error)
}

func (l *memLog) endLocked() int64 {
	if len(l.batches) == 0 {
		return l.start
	}
	return l.batches[len(l.batches)-1].NextOffset()
}

func (l *memLog) Append(epoch int32, batch []byte) (int64, error) {
	l.mu.Lock()
	base := l.endLocked()
	err := l.fail
	l.fail = nil
	if err == nil && epoch != l.epoch {
		err = fmt.Errorf("epoch %d: %w", epoch, ErrNotLeader)
	}
	if err == nil || l.write {
		b := record.Batch(bytes.Clone(batch))
		b.Stamp(base, epoch)
		l.batches = append(l.batches, b)
	}
	l.write = false
	instant := l.instant
	l.mu.Unlock()
	if err == nil && instant {
		l.commit(-1)
	}
	return base, err
}

func (l *memLog) WhenCommitted(end int64, fn func(error)) {
	l.mu.Lock()
	l.waits++
	if l.hw >= end {
		l.mu.Unlock()
		fn(nil)
		return
	}
	l.waiting = append(l.waiting, waiter{end, fn})
	l.mu.Unlock()
}

// commit moves the watermark; -1 is the log's end.
func (l *memLog) commit(to int64) {
	l.mu.Lock()
	if to < 0 {
		to = l.endLocked()
	}
	l.hw = max(l.hw, to)
	var due, rest []waiter
	for _, w := range l.waiting {
		if w.end <= l.hw {
			due = append(due, w)
		} else {
			rest = append(rest, w)
		}
	}
	l.waiting = rest
	l.mu.Unlock()
	for _, w := range due {
		w.fn(nil)
	}
}

// follow commits all there is and will be.
func (l *memLog) follow() {
	l.mu.Lock()
	l.instant = true
	l.mu.Unlock()
	l.commit(-1)
}

// resign ends leadership: what waits gets ErrNotLeader.
func (l *memLog) resign(next int32) {
	l.mu.Lock()
	l.epoch = next
	due := l.waiting
	l.waiting = nil
	l.mu.Unlock()
	for _, w := range due {
		w.fn(fmt.Errorf("resigned: %w", ErrNotLeader))
	}
}

func (l *memLog) failNext(err error, write bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail, l.write = err, write
}

func (l *memLog) Read(from int64, maxBytes int) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reads = append(l.reads, from)
	var out []byte
	for _, b := range l.batches {
		if b.LastOffset() < from || len(out) > 0 && len(out)+len(b) > maxBytes {
			continue
		}
		out = append(out, b...)
	}
	return out, nil
}

func (l *memLog) Start() int64 { l.mu.Lock(); defer l.mu.Unlock(); return l.start }
func (l *memLog) End() int64   { l.mu.Lock(); defer l.mu.Unlock(); return l.endLocked() }
func (l *memLog) HighWatermark() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hw
}

// cut is the log after a crash that kept what is below end.
func (l *memLog) cut(end int64) *memLog {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := &memLog{start: l.start, epoch: l.epoch + 1}
	for _, b := range l.batches {
		if b.NextOffset() <= end {
			next.batches = append(next.batches, b)
		}
	}
	return next
}

// memStore is a store that remembers every commit, so that a crash can go back to any.
type memStore struct {
	mu       sync.Mutex
	rows     map[string]string
	versions []map[string]string // rows before each commit
	keep     bool
	fail     error
}

func newMemStore() *memStore { return &memStore{rows: map[string]string{}} }

func (s *memStore) copyLocked() map[string]string {
	c := make(map[string]string, len(s.rows))
	for k, v := range s.rows {
		c[k] = v
	}
	return c
}

// crashed is the store as a crash leaves it that lost the last n commits.
func (s *memStore) crashed(n int) *memStore {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := &memStore{rows: s.copyLocked(), keep: s.keep}
	if n > 0 {
		next.rows = s.versions[len(s.versions)-n]
	}
	return next
}

func (s *memStore) get(key []byte) ([]byte, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.rows[string(key)]
	return []byte(v), ok, nil
}

func (s *memStore) iterate(lower, upper []byte, fn func(key, value []byte) bool) error {
	s.mu.Lock()
	rows := s.copyLocked()
	s.mu.Unlock()
	return (&memSnapshot{rows}).iterate(lower, upper, fn)
}

func (s *memStore) snapshot() (storeSnapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &memSnapshot{s.copyLocked()}, nil
}

type memSnapshot struct{ rows map[string]string }

func (s *memSnapshot) get(key []byte) ([]byte, bool, error) {
	v, ok := s.rows[string(key)]
	return []byte(v), ok, nil
}

func (s *memSnapshot) iterate(lower, upper []byte, fn func(key, value []byte) bool) error {
	var keys []string
	for k := range s.rows {
		if k >= string(lower) && (upper == nil || k < string(upper)) {
			keys = append(keys, k)
		}
	}
	sort.Strings(keys)
	for _, k := range keys {
		if !fn([]byte(k), []byte(s.rows[k])) {
			return nil
		}
	}
	return nil
}

func (s *memSnapshot) close() {}

func (s *memStore) write(fn func(storeWriter)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	if s.keep {
		s.versions = append(s.versions, s.copyLocked())
	}
	fn(memWriter(s.rows))
	return nil
}

type memWriter map[string]string

func (w memWriter) set(key, value []byte) { w[string(key)] = string(value) }
func (w memWriter) delete(key []byte)     { delete(w, string(key)) }
func (w memWriter) deleteAll()            { clear(w) }

// tally is a small coordinator: a number for each name. It keeps the even numbers in
// memory as well, as a coordinator keeps its groups with members, and counts what fires.
type tally struct {
	even  map[string]int
	held  []func(error)
	fired []Timer
	rt    *tallyRun
}

func (m *tally) Restore(tx *Tx) error {
	m.even = map[string]int{}
	if err := m.rt.restoreErr.Load(); err != nil {
		return *err
	}
	return tx.Scan(nil, nil, func(key, value []byte) bool {
		if n, _ := strconv.Atoi(string(value)); n%2 == 0 {
			m.even[string(key)] = n
		}
		return true
	})
}

func (m *tally) Fire(v View, t Timer) Outcome {
	m.fired = append(m.fired, t)
	return m.add(v, t.Of, 1)
}

func (m *tally) Abandon(tx *Tx) {
	for _, fn := range m.held {
		tx.Reply(fn)
	}
	m.held = nil
}

// add decides to raise a name's number.
func (m *tally) add(v View, name string, n int) Outcome {
	sum, ok := m.even[name]
	if !ok {
		value, _, _ := v.Get([]byte(name))
		sum, _ = strconv.Atoi(string(value))
	}
	sum += n
	return Outcome{
		Records: []Record{{[]byte(name), []byte(strconv.Itoa(sum))}},
		Then: func(*Tx) {
			delete(m.even, name)
			if sum%2 == 0 {
				m.even[name] = sum
			}
		},
	}
}

// tallyRun is a runtime of tallies and what a test needs beside it.
type tallyRun struct {
	*Runtime[*tally]
	t          *testing.T
	id         uuid.ID
	log        *memLog
	store      *memStore
	restoreErr atomic.Pointer[error]
}

func newTally(t *testing.T, log *memLog, mem *memStore, change ...func(*Options[*tally])) *tallyRun {
	run := &tallyRun{t: t, id: uuid.ID{1}, log: log, store: mem}
	o := Options[*tally]{Name: "tally"}
	// Partitions other than 0 are only met where their rows do not matter beyond the test.
	others := map[int32]*memStore{}
	o.store = func(partition int32) store {
		if partition == 0 {
			return mem
		}
		if others[partition] == nil {
			others[partition] = newMemStore()
		}
		return others[partition]
	}
	o.New = func(int32, int32) *tally { return &tally{rt: run} }
	for _, c := range change {
		c(&o)
	}
	r, err := New(o)
	require.NoError(t, err)
	run.Runtime = r
	t.Cleanup(r.Close)
	return run
}

// loaded is a runtime that serves partition 0.
func loaded(t *testing.T, log *memLog, store *memStore, change ...func(*Options[*tally])) *tallyRun {
	run := newTally(t, log, store, change...)
	log.commit(-1)
	run.Load(run.id, 0, log.epoch, log)
	synctest.Wait()
	require.Equal(t, Active, run.Shards()[0])
	return run
}

// promise is the answer to an operation, when it comes.
type promise struct {
	mu    sync.Mutex
	done  bool
	again bool // it came twice
	err   error
}

func (p *promise) fulfil(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.again = p.again || p.done
	p.done, p.err = true, err
}

func (p *promise) get() (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.again {
		panic("answered twice")
	}
	return p.done, p.err
}

func (p *promise) open(t *testing.T) {
	t.Helper()
	synctest.Wait()
	done, err := p.get()
	require.False(t, done, "answered early: %v", err)
}

func (p *promise) is(t *testing.T, want error) {
	t.Helper()
	synctest.Wait()
	done, err := p.get()
	require.True(t, done, "not answered")
	if want == nil {
		require.NoError(t, err)
	} else {
		require.ErrorIs(t, err, want)
	}
}

// add raises a name's number by n.
func (r *tallyRun) add(name string, n int) *promise {
	p := &promise{}
	err := r.Do(0, func(m *tally, v View) Outcome {
		out := m.add(v, name, n)
		out.Reply = p.fulfil
		return out
	})
	if err != nil {
		p.fulfil(err)
	}
	return p
}

// peek is an operation without records.
func (r *tallyRun) peek(name string) (string, *promise) {
	p, seen := &promise{}, ""
	err := r.Do(0, func(_ *tally, v View) Outcome {
		value, _, _ := v.Get([]byte(name))
		seen = string(value)
		return Outcome{Reply: p.fulfil}
	})
	if err != nil {
		p.fulfil(err)
	}
	return seen, p
}

// read is what is committed.
func (r *tallyRun) read(name string) string {
	r.t.Helper()
	var value []byte
	require.NoError(r.t, r.Read(0, func(rd Reader) (err error) {
		value, _, err = rd.Get([]byte(name))
		return err
	}))
	return string(value)
}

// table is the whole live table, and whether memory agrees with it.
func (r *tallyRun) table() map[string]string {
	r.t.Helper()
	rows := map[string]string{}
	require.NoError(r.t, r.Do(0, func(m *tally, v View) Outcome {
		even := map[string]int{}
		err := v.Scan(nil, nil, func(key, value []byte) bool {
			rows[string(key)] = string(value)
			if n, _ := strconv.Atoi(string(value)); n%2 == 0 {
				even[string(key)] = n
			}
			return true
		})
		require.NoError(r.t, err)
		require.Equal(r.t, even, m.even, "memory and table")
		return Outcome{}
	}))
	return rows
}

// replayed is the table that a log makes, by the dumbest means.
func replayed(t *testing.T, log *memLog) map[string]string {
	log.mu.Lock()
	defer log.mu.Unlock()
	rows := map[string]string{}
	for _, b := range log.batches {
		require.NoError(t, eachEntry(b, func(e *Entry) error {
			if e.Value == nil {
				delete(rows, string(e.Key))
			} else {
				rows[string(e.Key)] = string(e.Value)
			}
			return nil
		}))
	}
	return rows
}

// simulate runs a test in virtual time.
func simulate(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}

var errDisk = errors.New("disk trouble")

const longer = time.Hour
