package window

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/coordinator/share"
)

var seedFlag = flag.Uint64("seed", 0, "of the one random history to run; 0: a new one for each")

// TestRandomHistories does the same to a window, to the model, and to what is kept, and compares them after every step.
func TestRandomHistories(t *testing.T) {
	seeds := []uint64{*seedFlag}
	if *seedFlag == 0 {
		seeds = seeds[:0]
		for range 40 {
			seeds = append(seeds, rand.Uint64())
		}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			h := newHistory(t, seed)
			for h.steps = 0; h.steps < 1500; h.steps++ {
				h.step()
				h.compare()
			}
			h.end()
		})
	}
}

// history is a window, the model beside it, what is kept of both, and the changes in flight.
type history struct {
	*rand.Rand
	t     *testing.T
	steps int
	last  string // operation
	now   time.Time
	l     Limits
	w     *Window
	m     *model
	kept  *keeper
	open  []pair
	done  map[int64]bool // settled by a committed change
	log   int64          // the log's start
	skew  int64          // record batches are of this many offsets
}

type pair struct {
	c *Change
	m *modelChange
}

func newHistory(t *testing.T, seed uint64) *history {
	r := rand.New(rand.NewPCG(seed, 1))
	l := Limits{Ordered: r.IntN(3) == 0, DeadLetter: r.IntN(2) == 0, Durable: r.IntN(2) == 0, CountSettled: r.IntN(2) == 0,
		Backoff: func(int32) time.Duration { return 0 }}
	switch r.IntN(3) {
	case 0:
		l.Deliveries = 2 + r.IntN(6)
	case 1:
		l.Failures = 1 + r.IntN(4)
	}
	if r.IntN(2) == 0 {
		l.MaxRecords = 5 + r.IntN(60)
	}
	if r.IntN(2) == 0 {
		l.Backoff = func(n int32) time.Duration { return time.Duration(n) * 3 * time.Second }
	}
	now := time.UnixMilli(1_700_000_000_000)
	start := r.Int64N(5)
	return &history{Rand: r, t: t, now: now, l: l, w: New(share.Stored{Start: -1}, start, now), skew: 1 + r.Int64N(8), log: start,
		m:    &model{start: start, end: start, recs: map[int64]*rec{}, gaps: map[int64]bool{}},
		kept: &keeper{start: start, states: map[int64]share.Batch{}}, done: map[int64]bool{}}
}

func (h *history) holder() string { return string(rune('a' + h.IntN(4))) }

func (h *history) step() {
	h.now = h.now.Add(time.Duration(h.IntN(2000)) * time.Millisecond)
	switch n := h.IntN(100); {
	case n < 30:
		h.acquire()
	case n < 60:
		h.settle()
	case n < 70:
		h.last = "expire"
		h.both(h.w.Expire(h.now, h.l), h.m.expire(h.now, h.l))
	case n < 73:
		who := h.holder()
		h.last = "release holder " + who
		h.both(h.w.ReleaseHolder(who, h.now, h.l), h.m.each(func(_ int64, r *rec) bool { return r.State == share.Acquired && r.Holder == who },
			func(c *modelChange, o int64) { h.m.become(c, o, Release, h.now.UnixMilli(), h.l) }))
	case n < 76:
		h.log = max(h.log, h.w.Start()+h.Int64N(8)-3)
		h.last = fmt.Sprintf("advance to %d", h.log)
		h.both(h.w.AdvanceStart(h.log, h.now), h.m.advanceStart(h.log))
	case n < 82:
		h.letter()
	default:
		h.finish()
	}
}

