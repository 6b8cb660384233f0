package handler

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/protocol/record"
)

// asked is one partition of a ListOffsets request.
type asked struct {
	partition int32
	timestamp int64
	epoch     int32
}

func askOffsets(version int16, isolation int8, topic string, all ...asked) *kmsg.ListOffsetsRequest {
	req := at(version, kmsg.NewPtrListOffsetsRequest())
	req.ReplicaID, req.IsolationLevel = -1, isolation
	rt := kmsg.NewListOffsetsRequestTopic()
	rt.Topic = topic
	for _, a := range all {
		rp := kmsg.NewListOffsetsRequestTopicPartition()
		rp.Partition, rp.Timestamp, rp.CurrentLeaderEpoch = a.partition, a.timestamp, a.epoch
		rt.Partitions = append(rt.Partitions, rp)
	}
	req.Topics = append(req.Topics, rt)
	return req
}

func offsets(r *kmsg.ListOffsetsResponse) (out []string) {
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			out = append(out, fmt.Sprintf("%d%s: %d at %d", p.Partition, named(p.ErrorCode), p.Offset, p.Timestamp))
		}
	}
	return out
}

func TestListOffsets(t *testing.T) {
	f := newHostFixture(t)
	topic := f.topic("t", 2, "retention.ms", "-1")
	_, _ = f.produce(topic, batch(record.Spec{}, 1000, 1500, 1200))
	code, base := f.produce(topic, batch(record.Spec{}, 1300, 1301))
	require.Empty(t, code)
	require.EqualValues(t, 3, base)
	const none = "0: -1 at -1"
	for _, c := range []struct {
		version   int16
		isolation int8
		at        asked
		want      string
	}{
		{11, 0, asked{0, -1, -1}, "0: 5 at -1"}, {11, 1, asked{0, -1, -1}, "0: 5 at -1"}, {11, 0, asked{0, -2, -1}, "0: 0 at -1"},
		{11, 0, asked{0, -3, -1}, "0: 1 at 1500"}, {11, 0, asked{0, -4, -1}, "0: 0 at -1"}, {11, 0, asked{0, -5, -1}, none}, {11, 0, asked{0, -6, -1}, none},
		{11, 0, asked{1, -3, -1}, "1: -1 at -1"},
		{1, 0, asked{0, 0, 0}, "0: 0 at 1000"}, {11, 0, asked{0, 1001, -1}, "0: 1 at 1500"}, {11, 0, asked{0, 1501, -1}, none},
		{11, 0, asked{0, -7, -1}, "0UNSUPPORTED_VERSION: -1 at -1"}, {6, 0, asked{0, -3, -1}, "0UNSUPPORTED_VERSION: -1 at -1"},
		{10, 0, asked{0, -6, -1}, "0UNSUPPORTED_VERSION: -1 at -1"}, {11, 0, asked{9, -9, -1}, "9UNSUPPORTED_VERSION: -1 at -1"},
		{11, 2, asked{0, -1, -1}, "0UNKNOWN_SERVER_ERROR: -1 at -1"},
		{11, 0, asked{9, -1, -1}, "9UNKNOWN_TOPIC_OR_PARTITION: -1 at -1"}, {11, 0, asked{-1, -1, -1}, "-1UNKNOWN_TOPIC_OR_PARTITION: -1 at -1"},
		{11, 0, asked{0, -1, 0}, "0: 5 at -1"}, {11, 0, asked{0, -1, 7}, "0UNKNOWN_LEADER_EPOCH: -1 at -1"},
		{11, 0, asked{0, -1, -2}, "0FENCED_LEADER_EPOCH: -1 at -1"}, {3, 0, asked{0, -1, -2}, "0: 5 at -1"},
	} {
		r := do[*kmsg.ListOffsetsResponse](f, askOffsets(c.version, c.isolation, "t", c.at))
		require.Equal(t, []string{c.want}, offsets(r), "%+v", c)
	}
	unknown := do[*kmsg.ListOffsetsResponse](f, askOffsets(11, 0, "none", asked{0, -1, -1}))
	require.Equal(t, []string{"0UNKNOWN_TOPIC_OR_PARTITION: -1 at -1"}, offsets(unknown))
	twice := askOffsets(11, 0, "t", asked{0, -1, -1}, asked{1, -1, -1}, asked{0, -2, -1})
	require.Equal(t, []string{"0INVALID_REQUEST: -1 at -1", "1: 0 at -1"}, offsets(do[*kmsg.ListOffsetsResponse](f, twice)))
	require.Empty(t, do[*kmsg.ListOffsetsResponse](f, askOffsets(11, 0, "t")).Topics, "a topic without partitions is left out")
}

