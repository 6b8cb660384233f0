package cluster

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

func TestTopicLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := NewMemory()
		c, _ := join(t, store, 1)
		ctx := t.Context()

		topic, err := c.CreateTopic(ctx, TopicSpec{Name: "t", Partitions: 3, ReplicationFactor: 1, Configs: map[string]string{"retention.ms": "5"}})
		require.NoError(t, err)
		require.Same(t, topic, c.Image().Topic("t"), "shown when answered")
		require.Same(t, topic, c.Image().TopicByID(topic.ID))
		require.Equal(t, map[string]string{"retention.ms": "5"}, c.Image().Config(KindTopic, "t"))
		require.Len(t, topic.Partitions, 3)
		for _, p := range topic.Partitions {
			require.Equal(t, int32(1), p.Leader)
			require.Equal(t, []int32{1}, p.Replicas)
			require.Equal(t, []int32{1}, p.ISR)
			require.Zero(t, p.LeaderEpoch)
			require.Zero(t, p.PartitionEpoch)
		}

		more, err := c.CreatePartitions(ctx, PartitionsSpec{Topic: "t", Count: 200})
		require.NoError(t, err)
		require.Len(t, more.Partitions, 200)
		require.Equal(t, topic.ID, more.ID)
		require.Len(t, topic.Partitions, 3, "an image of before stays")
		require.Equal(t, 200, c.Image().NumPartitions())

		require.NoError(t, c.DeleteTopic(ctx, topic.ID))
		require.Nil(t, c.Image().Topic("t"))
		require.Nil(t, c.Image().Config(KindTopic, "t"))
		require.Zero(t, c.Image().NumPartitions())
		require.Empty(t, keysLeft(t, store, "partitions/"))
		require.ErrorIs(t, c.DeleteTopic(ctx, topic.ID), ErrUnknownTopic)

		again, err := c.CreateTopic(ctx, topicOf(1, 1))
		require.NoError(t, err)
		require.NotEqual(t, topic.ID, again.ID)
	})
}

func TestTopicRefusalsAreKafkas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := join(t, NewMemory(), 1, func(o *Options) { o.PartitionsInCluster = 20_000; o.PartitionsPerTopic = 15_000 })
		for _, name := range []string{"taken", "a.b"} {
			_, err := c.CreateTopic(t.Context(), TopicSpec{Name: name, Partitions: 2, ReplicationFactor: 1})
			require.NoError(t, err)
		}
		assign := func(lists ...[]int32) TopicSpec {
			spec := TopicSpec{Name: "t", Partitions: -1, ReplicationFactor: -1}
			for n, replicas := range lists {
				spec.Assignments = append(spec.Assignments, Assignment{Partition: int32(n), Replicas: replicas})
			}
			return spec
		}
		gap, twice, counted, factored := assign([]int32{1}, []int32{1}), assign([]int32{1}, []int32{1}), assign([]int32{1}), assign([]int32{1})
		gap.Assignments[1].Partition, twice.Assignments[1].Partition = 2, 0
		counted.Partitions, factored.ReplicationFactor = 1, 1
		named := func(name string) TopicSpec { return TopicSpec{Name: name, Partitions: 1, ReplicationFactor: 1} }
		long := strings.Repeat("x", 250)
		for _, c2 := range []struct {
			spec    TopicSpec
			kind    error
			message string
		}{
			{named(""), ErrInvalidTopicName, "Topic name is invalid: the empty string is not allowed"},
			{named("."), ErrInvalidTopicName, "Topic name is invalid: '.' is not allowed"},
			{named(".."), ErrInvalidTopicName, "Topic name is invalid: '..' is not allowed"},
			{named("a b"), ErrInvalidTopicName, "Topic name is invalid: 'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"},
			{named("a\x00%s"), ErrInvalidTopicName, "Topic name is invalid: 'a\x00%s' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"},
			{named(long), ErrInvalidTopicName, "Topic name is invalid: the length of '" + long + "' is longer than the max allowed length 249"},
			{named("taken"), ErrTopicExists, "Topic 'taken' already exists."},
			{named("a_b"), ErrTopicCollision, "Topic 'a_b' collides with existing topic: a.b"},
			{named("__cluster_metadata"), ErrInvalidRequest, "Creation of internal topic __cluster_metadata is prohibited."},
			{topicOf(0, 1), ErrInvalidPartitions, "Number of partitions was set to an invalid non-positive value."},
			{topicOf(-2, 1), ErrInvalidPartitions, "Number of partitions was set to an invalid non-positive value."},
			{topicOf(1, 0), ErrReplicationFactor, "Replication factor must be larger than 0, or -1 to use the default value."},
			{topicOf(1, -2), ErrReplicationFactor, "Replication factor must be larger than 0, or -1 to use the default value."},
			{topicOf(1, 2), ErrReplicationFactor, "Unable to replicate the partition 2 time(s): The target replication factor of 2 cannot be reached because only 1 broker(s) are registered or some brokers have all their log directories cordoned."},
			{topicOf(10_001, 1), ErrTooManyPartitions, "Excessively large number of partitions per request."},
			{assign([]int32{101}), ErrInvalidAssignment, "The manual partition assignment includes broker 101, but no such broker is registered."},
			{assign([]int32{-1}), ErrInvalidAssignment, "The manual partition assignment includes broker -1, but no such broker is registered."},
			{assign([]int32{1, 1}), ErrInvalidAssignment, "The manual partition assignment includes the broker 1 more than once."},
			{assign([]int32{}), ErrInvalidAssignment, "The manual partition assignment includes an empty replica list."},
			{gap, ErrInvalidAssignment, "partitions should be a consecutive 0-based integer sequence"},
			{twice, ErrInvalidAssignment, "Found multiple manual partition assignments for partition 0"},
			{counted, ErrInvalidRequest, "A manual partition assignment was specified, but numPartitions was not set to -1."},
			{factored, ErrInvalidRequest, "A manual partition assignment was specified, but replication factor was not set to -1."},
		} {
			revision := c.Image().Revision
			_, err := c.CreateTopic(t.Context(), c2.spec)
			requireRefusal(t, err, c2.kind, c2.message)
			require.Equal(t, revision, c.Image().Revision, "a refusal writes nothing")
		}
	})
}

