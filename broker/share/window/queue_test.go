package window

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/coordinator/share"
)

func TestBackoff(t *testing.T) {
	w, l := fresh(), Limits{Backoff: func(n int32) time.Duration { return time.Duration(n) * time.Minute }}
	at := func(d time.Duration) time.Time { return t0.Add(d) }
	take(t, w, l, t0, "m", 2, Span{0, 1})
	require.Equal(t, at(30*time.Second), w.Deadline())
	does(t, w, l, at(time.Second), "m", Action{First: 0, Last: 0, Kind: Fail})
	require.Equal(t, at(30*time.Second), w.Deadline(), "of the other")
	from, ok := w.Next(at(time.Minute), l)
	require.True(t, ok)
	require.EqualValues(t, 2, from)

	// the other's lease runs out; its back-off counts from then, however late that is seen
	w.Commit(w.Expire(at(50*time.Second), l), at(50*time.Second))
	require.Equal(t, at(61*time.Second), w.Deadline())
	require.Equal(t, []share.Batch{
		{First: 0, Last: 0, Deliveries: 1, Failures: 1, Until: at(61 * time.Second).UnixMilli()},
		{First: 1, Last: 1, Deliveries: 1, Failures: 1, Until: at(90 * time.Second).UnixMilli()},
	}, slices.Collect(w.Ranges(0)))

	require.Nil(t, w.Expire(at(61*time.Second), l), "free again, which nobody has to write down")
	require.Equal(t, []Span{{0, 0}, {2, math.MaxInt64}}, slices.Collect(w.Free(0, at(61*time.Second), l)))
	require.Equal(t, []Grant{{0, 0, 2, 1}}, take(t, w, l, at(61*time.Second), "m", 5, Span{0, 1}))
	require.Equal(t, []Grant{{1, 1, 2, 1}}, take(t, w, l, at(90*time.Second), "m", 5, Span{0, 1}), "without an Expire before")
}

func TestOrdered(t *testing.T) {
	l := Limits{Ordered: true, Failures: 2, DeadLetter: true, Backoff: func(int32) time.Duration { return time.Minute }}
	log := batchesOf(8, 2)
	w := fresh()
	none := func(now time.Time, why string) {
		t.Helper()
		_, ok := w.Next(now, l)
		require.False(t, ok, why)
		require.Empty(t, slices.Collect(w.Free(0, now, l)), why)
		require.Empty(t, take(t, w, l, now, "n", 5, log...), why)
	}
	require.Equal(t, []Grant{{0, 3, 1, 0}}, take(t, w, l, t0, "m", 3, log...))
	none(t0, "all lower ones are held")
	does(t, w, l, t0, "m", Action{First: 1, Last: 2, Kind: Accept})
	none(t0, "0 and 3 are held")
	does(t, w, l, t0, "m", Action{First: 3, Last: 3, Kind: Release})
	none(t0, "0 is held")

	c, err := w.Settle("m", []Action{{First: 0, Last: 0, Kind: Release}}, t0, l)
	require.NoError(t, err)
	none(t0, "0 is in a change")
	w.Commit(c, t0)
	require.Equal(t, []Grant{{0, 0, 2, 0}, {3, 3, 2, 0}, {4, 5, 1, 0}}, take(t, w, l, t0, "m", 4, log...), "from the earliest unsettled one")

	does(t, w, l, t0, "m", Action{First: 0, Last: 0, Kind: Fail}, Action{First: 3, Last: 5, Kind: Release})
	none(t0, "0 backs off")
	now := t0.Add(time.Minute)
	require.Equal(t, []Grant{{0, 0, 3, 1}}, take(t, w, l, now, "m", 1, log...))
	does(t, w, l, now, "m", Action{First: 0, Last: 0, Kind: Fail})
	require.Len(t, slices.Collect(w.DeadLetters(0)), 1)
	require.Equal(t, []Grant{{3, 3, 3, 0}, {4, 5, 2, 0}}, take(t, w, l, now, "m", 3, log...), "0 stepped aside")
}

// An ordered window stops at a record that the caller does not take now, though later ones are wanted.
func TestOrderedStopsAtWhatIsNotWanted(t *testing.T) {
	for _, ordered := range []bool{true, false} {
		w, l := fresh(), Limits{Ordered: ordered}
		a := want(w, l, t0, "m", 9, Span{0, 5})
		a.Want, a.Filtered = []Span{{1, 1}, {4, 5}}, []Span{{0, 0}, {2, 2}}
		g, c := w.Acquire(a, l)
		require.EqualValues(t, 2, c.Add.Filtered)
		require.Equal(t, []share.Batch{{First: 0, Last: 0, State: share.Archived}, {First: 2, Last: 2, State: share.Archived}}, c.Batches)
		if ordered {
			require.Equal(t, []Grant{{1, 1, 1, 0}}, g)
			require.EqualValues(t, 3, w.End())
		} else {
			require.Equal(t, []Grant{{1, 1, 1, 0}, {4, 5, 1, 0}}, g)
		}
	}
}

