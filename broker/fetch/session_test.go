package fetch

import (
	"fmt"
	"math/rand"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/coordinator/cluster"
)

// in makes a request one of a session.
func in(r *kmsg.FetchRequest, id, epoch int32) *kmsg.FetchRequest {
	r.SessionID, r.SessionEpoch = id, epoch
	return r
}

// moved asks for a partition from another offset on.
func moved(t *cluster.Topic, n int32, offset int64) *kmsg.FetchRequest {
	r := asked(t, n)
	r.Topics[0].Partitions[0].FetchOffset = offset
	return r
}

func forgetting(t *cluster.Topic, partitions ...int32) *kmsg.FetchRequest {
	r := asked(nil)
	f := kmsg.NewFetchRequestForgottenTopic()
	f.Topic, f.TopicID, f.Partitions = t.Name, t.ID, partitions
	r.ForgottenTopics = append(r.ForgottenTopics, f)
	return r
}

func TestASessionTellsOnlyNews(t *testing.T) {
	w := newWorld(t)
	tp := w.topic("t", 3)
	w.produce(tp, 0, 100)
	size := len(batch(1, 100))
	first := w.ask(in(asked(tp, 0, 1), 0, 0))
	require.NotZero(t, first.SessionID)
	require.Equal(t, fmt.Sprintf("0:%d 1:0", size), shown(first))
	id := first.SessionID
	require.Equal(t, fmt.Sprintf("0:%d", size), shown(w.ask(in(asked(nil), id, 1))), "records are there again until it moves on")
	require.Empty(t, shown(w.ask(in(moved(tp, 0, 1), id, 2))))
	require.Equal(t, "2:0", shown(w.ask(in(asked(tp, 2), id, 3))), "what was never mentioned")
	w.produce(tp, 1, 100)
	require.Equal(t, fmt.Sprintf("1:%d", size), shown(w.ask(in(asked(nil), id, 4))))
	require.Equal(t, "0:0:OFFSET_OUT_OF_RANGE", shown(w.ask(in(moved(tp, 0, 9), id, 5)))[:len("0:0:OFFSET_OUT_OF_RANGE")])
	got := shown(w.ask(in(forgetting(tp, 1), id, 6)))
	require.Equal(t, "0:0:OFFSET_OUT_OF_RANGE", got, "errors are repeated")
	require.Equal(t, "0:0", shown(w.ask(in(moved(tp, 0, 1), id, 7))), "that an error is over is news")
	require.Equal(t, 2, w.f.o.Sessions.Places())
	require.Empty(t, shown(w.ask(in(forgetting(tp, 0, 2), id, 8))))
	require.Zero(t, w.f.o.Sessions.Len(), "nothing is left in it")
	require.Zero(t, w.f.o.Sessions.Places())
}

func TestSessionsThatAreNotRight(t *testing.T) {
	w := newWorld(t)
	tp := w.topic("t", 2)
	id := w.ask(in(asked(tp, 0), 0, 0)).SessionID
	byName := in(asked(tp, 0), id, 1)
	byName.Version = 12
	require.Equal(t, "FETCH_SESSION_TOPIC_ID_ERROR", shown(w.ask(byName)))
	require.Equal(t, "INVALID_FETCH_SESSION_EPOCH", shown(w.ask(in(asked(nil), id, 2))))
	require.Equal(t, "FETCH_SESSION_ID_NOT_FOUND", shown(w.ask(in(asked(nil), id+1, 1))))
	require.Empty(t, shown(w.ask(in(asked(nil), id, 1))), "those changed nothing")
	require.Equal(t, "INVALID_FETCH_SESSION_EPOCH", shown(w.ask(in(asked(nil), id, 1))), "a repeat")
	second := w.ask(in(asked(tp, 0), id, 0))
	require.NotEqual(t, id, second.SessionID)
	require.Equal(t, "FETCH_SESSION_ID_NOT_FOUND", shown(w.ask(in(asked(nil), id, 2))), "replaced")
	last := w.ask(in(asked(tp, 0), second.SessionID, -1))
	require.Zero(t, last.SessionID)
	require.Equal(t, "0:0", shown(last))
	require.Zero(t, w.f.o.Sessions.Len())
	w.f = w.fetcher(0)
	require.Zero(t, w.ask(in(asked(tp, 0), 0, 0)).SessionID, "turned off")
	old := in(asked(tp, 0), 0, 0)
	old.Version = 6
	require.Zero(t, w.ask(old).SessionID)
}