func TestOffsetForLeaderEpoch(t *testing.T) {
	f := newHostFixture(t)
	topic := f.topic("t", 1)
	_, _ = f.produce(topic, batch(record.Spec{}, 1, 2))
	for _, c := range []struct {
		partition, current, epoch int32
		want                      string
	}{
		{0, -1, 0, " 0 2"}, {0, 0, 0, " 0 2"}, {0, 1, 0, "UNKNOWN_LEADER_EPOCH -1 -1"}, {0, -1, 3, " -1 -1"}, {0, -1, -1, " -1 -1"},
		{0, -2, 0, "FENCED_LEADER_EPOCH -1 -1"}, {4, -1, 0, "UNKNOWN_TOPIC_OR_PARTITION -1 -1"},
	} {
		req := at(4, kmsg.NewPtrOffsetForLeaderEpochRequest())
		rt, rp := kmsg.NewOffsetForLeaderEpochRequestTopic(), kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
		rp.Partition, rp.CurrentLeaderEpoch, rp.LeaderEpoch = c.partition, c.current, c.epoch
		rt.Topic, rt.Partitions = "t", []kmsg.OffsetForLeaderEpochRequestTopicPartition{rp}
		req.Topics = append(req.Topics, rt)
		p := do[*kmsg.OffsetForLeaderEpochResponse](f, req).Topics[0].Partitions[0]
		require.Equal(t, c.want, fmt.Sprintf("%s %d %d", named(p.ErrorCode), p.LeaderEpoch, p.EndOffset), "%+v", c)
	}
}

func TestDeleteRecords(t *testing.T) {
	f := newHostFixture(t)
	for name, policy := range map[string]string{"t": "delete", "compacted": "compact", "both": "compact,delete"} {
		_, _ = f.produce(f.topic(name, 1, "cleanup.policy", policy, "retention.ms", "-1"), batch(record.Spec{}, 1, 2, 3, 4))
	}
	f.topic("__consumer_offsets", 1)
	for _, c := range []struct {
		topic     string
		partition int32
		offset    int64
		want      string
	}{
		{"t", 0, 2, " 2"}, {"t", 0, 1, " 2"}, {"t", 0, 5, "OFFSET_OUT_OF_RANGE -1"}, {"t", 0, -2, "OFFSET_OUT_OF_RANGE -1"}, {"t", 0, -1, " 4"},
		{"compacted", 0, 1, "POLICY_VIOLATION -1"}, {"both", 0, 1, " 1"}, {"t", 8, 0, "UNKNOWN_TOPIC_OR_PARTITION -1"},
		{"none", 0, 0, "UNKNOWN_TOPIC_OR_PARTITION -1"}, {"a b", 0, 0, "UNKNOWN_TOPIC_OR_PARTITION -1"}, {"__consumer_offsets", 0, 0, "INVALID_TOPIC_EXCEPTION -1"},
	} {
		p := do[*kmsg.DeleteRecordsResponse](f, askDeleteRecords(c.topic, c.partition, c.offset)).Topics[0].Partitions[0]
		require.Equal(t, c.want, fmt.Sprintf("%s %d", named(p.ErrorCode), p.LowWatermark), "%+v", c)
	}
	twice := askDeleteRecords("both", 0, 4)
	twice.Topics[0].Partitions = append(twice.Topics[0].Partitions, askDeleteRecords("both", 0, 2).Topics[0].Partitions...)
	r := do[*kmsg.DeleteRecordsResponse](f, twice)
	require.Len(t, r.Topics[0].Partitions, 1)
	require.EqualValues(t, 2, r.Topics[0].Partitions[0].LowWatermark, "the last counts")
}

func askDeleteRecords(topic string, partition int32, offset int64) *kmsg.DeleteRecordsRequest {
	req := at(2, kmsg.NewPtrDeleteRecordsRequest())
	rt, rp := kmsg.NewDeleteRecordsRequestTopic(), kmsg.NewDeleteRecordsRequestTopicPartition()
	rp.Partition, rp.Offset = partition, offset
	rt.Topic, rt.Partitions = topic, []kmsg.DeleteRecordsRequestTopicPartition{rp}
	req.Topics = append(req.Topics, rt)
	return req
}

