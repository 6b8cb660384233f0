package share

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
)

// BenchmarkFetchThatAcknowledges releases what it holds and takes it again, with each request.
func BenchmarkFetchThatAcknowledges(b *testing.B) {
	for _, records := range []int{1, 500} {
		for _, partitions := range []int32{1, 100} {
			b.Run(fmt.Sprintf("%d records, %d partitions", records, partitions), func(b *testing.B) {
				w := newDoorWorld(b)
				w.set("g", "share.failure.count.limit", "0")
				tp := w.topic("t", partitions)
				w.produce(tp, 0, records)
				var topics []kmsg.ShareFetchRequestTopic
				for n := range partitions {
					topics = append(topics, named(tp, n))
				}
				c := w.sharer("g", "m").opens(topics...)
				require.NotEmpty(b, c.fetch(c.asking()))
				release := []kmsg.ShareFetchRequestTopic{named(tp, 0, said(0, int64(records-1), 2))}
				b.ReportAllocs()
				for b.Loop() {
					p := c.send(c.asking(release...))
					r := <-p.done
					if r.Payload == nil || len(r.Payload.Pieces) < 2 {
						b.Fatal("no records")
					}
					r.Free()
				}
			})
		}
	}
}

// BenchmarkAcknowledge settles a record of a window with each request; the state takes no time.
func BenchmarkAcknowledge(b *testing.B) {
	w := newDoorWorld(b)
	w.set("g", "share.failure.count.limit", "0")
	tp := w.topic("t", 1)
	w.produce(tp, 0, 1)
	c := w.sharer("g", "m").opens(named(tp, 0))
	require.NotEmpty(b, c.fetch(c.asking()))
	b.ReportAllocs()
	for b.Loop() {
		p := c.send(c.acknowledging(named(tp, 0, said(0, 0, 1)))) // below the start after the first
		var r call.Response = <-p.done
		if r.Message == nil {
			b.Fatal("no answer")
		}
	}
}
