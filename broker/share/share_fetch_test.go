package share

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/coordinator/share"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// The answers named "as Kafka" were recorded from Kafka 4.4 for the same requests: batches of 3, 2 and 1 records.
func TestLimitsOfAFetch(t *testing.T) {
	for name, c := range map[string]struct {
		change func(r *kmsg.ShareFetchRequest)
		want   string
		then   string // of a fetch without limits
	}{
		"none, as Kafka":            {func(r *kmsg.ShareFetchRequest) {}, "0: 0-5 [0-2] [3-4] [5-5]", ""},
		"1 record, as Kafka":        {func(r *kmsg.ShareFetchRequest) { r.MaxRecords = 1 }, "0: 0-2 [0-2]", "0: 3-5 [3-4] [5-5]"},
		"4 records, as Kafka":       {func(r *kmsg.ShareFetchRequest) { r.MaxRecords = 4 }, "0: 0-4 [0-2] [3-4]", "0: 5-5 [5-5]"},
		"0 records, as Kafka":       {func(r *kmsg.ShareFetchRequest) { r.MaxRecords = 0 }, "", "0: 0-5 [0-2] [3-4] [5-5]"},
		"-1 records, as Kafka":      {func(r *kmsg.ShareFetchRequest) { r.MaxRecords = -1 }, "", "0: 0-5 [0-2] [3-4] [5-5]"},
		"strictly 1, as Kafka":      {func(r *kmsg.ShareFetchRequest) { r.MaxRecords, r.ShareAcquireMode = 1, 1 }, "0: 0-0 [0-2]", "0: 1-5 [0-2] [3-4] [5-5]"},
		"strictly 4, as Kafka":      {func(r *kmsg.ShareFetchRequest) { r.MaxRecords, r.ShareAcquireMode = 4, 1 }, "0: 0-3 [0-2] [3-4]", "0: 4-5 [3-4] [5-5]"},
		"strictly 5, not cut":       {func(r *kmsg.ShareFetchRequest) { r.MaxRecords, r.ShareAcquireMode, r.BatchSize = 5, 1, 2 }, "0: 0-4 [0-2] [3-4]", "0: 5-5 [5-5]"},
		"strictly 0, as Kafka":      {func(r *kmsg.ShareFetchRequest) { r.MaxRecords, r.ShareAcquireMode = 0, 1 }, "", "0: 0-5 [0-2] [3-4] [5-5]"},
		"1 byte, as Kafka":          {func(r *kmsg.ShareFetchRequest) { r.MaxBytes = 1 }, "0: 0-2 [0-2]", "0: 3-5 [3-4] [5-5]"},
		"0 bytes, as Kafka":         {func(r *kmsg.ShareFetchRequest) { r.MaxBytes = 0 }, "", "0: 0-5 [0-2] [3-4] [5-5]"},
		"-1 bytes, as Kafka":        {func(r *kmsg.ShareFetchRequest) { r.MaxBytes = -1 }, "0: UNKNOWN_SERVER_ERROR", "0: 0-5 [0-2] [3-4] [5-5]"},
		"parts of 1, as Kafka":      {func(r *kmsg.ShareFetchRequest) { r.BatchSize = 1 }, "0: 0-2 3-4 5-5 [0-2] [3-4] [5-5]", ""},
		"parts of 2, as Kafka":      {func(r *kmsg.ShareFetchRequest) { r.BatchSize = 2 }, "0: 0-2 3-4 5-5 [0-2] [3-4] [5-5]", ""},
		"parts of 4, as Kafka":      {func(r *kmsg.ShareFetchRequest) { r.BatchSize = 4 }, "0: 0-4 5-5 [0-2] [3-4] [5-5]", ""},
		"parts of 0":                {func(r *kmsg.ShareFetchRequest) { r.BatchSize = 0 }, "0: 0-2 3-4 5-5 [0-2] [3-4] [5-5]", ""},
		"min bytes 0, as Kafka":     {func(r *kmsg.ShareFetchRequest) { r.MinBytes = 0 }, "0: 0-5 [0-2] [3-4] [5-5]", ""},
		"a negative wait, as Kafka": {func(r *kmsg.ShareFetchRequest) { r.MaxWaitMillis = -5 }, "0: 0-5 [0-2] [3-4] [5-5]", ""},
		"unknown mode, as Kafka":    {func(r *kmsg.ShareFetchRequest) { r.ShareAcquireMode = 7 }, "error UNKNOWN_SERVER_ERROR", "0: 0-5 [0-2] [3-4] [5-5]"},
		"negative mode, as Kafka":   {func(r *kmsg.ShareFetchRequest) { r.ShareAcquireMode = -1 }, "error UNKNOWN_SERVER_ERROR", "0: 0-5 [0-2] [3-4] [5-5]"},
	} {
		t.Run(name, func(t *testing.T) {
			virtually(t, func(t *testing.T, w *doorWorld) {
				tp := w.topic("t", 1)
				w.produce(tp, 0, 3, 2, 1)
				s := w.sharer("g", "m").opens(named(tp, 0))
				began := time.Now()
				r := patient(s.asking())
				c.change(r)
				require.Equal(t, c.want, s.fetch(r))
				require.Equal(t, c.then, s.fetch(s.asking()))
				require.Zero(t, time.Since(began))
			})
		})
	}
}

