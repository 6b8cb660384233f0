package share

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// Steps and answers as recorded from Kafka 4.4, on batches of 6 and 3 records that the member holds.
func TestAcknowledging(t *testing.T) {
	virtually(t, func(t *testing.T, w *doorWorld) {
		tp := w.topic("t", 2)
		w.produce(tp, 0, 6, 3)
		c := w.sharer("g", "m").opens(named(tp, 0))
		require.Equal(t, "0: 0-8 [0-5] [6-8]", c.fetch(c.asking()))
		for _, step := range []struct {
			what    string
			batches []fetchBatch
			want    string
		}{
			{"accept above the start", []fetchBatch{said(3, 3, 1)}, "0:"},
			{"accept it again", []fetchBatch{said(3, 3, 1)}, "0: INVALID_RECORD_STATE"},
			{"release", []fetchBatch{said(4, 4, 2)}, "0:"},
			{"accept what was released", []fetchBatch{said(4, 4, 1)}, "0: INVALID_RECORD_STATE"},
			{"a range with settled ones", []fetchBatch{said(2, 4, 1)}, "0: INVALID_RECORD_STATE"},
			{"a range to the end of numbers", []fetchBatch{said(0, 1<<62, 1)}, "0: INVALID_REQUEST"},
			{"never fetched", []fetchBatch{said(100, 101, 1)}, "0: INVALID_REQUEST"},
			{"half never fetched", []fetchBatch{said(8, 9, 1)}, "0: INVALID_REQUEST"},
			{"negative", []fetchBatch{said(-5, 0, 2)}, "0: INVALID_REQUEST"},
			{"over two batches", []fetchBatch{said(5, 6, 2)}, "0:"},
			{"overlapping", []fetchBatch{said(0, 1, 1), said(1, 1, 1)}, "0: INVALID_RECORD_STATE"},
			{"out of order", []fetchBatch{said(1, 1, 1), said(0, 0, 1)}, "0: INVALID_REQUEST"},
			{"the second range is wrong", []fetchBatch{said(7, 7, 1), said(100, 100, 1)}, "0: INVALID_REQUEST"},
			{"so the first was not done", []fetchBatch{said(7, 7, 1)}, "0:"},
			{"a renewal unannounced", []fetchBatch{said(8, 8, 4)}, "0: INVALID_REQUEST"},
			{"a gap", []fetchBatch{said(8, 8, 0)}, "0:"},
			{"a gap is final", []fetchBatch{said(8, 8, 2)}, "0: INVALID_RECORD_STATE"},
			{"one type for each", []fetchBatch{said(0, 2, 1, 1, 2)}, "0:"},
			{"below the start", []fetchBatch{said(0, 1, 1)}, "0:"},
			{"no ranges", nil, ""},
		} {
			require.Equal(t, step.want, c.acknowledge(named(tp, 0, step.batches...)), step.what)
		}
		require.Equal(t, "0: 2-2x2 4-6x2 [0-5] [6-8]", c.fetch(c.asking()), "what was released")
	})
}

func TestAcknowledgingWhatIsSomeoneElses(t *testing.T) {
	virtually(t, func(t *testing.T, w *doorWorld) {
		tp := w.topic("t", 1)
		w.produce(tp, 0, 3, 2)
		c, other := w.sharer("g", "m").opens(named(tp, 0)), w.sharer("g", "n").opens(named(tp, 0))
		r := c.asking()
		r.MaxRecords = 1
		require.Equal(t, "0: 0-2 [0-2]", c.fetch(r))
		require.Equal(t, "0: 3-4 [3-4]", other.fetch(other.asking()))
		require.Equal(t, "0: INVALID_RECORD_STATE", c.acknowledge(named(tp, 0, said(3, 3, 1))))
		require.Equal(t, "0: INVALID_RECORD_STATE", c.acknowledge(named(tp, 0, said(2, 3, 1))))
		require.Equal(t, "0: INVALID_REQUEST", c.acknowledge(named(tp, 0, said(4, 9, 1))))
		require.Equal(t, "0:", c.acknowledge(named(tp, 0, said(0, 2, 1, 0, 2))))
		require.Equal(t, "0:", other.acknowledge(named(tp, 0, said(3, 4, 1))))
	})
}

