package share

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/protocol/private"
	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/storage/log"
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

func TestGroupsAreIndependent(t *testing.T) {
	w := newWorld(t)
	q := w.queue(1, queueGroup)
	w.set("other", "share.auto.offset.reset", "earliest")
	w.put(q, 0, values(3)...)
	require.Equal(t, "0 1 2", w.take(q, queueGroup, "one", 5))
	require.Equal(t, "3+0", w.settle(q, queueGroup, "one", private.Accept, 0, 1, 2))
	require.Equal(t, "0 1 2", w.take(q, "other", "one", 5))
	require.Equal(t, "INVALID_RECORD_STATE", w.settle(q, queueGroup, "one", private.Accept, 0))
	require.Equal(t, "", w.take(q, "late", "one", 5), "latest is where groups begin that say nothing")
	w.send(q, "x")
	require.Equal(t, "x", w.take(q, "late", "one", 5))
	n := w.count(q, queueGroup, "other", "late", "never")
	require.Equal(t, []private.GroupCount{{Group: queueGroup, Available: 1, Accepted: 3}, {Group: "other", Available: 4, InFlight: 3},
		{Group: "late", Available: 1, InFlight: 1}, {Group: "never"}}, n.Groups)
	require.Equal(t, "0+3", w.settle(q, "other", "one", private.Reject, 0, 1, 2))
}

func TestAPositionIsKeptBeforeAnythingIsTaken(t *testing.T) {
	w := newWorld(t)
	q := w.topic("q", 1)
	w.send(q, "old")
	require.Equal(t, "", w.take(q, "late", "one", 5))
	w.send(q, "new")
	w.crash(3)
	require.Equal(t, "new", w.take(q, "late", "one", 5))
}

func TestOrderedGroupsPassNothing(t *testing.T) {
	w := newWorld(t)
	q := w.queue(1, queueGroup, "share.order", "partition", "share.failure.count.limit", "2", "errors.deadletterqueue.topic.name", "q-dlq",
		"errors.deadletterqueue.copy.record.enable", "true")
	w.put(q, 0, values(6)...)
	require.Equal(t, "0 1", w.take(q, queueGroup, "one", 2))
	require.Equal(t, "", w.take(q, queueGroup, "two", 2))
	require.Equal(t, "0+1", w.settleAll(&private.SettleRequest{Group: queueGroup, TopicID: q.ID, InOrder: true, Leases: []private.SettledLease{
		{Holder: "one", Records: []private.SettledRecord{{Offset: 0, Action: private.Fail}}}}}))
	require.Equal(t, "0/1 1 2", w.take(q, queueGroup, "three", 3), "the one behind it was given back without a failure")
	require.Equal(t, "0+1", w.settle(q, queueGroup, "three", private.Fail, 0))
	w.eventually(func() bool { return len(w.inTopic("q-dlq")) == 1 }, "it becomes a dead letter")
	require.Equal(t, "", w.take(q, queueGroup, "four", 3), "the others are held")
	require.Equal(t, "2+0", w.settle(q, queueGroup, "three", private.Accept, 1, 2))
	require.Equal(t, "3 4 5", w.take(q, queueGroup, "four", 3), "dead letters step aside")
}

func TestLabels(t *testing.T) {
	w := newWorld(t)
	q := w.queue(1, queueGroup)
	w.put(q, 0, message{"a", []string{"x"}}, message{"b", nil}, message{"c", []string{"x", "y"}}, message{"d", []string{"y"}})
	ask := asked(q, queueGroup, "one")
	ask.Labels, ask.AllLabels = []string{"x", "y"}, true
	require.Equal(t, "c", brief(w.lease(ask)))
	require.Equal(t, private.GroupCount{Group: queueGroup, Available: 1, InFlight: 1, Filtered: 3}, w.count(q, queueGroup).Groups[0])
	w.set("g2", "share.auto.offset.reset", "earliest")
	ask.Group, ask.AllLabels = "g2", false
	require.Equal(t, "a c d", brief(w.lease(ask)))
	require.EqualValues(t, 1, w.count(q, "g2").Groups[0].Filtered)
}

func TestALongRunWithoutTheLabelIsPassedOver(t *testing.T) {
	w := newWorld(t)
	q := w.queue(1, queueGroup)
	for range 12 {
		w.put(q, 0, values(1000)...)
	}
	w.put(q, 0, message{"here", []string{"x"}})
	ask := asked(q, queueGroup, "one")
	ask.Labels = []string{"x"}
	r := w.wait(ask, 3*time.Second)
	require.Equal(t, "here", r.leased())
	require.Equal(t, private.GroupCount{Group: queueGroup, Available: 1, InFlight: 1, Filtered: 12_000}, w.count(q, queueGroup).Groups[0])
	ask.Holder, ask.MaxWaitMillis = "two", 0
	require.Equal(t, "", brief(w.lease(ask)))
}

