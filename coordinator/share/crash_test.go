package share

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// TestCrashAnywhere runs random histories with crashes: the log keeps what is committed and some of what is not, the view loses
// what was not synced, or all of it. What is loaded then must be what the operations in the log make, by the model, and no
// acknowledged one may be missing; snapshots, deleted records and states that leave memory change nothing.
func TestCrashAnywhere(t *testing.T) {
	for i := range 60 {
		seed := uint64(i)
		if i >= 40 {
			seed = rand.Uint64()
		}
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			simulate(t, func(t *testing.T) { newHistory(t, rand.New(rand.NewPCG(seed, 1))).run() })
		})
	}
}

// operation is one that was decided, at the place in the log of its record.
type operation struct {
	offset int64
	key    Key
	p      *pending
	apply  func(*naive)
}

// naive is a share partition's state by the model.
type naive struct {
	there      bool
	stateEpoch int32
	start      int64
	offsets    offsets
	counters   Counters
}

type history struct {
	*coord
	t    *testing.T
	rnd  *rand.Rand
	ops  []operation // in the log
	keys []Key
	made uint64 // file systems after crashes
}

func newHistory(t *testing.T, rnd *rand.Rand) *history {
	conf := Config{SnapshotUpdates: 1 + rnd.IntN(6), PruneInterval: 20 * time.Second, ColdSnapshotInterval: 10 * time.Second, CacheIdle: time.Minute}
	if rnd.IntN(2) == 0 {
		conf.CacheBytes = 1 // one state at a time
	}
	h := &history{t: t, rnd: rnd, coord: coordinator(t, conf)}
	for i := range 3 {
		h.keys = append(h.keys, Key{fmt.Sprint("g", i%2), uuid.ID{byte(i)}, int32(i)})
	}
	return h
}

func (h *history) run() {
	for range 150 {
		switch n := h.rnd.IntN(100); {
		case n < 60:
			h.step()
		case n < 68:
			h.log.hold()
		case n < 82:
			h.log.release()
			synctest.Wait()
		case n < 86:
			h.refuse()
		case n < 90:
			time.Sleep(time.Duration(h.rnd.IntN(3)) * 10 * time.Second)
		case n < 95:
			h.check()
		default:
			h.crash()
		}
	}
	h.log.release()
	h.check()
	h.rebuild()
	h.check()
	h.restart()
	h.check()
}

// step does one operation, which appends a record or none: the next in the log, since no timer is about to write.
func (h *history) step() {
	synctest.Wait()
	k := h.keys[h.rnd.IntN(len(h.keys))]
	before := h.model(k)
	op := operation{offset: h.log.End(), key: k, p: &pending{}}
	switch n := h.rnd.IntN(40); {
	case n == 0 && before.there:
		op.apply = func(s *naive) { *s = naive{} }
		h.Delete(k, op.p.ack)
	case n < 3 || !before.there:
		epoch, start := before.stateEpoch+1, h.rnd.Int64N(20)-1
		op.apply = func(s *naive) { *s = naive{there: true, stateEpoch: epoch, start: start, offsets: offsets{}} }
		h.Initialize(k, epoch, start, op.p.ack)
	default:
		w := h.randomWrite(k, before)
		op.apply = w.naively
		h.Write(&w.Write, op.p.ack)
	}
	if h.log.End() > op.offset {
		h.ops = append(h.ops, op)
	}
}

type naiveWrite struct{ Write }

func (h *history) randomWrite(k Key, s naive) naiveWrite {
	w := naiveWrite{Write{Key: k, StateEpoch: s.stateEpoch, Start: -1, Add: Counters{Accepted: h.rnd.Int64N(3), Skipped: h.rnd.Int64N(2)}}}
	if h.rnd.IntN(4) == 0 {
		w.Start = s.start + h.rnd.Int64N(6) - 2
	}
	for range h.rnd.IntN(4) {
		w.Batches = append(w.Batches, randomBatch(h.rnd, max(s.start, 0), 30, 8))
	}
	return w
}

func (w naiveWrite) naively(s *naive) {
	s.counters = s.counters.Add(w.Add)
	s.start = max(s.start, w.Start)
	for _, b := range w.Batches {
		s.offsets.replace(b)
	}
	if s.start >= 0 {
		s.start = s.offsets.settledPrefix(s.start)
	}
	s.offsets.dropBelow(s.start)
}

// model is a state as the operations in the log make it.
func (h *history) model(k Key) naive {
	var s naive
	for _, op := range h.ops {
		if op.key == k {
			op.apply(&s)
		}
	}
	return s
}

// check compares all states with the model.
func (h *history) check() {
	h.t.Helper()
	synctest.Wait()
	for _, k := range h.keys {
		want, got := h.model(k), h.state(k)
		if !want.there {
			require.EqualValues(h.t, -1, got.Start)
			require.Empty(h.t, got.Batches)
			continue
		}
		require.Equal(h.t, want.start, got.Start)
		require.Equal(h.t, want.stateEpoch, got.StateEpoch)
		require.Equal(h.t, want.counters, got.Counters)
		want.offsets.check(h.t, got.Batches)
		if want.start >= 0 && len(got.Batches) > 0 {
			require.EqualValues(h.t, want.offsets.settled(), got.DeliveryComplete)
		}
	}
}

// refuse has one operation turned away by the log.
func (h *history) refuse() {
	h.log.refuseBy(func([]byte) error { return runtime.ErrRefused })
	n := len(h.ops)
	h.step()
	require.Len(h.t, h.ops, n)
	h.log.refuseBy(nil)
	h.check()
}

// crash cuts the log anywhere above the watermark and loses what of the view was not on disk.
func (h *history) crash() {
	synctest.Wait()
	hw := h.log.HighWatermark()
	end := hw + h.rnd.Int64N(h.log.End()-hw+1)
	left := h.fs.(*vfs.Crash).PowerCut(h.rnd.Uint64())
	h.stop()
	if h.made++; h.rnd.IntN(4) == 0 {
		left = vfs.NewCrash(h.made)
	}
	h.fs = left
	h.log.cut(end)
	var kept []operation
	for _, op := range h.ops {
		if op.offset < end {
			kept = append(kept, op)
			continue
		}
		op.p.mu.Lock()
		require.False(h.t, op.p.done && op.p.err == nil, "an acknowledged operation at offset %d is not in the log", op.offset)
		op.p.mu.Unlock()
	}
	h.ops = kept
	h.start()
	h.check()
}

// TestLogOfUnknownFate shows that nothing that may or may not have been written is answered as done.
func TestLogOfUnknownFate(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{})
		require.NoError(t, c.init(key, 1, 0))
		c.log.refuseBy(func([]byte) error { return errors.New("disk trouble") })
		require.Error(t, c.write(&Write{Key: key, StateEpoch: 1, Batches: []Batch{done(0, 9)}}))
		c.log.refuseBy(nil)
		time.Sleep(time.Minute)
		require.EqualValues(t, 0, c.state(key).Start)
		require.NoError(t, c.write(&Write{Key: key, StateEpoch: 1, Batches: []Batch{done(0, 9)}}))
		require.EqualValues(t, 10, c.state(key).Start)
	})
}