// A label rule under which most of the log is filtered does not fill the window, and what is filtered behind the last
// record that is taken is settled with it.
func TestFiltered(t *testing.T) {
	w, l := fresh(), Limits{MaxRecords: 3, Durable: true}
	a := want(w, l, t0, "m", 1, batchesOf(100, 10)...)
	a.Want, a.Filtered = []Span{{50, 50}, {90, 90}}, []Span{{0, 49}, {51, 89}, {91, 99}}
	g, c := w.Acquire(a, l)
	require.Equal(t, []Grant{{50, 50, 1, 0}}, g)
	require.EqualValues(t, 89, c.Add.Filtered)
	w.Commit(c, t0)
	require.EqualValues(t, 50, w.Start())
	require.EqualValues(t, 90, w.End())
	from, ok := w.Next(t0, l)
	require.True(t, ok)
	require.EqualValues(t, 90, from)
}

func TestOffsetsWithoutRecords(t *testing.T) {
	w, l := fresh(), Limits{}
	a := want(w, l, t0, "m", 10, Span{2, 3}, Span{6, 7})
	a.Read.Last, a.Strict = 8, true // 8: a control record
	g, c := w.Acquire(a, l)
	require.Nil(t, c, "the next change is soon enough")
	require.Equal(t, []Grant{{2, 3, 1, 0}, {6, 7, 1, 0}}, g)
	require.EqualValues(t, 2, w.Start())

	c = does(t, w, l, t0, "m", Action{First: 2, Last: 3, Kind: Accept}, Action{First: 6, Last: 7, Kind: Accept})
	require.EqualValues(t, 9, w.Start())
	require.EqualValues(t, 2, c.Start)
	require.Equal(t, []share.Batch{
		{First: 2, Last: 3, State: share.Acknowledged, Deliveries: 1}, {First: 4, Last: 5, State: share.Archived},
		{First: 6, Last: 7, State: share.Acknowledged, Deliveries: 1}, {First: 8, Last: 8, State: share.Archived},
	}, c.Batches, "so that nothing is left to lag behind")
	require.EqualValues(t, 4, c.Add.Accepted)

	_, c = w.Acquire(Acquire{Now: t0, Read: Span{9, 20}, MaxRecords: 5}, l)
	require.Equal(t, &Change{Start: 21, Batches: c.Batches}, c, "there may be no next change")
	require.Empty(t, c.Batches)
}

func TestDurableAcquisition(t *testing.T) {
	w, l := fresh(), Limits{Durable: true, Failures: 2}
	g, c := w.Acquire(want(w, l, t0, "m", 2, Span{0, 1}), l)
	until := t0.Add(30 * time.Second)
	require.Equal(t, []Grant{{0, 1, 1, 0}}, g)
	require.Equal(t, []share.Batch{{First: 0, Last: 1, State: share.Acquired, Deliveries: 1, Holder: "m", Until: until.UnixMilli()}}, c.Batches)
	require.Empty(t, slices.Collect(w.Held("m", 0)), "not before it is durable")
	require.Nil(t, w.ReleaseHolder("m", t0, l))
	require.Empty(t, take(t, w, l, t0, "n", 2, Span{0, 1}))
	w.Rollback(c, t0)
	require.Zero(t, w.End())

	require.Len(t, take(t, w, l, t0, "m", 2, Span{0, 1}), 1)
	require.Equal(t, []Grant{{1, 1, 1, 0}}, slices.Collect(w.Held("m", 1)))
	require.EqualValues(t, 2, w.InFlight())

	// a renewal that is not durable does not count
	c, err := w.Settle("m", []Action{{First: 0, Last: 1, Kind: Renew, Until: until.Add(time.Minute)}}, t0, l)
	require.NoError(t, err)
	require.Equal(t, until.Add(time.Minute).UnixMilli(), c.Batches[0].Until)
	require.Zero(t, w.Deadline(), "what is busy does not run out")
	w.Rollback(c, t0)
	require.Equal(t, until, w.Deadline())

	require.Nil(t, w.Expire(until, l), "what is kept says that it ended")
	require.Equal(t, []Grant{{0, 1, 2, 1}}, take(t, w, l, until, "n", 2, Span{0, 1}))
	c = w.Expire(until.Add(time.Minute), l)
	require.Equal(t, share.Archived, c.Batches[0].State, "the limit is written")
}