func TestWhatDoesNotFitIsNotTaken(t *testing.T) {
	w := newWorld(t)
	q := w.queue(1, queueGroup)
	large := strings.Repeat("x", 1000)
	w.put(q, 0, message{value: large}, message{value: large}, message{value: large})
	w.put(q, 0, message{value: large})
	ask := asked(q, queueGroup, "one")
	ask.MaxBytes = 10
	require.Len(t, w.lease(ask).Records, 1, "one comes however large")
	ask.MaxBytes = 2500
	require.Len(t, w.lease(ask).Records, 2)
	require.Len(t, w.lease(ask).Records, 1)
	require.EqualValues(t, 4, w.count(q, queueGroup).Groups[0].InFlight)
}

func TestARecordComesWhole(t *testing.T) {
	w := newWorld(t)
	q := w.queue(1, queueGroup)
	w.put(q, 0, message{"a", []string{"x"}})
	got := w.lease(asked(q, queueGroup, "one"))
	require.InDelta(t, time.Now().Add(30*time.Second).UnixMilli(), got.UntilMillis, 5000)
	r := got.Records[0]
	require.InDelta(t, time.Now().UnixMilli(), r.Timestamp, 5000)
	r.Timestamp = 0
	require.Equal(t, private.LeasedRecord{Key: []byte("k"), Value: []byte("a"), Deliveries: 1,
		Headers: []private.Header{{Key: "h", Value: []byte("v")}, {Key: private.LabelHeader, Value: []byte("x")}}}, r)
}

func TestPartitionsTakeTurnsInLeases(t *testing.T) {
	w := newWorld(t)
	q := w.queue(3, queueGroup)
	for n := range int32(3) {
		w.put(q, n, values(4)...)
	}
	ask := asked(q, queueGroup, "one")
	ask.MaxRecords = 1
	var order []int32
	for range 6 {
		order = append(order, w.lease(ask).Partition)
	}
	require.Equal(t, []int32{0, 1, 2, 0, 1, 2}, order)
	ask.Partition, ask.MaxRecords = 1, 10
	require.Equal(t, "2 3", brief(w.lease(ask)))
	ask.Partition = 7
	require.Equal(t, "UNKNOWN_TOPIC_OR_PARTITION", brief(w.lease(ask)))
}

func TestSettlingChecksEverythingFirst(t *testing.T) {
	w := newWorld(t)
	q := w.queue(2, queueGroup)
	w.put(q, 0, values(4)...)
	w.put(q, 1, values(4)...)
	for n := range int32(2) {
		ask := asked(q, queueGroup, fmt.Sprint("h", n))
		ask.Partition = n
		require.Equal(t, "0 1 2 3", brief(w.lease(ask)))
	}
	rec := func(offset int64, delivery int32, a private.Action) private.SettledRecord {
		return private.SettledRecord{Offset: offset, Delivery: delivery, Action: a}
	}
	req := func(inOrder bool, leases ...private.SettledLease) *private.SettleRequest {
		return &private.SettleRequest{Group: queueGroup, TopicID: q.ID, InOrder: inOrder, Leases: leases}
	}
	h0 := func(r ...private.SettledRecord) private.SettledLease {
		return private.SettledLease{Partition: 0, Holder: "h0", Records: r}
	}
	h1 := func(r ...private.SettledRecord) private.SettledLease {
		return private.SettledLease{Partition: 1, Holder: "h1", Records: r}
	}
	bad := "INVALID_RECORD_STATE"
	require.Equal(t, bad, w.settleAll(req(false, h0(rec(0, 1, private.Accept)), h1(rec(9, 0, private.Accept)))))
	require.Equal(t, bad, w.settleAll(req(false, h0(rec(0, 1, private.Accept)), h1(rec(0, 2, private.Accept)))), "another delivery is meant")
	require.Equal(t, bad, w.settleAll(req(true, h0(rec(0, 1, private.Accept)), h0(rec(0, 1, private.Accept)))), "the same twice")
	require.Equal(t, "INVALID_REQUEST", w.settleAll(req(false, h0(rec(0, 0, private.Accept), rec(0, 0, private.Accept)))))
	require.Equal(t, "INVALID_REQUEST", w.settleAll(req(false, h0(rec(0, 0, 9)))))
	require.Equal(t, []string{"0:0-3 1 h0", "1:0-3 1 h1"}, w.listed(q, queueGroup), "nothing has changed")

	require.Equal(t, "1+1", w.settleAll(req(true, h0(rec(2, 0, private.Fail), rec(0, 0, private.Accept)))), "in the order of offsets; stopped at 1")
	require.Equal(t, []string{"0:1-3 1 h0", "1:0-3 1 h1"}, w.listed(q, queueGroup), "what is behind an unmentioned one stays")
	require.Equal(t, "1+2", w.settleAll(req(true, h0(rec(1, 0, private.Accept)), h1(rec(0, 0, private.Fail), rec(2, 0, private.Accept)))))
	require.Equal(t, []string{"0:2-3 1 h0"}, w.listed(q, queueGroup), "what is behind a failure is given back")
	ask := asked(q, queueGroup, "h2")
	require.Equal(t, "0/1 1 2 3", brief(w.lease(ask)))
	require.Equal(t, bad, w.settleAll(req(false, h1(rec(1, 0, private.Accept)))))
	require.Equal(t, "0+1", w.settleAll(req(false, private.SettledLease{Partition: 1, Force: true, Records: []private.SettledRecord{rec(3, 0, private.Release)}})))
	require.Equal(t, []string{"0:2-3 1 h0", "1:0-0 1 h2", "1:1-2 1 h2"}, w.listed(q, queueGroup))
}

