package share

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

var wireTopic = uuid.ID{5}

// wired is a coordinator that knows wireTopic with 2 partitions.
func wired(t *testing.T) *coord {
	c := newCoord(t, Config{})
	c.known = func(id uuid.ID) int32 {
		if id == wireTopic {
			return 2
		}
		return 0
	}
	c.start()
	return c
}

// ask sends a request whose answer comes at once.
func ask[Q, R any](t *testing.T, call func(Q, func(R)), req Q) (r R) {
	t.Helper()
	answered := 0
	call(req, func(got R) { r, answered = got, answered+1 })
	require.Equal(t, 1, answered)
	return r
}

// refusing and admitted are calls that change something, refused by their caller or not.
func refusing[Q, R any](call func(Q, error, func(R)), err error) func(Q, func(R)) {
	return func(req Q, done func(R)) { call(req, err, done) }
}

func admitted[Q, R any](call func(Q, error, func(R))) func(Q, func(R)) { return refusing(call, nil) }

type outcome struct {
	code    int16
	message string
}

func outcomeOf(code int16, message *string) outcome {
	if message == nil {
		return outcome{code: code}
	}
	return outcome{code, *message}
}

func (c *coord) wireInit(t *testing.T, topic uuid.ID, partition, epoch int32, start int64) outcome {
	req := kmsg.NewPtrInitializeShareGroupStateRequest()
	req.GroupID = "g"
	p := kmsg.NewInitializeShareGroupStateRequestTopicPartition()
	p.Partition, p.StateEpoch, p.StartOffset = partition, epoch, start
	req.Topics = []kmsg.InitializeShareGroupStateRequestTopic{{TopicID: topic, Partitions: []kmsg.InitializeShareGroupStateRequestTopicPartition{p}}}
	r := ask(t, admitted(c.InitializeState), req).Topics[0].Partitions[0]
	return outcomeOf(r.ErrorCode, r.ErrorMessage)
}

func (c *coord) wireRead(t *testing.T, topic uuid.ID, partition, epoch int32) (outcome, kmsg.ReadShareGroupStateResponseTopicPartition) {
	req := kmsg.NewPtrReadShareGroupStateRequest()
	req.GroupID = "g"
	p := kmsg.NewReadShareGroupStateRequestTopicPartition()
	p.Partition, p.LeaderEpoch = partition, epoch
	req.Topics = []kmsg.ReadShareGroupStateRequestTopic{{TopicID: topic, Partitions: []kmsg.ReadShareGroupStateRequestTopicPartition{p}}}
	r := ask(t, c.ReadState, req).Topics[0].Partitions[0]
	return outcomeOf(r.ErrorCode, r.ErrorMessage), r
}

func (c *coord) wireWrite(t *testing.T, topic uuid.ID, partition, state, leader int32, start int64, complete int32, batches ...Batch) outcome {
	req := kmsg.NewPtrWriteShareGroupStateRequest()
	req.Version, req.GroupID = 1, "g"
	p := kmsg.NewWriteShareGroupStateRequestTopicPartition()
	p.Partition, p.StateEpoch, p.LeaderEpoch, p.StartOffset, p.DeliveryCompleteCount = partition, state, leader, start, complete
	for _, b := range batches {
		p.StateBatches = append(p.StateBatches, kmsg.WriteShareGroupStateRequestTopicPartitionStateBatch{
			FirstOffset: b.First, LastOffset: b.Last, DeliveryState: int8(b.State), DeliveryCount: b.Deliveries,
		})
	}
	req.Topics = []kmsg.WriteShareGroupStateRequestTopic{{TopicID: topic, Partitions: []kmsg.WriteShareGroupStateRequestTopicPartition{p}}}
	r := ask(t, admitted(c.WriteState), req).Topics[0].Partitions[0]
	return outcomeOf(r.ErrorCode, r.ErrorMessage)
}

func (c *coord) wireSummary(t *testing.T, topic uuid.ID, partition int32) (outcome, kmsg.ReadShareGroupStateSummaryResponseTopicPartition) {
	req := kmsg.NewPtrReadShareGroupStateSummaryRequest()
	req.Version, req.GroupID = 1, "g"
	p := kmsg.NewReadShareGroupStateSummaryRequestTopicPartition()
	p.Partition = partition
	req.Topics = []kmsg.ReadShareGroupStateSummaryRequestTopic{{TopicID: topic, Partitions: []kmsg.ReadShareGroupStateSummaryRequestTopicPartition{p}}}
	r := ask(t, c.ReadStateSummary, req).Topics[0].Partitions[0]
	return outcomeOf(r.ErrorCode, r.ErrorMessage), r
}