// A topic made again under its name is another one for clients that know ids, and the same for those that know names.
func TestTopicsMadeAgainUnderASession(t *testing.T) {
	w := newWorld(t)
	tp := w.topic("t", 1)
	w.produce(tp, 0, 10)
	byName := func(r *kmsg.FetchRequest) *kmsg.FetchRequest { r.Version = 12; return r }
	byID, named := w.ask(in(moved(tp, 0, 1), 0, 0)).SessionID, w.ask(byName(in(moved(tp, 0, 0), 0, 0))).SessionID
	w.delete(tp)
	require.Equal(t, "0:0:UNKNOWN_TOPIC_OR_PARTITION", shown(w.ask(in(asked(nil), byID, 1))))
	require.Equal(t, "0:0:UNKNOWN_TOPIC_ID", shown(w.ask(in(moved(tp, 0, 1), 0, 0))), "by who asks for the first time")
	require.Equal(t, "0:0:UNKNOWN_TOPIC_OR_PARTITION", shown(w.ask(byName(in(asked(nil), named, 1)))))
	again := w.topic("t", 1)
	w.produce(again, 0, 1000)
	require.Equal(t, "0:0:INCONSISTENT_TOPIC_ID", shown(w.ask(in(asked(nil), byID, 2))))
	require.Equal(t, fmt.Sprintf("0:%d", len(batch(1, 1000))), shown(w.ask(byName(in(asked(nil), named, 2)))))
	both := in(asked(again, 0), byID, 3)
	both.ForgottenTopics = forgetting(tp, 0).ForgottenTopics
	require.Equal(t, fmt.Sprintf("0:%d", len(batch(1, 1000))), shown(w.ask(both)))
}

// Of two connections that use one session the later request counts; the answer to the earlier one says so instead of
// leaving its client with what the session does not know of.
func TestARequestOvertakenInItsSession(t *testing.T) {
	w := newWorld(t)
	tp := w.topic("t", 1)
	id := w.ask(in(asked(tp, 0), 0, 0)).SessionID
	waiting := in(asked(nil), id, 1)
	waiting.MaxWaitMillis = 60_000
	first := w.send(waiting)
	require.True(t, first.waits())
	second := in(asked(nil), id, 2)
	second.MaxWaitMillis = 60_000
	other := w.send(second)
	w.produce(tp, 0, 100)
	require.Equal(t, "INVALID_FETCH_SESSION_EPOCH", shown(first.answer()))
	require.Equal(t, fmt.Sprintf("0:%d", len(batch(1, 100))), shown(other.answer()))
}

func TestNoSessionIsOpenedForAClientThatIsGone(t *testing.T) {
	w := newWorld(t)
	r := in(asked(w.topic("t", 1), 0), 0, 0)
	r.MaxWaitMillis = 60_000
	p := w.send(r)
	require.Zero(t, w.f.o.Sessions.Len(), "not before the answer")
	p.cancel()
	require.Zero(t, p.answer().SessionID)
	require.Zero(t, w.f.o.Sessions.Len())
}

// Those answered with records come last, so that a limit on an answer's size starves nobody.
func TestPartitionsTakeTurns(t *testing.T) {
	w := newWorld(t)
	tp := w.topic("t", 3)
	for range 2 {
		for n := range int32(3) {
			w.produce(tp, n, 100)
		}
	}
	one := func(r *kmsg.FetchRequest) *kmsg.FetchRequest { r.MaxBytes = 1; return r }
	size := len(batch(1, 100))
	first := w.ask(one(in(asked(tp, 0, 1, 2), 0, 0)))
	require.Equal(t, fmt.Sprintf("0:%d 1:0 2:0", size), shown(first))
	id := first.SessionID
	var order []int32
	for i := range int32(6) {
		r := one(in(asked(nil), id, i+1))
		if i > 0 {
			last := order[len(order)-1]
			r.Topics = moved(tp, last, 1).Topics
		}
		for _, p := range w.ask(r).Topics[0].Partitions {
			if len(p.RecordBatches) > 0 {
				order = append(order, p.Partition)
			}
		}
	}
	require.Equal(t, []int32{0, 1, 2, 0, 1, 2}, order)
}

func TestTheTableOfSessionsIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.f = w.fetcher(3)
		tp := w.topic("t", 10)
		open := func(n ...int32) int32 { return w.ask(in(asked(tp, n...), 0, 0)).SessionID }
		alive := func(id int32) bool {
			x := w.f.o.Sessions.find(id)
			return x != nil
		}
		small, middle, large := open(1), open(1, 2), open(1, 2, 3)
		require.Zero(t, open(1, 2, 3, 4), "young sessions stay")
		time.Sleep(evictAfter)
		w.ask(in(asked(nil), small, 1))
		w.ask(in(asked(nil), middle, 1))
		time.Sleep(evictAfter - time.Second)
		w.ask(in(asked(nil), large, 1))
		require.Zero(t, open(5), "none is idle for long enough, none is smaller")
		four := open(1, 2, 3, 4)
		require.NotZero(t, four)
		require.False(t, alive(small), "the smallest gives way to a larger one")
		require.Equal(t, 3, w.f.o.Sessions.Len())
		time.Sleep(2 * time.Second)
		require.NotZero(t, open(5))
		require.False(t, alive(middle), "unused for longest")
		require.True(t, alive(large))
		require.True(t, alive(four))
	})
}

