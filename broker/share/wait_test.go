package share

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/tidemark-mq/tidemark/coordinator/share"
	"github.com/tidemark-mq/tidemark/protocol/private"
)

// bubble runs a test of the world under virtual time.
func bubble(t *testing.T, run func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.patience = 3 * time.Hour
		run(t, w)
	})
}

// wait is a lease that waits for up to that long.
func (w *world) wait(req *private.LeaseRequest, wait time.Duration) *request {
	w.t.Helper()
	req.MaxWaitMillis = int32(wait.Milliseconds())
	return w.do(w.e.Lease, req)
}

func (r *request) leased() string {
	r.w.t.Helper()
	return brief(r.answer().(*private.LeaseResponse))
}

func TestAWaitingLeaseHearsOfRecords(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		q := w.queue(3, queueGroup)
		r := w.wait(asked(q, queueGroup, "one"), time.Minute)
		synctest.Wait()
		require.True(t, r.waits())
		w.put(q, 2, message{value: "a"})
		require.Equal(t, "a", r.leased())

		began := time.Now()
		require.Equal(t, "", w.wait(asked(q, queueGroup, "two"), 20*time.Second).leased())
		require.Equal(t, 20*time.Second, time.Since(began))
		require.Equal(t, "a/1", w.wait(asked(q, queueGroup, "three"), time.Minute).leased())
		require.Equal(t, 30*time.Second, time.Since(began), "the lease ran out")
	})
}

func TestOneMessageWakesOneOfMany(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		q := w.queue(1, queueGroup)
		const many = 1000
		var all []*request
		for i := range many {
			all = append(all, w.wait(asked(q, queueGroup, fmt.Sprint(i)), time.Hour))
			if i == 0 {
				synctest.Wait() // it is loaded: who comes meanwhile has no order
			}
		}
		synctest.Wait()
		counted := &countingState{State: w.states}
		w.e.o.State = counted
		for i := range 3 {
			w.send(q, fmt.Sprint("m", i))
			synctest.Wait()
			require.Equal(t, fmt.Sprint("m", i), all[i].leased(), "in the order in which they came")
		}
		require.EqualValues(t, 3, counted.writes.Load(), "only who takes something does anything")
		for _, r := range all[3:] {
			require.True(t, r.waits())
		}
		w.put(q, 0, values(25)...)
		synctest.Wait()
		require.Equal(t, "0 1 2 3 4 5 6 7 8 9", all[3].leased())
		require.Equal(t, "10 11 12 13 14 15 16 17 18 19", all[4].leased(), "who is next takes what is left")
		require.Equal(t, "20 21 22 23 24", all[5].leased())
		all[6].cancel()
		synctest.Wait()
		require.Equal(t, "", all[6].leased(), "one that leaves is answered")
		w.send(q, "last")
		require.Equal(t, "last", all[7].leased())
		synctest.Wait()
		require.EqualValues(t, many-8, w.e.waiting.Load())
		p := w.e.inUse(share.Key{Group: queueGroup, Topic: q.ID})
		for _, r := range all[8:] {
			r.cancel()
		}
		synctest.Wait()
		require.Zero(t, w.e.waiting.Load())
		p.mu.Lock()
		defer p.mu.Unlock()
		require.True(t, p.mu.line.empty())
		require.Nil(t, p.mu.line.watch, "nobody watches a log for nobody")
	})
}

// countingState counts writes, and may fail or hold them.
type countingState struct {
	State
	writes atomic.Int64
	fail   atomic.Pointer[error]
}

func (s *countingState) Write(w *share.Write, done func(error)) {
	s.writes.Add(1)
	if err := s.fail.Load(); err != nil {
		done(*err)
		return
	}
	s.State.Write(w, done)
}

func TestAWaitingLeaseTakesWhatIsGivenBack(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		q := w.queue(1, queueGroup, "share.retry.backoff.ms", "5000")
		w.put(q, 0, values(3)...)
		require.Equal(t, "0 1 2", w.take(q, queueGroup, "one", 3))
		r := w.wait(asked(q, queueGroup, "two"), time.Hour)
		synctest.Wait()
		require.Equal(t, "0+1", w.settle(q, queueGroup, "one", private.Release, 1))
		require.Equal(t, "1", r.leased(), "released")

		r, began := w.wait(asked(q, queueGroup, "three"), time.Hour), time.Now()
		require.Equal(t, "0+1", w.settle(q, queueGroup, "one", private.Fail, 0))
		require.Equal(t, "0/1", r.leased(), "its back-off is over")
		require.Equal(t, 5*time.Second, time.Since(began))

		require.Equal(t, "1/1 2/1", w.wait(asked(q, queueGroup, "four"), time.Hour).leased(), "leases ran out, and their back-off is over")
		require.Equal(t, 35*time.Second, time.Since(began))
	})
}

