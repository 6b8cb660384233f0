package handler

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func newTopicRequest(name string, partitions int32, factor int16, nameValue ...string) kmsg.CreateTopicsRequestTopic {
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, factor
	for i := 0; i < len(nameValue); i += 2 {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = nameValue[i], &nameValue[i+1]
		t.Configs = append(t.Configs, c)
	}
	return t
}

// placed is a topic with replicas for each of its partitions, from 0 up.
func placed(name string, replicas ...[]int32) kmsg.CreateTopicsRequestTopic {
	t := newTopicRequest(name, -1, -1)
	for i, r := range replicas {
		a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		a.Partition, a.Replicas = int32(i), r
		t.ReplicaAssignment = append(t.ReplicaAssignment, a)
	}
	return t
}

func askCreate(version int16, topics ...kmsg.CreateTopicsRequestTopic) *kmsg.CreateTopicsRequest {
	req := at(version, kmsg.NewPtrCreateTopicsRequest())
	req.TimeoutMillis, req.Topics = 5000, topics
	return req
}

func createdNames(r *kmsg.CreateTopicsResponse) (names []string) {
	for _, t := range r.Topics {
		names = append(names, t.Topic+" "+named(t.ErrorCode))
	}
	return names
}

func TestCreateTopicsRefusals(t *testing.T) {
	noValue := newTopicRequest("t", 1, 1, "retention.ms", "1")
	noValue.Configs[0].Value = nil
	both := placed("t", []int32{1})
	both.NumPartitions, both.ReplicationFactor = 1, 1
	gap := placed("t", []int32{1}, []int32{1})
	gap.ReplicaAssignment[1].Partition = 5
	twice := placed("t", []int32{1}, []int32{1})
	twice.ReplicaAssignment[1].Partition = 0
	f := newFixture(t)
	f.topic("there", 1)
	f.topic("c.d", 1)
	for _, c := range []struct {
		topic kmsg.CreateTopicsRequestTopic
		code  string
		words string
	}{
		{newTopicRequest("", 1, 1), "INVALID_TOPIC_EXCEPTION", "empty"},
		{newTopicRequest("..", 1, 1), "INVALID_TOPIC_EXCEPTION", "'..'"},
		{newTopicRequest("a b", 1, 1), "INVALID_TOPIC_EXCEPTION", "'a b'"},
		{newTopicRequest(strings.Repeat("x", 250), 1, 1), "INVALID_TOPIC_EXCEPTION", "249"},
		{newTopicRequest("there", 1, 1), "TOPIC_ALREADY_EXISTS", "there"},
		{newTopicRequest("there", 1, 1, "no.such", "1"), "TOPIC_ALREADY_EXISTS", "there"},
		{newTopicRequest("c_d", 1, 1), "INVALID_TOPIC_EXCEPTION", "c.d"},
		{newTopicRequest("__cluster_metadata", 1, 1), "INVALID_REQUEST", "prohibited"},
		{newTopicRequest("t", 0, 1), "INVALID_PARTITIONS", "partitions"},
		{newTopicRequest("t", -2, 1), "INVALID_PARTITIONS", "partitions"},
		{newTopicRequest("t", 1, 0), "INVALID_REPLICATION_FACTOR", "eplication"},
		{newTopicRequest("t", 1, 2), "INVALID_REPLICATION_FACTOR", "only 1 broker"},
		{newTopicRequest("t", 1_000_000, 1), "POLICY_VIOLATION", "partitions"},
		{newTopicRequest("t", 1, 1, "no.such.config", "1"), "INVALID_CONFIG", "no.such.config"},
		{newTopicRequest("t", 0, 1, "no.such.config", "1"), "INVALID_CONFIG", "no.such.config"},
		{newTopicRequest("t", 1, 1, "retention.ms", "abc"), "INVALID_CONFIG", "abc"},
		{newTopicRequest("t", 1, 1, "retention.ms", ""), "INVALID_CONFIG", "retention.ms"},
		{newTopicRequest("t", 1, 1, "segment.bytes", "1000"), "INVALID_CONFIG", "segment.bytes"},
		{newTopicRequest("t", 1, 1, "min.compaction.lag.ms", "2", "max.compaction.lag.ms", "1"), "INVALID_CONFIG", "compaction"},
		{noValue, "INVALID_CONFIG", "retention.ms"},
		{placed("t", []int32{101}), "INVALID_REPLICA_ASSIGNMENT", "101"},
		{placed("t", []int32{1, 1}), "INVALID_REPLICA_ASSIGNMENT", "more than once"},
		{placed("t", []int32{}), "INVALID_REPLICA_ASSIGNMENT", "empty"},
		{placed("t", []int32{-1}), "INVALID_REPLICA_ASSIGNMENT", "-1"},
		{both, "INVALID_REQUEST", "-1"},
		{gap, "INVALID_REPLICA_ASSIGNMENT", "consecutive"},
		{twice, "INVALID_REPLICA_ASSIGNMENT", "partition 0"},
	} {
		for _, v := range []int16{2, 7} {
			r := do[*kmsg.CreateTopicsResponse](f, askCreate(v, c.topic))
			require.Len(t, r.Topics, 1)
			require.Equal(t, c.code, named(r.Topics[0].ErrorCode), "%+v", c.topic)
			require.Contains(t, text(r.Topics[0].ErrorMessage), c.words)
			if v == 7 {
				require.NotNil(t, r.Topics[0].Configs)
				require.Empty(t, r.Topics[0].Configs)
				require.Equal(t, int32(-1), r.Topics[0].NumPartitions)
			}
		}
	}
	require.Equal(t, 2, f.cluster.Image().NumTopics(), "nothing of it was made")
}