func TestARenewedLeaseRunsLonger(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		q := w.queue(1, queueGroup)
		w.put(q, 0, values(2)...)
		require.Equal(t, "0 1", w.take(q, queueGroup, "one", 2))
		<-time.After(20 * time.Second)
		require.Equal(t, "0+1", w.settleAll(&private.SettleRequest{Group: queueGroup, TopicID: q.ID, RenewMillis: 60_000, Leases: []private.SettledLease{
			{Holder: "one", Records: []private.SettledRecord{{Offset: 0, Action: private.Renew}}}}}))
		<-time.After(15 * time.Second)
		require.Equal(t, "1/1", w.take(q, queueGroup, "two", 2))
		w.crash(1)
		<-time.After(40 * time.Second)
		require.Equal(t, []string{"0:0-0 1 one", "0:1-1 1 two"}[:1], w.listed(q, queueGroup)[:1], "also across a loss of power")
		<-time.After(10 * time.Second)
		require.Equal(t, "0/1 1/2", w.take(q, queueGroup, "two", 2))
	})
}

func TestNonDurableGroupsForgetTheirLeases(t *testing.T) {
	w := newWorld(t)
	w.set("k", "share.auto.offset.reset", "earliest")
	q := w.topic("q", 1)
	w.put(q, 0, values(3)...)
	require.Equal(t, "0 1 2", w.take(q, "k", "one", 3))
	require.Equal(t, "1+0", w.settle(q, "k", "one", private.Accept, 1))
	w.crash(1)
	require.Equal(t, "0 2", w.take(q, "k", "two", 3), "as in Kafka: what was not acknowledged is free")
}

func TestReadCommittedLeavesOutWhatWasAborted(t *testing.T) {
	w := newWorld(t)
	w.set("k", "share.auto.offset.reset", "earliest", "share.isolation.level", "read_committed")
	w.set("u", "share.auto.offset.reset", "earliest")
	q := w.topic("q", 1)
	txn := func(id int64, sequence int32, value string) {
		var b record.Builder
		b.Reset(record.Spec{Producer: &record.Producer{ID: id, Sequence: sequence}, Transactional: true})
		b.Append(time.Now().UnixMilli(), nil, []byte(value))
		built, err := b.Build()
		require.NoError(t, err)
		p, err := w.replicas.Partition(q.ID, 0)
		require.NoError(t, err)
		_, err = p.Append(replica.Append{Batches: slices.Clone(built), Acks: -1, Epoch: -1})
		require.NoError(t, err)
	}
	marker := func(id int64, kind record.ControlType) {
		p, err := w.replicas.Partition(q.ID, 0)
		require.NoError(t, err)
		_, err = p.Append(replica.Append{Batches: record.MarkerBatch(id, 0, record.Marker{Type: kind}, time.Now().UnixMilli()), Origin: log.Coordinator, Acks: -1, Epoch: -1})
		require.NoError(t, err)
	}
	txn(1, 0, "aborted")
	txn(2, 0, "committed")
	marker(1, record.Abort)
	txn(1, 1, "later")
	marker(2, record.Commit)
	txn(3, 0, "open")
	marker(1, record.Commit)
	w.send(q, "plain")
	require.Equal(t, "committed later", w.take(q, "k", "one", 10), "up to what is undecided")
	require.Equal(t, "aborted committed later open plain", w.take(q, "u", "one", 10))
	marker(3, record.Abort)
	w.send(q, "end")
	require.Equal(t, "plain end", w.take(q, "k", "two", 10))
	require.Equal(t, "2+0", w.settle(q, "k", "one", private.Accept, 1, 3))
	require.Equal(t, "2+0", w.settle(q, "k", "two", private.Accept, 7, 9))
	require.Zero(t, w.count(q, "k").Groups[0].Available)
}