func TestAcknowledgingPartitions(t *testing.T) {
	virtually(t, func(t *testing.T, w *doorWorld) {
		tp := w.topic("t", 1)
		w.produce(tp, 0, 3)
		c := w.sharer("g", "m").opens(named(tp, 0))
		require.Equal(t, "0: 0-2 [0-2]", c.fetch(c.asking()))
		none := uuid.ID{9}
		require.Equal(t, "0:, 3: UNKNOWN_TOPIC_OR_PARTITION, 0: UNKNOWN_TOPIC_ID",
			c.acknowledge(named(tp, 0, said(0, 0, 2)), named(tp, 3, said(0, 0, 1)), namedID(none, 0, said(0, 0, 1))))
		require.Equal(t, "0:", c.acknowledge(named(tp, 0, said(77, 77, 1)), named(tp, 0, said(1, 1, 2))), "the last word counts, as in Kafka")
		require.Equal(t, "0: 0-1x2 [0-2]", c.fetch(c.asking()))
	})
}

func TestAcknowledgingInAFetch(t *testing.T) {
	virtually(t, func(t *testing.T, w *doorWorld) {
		tp := w.topic("t", 2)
		w.produce(tp, 0, 3, 2)
		c := w.sharer("g", "m")
		require.Equal(t, "error INVALID_REQUEST", c.fetch(c.asking(named(tp, 0, said(0, 0, 1)))), "not in the first request")
		c.epoch = 0
		c.opens(named(tp, 0))
		require.Equal(t, "0: 0-4 [0-2] [3-4]", c.fetch(c.asking()))
		require.Equal(t, "0: 2-2x2 [0-2]", c.fetch(c.asking(named(tp, 0, said(0, 1, 1), said(2, 2, 2)))), "what is released may come at once")
		began := time.Now()
		r := c.asking(named(tp, 0, said(3, 3, 1)))
		r.MaxWaitMillis = 10_000
		require.Equal(t, "0:", c.fetch(r), "named, though without news")
		require.Equal(t, 10*time.Second, time.Since(began), "it waits like any fetch")
		require.Equal(t, "0: ack INVALID_RECORD_STATE", c.fetch(c.asking(named(tp, 0, said(3, 3, 1)))))
		require.Equal(t, "1: ack INVALID_REQUEST", c.fetch(c.asking(named(tp, 1, said(5, 5, 1)))), "and it is in the session now")
		w.produce(tp, 1, 1)
		require.Equal(t, "1: 0-0 [0-0]", c.fetch(c.asking()))
	})
}

