package share

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/protocol/private"
)

// What is left of a copy's source makes another batch than the copy is, which its log can not know as a repeat.
func TestACopyThatStandsIsNotMadeAgainOfWhatRetentionLeft(t *testing.T) {
	w := newWorld(t)
	states := &intentState{}
	w.wrap = func(s State) State { states.State = s; return states }
	w.crash(1)
	q := w.deadQueue()
	w.put(q, 0, values(10)...)
	states.refuse.Store(true)
	ask := asked(q, queueGroup, "f")
	ask.MaxRecords = 100
	w.lease(ask)
	require.Equal(t, "0+2", w.settle(q, queueGroup, "f", private.Fail, 3, 4))
	w.eventually(func() bool { return states.seen.Load() > 0 }, "the copy stands, and is not settled")
	p, err := w.replicas.Partition(q.ID, 0)
	require.NoError(t, err)
	_, err = p.DeleteRecords(4)
	require.NoError(t, err)
	states.refuse.Store(false)
	w.deadLettered(q, 1)
	require.Equal(t, []string{"3@q-0-3", "4@q-0-4"}, w.inTopic("q-dlq"))
}