// acquire reads from where Next says, or anywhere, a log in which every seventh batch holds no record.
func (h *history) acquire() {
	h.m.ripen(h.now.UnixMilli())
	from, ok := h.w.Next(h.now, h.l)
	if h.IntN(4) == 0 {
		from = h.w.Start() + h.Int64N(h.w.End()-h.w.Start()+4)
	}
	a := Acquire{Now: h.now, Until: h.now.Add(time.Duration(1+h.IntN(20)) * time.Second), Holder: h.holder(),
		Read: Span{from, from + h.Int64N(40)}, MaxRecords: h.IntN(12), Strict: h.IntN(2) == 0}
	for f := from / h.skew * h.skew; f <= a.Read.Last; f += h.skew {
		if (f/h.skew)%7 != 3 {
			a.Batches = append(a.Batches, Span{f, f + h.skew - 1})
		}
	}
	if h.IntN(3) == 0 {
		a.Want, a.Filtered = []Span{}, []Span{}
		for o := from; o <= a.Read.Last; o++ {
			switch n := o % 5; {
			case n < 3:
				a.Want = append(a.Want, Span{o, o})
			case n == 3:
				a.Filtered = append(a.Filtered, Span{o, o})
			}
		}
	}
	h.last = fmt.Sprintf("acquire %+v ok=%v", a, ok)
	end := h.w.End()
	granted, c := h.w.Acquire(a, h.l)
	want, mc := h.m.acquire(a, h.l)
	got := map[int64]share.Batch{}
	for _, g := range granted {
		for o := g.First; o <= g.Last; o++ {
			got[o] = share.Batch{State: share.Acquired, Deliveries: g.Deliveries, Failures: g.Failures, Holder: a.Holder, Until: a.Until.UnixMilli()}
			if h.done[o] {
				h.fail("settled offset %d granted", o)
			}
			if o < from && ok && from != end {
				h.fail("offset %d granted below Next", o)
			}
		}
	}
	if !maps.Equal(got, want) {
		h.fail("granted %v, want %v", granted, want)
	}
	if !ok && len(granted) > 0 {
		h.fail("granted %v although Next says no", granted)
	}
	h.both(c, mc)
}

func (h *history) settle() {
	who := h.holder()
	var as []Action
	at := max(h.w.Start()-2, 0)
	if held := slices.Collect(h.w.Held(who, 0)); len(held) > 0 {
		g := held[h.IntN(len(held))]
		at = g.First
	}
	for range 1 + h.IntN(3) {
		a := Action{First: at, Last: at + h.Int64N(4), Kind: Kind(h.IntN(7)), Force: h.IntN(8) == 0, Until: h.now.Add(time.Duration(h.IntN(10)) * time.Second)}
		if h.IntN(4) == 0 {
			a.Delivery = int32(1 + h.IntN(3))
		}
		if h.IntN(3) > 0 {
			a.Last = a.First
		}
		as = append(as, a)
		at = a.Last + h.Int64N(3)
	}
	h.last = fmt.Sprintf("settle %s %+v", who, as)
	c, err := h.w.Settle(who, as, h.now, h.l)
	mc, want := h.m.settle(who, as, h.now, h.l)
	if (err == nil) != (want == nil) || err != nil && !errors.Is(err, ErrState) && !errors.Is(err, ErrRange) {
		h.fail("error %v, want %v", err, want)
	}
	h.both(c, mc)
}

func (h *history) letter() {
	letters := slices.Collect(h.w.DeadLetters(0))
	if len(letters) == 0 {
		return
	}
	b := letters[h.IntN(len(letters))]
	s := Span{b.First, b.Last}
	var c *Change
	var mc *modelChange
	var err, want error
	switch h.IntN(4) {
	case 0:
		if h.last = fmt.Sprintf("copied %v", s); h.IntN(5) == 0 {
			s.Last++
		}
		c, err = h.w.Copied(s)
		mc, want = h.m.archive(s, func(c *share.Counters) *int64 { return &c.DeadLettered })
	case 1:
		h.last = fmt.Sprintf("abandon %v", s)
		c, err = h.w.Abandon(s)
		mc, want = h.m.archive(s, func(c *share.Counters) *int64 { return &c.Rejected })
	default:
		in := &share.Intent{Sequence: int32(h.steps)}
		if b.Intent != nil {
			in = nil
		} else {
			s.Last -= h.Int64N(s.Len())
		}
		h.last = fmt.Sprintf("intend %v", s)
		c, err = h.w.Intend(s, in)
		mc = h.m.intend(s, in)
	}
	if (err == nil) != (want == nil) {
		h.fail("error %v, want %v", err, want)
	}
	h.both(c, mc)
}

