package runtime

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// schedule sets a timer of the shard, after a while.
func (r *tallyRun) schedule(name string, after time.Duration) {
	r.t.Helper()
	require.NoError(r.t, r.Do(0, func(_ *tally, _ View) Outcome {
		return Outcome{Then: func(tx *Tx) { tx.Schedule(Timer{Of: name}, tx.Now().Add(after)) }}
	}))
}

func (r *tallyRun) cancel(name string) {
	r.t.Helper()
	require.NoError(r.t, r.Do(0, func(_ *tally, _ View) Outcome {
		return Outcome{Then: func(tx *Tx) { tx.Cancel(Timer{Of: name}) }}
	}))
}

func (r *tallyRun) fired() []string {
	r.t.Helper()
	synctest.Wait()
	var names []string
	require.NoError(r.t, r.Do(0, func(m *tally, _ View) Outcome {
		for _, t := range m.fired {
			names = append(names, t.Of)
		}
		return Outcome{}
	}))
	return names
}

func TestTimersFireInOrderAndMakeRecords(t *testing.T) {
	simulate(t, func(t *testing.T) {
		run := loaded(t, &memLog{}, newMemStore())
		run.schedule("late", 3*time.Second)
		run.schedule("early", time.Second)
		run.schedule("now", 0)
		require.Equal(t, []string{"now"}, run.fired())
		time.Sleep(time.Second)
		require.Equal(t, []string{"now", "early"}, run.fired())
		time.Sleep(2 * time.Second)
		require.Equal(t, []string{"now", "early", "late"}, run.fired())
		require.Equal(t, "", run.read("late"), "an expiry is a write like others")
		run.log.commit(-1)
		synctest.Wait()
		require.Equal(t, "1", run.read("late"))
		time.Sleep(longer)
		require.Len(t, run.fired(), 3)
	})
}

func TestTimerPushedBackAndForth(t *testing.T) {
	simulate(t, func(t *testing.T) {
		run := loaded(t, &memLog{instant: true}, newMemStore())
		run.schedule("a", 10*time.Second)
		for range 20 {
			time.Sleep(5 * time.Second)
			run.schedule("a", 10*time.Second)
		}
		require.Empty(t, run.fired())
		run.schedule("a", time.Second) // sooner than it was queued
		time.Sleep(time.Second)
		require.Equal(t, []string{"a"}, run.fired())

		run.schedule("b", time.Second)
		run.schedule("b", time.Minute)
		time.Sleep(2 * time.Second)
		run.schedule("b", 3*time.Second)
		time.Sleep(3 * time.Second)
		require.Equal(t, []string{"a", "b"}, run.fired())
	})
}

func TestCancelledTimersAndThoseOfEndedShardsDoNotFire(t *testing.T) {
	simulate(t, func(t *testing.T) {
		run := loaded(t, &memLog{instant: true}, newMemStore())
		run.schedule("a", time.Second)
		run.cancel("a")
		run.cancel("never")
		run.schedule("b", 2*time.Second)
		run.log.resign(1)
		run.Load(run.id, 0, 1, run.log)
		synctest.Wait()
		end := run.log.End()
		time.Sleep(time.Minute)
		require.Empty(t, run.fired())
		require.Equal(t, end, run.log.End())
		run.timers.mu.Lock()
		defer run.timers.mu.Unlock()
		require.Len(t, run.timers.queue, 1, "what is left is the refresh of the view")
	})
}

func TestDueTimerWaitsWhileTooMuchIsPending(t *testing.T) {
	simulate(t, func(t *testing.T) {
		run := loaded(t, &memLog{}, newMemStore(), func(o *Options[*tally]) { o.MaxPending = 1 })
		run.schedule("a", time.Second)
		run.add("x", 1)
		time.Sleep(longer)
		require.Equal(t, int64(1), run.log.End())
		run.log.commit(-1)
		time.Sleep(time.Second)
		run.log.commit(-1)
		synctest.Wait()
		require.Equal(t, "1", run.table()["a"])
	})
}

func TestManyTimers(t *testing.T) {
	simulate(t, func(t *testing.T) {
		run := loaded(t, &memLog{instant: true}, newMemStore())
		for i := range 2000 {
			run.schedule(fmt.Sprint(i), time.Duration(i%10)*time.Millisecond)
		}
		time.Sleep(5 * time.Millisecond)
		require.Len(t, run.fired(), 1200)
		time.Sleep(5 * time.Millisecond)
		require.Len(t, run.fired(), 2000)
	})
}

func TestIdleShardsKeepTheirViewsFresh(t *testing.T) {
	simulate(t, func(t *testing.T) {
		log, store := filled(t, 10)
		run := loaded(t, log, store)
		time.Sleep(20 * time.Hour)
		log.instant = false
		run.add("k1", 1) // in the log, never in the view
		run.Close()
		log.reads = nil
		again := loaded(t, log, store)
		require.Equal(t, []int64{9, 10}, log.reads)
		require.Equal(t, replayed(t, log), again.table())
	})
}