func TestReadBack(t *testing.T) {
	now, later := t0.UnixMilli(), t0.Add(time.Minute).UnixMilli()
	in := &share.Intent{Sequence: 7}
	l := Limits{Durable: true, Failures: 2, DeadLetter: true, Backoff: func(int32) time.Duration { return 10 * time.Second }}
	w := New(share.Stored{Start: 5, Batches: []share.Batch{
		{First: 3, Last: 6, State: share.Acknowledged}, // in part below the start
		{First: 7, Last: 7, State: share.Acquired, Deliveries: 1, Holder: "m", Until: later},
		{First: 9, Last: 10, State: share.Acquired, Deliveries: 1, Holder: "m", Until: now - 2000},
		{First: 11, Last: 11, State: share.Acquired, Deliveries: 2, Failures: 1, Holder: "m", Until: now},
		{First: 12, Last: 13, State: share.Archiving, Deliveries: 3, Intent: in},
		{First: 14, Last: 14, State: share.Available, Deliveries: 1, Failures: 1, Until: later},
		{First: 15, Last: 15, State: share.Available, Deliveries: 1, Failures: 1, Until: now},
	}}, 0, t0)
	check(t, w)
	require.EqualValues(t, 7, w.Start())
	require.EqualValues(t, 16, w.End())
	require.Equal(t, t0.Add(-2*time.Second), w.Deadline())

	c := w.Expire(t0, l)
	require.Equal(t, []share.Batch{{First: 11, Last: 11, State: share.Archiving, Deliveries: 2, Failures: 2}}, c.Batches)
	require.Equal(t, c.Batches, c.DeadLetters)
	w.Commit(c, t0)
	require.Equal(t, []share.Batch{
		{First: 7, Last: 7, State: share.Acquired, Deliveries: 1, Holder: "m", Until: later},
		{First: 8, Last: 8},
		{First: 9, Last: 10, Deliveries: 1, Failures: 1, Until: now + 8000},
		{First: 11, Last: 11, State: share.Archiving, Deliveries: 2, Failures: 2},
		{First: 12, Last: 13, State: share.Archiving, Deliveries: 3, Intent: in},
		{First: 14, Last: 14, Deliveries: 1, Failures: 1, Until: later},
		{First: 15, Last: 15, Deliveries: 1, Failures: 1},
	}, slices.Collect(w.Ranges(0)))
	require.Equal(t, []Grant{{8, 8, 1, 0}, {15, 15, 2, 1}}, take(t, w, l, t0, "n", 2, Span{5, 15}))
	does(t, w, l, t0, "m", Action{First: 7, Last: 7, Kind: Accept})
}

func TestDeadLetters(t *testing.T) {
	w, l := fresh(), Limits{Failures: 1, DeadLetter: true}
	take(t, w, l, t0, "m", 6, Span{0, 5})
	c, err := w.Settle("m", []Action{{First: 0, Last: 3, Kind: Fail}, {First: 4, Last: 4, Kind: DeadLetter}}, t0, l)
	require.NoError(t, err)
	require.Len(t, c.DeadLetters, 2)
	in := &share.Intent{Sequence: 1}
	require.ErrorIs(t, c.SetIntent(Span{0, 1}, in), ErrRange)
	require.NoError(t, c.SetIntent(Span{4, 4}, in))
	require.Equal(t, in, c.Batches[1].Intent)
	require.Empty(t, slices.Collect(w.DeadLetters(0)), "not yet")
	w.Commit(c, t0)
	letter := func(first, last int64, failures int32, in *share.Intent) share.Batch {
		return share.Batch{First: first, Last: last, State: share.Archiving, Deliveries: 1, Failures: failures, Intent: in}
	}
	require.Equal(t, []share.Batch{letter(0, 3, 1, nil), letter(4, 4, 0, in)}, slices.Collect(w.DeadLetters(0)))

	// part of a range may go first; what has an intent is one copy and stays one
	two := &share.Intent{Sequence: 2}
	c, err = w.Intend(Span{0, 1}, two)
	require.NoError(t, err)
	require.Equal(t, []share.Batch{letter(0, 1, 1, two)}, c.Batches)
	require.Empty(t, c.DeadLetters)
	w.Commit(c, t0)
	require.Equal(t, []share.Batch{letter(0, 1, 1, two), letter(2, 3, 1, nil), letter(4, 4, 0, in)}, slices.Collect(w.DeadLetters(0)))
	for _, s := range []Span{{0, 0}, {1, 2}, {5, 5}, {6, 6}} {
		_, err = w.Intend(s, nil)
		require.ErrorIs(t, err, ErrState, s)
	}
	c, err = w.Intend(Span{0, 1}, nil)
	require.NoError(t, err)
	w.Commit(c, t0)
	require.Equal(t, letter(0, 3, 1, nil), slices.Collect(w.DeadLetters(0))[0])

	_, err = w.Copied(Span{4, 5})
	require.ErrorIs(t, err, ErrState)
	c, err = w.Copied(Span{4, 4})
	require.NoError(t, err)
	require.Equal(t, share.Counters{DeadLettered: 1}, c.Add)
	require.Equal(t, []share.Batch{{First: 4, Last: 4, State: share.Archived, Deliveries: 1}}, c.Batches)
	w.Commit(c, t0)
	c, err = w.Abandon(Span{0, 3})
	require.NoError(t, err)
	require.Equal(t, share.Counters{Rejected: 4}, c.Add)
	w.Commit(c, t0)
	check(t, w)
	require.EqualValues(t, 5, w.Start())
	c, err = w.Copied(Span{4, 4})
	require.NoError(t, err)
	require.Nil(t, c, "done before")
}

