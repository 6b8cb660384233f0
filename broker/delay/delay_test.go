package delay

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/protocol/private"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

func inVirtualTime(t *testing.T, fn func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.stop()
		fn(t, w)
	})
}

func TestMessagesEnterWhenTheyAreDueInOrder(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, w *world) {
		q := w.topic("q", 2, "message.timestamp.type", "LogAppendTime")
		to := Target{q.ID, 1}
		now := time.Now()
		require.NoError(t, w.delay(to, now.Add(3*time.Second), "c", "d"))
		require.NoError(t, w.delay(to, now.Add(time.Second), "a"))
		require.NoError(t, w.delay(to, now.Add(2*time.Second), "b"))
		require.NoError(t, w.delay(Target{q.ID, 0}, now.Add(time.Hour), "far"))
		n, err := w.s.Count(q.ID, 2)
		require.NoError(t, err)
		require.EqualValues(t, 5, n)

		time.Sleep(990 * time.Millisecond)
		require.Empty(t, w.records(to))
		time.Sleep(60 * time.Millisecond)
		require.Equal(t, []string{"a"}, values(w.records(to)))
		time.Sleep(2 * time.Second)
		got := w.records(to)
		require.Equal(t, []string{"a", "b", "c", "d"}, values(got))
		for _, e := range got {
			require.GreaterOrEqual(t, e.log, e.due)
			require.LessOrEqual(t, e.log, e.due+100)
		}
		time.Sleep(time.Hour)
		require.Equal(t, []string{"far"}, values(w.records(Target{q.ID, 0})))
		n, err = w.s.Count(q.ID, 2)
		require.NoError(t, err)
		require.Zero(t, n)
	})
}

func TestManyDueAtOnceGoInBatches(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, w *world) {
		q := w.topic("q", 1)
		to := Target{q.ID, 0}
		due := time.Now().Add(time.Second)
		var want []string
		for i := range 3 {
			var some []string
			for j := range 700 {
				some = append(some, fmt.Sprintf("%d-%d", i, j))
			}
			require.NoError(t, w.delay(to, due, some...))
			want = append(want, some...)
		}
		w.settle(q)
		require.Equal(t, want, values(w.records(to)), "equal due times keep the order of arrival")
	})
}

func TestALargeMessageGoesAlone(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, w *world) {
		q := w.topic("q", 1)
		to := Target{q.ID, 0}
		big := string(make([]byte, 400<<10))
		require.NoError(t, w.delay(to, time.Now().Add(time.Second), "small", big, "other"))
		w.settle(q)
		require.Equal(t, []string{"small", big, "other"}, values(w.records(to)))
	})
}

func TestWhatWaitsSurvivesARestartAndIsNotEarlyThen(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, w *world) {
		q := w.topic("q", 1, "message.timestamp.type", "LogAppendTime")
		to := Target{q.ID, 0}
		due := time.Now().Add(time.Minute)
		require.NoError(t, w.delay(to, due, "later"))
		require.NoError(t, w.delay(to, time.Now().Add(time.Second), "while it was down"))
		w.stop()
		time.Sleep(10 * time.Second)
		require.NoError(t, w.start())
		time.Sleep(time.Second)
		require.Equal(t, []string{"while it was down"}, values(w.records(to)))
		time.Sleep(time.Until(due.Add(time.Second)))
		got := w.records(to)
		require.Equal(t, []string{"while it was down", "later"}, values(got))
		require.GreaterOrEqual(t, got[1].log, due.UnixMilli())
	})
}

func TestCancelledMessagesNeverEnter(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, w *world) {
		q := w.topic("q", 1)
		to := Target{q.ID, 0}
		var many []string
		for i := range cancelAtOnce + 10 {
			many = append(many, fmt.Sprint(i))
		}
		require.NoError(t, w.delay(to, time.Now().Add(time.Second), many...))
		n, err := w.s.Cancel(t.Context(), to)
		require.NoError(t, err)
		require.EqualValues(t, len(many), n)
		require.NoError(t, w.delay(to, time.Now().Add(2*time.Second), "after"))
		time.Sleep(5 * time.Second)
		require.Equal(t, []string{"after"}, values(w.records(to)))
	})
}

func TestMessagesForATopicThatIsGoneAreDropped(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, w *world) {
		gone, stays := w.topic("gone", 1), w.topic("stays", 1)
		require.NoError(t, w.delay(Target{gone.ID, 0}, time.Now().Add(time.Hour), "a", "b"))
		require.NoError(t, w.delay(Target{stays.ID, 0}, time.Now().Add(time.Second), "c"))
		require.NoError(t, w.cluster.DeleteTopics(context.Background(), []uuid.ID{gone.ID})[0])
		w.s.TopicsDeleted([]uuid.ID{gone.ID})
		w.settle(&cluster.Topic{ID: gone.ID, Partitions: make([]cluster.Partition, 1)})
		w.settle(stays)
		require.Equal(t, []string{"c"}, values(w.records(Target{stays.ID, 0})))
	})
}

func TestTooManyWaitingAreRefused(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, w *world) {
		q := w.topic("q", 1)
		w.s.maxPending = 3
		to := Target{q.ID, 0}
		require.NoError(t, w.delay(to, time.Now().Add(time.Second), "a", "b"))
		var full *TooManyError
		require.ErrorAs(t, w.delay(to, time.Now().Add(time.Second), "c", "d"), &full)
		w.settle(q)
		require.NoError(t, w.delay(to, time.Now().Add(time.Second), "c", "d"))
		w.settle(q)
		require.Equal(t, []string{"a", "b", "c", "d"}, values(w.records(to)))
	})
}

