package share

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/coordinator/share"
	"github.com/tidemark-mq/tidemark/protocol/private"
)

// heldBack keeps back the answers to writes that happened.
type heldBack struct {
	State
	mu    sync.Mutex
	holds bool
	held  []func()
}

func (s *heldBack) Write(w *share.Write, done func(error)) {
	s.State.Write(w, func(err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.holds {
			s.held = append(s.held, func() { done(err) })
			return
		}
		go done(err)
	})
}

func (s *heldBack) release() {
	s.mu.Lock()
	s.holds = false
	held := s.held
	s.mu.Unlock()
	for _, fn := range held {
		fn()
	}
}

// What a change counts is seen together with the change.
func TestCountersAndWindowAreOfOneMoment(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		q := w.queue(1, queueGroup)
		w.put(q, 0, values(3)...)
		require.Equal(t, "0 1 2", w.take(q, queueGroup, "one", 3))
		state := &heldBack{State: w.states, holds: true}
		w.e.o.State = state
		r := w.do(w.e.Settle, &private.SettleRequest{Group: queueGroup, TopicID: q.ID, Leases: []private.SettledLease{
			{Holder: "one", Records: []private.SettledRecord{{Offset: 1, Action: private.Accept}}}}})
		synctest.Wait()
		require.Equal(t, private.GroupCount{Group: queueGroup, Available: 3, InFlight: 3}, w.count(q, queueGroup).Groups[0])
		state.release()
		require.Zero(t, r.answer().(*private.SettleResponse).ErrorCode)
		require.Equal(t, private.GroupCount{Group: queueGroup, Available: 2, InFlight: 2, Accepted: 1}, w.count(q, queueGroup).Groups[0])
	})
}

// Leases that ended while the broker was down are nobody's, before that is written too.
func TestWhatEndedWhileItWasDownIsNotInFlight(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		q := w.queue(1, queueGroup, "share.failure.count.limit", "1", "errors.deadletterqueue.topic.name", "q-dlq")
		w.put(q, 0, values(2)...)
		require.Equal(t, "0", w.take(q, queueGroup, "one", 1))
		w.crash(1)
		<-time.After(time.Minute)
		state := &heldBack{State: w.states, holds: true}
		w.e.o.State = state
		got := w.count(q, queueGroup).Groups[0]
		require.Zero(t, got.InFlight)
		require.EqualValues(t, 2, got.Available)
		state.release()
	})
}

// What a purge took is skipped at once, not only when somebody leases again.
func TestAPurgeIsCountedAtOnce(t *testing.T) {
	w := newWorld(t)
	q := w.queue(1, queueGroup)
	w.set("fresh", "share.auto.offset.reset", "earliest")
	w.put(q, 0, values(6)...)
	require.Equal(t, "0 1 2", w.take(q, queueGroup, "one", 3))
	require.Equal(t, "1+0", w.settle(q, queueGroup, "one", private.Accept, 1))
	p, err := w.replicas.Partition(q.ID, 0)
	require.NoError(t, err)
	_, err = p.DeleteRecords(5)
	require.NoError(t, err)
	want := private.GroupCount{Group: queueGroup, Available: 1, Accepted: 1, Skipped: 4}
	require.Equal(t, want, w.count(q, queueGroup).Groups[0])
	require.Equal(t, private.GroupCount{Group: "fresh", Available: 1}, w.count(q, "fresh").Groups[0], "it begins behind the purge")
	require.Equal(t, "5", w.take(q, queueGroup, "two", 3))
	want.InFlight = 1
	w.eventually(func() bool { return w.count(q, queueGroup).Groups[0] == want }, "and no other number when it is written")
}

// busyState does something else of the world while a summary is asked for.
type busyState struct {
	State
	meanwhile func()
}

func (s *busyState) Summary(k share.Key, done func(share.Stored, error)) {
	if fn := s.meanwhile; fn != nil {
		s.meanwhile = nil
		fn()
	}
	s.State.Summary(k, done)
}

// What was produced and settled while others are counted is in the topic too.
func TestWhatAGroupSettledIsInTheTopicsNumber(t *testing.T) {
	w := newWorld(t)
	q := w.queue(1, queueGroup)
	w.set("fresh", "share.auto.offset.reset", "earliest")
	w.put(q, 0, values(3)...)
	require.Equal(t, "0 1 2", w.take(q, queueGroup, "one", 3))
	require.Equal(t, "3+0", w.settle(q, queueGroup, "one", private.Accept, 0, 1, 2))
	w.e.o.State = &busyState{State: w.states, meanwhile: func() {
		w.put(q, 0, values(4)...)
		require.Len(t, strings.Fields(w.take(q, queueGroup, "one", 3)), 3)
		require.Equal(t, "2+0", w.settle(q, queueGroup, "one", private.Accept, 3, 4))
	}}
	got := w.count(q, queueGroup, "fresh")
	require.EqualValues(t, 7, got.Records)
	require.Equal(t, []private.GroupCount{{Group: queueGroup, Available: 2, InFlight: 1, Accepted: 5}, {Group: "fresh", Available: 7}}, got.Groups)
}
