package share

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/broker/share/window"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/coordinator/share"
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
			for b, err := range record.Batches(buf) {
				require.NoError(w.t, err)
				for rec, err := range b.All(0) {
					require.NoError(w.t, err)
					origin := map[string]string{}
					for name, value := range rec.Headers() {
						origin[string(name)] = string(value)
					}
					out = append(out, fmt.Sprintf("%s@%s-%s-%s", rec.Value, origin[headerTopic], origin[headerPartition], origin[headerOffset]))
				}
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

// Why a record became a dead letter is said in Kafka's words where Kafka knows the reason.
func TestCausesOfDeadLetters(t *testing.T) {
	s := &settings{limits: window.Limits{Deliveries: 3}}
	require.Equal(t, "Offset delivery count exceeded the threshold.", cause(s, &share.Batch{Deliveries: 3}))
	require.Equal(t, "Offset rejected by client.", cause(s, &share.Batch{Deliveries: 1}))
	s.limits.Failures = 2
	require.Equal(t, "failed 2 times", cause(s, &share.Batch{Deliveries: 3, Failures: 2}))
	w := newWorld(t)
	q := w.queue(1, queueGroup, "errors.deadletterqueue.topic.name", "q-dlq")
	w.put(q, 0, values(1)...)
	require.Equal(t, "0", w.take(q, queueGroup, "one", 1))
	require.Equal(t, "0+1", w.settle(q, queueGroup, "one", private.DeadLetter, 0))
	w.eventually(func() bool { return len(w.inTopic("q-dlq")) == 1 }, "a copy is made")
	p, err := w.replicas.Partition(w.cluster.Image().Topic("q-dlq").ID, 0)
	require.NoError(t, err)
	got, err := p.Read(replica.Read{MaxBytes: 1 << 20, AtLeastOne: true, Epoch: -1, LastEpoch: -1})
	require.NoError(t, err)
	defer got.Slice.Release()
	letter, err := got.Slice.Bytes(nil)
	require.NoError(t, err)
	require.Contains(t, string(letter), "Offset rejected by client.", "the header of it")
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

// fail has messages delivered and failed until they are dead letters.
func (w *world) fail(t *cluster.Topic, offsets ...int64) {
	w.t.Helper()
	ask := asked(t, queueGroup, "f")
	ask.MaxRecords = 100
	w.lease(ask)
	for _, o := range offsets {
		require.Equal(w.t, "0+1", w.settle(t, queueGroup, "f", private.Fail, o))
	}
}

// deadQueue is a queue whose messages are dead letters when they fail once.
func (w *world) deadQueue(nameValue ...string) *cluster.Topic {
	w.t.Helper()
	return w.queue(1, queueGroup, append([]string{"share.failure.count.limit", "1", "errors.deadletterqueue.topic.name", "q-dlq",
		"errors.deadletterqueue.copy.record.enable", "true"}, nameValue...)...)
}

func (w *world) deadLettered(t *cluster.Topic, n int64) {
	w.t.Helper()
	w.eventually(func() bool { return w.count(t, queueGroup).Groups[0].DeadLettered == n }, "dead letters come")
}

func TestManyDeadLettersKeepTheirOrder(t *testing.T) {
	w := newWorld(t)
	q := w.deadQueue()
	w.put(q, 0, values(60)...)
	var offsets []int64
	var want []string
	for o := int64(0); o < 60; o += 2 {
		offsets = append(offsets, o)
		want = append(want, fmt.Sprintf("%d@q-0-%d", o, o))
	}
	ask := asked(q, queueGroup, "f")
	ask.MaxRecords = 100
	require.Len(t, w.lease(ask).Records, 60)
	require.Equal(t, "0+30", w.settle(q, queueGroup, "f", private.Fail, offsets...))
	w.deadLettered(q, 30)
	require.Equal(t, want, w.inTopic("q-dlq"))
	require.Equal(t, "0+1", w.settle(q, queueGroup, "f", private.DeadLetter, 1))
	w.deadLettered(q, 31)
	require.Equal(t, append(want, "1@q-0-1"), w.inTopic("q-dlq"))
}

// holdCopies keeps the second and later writes with intents from becoming settled: the state refuses what comes after an intent.
type intentState struct {
	State
	refuse atomic.Bool
	seen   atomic.Int64 // writes that settle copies and were refused
}

func (s *intentState) Write(w *share.Write, done func(error)) {
	if s.refuse.Load() && w.Add.DeadLettered > 0 {
		s.seen.Add(1)
		done(kerr.CoordinatorLoadInProgress)
		return
	}
	s.State.Write(w, done)
}

func TestCopiesThatStandAreNotMadeAgain(t *testing.T) {
	w := newWorld(t)
	states := &intentState{}
	w.wrap = func(s State) State { states.State = s; return states }
	w.crash(1)
	q := w.deadQueue()
	w.put(q, 0, values(10)...)
	states.refuse.Store(true)
	w.fail(q, 3, 5)
	w.eventually(func() bool { return states.seen.Load() > 3 }, "copies stand, and are not settled")
	require.Equal(t, []string{"3@q-0-3"}, w.inTopic("q-dlq")[:1])
	require.LessOrEqual(t, len(w.inTopic("q-dlq")), 2)
	w.crash(2)
	require.Contains(t, strings.Join(w.listed(q, queueGroup), ","), "0:3-3 3 ", "on their way")
	states.refuse.Store(false)
	require.NotEqual(t, "", w.take(q, queueGroup, "x", 1)+"-")
	w.deadLettered(q, 2)
	require.Equal(t, []string{"3@q-0-3", "5@q-0-5"}, w.inTopic("q-dlq"))
}

// A log that has forgotten the producer would take a repeat for news.
func TestCopiesAreLookedForWhereTheProducerIsForgotten(t *testing.T) {
	w := newWorld(t)
	states := &intentState{}
	w.wrap = func(s State) State { states.State = s; return states }
	w.crash(1)
	q := w.deadQueue()
	w.put(q, 0, values(10)...)
	states.refuse.Store(true)
	w.fail(q, 3)
	w.eventually(func() bool { return states.seen.Load() > 0 }, "the copy stands, and is not settled")
	w.e.Forget(share.Key{Group: queueGroup, Topic: q.ID})
	dlq := w.cluster.Image().Topic("q-dlq")
	p, err := w.replicas.Partition(dlq.ID, 0)
	require.NoError(t, err)
	known, err := p.Producers()
	require.NoError(t, err)
	require.Len(t, known, 1)
	part, err := w.replicas.Partition(q.ID, 0)
	require.NoError(t, err)
	k := share.Key{Group: queueGroup, Topic: q.ID}
	asks := newPartition(w.e, k, part)
	in := func(sequence int32) share.Batch {
		return share.Batch{First: 3, Last: 3, Intent: &share.Intent{Topic: dlq.ID, ProducerID: known[0].ID, Sequence: sequence}}
	}
	stand := make([]bool, 2)
	require.NoError(t, asks.search(p, []share.Batch{in(0), in(1)}, stand))
	require.Equal(t, []bool{true, false}, stand)
	states.refuse.Store(false)
	w.take(q, queueGroup, "x", 1)
	w.deadLettered(q, 1)
	require.Equal(t, []string{"3@q-0-3"}, w.inTopic("q-dlq"))
}

func TestATargetThatIsGoneIsMadeAgain(t *testing.T) {
	w := newWorld(t)
	states := &intentState{}
	w.wrap = func(s State) State { states.State = s; return states }
	w.crash(1)
	q := w.deadQueue()
	w.put(q, 0, values(10)...)
	w.fail(q, 1)
	w.deadLettered(q, 1)
	states.refuse.Store(true)
	w.fail(q, 3)
	w.eventually(func() bool { return states.seen.Load() > 0 }, "the copy stands, and is not settled")
	require.NoError(t, w.cluster.DeleteTopic(t.Context(), w.cluster.Image().Topic("q-dlq").ID))
	states.refuse.Store(false)
	w.deadLettered(q, 2)
	require.Equal(t, []string{"3@q-0-3"}, w.inTopic("q-dlq"), "in the one that was made instead")
	w.fail(q, 5)
	w.deadLettered(q, 3)
	require.Equal(t, []string{"3@q-0-3", "5@q-0-5"}, w.inTopic("q-dlq"))
}

func TestASourceThatRetentionTook(t *testing.T) {
	w := newWorld(t)
	states := &intentState{}
	w.wrap = func(s State) State { states.State = s; return states }
	w.crash(1)
	q := w.deadQueue()
	w.put(q, 0, values(5)...)
	w.put(q, 0, values(5)...)
	states.refuse.Store(true)
	w.fail(q, 3, 6)
	w.eventually(func() bool { return states.seen.Load() > 3 }, "copies stand, and are not settled")
	p, err := w.replicas.Partition(q.ID, 0)
	require.NoError(t, err)
	_, err = p.DeleteRecords(5)
	require.NoError(t, err)
	states.refuse.Store(false)
	w.eventually(func() bool {
		c := w.count(q, queueGroup).Groups[0]
		return c.DeadLettered == 1 && c.Skipped >= 4
	}, "what is left is settled")
	w.fail(q, 8)
	w.deadLettered(q, 2)
	require.Equal(t, "3@q-0-8", w.inTopic("q-dlq")[len(w.inTopic("q-dlq"))-1])
}

func TestADeadLetterThatItsTopicDoesNotTake(t *testing.T) {
	w := newWorld(t)
	q := w.deadQueue()
	w.topic("q-dlq", 1, "errors.deadletterqueue.group.enable", "true", "max.message.bytes", "2000")
	core, logged := observer.New(zap.ErrorLevel)
	w.e.o.Log = zap.New(core)
	w.put(q, 0, message{value: "a"}, message{value: strings.Repeat("x", 3000)}, message{value: "c"}, message{value: strings.Repeat("y", 3000)})
	w.fail(q, 0, 1, 2)
	w.deadLettered(q, 2)
	require.Equal(t, []string{"a@q-0-0", "c@q-0-2"}, w.inTopic("q-dlq"))
	w.eventually(func() bool { return w.count(q, queueGroup).Groups[0].Available == 1 }, "it is settled without a copy")
	require.Equal(t, "0+1", w.settle(q, queueGroup, "f", private.Fail, 3))
	w.eventually(func() bool { return w.count(q, queueGroup).Groups[0].Available == 0 }, "it is settled without a copy")
	told := logged.All()
	require.Len(t, told, 1, "not one for each")
	about := told[0].ContextMap()
	require.EqualValues(t, 1, about["offset"])
	require.EqualValues(t, 2000, about["max.message.bytes"])
	require.Greater(t, about["bytes"], int64(3000))
	require.Contains(t, about["partition"], queueGroup)

	// One that wants keys: it refuses what comes.
	require.NoError(t, w.cluster.DeleteTopic(t.Context(), w.cluster.Image().Topic("q-dlq").ID))
	w.topic("q-dlq", 1, "errors.deadletterqueue.group.enable", "true", "cleanup.policy", "compact")
	w.set(queueGroup, "errors.deadletterqueue.copy.record.enable", "false")
	w.put(q, 0, message{value: "d"}, message{value: "e"})
	w.fail(q, 4, 5)
	w.eventually(func() bool { return w.count(q, queueGroup).Groups[0].Available == 0 }, "they are settled without copies")
	require.Empty(t, w.inTopic("q-dlq"))
}

// What a queue takes its dead letters' topic takes with the headers that say where it was, however many headers it has already.
func TestTheLargestMessageOfAQueueFitsIntoItsDeadLetters(t *testing.T) {
	w := newWorld(t)
	q := w.deadQueue()
	var b record.Builder
	b.Reset(record.Spec{})
	headers := make([]record.Header, 30_000)
	for i := range headers {
		headers[i] = record.Header{Name: "h"}
	}
	b.Append(time.Now().UnixMilli(), nil, []byte(strings.Repeat("x", 100_000)), headers...)
	batch, err := b.Build()
	require.NoError(t, err)
	require.NoError(t, w.cluster.AlterConfigs(t.Context(), "topic", "q", func(map[string]string) (map[string]string, error) {
		return map[string]string{"max.message.bytes": fmt.Sprint(len(batch))}, nil
	}))
	w.append(q, 0, slices.Clone(batch))
	w.fail(q, 0)
	w.deadLettered(q, 1)
	require.Len(t, w.inTopic("q-dlq"), 1)
}

func TestDeadLettersOfShareGroups(t *testing.T) {
	w := newWorld(t)
	q := w.topic("q", 1)
	w.put(q, 0, values(8)...)
	fail := func(group string) {
		for i := range 2 {
			ask := asked(q, group, fmt.Sprint("m", i))
			ask.MaxRecords = 1
			require.Equal(t, "0", strings.Split(brief(w.lease(ask)), "/")[0])
			require.Equal(t, "0+1", w.settle(q, group, fmt.Sprint("m", i), private.Release, 0))
		}
		w.eventually(func() bool { return w.count(q, group).Groups[0].Available == 7 }, "it is settled")
	}
	group := func(name string, nameValue ...string) {
		w.set(name, append([]string{"share.auto.offset.reset", "earliest", "share.delivery.count.limit", "2", "errors.deadletterqueue.topic.name", "dlq.q"}, nameValue...)...)
	}
	group("none")
	fail("none")
	require.Nil(t, w.cluster.Image().Topic("dlq.q"), "topics are not made")
	w.topic("dlq.q", 3)
	group("closed")
	fail("closed")
	require.Empty(t, w.inTopic("dlq.q"), "the topic does not take dead letters")
	require.NoError(t, w.cluster.AlterConfigs(t.Context(), "topic", "dlq.q", func(map[string]string) (map[string]string, error) {
		return map[string]string{"errors.deadletterqueue.group.enable": "true"}, nil
	}))
	group("headers")
	fail("headers")
	require.Equal(t, []string{"@q-0-0"}, w.inTopic("dlq.q"), "where it was, and no more")
	group("whole", "errors.deadletterqueue.copy.record.enable", "true")
	fail("whole")
	require.Equal(t, []string{"@q-0-0", "0@q-0-0"}, w.inTopic("dlq.q"))
	require.EqualValues(t, 1, w.count(q, "whole").Groups[0].DeadLettered)
}