func TestAWaitingLeaseHearsOfSettingsAndOfTheEnd(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		q := w.queue(1, queueGroup, "share.window.max.records", "1")
		w.put(q, 0, values(1)...)
		w.put(q, 0, values(1)...)
		require.Equal(t, "0", w.take(q, queueGroup, "one", 1))
		r := w.wait(asked(q, queueGroup, "two"), time.Hour)
		synctest.Wait()
		require.True(t, r.waits(), "the window is full")
		w.set(queueGroup, "share.window.max.records", "2")
		require.Equal(t, "0", r.leased())

		r = w.wait(asked(q, queueGroup, "three"), time.Hour)
		synctest.Wait()
		w.replicas.SetFenced(true)
		synctest.Wait()
		require.True(t, r.waits(), "nothing is there, so nothing is known to be wrong")
		require.Equal(t, "NOT_LEADER_FOR_PARTITION", w.settle(q, queueGroup, "two", private.Accept, 1))
		w.replicas.SetFenced(false)
		require.NoError(t, w.cluster.DeleteTopic(context.Background(), q.ID))
		require.Equal(t, "UNKNOWN_TOPIC_OR_PARTITION", r.leased())
		require.Equal(t, "UNKNOWN_TOPIC_ID", brief(w.lease(asked(q, queueGroup, "four"))))
		require.Zero(t, w.e.loaded())
	})
}

func TestForgottenWindowsAreLoadedAgain(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		q := w.queue(1, queueGroup)
		w.put(q, 0, values(3)...)
		require.Equal(t, "0 1 2", w.take(q, queueGroup, "one", 3))
		r := w.wait(asked(q, queueGroup, "two"), 10*time.Second)
		synctest.Wait()
		k := share.Key{Group: queueGroup, Topic: q.ID}
		done := make(chan error, 1)
		w.states.Initialize(k, 5, 1, func(err error) { done <- err }) // as an operator alters the position
		require.NoError(t, <-done)
		w.e.Forget(k)
		require.Equal(t, "1 2", r.leased())
		require.Equal(t, "INVALID_RECORD_STATE", w.settle(q, queueGroup, "one", private.Accept, 1))
		require.Equal(t, "2+0", w.settle(q, queueGroup, "two", private.Accept, 1, 2))
	})
}

func TestAStateThatCannotBeReached(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		q := w.queue(1, queueGroup)
		w.put(q, 0, values(3)...)
		state := &countingState{State: w.states}
		w.e.o.State = state
		var loading error = kerr.CoordinatorLoadInProgress
		state.fail.Store(&loading)
		require.Equal(t, "COORDINATOR_LOAD_IN_PROGRESS", brief(w.lease(asked(q, queueGroup, "one"))))
		r := w.wait(asked(q, queueGroup, "two"), time.Minute)
		<-time.After(5 * time.Second)
		require.True(t, r.waits(), "it may come to life")
		require.Less(t, state.writes.Load(), int64(20), "which is not asked all the time")
		state.fail.Store(nil)
		require.Equal(t, "0 1 2", r.leased())

		var lost error = fmt.Errorf("nobody knows: %w", kerr.CoordinatorNotAvailable)
		state.fail.Store(&lost)
		require.Equal(t, "REQUEST_TIMED_OUT", w.settle(q, queueGroup, "two", private.Accept, 0))
		state.fail.Store(nil)
		require.Equal(t, "3+0", w.settle(q, queueGroup, "two", private.Accept, 0, 1, 2), "what is kept counts: the lease")
	})
}

func TestWindowsThatNobodyUsesGo(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		q := w.queue(1, queueGroup)
		w.put(q, 0, values(2)...)
		long := asked(q, queueGroup, "one")
		long.LeaseMillis, long.MaxRecords = 20*60*1000, 1
		require.Equal(t, "0", brief(w.lease(long)))
		<-time.After(idleAfter + time.Minute)
		require.Equal(t, 1, w.e.loaded(), "a lease runs")
		<-time.After(20 * time.Minute)
		require.Zero(t, w.e.loaded())
		require.Equal(t, "0/1 1", w.take(q, queueGroup, "two", 5))
	})
}

