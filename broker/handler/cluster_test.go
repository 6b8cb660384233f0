package handler

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/coordinator/cluster"
)

func TestDescribeCluster(t *testing.T) {
	f := newFixture(t)
	for v := int16(0); v <= 2; v++ {
		req := at(v, kmsg.NewPtrDescribeClusterRequest())
		r := do[*kmsg.DescribeClusterResponse](f, req)
		require.Equal(t, f.deps.ClusterID, r.ClusterID)
		require.EqualValues(t, 1, r.ControllerID)
		require.Len(t, r.Brokers, 1)
		require.EqualValues(t, 9092, r.Brokers[0].Port)
		require.EqualValues(t, -2147483648, r.ClusterAuthorizedOperations)
		req.IncludeClusterAuthorizedOperations = true
		require.EqualValues(t, 8096, do[*kmsg.DescribeClusterResponse](f, req).ClusterAuthorizedOperations)
	}
	for kind, want := range map[int8]string{2: "MISMATCHED_ENDPOINT_TYPE", 0: "UNSUPPORTED_ENDPOINT_TYPE", 9: "UNSUPPORTED_ENDPOINT_TYPE"} {
		req := at(2, kmsg.NewPtrDescribeClusterRequest())
		req.EndpointType = kind
		r := do[*kmsg.DescribeClusterResponse](f, req)
		require.Equal(t, want, named(r.ErrorCode))
		require.NotEmpty(t, text(r.ErrorMessage))
		require.Empty(t, r.Brokers)
	}
}

func TestDescribeQuorumShowsTheControllerAsLeader(t *testing.T) {
	f := newFixture(t)
	ask := func(topic string, partitions ...int32) *kmsg.DescribeQuorumResponse {
		req := at(2, kmsg.NewPtrDescribeQuorumRequest())
		rt := kmsg.NewDescribeQuorumRequestTopic()
		rt.Topic = topic
		for _, n := range partitions {
			rp := kmsg.NewDescribeQuorumRequestTopicPartition()
			rp.Partition = n
			rt.Partitions = append(rt.Partitions, rp)
		}
		req.Topics = append(req.Topics, rt)
		return do[*kmsg.DescribeQuorumResponse](f, req)
	}
	r := ask("__cluster_metadata", 0)
	p := r.Topics[0].Partitions[0]
	require.Zero(t, p.ErrorCode)
	require.EqualValues(t, 1, p.LeaderID)
	require.Positive(t, p.LeaderEpoch)
	require.Equal(t, f.cluster.Image().Revision, p.HighWatermark)
	require.Len(t, p.CurrentVoters, 1)
	require.Len(t, r.Nodes[0].Listeners, 2)
	for _, r := range []*kmsg.DescribeQuorumResponse{ask("__cluster_metadata", 1), ask("__cluster_metadata", 0, 1), ask("other", 0)} {
		for _, p := range r.Topics[0].Partitions {
			require.Equal(t, "UNKNOWN_TOPIC_OR_PARTITION", named(p.ErrorCode))
		}
	}
}

func askProducer(version int16, transactional string, id int64, epoch int16) *kmsg.InitProducerIDRequest {
	req := at(version, kmsg.NewPtrInitProducerIDRequest())
	if transactional != "none" {
		req.TransactionalID = &transactional
	}
	req.ProducerID, req.ProducerEpoch = id, epoch
	return req
}

func TestProducerIDsAreNeverGivenTwice(t *testing.T) {
	f := newFixture(t)
	seen := map[int64]bool{}
	for i := range 2500 { // more than two blocks
		r := do[*kmsg.InitProducerIDResponse](f, askProducer(int16(i%6), "none", -1, -1))
		require.Zero(t, r.ErrorCode)
		require.Zero(t, r.ProducerEpoch)
		require.Positive(t, r.ProducerID, "0 is left out")
		require.False(t, seen[r.ProducerID], "id %d a second time", r.ProducerID)
		seen[r.ProducerID] = true
	}
	again, err := New(f.deps) // the broker starts again
	require.NoError(t, err)
	f.registry = again
	require.False(t, seen[do[*kmsg.InitProducerIDResponse](f, askProducer(5, "none", -1, -1)).ProducerID])
}