func (c *coord) wireDelete(t *testing.T, topic uuid.ID, partition int32) outcome {
	req := kmsg.NewPtrDeleteShareGroupStateRequest()
	req.GroupID = "g"
	p := kmsg.NewDeleteShareGroupStateRequestTopicPartition()
	p.Partition = partition
	req.Topics = []kmsg.DeleteShareGroupStateRequestTopic{{TopicID: topic, Partitions: []kmsg.DeleteShareGroupStateRequestTopicPartition{p}}}
	r := ask(t, admitted(c.DeleteState), req).Topics[0].Partitions[0]
	return outcomeOf(r.ErrorCode, r.ErrorMessage)
}

// What Kafka 4.4 says.
var (
	fine          = outcome{}
	notForRead    = outcome{42, "Read operation on uninitialized share partition not allowed."}
	notForWrite   = outcome{42, "Write operation on uninitialized share partition not allowed."}
	fencedState   = outcome{124, "The coordinator rejected the request because the state epoch did not match."}
	fencedLeader  = outcome{74, "The leader epoch in the request is older than the epoch on the broker."}
	unknownTopic  = outcome{3, "This server does not host this topic-partition."}
	badPartition  = outcome{42, "The partition id cannot be a negative number."}
	badLeader     = outcome{42, "The leader epoch cannot be a negative number."}
	badState      = outcome{42, "The state epoch cannot be a negative number."}
	notHere       = outcome{16, "Unable to read share group state: This is not the correct coordinator."}
	stillLoading  = outcome{14, "Unable to write share group state: The coordinator is loading and hence can't process requests."}
	notReplicated = outcome{15, "Unable to initialize share group state: The coordinator is not available."}
)

// TestWire is the life of a state on the wire, with answers and records as Kafka 4.4 has them.
func TestWire(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := wired(t)
		id := wireTopic
		got, _ := c.wireRead(t, id, 0, 0)
		require.Equal(t, notForRead, got)
		got, s := c.wireSummary(t, id, 0)
		require.Equal(t, fine, got)
		require.EqualValues(t, []any{int64(-1), int32(-1), int32(0), int32(0)}, []any{s.StartOffset, s.DeliveryCompleteCount, s.StateEpoch, s.LeaderEpoch})
		require.Equal(t, notForWrite, c.wireWrite(t, id, 0, 0, 0, 0, 1))

		require.Equal(t, fine, c.wireInit(t, id, 0, 1, 5))
		got, r := c.wireRead(t, id, 0, 1)
		require.Equal(t, fine, got)
		require.EqualValues(t, []any{int32(1), int64(5)}, []any{r.StateEpoch, r.StartOffset})
		require.Equal(t, fine, c.wireWrite(t, id, 0, 1, 1, 7, 1, done(7, 10)))
		require.Equal(t, fencedState, c.wireWrite(t, id, 0, 0, 1, 7, 1, done(7, 10)))
		require.Equal(t, fencedLeader, c.wireWrite(t, id, 0, 1, 0, 7, 1, done(7, 10)))
		got, r = c.wireRead(t, id, 0, 1)
		require.Equal(t, fine, got)
		require.EqualValues(t, 7, r.StartOffset, "the start does not move over what is settled")
		require.Len(t, r.StateBatches, 1)
		got, _ = c.wireRead(t, id, 0, 0)
		require.Equal(t, fencedLeader, got)
		got, s = c.wireSummary(t, id, 0)
		require.Equal(t, fine, got)
		require.EqualValues(t, []any{int64(7), int32(1), int32(1), int32(1)}, []any{s.StartOffset, s.DeliveryCompleteCount, s.StateEpoch, s.LeaderEpoch})

		require.Equal(t, fencedState, c.wireInit(t, id, 0, 0, 0))
		require.Equal(t, fine, c.wireInit(t, id, 0, 2, 3))
		require.Equal(t, fine, c.wireInit(t, id, 0, 2, 4), "Kafka begins anew in the same epoch")
		require.Equal(t, fine, c.wireDelete(t, id, 0))
		require.Equal(t, fine, c.wireDelete(t, id, 0))
		require.Equal(t, []string{
			"g/0 snapshot 0: state 1 leader 0 start 5 complete 0",
			"g/0 update of 0: leader 1 merging start 5 complete 0",
			"g/0 update of 0: leader 1 merging start 7 complete 1 7-10:2*1",
			"g/0 snapshot 1: state 2 leader 0 fence 1 start 3 complete 0",
			"g/0 snapshot 2: state 2 leader 0 fence 1 start 4 complete 0",
			"g/0 gone",
		}, c.log.records(t, 0))
	})
}

