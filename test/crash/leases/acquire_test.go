package leases

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/dmsext/queue"
	"github.com/tidemark-mq/tidemark/protocol/private"
)

// TestRule6AnAcquisitionIsDurable is the start of rule 6: who was given a lease holds it over a crash, and nobody else does before it
// ends.
func TestRule6AnAcquisitionIsDurable(t *testing.T) {
	cutAtSyncs(t, 3, func(w *world) (run, check func()) {
		q := w.queue(queue.NewQueue{Name: "orders"})
		w.fill(q, 6)
		l := w.ledger(q, 6)
		return func() {
			_, _ = l.lease("a", 2, 30*time.Second, 0)
			_, _ = l.lease("b", 2, 20*time.Second, 0)
			_, _ = l.lease("c", 1, 10*time.Second, 0)
		}, l.afterwards
	})
}

// TestRule6AHandleSurvives: a handle that the service has given settles its message after a crash, and once.
func TestRule6AHandleSurvives(t *testing.T) {
	cutAtSyncs(t, 1, func(w *world) (run, check func()) {
		q := w.queue(queue.NewQueue{Name: "orders"})
		w.fill(q, 2)
		ctx, cancel := w.ctx()
		defer cancel()
		got, err := w.queues.Receive(ctx, project, q.id, q.group, queue.Receive{Max: 2, Wait: time.Second, AckWait: 40 * time.Second})
		require.NoError(t, err)
		require.Len(t, got, 2)
		ack := func(i int) error {
			ctx, cancel := w.ctx()
			defer cancel()
			_, err := w.queues.Ack(ctx, project, q.id, q.group, false, []queue.Ack{{Handle: got[i].Handle, Success: true}})
			return err
		}
		settled := false
		run = func() { settled = ack(0) == nil }
		return run, func() {
			var used *queue.Error
			if err := ack(0); err != nil || settled {
				require.True(t, errors.As(err, &used) && used.Code == queue.CodeHandle, "%v", err)
			}
			require.NoError(t, ack(1))
			require.Equal(t, private.GroupCount{Group: q.group, Accepted: 2}, w.count(q))
		}
	})
}

// TestCoordinatorRule3AnAcknowledgementIsDurable: what was answered is settled, also where a repeated request made no record of its
// own; what was not answered is settled or not, and either way as a whole.
func TestCoordinatorRule3AnAcknowledgementIsDurable(t *testing.T) {
	cutAtSyncs(t, 5, func(w *world) (run, check func()) {
		q := w.queue(queue.NewQueue{Name: "orders"})
		w.fill(q, 9)
		l := w.ledger(q, 9)
		_, _ = l.lease("a", 5, 30*time.Second, 0)
		_, _ = l.lease("b", 4, 30*time.Second, 0)
		return func() {
			_ = l.settle("a", private.Accept, 0, 0, 1)
			_ = l.settle("a", private.Release, 0, 2)
			_ = l.settle("b", private.Fail, 0, 5, 6)
			_ = l.settle("b", private.Renew, 40*time.Second, 7)
			_ = l.settle("a", private.Accept, 0, 3)
			_, _ = l.lease("c", 2, 20*time.Second, 0)
		}, l.afterwards
	})
}

// TestRule6ConcurrentLeasesAndAcknowledgements: consumers that share flushes, in every order, keep what each of them was told.
func TestRule6ConcurrentLeasesAndAcknowledgements(t *testing.T) {
	cutAtSyncs(t, 3, func(w *world) (run, check func()) {
		q := w.queue(queue.NewQueue{Name: "orders"})
		w.fill(q, 16)
		l := w.ledger(q, 16)
		_, _ = l.lease("before", 3, 30*time.Second, 0)
		return func() {
			var all sync.WaitGroup
			for i := range 4 {
				all.Go(func() {
					holder := fmt.Sprint("holder ", i)
					for round := range 2 {
						got, err := l.lease(holder, 2, time.Duration(15+5*i)*time.Second, 0)
						if err != nil || len(got) == 0 {
							return
						}
						if round == i%2 {
							continue
						}
						action := []private.Action{private.Accept, private.Fail, private.Release, private.Accept}[i]
						_ = l.settle(holder, action, 0, got[len(got)-1].Offset)
					}
				})
			}
			all.Go(func() { _ = l.settle("before", private.Accept, 0, 1) })
			all.Wait()
		}, l.afterwards
	})
}

// TestRule6APersistedDeadlineIsHonoured: neither a restart nor a cut renewal makes a lease shorter, and leases that run out while the
// broker is up or down are failures that are counted once and never forgotten (rule 5).
func TestRule6APersistedDeadlineIsHonoured(t *testing.T) {
	cutAtSyncs(t, 4, func(w *world) (run, check func()) {
		q := w.queue(queue.NewQueue{Name: "orders"})
		w.fill(q, 4)
		l := w.ledger(q, 4)
		_, _ = l.lease("short", 1, 100*time.Millisecond, 0)
		_, _ = l.lease("long", 2, 25*time.Second, 0)
		return func() {
			_ = l.settle("long", private.Renew, 35*time.Second, 1, 2)
			time.Sleep(200 * time.Millisecond) // the short one runs out
			_, _ = l.lease("short", 1, 100*time.Millisecond, 0)
			time.Sleep(200 * time.Millisecond)
			_, _ = l.lease("next", 1, 12*time.Second, 0)
			_ = l.settle("next", private.Renew, 20*time.Second, 0)
		}, l.afterwards
	})
}

// TestRule5CountsNeverFall: deliveries and failures that were told of go on from there after a crash.
func TestRule5CountsNeverFall(t *testing.T) {
	cutAtSyncs(t, 8, func(w *world) (run, check func()) {
		q := w.queue(queue.NewQueue{Name: "orders"})
		w.fill(q, 3)
		l := w.ledger(q, 3)
		return func() {
			for i := range 4 {
				holder := fmt.Sprint("holder ", i)
				got, err := l.lease(holder, 3, 15*time.Second, 0)
				if err != nil {
					return
				}
				for _, r := range got {
					if r.Offset == 1 {
						_ = l.settle(holder, private.Release, 0, r.Offset)
					} else {
						_ = l.settle(holder, private.Fail, 0, r.Offset)
					}
				}
			}
		}, l.afterwards
	})
}
