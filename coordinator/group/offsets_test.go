package group

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

func TestSimpleConsumerCommits(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{})
		require.EqualValues(t, -1, c.offset("g", "t", 0))
		require.Equal(t, "Dead", c.describe("g").State)
		require.Zero(t, c.commit("g", nil, "t", 0, 5))
		require.Zero(t, c.commit("g", nil, "t", 1, -7), "Kafka takes any number")
		meta := "here"
		require.Zero(t, c.commit("g", nil, "t", 0, 6, func(r *kmsg.OffsetCommitRequest) {
			r.Topics[0].Partitions[0].Metadata, r.Topics[0].Partitions[0].LeaderEpoch = &meta, 3
		}))
		p := c.fetch("g", "t", 0, false)
		require.EqualValues(t, 6, p.Offset)
		require.EqualValues(t, 3, p.LeaderEpoch)
		require.Equal(t, "here", *p.Metadata)
		require.Equal(t, []string{`offset g/t/0 = 5 ""`, `offset g/t/1 = -7 ""`, `offset g/t/0 = 6 "here"`}, c.log.records(t, 0))
		d := c.describe("g")
		require.Equal(t, "Empty", d.State)
		require.Empty(t, d.ProtocolType)
		c.restart()
		require.EqualValues(t, 6, c.offset("g", "t", 0))
		require.Zero(t, c.commit("", nil, "t", 0, 1), "the empty name is a group like others")
		require.EqualValues(t, 1, c.offset("", "t", 0))
	})
}

func TestWhoMayCommit(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{})
		nobody := func(gen int32, id string) *who { return &who{id: id, gen: gen} }
		v8 := func(r *kmsg.OffsetCommitRequest) { r.Version = 8 }
		require.EqualValues(t, groupNotFound, c.commit("g", nobody(0, "x"), "t", 0, 1))
		require.EqualValues(t, illegalGeneration, c.commit("g", nobody(0, "x"), "t", 0, 1, v8))
		require.Zero(t, c.commit("g", nobody(-1, "x"), "t", 0, 1))
		require.EqualValues(t, unknownMember, c.commit("g", nobody(4, ""), "t", 0, 1))

		a := client("a")
		c.settle("g", a)
		require.Zero(t, c.commit("g", a, "t", 0, 1))
		require.EqualValues(t, illegalGeneration, c.commit("g", nobody(a.gen-1, a.id), "t", 0, 2))
		require.EqualValues(t, illegalGeneration, c.commit("g", nobody(-1, a.id), "t", 0, 2))
		require.EqualValues(t, unknownMember, c.commit("g", nobody(a.gen, "x"), "t", 0, 2))
		require.EqualValues(t, unknownMember, c.commit("g", nil, "t", 0, 2))
		other := *a
		other.instance = &other.name
		require.EqualValues(t, unknownMember, c.commit("g", &other, "t", 0, 2))

		b := client("b")
		p := c.enter("g", b)
		require.Zero(t, c.commit("g", a, "t", 0, 3), "while the group prepares a rebalance")
		a.joined(c.join("g", a))
		b.joined(p)
		require.EqualValues(t, rebalanceUnderWay, c.commit("g", a, "t", 0, 4))
		c.leave("g", a, b)
		require.EqualValues(t, unknownMember, c.commit("g", a, "t", 0, 5))
		require.Zero(t, c.commit("g", nil, "t", 0, 6))
		require.EqualValues(t, 6, c.offset("g", "t", 0))
	})
}

func TestCommittedMetadataIsBounded(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{})
		with := func(meta string) func(*kmsg.OffsetCommitRequest) {
			return func(r *kmsg.OffsetCommitRequest) { r.Topics[0].Partitions[0].Metadata = &meta }
		}
		require.Zero(t, c.commit("g", nil, "t", 0, 1, with(strings.Repeat("é", 4096))))
		require.EqualValues(t, metadataTooLarge, c.commit("g", nil, "t", 0, 2, with(strings.Repeat("m", 4097))))
		require.EqualValues(t, metadataTooLarge, c.commit("g", nil, "t", 0, 2, with(strings.Repeat("\U0001F600", 2049))))
		require.EqualValues(t, 1, c.offset("g", "t", 0))

		none := coordinator(t, Config{OffsetMetadataMaxSize: -1})
		require.Zero(t, none.commit("g", nil, "t", 0, 1, with("")))
		require.EqualValues(t, metadataTooLarge, none.commit("g", nil, "t", 0, 2, with("m")))
	})
}