// No client makes a session grow without end, not by increments either.
func TestPlacesOfAllSessionsAreBounded(t *testing.T) {
	w := newWorld(t)
	w.f.o.Sessions.maxPlaces = 10
	tp := w.topic("t", 20)
	id := w.ask(in(asked(tp, 0, 1, 2, 3), 0, 0)).SessionID
	require.Zero(t, w.ask(in(asked(tp, 0, 1, 2, 3, 4, 5, 6), 0, 0)).SessionID, "no room: answered without a session")
	require.Len(t, w.ask(in(asked(tp, 4, 5, 6, 7, 8, 9), id, 1)).Topics[0].Partitions, 6)
	require.Equal(t, 10, w.f.o.Sessions.Places())
	require.Empty(t, shown(w.ask(in(asked(tp, 3, 4), id, 2))), "no growth")
	require.Equal(t, "FETCH_SESSION_ID_NOT_FOUND", shown(w.ask(in(asked(tp, 3, 10), id, 3))))
	require.Zero(t, w.f.o.Sessions.Places())
	require.Zero(t, w.f.o.Sessions.Len())
}

func TestASessionThatShrankKeepsNoRoom(t *testing.T) {
	places := make([]*place, 5000)
	for i := range places {
		places[i] = &place{partition: int32(i)}
	}
	x := newSession(places, true, false, time.Now())
	var gone kmsg.FetchRequestForgottenTopic
	for i := range int32(4990) {
		gone.Partitions = append(gone.Partitions, i)
	}
	x.updateLocked(nil, []kmsg.FetchRequestForgottenTopic{gone})
	require.Len(t, x.order, 10)
	require.Equal(t, 10, x.most)
	require.Equal(t, 10, cap(x.order))
}

func TestEpochsWrapAround(t *testing.T) {
	require.EqualValues(t, 1, nextEpoch(0))
	require.EqualValues(t, 8, nextEpoch(7))
	require.EqualValues(t, 1, nextEpoch(1<<31-1))
	require.EqualValues(t, 1, nextEpoch(-5))
}

// Many clients, with and without sessions, on two connections each, over topics that come and go: every request is answered once,
// and the table's count of places is right at the end.
func TestSessionsUnderLoad(t *testing.T) {
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	w := newWorld(t)
	w.f = w.fetcher(6)
	w.f.o.Sessions.maxPlaces = 40
	steady := w.topic("steady", 8)
	stop := make(chan struct{})
	var clients, trouble sync.WaitGroup
	var mu sync.Mutex
	shaky := w.topic("shaky", 4)
	trouble.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			w.produce(steady, int32(i%8), 50)
			if i%20 == 0 {
				mu.Lock()
				w.delete(shaky)
				shaky = w.topic("shaky", 4)
				mu.Unlock()
			}
		}
	})
	for c := range 8 {
		clients.Go(func() {
			r := rand.New(rand.NewSource(seed + int64(c)))
			var id, epoch int32
			for range 150 {
				q := asked(steady, int32(r.Intn(8)), int32(r.Intn(8)))
				q.Topics[0].Partitions[0].FetchOffset = int64(r.Intn(40))
				mu.Lock()
				q.Topics = append(q.Topics, ofTopic(shaky, int32(r.Intn(4))))
				mu.Unlock()
				q.MaxWaitMillis, q.MinBytes, q.IsolationLevel = int32(r.Intn(3)), int32(r.Intn(300)), int8(r.Intn(2))
				if r.Intn(4) == 0 {
					q.ForgottenTopics = forgetting(steady, int32(r.Intn(8))).ForgottenTopics
				}
				in(q, id, epoch)
				p := w.send(q)
				if r.Intn(10) == 0 {
					p.cancel()
				}
				if r.Intn(10) == 0 && id != 0 { // from another connection, too
					w.ask(in(asked(steady, 1), id, nextEpoch(epoch)))
				}
				got := p.answer()
				if epoch = nextEpoch(epoch); got.ErrorCode != 0 || got.SessionID == 0 {
					id, epoch = 0, 0
				} else {
					id = got.SessionID
				}
			}
		})
	}
	clients.Wait()
	close(stop)
	trouble.Wait()
	s := w.f.o.Sessions
	places := 0
	for _, x := range s.byID {
		require.Len(t, x.order, len(x.places))
		require.Equal(t, len(x.places), x.size)
		places += len(x.places)
	}
	require.Equal(t, places, s.places)
	require.LessOrEqual(t, places, 40)
	require.LessOrEqual(t, s.Len(), 6)
}
