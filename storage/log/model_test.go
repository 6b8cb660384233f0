package log

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

var (
	modelSeed = flag.Uint64("model.seed", 0, "seed of the model test; 0: one of the clock")
	modelRuns = flag.Int("model.runs", 12, "histories of the model test")
)

// TestLogAgainstModel runs random operations on a log and on a list of batches, and compares what they answer. Crashes may take
// what was not acknowledged, nothing else.
func TestLogAgainstModel(t *testing.T) {
	seed := *modelSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	for i := range *modelRuns {
		s := seed + uint64(i)
		t.Run(fmt.Sprint(s), func(t *testing.T) {
			t.Logf("seed: -model.seed=%d -model.runs=1", s)
			m := newModel(t, s)
			for step := range 250 {
				m.step(step)
			}
		})
	}
}

type model struct {
	*world
	rng     *rand.Rand
	batches []record.Batch // as they should be in the log, those below the start included until they are dropped
	nextSeq map[int64]int32
	ms      int64
}

func newModel(t *testing.T, seed uint64) *model {
	rng := rand.New(rand.NewPCG(seed, 1))
	cfg := testConfig()
	cfg.SegmentBytes = int64(1<<10 + rng.IntN(8<<10))
	cfg.IndexInterval = rng.IntN(1 << 10)
	w := newWorld(t, vfs.NewCrash(seed), cfg)
	w.journal = rng.IntN(2) == 0
	return &model{world: w, rng: rng, nextSeq: map[int64]int32{}, ms: t0.UnixMilli()}
}

func (m *model) step(step int) {
	ops := []struct {
		weight int
		name   string
		do     func()
	}{
		{40, "append", m.appendOne}, {20, "read", m.readSome}, {8, "find time", m.findTime}, {6, "sync", func() { require.NoError(m.t, m.sync()) }},
		{2, "roll", func() { require.NoError(m.t, m.l.Roll(t0)) }}, {3, "retain", m.retain}, {3, "delete records", m.deleteRecords},
		{3, "truncate", m.truncate}, {2, "stop", m.stop}, {2, "kill", m.kill}, {4, "power cut", m.powerCut}, {1, "restart", m.restart},
	}
	sum := 0
	for _, op := range ops {
		sum += op.weight
	}
	pick := m.rng.IntN(sum)
	for _, op := range ops {
		if pick -= op.weight; pick < 0 {
			before := fmt.Sprintf("%d to %d", m.l.Start(), m.l.End())
			if testing.Verbose() {
				m.t.Logf("step %d: %s on %s, recovery point %d", step, op.name, before, m.l.RecoveryPoint())
			}
			op.do()
			m.check(fmt.Sprintf("step %d: %s on %s", step, op.name, before))
			return
		}
	}
}

// check compares ends and, now and then, everything.
func (m *model) check(what string) {
	end := int64(0)
	if n := len(m.batches); n > 0 {
		end = m.batches[n-1].NextOffset()
	}
	if end < m.l.Start() {
		end = m.l.Start()
	}
	require.Equal(m.t, end, m.l.End(), what)
	if m.rng.IntN(8) > 0 {
		return
	}
	got := m.readAll()
	want := m.visible()
	require.Equal(m.t, offsets(want), offsets(got), what)
	for i := range want {
		require.True(m.t, bytes.Equal(want[i], got[i]), "%s: batch at %d", what, want[i].BaseOffset())
	}
	for _, p := range m.l.Producers() {
		require.Equal(m.t, m.nextSeq[p.ID], p.LastSequence+1, "%s: producer %d", what, p.ID)
	}
}

// visible is the batches that a reader sees from the log's start on.
func (m *model) visible() []record.Batch {
	i := slices.IndexFunc(m.batches, func(b record.Batch) bool { return b.LastOffset() >= m.l.Start() })
	if i < 0 {
		return nil
	}
	return m.batches[i:]
}

func (m *model) appendOne() {
	m.ms += int64(m.rng.IntN(20)) - 5
	spec := record.Spec{}
	id := int64(m.rng.IntN(4))
	n := 1 + m.rng.IntN(4)
	if id > 0 {
		spec.Producer = &record.Producer{ID: id, Sequence: m.nextSeq[id]}
	}
	b := batchOf(n, m.rng.IntN(200), m.ms, spec)
	repeat := bytes.Clone(b)
	done, err := m.l.Append(Append{Batches: b, LeaderEpoch: max(0, m.l.LatestEpoch()), Now: t0})
	require.NoError(m.t, err)
	require.False(m.t, done.Duplicate)
	require.Equal(m.t, done.Last+1, m.l.End())
	m.batches = append(m.batches, b)
	if id == 0 {
		return
	}
	m.nextSeq[id] += int32(n)
	if m.rng.IntN(3) == 0 {
		again, err := m.l.Append(Append{Batches: repeat, LeaderEpoch: max(0, m.l.LatestEpoch()), Now: t0})
		require.NoError(m.t, err)
		require.True(m.t, again.Duplicate)
		require.Equal(m.t, [3]int64{done.Base, done.Last, done.FlushEnd}, [3]int64{again.Base, again.Last, again.FlushEnd})
	}
}