func TestReadersSeeWhatIsCommittedOnly(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{})
		require.Zero(t, c.commit("g", nil, "t", 0, 1))
		c.log.hold()
		p := c.commitLater("g", nil, "t", 0, 2)
		require.True(t, p.open())
		require.EqualValues(t, 1, c.offset("g", "t", 0))
		asked := kmsg.NewOffsetFetchRequestGroup()
		asked.Group = "g"
		stable := &reply1[kmsg.OffsetFetchResponseGroup]{t: t}
		c.OffsetFetch(&asked, true, stable.set)
		require.True(t, stable.open(), "a stable read waits")
		c.log.release()
		require.Zero(t, p.get().Topics[0].Partitions[0].ErrorCode)
		require.EqualValues(t, 2, c.offset("g", "t", 0))
		require.EqualValues(t, 2, stable.get().Topics[0].Partitions[0].Offset)
	})
}

func TestCommitThatIsTooLarge(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{})
		c.log.refuseAll(runtime.ErrTooLarge)
		require.EqualValues(t, 28, c.commit("g", nil, "t", 0, 1))
		c.log.refuseAll(runtime.ErrRefused)
		require.EqualValues(t, 15, c.commit("g", nil, "t", 0, 1))
		c.log.refuseAll(nil)
		require.Zero(t, c.commit("g", nil, "t", 0, 1))
	})
}

func TestOffsetOfATopicMadeAgainIsNotSeen(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{})
		require.Zero(t, c.commit("g", nil, "t", 0, 5))
		was := topicIDs["t"]
		defer func() { topicIDs["t"] = was }()
		topicIDs["t"] = uuid.ID{99}
		require.EqualValues(t, -1, c.offset("g", "t", 0))
	})
}

// tick lets time pass until the next passes over expired offsets are done.
func tick(d time.Duration) { time.Sleep(d + time.Second) }

func TestOffsetsExpire(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{OffsetsRetention: time.Hour})
		require.Zero(t, c.commit("simple", nil, "t", 0, 1))
		a := client("a")
		c.settle("g", a)
		require.Zero(t, c.commit("g", a, "t", 0, 1))
		for range 2 * 60 * 10 {
			time.Sleep(6 * time.Second)
			require.Zero(t, c.heartbeat("g", a))
		}
		require.EqualValues(t, -1, c.offset("simple", "t", 0), "counted from the commit")
		require.Equal(t, "Dead", c.describe("simple").State)
		require.EqualValues(t, 1, c.offset("g", "t", 0), "its metadata is no consumer's: taken to subscribe to all")
		c.leave("g", a)
		tick(50 * time.Minute)
		require.EqualValues(t, 1, c.offset("g", "t", 0), "counted from when the group became empty")
		require.Zero(t, c.commit("g", nil, "u", 0, 1))
		tick(20 * time.Minute)
		require.EqualValues(t, -1, c.offset("g", "t", 0))
		require.EqualValues(t, -1, c.offset("g", "u", 0), "whenever it was committed")
		require.Equal(t, "Dead", c.describe("g").State)
	})
}

func TestOffsetsOfUnsubscribedTopicsExpire(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{OffsetsRetention: time.Hour})
		a := client("a")
		a.protocols = []string{"range"}
		join := func() {
			meta := kmsg.NewConsumerMemberMetadata()
			meta.Topics = []string{"t"}
			req := kmsg.NewPtrJoinGroupRequest()
			req.Version, req.Group, req.MemberID, req.ProtocolType = 9, "g", a.id, "consumer"
			req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 1_800_000, 60_000
			req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: meta.AppendTo(nil)}}
			p := &joinReply{t: t}
			c.JoinGroup(Caller{}, req, p.set)
			time.Sleep(c.InitialDelay())
			a.id, a.gen = p.get().MemberID, p.get().Generation
		}
		join()
		join()
		require.Zero(t, c.sync("g", a, a).get().ErrorCode)
		require.Zero(t, c.commit("g", a, "t", 0, 1))
		require.Zero(t, c.commit("g", a, "u", 0, 1))
		for range 8 {
			time.Sleep(10 * time.Minute)
			require.Zero(t, c.heartbeat("g", a))
		}
		require.EqualValues(t, 1, c.offset("g", "t", 0))
		require.EqualValues(t, -1, c.offset("g", "u", 0))
		del := c.offsetDelete("g", "t", "u")
		require.EqualValues(t, subscribedToTopic, del.Topics[0].Partitions[0].ErrorCode)
		require.Zero(t, del.Topics[1].Partitions[0].ErrorCode)
	})
}