func TestCreateTopicsEachByItself(t *testing.T) {
	f := newFixture(t, withSettings("num.partitions", "4"))
	dup := newTopicRequest("dup", 1, 1)
	r := do[*kmsg.CreateTopicsResponse](f, askCreate(7, newTopicRequest("good", 2, 1), dup, newTopicRequest("a b", 1, 1), dup,
		newTopicRequest("defaults", -1, -1), placed("placed", []int32{1}, []int32{1}, []int32{1})))
	require.Equal(t, []string{"good ", "dup INVALID_REQUEST", "a b INVALID_TOPIC_EXCEPTION", "defaults ", "placed "}, createdNames(r))
	image := f.cluster.Image()
	require.Nil(t, image.Topic("dup"))
	for i, partitions := range map[int]int{0: 2, 3: 4, 4: 3} {
		topic := image.Topic(r.Topics[i].Topic)
		require.Len(t, topic.Partitions, partitions)
		require.Equal(t, [16]byte(topic.ID), r.Topics[i].TopicID)
		require.EqualValues(t, partitions, r.Topics[i].NumPartitions)
		require.EqualValues(t, 1, r.Topics[i].ReplicationFactor)
	}
}

func TestCreateTopicsAnswersTheEffectiveSettings(t *testing.T) {
	f := newFixture(t, withSettings("message.max.bytes", "77"))
	r := do[*kmsg.CreateTopicsResponse](f, askCreate(5, newTopicRequest("t", 1, 1, "retention.ms", "1", "cleanup.policy", " compact , delete ", "retention.ms", "2")))
	require.Equal(t, []string{"t "}, createdNames(r))
	got := map[string]string{}
	for _, c := range r.Topics[0].Configs {
		got[c.Name] = fmt.Sprintf("%s from %d", text(c.Value), c.Source)
	}
	require.Len(t, got, 37)
	require.Equal(t, "2 from 1", got["retention.ms"], "the last of two counts")
	require.Equal(t, " compact , delete  from 1", got["cleanup.policy"])
	require.Equal(t, "77 from 4", got["max.message.bytes"])
	require.Equal(t, "1 from 5", got["flush.messages"])
	require.Equal(t, map[string]string{"retention.ms": "2", "cleanup.policy": " compact , delete "}, f.cluster.Image().Config("topic", "t"))
}