func TestAFetchWaits(t *testing.T) {
	virtually(t, func(t *testing.T, w *doorWorld) {
		tp := w.topic("t", 2)
		c := w.sharer("g", "m").opens(named(tp, 0), named(tp, 1))
		began := time.Now()
		require.Empty(t, c.fetch(patient(c.asking())))
		require.Equal(t, time.Minute, time.Since(began), "its time")
		began = time.Now()
		p := c.send(patient(c.asking()))
		synctest.Wait()
		require.True(t, p.parked())
		w.produce(tp, 1, 2)
		require.Equal(t, "1: 0-1 [0-1]", p.answer(), "records that come")
		other := w.sharer("g", "n").opens(named(tp, 1))
		q := other.send(patient(other.asking()))
		synctest.Wait()
		require.True(t, q.parked(), "they are the first one's")
		require.Equal(t, "1:", c.acknowledge(named(tp, 1, said(0, 0, 2))))
		require.Equal(t, "1: 0-0x2 [0-1]", q.answer(), "records that are released")
		q = other.send(patient(other.asking()))
		require.Empty(t, c.close())
		require.Equal(t, "1: 1-1x2 [0-1]", q.answer(), "records of a session that closes")
		require.Zero(t, time.Since(began))
		c.connect()
		c.opens(named(tp, 1))
		p = c.send(patient(c.asking()))
		require.Equal(t, "1: 0-1x3 [0-1]", p.answer(), "records whose lock ran out")
		require.Equal(t, 30*time.Second, time.Since(began))
		empty := w.sharer("g", "e").opens()
		require.Empty(t, empty.fetch(patient(empty.asking())), "nothing to wait for")
		require.Equal(t, 30*time.Second, time.Since(began))
	})
}

func TestMinBytes(t *testing.T) {
	virtually(t, func(t *testing.T, w *doorWorld) {
		tp := w.topic("t", 2)
		c := w.sharer("g", "m").opens(named(tp, 0), named(tp, 1))
		began := time.Now()
		asking := func(least int32) *kmsg.ShareFetchRequest {
			r := patient(c.asking())
			r.MinBytes = least
			return r
		}
		p := c.send(asking(500)) // three batches of one record
		w.produce(tp, 0, 1)
		w.produce(tp, 1, 1)
		synctest.Wait()
		require.True(t, p.parked(), "not enough, and nothing was taken")
		other := w.sharer("h", "m").opens(named(tp, 0))
		require.Equal(t, "0: 0-0 [0-0]", other.fetch(other.asking()))
		w.produce(tp, 1, 1)
		require.Equal(t, "0: 0-0 [0-0], 1: 0-1 [0-0] [1-1]", p.answer())
		require.Zero(t, time.Since(began))
		require.Equal(t, "0:, 1:", c.acknowledge(named(tp, 0, said(0, 0, 1)), named(tp, 1, said(0, 1, 1))))
		w.produce(tp, 0, 1)
		require.Equal(t, "0: 1-1 [1-1]", c.fetch(asking(500)), "its time is up")
		require.Equal(t, time.Minute, time.Since(began))
		w.produce(tp, 0, 1)
		r := asking(1 << 30)
		r.MaxBytes = 150
		require.Equal(t, "0: 2-2 [2-2]", c.fetch(r), "more than may be sent is not waited for")
		require.Equal(t, time.Minute, time.Since(began))
	})
}

func TestPartitionsThatCannotBeFetched(t *testing.T) {
	virtually(t, func(t *testing.T, w *doorWorld) {
		tp := w.topic("t", 1)
		none := namedID(uuid.ID{7}, 0)
		c := w.sharer("g", "m")
		began := time.Now()
		require.Equal(t, "0:, 5: UNKNOWN_TOPIC_OR_PARTITION, 0: UNKNOWN_TOPIC_ID", c.fetch(patient(c.asking(named(tp, 0), named(tp, 5), none))), "news")
		require.Zero(t, time.Since(began))
		require.Equal(t, "5: UNKNOWN_TOPIC_OR_PARTITION, 0: UNKNOWN_TOPIC_ID", c.fetch(patient(c.asking())), "known: the rest is waited for")
		require.Equal(t, time.Minute, time.Since(began))
		w.produce(tp, 0, 1)
		require.Equal(t, "0: 0-0 [0-0], 5: UNKNOWN_TOPIC_OR_PARTITION, 0: UNKNOWN_TOPIC_ID", c.fetch(patient(c.asking())))
		p := c.send(patient(c.asking()))
		synctest.Wait()
		require.NoError(t, w.cluster.DeleteTopic(t.Context(), tp.ID))
		require.NotEmpty(t, p.answer(), "its topic is deleted")
		require.Equal(t, "5: UNKNOWN_TOPIC_OR_PARTITION, 0: UNKNOWN_TOPIC_OR_PARTITION, 0: UNKNOWN_TOPIC_ID", c.fetch(c.asking()), "as Kafka, which remembers names")
		require.Equal(t, "5: UNKNOWN_TOPIC_OR_PARTITION, 0: UNKNOWN_TOPIC_OR_PARTITION, 1: UNKNOWN_TOPIC_ID, 0: UNKNOWN_TOPIC_ID",
			c.fetch(c.asking(named(tp, 0), named(tp, 1))), "what the session did not have yet has no name")
	})
}

