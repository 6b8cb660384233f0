package window

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/coordinator/share"
)

var t0 = time.UnixMilli(1_700_000_000_000)

// fresh is a window that begins at 0, of a group that keeps nothing yet.
func fresh() *Window { return New(share.Stored{Start: -1}, 0, t0) }

// want asks for records of a log whose batches are given, beginning where the window says.
func want(w *Window, l Limits, now time.Time, holder string, n int, batches ...Span) Acquire {
	from, _ := w.Next(now, l)
	return Acquire{Now: now, Until: now.Add(30 * time.Second), Holder: holder, Read: Span{from, batches[len(batches)-1].Last},
		Batches: batches, MaxRecords: n}
}

func take(t *testing.T, w *Window, l Limits, now time.Time, holder string, n int, batches ...Span) []Grant {
	t.Helper()
	g, c := w.Acquire(want(w, l, now, holder, n, batches...), l)
	if c != nil {
		w.Commit(c, now)
	}
	check(t, w)
	return g
}

// does settles and commits.
func does(t *testing.T, w *Window, l Limits, now time.Time, holder string, as ...Action) *Change {
	t.Helper()
	c, err := w.Settle(holder, as, now, l)
	require.NoError(t, err)
	if c != nil {
		w.Commit(c, now)
	}
	check(t, w)
	return c
}

func batchesOf(n, size int64) (bs []Span) {
	for at := int64(0); at < n; at += size {
		bs = append(bs, Span{at, at + size - 1})
	}
	return bs
}

func TestMaxRecords(t *testing.T) {
	for name, x := range map[string]struct {
		n      int
		strict bool
		want   []Span // call by call
	}{
		"by batch":           {20, false, []Span{{0, 49}, {50, 99}}},
		"by batch, past one": {60, false, []Span{{0, 99}}},
		"strict":             {20, true, []Span{{0, 19}, {20, 39}, {40, 59}}},
		"strict, past one":   {60, true, []Span{{0, 59}, {60, 99}}},
		"nothing":            {0, false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := fresh()
			for _, s := range x.want {
				a := want(w, Limits{}, t0, "m", x.n, batchesOf(100, 50)...)
				a.Strict = x.strict
				g, c := w.Acquire(a, Limits{})
				require.Nil(t, c)
				require.Equal(t, []Grant{{s.First, s.Last, 1, 0}}, g)
			}
			if x.want == nil {
				require.Empty(t, take(t, w, Limits{}, t0, "m", x.n, batchesOf(100, 50)...))
			}
		})
	}
}

// After two records strictly, the rest of their batch comes whole; after records came back, they first (Kafka 4.4).
func TestModesMix(t *testing.T) {
	w, l, log := fresh(), Limits{Deliveries: 5}, []Span{{0, 7}, {8, 10}}
	a := want(w, l, t0, "m", 2, log...)
	a.Strict = true
	g, _ := w.Acquire(a, l)
	require.Equal(t, []Grant{{0, 1, 1, 0}}, g)
	require.Equal(t, []Grant{{2, 7, 1, 0}}, take(t, w, l, t0, "m", 2, log...))
	require.Equal(t, []Grant{{8, 10, 1, 0}}, take(t, w, l, t0, "m", 2, log...))
	does(t, w, l, t0, "m", Action{First: 1, Last: 3, Kind: Release})
	require.Equal(t, []Grant{{1, 3, 2, 0}}, take(t, w, l, t0, "m", 1, log...))
}

func TestFullWindow(t *testing.T) {
	log := batchesOf(60, 3)
	for _, counts := range []bool{false, true} {
		w, l := fresh(), Limits{MaxRecords: 10, CountSettled: counts}
		require.Equal(t, []Grant{{0, 11, 1, 0}}, take(t, w, l, t0, "m", 50, log...), "whole batches, until the limit is reached")
		_, ok := w.Next(t0, l)
		require.False(t, ok)
		require.Empty(t, take(t, w, l, t0, "m", 50, log...))

		does(t, w, l, t0, "m", Action{First: 1, Last: 6, Kind: Accept})
		from, ok := w.Next(t0, l)
		require.Equal(t, !counts, ok, "settled records behind one that is not count in Kafka, and not in queues")
		require.EqualValues(t, 12, from)

		does(t, w, l, t0, "m", Action{First: 0, Last: 0, Kind: Release})
		from, ok = w.Next(t0, l)
		require.True(t, ok, "what came back is acquired in a full window, too")
		require.Zero(t, from)
	}
	// strictly, the limit is met to the record
	w := fresh()
	a := want(w, Limits{MaxRecords: 10}, t0, "m", 50, log...)
	a.Strict = true
	g, _ := w.Acquire(a, Limits{MaxRecords: 10})
	require.Equal(t, []Grant{{0, 9, 1, 0}}, g)
}