func TestRenewing(t *testing.T) {
	virtually(t, func(t *testing.T, w *doorWorld) {
		tp := w.topic("t", 1)
		w.produce(tp, 0, 3)
		c, other := w.sharer("g", "m").opens(named(tp, 0)), w.sharer("g", "n").opens(named(tp, 0))
		require.Equal(t, "0: 0-2 [0-2]", c.fetch(c.asking()))
		renew := func(batches ...fetchBatch) string {
			r := c.acknowledging(named(tp, 0, batches...))
			r.IsRenewAck = true
			return c.send(r).answer()
		}
		time.Sleep(20 * time.Second)
		require.Equal(t, "0:", renew(said(0, 1, 1, 4)), "others may be among them")
		require.Equal(t, "0:", renew(said(0, 0, 4)), "below the start")
		time.Sleep(20 * time.Second)
		require.Equal(t, "0: 2-2x2 [0-2]", other.fetch(other.asking()), "the lock of the record that was not renewed is over")
		require.Equal(t, "0: INVALID_RECORD_STATE", renew(said(2, 2, 4)), "too late")
		asking := func(change func(r *kmsg.ShareFetchRequest)) string {
			r := c.asking(named(tp, 0, said(1, 1, 4)))
			r.IsRenewAck, r.MinBytes, r.MaxBytes, r.MaxRecords = true, 0, 0, 0
			change(r)
			defer func(epoch int32) { c.epoch = epoch }(c.epoch)
			return c.fetch(r)
		}
		for _, change := range []func(r *kmsg.ShareFetchRequest){
			func(r *kmsg.ShareFetchRequest) { r.MaxWaitMillis = 1 }, func(r *kmsg.ShareFetchRequest) { r.MinBytes = 1 },
			func(r *kmsg.ShareFetchRequest) { r.MaxBytes = 1 }, func(r *kmsg.ShareFetchRequest) { r.MaxRecords = 1 },
		} {
			require.Equal(t, "error INVALID_REQUEST", asking(change), "a fetch that renews fetches nothing; it does not count")
		}
		require.Equal(t, "0:", asking(func(*kmsg.ShareFetchRequest) {}))
		c.epoch++
		time.Sleep(20 * time.Second)
		require.Equal(t, "0:", c.acknowledge(named(tp, 0, said(1, 1, 1))), "held since 60 seconds")
		w.set("g", "share.renew.acknowledge.enable", "false")
		require.Equal(t, "0:", other.acknowledge(named(tp, 0, said(2, 2, 2))))
		require.Equal(t, "0: 2-2x3 [0-2]", c.fetch(c.asking()))
		require.Equal(t, "0: INVALID_RECORD_STATE", renew(said(2, 2, 4)), "the group does not allow it")
	})
}

func TestClosingSettlesAndGivesBack(t *testing.T) {
	for name, close := range map[string]func(c *sharer, topics ...kmsg.ShareFetchRequestTopic) string{
		"by a fetch": (*sharer).close,
		"by an acknowledgement": func(c *sharer, topics ...kmsg.ShareFetchRequestTopic) string {
			r := c.acknowledging(topics...)
			r.ShareSessionEpoch = closingEpoch
			return c.send(r).answer()
		},
	} {
		t.Run(name, func(t *testing.T) {
			virtually(t, func(t *testing.T, w *doorWorld) {
				tp := w.topic("t", 2)
				w.produce(tp, 0, 3)
				w.produce(tp, 1, 1)
				c, other := w.sharer("g", "m").opens(named(tp, 0), named(tp, 1)), w.sharer("g", "n").opens(named(tp, 0), named(tp, 1))
				require.Equal(t, "0: 0-2 [0-2], 1: 0-0 [0-0]", c.fetch(c.asking()))
				r := c.asking()
				r.ForgottenTopicsData = []kmsg.ShareFetchRequestForgottenTopicsData{{TopicID: tp.ID, Partitions: []int32{1}}}
				require.Empty(t, c.fetch(r))
				want := "0:"
				require.Equal(t, want, close(c, named(tp, 0, said(1, 1, 1))))
				require.Equal(t, "0: 0-0x2 2-2x2 [0-2], 1: 0-0x2 [0-0]", other.fetch(other.asking()), "forgotten partitions too")
				require.Equal(t, "error SHARE_SESSION_NOT_FOUND", close(c))
			})
		})
	}
}

func TestClosingWithWhatIsWrong(t *testing.T) {
	virtually(t, func(t *testing.T, w *doorWorld) {
		tp := w.topic("t", 1)
		w.produce(tp, 0, 1)
		c, other := w.sharer("g", "m").opens(named(tp, 0)), w.sharer("g", "n").opens(named(tp, 0))
		require.Equal(t, "0: 0-0 [0-0]", c.fetch(c.asking()))
		require.Equal(t, "0: ack INVALID_REQUEST, 7: ack UNKNOWN_TOPIC_OR_PARTITION, 0: ack UNKNOWN_TOPIC_ID",
			c.close(named(tp, 0, said(9, 9, 1)), named(tp, 7, said(0, 0, 1)), namedID(uuid.ID{8}, 0, said(0, 0, 1))))
		require.Equal(t, "0: 0-0x2 [0-0]", other.fetch(other.asking()))
	})
}

