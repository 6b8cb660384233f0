package quota

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

func TestTakeWaitsUntilBytesAreGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(100)
		var a, c Lease
		require.NoError(t, b.Take(t.Context(), &a, 80))
		done := false
		go func() {
			_ = b.Take(context.Background(), &c, 30)
			done = true
		}()
		synctest.Wait()
		require.False(t, done)
		require.Equal(t, 1, b.Waiting())
		a.Release()
		synctest.Wait()
		require.True(t, done)
		require.EqualValues(t, 30, b.Used())
		c.Release()
		require.Zero(t, b.Used())
	})
}

func TestWaitersAreServedInOrderSoThatLargeOnesDoNotStarve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(100)
		var held Lease
		require.NoError(t, b.Take(t.Context(), &held, 50))
		var mu sync.Mutex
		var order []string
		take := func(name string, n int64) {
			go func() {
				var l Lease
				_ = b.Take(context.Background(), &l, n)
				mu.Lock()
				order = append(order, name)
				mu.Unlock()
				l.Release()
			}()
			synctest.Wait()
		}
		take("large", 95)
		take("small", 10) // would fit now, but came later
		require.Empty(t, order)
		held.Release()
		synctest.Wait()
		require.Equal(t, []string{"large", "small"}, order)
	})
}

func TestLeaseLargerThanTheBudgetGetsThroughAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(100)
		var small, big, other Lease
		require.NoError(t, b.Take(t.Context(), &small, 10))
		require.NoError(t, b.Take(t.Context(), &big, 1000))
		otherDone := false
		go func() {
			_ = b.Take(context.Background(), &other, 500)
			otherDone = true
		}()
		synctest.Wait()
		require.False(t, otherDone, "two leases overdraw at once")
		big.Release()
		synctest.Wait()
		require.True(t, otherDone)
		other.Release()
		small.Release()
		require.Zero(t, b.Used())
	})
}

func TestGrowersHoldingTheWholeBudgetFinishOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const growers = 10
		b := NewBudget(100)
		finished := 0
		var mu sync.Mutex
		var peak int64
		var started sync.WaitGroup
		started.Add(growers)
		for range growers {
			go func() {
				var l Lease
				_ = b.Take(context.Background(), &l, 10)
				started.Done()
				started.Wait() // all of the budget is held now
				for range 3 {
					_ = b.Take(context.Background(), &l, 10)
				}
				mu.Lock()
				finished++
				peak = max(peak, b.Used())
				mu.Unlock()
				l.Release()
			}()
		}
		synctest.Wait()
		require.Equal(t, growers, finished)
		require.LessOrEqual(t, peak, int64(100+40))
		require.Zero(t, b.Used())
	})
}

func TestEndOfContextLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(100)
		var held, gone, next Lease
		require.NoError(t, b.Take(t.Context(), &held, 60))
		ctx, cancel := context.WithCancelCause(context.Background())
		var err error
		go func() { err = b.Take(ctx, &gone, 90) }()
		synctest.Wait()
		nextDone := false
		go func() {
			_ = b.Take(context.Background(), &next, 20)
			nextDone = true
		}()
		synctest.Wait()
		require.False(t, nextDone, "passed by a waiter that came before")
		cause := errors.New("connection gone")
		cancel(cause)
		synctest.Wait()
		require.ErrorIs(t, err, cause)
		require.Zero(t, gone.Held())
		require.True(t, nextDone)
		require.EqualValues(t, 80, b.Used())
	})
}

func TestBudgetHoldsUnderManyLeases(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	b := NewBudget(1000)
	var all sync.WaitGroup
	for i := range 16 {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		all.Go(func() {
			for range 2000 {
				var l Lease
				ctx, cancel := context.WithCancel(context.Background())
				if r.IntN(4) == 0 {
					cancel()
				}
				for range 1 + r.IntN(3) {
					_ = b.Take(ctx, &l, int64(r.IntN(300)))
				}
				if used := b.Used(); used > 1000+3*300 {
					t.Errorf("budget of 1000 holds %d", used)
				}
				l.Release()
				cancel()
			}
		})
	}
	all.Wait()
	require.Zero(t, b.Used())
	require.Zero(t, b.Waiting())
}

func TestDefaultFollowsTheMemoryThereIs(t *testing.T) {
	require.EqualValues(t, mostBudget, share(16<<30))
	require.EqualValues(t, 128<<20, share(1<<30))
	require.EqualValues(t, leastBudget, share(64<<20))
	old := debug.SetMemoryLimit(512 << 20)
	defer debug.SetMemoryLimit(old)
	require.EqualValues(t, 64<<20, DefaultBytes())
}

func BenchmarkTakeAndRelease(b *testing.B) {
	budget := NewBudget(1 << 30)
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		var l Lease
		_ = budget.Take(ctx, &l, 1000)
		l.Release()
	}
}
