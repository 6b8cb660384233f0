package queue

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// world is a service on a fake broker.
type world struct {
	*testing.T
	ctx    context.Context
	broker *fakeBroker
	*Service
}

const project = "0123456789abcdef0123456789abcdef"

func newWorld(t *testing.T) *world {
	broker := newFake(t)
	return &world{T: t, ctx: t.Context(), broker: broker, Service: New(Options{Broker: broker})}
}

// queue makes a queue with a group.
func (w *world) queue(n NewQueue) (queue, group string) {
	w.Helper()
	if n.Name == "" {
		n.Name = "orders"
	}
	q, err := w.CreateQueue(w.ctx, project, n)
	require.NoError(w, err)
	g, err := w.CreateGroups(w.ctx, project, q.ID, []string{"billing"})
	require.NoError(w, err)
	return q.ID, g[0].ID
}

func (w *world) send(queue string, bodies ...string) []Sent {
	w.Helper()
	var all []Message
	for _, b := range bodies {
		all = append(all, Message{Body: json.RawMessage(b)})
	}
	sent, err := w.Send(w.ctx, project, queue, all)
	require.NoError(w, err)
	for _, s := range sent {
		require.Nil(w, s.Err)
		require.NotEmpty(w, s.ID)
	}
	return sent
}

func usual() Receive { return Receive{Max: 10, Wait: time.Second, AckWait: 30 * time.Second} }

// receive retrieves what there is.
func (w *world) receive(queue, group string, with ...func(*Receive)) []Received {
	w.Helper()
	r := usual()
	for _, f := range with {
		f(&r)
	}
	got, err := w.Receive(w.ctx, project, queue, group, r)
	require.NoError(w, err)
	require.NotNil(w, got)
	return got
}

// code is the code of an error, with its status checked.
func code(t testing.TB, err error) int {
	t.Helper()
	var e *Error
	require.ErrorAs(t, err, &e, "%v", err)
	require.NotEmpty(t, e.Message)
	require.GreaterOrEqual(t, e.Status, 400)
	return e.Code
}

// handles acknowledges all messages with a status.
func handles(got []Received, success ...bool) []Ack {
	var acks []Ack
	for i, m := range got {
		if i < len(success) {
			acks = append(acks, Ack{Handle: m.Handle, Success: success[i]})
		}
	}
	return acks
}

func bodies(got []Received) string {
	var all []string
	for _, m := range got {
		all = append(all, string(m.Body))
	}
	return strings.Join(all, " ")
}