// TestWireMerges shows how overlapping batches end, and the count that Kafka keeps.
func TestWireMerges(t *testing.T) {
	available := func(first, last int64, deliveries int16) Batch {
		return Batch{First: first, Last: last, State: Available, Deliveries: deliveries}
	}
	simulate(t, func(t *testing.T) {
		c := wired(t)
		k := Key{"g", wireTopic, 1}
		steps := []struct {
			start    int64
			complete int32
			batches  []Batch
			want     string
			complet  int32
		}{
			{0, 0, []Batch{available(0, 9, 1), done(5, 14)}, "0-4:0*1 5-14:2*1", 0},
			{0, 5, []Batch{available(0, 20, 2)}, "0-20:0*2", 5},
			{0, 3, []Batch{done(3, 8)}, "0-20:0*2", 5},
			{4, 1, []Batch{{First: 2, Last: 6, State: Archived, Deliveries: 3}}, "4-6:4*3 7-20:0*2", 1},
			{2, 9, []Batch{done(30, 30)}, "4-6:4*3 7-20:0*2 30-30:2*1", 1},
			{-1, 9, nil, "4-6:4*3 7-20:0*2 30-30:2*1", 1},
			{40, -1, nil, "", -1},
		}
		require.Equal(t, fine, c.wireInit(t, k.Topic, 1, 0, 0))
		for _, s := range steps {
			require.Equal(t, fine, c.wireWrite(t, k.Topic, 1, 0, 0, s.start, s.complete, s.batches...))
			got := c.state(k)
			require.Equal(t, s.want, show(got.Batches))
			require.Equal(t, s.complet, got.DeliveryComplete)
		}
		before := c.state(k)
		c.rebuild()
		require.Equal(t, before, c.state(k))
	})
}

func TestWireErrors(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := wired(t)
		id, other := wireTopic, uuid.ID{6}
		read := func(topic uuid.ID, partition, epoch int32) outcome {
			got, _ := c.wireRead(t, topic, partition, epoch)
			return got
		}
		summary := func(topic uuid.ID, partition int32) outcome {
			got, _ := c.wireSummary(t, topic, partition)
			return got
		}
		require.Equal(t, badPartition, read(id, -1, -1))
		require.Equal(t, badLeader, read(id, 0, -1))
		require.Equal(t, notForRead, read(other, 0, 0), "asked before the topic is")
		require.Equal(t, badPartition, summary(id, -1))
		require.Equal(t, unknownTopic, summary(other, 0))
		require.Equal(t, unknownTopic, summary(id, 2))
		require.Equal(t, badPartition, c.wireDelete(t, id, -1))
		require.Equal(t, unknownTopic, c.wireDelete(t, other, 0))
		require.Equal(t, badPartition, c.wireInit(t, id, -1, -1, 0))
		require.Equal(t, badState, c.wireInit(t, id, 0, -1, 0))
		require.Equal(t, unknownTopic, c.wireInit(t, other, 0, 0, 0))
		require.Equal(t, badPartition, c.wireWrite(t, id, -1, -1, -1, 0, 0))
		require.Equal(t, badLeader, c.wireWrite(t, id, 0, -1, -1, 0, 0))
		require.Equal(t, badState, c.wireWrite(t, id, 0, -1, 0, 0, 0))
		require.EqualValues(t, 42, c.wireWrite(t, id, 0, 0, 0, 0, 0, Batch{First: 5, Last: 4}).code)

		require.NoError(t, c.init(Key{"g", other, 0}, 0, 0))
		require.Equal(t, unknownTopic, read(other, 0, 0))
		require.Equal(t, unknownTopic, c.wireWrite(t, other, 0, 0, 0, 0, 0))

		c.Unload(0, c.life)
		require.Equal(t, notHere, read(id, 0, 0))
		c.log.hold()
		_, err := c.log.Append(9, segmentOf(t, ours()[:1]))
		require.NoError(t, err)
		c.life = 9
		c.Load(uuid.ID{1}, 0, c.life, c.log)
		require.Equal(t, stillLoading, c.wireWrite(t, id, 0, 0, 0, 0, 0))
	})
	simulate(t, func(t *testing.T) {
		c := wired(t)
		c.log.refuseBy(func([]byte) error { return runtime.ErrRefused })
		require.Equal(t, notReplicated, c.wireInit(t, wireTopic, 0, 0, 0))
	})
}