// TestHandOverCutAnywhere is durability's rule for copies that happen once: acceptance, intent, copy and settlement are cut at
// every sync point, before and after it took effect, and the power comes back with some of what was not synced. All that was
// accepted enters once, never early; what was not accepted enters once or not at all.
func TestHandOverCutAnywhere(t *testing.T) {
	for _, when := range []vfs.When{vfs.BeforeSync, vfs.AfterSync} {
		for cut := int64(1); ; cut++ {
			done := false
			seed := uint64(cut)*2 + uint64(when)
			t.Run(fmt.Sprintf("when=%d/cut=%d", when, cut), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { done = !cutHandOver(t, cut, when, seed) })
			})
			if done || t.Failed() {
				break
			}
		}
	}
}

// cutHandOver answers whether the cut came before everything was done.
func cutHandOver(t *testing.T, cut int64, when vfs.When, seed uint64) bool {
	w := newWorld(t)
	q := w.topic("q", 1, "message.timestamp.type", "LogAppendTime")
	to := Target{q.ID, 0}
	require.NoError(t, w.delay(to, time.Now().Add(time.Millisecond), "first"))
	w.settle(q)
	want := map[string]int64{}
	accepted := map[string]int64{}
	for _, e := range w.records(to) {
		want["first"], accepted["first"] = e.due, e.due
	}
	w.fs.CutAt(w.fs.Ops()+cut, when)
	for i := range 3 {
		due := time.Now().Add(time.Duration(i%2+1) * 50 * time.Millisecond)
		var values []string
		for j := range 2 {
			values = append(values, fmt.Sprintf("%d-%d", i, j))
			want[values[j]] = due.UnixMilli()
		}
		if w.delay(to, due, values...) == nil {
			for _, v := range values {
				accepted[v] = due.UnixMilli()
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	time.Sleep(time.Second)
	wasCut := w.fs.IsCut()
	w.stop()
	w.fs = w.fs.PowerCut(seed)
	require.NoError(t, w.start())
	defer w.stop()
	time.Sleep(time.Second)
	w.settle(q)
	got := w.records(to)
	require.NoError(t, checkOnce(got, want, nil))
	require.Empty(t, missing(got, accepted), "accepted and lost; there is %v", values(got))
	return wasCut
}

// TestHistories runs random arrivals for several targets with restarts and power cuts between them.
func TestHistories(t *testing.T) {
	runs := 40
	if testing.Short() {
		runs = 10
	}
	for i := range runs {
		seed := uint64(i)
		if i >= runs/2 {
			seed = rand.Uint64()
		}
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { history(t, rand.New(rand.NewPCG(seed, 2))) })
		})
	}
}

func history(t *testing.T, rnd *rand.Rand) {
	w := newWorld(t)
	topics := []*cluster.Topic{w.topic("a", 2, "message.timestamp.type", "LogAppendTime"), w.topic("b", 1, "message.timestamp.type", "LogAppendTime")}
	want, accepted, answered := map[Target]map[string]int64{}, map[Target]map[string]int64{}, map[Target]map[string]int64{}
	for n := range 60 {
		topic := topics[rnd.IntN(2)]
		to := Target{topic.ID, int32(rnd.IntN(len(topic.Partitions)))}
		if want[to] == nil {
			want[to], accepted[to], answered[to] = map[string]int64{}, map[string]int64{}, map[string]int64{}
		}
		var messages []private.DelayedMessage
		for j := range 1 + rnd.IntN(5) {
			due := time.Now().Add(time.Duration(rnd.IntN(3000)-200) * time.Millisecond).UnixMilli()
			value := fmt.Sprintf("%d-%d", n, j)
			want[to][value] = due
			messages = append(messages, private.DelayedMessage{DueMillis: due, Value: []byte(value), Headers: []private.Header{{Key: "h", Value: []byte(value)}}})
		}
		if w.hand(to, messages) == nil {
			for _, m := range messages {
				accepted[to][string(m.Value)] = m.DueMillis
				answered[to][string(m.Value)] = time.Now().UnixMilli()
			}
		}
		time.Sleep(time.Duration(rnd.IntN(200)) * time.Millisecond)
		switch rnd.IntN(12) {
		case 0:
			w.stop()
			require.NoError(t, w.start())
		case 1:
			w.fs.CutAt(w.fs.Ops()+int64(rnd.IntN(20)), vfs.When(rnd.IntN(2)))
			time.Sleep(time.Duration(rnd.IntN(400)) * time.Millisecond)
			w.stop()
			w.fs = w.fs.PowerCut(rnd.Uint64())
			require.NoError(t, w.start())
		}
	}
	if w.fs.IsCut() {
		w.stop()
		w.fs = w.fs.PowerCut(rnd.Uint64())
		require.NoError(t, w.start())
	}
	defer w.stop()
	time.Sleep(10 * time.Second)
	for _, topic := range topics {
		w.settle(topic)
	}
	for to := range want {
		got := w.records(to)
		require.NoError(t, checkOnce(got, want[to], answered[to]))
		require.Empty(t, missing(got, accepted[to]), "accepted and lost")
	}
}

func FuzzRecords(f *testing.F) {
	f.Add(encodeMessage(&private.DelayedMessage{Value: []byte("v"), Headers: []private.Header{{Key: "k", Value: nil}}}))
	f.Add((&producer{id: 1, sequence: 2, open: &intent{from: 3, messages: []ref{{4, 5}}}}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := decodeMessage(b); err == nil {
			again, err := decodeMessage(encodeMessage(&m))
			require.NoError(t, err)
			require.Equal(t, m, again)
		}
		if p, err := decodeProducer(b); err == nil {
			again, err := decodeProducer(p.encode())
			require.NoError(t, err)
			require.Equal(t, p, again)
		}
	})
}