func TestCreateTopicsOnlyValidated(t *testing.T) {
	f := newFixture(t)
	req := askCreate(7, newTopicRequest("t", 2, 1), newTopicRequest("u", 1, 9))
	req.ValidateOnly = true
	r := do[*kmsg.CreateTopicsResponse](f, req)
	require.Equal(t, []string{"t ", "u INVALID_REPLICATION_FACTOR"}, createdNames(r))
	require.NotZero(t, r.Topics[0].TopicID)
	require.EqualValues(t, 2, r.Topics[0].NumPartitions)
	require.Len(t, r.Topics[0].Configs, 37)
	require.Zero(t, f.cluster.Image().NumTopics())
}

func TestRequestsWithoutTimeToWaitChangeNothing(t *testing.T) {
	f := newFixture(t)
	f.topic("old", 1)
	create := askCreate(7, newTopicRequest("t", 1, 1))
	create.TimeoutMillis = 0
	r := do[*kmsg.CreateTopicsResponse](f, create)
	require.Equal(t, []string{"t REQUEST_TIMED_OUT"}, createdNames(r))
	require.Nil(t, r.Topics[0].ErrorMessage)

	remove := askDelete(6, "old")
	remove.TimeoutMillis = -1
	require.Equal(t, []string{"old REQUEST_TIMED_OUT <null>"}, deletedNames(do[*kmsg.DeleteTopicsResponse](f, remove)))

	grow := askGrow("old", 5)
	grow.TimeoutMillis = 0
	require.Equal(t, "REQUEST_TIMED_OUT", named(do[*kmsg.CreatePartitionsResponse](f, grow).Topics[0].ErrorCode))
	require.Equal(t, 1, f.cluster.Image().NumPartitions())
}

func askDelete(version int16, names ...string) *kmsg.DeleteTopicsRequest {
	req := at(version, kmsg.NewPtrDeleteTopicsRequest())
	req.TimeoutMillis, req.TopicNames = 5000, names
	for _, n := range names {
		rt := kmsg.NewDeleteTopicsRequestTopic()
		rt.Topic = &n
		req.Topics = append(req.Topics, rt)
	}
	return req
}

func deletedNames(r *kmsg.DeleteTopicsResponse) (names []string) {
	for _, t := range r.Topics {
		names = append(names, text(t.Topic)+" "+named(t.ErrorCode)+" "+text(t.ErrorMessage))
	}
	return names
}

func TestDeleteTopicsByName(t *testing.T) {
	for v := int16(1); v <= 6; v++ {
		f := newFixture(t)
		a := f.topic("a", 1, "retention.ms", "1")
		f.topic("b", 1)
		r := do[*kmsg.DeleteTopicsResponse](f, askDelete(v, "none", "b", "a", "a b", "b"))
		none, dup := "This server does not host this topic-partition.", "Duplicate topic name."
		if v < 5 {
			none, dup = "<null>", "<null>"
		}
		require.Equal(t, []string{"none UNKNOWN_TOPIC_OR_PARTITION " + none, "b INVALID_REQUEST " + dup, "a  <null>",
			"a b UNKNOWN_TOPIC_OR_PARTITION " + none}, deletedNames(r), "version %d", v)
		if v == 6 {
			require.Equal(t, [16]byte(a.ID), r.Topics[2].TopicID)
		}
		image := f.cluster.Image()
		require.Nil(t, image.Topic("a"))
		require.Nil(t, image.Config("topic", "a"), "settings go with their topic")
		require.NotNil(t, image.Topic("b"), "named twice, not deleted")
	}
}

