package share

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// offsets is a state by the dumbest means: for each offset what is known of it.
type offsets map[int64]Batch

func (o offsets) replace(b Batch) {
	b = plain(b)
	for i := b.First; i <= b.Last; i++ {
		o[i] = cut(b, i, i)
	}
}

func (o offsets) merge(b Batch) {
	for i := b.First; i <= b.Last; i++ {
		if old, ok := o[i]; !ok || b.Deliveries > old.Deliveries || b.Deliveries == old.Deliveries && b.State > old.State {
			o[i] = cut(b, i, i)
		}
	}
}

func (o offsets) dropBelow(start int64) {
	for i := range o {
		if i < start {
			delete(o, i)
		}
	}
}

func (o offsets) settledPrefix(start int64) int64 {
	for o[start].State.Final() {
		start++
	}
	return start
}

func (o offsets) settled() (n int64) {
	for _, b := range o {
		if b.State.Final() {
			n++
		}
	}
	return n
}

// check compares ranges with a model, and that they are as few as can be.
func (o offsets) check(t *testing.T, batches []Batch) {
	t.Helper()
	n := 0
	for i, b := range batches {
		require.LessOrEqual(t, b.First, b.Last)
		if i > 0 {
			before := batches[i-1]
			require.Less(t, before.Last, b.First)
			require.False(t, before.Last+1 == b.First && alike(&before, &b), "neighbours %v and %v are one", before, b)
		}
		for at := b.First; at <= b.Last; at++ {
			require.Equal(t, o[at], cut(b, at, at))
			n++
		}
	}
	require.Len(t, o, n)
}

func randomBatch(rnd *rand.Rand, from int64, span, length int) Batch {
	b := Batch{First: from + rnd.Int64N(int64(span)), State: State(rnd.IntN(5)), Deliveries: int16(rnd.IntN(3))}
	b.Last = b.First + rnd.Int64N(int64(length))
	if b.State == Acquired {
		b.Holder, b.Until = fmt.Sprint("h", rnd.IntN(3)), int64(rnd.IntN(2))
	}
	if b.State == Archiving && rnd.IntN(2) == 0 {
		b.Intent = &Intent{ProducerID: 1, Sequence: int32(rnd.IntN(2))}
	}
	if rnd.IntN(3) == 0 {
		b.Failures = int32(rnd.IntN(2))
	}
	return plain(b)
}

// TestRangesAreWhatOffsetsAre runs random changes against the model, taking some back.
func TestRangesAreWhatOffsetsAre(t *testing.T) {
	for i := range 40 {
		seed := uint64(i)
		if i >= 30 {
			seed = rand.Uint64()
		}
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			tree, model, start := newRanges(), offsets{}, int64(0)
			for range 400 {
				b := randomBatch(rnd, start, 60, 12)
				switch n := rnd.IntN(20); {
				case n < 10:
					tree.replace(b)
					model.replace(b)
				case n < 17:
					tree.merge(b)
					model.merge(b)
				case n < 18:
					before := tree.list()
					tree.journal = &journal{}
					for range 1 + rnd.IntN(5) {
						tree.replace(randomBatch(rnd, start, 60, 12))
						tree.merge(randomBatch(rnd, start, 60, 12))
						tree.dropBelow(start + rnd.Int64N(8))
					}
					tree.undo()
					require.Equal(t, before, tree.list())
				default:
					start = model.settledPrefix(start + rnd.Int64N(4))
					tree.dropBelow(start)
					require.Equal(t, start, tree.settledPrefix(start))
					model.dropBelow(start)
				}
				model.check(t, tree.list())
				require.Equal(t, model.settled(), tree.settled)
			}
			held := 0
			for _, b := range tree.list() {
				held += len(b.Holder)
			}
			require.Equal(t, held, tree.holders)
		})
	}
}

// TestWritesOfDifferentOffsetsCommute applies the same writes in two orders.
func TestWritesOfDifferentOffsetsCommute(t *testing.T) {
	for seed := range uint64(30) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		var writes []*Write
		for at := int64(0); at < 60; {
			b := randomBatch(rnd, at, 1, 9)
			at = b.Last + 1 + int64(rnd.IntN(2))
			w := &Write{Start: rnd.Int64N(30) - 1, Batches: []Batch{b}, Add: Counters{Accepted: 1, Skipped: 2}}
			if len(writes) > 0 && rnd.IntN(3) == 0 {
				last := writes[len(writes)-1]
				last.Batches = append(last.Batches, b)
				continue
			}
			writes = append(writes, w)
		}
		state := func(order []int) string {
			p := newPartition(key)
			p.start = 0
			for _, i := range order {
				p.write(writes[i])
			}
			return fmt.Sprint(p.start, p.complete, p.counters, show(p.batches()))
		}
		want := state(rnd.Perm(len(writes)))
		for range 5 {
			require.Equal(t, want, state(rnd.Perm(len(writes))), "seed %d", seed)
		}
	}
}

// TestUpdateSaysWhatWriteDid replays the updates that writes answered.
func TestUpdateSaysWhatWriteDid(t *testing.T) {
	for seed := range uint64(30) {
		rnd := rand.New(rand.NewPCG(seed, 4))
		p, q := newPartition(key), newPartition(key)
		p.start, q.start = int64(rnd.IntN(2)-1), -1
		q.start = p.start
		for range 200 {
			w := &Write{Start: max(p.start, 0) + rnd.Int64N(6) - 5, Add: Counters{Filtered: rnd.Int64N(2)}}
			for range rnd.IntN(4) {
				w.Batches = append(w.Batches, randomBatch(rnd, max(0, p.start-5), 40, 8))
			}
			value := p.write(w).appendUpdate(nil)
			c, err := decodeUpdate(value)
			require.NoError(t, err)
			q.update(c)
			require.Equal(t, p.head, q.head, "seed %d", seed)
			require.Equal(t, p.batches(), q.batches(), "seed %d", seed)
			s, err := decodeSnapshot(p.snapshot(p.used).appendSnapshot(nil))
			require.NoError(t, err)
			r := newPartition(key)
			r.reset(s)
			require.Equal(t, p.batches(), r.batches(), "seed %d", seed)
			require.Equal(t, p.stored(), r.stored(), "seed %d", seed)
		}
	}
}