func TestLogStartAdvances(t *testing.T) {
	l := Limits{Failures: 1, DeadLetter: true}
	setup := func() (*Window, *Change) {
		w := fresh()
		take(t, w, l, t0, "m", 6, Span{0, 5})
		does(t, w, l, t0, "m", Action{First: 1, Last: 1, Kind: Accept}, Action{First: 2, Last: 2, Kind: Fail})
		c, err := w.Settle("m", []Action{{First: 3, Last: 3, Kind: Accept}, {First: 4, Last: 4, Kind: Release}}, t0, l)
		require.NoError(t, err)
		return w, c
	}
	w, c := setup()
	require.Nil(t, w.AdvanceStart(0, t0))
	gone := w.AdvanceStart(10, t0)
	check(t, w)
	require.EqualValues(t, 10, w.Start())
	require.Zero(t, w.InFlight())
	require.Zero(t, w.Deadline())
	require.Equal(t, &Change{Start: 10, Add: share.Counters{Skipped: 7}, owed: share.Counters{Skipped: 7}}, gone, "0, 2, 5 and 6 to 9")
	w.Commit(gone, t0)
	// Of what was in flight, 3 was accepted; 4 was given back for nobody to take, which the next change says.
	w.Commit(c, t0)
	take(t, w, l, t0, "m", 1, Span{10, 10})
	c = does(t, w, l, t0, "m", Action{First: 10, Last: 10, Kind: Accept})
	require.Equal(t, share.Counters{Accepted: 1, Skipped: 1}, c.Add)

	// Rolled back, both are to be counted.
	w, c = setup()
	gone = w.AdvanceStart(10, t0)
	w.Rollback(c, t0)
	w.Rollback(gone, t0)
	check(t, w)
	require.Equal(t, share.Counters{Skipped: 10 - 1}, w.AdvanceStart(11, t0).Add.Add(share.Counters{Skipped: -1}))
}

// The holder's late answer finds the lease of another.
func TestHeldByTheNext(t *testing.T) {
	w, l := fresh(), Limits{}
	take(t, w, l, t0, "m", 1, Span{0, 0})
	now := t0.Add(time.Minute)
	w.Commit(w.Expire(now, l), now)
	take(t, w, l, now, "n", 1, Span{0, 0})
	_, err := w.Settle("m", []Action{{Kind: Accept}}, now, l)
	require.ErrorIs(t, err, ErrState)
	does(t, w, l, now, "n", Action{Kind: Accept, Delivery: 2})
}

// TestNothingEndsWithinAMillisecondTooEarly: what is kept is whole milliseconds, and the clock shows fractions.
func TestNothingEndsWithinAMillisecondTooEarly(t *testing.T) {
	now, l := t0.Add(700*time.Microsecond), Limits{Backoff: func(int32) time.Duration { return time.Minute }}
	w := fresh()
	take(t, w, l, now, "m", 2, Span{0, 1})
	require.Equal(t, t0.Add(30*time.Second+time.Millisecond), w.Deadline(), "of the leases")
	does(t, w, l, now, "m", Action{First: 0, Last: 0, Kind: Fail}, Action{First: 1, Last: 1, Kind: Renew, Until: now.Add(2 * time.Minute)})
	require.Equal(t, t0.Add(time.Minute+time.Millisecond), w.Deadline(), "of the back-off")
	require.Nil(t, w.Expire(w.Deadline(), l))
	require.Equal(t, t0.Add(2*time.Minute+time.Millisecond), w.Deadline(), "of the renewed lease")
}