// Kafka 4.4 hands out fewer records together from half of the limit on, and the last time one. At it they are archived.
func TestRecordsNearTheLimitComeAlone(t *testing.T) {
	w, l, log := fresh(), Limits{Deliveries: 5}, []Span{{0, 7}, {8, 11}}
	var seen [][]Grant
	for {
		g := take(t, w, l, t0, "m", 500, log...)
		if len(g) == 0 {
			break
		}
		seen = append(seen, g)
		w.Commit(w.ReleaseHolder("m", t0, l), t0)
	}
	require.Equal(t, [][]Grant{{{0, 11, 1, 0}}, {{0, 11, 2, 0}}, {{0, 11, 3, 0}}, {{0, 5, 4, 0}}}, seen[:4])
	var alone []int64
	for _, g := range seen[4:] {
		require.Len(t, g, 1)
		if g[0].Deliveries == 5 {
			require.Equal(t, g[0].First, g[0].Last)
			alone = append(alone, g[0].First)
		}
	}
	require.Equal(t, []int64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, alone)
	require.EqualValues(t, 12, w.Start())
}

func TestSettleRefuses(t *testing.T) {
	l := Limits{Deliveries: 5}
	setup := func() *Window {
		w := fresh()
		take(t, w, l, t0, "m", 10, Span{0, 9})
		does(t, w, l, t0, "m", Action{First: 0, Last: 1, Kind: Accept}, Action{First: 4, Last: 4, Kind: Accept}, Action{First: 5, Last: 5, Kind: Release})
		take(t, w, l, t0, "other", 1, Span{5, 5})
		_, err := w.Settle("m", []Action{{First: 9, Last: 9, Kind: Accept}}, t0, l)
		require.NoError(t, err) // and stays in flight
		return w
	}
	late := t0.Add(time.Hour)
	for name, x := range map[string]struct {
		actions []Action
		now     time.Time
		err     error
	}{
		"settled before":            {[]Action{{First: 4, Last: 4, Kind: Accept}}, t0, ErrState},
		"someone else's":            {[]Action{{First: 5, Last: 5, Kind: Accept}}, t0, ErrState},
		"half someone else's":       {[]Action{{First: 2, Last: 5, Kind: Accept}}, t0, ErrState},
		"the second action":         {[]Action{{First: 2, Last: 2, Kind: Accept}, {First: 5, Last: 5, Kind: Accept}}, t0, ErrState},
		"in a change":               {[]Action{{First: 9, Last: 9, Kind: Release}}, t0, ErrState},
		"named twice":               {[]Action{{First: 2, Last: 3, Kind: Accept}, {First: 3, Last: 3, Kind: Accept}}, t0, ErrState},
		"another delivery":          {[]Action{{First: 2, Last: 2, Kind: Accept, Delivery: 2}}, t0, ErrState},
		"too late":                  {[]Action{{First: 2, Last: 2, Kind: Accept}}, late, ErrState},
		"renewed too late":          {[]Action{{First: 2, Last: 2, Kind: Renew, Until: late}}, late, ErrState},
		"never acquired":            {[]Action{{First: 10, Last: 10, Kind: Accept}}, t0, ErrRange},
		"half never acquired":       {[]Action{{First: 8, Last: 12, Kind: Accept}}, t0, ErrRange},
		"backwards":                 {[]Action{{First: 3, Last: 2, Kind: Accept}}, t0, ErrRange},
		"no kind":                   {[]Action{{First: 2, Last: 2, Kind: 7}}, t0, ErrRange},
		"below the start":           {[]Action{{First: 0, Last: 1, Kind: Accept}}, t0, nil},
		"in part below the start":   {[]Action{{First: 0, Last: 3, Kind: Accept}}, t0, nil},
		"out of order":              {[]Action{{First: 3, Last: 3, Kind: Accept}, {First: 2, Last: 2, Kind: Reject}}, t0, nil},
		"the delivery it is":        {[]Action{{First: 2, Last: 2, Kind: Accept, Delivery: 1}}, t0, nil},
		"by force":                  {[]Action{{First: 5, Last: 5, Kind: Accept, Force: true}}, t0, nil},
		"by force, though too late": {[]Action{{First: 2, Last: 2, Kind: Release, Force: true}}, late, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := setup()
			before := slices.Collect(w.Ranges(0))
			c, err := w.Settle("m", x.actions, x.now, l)
			require.ErrorIs(t, err, x.err)
			if x.err != nil {
				require.Nil(t, c)
				require.Equal(t, before, slices.Collect(w.Ranges(0)))
			}
			check(t, w)
		})
	}
}

