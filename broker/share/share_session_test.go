package share

import (
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// virtually runs a test in a world whose time is virtual.
func virtually(t *testing.T, test func(t *testing.T, w *doorWorld)) {
	synctest.Test(t, func(t *testing.T) { test(t, newDoorWorld(t)) })
}

func TestASessionsRequestsComeInOrder(t *testing.T) {
	virtually(t, func(t *testing.T, w *doorWorld) {
		tp := w.topic("t", 1)
		c := w.sharer("g", "m")
		at := func(epoch int32, topics ...kmsg.ShareFetchRequestTopic) string {
			r := c.asking(topics...)
			r.ShareSessionEpoch = epoch
			return c.fetch(r)
		}
		ackAt := func(epoch int32) string {
			r := c.acknowledging()
			r.ShareSessionEpoch = epoch
			return c.send(r).answer()
		}
		for _, epoch := range []int32{3, -1, -2} {
			require.Equal(t, "error SHARE_SESSION_NOT_FOUND", at(epoch), "epoch %d", epoch)
			require.Equal(t, "error SHARE_SESSION_NOT_FOUND", ackAt(epoch), "epoch %d", epoch)
		}
		require.Equal(t, "error INVALID_SHARE_SESSION_EPOCH", ackAt(0), "an acknowledgement opens none")
		require.Equal(t, "0:", at(0, named(tp, 0)))
		require.Equal(t, "error INVALID_SHARE_SESSION_EPOCH", at(2))
		require.Equal(t, "error INVALID_SHARE_SESSION_EPOCH", at(-2))
		require.Equal(t, "error INVALID_SHARE_SESSION_EPOCH", ackAt(0))
		require.Equal(t, "error INVALID_SHARE_SESSION_EPOCH", ackAt(7))
		require.Empty(t, at(1), "a refused request does not count")
		require.Empty(t, ackAt(2), "acknowledgements count")
		require.Empty(t, at(3))
		require.Equal(t, "0:", at(0, named(tp, 0)), "it begins anew")
		require.Empty(t, at(1))
		require.Empty(t, at(-1))
		require.Equal(t, "error SHARE_SESSION_NOT_FOUND", at(2))
		require.Zero(t, w.door.Sessions())
	})
}

func TestEpochsWrapAround(t *testing.T) {
	require.EqualValues(t, 1, followingEpoch(0))
	require.EqualValues(t, 6, followingEpoch(5))
	require.EqualValues(t, 1, followingEpoch(1<<31-1))
}

func TestNamesThatAreNoSession(t *testing.T) {
	virtually(t, func(t *testing.T, w *doorWorld) {
		tp := w.topic("t", 1)
		for name, c := range map[string]struct {
			member string
			null   func(r *kmsg.ShareFetchRequest)
			want   string
		}{
			"no uuid":         {member: "nobody", want: "0:"},
			"blank":           {member: " ", want: "0:"},
			"36 characters":   {member: "0123456789abcdef0123456789abcdef0123", want: "0:"},
			"36 wide ones":    {member: "üüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüü", want: "0:"},
			"37 characters":   {member: "0123456789abcdef0123456789abcdef01234", want: "error INVALID_REQUEST"},
			"empty":           {member: "", want: "error INVALID_REQUEST"},
			"no member":       {member: "m", null: func(r *kmsg.ShareFetchRequest) { r.MemberID = nil }, want: "error INVALID_REQUEST"},
			"no group":        {member: "m", null: func(r *kmsg.ShareFetchRequest) { r.GroupID = nil }, want: "error INVALID_REQUEST"},
			"the empty group": {member: "m", null: func(r *kmsg.ShareFetchRequest) { r.GroupID = new(string) }, want: "0: INVALID_REQUEST"},
		} {
			s := w.sharer("g", c.member)
			r := s.asking(named(tp, 0))
			if c.null != nil {
				c.null(r)
			}
			require.Equal(t, c.want, s.fetch(r), name)
			a := s.acknowledging()
			a.GroupID, a.MemberID = r.GroupID, r.MemberID
			want := "error INVALID_REQUEST"
			if c.want[0] != 'e' {
				want = ""
			}
			require.Equal(t, want, s.send(a).answer(), name)
			s.hangUp()
			synctest.Wait()
		}
	})
}

func TestASessionRemembersItsPartitions(t *testing.T) {
	virtually(t, func(t *testing.T, w *doorWorld) {
		tp, other := w.topic("t", 3), w.topic("u", 1)
		c := w.sharer("g", "m")
		require.Equal(t, "0:, 2:, 0:", c.fetch(c.asking(named(tp, 0), named(other, 0), named(tp, 2), named(tp, 0))), "the first answer names all, each once")
		require.Empty(t, c.fetch(c.asking()), "no news")
		require.Equal(t, "1:", c.fetch(c.asking(named(tp, 1))), "a new one is named once")
		w.produce(tp, 0, 1)
		w.produce(tp, 1, 1)
		w.produce(other, 0, 1)
		r := c.asking()
		r.ForgottenTopicsData = []kmsg.ShareFetchRequestForgottenTopicsData{{TopicID: tp.ID, Partitions: []int32{0, 9}}, {TopicID: uuid.ID{9}, Partitions: []int32{0}}}
		require.Equal(t, "0: 0-0 [0-0], 1: 0-0 [0-0]", c.fetch(r))
		w.produce(tp, 0, 1)
		require.Empty(t, c.fetch(c.asking()), "it is forgotten")
		require.Equal(t, "0: 0-1 [0-0] [1-1]", c.fetch(c.asking(named(tp, 0))))
	})
}

// A client that gives up a partition names it for its last acknowledgements in the request that forgets it.
func TestAPartitionIsForgottenWithItsLastAcknowledgements(t *testing.T) {
	virtually(t, func(t *testing.T, w *doorWorld) {
		tp, other := w.topic("t", 1), w.topic("u", 1)
		c := w.sharer("g", "m").opens(named(tp, 0))
		w.produce(tp, 0, 1)
		require.Equal(t, "0: 0-0 [0-0]", c.fetch(c.asking()))
		last, new := named(tp, 0), named(other, 0)
		last.Partitions[0].AcknowledgementBatches = []kmsg.ShareFetchRequestTopicPartitionAcknowledgementBatch{{AcknowledgeTypes: []int8{1}}}
		new.Partitions = append(new.Partitions, kmsg.ShareFetchRequestTopicPartition{Partition: 1})
		r := c.asking(last, new)
		r.ForgottenTopicsData = []kmsg.ShareFetchRequestForgottenTopicsData{{TopicID: tp.ID, Partitions: []int32{0}}, {TopicID: other.ID, Partitions: []int32{1}}}
		require.Equal(t, "0:, 0:", c.fetch(r), "acknowledged, and the new one")
		w.produce(tp, 0, 1)
		w.produce(other, 0, 1)
		require.Equal(t, "0: 0-0 [0-0]", c.fetch(c.asking()), "of the new one alone")
		require.Equal(t, "0: 1-1 [1-1]", c.fetch(c.asking(named(tp, 0))), "nobody held it meanwhile")
	})
}

func TestPartitionsTakeTurns(t *testing.T) {
	virtually(t, func(t *testing.T, w *doorWorld) {
		tp := w.topic("t", 3)
		for n := range int32(3) {
			w.produce(tp, n, 1, 1)
		}
		c := w.sharer("g", "m").opens(named(tp, 0), named(tp, 1), named(tp, 2))
		one := func() string {
			r := c.asking()
			r.MaxRecords = 1
			return c.fetch(r)
		}
		require.Equal(t, "0: 0-0 [0-0]", one())
		require.Equal(t, "1: 0-0 [0-0]", one())
		require.Equal(t, "2: 0-0 [0-0]", one())
		require.Equal(t, "0: 1-1 [1-1]", one())
	})
}

func TestSessionsAreLimited(t *testing.T) {
	virtually(t, func(t *testing.T, w *doorWorld) {
		tp := w.topic("t", 1)
		var all []*sharer
		for i := range 10 {
			all = append(all, w.sharer("g", fmt.Sprint("m", i)).opens(named(tp, 0)))
		}
		late := w.sharer("g", "late")
		require.Equal(t, "error SHARE_SESSION_LIMIT_REACHED", late.fetch(late.asking(named(tp, 0))))
		all[3].connect()
		all[3].opens(named(tp, 0)) // in place of the one it has
		require.Equal(t, 10, w.door.Sessions())
		all[5].hangUp()
		synctest.Wait()
		late.connect()
		late.opens(named(tp, 0))
		require.Empty(t, all[4].close())
		require.Equal(t, 9, w.door.Sessions())
	})
}

func TestPartitionsOfAllSessionsAreLimited(t *testing.T) {
	var s sessions
	asked := func(n int) (list []topicPartition) {
		for i := range n {
			list = append(list, topicPartition{n: int32(i)})
		}
		return list
	}
	room := room{sessions: 10, partitions: 100, each: 60}
	a, code := s.open(sessionKey{"g", "a"}, asked(60), room)
	require.Nil(t, code)
	_, code = s.open(sessionKey{"g", "b"}, asked(41), room)
	require.NotNil(t, code)
	_, code = s.open(sessionKey{"g", "b"}, asked(40), room)
	require.Nil(t, code)
	require.False(t, s.resize(a, 61, room))
	require.True(t, s.resize(a, 59, room))
	_, code = s.open(sessionKey{"g", "a"}, asked(60), room)
	require.Nil(t, code, "what it replaces makes room")
	_, removed := s.remove(s.find(sessionKey{"g", "a"}), errClosed)
	require.True(t, removed)
	require.Equal(t, 40, s.partitions)
	_, code = s.open(sessionKey{"g", "b"}, asked(61), room)
	require.NotNil(t, code, "there is room, but not for one that has so many")
	require.True(t, s.resize(s.find(sessionKey{"g", "b"}), 60, room))
	require.False(t, s.resize(s.find(sessionKey{"g", "b"}), 61, room))
}

func TestRequestsOfTooManyPartitions(t *testing.T) {
	virtually(t, func(t *testing.T, w *doorWorld) {
		c := w.sharer("g", "m").opens()
		many := kmsg.ShareFetchRequestTopic{Partitions: make([]kmsg.ShareFetchRequestTopicPartition, mostPartitions+1)}
		require.Equal(t, "error SHARE_SESSION_LIMIT_REACHED", c.fetch(c.asking(many)))
		c.epoch = 1
		require.Equal(t, "error INVALID_REQUEST", c.acknowledge(many))
		c.epoch = 1
		require.Empty(t, c.fetch(c.asking()), "neither counted")
		r := c.asking()
		r.ForgottenTopicsData = []kmsg.ShareFetchRequestForgottenTopicsData{{Partitions: make([]int32, mostPartitions+1)}}
		require.Equal(t, "error SHARE_SESSION_LIMIT_REACHED", c.fetch(r))
	})
}

// What the largest request takes until it is answered is what the server is told that it takes.
func TestAFetchOfManyPartitionsTakesWhatItIsCountedFor(t *testing.T) {
	w := newDoorWorld(t)
	c := w.sharer("g", "m")
	r := c.asking(kmsg.ShareFetchRequestTopic{TopicID: uuid.ID{7}, Partitions: make([]kmsg.ShareFetchRequestTopicPartition, mostPartitions)})
	for i := range r.Topics[0].Partitions {
		r.Topics[0].Partitions[i].Partition = int32(i)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	answer := <-c.send(r).done
	runtime.ReadMemStats(&after)
	require.NotNil(t, answer.Payload)
	require.Greater(t, answer.Payload.Size(), int64(mostPartitions*30))
	answer.Free()
	require.Less(t, int64(after.TotalAlloc-before.TotalAlloc), FetchCost(mostPartitions*48))
	require.Zero(t, FetchCost(1000*48), "what real clients ask")
}

func TestAFetchThatIsOvertakenTakesNothing(t *testing.T) {
	virtually(t, func(t *testing.T, w *doorWorld) {
		tp := w.topic("t", 1)
		c := w.sharer("g", "m").opens(named(tp, 0))
		began := time.Now()
		first := c.send(patient(c.asking()))
		synctest.Wait()
		require.True(t, first.parked())
		second := c.send(patient(c.asking()))
		require.Equal(t, "error INVALID_SHARE_SESSION_EPOCH", first.answer())
		require.Empty(t, c.acknowledge())
		require.Equal(t, "error INVALID_SHARE_SESSION_EPOCH", second.answer())
		third := c.send(patient(c.asking()))
		r := c.asking(named(tp, 0))
		r.ShareSessionEpoch = 0
		fourth := c.send(patient(r))
		require.Equal(t, "error SHARE_SESSION_NOT_FOUND", third.answer())
		require.Empty(t, c.close())
		require.Equal(t, "error SHARE_SESSION_NOT_FOUND", fourth.answer())
		require.Zero(t, time.Since(began), "nobody waited for the end of time")
		w.produce(tp, 0, 1)
		require.Equal(t, "0: 0-0 [0-0]", w.sharer("g", "n").fetch(w.sharer("g", "n").asking(named(tp, 0))))
	})
}

// A session that was opened just as the one before it ended may end as well before that one is given back.
func TestWhoWaitsForASessionToEndIsNotForgotten(t *testing.T) {
	var s sessions
	key, heard := sessionKey{"g", "m"}, false
	end := func() {
		x, code := s.open(key, nil, room{1, 1, 1})
		require.Nil(t, code)
		_, removed := s.remove(x, errClosed)
		require.True(t, removed)
	}
	end()
	s.whenLeft(key, func() { heard = true })
	end()
	for _, fn := range s.left(key) {
		fn()
	}
	require.True(t, heard)
}