// As long as nothing is copied between brokers a second replica would count as in sync and, once it led, have lost every record.
func TestASecondReplicaIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewMemory()
		asShipped := func(o *Options) { o.MaxReplicas = 0 }
		c, _ := join(t, s, 1, asShipped)
		join(t, s, 2, asShipped)
		const message = "Unable to replicate the partition 2 time(s): this broker does not replicate yet, so at most 1 can be asked for."
		for _, spec := range []TopicSpec{topicOf(1, 2), {Name: "t", Partitions: -1, ReplicationFactor: -1, Assignments: []Assignment{{0, []int32{1, 2}}}}} {
			_, err := c.CreateTopic(t.Context(), spec)
			requireRefusal(t, err, ErrReplicationFactor, message)
		}
		topic, err := c.CreateTopic(t.Context(), topicOf(2, 1))
		require.NoError(t, err)
		_, err = c.CreatePartitions(t.Context(), PartitionsSpec{Topic: "t", Count: 3, Assignments: [][]int32{{1, 2}}})
		require.ErrorIs(t, err, ErrInvalidAssignment)
		require.Len(t, topic.Partitions, 2)
	})
}

func requireRefusal(t *testing.T, err, kind error, message string) {
	t.Helper()
	var refusal *Error
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, message, refusal.Message)
	require.ErrorIs(t, err, kind)
}

func TestPartitionRefusalsAreKafkas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := join(t, NewMemory(), 1)
		topic, err := c.CreateTopic(t.Context(), topicOf(2, 1))
		require.NoError(t, err)
		for _, c2 := range []struct {
			spec    PartitionsSpec
			kind    error
			message string
		}{
			{PartitionsSpec{Topic: "none", Count: 3}, ErrUnknownTopic, "This server does not host this topic-partition."},
			{PartitionsSpec{Topic: "t", Count: 2}, ErrInvalidPartitions, "Topic already has 2 partition(s)."},
			{PartitionsSpec{Topic: "t", Count: 1}, ErrInvalidPartitions, "The topic t currently has 2 partition(s); 1 would not be an increase."},
			{PartitionsSpec{Topic: "t", Count: -1}, ErrInvalidPartitions, "The topic t currently has 2 partition(s); -1 would not be an increase."},
			{PartitionsSpec{Topic: "t", Count: 10_003}, ErrTooManyPartitions, "Excessively large number of additional partitions per request."},
			{PartitionsSpec{Topic: "t", Count: 4, Assignments: [][]int32{{1}}}, ErrInvalidAssignment, "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified."},
			{PartitionsSpec{Topic: "t", Count: 3, Assignments: [][]int32{{1}, {1}}}, ErrInvalidAssignment, "Attempted to add 1 additional partition(s), but only 2 assignment(s) were specified."},
			{PartitionsSpec{Topic: "t", Count: 3, Assignments: [][]int32{{7}}}, ErrInvalidAssignment, "The manual partition assignment includes broker 7, but no such broker is registered."},
			{PartitionsSpec{Topic: "t", Count: 3, Assignments: [][]int32{{}}}, ErrInvalidAssignment, "The manual partition assignment includes an empty replica list."},
		} {
			_, err := c.CreatePartitions(t.Context(), c2.spec)
			requireRefusal(t, err, c2.kind, c2.message)
		}
		same, err := c.CreatePartitions(t.Context(), PartitionsSpec{Topic: "t", Count: 3, ValidateOnly: true})
		require.NoError(t, err)
		require.Same(t, topic, same)
		require.Same(t, topic, c.Image().Topic("t"))
		grown, err := c.CreatePartitions(t.Context(), PartitionsSpec{Topic: "t", Count: 3, Assignments: [][]int32{{1}}})
		require.NoError(t, err)
		require.Len(t, grown.Partitions, 3)
	})
}

func TestManyTopicsInOneRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := NewMemory()
		c, line := join(t, store, 1)
		_, err := c.CreateTopic(t.Context(), TopicSpec{Name: "old", Partitions: 1, ReplicationFactor: 1})
		require.NoError(t, err)
		var specs []TopicSpec
		for i := range 300 {
			specs = append(specs, TopicSpec{Name: fmt.Sprintf("n%03d", i), Partitions: 2, ReplicationFactor: 1, Configs: map[string]string{"a": "b"}})
		}
		specs = append(specs, TopicSpec{Name: "old", Partitions: 1, ReplicationFactor: 1}, specs[0],
			TopicSpec{Name: "x.y", Partitions: 1, ReplicationFactor: 1}, TopicSpec{Name: "x_y", Partitions: 1, ReplicationFactor: 1},
			TopicSpec{Name: "dry", Partitions: 2, ReplicationFactor: 1, ValidateOnly: true}, TopicSpec{Name: "big", Partitions: 500, ReplicationFactor: 1})
		before := line.txns
		res := c.CreateTopics(t.Context(), specs)
		require.Less(t, line.txns-before, 20, "small topics share transactions")
		im := c.Image()
		for i := range 300 {
			require.NoError(t, res[i].Err)
			require.Same(t, im.Topic(specs[i].Name), res[i].Topic)
			require.NotNil(t, im.Config(KindTopic, specs[i].Name))
		}
		require.ErrorIs(t, res[300].Err, ErrTopicExists)
		require.ErrorIs(t, res[301].Err, ErrTopicExists)
		require.NoError(t, res[302].Err)
		require.ErrorIs(t, res[303].Err, ErrTopicCollision)
		require.NoError(t, res[304].Err)
		require.Len(t, res[304].Topic.Partitions, 2)
		require.Nil(t, im.Topic("dry"))
		require.Len(t, im.Topic("big").Partitions, 500)
		require.Equal(t, 303, im.NumTopics())
		require.Equal(t, 1+600+1+500, im.NumPartitions())

		var ids []uuid.ID
		for topic := range im.TopicsFrom("n") {
			ids = append(ids, topic.ID)
		}
		ids = append(ids, ids[0], im.Topic("big").ID)
		errs := c.DeleteTopics(t.Context(), ids)
		for i, err := range errs {
			if i == len(ids)-2 {
				require.ErrorIs(t, err, ErrUnknownTopic, "named twice")
			} else {
				require.NoError(t, err)
			}
		}
		require.Zero(t, c.Image().NumTopics()) // "old" sorts after "n"
		require.Empty(t, keysLeft(t, store, "partitions/"))
		require.Empty(t, keysLeft(t, store, "configs/"))
	})
}

func TestClusterHasRoomForSoMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := join(t, NewMemory(), 1, func(o *Options) { o.PartitionsInCluster = 10; o.PartitionsPerTopic = 8 })
		_, err := c.CreateTopic(t.Context(), topicOf(9, 1))
		require.ErrorIs(t, err, ErrTooManyPartitions)
		_, err = c.CreateTopic(t.Context(), topicOf(8, 1))
		require.NoError(t, err)
		_, err = c.CreatePartitions(t.Context(), PartitionsSpec{Topic: "t", Count: 9})
		require.ErrorIs(t, err, ErrTooManyPartitions)
		res := c.CreateTopics(t.Context(), []TopicSpec{{Name: "u", Partitions: 2, ReplicationFactor: 1}, {Name: "v", Partitions: 1, ReplicationFactor: 1}})
		require.NoError(t, res[0].Err)
		require.ErrorIs(t, res[1].Err, ErrTooManyPartitions)
	})
}

func TestReplicasAreSpread(t *testing.T) {
	var brokers []Broker
	for i := range 6 {
		brokers = append(brokers, Broker{ID: int32(i), Rack: fmt.Sprint("rack", i/2)})
	}
	leads, follows := map[int32]int{}, map[int32]int{}
	pairs := map[[2]int32]int{}
	for _, replicas := range place(brokers, uuid.ID{3: 5}, 7, 60, 3) {
		racks := map[int32]bool{}
		for i, id := range replicas {
			racks[id/2] = true
			if i > 0 {
				follows[id]++
				pairs[[2]int32{replicas[0], id}]++
			}
		}
		leads[replicas[0]]++
		require.Len(t, racks, 3, "one replica a rack: %v", replicas)
	}
	for i := range int32(6) {
		require.Equal(t, 10, leads[i])
		require.InDelta(t, 20, follows[i], 5)
	}
	require.Len(t, pairs, 6*4, "the partitions of a leader follow on every broker of other racks")
	for _, replicas := range place(brokers, uuid.ID{}, 0, 12, 6) {
		require.ElementsMatch(t, []int32{0, 1, 2, 3, 4, 5}, replicas)
	}
}