// TestWireNothingAsked has requests that name nothing: their answers do not either.
func TestWireNothingAsked(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := wired(t)
		empty := kmsg.NewPtrReadShareGroupStateRequest()
		empty.GroupID = "g"
		require.Empty(t, ask(t, c.ReadState, empty).Topics)
		empty.Topics = []kmsg.ReadShareGroupStateRequestTopic{{TopicID: wireTopic}}
		require.Empty(t, ask(t, c.ReadState, empty).Topics)
		nobody := kmsg.NewPtrDeleteShareGroupStateRequest()
		nobody.Topics = []kmsg.DeleteShareGroupStateRequestTopic{{Partitions: make([]kmsg.DeleteShareGroupStateRequestTopicPartition, 1)}}
		require.Empty(t, ask(t, admitted(c.DeleteState), nobody).Topics)
		some := kmsg.NewPtrInitializeShareGroupStateRequest()
		some.GroupID = "g"
		some.Topics = []kmsg.InitializeShareGroupStateRequestTopic{
			{TopicID: uuid.ID{9}},
			{TopicID: wireTopic, Partitions: make([]kmsg.InitializeShareGroupStateRequestTopicPartition, 2)},
		}
		some.Topics[1].Partitions[1].Partition = 1
		r := ask(t, admitted(c.InitializeState), some)
		require.Len(t, r.Topics, 1)
		require.Len(t, r.Topics[0].Partitions, 2)
		require.EqualValues(t, 1, r.Topics[0].Partitions[1].Partition)
	})
}

// TestWireRefusedByTheCaller: nothing is done, and everything that was named is answered, topics without partitions too.
func TestWireRefusedByTheCaller(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := wired(t)
		require.Equal(t, fine, c.wireInit(t, wireTopic, 0, 3, 7))
		_, before := c.wireSummary(t, wireTopic, 0)
		barred := fmt.Errorf("this group is a queue's: %w", kerr.PolicyViolation)
		message := barred.Error()

		initialize := kmsg.NewPtrInitializeShareGroupStateRequest()
		initialize.GroupID = "g"
		initialize.Topics = []kmsg.InitializeShareGroupStateRequestTopic{
			{TopicID: uuid.ID{9}},
			{TopicID: wireTopic, Partitions: []kmsg.InitializeShareGroupStateRequestTopicPartition{{Partition: 0, StateEpoch: 4}, {Partition: -1, StateEpoch: -1}}},
		}
		require.Equal(t, []kmsg.InitializeShareGroupStateResponseTopic{
			{TopicID: uuid.ID{9}, Partitions: []kmsg.InitializeShareGroupStateResponseTopicPartition{}},
			{TopicID: wireTopic, Partitions: []kmsg.InitializeShareGroupStateResponseTopicPartition{
				{Partition: 0, ErrorCode: 44, ErrorMessage: &message}, {Partition: -1, ErrorCode: 44, ErrorMessage: &message},
			}},
		}, ask(t, refusing(c.InitializeState, barred), initialize).Topics)

		write := kmsg.NewPtrWriteShareGroupStateRequest()
		write.GroupID = "g"
		write.Topics = []kmsg.WriteShareGroupStateRequestTopic{
			{TopicID: wireTopic, Partitions: []kmsg.WriteShareGroupStateRequestTopicPartition{{StateEpoch: 3, StartOffset: 9}, {Partition: 1, StateEpoch: -1}}},
			{TopicID: uuid.ID{9}},
		}
		require.Equal(t, []kmsg.WriteShareGroupStateResponseTopic{
			{TopicID: wireTopic, Partitions: []kmsg.WriteShareGroupStateResponseTopicPartition{
				{Partition: 0, ErrorCode: 44, ErrorMessage: &message}, {Partition: 1, ErrorCode: 44, ErrorMessage: &message},
			}},
			{TopicID: uuid.ID{9}, Partitions: []kmsg.WriteShareGroupStateResponseTopicPartition{}},
		}, ask(t, refusing(c.WriteState, barred), write).Topics)

		remove := kmsg.NewPtrDeleteShareGroupStateRequest()
		remove.GroupID = "g"
		remove.Topics = []kmsg.DeleteShareGroupStateRequestTopic{{TopicID: wireTopic, Partitions: make([]kmsg.DeleteShareGroupStateRequestTopicPartition, 1)}}
		require.Equal(t, []kmsg.DeleteShareGroupStateResponseTopic{
			{TopicID: wireTopic, Partitions: []kmsg.DeleteShareGroupStateResponseTopicPartition{{ErrorCode: 44, ErrorMessage: &message}}},
		}, ask(t, refusing(c.DeleteState, barred), remove).Topics)

		said, after := c.wireSummary(t, wireTopic, 0)
		require.Equal(t, fine, said)
		require.Equal(t, before, after)
	})
}