func TestLoadingIsWaitedFor(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		q := w.queue(1, queueGroup)
		w.put(q, 0, values(1)...)
		epoch := w.cluster.Image().Topic("__share_group_state").Partitions[0].LeaderEpoch
		id := w.cluster.Image().Topic("__share_group_state").ID
		w.states.Unload(0, epoch)
		require.Equal(t, "NOT_COORDINATOR", brief(w.lease(asked(q, queueGroup, "one"))))
		r := w.wait(asked(q, queueGroup, "two"), time.Minute)
		<-time.After(3 * time.Second)
		require.True(t, r.waits())
		require.Equal(t, "NOT_COORDINATOR", w.wait(asked(q, queueGroup, "three"), time.Second).leased(), "that nobody was there is said in the end")
		p, err := w.replicas.Partition(id, 0)
		require.NoError(t, err)
		w.states.Load(id, 0, epoch, p.CoordinatorLog(epoch))
		require.Equal(t, "0", r.leased())
	})
}

func TestCloseAnswersWhoWaits(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		q := w.queue(1, queueGroup)
		r := w.wait(asked(q, queueGroup, "one"), time.Hour)
		synctest.Wait()
		require.NoError(t, w.e.Close(t.Context()))
		require.Equal(t, "NOT_LEADER_FOR_PARTITION", r.leased())
	})
}

// Whatever happens, nobody waits for something that is there, everyone is answered once, and nothing is left behind.
func TestNobodyWaitsForWhatIsThere(t *testing.T) {
	for seed := range uint64(30) {
		bubble(t, func(t *testing.T, w *world) {
			t.Logf("seed %d", seed)
			rnd := rand.New(rand.NewPCG(seed, 1))
			q := w.queue(2, queueGroup, "share.order", []string{"none", "partition"}[rnd.IntN(2)], "share.retry.backoff.ms", "700")
			state := &countingState{State: w.states}
			w.e.o.State = state
			var all []*request
			for step := range 150 {
				switch what := rnd.IntN(20); {
				case what < 8:
					ask := asked(q, queueGroup, fmt.Sprint("h", step))
					ask.MaxRecords, ask.LeaseMillis, ask.Partition = 1+rnd.Int32N(4), 200+rnd.Int32N(3000), rnd.Int32N(3)-1
					if rnd.IntN(3) == 0 {
						ask.Labels = []string{"x"}
					}
					all = append(all, w.wait(ask, time.Duration(rnd.IntN(20))*time.Second))
				case what < 12:
					var m []message
					for range 1 + rnd.IntN(4) {
						m = append(m, message{"m", [][]string{nil, {"x"}}[rnd.IntN(2)]})
					}
					w.put(q, rnd.Int32N(2), m...)
				case what < 14 && len(all) > 0:
					all[rnd.IntN(len(all))].cancel()
				case what < 16:
					<-time.After(time.Duration(rnd.IntN(2000)) * time.Millisecond)
				case what == 16:
					w.e.Forget(share.Key{Group: queueGroup, Topic: q.ID, Partition: rnd.Int32N(2)})
				case what == 17:
					w.set(queueGroup, "share.window.max.records", fmt.Sprint(1+rnd.IntN(10)))
				case what == 18:
					var why error = []error{kerr.CoordinatorLoadInProgress, kerr.CoordinatorNotAvailable}[rnd.IntN(2)]
					state.fail.Store(&why)
				default:
					state.fail.Store(nil)
				}
				synctest.Wait()
				for _, p := range w.e.all(func(*partition) bool { return true }) {
					p.mu.Lock()
					if p.mu.why == nil && p.mu.window != nil && !p.mu.line.empty() {
						require.NotNil(t, p.mu.line.watch, "step %d", step)
						require.Nil(t, p.mu.line.called, "step %d", step)
						require.False(t, p.mayHaveLocked(time.Now()) && !p.mu.hold.After(time.Now()), "step %d: %v: %d may be had", step, p.key, p.mu.window.End())
					}
					p.mu.Unlock()
				}
			}
			state.fail.Store(nil)
			for _, r := range all {
				r.answer()
			}
			<-time.After(time.Hour)
			require.Zero(t, w.e.waiting.Load())
			require.Zero(t, w.e.loaded())
			require.Zero(t, w.e.work.Load())
		})
	}
}
