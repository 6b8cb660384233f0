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

func TestWaitersRunOnceTheirOffsetIsPassed(t *testing.T) {
	var w offsetWaiters
	var passed atomic.Int64
	var ran []int64
	park := func(end int64) {
		ok, err := w.add(end, passed.Load, func(err error) {
			require.NoError(t, err)
			ran = append(ran, end)
		})
		require.NoError(t, err)
		require.True(t, ok)
	}
	for _, end := range []int64{5, 7, 6, 3, 9} {
		park(end)
	}
	advance := func(to int64) { passed.Store(to); w.release(to) }
	advance(2)
	require.Empty(t, ran)
	advance(6)
	require.ElementsMatch(t, []int64{5, 6, 3}, ran)
	advance(100)
	require.ElementsMatch(t, []int64{5, 6, 3, 7, 9}, ran)
	require.Zero(t, w.waiting())
	ok, err := w.add(100, passed.Load, nil)
	require.NoError(t, err)
	require.False(t, ok, "an offset already passed is not waited for")
}

func TestWaitersFailTogether(t *testing.T) {
	var w offsetWaiters
	why := errors.New("gone")
	failed := 0
	for _, end := range []int64{2, 1} {
		_, err := w.add(end, func() int64 { return 0 }, func(err error) {
			require.ErrorIs(t, err, why)
			failed++
		})
		require.NoError(t, err)
	}
	w.fail(why, true)
	require.Equal(t, 2, failed)
	_, err := w.add(1, func() int64 { return 0 }, nil)
	require.ErrorIs(t, err, why)
}

// Parking and advancing at the same time must neither lose a waiter nor run one early or twice.
func TestWaitersUnderConcurrentAdvance(t *testing.T) {
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	const parkers, each = 8, 2000
	var w offsetWaiters
	var passed, ran atomic.Int64
	var wg sync.WaitGroup
	for i := range parkers {
		r := rand.New(rand.NewSource(seed + int64(i)))
		wg.Go(func() {
			for range each {
				end := passed.Load() + int64(r.Intn(20))
				fn := func(error) {
					if passed.Load() < end {
						t.Errorf("ran at %d, waited for %d", passed.Load(), end)
					}
					ran.Add(1)
				}
				if ok, err := w.add(end, passed.Load, fn); err != nil || !ok {
					fn(err)
				}
			}
		})
	}
	parked := make(chan struct{})
	go func() { wg.Wait(); close(parked) }()
	for {
		w.release(passed.Add(1))
		select {
		case <-parked:
			w.release(passed.Add(100))
			require.Equal(t, int64(parkers*each), ran.Load())
			return
		default:
		}
	}
}

func BenchmarkParkAndRelease(b *testing.B) {
	var w offsetWaiters
	var passed atomic.Int64
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		_, _ = w.add(passed.Load()+1, passed.Load, func(error) {})
		w.release(passed.Add(1))
	}
}