func TestDescribeProducers(t *testing.T) {
	f := newHostFixture(t)
	topic := f.topic("t", 1, "retention.ms", "-1")
	ask := func(name string, n int32) kmsg.DescribeProducersResponseTopicPartition {
		req := kmsg.NewPtrDescribeProducersRequest()
		rt := kmsg.NewDescribeProducersRequestTopic()
		rt.Topic, rt.Partitions = name, []int32{n}
		req.Topics = append(req.Topics, rt)
		return do[*kmsg.DescribeProducersResponse](f, req).Topics[0].Partitions[0]
	}
	require.Empty(t, ask("t", 0).ActiveProducers)
	code, _ := f.produce(topic, batch(record.Spec{Producer: &record.Producer{ID: 7, Epoch: 1}}, 10, 20))
	require.Empty(t, code)
	p := ask("t", 0)
	require.Len(t, p.ActiveProducers, 1)
	require.Equal(t, kmsg.DescribeProducersResponseTopicPartitionActiveProducer{ProducerID: 7, ProducerEpoch: 1, LastSequence: 1, LastTimestamp: 20,
		CoordinatorEpoch: -1, CurrentTxnStartOffset: -1}, p.ActiveProducers[0])
	require.Equal(t, "UNKNOWN_TOPIC_OR_PARTITION", named(ask("t", 3).ErrorCode))
	require.Equal(t, "UNKNOWN_TOPIC_OR_PARTITION", named(ask("none", 0).ErrorCode))
	require.Equal(t, "INVALID_TOPIC_EXCEPTION", named(ask("a b", 0).ErrorCode))
}

func TestDescribeLogDirs(t *testing.T) {
	f := newHostFixture(t)
	_, _ = f.produce(f.topic("t", 2), batch(record.Spec{}, 1))
	f.topic("u", 1)
	of := func(name string, partitions ...int32) kmsg.DescribeLogDirsRequestTopic {
		rt := kmsg.NewDescribeLogDirsRequestTopic()
		rt.Topic, rt.Partitions = name, partitions
		return rt
	}
	for _, c := range []struct {
		topics []kmsg.DescribeLogDirsRequestTopic
		want   string
	}{
		{nil, "t 0 1 u 0 "}, {[]kmsg.DescribeLogDirsRequestTopic{}, ""},
		{[]kmsg.DescribeLogDirsRequestTopic{of("u", 0), of("t", 1, 8, 0, 1), of("none", 0)}, "t 0 1 u 0 "},
		{[]kmsg.DescribeLogDirsRequestTopic{of("t")}, ""},
	} {
		for v := int16(1); v <= 5; v++ {
			req := at(v, kmsg.NewPtrDescribeLogDirsRequest())
			req.Topics = c.topics
			r := do[*kmsg.DescribeLogDirsResponse](f, req)
			require.Len(t, r.Dirs, 1)
			got := ""
			for _, topic := range r.Dirs[0].Topics {
				got += topic.Topic + " "
				for _, p := range topic.Partitions {
					got += fmt.Sprintf("%d ", p.Partition)
					require.Equal(t, topic.Topic == "t" && p.Partition == 0, p.Size > 0)
				}
			}
			require.Equal(t, c.want, got)
		}
	}
}

// Settings take effect on partitions before the change is answered.
func TestChangedSettingsHoldAtOnce(t *testing.T) {
	f := newHostFixture(t)
	topic := f.topic("t", 1)
	small := batch(record.Spec{}, 1)
	for _, c := range []struct{ limit, code string }{{"10", "MESSAGE_TOO_LARGE"}, {"1000000", ""}} {
		require.Empty(t, f.alter(ofTopic, "t", op(set, "max.message.bytes", c.limit)))
		code, _ := f.produce(topic, append([]byte{}, small...))
		require.Equal(t, c.code, code)
	}
	require.Empty(t, f.alter(ofTopic, "t", op(del, "max.message.bytes", "")))
	require.Empty(t, f.alter(ofBroker, "", op(set, "message.max.bytes", "10")))
	code, _ := f.produce(topic, append([]byte{}, small...))
	require.Equal(t, "MESSAGE_TOO_LARGE", code)
}

// A topic is ready for clients when its creation is answered, and gone when its deletion is.
func TestTopicsServeAsSoonAsTheyAreAnswered(t *testing.T) {
	f := newHostFixture(t)
	for range 20 {
		require.Equal(t, []string{"t "}, createdNames(do[*kmsg.CreateTopicsResponse](f, askCreate(7, newTopicRequest("t", 3, 1)))))
		topic := f.cluster.Image().Topic("t")
		code, base := f.produce(topic, batch(record.Spec{}, 1))
		require.Empty(t, code)
		require.Zero(t, base)
		do[*kmsg.DeleteTopicsResponse](f, askDelete(6, "t"))
		code, _ = f.produce(topic, batch(record.Spec{}, 1))
		require.Equal(t, "UNKNOWN_TOPIC_ID", code)
	}
}
