package share

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/protocol/private"
)

// The broker's errors.deadletterqueue.topic.name.prefix bounds where share groups write, also to topics that are there.
func TestDeadLetterTopicsOfShareGroupsHaveThePrefix(t *testing.T) {
	w := newWorld(t)
	q := w.topic("q", 1)
	w.put(q, 0, values(2)...)
	w.topic("other", 1, "errors.deadletterqueue.group.enable", "true")
	w.set("g", "share.auto.offset.reset", "earliest", "share.delivery.count.limit", "2", "errors.deadletterqueue.topic.name", "other")
	for range 2 {
		ask := asked(q, "g", "m")
		ask.MaxRecords = 1
		w.lease(ask)
		require.Equal(t, "0+1", w.settle(q, "g", "m", private.Release, 0))
	}
	w.eventually(func() bool { return w.count(q, "g").Groups[0].Available == 1 }, "it is settled")
	require.Empty(t, w.inTopic("other"))
}