func TestDeleteTopicsByID(t *testing.T) {
	f := newFixture(t)
	a, b, c := f.topic("a", 1), f.topic("b", 1), f.topic("c", 1)
	one := func(id [16]byte, name string) kmsg.DeleteTopicsRequestTopic {
		rt := kmsg.NewDeleteTopicsRequestTopic()
		if rt.TopicID = id; name != "" {
			rt.Topic = &name
		}
		return rt
	}
	ask := func(topics ...kmsg.DeleteTopicsRequestTopic) []string {
		req := askDelete(6)
		req.Topics = topics
		return deletedNames(do[*kmsg.DeleteTopicsResponse](f, req))
	}
	none := [16]byte{}
	require.Equal(t, []string{"a  <null>"}, ask(one(a.ID, "")))
	require.Equal(t, []string{"<null> UNKNOWN_TOPIC_ID This server does not host this topic ID."}, ask(one(a.ID, "")))
	require.Equal(t, []string{"b INVALID_REQUEST You may not specify both topic name and topic id."}, ask(one(b.ID, "b")))
	require.Equal(t, []string{"<null> INVALID_REQUEST Neither topic name nor id were specified."}, ask(one(none, "")))
	require.Equal(t, []string{"b INVALID_REQUEST The provided topic name maps to an ID that was already supplied."}, ask(one(b.ID, ""), one(none, "b")))
	require.Equal(t, []string{"<null> INVALID_REQUEST Duplicate topic id."}, ask(one(c.ID, ""), one(c.ID, "")))
	require.Equal(t, 2, f.cluster.Image().NumTopics())
	require.Len(t, ask(one(c.ID, ""), one(none, "none")), 2)
	require.Nil(t, f.cluster.Image().Topic("c"))
}

func TestDeletionSwitchedOff(t *testing.T) {
	f := newFixture(t, withSettings("delete.topic.enable", "false"))
	f.topic("a", 1)
	for v, want := range map[int16]string{1: "INVALID_REQUEST", 3: "TOPIC_DELETION_DISABLED", 6: "TOPIC_DELETION_DISABLED"} {
		require.Equal(t, want, named(do[*kmsg.DeleteTopicsResponse](f, askDelete(v, "a")).Topics[0].ErrorCode))
	}
	require.NotNil(t, f.cluster.Image().Topic("a"))
}

func askGrow(name string, count int32, replicas ...[]int32) *kmsg.CreatePartitionsRequest {
	req := at(3, kmsg.NewPtrCreatePartitionsRequest())
	rt := kmsg.NewCreatePartitionsRequestTopic()
	rt.Topic, rt.Count = name, count
	for _, r := range replicas {
		a := kmsg.NewCreatePartitionsRequestTopicAssignment()
		a.Replicas = r
		rt.Assignment = append(rt.Assignment, a)
	}
	req.TimeoutMillis, req.Topics = 5000, []kmsg.CreatePartitionsRequestTopic{rt}
	return req
}

func TestCreatePartitions(t *testing.T) {
	f := newFixture(t)
	f.topic("t", 2)
	validate := askGrow("t", 9)
	validate.ValidateOnly = true
	twice := askGrow("t", 9)
	twice.Topics = append(twice.Topics, twice.Topics[0])
	for _, c := range []struct {
		req   *kmsg.CreatePartitionsRequest
		code  string
		words string
		total int
	}{
		{askGrow("t", 2), "INVALID_PARTITIONS", "already has 2", 2},
		{askGrow("t", 1), "INVALID_PARTITIONS", "would not be an increase", 2},
		{askGrow("t", -1), "INVALID_PARTITIONS", "would not be an increase", 2},
		{askGrow("none", 3), "UNKNOWN_TOPIC_OR_PARTITION", "<null>", 2},
		{askGrow("t", 1_000_000), "POLICY_VIOLATION", "large", 2},
		{validate, "", "<null>", 2},
		{askGrow("t", 3), "", "<null>", 3},
		{askGrow("t", 4, []int32{1}), "", "<null>", 4},
		{askGrow("t", 5, []int32{101}), "INVALID_REPLICA_ASSIGNMENT", "101", 4},
		{askGrow("t", 6, []int32{1}), "INVALID_REPLICA_ASSIGNMENT", "only 1 assignment", 4},
		{askGrow("t", 5, []int32{}), "INVALID_REPLICA_ASSIGNMENT", "empty", 4},
		{twice, "INVALID_REQUEST", "Duplicate", 4},
	} {
		r := do[*kmsg.CreatePartitionsResponse](f, c.req)
		require.Len(t, r.Topics, 1)
		require.Equal(t, c.code, named(r.Topics[0].ErrorCode), "%+v", c.req.Topics)
		require.Contains(t, text(r.Topics[0].ErrorMessage), c.words)
		require.Len(t, f.cluster.Image().Topic("t").Partitions, c.total)
	}
}