func TestRetentionPassesOverWhatIsHeld(t *testing.T) {
	w := newWorld(t)
	q := w.queue(1, queueGroup)
	w.put(q, 0, values(3)...)
	w.put(q, 0, values(3)...)
	require.Equal(t, "0 1", w.take(q, queueGroup, "one", 2))
	p, err := w.replicas.Partition(q.ID, 0)
	require.NoError(t, err)
	_, err = p.DeleteRecords(4)
	require.NoError(t, err)
	require.Equal(t, private.GroupCount{Group: queueGroup, Available: 2, Skipped: 4}, w.count(q, queueGroup).Groups[0])
	require.Equal(t, "1 2", w.take(q, queueGroup, "two", 9))
	w.eventually(func() bool { return w.count(q, queueGroup).Groups[0].Skipped == 4 }, "skipped records are counted")
	require.Equal(t, "INVALID_RECORD_STATE", w.settle(q, queueGroup, "one", private.Accept, 0))
}

func TestCountsOfGroupsThatAreNotInUse(t *testing.T) {
	w := newWorld(t)
	q := w.queue(1, queueGroup)
	w.set("idle", "share.auto.offset.reset", "earliest")
	w.put(q, 0, values(5)...)
	require.Equal(t, "0 1 2", w.take(q, queueGroup, "one", 3))
	require.Equal(t, "1+0", w.settle(q, queueGroup, "one", private.Accept, 1))
	w.crash(1)
	require.Equal(t, private.GroupCount{Group: "idle", Available: 5}, w.count(q, "idle").Groups[0])
	require.Zero(t, w.e.loaded(), "nothing is loaded for that")
	require.Equal(t, private.GroupCount{Group: queueGroup, Available: 4, InFlight: 2, Accepted: 1}, w.count(q, queueGroup).Groups[0])
	require.Equal(t, "2+0", w.settle(q, queueGroup, "one", private.Accept, 0, 2))
	require.Equal(t, "3 4", w.take(q, queueGroup, "one", 3))
	require.Equal(t, "2+0", w.settle(q, queueGroup, "one", private.Accept, 3, 4))
	w.crash(2)
	require.Equal(t, private.GroupCount{Group: queueGroup, Accepted: 5}, w.count(q, queueGroup).Groups[0])
	require.Zero(t, w.e.loaded())
}

// Many take and settle at once: each record is held by one at a time, all are settled in the end, and the counters agree.
func TestManyHoldersAtOnce(t *testing.T) {
	w := newWorld(t)
	q := w.queue(2, queueGroup)
	const records, holders = 400, 8
	for n := range int32(2) {
		w.put(q, n, values(records/2)...)
	}
	var mu sync.Mutex
	delivered := map[string]int{}
	var wg sync.WaitGroup
	for h := range holders {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(h), 7))
			for {
				ask := asked(q, queueGroup, fmt.Sprint(h))
				ask.MaxRecords, ask.MaxWaitMillis = 1+rnd.Int32N(5), 300
				resp := w.do(w.e.Lease, ask).answer().(*private.LeaseResponse)
				if resp.ErrorCode != 0 || len(resp.Records) == 0 {
					return
				}
				l := private.SettledLease{Partition: resp.Partition, Holder: fmt.Sprint(h)}
				for _, r := range resp.Records {
					a := private.Accept
					if rnd.IntN(4) == 0 {
						a = private.Fail
					}
					l.Records = append(l.Records, private.SettledRecord{Offset: r.Offset, Delivery: r.Deliveries, Action: a})
				}
				got := w.do(w.e.Settle, &private.SettleRequest{Group: queueGroup, TopicID: q.ID, Leases: []private.SettledLease{l}}).answer().(*private.SettleResponse)
				if got.ErrorCode != 0 {
					t.Errorf("settle: %d %s", got.ErrorCode, got.ErrorMessage)
					return
				}
				mu.Lock()
				for i, r := range resp.Records {
					if l.Records[i].Action == private.Accept {
						delivered[fmt.Sprint(resp.Partition, r.Offset)]++
					}
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	require.Len(t, delivered, records)
	for k, n := range delivered {
		require.Equal(t, 1, n, k)
	}
	require.Equal(t, private.GroupCount{Group: queueGroup, Accepted: records}, w.count(q, queueGroup).Groups[0])
}