func TestInitProducerIDRefusals(t *testing.T) {
	f := newFixture(t)
	for _, c := range []struct {
		req  *kmsg.InitProducerIDRequest
		code string
	}{
		{askProducer(5, "none", 7, 3), ""},
		{askProducer(5, "none", 7, -1), "INVALID_REQUEST"},
		{askProducer(3, "none", -1, 3), "INVALID_REQUEST"},
		{askProducer(5, "", -1, -1), "INVALID_REQUEST"},
		{askProducer(5, "tx", -1, -1), "TRANSACTIONAL_ID_AUTHORIZATION_FAILED"},
	} {
		r := do[*kmsg.InitProducerIDResponse](f, c.req)
		require.Equal(t, c.code, named(r.ErrorCode))
		if c.code != "" {
			require.EqualValues(t, -1, r.ProducerID)
			require.EqualValues(t, -1, r.ProducerEpoch)
		}
	}
}

// noIDs is a cluster whose metadata store is not there.
type noIDs struct{ Cluster }

func (noIDs) AllocateProducerIDs(context.Context) (int64, int, error) {
	return 0, 0, errors.New("away")
}

func TestProducersWaitForIDsWhenThereAreNone(t *testing.T) {
	f := newFixture(t, func(d *Deps) { d.Cluster = noIDs{d.Cluster} })
	r := do[*kmsg.InitProducerIDResponse](f, askProducer(5, "none", -1, -1))
	require.Equal(t, "COORDINATOR_LOAD_IN_PROGRESS", named(r.ErrorCode), "what producers try again after")
}

// noTopics is a cluster that makes none, and counts how often it is asked to.
type noTopics struct {
	Cluster
	asked *int
}

func (n noTopics) CreateTopics(_ context.Context, specs []cluster.TopicSpec) []cluster.TopicResult {
	*n.asked++
	out := make([]cluster.TopicResult, len(specs))
	for i := range out {
		out[i].Err = cluster.ErrUnavailable
	}
	return out
}

// However many keys a request has: a store that does not answer is waited for once.
func TestACoordinatorsTopicIsMadeOnceForAllKeys(t *testing.T) {
	asked := 0
	f := newFixture(t, func(d *Deps) { d.Cluster = noTopics{d.Cluster, &asked} })
	req := at(4, kmsg.NewPtrFindCoordinatorRequest())
	req.CoordinatorKeys = []string{"a", "b", "c"}
	for _, c := range do[*kmsg.FindCoordinatorResponse](f, req).Coordinators {
		require.Equal(t, "COORDINATOR_NOT_AVAILABLE", named(c.ErrorCode))
	}
	require.Equal(t, 1, asked)
}

// A client asks again, by what it is told, when the broker it took for the controller stops.
func TestAdminRequestsToABrokerThatHasLeftTheCluster(t *testing.T) {
	f := newFixture(t)
	f.topic("t", 1)
	require.NoError(t, f.cluster.Close(t.Context()))
	create := at(7, kmsg.NewPtrCreateTopicsRequest())
	create.Topics = append(create.Topics, newTopicRequest("new", 1, 1))
	code := do[*kmsg.CreateTopicsResponse](f, create).Topics[0].ErrorCode
	require.Equal(t, "NOT_CONTROLLER", named(code))
	require.True(t, kerr.IsRetriable(kerr.ErrorForCode(code)))
	remove := at(5, kmsg.NewPtrDeleteTopicsRequest())
	remove.TopicNames = []string{"t"}
	require.Equal(t, "NOT_CONTROLLER", named(do[*kmsg.DeleteTopicsResponse](f, remove).Topics[0].ErrorCode))
}