// readSome reads somewhere and checks that the answer is the longest run of whole batches that was asked for, within a segment.
func (m *model) readSome() {
	start, end := m.l.Start(), m.l.End()
	from := start + m.rng.Int64N(end-start+1)
	upTo := from + m.rng.Int64N(end-from+1)
	if m.rng.IntN(2) == 0 {
		upTo = end
	}
	maxBytes, atLeastOne := m.rng.IntN(3000), m.rng.IntN(2) == 0
	got := m.read(from, upTo, maxBytes, atLeastOne)

	what := fmt.Sprintf("from %d up to %d, %d bytes, %v", from, upTo, maxBytes, atLeastOne)
	bases := map[int64]bool{}
	for _, s := range m.l.Segments() {
		bases[s.Base] = true
	}
	i := slices.IndexFunc(m.batches, func(b record.Batch) bool { return b.LastOffset() >= from })
	size := 0
	for k, b := range got {
		require.True(m.t, bytes.Equal(m.batches[i+k], b), "%s: batch %d", what, b.BaseOffset())
		require.Less(m.t, b.LastOffset(), upTo, what)
		size += len(b)
		require.True(m.t, size <= maxBytes || k == 0 && atLeastOne, what)
	}
	if i < 0 || i+len(got) == len(m.batches) {
		return
	}
	next := m.batches[i+len(got)]
	require.True(m.t, next.LastOffset() >= upTo || size+len(next) > maxBytes && (len(got) > 0 || !atLeastOne) ||
		len(got) > 0 && bases[next.BaseOffset()], "%s: batch at %d is missing", what, next.BaseOffset())
}

func (m *model) findTime() {
	ms := t0.UnixMilli() + m.rng.Int64N(m.ms-t0.UnixMilli()+20) - 10
	got, err := m.l.OffsetForTime(ms)
	require.NoError(m.t, err)
	for _, b := range m.visible() {
		for i := int64(0); i <= int64(b.LastOffsetDelta()); i++ {
			if at := b.BaseTimestamp() + i; at >= ms && b.BaseOffset()+i >= m.l.Start() {
				require.Equal(m.t, TimedOffset{Timestamp: at, Offset: b.BaseOffset() + i, LeaderEpoch: b.LeaderEpoch()}, got)
				return
			}
		}
	}
	require.Equal(m.t, noTimed, got)
}

func (m *model) retain() {
	cfg := m.cfg
	cfg.RetentionBytes = int64(m.rng.IntN(30 << 10))
	m.l.SetConfig(cfg)
	_, err := m.l.Retain(t0)
	require.NoError(m.t, err)
	m.l.SetConfig(m.cfg)
}

func (m *model) deleteRecords() {
	start, end := m.l.Start(), m.l.End()
	to := start + m.rng.Int64N(end-start+1)
	got, err := m.l.DeleteRecordsTo(to)
	require.NoError(m.t, err)
	require.Equal(m.t, to, got)
}

// truncate cuts at or into one of the last batches. Sequence numbers go back as well.
func (m *model) truncate() {
	v := m.visible()
	if len(v) == 0 {
		return
	}
	at := len(v) - 1 - m.rng.IntN(min(len(v), 30))
	to := v[at].BaseOffset() + m.rng.Int64N(int64(v[at].LastOffsetDelta())+1)
	if to < m.l.Start() {
		return
	}
	require.NoError(m.t, m.l.TruncateTo(to))
	if m.l.End() == m.l.Start() && v[at].BaseOffset() < m.l.Start() {
		m.batches = nil
	} else {
		m.lose(v[at].BaseOffset())
	}
	m.refreshSequences()
}

// lose drops the batches from offset end on.
func (m *model) lose(end int64) {
	if i := slices.IndexFunc(m.batches, func(b record.Batch) bool { return b.LastOffset() >= end }); i >= 0 {
		m.batches = m.batches[:i]
	}
}

// refreshSequences takes the producers' next sequences from the batches that are left. Producers that the log
// forgot, as it may with their batches, begin anew; those it knows without batches go on.
func (m *model) refreshSequences() {
	m.nextSeq = map[int64]int32{}
	for _, b := range m.batches {
		if b.HasProducerID() {
			m.nextSeq[b.ProducerID()] = b.LastSequence() + 1
		}
	}
	known := map[int64]bool{}
	for _, p := range m.l.Producers() {
		known[p.ID] = true
		if _, ok := m.nextSeq[p.ID]; !ok {
			m.nextSeq[p.ID] = p.LastSequence + 1
		}
	}
	for id := range m.nextSeq {
		if !known[id] {
			delete(m.nextSeq, id)
		}
	}
}

func (m *model) undamaged() {
	m.t.Helper()
	if d := m.last.Damage; d != nil {
		m.t.Fatal(d)
	}
}

func (m *model) kill() {
	m.crash(m.fs.(*vfs.Crash).Kill())
	m.undamaged()
	m.refreshSequences()
}

func (m *model) powerCut() {
	promised := m.promised
	var left *vfs.Crash
	switch c := m.fs.(*vfs.Crash); m.rng.IntN(4) {
	case 0:
		left = c.PowerCutAll()
	case 1:
		left = c.PowerCutNone()
	default:
		left = c.PowerCut(m.rng.Uint64())
	}
	m.crash(left)
	m.undamaged()
	require.GreaterOrEqual(m.t, m.l.End(), promised, "acknowledged records are gone")
	m.lose(m.l.End())
	m.refreshSequences()
}

func (m *model) restart() {
	require.NoError(m.t, m.l.TruncateFullyAndStartAt(m.l.End()+m.rng.Int64N(100)))
	m.batches, m.nextSeq = nil, map[int64]int32{}
}