func TestAConnectionThatBreaksGivesBack(t *testing.T) {
	virtually(t, func(t *testing.T, w *doorWorld) {
		tp := w.topic("t", 1)
		w.produce(tp, 0, 2)
		c, other := w.sharer("g", "m").opens(named(tp, 0)), w.sharer("g", "n").opens(named(tp, 0))
		require.Equal(t, "0: 0-1 [0-1]", c.fetch(c.asking()))
		waiting := other.send(patient(other.asking()))
		synctest.Wait()
		c.hangUp()
		require.Equal(t, "0: 0-1x2 [0-1]", waiting.answer(), "at once")
		require.Equal(t, 1, w.door.Sessions())
		// Two sessions of one connection, one of them used from another one as well.
		third := &sharer{w: w, group: "g", member: "o", ctx: other.ctx}
		third.opens(named(tp, 0))
		second := &sharer{w: w, group: "g", member: "n"}
		second.connect()
		second.epoch = other.epoch
		require.Empty(t, second.fetch(second.asking()))
		second.hangUp()
		synctest.Wait()
		require.Equal(t, 2, w.door.Sessions(), "it did not open any")
		other.hangUp()
		synctest.Wait()
		require.Zero(t, w.door.Sessions())
		c.connect()
		c.opens(named(tp, 0))
		require.Equal(t, "0: 0-1x3 [0-1]", c.fetch(c.asking()))
	})
}

func TestASessionOpenedAnewKeepsWhatIsHeld(t *testing.T) {
	virtually(t, func(t *testing.T, w *doorWorld) {
		tp := w.topic("t", 1)
		w.produce(tp, 0, 3)
		c, other := w.sharer("g", "m").opens(named(tp, 0)), w.sharer("g", "n").opens(named(tp, 0))
		require.Equal(t, "0: 0-2 [0-2]", c.fetch(c.asking()))
		before := *c
		c.connect()
		c.opens()
		before.hangUp()
		synctest.Wait()
		require.Empty(t, other.fetch(other.asking()), "the connection that broke is not its own any more")
		require.Equal(t, "0:", c.acknowledge(named(tp, 0, said(0, 0, 1))))
		c.hangUp()
		synctest.Wait()
		require.Equal(t, "0: 1-2x2 [0-2]", other.fetch(other.asking()))
	})
}

// Until a session's records are given back, the member's next session does not open: else what that takes would be given back.
func TestANewSessionWaitsForTheEndOfTheOld(t *testing.T) {
	virtually(t, func(t *testing.T, w *doorWorld) {
		tp := w.topic("t", 1)
		w.produce(tp, 0, 1)
		c := w.sharer("g", "m").opens(named(tp, 0))
		require.Equal(t, "0: 0-0 [0-0]", c.fetch(c.asking()))
		w.state.hold()
		c.hangUp()
		synctest.Wait()
		c.connect()
		p := c.send(c.asking(named(tp, 0)))
		synctest.Wait()
		require.True(t, p.parked())
		w.state.letGo()
		require.Equal(t, "0: 0-0x2 [0-0]", p.answer())
		require.Equal(t, 1, w.door.Sessions())
	})
}

func TestTheDoorClosesWithItsSessions(t *testing.T) {
	virtually(t, func(t *testing.T, w *doorWorld) {
		tp := w.topic("t", 1)
		w.produce(tp, 0, 1)
		c, other := w.sharer("g", "m").opens(named(tp, 0)), w.sharer("g", "n").opens(named(tp, 0))
		require.Equal(t, "0: 0-0 [0-0]", c.fetch(c.asking()))
		waiting := other.send(patient(other.asking()))
		synctest.Wait()
		require.NoError(t, w.door.Close(t.Context()))
		require.NotEmpty(t, waiting.answer())
		require.Zero(t, w.door.Sessions())
		require.Equal(t, "error SHARE_SESSION_LIMIT_REACHED", w.sharer("g", "late").fetch(w.sharer("g", "late").asking()))
		require.Equal(t, 1, w.state.writes, "what was held is given back")
	})
}
