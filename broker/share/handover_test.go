package share

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/tidemark-mq/tidemark/coordinator/share"
	"github.com/tidemark-mq/tidemark/protocol/private"
)

// slowState keeps the first write on its way to the state; the others it answers as a state whose fate nobody knows.
type slowState struct {
	State
	arrived, release chan struct{}
	lost             bool
}

func (s *slowState) Write(w *share.Write, done func(error)) {
	if !s.lost {
		s.lost = true
		close(s.arrived)
		<-s.release
		s.State.Write(w, done)
		return
	}
	done(kerr.CoordinatorNotAvailable)
}

// A window that is loaded in place of one that is over knows what that one decided, also where the state did not have it yet: what
// was accepted does not come back, and what was leased has no second holder.
func TestAWindowIsLoadedBehindTheWritesOfTheOneBefore(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		q := w.queue(1, queueGroup)
		w.send(q, "a", "b", "c")
		require.Equal(t, "a", w.take(q, queueGroup, "one", 1))
		require.Equal(t, "b", w.take(q, queueGroup, "two", 1))
		slow := &slowState{State: w.states, arrived: make(chan struct{}), release: make(chan struct{})}
		w.e.o.State = slow
		accepted := make(chan string, 1)
		go func() { accepted <- w.settle(q, queueGroup, "one", private.Accept, 0) }()
		<-slow.arrived
		require.Equal(t, kerr.RequestTimedOut.Message, w.settle(q, queueGroup, "two", private.Accept, 1))
		list := w.do(w.e.ListLeases, &private.ListLeasesRequest{Group: queueGroup, TopicID: q.ID, Partition: -1})
		synctest.Wait()
		close(slow.release)
		require.Equal(t, "1+0", <-accepted)
		leases := list.answer().(*private.ListLeasesResponse).Leases
		require.Len(t, leases, 1)
		require.EqualValues(t, 1, leases[0].First, "what was accepted is settled")
		w.e.mu.Lock()
		defer w.e.mu.Unlock()
		require.Empty(t, w.e.leaving)
	})
}

// While nothing may be tried, the clock does not come again and again for dead letters that would be tried.
func TestDeadLettersWaitUntilTheStateIsTriedAgain(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		q := w.queue(1, queueGroup)
		w.send(q, "a")
		require.Equal(t, "a", w.take(q, queueGroup, "one", 1))
		p := w.e.inUse(share.Key{Group: queueGroup, Topic: q.ID})
		now := time.Now()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.mu.hold, p.mu.dead.retry = now.Add(time.Second), now.Add(-time.Millisecond)
		require.Equal(t, p.mu.hold, p.deadlineLocked(now))
	})
}