func TestRetentionAskedByTheClient(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{})
		require.Zero(t, c.commit("g", nil, "t", 0, 1, func(r *kmsg.OffsetCommitRequest) {
			r.Version, r.RetentionTimeMillis = 3, 3_600_000
		}))
		tick(45 * time.Minute)
		require.EqualValues(t, 1, c.offset("g", "t", 0))
		tick(30 * time.Minute)
		require.EqualValues(t, -1, c.offset("g", "t", 0))
	})
}

func TestExpiryOfManyOffsetsGoesInSteps(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{OffsetsRetention: time.Hour})
		for i := range 60 {
			req := commitOf(fmt.Sprint("g", i%3), "t", i*100, 100)
			p := &reply1[*kmsg.OffsetCommitResponse]{t: t}
			c.OffsetCommit(req, p.set)
			p.get()
		}
		require.EqualValues(t, 1, c.offset("g0", "t", 0))
		tick(80 * time.Minute)
		require.EqualValues(t, -1, c.offset("g0", "t", 0))
		require.EqualValues(t, -1, c.offset("g2", "t", 5999))
		require.Empty(t, c.list())
	})
}

// commitOf commits offset 1 of n partitions.
func commitOf(group, topic string, first, n int) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.Generation = 9, group, -1
	req.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: topic, TopicID: topicIDs[topic]}}
	for i := range n {
		req.Topics[0].Partitions = append(req.Topics[0].Partitions,
			kmsg.OffsetCommitRequestTopicPartition{Partition: int32(first + i), Offset: 1, LeaderEpoch: -1})
	}
	return req
}

func (c *coord) offsetDelete(group string, topics ...string) *kmsg.OffsetDeleteResponse {
	c.t.Helper()
	req := kmsg.NewPtrOffsetDeleteRequest()
	req.Group = group
	for _, topic := range topics {
		req.Topics = append(req.Topics, kmsg.OffsetDeleteRequestTopic{
			Topic: topic, Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}},
		})
	}
	p := &reply1[*kmsg.OffsetDeleteResponse]{t: c.t}
	c.OffsetDelete(req, p.set)
	return p.get()
}

func (c *coord) deleteGroups(groups ...string) []int16 {
	c.t.Helper()
	req := kmsg.NewPtrDeleteGroupsRequest()
	req.Version, req.Groups = 3, groups
	p := &reply1[*kmsg.DeleteGroupsResponse]{t: c.t}
	c.DeleteGroups(req, p.set)
	var codes []int16
	for _, g := range p.get().Groups {
		codes = append(codes, g.ErrorCode)
	}
	return codes
}

func (c *coord) list(change ...func(*kmsg.ListGroupsRequest)) []string {
	c.t.Helper()
	req := kmsg.NewPtrListGroupsRequest()
	req.Version = 5
	for _, f := range change {
		f(req)
	}
	p := &reply1[*kmsg.ListGroupsResponse]{t: c.t}
	c.ListGroups(req, p.set)
	require.Zero(c.t, p.get().ErrorCode)
	var lines []string
	for _, g := range p.get().Groups {
		lines = append(lines, fmt.Sprintf("%s %s %s %s", g.Group, g.ProtocolType, g.GroupState, g.GroupType))
	}
	return lines
}

func TestOffsetDelete(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{})
		require.EqualValues(t, groupNotFound, c.offsetDelete("g", "t").ErrorCode)
		require.EqualValues(t, invalidGroup, c.offsetDelete("", "t").ErrorCode)
		require.Zero(t, c.commit("g", nil, "t", 0, 5))
		end := c.log.End()
		require.Zero(t, c.offsetDelete("g", "t", "u").ErrorCode)
		require.Equal(t, []string{"offset g/t/0 gone"}, c.log.records(t, end), "no tombstone for what is not there")
		require.EqualValues(t, -1, c.offset("g", "t", 0))

		a := client("a")
		a.typ = "connect"
		c.settle("h", a)
		require.EqualValues(t, nonEmpty, c.offsetDelete("h", "t").ErrorCode)
	})
}

