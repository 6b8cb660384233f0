package replica

import (
	"errors"
	"math/rand"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func notLost() error { return nil }

// release runs who waited up to passed.
func release(w *offsetWaiters, passed int64) {
	for _, x := range w.take(passed, nil) {
		x.fn(nil)
	}
}

func TestWaitersRunOnceTheirOffsetIsPassed(t *testing.T) {
	var total atomic.Int64
	w := offsetWaiters{total: &total}
	var passed atomic.Int64
	var ran []int64
	for _, end := range []int64{5, 7, 6, 3, 9} {
		ok, err := w.add(offsetWaiter{end: end, fn: func(error) { ran = append(ran, end) }}, passed.Load, notLost)
		require.NoError(t, err)
		require.True(t, ok)
	}
	advance := func(to int64) { passed.Store(to); release(&w, to) }
	advance(2)
	require.Empty(t, ran)
	require.EqualValues(t, 5, total.Load())
	advance(6)
	require.ElementsMatch(t, []int64{5, 6, 3}, ran)
	require.EqualValues(t, 2, total.Load())
	advance(100)
	require.ElementsMatch(t, []int64{5, 6, 3, 7, 9}, ran)
	require.Zero(t, w.waiting())
	require.Zero(t, total.Load())
	ok, err := w.add(offsetWaiter{end: 100}, passed.Load, notLost)
	require.NoError(t, err)
	require.False(t, ok, "an offset already passed is not waited for")
}

func TestWaitersFailSaveThoseOfTheEpochKept(t *testing.T) {
	var total atomic.Int64
	w := offsetWaiters{total: &total}
	why := errors.New("gone")
	var failed []int64
	for i, end := range []int64{2, 1, 4, 3} {
		x := offsetWaiter{end: end, epoch: int32(i % 2), fn: func(err error) {
			require.ErrorIs(t, err, why)
			failed = append(failed, end)
		}}
		_, err := w.add(x, func() int64 { return 0 }, notLost)
		require.NoError(t, err)
	}
	w.fail(why, 1)
	require.ElementsMatch(t, []int64{2, 4}, failed)
	require.Equal(t, 2, w.waiting())
	w.fail(why, noEpoch)
	require.ElementsMatch(t, []int64{2, 4, 1, 3}, failed)
	require.Zero(t, total.Load())
	_, err := w.add(offsetWaiter{end: 1}, func() int64 { return 0 }, func() error { return why })
	require.ErrorIs(t, err, why)
}

// Parking, advancing and ends of epochs at the same time must neither lose a waiter nor run one early or twice.
func TestWaitersUnderConcurrentAdvanceAndEnds(t *testing.T) {
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	const parkers, each = 8, 2000
	var w offsetWaiters
	var passed, ran, lost atomic.Int64
	var epoch atomic.Int32
	over := errors.New("over")
	var wg sync.WaitGroup
	for i := range parkers {
		r := rand.New(rand.NewSource(seed + int64(i)))
		wg.Go(func() {
			for range each {
				end, mine := passed.Load()+int64(r.Intn(20)), epoch.Load()
				var calls atomic.Int32
				fn := func(err error) {
					if calls.Add(1) > 1 {
						t.Error("ran twice")
					}
					if err == nil && passed.Load() < end {
						t.Errorf("ran at %d, waited for %d", passed.Load(), end)
					}
					if err != nil {
						lost.Add(1)
						if epoch.Load() == mine {
							t.Error("failed in an epoch that goes on")
						}
					}
					ran.Add(1)
				}
				gone := func() error {
					if epoch.Load() != mine {
						return over
					}
					return nil
				}
				if ok, err := w.add(offsetWaiter{end: end, epoch: mine, fn: fn}, passed.Load, gone); err != nil || !ok {
					fn(err)
				}
			}
		})
	}
	parked := make(chan struct{})
	go func() { wg.Wait(); close(parked) }()
	for i := 0; ; i++ {
		release(&w, passed.Add(1))
		if i%50 == 0 {
			w.fail(over, epoch.Add(1))
		}
		select {
		case <-parked:
			release(&w, passed.Add(100))
			require.Equal(t, int64(parkers*each), ran.Load())
			require.Zero(t, w.waiting())
			return
		default:
		}
	}
}

type countingWatcher struct{ n atomic.Int32 }

func (c *countingWatcher) PartitionChanged(*Partition) { c.n.Add(1) }

func TestWatchersComeAndGo(t *testing.T) {
	var w watchers
	var seen countingWatcher
	watches := make([]Watch, 20)
	for i := range watches {
		watches[i].To = &seen
		w.add(&watches[i])
	}
	w.add(&watches[3]) // a second time changes nothing
	w.wake(nil)
	require.EqualValues(t, 20, seen.n.Load())
	for _, i := range rand.Perm(20)[:15] {
		w.remove(&watches[i])
		w.remove(&watches[i])
	}
	w.wake(nil)
	require.EqualValues(t, 25, seen.n.Load())
	for i := range watches {
		w.remove(&watches[i])
	}
	w.wake(nil)
	require.EqualValues(t, 25, seen.n.Load())
	require.Nil(t, w.first)
}

func BenchmarkParkAndRelease(b *testing.B) {
	var w offsetWaiters
	var passed atomic.Int64
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		_, _ = w.add(offsetWaiter{end: passed.Load() + 1, fn: func(error) {}}, passed.Load, notLost)
		release(&w, passed.Add(1))
	}
}