// finish ends one of the changes in flight.
func (h *history) finish() {
	if len(h.open) == 0 {
		return
	}
	i := h.IntN(len(h.open))
	p := h.open[i]
	h.open = slices.Delete(h.open, i, i+1)
	if h.IntN(4) == 0 {
		h.last = fmt.Sprintf("rollback %v", p.c.Batches)
		h.w.Rollback(p.c, h.now)
		h.m.rollback(p.m)
		return
	}
	h.commit(p)
}

func (h *history) commit(p pair) {
	h.last = fmt.Sprintf("commit %v", p.c.Batches)
	h.kept.apply(p.c)
	h.w.Commit(p.c, h.now)
	h.m.commit(p.m, h.now)
	for _, b := range p.c.Batches {
		for o := b.First; o <= b.Last && b.State.Final(); o++ {
			h.done[o] = true
		}
	}
}

// both notes a change of the window and of the model, which must be the same.
func (h *history) both(c *Change, m *modelChange) {
	if (c == nil) != (m == nil) {
		h.fail("change %+v, want %+v", c, m)
	}
	if c == nil {
		return
	}
	got := map[int64]share.Batch{}
	end := int64(-1)
	for _, b := range c.Batches {
		if b.First <= end || b.First > b.Last {
			h.fail("batches overlap or are out of order: %v", c.Batches)
		}
		end = b.Last
		for o := b.First; o <= b.Last; o++ {
			got[o] = at(b)
		}
	}
	if !maps.Equal(got, m.to) || c.Add != m.add || c.Start != m.start {
		h.fail("change %+v, want %+v", c, m)
	}
	for _, b := range c.DeadLetters {
		if got[b.First] != at(b) {
			h.fail("dead letter %v is not in the change", b)
		}
	}
	h.open = append(h.open, pair{c, m})
}

func at(b share.Batch) share.Batch {
	b.First, b.Last = 0, 0
	return b
}

func (h *history) fail(format string, args ...any) {
	h.t.Helper()
	h.t.Fatalf("step %d, %s, limits %+v:\n%s", h.steps, h.last, h.l, fmt.Sprintf(format, args...))
}

// end commits all that is in flight and reads back what was kept.
func (h *history) end() {
	for again := true; again; again = len(h.open) > 0 {
		for _, p := range h.open {
			h.commit(p)
		}
		h.open = nil
		h.last = "last expire"
		h.both(h.w.Expire(h.now, h.l), h.m.expire(h.now, h.l))
		h.compare()
	}
	h.kept.same(h)
}

// keeper keeps state as the share coordinator does.
type keeper struct {
	start    int64
	states   map[int64]share.Batch
	counters share.Counters
}

func (k *keeper) apply(c *Change) {
	for _, b := range c.Batches {
		for o := max(b.First, k.start); o <= b.Last; o++ {
			k.states[o] = at(b)
		}
	}
	k.counters = k.counters.Add(c.Add)
	for ; k.start < c.Start || k.states[k.start].State.Final(); k.start++ {
		delete(k.states, k.start)
	}
}

func (k *keeper) stored() share.Stored {
	s := share.Stored{Start: k.start, Counters: k.counters}
	for _, o := range slices.Sorted(maps.Keys(k.states)) {
		b := k.states[o]
		b.First, b.Last = o, o
		s.Batches = append(s.Batches, b)
	}
	return s
}

// same reads the window back, and compares what must have survived.
func (k *keeper) same(h *history) {
	w := New(k.stored(), -1, h.now)
	if c := w.Expire(h.now, h.l); c != nil {
		w.Commit(c, h.now)
	}
	check(h.t, w)
	for o := h.w.Start(); o < h.w.End(); o++ {
		old := h.w.find(o).batch()
		back := share.Batch{}
		if r := w.find(o); r != nil {
			back = r.batch()
		} else if o < w.Start() {
			back.State = share.Archived
		}
		switch {
		case old.State.Final():
			require.True(h.t, back.State.Final() || !h.done[o], "offset %d: settled, read back as %v", o, back)
		case old.State == share.Acquired && !h.l.Durable:
			require.Equal(h.t, share.Available, back.State, "offset %d", o)
			require.Equal(h.t, old.Failures, back.Failures, "offset %d", o)
		default:
			require.Equal(h.t, at(old), at(back), "offset %d of %v, %+v", o, h.l, old)
		}
	}
	require.LessOrEqual(h.t, w.Start(), h.w.Start())
}
