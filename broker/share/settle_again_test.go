package share

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/tidemark-mq/tidemark/coordinator/share"
	"github.com/tidemark-mq/tidemark/protocol/private"
)

// doubtful answers a number of writes with an error that does not tell whether they happened; happens says whether they do.
type doubtful struct {
	State
	happens bool
	left    atomic.Int64
	deaf    atomic.Bool // reads fail
	why     *kerr.Error
}

func (s *doubtful) Write(w *share.Write, done func(error)) {
	switch {
	case s.left.Add(-1) < 0:
		s.State.Write(w, done)
	case s.happens:
		s.State.Write(w, func(error) { done(s.why) })
	default:
		done(s.why)
	}
}

func (s *doubtful) Read(k share.Key, leaderEpoch int32, done func(share.Stored, error)) {
	if s.deaf.Load() {
		done(share.Stored{}, kerr.NotCoordinator)
		return
	}
	s.State.Read(k, leaderEpoch, done)
}

// A settlement whose write failed so that nobody knows whether it happened is answered by what is kept: the one who asked repeats it
// otherwise, and is told that his lease is lost.
func TestASettlementInDoubtIsAnsweredByWhatIsKept(t *testing.T) {
	for _, why := range []*kerr.Error{kerr.NotCoordinator, kerr.CoordinatorNotAvailable} {
		for _, happens := range []bool{true, false} {
			bubble(t, func(t *testing.T, w *world) {
				q := w.queue(1, queueGroup)
				w.put(q, 0, values(6)...)
				require.Equal(t, "0 1 2 3", w.take(q, queueGroup, "one", 4))
				state := &doubtful{State: w.states, happens: happens, why: why}
				w.e.o.State = state
				for _, c := range []struct {
					offset int64
					action private.Action
					want   string
				}{{1, private.Accept, "1+0"}, {2, private.Fail, "0+1"}, {0, private.Accept, "1+0"}, {3, private.Reject, "0+1"}} {
					state.left.Store(1)
					require.Equal(t, c.want, w.settle(q, queueGroup, "one", c.action, c.offset), "%v, happens %v, offset %d", why.Message, happens, c.offset)
					require.Equal(t, "INVALID_RECORD_STATE", w.settle(q, queueGroup, "one", c.action, c.offset), "the handle is used up")
				}
				require.Equal(t, private.GroupCount{Group: queueGroup, Available: 3, Accepted: 2, Rejected: 1}, w.count(q, queueGroup).Groups[0], "nothing is counted twice")
				require.Equal(t, "2/1 4 5", w.take(q, queueGroup, "two", 9))
			})
		}
	}
}

func TestALeaseThatEndsWhileItsSettlementIsInDoubtIsLost(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		q := w.queue(1, queueGroup)
		w.put(q, 0, values(1)...)
		short := asked(q, queueGroup, "one")
		short.LeaseMillis = 1000
		require.Equal(t, "0", brief(w.lease(short)))
		state := &doubtful{State: w.states, why: kerr.NotCoordinator}
		w.e.o.State = state
		state.left.Store(1)
		state.deaf.Store(true)
		heard := time.AfterFunc(3*time.Second, func() { state.deaf.Store(false) })
		defer heard.Stop()
		require.Equal(t, "INVALID_RECORD_STATE", w.settle(q, queueGroup, "one", private.Accept, 0))
		require.Equal(t, "0/1", w.take(q, queueGroup, "two", 9), "it comes back")
	})
}

func TestASettlementThatCannotBeClearedUpIsNotToBeRepeated(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		q := w.queue(1, queueGroup)
		w.put(q, 0, values(1)...)
		require.Equal(t, "0", w.take(q, queueGroup, "one", 1))
		state := &doubtful{State: w.states, happens: true, why: kerr.NotCoordinator}
		w.e.o.State = state
		state.left.Store(1)
		state.deaf.Store(true)
		require.Equal(t, "REQUEST_TIMED_OUT", w.settle(q, queueGroup, "one", private.Accept, 0))
		state.deaf.Store(false)
		require.Equal(t, "", w.take(q, queueGroup, "two", 9))
	})
}

// Of a request over several partitions, what is settled already is not lost to a repetition because another part has to be tried again.
func TestAPartOfARequestIsSettledLater(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		q := w.queue(2, queueGroup)
		w.put(q, 0, values(1)...)
		w.put(q, 1, values(1)...)
		one := asked(q, queueGroup, "one")
		require.Equal(t, "0", brief(w.lease(one)))
		require.Equal(t, "0", brief(w.lease(one)))
		state := &doubtful{State: w.states, why: kerr.CoordinatorLoadInProgress}
		w.e.o.State = state
		state.left.Store(1)
		record := []private.SettledRecord{{Offset: 0, Action: private.Accept}}
		require.Equal(t, "2+0", w.settleAll(&private.SettleRequest{Group: queueGroup, TopicID: q.ID, Leases: []private.SettledLease{
			{Partition: 0, Holder: "one", Records: record}, {Partition: 1, Holder: "one", Records: record}}}))
		require.Equal(t, private.GroupCount{Group: queueGroup, Accepted: 2}, w.count(q, queueGroup).Groups[0])
	})
}

// Records whose lease was kept although nobody was told so are not held by nobody until it ends, nor has it failed then.
func TestALeaseInDoubtIsGivenBack(t *testing.T) {
	for _, happens := range []bool{true, false} {
		bubble(t, func(t *testing.T, w *world) {
			q := w.queue(1, queueGroup)
			w.put(q, 0, values(3)...)
			state := &doubtful{State: w.states, happens: happens, why: kerr.CoordinatorNotAvailable}
			w.e.o.State = state
			state.left.Store(1)
			wait := asked(q, queueGroup, "one")
			wait.MaxWaitMillis = 20_000
			begin := time.Now()
			require.Equal(t, "0 1 2", brief(w.lease(wait)), "happens %v", happens)
			require.Less(t, time.Since(begin), 5*time.Second)
			require.Equal(t, "3+0", w.settle(q, queueGroup, "one", private.Accept, 0, 1, 2))

			w.put(q, 0, values(1)...)
			state.left.Store(1)
			require.Equal(t, "COORDINATOR_NOT_AVAILABLE", brief(w.lease(asked(q, queueGroup, "two"))), "who does not wait")
			require.Equal(t, "0", w.take(q, queueGroup, "three", 1), "happens %v", happens)
		})
	}
}

// What is rejected for good is not said to be so where no lease is kept that would show it.
func TestARejectionInDoubtOfALeaseThatIsNotKept(t *testing.T) {
	for _, action := range []private.Action{private.Accept, private.Reject, private.DeadLetter} {
		bubble(t, func(t *testing.T, w *world) {
			w.set("share", "share.auto.offset.reset", "earliest")
			q := w.topic("q", 1)
			w.put(q, 0, values(1)...)
			require.Equal(t, "0", w.take(q, "share", "one", 1))
			state := &doubtful{State: w.states, why: kerr.NotCoordinator}
			w.e.o.State = state
			state.left.Store(1)
			require.Equal(t, "REQUEST_TIMED_OUT", w.settle(q, "share", "one", action, 0), "%v", action)
			require.Equal(t, "0", w.take(q, "share", "two", 1), "it comes back")
		})
	}
}