func TestDeleteGroups(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{})
		a := client("a")
		c.settle("g", a)
		require.Zero(t, c.commit("g", a, "t", 0, 5))
		require.Equal(t, []int16{nonEmpty, groupNotFound}, c.deleteGroups("g", "none"))
		c.leave("g", a)
		end := c.log.End()
		require.Equal(t, []int16{0}, c.deleteGroups("g", "g"))
		require.Equal(t, []string{"offset g/t/0 gone", "group g gone"}, c.log.records(t, end))
		require.Equal(t, []int16{groupNotFound}, c.deleteGroups("g"))
		require.Equal(t, "Dead", c.describe("g").State)
		require.EqualValues(t, -1, c.offset("g", "t", 0))
		require.Empty(t, c.deleteGroups())
		a.id = ""
		p := c.enter("g", a)
		time.Sleep(c.InitialDelay())
		require.EqualValues(t, 1, a.joined(p).Generation, "a new group")
	})
}

func TestGroupsAddedToTheAnswerAreNotDeleted(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{})
		a := client("a")
		c.settle("g", a)
		require.Zero(t, c.commit("g", a, "t", 0, 5))
		c.leave("g", a)
		refused := kmsg.NewDeleteGroupsResponseGroup()
		refused.Group, refused.ErrorCode = "g", 44
		p := &reply1[*kmsg.DeleteGroupsResponse]{t: t}
		c.DeleteGroups(kmsg.NewPtrDeleteGroupsRequest(), func(r *kmsg.DeleteGroupsResponse) {
			r.Groups = append(r.Groups, refused)
			p.set(r)
		})
		require.Equal(t, []kmsg.DeleteGroupsResponseGroup{refused}, p.get().Groups)
		require.EqualValues(t, 5, c.offset("g", "t", 0), "the caller refused it, and the request named none")
	})
}

func TestDeletingAGroupOfManyOffsetsGoesInSteps(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{})
		for i := range 50 {
			p := &reply1[*kmsg.OffsetCommitResponse]{t: t}
			c.OffsetCommit(commitOf("g", "t", i*100, 100), p.set)
			p.get()
		}
		batches := len(c.log.batches)
		require.Equal(t, []int16{0}, c.deleteGroups("g"))
		require.Len(t, c.log.batches, batches+3)
		require.Equal(t, "Dead", c.describe("g").State)
	})
}

func TestDeletedTopicsTakeTheirOffsetsAlong(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{})
		for i := range 30 {
			p := &reply1[*kmsg.OffsetCommitResponse]{t: t}
			c.OffsetCommit(commitOf(fmt.Sprint("g", i), "t", 0, 100), p.set)
			p.get()
			require.Zero(t, c.commit(fmt.Sprint("g", i), nil, "u", 0, 7))
		}
		c.TopicsDeleted([]Topic{{Name: "t", ID: uuid.ID{5}}})
		require.EqualValues(t, 1, c.offset("g3", "t", 0), "another topic of that name")
		c.TopicsDeleted([]Topic{{Name: "t", ID: topicIDs["t"]}, {Name: "v"}})
		require.EqualValues(t, -1, c.offset("g3", "t", 0))
		require.EqualValues(t, -1, c.offset("g29", "t", 99))
		require.EqualValues(t, 7, c.offset("g29", "u", 0))
	})
}

func TestListGroups(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{})
		a := client("a")
		c.settle("stable", a)
		b := client("b")
		c.settle("was", b)
		c.leave("was", b)
		require.Zero(t, c.commit("simple", nil, "t", 0, 1))
		require.Zero(t, c.commit("stable", a, "t", 0, 1))
		c.join("waiting", client("d")).get()
		all := []string{"simple  Empty classic", "stable consumer Stable classic", "waiting  Empty classic", "was consumer Empty classic"}
		require.Equal(t, all, c.list())
		filter := func(states, types []string) func(*kmsg.ListGroupsRequest) {
			return func(r *kmsg.ListGroupsRequest) { r.StatesFilter, r.TypesFilter = states, types }
		}
		require.Equal(t, all[1:2], c.list(filter([]string{"stable"}, nil)))
		require.Equal(t, all, c.list(filter([]string{"Empty", "Stable"}, []string{"Classic"})))
		require.Empty(t, c.list(filter([]string{"Melting"}, nil)))
		require.Empty(t, c.list(filter(nil, []string{"share"})))
	})
}