func TestDescribeTopicPartitionsInPages(t *testing.T) {
	f := newFixture(t)
	f.topic("b", 2)
	f.topic("a", 3)
	f.topic("c", 1)
	ask := func(limit int32, cursor string, from int32, names ...string) *kmsg.DescribeTopicPartitionsRequest {
		req := kmsg.NewPtrDescribeTopicPartitionsRequest()
		req.ResponsePartitionLimit = limit
		if cursor != "" {
			req.Cursor = &kmsg.DescribeTopicPartitionsRequestCursor{Topic: cursor, Partition: from}
		}
		for _, n := range names {
			rt := kmsg.NewDescribeTopicPartitionsRequestTopic()
			rt.Topic = n
			req.Topics = append(req.Topics, rt)
		}
		return req
	}
	show := func(r *kmsg.DescribeTopicPartitionsResponse) string {
		var b strings.Builder
		for _, topic := range r.Topics {
			fmt.Fprintf(&b, "%s%s", *topic.Topic, named(topic.ErrorCode))
			for _, p := range topic.Partitions {
				fmt.Fprintf(&b, " %d", p.Partition)
			}
			b.WriteString("; ")
		}
		if r.NextCursor != nil {
			fmt.Fprintf(&b, "next %s %d", r.NextCursor.Topic, r.NextCursor.Partition)
		}
		return b.String()
	}
	const invalid, unknown = "INVALID_REQUEST", "UNKNOWN_TOPIC_OR_PARTITION"
	for _, c := range []struct {
		req  *kmsg.DescribeTopicPartitionsRequest
		want string
	}{
		{ask(2000, "", 0, "c", "a", "b", "a"), "a 0 1 2; b 0 1; c 0; "},
		{ask(2000, "", 0), "a 0 1 2; b 0 1; c 0; "},
		{ask(2, "", 0, "a", "b"), "a 0 1; next a 2"},
		{ask(3, "", 0, "a", "b"), "a 0 1 2; next b 0"},
		{ask(4, "", 0, "a", "b"), "a 0 1 2; b 0; next b 1"},
		{ask(5, "", 0, "a", "b"), "a 0 1 2; b 0 1; "},
		{ask(0, "", 0, "a"), "a 0; next a 1"},
		{ask(-1, "", 0, "a"), "a 0; next a 1"},
		{ask(2, "a", 1, "a", "b"), "a 1 2; next b 0"},
		{ask(2000, "b", 9, "a", "b", "c"), "b; c 0; "},
		{ask(2000, "b", -1, "a", "b"), "a" + invalid + "; b" + invalid + "; "},
		{ask(2000, "aa", 0, "a", "b"), "a" + invalid + "; b" + invalid + "; "},
		{ask(2000, "aa", 1), "b 0 1; c 0; "},
		{ask(1, "", 0, "a", "none", "x"), "a 0; next a 1"},
		{ask(4, "", 0, "c", "none", "x y"), "c 0; none" + unknown + "; x yINVALID_TOPIC_EXCEPTION; "},
		{ask(4, "", 0, ""), "UNKNOWN_SERVER_ERROR; "},
	} {
		r := do[*kmsg.DescribeTopicPartitionsResponse](f, c.req)
		require.Equal(t, c.want, show(r))
	}
	small := newFixture(t, withSettings("max.request.partition.size.limit", "2"))
	small.topic("a", 3)
	require.Equal(t, "a 0 1; next a 2", show(do[*kmsg.DescribeTopicPartitionsResponse](small, ask(2000, "", 0))))
}
