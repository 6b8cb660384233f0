package queue

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAPurgedQueueIsEmptyAndStaysUsable(t *testing.T) {
	w := newWorld(t)
	id, group := w.queue(NewQueue{})
	for range 5 {
		w.send(id, `1`, `2`)
	}
	_, err := w.Send(w.ctx, project, id, []Message{{Body: []byte(`3`), Delay: time.Hour}})
	require.NoError(t, err)
	require.NoError(t, w.Purge(w.ctx, project, id))
	q, err := w.Queue(w.ctx, project, id)
	require.NoError(t, err)
	require.Zero(t, q.Messages)
	require.Empty(t, w.broker.delays)
	w.send(id, `4`)
	require.Equal(t, "4", bodies(w.receive(id, group)))
}

func TestLeasesAreShownAndEndedByOperators(t *testing.T) {
	w := newWorld(t)
	id, group := w.queue(NewQueue{Mode: FIFO, Redrive: true, MaxConsumeCount: 3})
	w.send(id, `1`, `2`, `3`, `4`)
	got := w.receive(id, group)
	leases, more, err := w.Leases(w.ctx, project, id, group, false, 3)
	require.NoError(t, err)
	require.True(t, more)
	require.Len(t, leases, 3)
	h, ok := parseHandle(got[1].Handle, project, w.keys.current.Load().get)
	require.True(t, ok)
	require.Equal(t, []any{int64(1), "leased", h.holder.text(), 1}, []any{leases[1].First, leases[1].State, leases[1].Holder, leases[1].Deliveries})
	require.WithinDuration(t, time.Now().Add(30*time.Second), leases[1].Until, 10*time.Second)

	settle := func(offset int64, action SettleAction) error {
		return w.SettleLease(w.ctx, project, id, group, ForcedSettle{Offset: offset, Action: action})
	}
	require.NoError(t, settle(0, AcceptLease))
	require.NoError(t, settle(1, DiscardLease))
	require.NoError(t, settle(2, DeadLetterLease))
	require.NoError(t, settle(3, ReleaseLease))
	require.Equal(t, CodeHandle, code(t, settle(0, AcceptLease)))
	require.Equal(t, CodeFormat, code(t, settle(3, 0)))
	require.Equal(t, "4", bodies(w.receive(id, group)))
	dead := w.receive(id, group, func(r *Receive) { r.DeadLetters = true })
	require.Equal(t, "3", bodies(dead))
	leases, _, err = w.Leases(w.ctx, project, id, group, true, 10)
	require.NoError(t, err)
	require.Len(t, leases, 1)
	require.Equal(t, CodeFormat, code(t, w.SettleLease(w.ctx, project, id, group, ForcedSettle{DeadLetters: true, Action: DeadLetterLease})))
	require.NoError(t, w.SettleLease(w.ctx, project, id, group, ForcedSettle{DeadLetters: true, Action: AcceptLease}))

	plain, plainGroup := w.queue(NewQueue{Name: "plain"})
	require.Equal(t, CodeFormat, code(t, w.SettleLease(w.ctx, project, plain, plainGroup, ForcedSettle{Action: DeadLetterLease})))
	leases, more, err = w.Leases(w.ctx, project, plain, plainGroup, true, 10)
	require.NoError(t, err)
	require.False(t, more)
	require.Empty(t, leases)
	require.Equal(t, CodeHandle, code(t, w.SettleLease(w.ctx, project, plain, plainGroup, ForcedSettle{DeadLetters: true, Action: AcceptLease})))
}