func TestWhatIsSettledBelowStartNeedsNoWrite(t *testing.T) {
	w := fresh()
	take(t, w, Limits{}, t0, "m", 2, Span{0, 1})
	require.NotNil(t, does(t, w, Limits{}, t0, "m", Action{First: 0, Last: 1, Kind: Accept}))
	require.Nil(t, does(t, w, Limits{}, t0, "m", Action{First: 0, Last: 1, Kind: Accept}))
}

// What becomes of a record that was delivered and failed this often, by each kind and by running out.
func TestGivenBack(t *testing.T) {
	const runOut = Kind(-1)
	kafka, queue := Limits{Deliveries: 3}, Limits{Failures: 3}
	letters := func(l Limits) Limits { l.DeadLetter = true; return l }
	for name, x := range map[string]struct {
		deliveries int16 // this one included
		failures   int32
		kind       Kind
		l          Limits
		state      share.State
		fails      int32
		add        share.Counters
	}{
		"accept":                            {1, 0, Accept, kafka, share.Acknowledged, 0, share.Counters{Accepted: 1}},
		"reject":                            {1, 0, Reject, kafka, share.Archived, 0, share.Counters{Rejected: 1}},
		"gap":                               {1, 0, Gap, kafka, share.Archived, 0, share.Counters{}},
		"kafka: release":                    {2, 0, Release, kafka, share.Available, 0, share.Counters{}},
		"kafka: release at the limit":       {3, 0, Release, kafka, share.Archived, 0, share.Counters{Rejected: 1}},
		"kafka: run out":                    {2, 1, runOut, kafka, share.Available, 2, share.Counters{}},
		"kafka: run out at the limit":       {3, 0, runOut, kafka, share.Archived, 1, share.Counters{Rejected: 1}},
		"kafka: dead letter":                {3, 0, Release, letters(kafka), share.Archiving, 0, share.Counters{}},
		"queue: release does not count":     {30, 2, Release, queue, share.Available, 2, share.Counters{}},
		"queue: fail":                       {1, 1, Fail, queue, share.Available, 2, share.Counters{}},
		"queue: fail at the limit":          {1, 2, Fail, queue, share.Archived, 3, share.Counters{Rejected: 1}},
		"queue: run out at the limit":       {1, 2, runOut, letters(queue), share.Archiving, 3, share.Counters{}},
		"queue: no limit":                   {99, 99, Fail, Limits{}, share.Available, 100, share.Counters{}},
		"dead letter whatever the settings": {1, 0, DeadLetter, Limits{}, share.Archiving, 0, share.Counters{}},
		"saturated":                         {math.MaxInt16, 0, Release, Limits{}, share.Available, 0, share.Counters{}},
	} {
		t.Run(name, func(t *testing.T) {
			w := New(share.Stored{Batches: []share.Batch{{First: 0, Last: 0, State: share.Acquired, Holder: "m", Until: t0.UnixMilli() + 1,
				Deliveries: x.deliveries, Failures: x.failures}}}, 0, t0)
			var c *Change
			var err error
			if x.kind == runOut {
				c = w.Expire(t0.Add(time.Second), x.l)
			} else {
				c, err = w.Settle("m", []Action{{Kind: x.kind}}, t0, x.l)
			}
			require.NoError(t, err)
			require.Equal(t, []share.Batch{{State: x.state, Deliveries: x.deliveries, Failures: x.fails}}, c.Batches)
			require.Equal(t, x.add, c.Add)
			require.Equal(t, x.state == share.Archiving, len(c.DeadLetters) == 1)
			w.Commit(c, t0)
			check(t, w)
			g := take(t, w, x.l, t0, "n", 1, Span{0, 0})
			require.Equal(t, x.state == share.Available, len(g) == 1)
			if len(g) == 1 {
				require.EqualValues(t, min(int(x.deliveries)+1, math.MaxInt16), g[0].Deliveries)
			}
		})
	}
}