func TestWhoLeadsIsTold(t *testing.T) {
	topic := uuid.ID{1}
	image := &cluster.Image{}
	var hints leaderHints
	leader, epoch := hints.leader(image, topicPartition{topic, 0}, 0)
	require.EqualValues(t, []int32{0, 0}, []int32{leader, epoch}, "not without a reason")
	leader, epoch = hints.leader(image, topicPartition{topic, 0}, 6)
	require.EqualValues(t, []int32{-1, -1}, []int32{leader, epoch}, "nobody knows")
	virtually(t, func(t *testing.T, w *doorWorld) {
		tp := w.topic("t", 1)
		for range 2 {
			leader, epoch = hints.leader(w.cluster.Image(), topicPartition{tp.ID, 0}, 6)
			require.EqualValues(t, []int32{1, tp.Partitions[0].LeaderEpoch}, []int32{leader, epoch})
		}
		nodes := hints.nodes(w.door, w.cluster.Image(), "")
		require.Len(t, nodes, 1)
		require.Equal(t, "here", nodes[0].Host)
	})
}

func TestAnAnswerForNobodyIsGivenBack(t *testing.T) {
	virtually(t, func(t *testing.T, w *doorWorld) {
		tp := w.topic("t", 1)
		w.set("g", "share.acquisition.durable", "true")
		c, other := w.sharer("g", "m"), w.sharer("g", "n").opens(named(tp, 0))
		c.opens(named(tp, 0))
		// Between the acquisition and the answer, which waits for it to be durable, the session closes.
		w.state.hold()
		w.produce(tp, 0, 1)
		p := c.send(patient(c.asking()))
		synctest.Wait()
		require.True(t, p.parked())
		c.hangUp()
		synctest.Wait()
		w.state.letGo()
		require.Equal(t, "error SHARE_SESSION_NOT_FOUND", p.answer())
		synctest.Wait()
		require.Equal(t, "0: 0-0x2 [0-0]", other.fetch(other.asking()))
		require.Equal(t, "0:", other.acknowledge(named(tp, 0, said(0, 0, 1))))
		// Likewise another request of the session comes first.
		w.state.hold()
		w.produce(tp, 0, 1)
		p = other.send(patient(other.asking()))
		synctest.Wait()
		q := other.send(patient(other.asking()))
		w.state.letGo()
		require.Equal(t, "error INVALID_SHARE_SESSION_EPOCH", p.answer())
		require.Equal(t, "0: 1-1x2 [1-1]", q.answer())
		// Likewise its connection breaks, which did not open the session.
		require.Equal(t, "0:", other.acknowledge(named(tp, 0, said(1, 1, 1))))
		w.state.hold()
		w.produce(tp, 0, 1)
		second := &sharer{w: w, group: "g", member: "n"}
		second.connect()
		second.epoch = other.epoch
		p = second.send(patient(second.asking()))
		synctest.Wait()
		second.hangUp()
		w.state.letGo()
		require.Empty(t, p.answer())
		synctest.Wait()
		other.epoch = second.epoch
		require.Equal(t, "0: 2-2x2 [2-2]", other.fetch(other.asking()), "the session goes on")
	})
}

func TestWhoWaitsForWhatIsDeletedIsAnswered(t *testing.T) {
	virtually(t, func(t *testing.T, w *doorWorld) {
		tp := w.topic("t", 2)
		c := w.sharer("g", "m").opens(named(tp, 0))
		began := time.Now()
		p := c.send(patient(c.asking()))
		synctest.Wait()
		require.True(t, p.parked())
		w.engine.Deleted(share.Key{Group: "other", Topic: tp.ID})
		synctest.Wait()
		require.True(t, p.parked())
		w.engine.Deleted(share.Key{Group: "g", Topic: tp.ID})
		require.Equal(t, "0: NOT_LEADER_FOR_PARTITION", p.answer())
		require.Zero(t, time.Since(began))
		w.produce(tp, 0, 1)
		require.Equal(t, "0: 0-0 [0-0]", c.fetch(c.asking()), "what is made anew can be fetched")
	})
}
