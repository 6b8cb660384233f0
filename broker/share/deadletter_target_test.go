package share

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/protocol/private"
	"github.com/tidemark-mq/tidemark/protocol/record"
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

// A producer's compressed batch may be far smaller than its records: what fits into the queue so fits into its dead letters too.
func TestAMessageThatFitsCompressedIsADeadLetterToo(t *testing.T) {
	for codec := record.Gzip; codec.Valid(); codec++ {
		t.Run(codec.String(), func(t *testing.T) {
			w := newWorld(t)
			states := &intentState{}
			w.wrap = func(s State) State { states.State = s; return states }
			w.crash(1)
			q := w.deadQueue()
			var b record.Builder
			b.Reset(record.Spec{Codec: codec})
			for range 3 {
				b.Append(time.Now().UnixMilli(), nil, []byte(strings.Repeat("well", 750_000)))
			}
			batch, err := b.Build()
			require.NoError(t, err)
			require.Less(t, len(batch), 1<<20)
			w.append(q, 0, slices.Clone(batch))
			ask := asked(q, queueGroup, "f")
			ask.MaxBytes = 16 << 20
			require.Len(t, w.lease(ask).Records, 3)
			states.refuse.Store(true)
			require.Equal(t, "0+3", w.settle(q, queueGroup, "f", private.Fail, 0, 1, 2))
			w.eventually(func() bool { return states.seen.Load() > 0 }, "copies stand, and are not settled")
			w.crash(2) // the copies that are made now must be those that stand
			states.refuse.Store(false)
			w.deadLettered(q, 3)
			require.Len(t, w.inTopic("q-dlq"), 3)
		})
	}
}
