package share

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/protocol/private"
	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// inTopic is the values of a topic's committed records, with where they say that they come from.
func (w *world) inTopic(name string) (out []string) {
	w.t.Helper()
	t := w.cluster.Image().Topic(name)
	if t == nil {
		return nil
	}
	for n := range t.Partitions {
		p, err := w.replicas.Partition(t.ID, int32(n))
		require.NoError(w.t, err)
		for at := p.LogStart(); at < p.HighWatermark(); {
			got, err := p.Read(replica.Read{Offset: at, MaxBytes: 1 << 20, AtLeastOne: true, Epoch: -1, LastEpoch: -1})
			require.NoError(w.t, err)
			buf, err := got.Slice.Bytes(nil)
			require.NoError(w.t, err)
			got.Slice.Release()
			for len(buf) > 0 {
				b, rest, err := record.First(buf)
				require.NoError(w.t, err)
				buf = rest
				r, err := b.Records(0)
				require.NoError(w.t, err)
				for rec, ok, err := r.Next(); ok; rec, ok, err = r.Next() {
					require.NoError(w.t, err)
					origin := map[string]string{}
					for name, value := range rec.Headers() {
						origin[string(name)] = string(value)
					}
					out = append(out, fmt.Sprintf("%s@%s-%s-%s", rec.Value, origin[headerTopic], origin[headerPartition], origin[headerOffset]))
				}
				r.Close()
			}
			at = got.Slice.End
		}
	}
	return out
}

func (w *world) eventually(what func() bool, why string) {
	w.t.Helper()
	require.Eventually(w.t, what, 20*time.Second, time.Millisecond, why)
}

func TestDeadLettersAtTheLimit(t *testing.T) {
	w := newWorld(t)
	q := w.queue(1, queueGroup, "share.failure.count.limit", "2", "errors.deadletterqueue.topic.name", "q-dlq", "errors.deadletterqueue.copy.record.enable", "true")
	w.send(q, "a", "b", "c")
	for i := range 2 {
		require.NotEmpty(t, w.take(q, queueGroup, fmt.Sprint(i), 2))
		require.Equal(t, "0+2", w.settle(q, queueGroup, fmt.Sprint(i), private.Fail, 0, 1))
	}
	w.eventually(func() bool { return len(w.inTopic("q-dlq")) == 2 }, "copies are made")
	require.Equal(t, []string{"a@q-0-0", "b@q-0-1"}, w.inTopic("q-dlq"))
	w.eventually(func() bool { return w.count(q, queueGroup).Groups[0].DeadLettered == 2 }, "sources are settled")
	require.Equal(t, "c", w.take(q, queueGroup, "x", 5))
	made := w.cluster.Image().Config("topic", "q-dlq")
	require.Equal(t, "LogAppendTime", made["message.timestamp.type"])
	require.Equal(t, "259200000", made["retention.ms"])
	require.Equal(t, "true", made["errors.deadletterqueue.group.enable"])
	require.Equal(t, private.GroupCount{Group: queueGroup, Available: 1, InFlight: 1, DeadLettered: 2}, w.count(q, queueGroup).Groups[0])
}

// A power cut at any step of a dead letter's way leaves it to be copied, and never copied twice.
func TestDeadLettersAreCopiedOnceWhateverIsCut(t *testing.T) {
	for _, when := range []vfs.When{vfs.BeforeSync, vfs.AfterSync} {
		for cut := int64(1); ; cut++ {
			if happened := deadLetterCut(t, cut, when); !happened {
				t.Logf("%d places to cut", cut-1)
				require.GreaterOrEqual(t, cut-1, int64(4), "settled, intended, copied, settled")
				break
			}
		}
	}
}

// deadLetterCut answers false when the way was over before the cut.
func deadLetterCut(t *testing.T, cut int64, when vfs.When) (happened bool) {
	w := newWorld(t)
	q := w.queue(1, queueGroup, "share.failure.count.limit", "1", "errors.deadletterqueue.topic.name", "q-dlq", "errors.deadletterqueue.copy.record.enable", "true")
	w.topic("q-dlq", 1, "errors.deadletterqueue.group.enable", "true")
	w.put(q, 0, values(3)...)
	require.Equal(t, "0 1 2", w.take(q, queueGroup, "one", 3))
	w.fs.CutAt(w.fs.Ops()+cut, when)
	w.do(w.e.Settle, &private.SettleRequest{Group: queueGroup, TopicID: q.ID, Leases: []private.SettledLease{{Holder: "one", Records: []private.SettledRecord{
		{Offset: 0, Action: private.Accept}, {Offset: 1, Action: private.Fail}, {Offset: 2, Action: private.Fail}}}}})
	over := func() bool {
		resp := w.do(w.e.CountQueue, &private.CountQueueRequest{TopicID: q.ID, Groups: []string{queueGroup}}).answer().(*private.CountQueueResponse)
		return resp.ErrorCode == 0 && resp.Groups[0].DeadLettered == 2
	}
	w.eventually(func() bool { return w.fs.IsCut() || over() }, "nothing happens")
	happened = w.fs.IsCut()
	w.crash(uint64(cut))
	w.eventually(func() bool {
		if !over() { // the settlement may have been lost: then the lease still is
			w.do(w.e.Settle, &private.SettleRequest{Group: queueGroup, TopicID: q.ID, Leases: []private.SettledLease{{Holder: "one", Records: []private.SettledRecord{
				{Offset: 1, Action: private.Fail}, {Offset: 2, Action: private.Fail}}}}}).answer()
			return false
		}
		return true
	}, "dead letters come")
	got := w.inTopic("q-dlq")
	require.Equal(t, "1@q-0-1 2@q-0-2", strings.Join(got, " "), "cut %d", cut)
	return happened
}
