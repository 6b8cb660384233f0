package share

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/coordinator/share"
)

func TestWhoWaitsForADeletedGroupIsAnswered(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		q := w.queue(2, queueGroup)
		w.set("other", "share.auto.offset.reset", "earliest")
		begin := time.Now()
		r, other := w.wait(asked(q, queueGroup, "one"), time.Minute), w.wait(asked(q, "other", "one"), time.Minute)
		synctest.Wait()
		k := share.Key{Group: queueGroup, Topic: q.ID, Partition: 1}
		deleted := make(chan error, 1)
		w.states.Delete(k, func(err error) { deleted <- err })
		require.NoError(t, <-deleted)
		w.e.Deleted(k)
		require.Equal(t, "GROUP_ID_NOT_FOUND", r.leased())
		require.Zero(t, time.Since(begin))
		synctest.Wait()
		require.True(t, other.waits())
		kept := make(chan share.Stored, 1)
		w.states.Summary(k, func(s share.Stored, _ error) { kept <- s })
		require.EqualValues(t, -1, (<-kept).Start, "nobody made its state again")
		w.put(q, 1, values(1)...)
		require.Equal(t, "0", other.leased())
		require.Equal(t, "0", w.take(q, queueGroup, "two", 1), "a group that is made again begins anew")
	})
}

// A lease may find that the state is deleted before the engine is told.
func TestALeaseOfADeletedGroupDoesNotMakeItsStateAgain(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		q := w.queue(1, queueGroup)
		r := w.wait(asked(q, queueGroup, "one"), time.Minute)
		synctest.Wait()
		k := share.Key{Group: queueGroup, Topic: q.ID}
		deleted := make(chan error, 1)
		w.states.Delete(k, func(err error) { deleted <- err })
		require.NoError(t, <-deleted)
		w.put(q, 0, values(1)...)
		require.Equal(t, "GROUP_ID_NOT_FOUND", r.leased())
		synctest.Wait()
		kept := make(chan share.Stored, 1)
		w.states.Summary(k, func(s share.Stored, _ error) { kept <- s })
		require.EqualValues(t, -1, (<-kept).Start, "nobody made its state again")
		w.e.Deleted(k)
		require.Equal(t, "0", w.take(q, queueGroup, "two", 1), "a group that is made again begins anew")
	})
}

// deletes deletes the state of a partition when a window of it has read it, and before it keeps where it begins.
type deletes struct {
	State
	states *share.Service
}

func (s *deletes) Read(k share.Key, leaderEpoch int32, done func(share.Stored, error)) {
	s.State.Read(k, leaderEpoch, func(kept share.Stored, err error) {
		s.states.Delete(k, func(gone error) { done(kept, errors.Join(err, gone)) })
	})
}

func TestAWindowThatBeginsWhileItsGroupIsDeletedDoesNotMakeItsStateAgain(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		q := w.queue(1, "other")
		w.put(q, 0, values(1)...)
		k := share.Key{Group: queueGroup, Topic: q.ID}
		made := make(chan error, 1)
		w.states.Initialize(k, 1, -1, func(err error) { made <- err })
		require.NoError(t, <-made)
		w.e.o.State = &deletes{State: w.states, states: w.states}
		require.Equal(t, "GROUP_ID_NOT_FOUND", w.wait(asked(q, queueGroup, "one"), 0).leased())
		kept := make(chan share.Stored, 1)
		w.states.Summary(k, func(s share.Stored, _ error) { kept <- s })
		require.True(t, (<-kept).None, "nobody made its state again")
		w.e.o.State = w.states
		w.set(queueGroup, "share.auto.offset.reset", "earliest")
		require.Equal(t, "0", w.take(q, queueGroup, "two", 1), "a group that is made again begins anew")
	})
}
