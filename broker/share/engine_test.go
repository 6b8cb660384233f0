package share

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/protocol/private"
)

func TestLeaseAndSettle(t *testing.T) {
	w := newWorld(t)
	q := w.queue(1, queueGroup)
	w.send(q, "a", "b", "c")
	require.Equal(t, "a b", w.take(q, queueGroup, "one", 2))
	require.Equal(t, "c", w.take(q, queueGroup, "two", 2))
	require.Equal(t, "", w.take(q, queueGroup, "three", 2))
	require.Equal(t, "2+0", w.settle(q, queueGroup, "one", private.Accept, 0, 1))
	require.Equal(t, "INVALID_RECORD_STATE", w.settle(q, queueGroup, "one", private.Accept, 2))
	require.Equal(t, "0+1", w.settle(q, queueGroup, "two", private.Fail, 2))
	require.Equal(t, "c/1", w.take(q, queueGroup, "four", 2))
	n := w.count(q, queueGroup)
	require.Equal(t, private.GroupCount{Group: queueGroup, Available: 1, InFlight: 1, Accepted: 2}, n.Groups[0])
	require.EqualValues(t, 3, n.Records)
	require.Equal(t, []string{"0:2-2 1 four"}, w.listed(q, queueGroup))
}

func TestALeaseSurvivesALossOfPower(t *testing.T) {
	w := newWorld(t)
	q := w.queue(1, queueGroup)
	w.send(q, "a", "b", "c")
	require.Equal(t, "a b", w.take(q, queueGroup, "one", 2))
	require.Equal(t, "1+0", w.settle(q, queueGroup, "one", private.Accept, 0))
	w.crash(1)
	require.Equal(t, []string{"0:1-1 1 one"}, w.listed(q, queueGroup))
	require.Equal(t, "c", w.take(q, queueGroup, "two", 2), "what is leased is nobody else's")
	require.Equal(t, "1+0", w.settle(q, queueGroup, "one", private.Accept, 1))
	require.Equal(t, "", w.take(q, queueGroup, "two", 2))
}