func TestListGroupsWhileLoading(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{})
		slow := &memLog{held: true}
		_, err := slow.Append(0, batchOf(t, record.Spec{}, runtime.Record{Key: appendGroupKey(nil, "g")}))
		require.NoError(t, err)
		c.Load(uuid.ID{1}, 1, 0, slow)
		p := &reply1[*kmsg.ListGroupsResponse]{t: t}
		c.ListGroups(kmsg.NewPtrListGroupsRequest(), p.set)
		require.EqualValues(t, loadInProgress, p.get().ErrorCode)
	})
}

func batchOf(t *testing.T, spec record.Spec, records ...runtime.Record) record.Batch {
	var b record.Builder
	b.Reset(spec)
	for _, r := range records {
		b.Append(time.Now().UnixMilli(), r.Key, r.Value)
	}
	batch, err := b.Build()
	require.NoError(t, err)
	return batch
}

// TestOffsetsOfTransactions loads a log that holds transactions, as Kafka writes them.
func TestOffsetsOfTransactions(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{OffsetsRetention: time.Hour})
		require.Zero(t, c.commit("g", nil, "t", 0, 1))
		c.stop()
		offset := func(partition int32, at int64) runtime.Record {
			return offsetRecord("g", "t", partition, &offsetValue{offset: at, leaderEpoch: -1, committed: time.Now().UnixMilli(), expires: -1})
		}
		write := func(b record.Batch) {
			_, err := c.log.Append(c.life, b)
			require.NoError(t, err)
		}
		txn := func(id int64, records ...runtime.Record) {
			write(batchOf(t, record.Spec{Producer: &record.Producer{ID: id}, Transactional: true}, records...))
		}
		end := func(id int64, how record.ControlType) {
			write(record.MarkerBatch(id, 0, record.Marker{Type: how}, time.Now().UnixMilli()))
		}
		txn(7, offset(0, 10), offset(1, 11))
		txn(8, offset(0, 20))
		c.start()
		require.EqualValues(t, 1, c.offset("g", "t", 0))
		require.EqualValues(t, unstableOffset, c.fetch("g", "t", 0, true).ErrorCode)
		require.EqualValues(t, unstableOffset, c.fetch("g", "t", 1, true).ErrorCode)
		require.EqualValues(t, -1, c.offset("g", "t", 1))
		tick(2 * time.Hour)
		require.EqualValues(t, 1, c.offset("g", "t", 0), "held by a transaction")

		c.stop()
		end(8, record.Abort)
		end(7, record.Commit)
		c.start()
		require.EqualValues(t, 10, c.fetch("g", "t", 0, true).Offset)
		require.EqualValues(t, 11, c.fetch("g", "t", 1, true).Offset)

		c.stop()
		txn(9, offset(2, 30))
		c.start()
		require.Equal(t, []int16{0}, c.deleteGroups("g"))
		c.stop()
		end(9, record.Commit)
		c.start()
		require.EqualValues(t, -1, c.fetch("g", "t", 2, true).Offset, "a marker does not bring back what was deleted")
	})
}

func TestRecordsOfOtherKindsAreKept(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{})
		a := client("a")
		c.settle("g", a)
		c.stop()
		strange := []runtime.Record{
			{Key: []byte{0, 3, 0, 1, 'x'}, Value: []byte{0, 0, 1}}, // ConsumerGroupMetadata
			{Key: []byte{}, Value: []byte{1}},
			{Key: []byte{0, 2, 0, 9, 'x'}, Value: []byte{0, 3}}, // a group's key cut short
			{Key: appendGroupKey(nil, "broken"), Value: []byte{0, 3, 0}},
			{Key: appendGroupKey(nil, "newer"), Value: []byte{0, 9, 0}},
			{Key: []byte{0, 1, 0, 1}, Value: []byte{0}},
			{Key: append([]byte{0, typeOffsetOld}, appendOffsetKey(nil, "g", "t", 4)[2:]...), Value: (&offsetValue{offset: 44, expires: -1}).append(nil)},
		}
		_, err := c.log.Append(1, batchOf(t, record.Spec{}, strange...))
		require.NoError(t, err)
		c.start()
		require.Zero(t, c.heartbeat("g", a))
		require.EqualValues(t, 44, c.offset("g", "t", 4))
		require.NoError(t, c.rt.Read(0, func(r runtime.Reader) error {
			value, ok, err := r.Get([]byte{0, 3, 0, 1, 'x'})
			require.True(t, ok)
			require.Equal(t, []byte{0, 0, 1}, value)
			return err
		}))
		c.list()
		tick(20 * time.Minute)
		c.describe("broken")
	})
}
