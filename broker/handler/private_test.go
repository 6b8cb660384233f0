package handler

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/protocol/private"
)

const (
	queueTopic = "q-local-5a0c7f3e-6f0e-4a53-9d0a-2f7f0f5f7a11"
	queueGroup = "g-5a0c7f3e-6f0e-4a53-9d0a-2f7f0f5f7a12"
)

// as answers a request from a principal.
func as[R kmsg.Response](f *fixture, principal string, req kmsg.Request) R {
	f.t.Helper()
	resp, err := f.registry.Do(f.t.Context(), principal, req)
	require.NoError(f.t, err)
	return resp.(R)
}

func TestDocumentsGoThroughTheFrontDoor(t *testing.T) {
	f := newFixture(t)
	write := func(if_ []private.DocumentCondition, then ...private.DocumentChange) *private.WriteDocumentsResponse {
		return as[*private.WriteDocumentsResponse](f, private.Principal, &private.WriteDocumentsRequest{If: if_, Then: then})
	}
	r := write([]private.DocumentCondition{{Kind: private.KindQueues, Name: "p/1", Revision: private.Absent}}, private.DocumentChange{Kind: private.KindQueues, Name: "p/1", Value: []byte("one")})
	require.Zero(t, r.ErrorCode, r.ErrorMessage)
	read := as[*private.ReadDocumentsResponse](f, private.Principal, &private.ReadDocumentsRequest{Kind: private.KindQueues, Name: "p/1"})
	require.Equal(t, []private.Document{{Name: "p/1", Value: []byte("one"), Revision: r.Revision}}, read.Documents)

	require.Equal(t, kerr.InvalidUpdateVersion.Code, write([]private.DocumentCondition{{Kind: private.KindQueues, Name: "p/1", Revision: private.Absent}}).ErrorCode)
	require.Zero(t, write([]private.DocumentCondition{{Kind: private.KindQueues, Name: "p/1", Revision: private.Exists}},
		private.DocumentChange{Kind: private.KindQueues, Name: "p/2"}, private.DocumentChange{Kind: private.KindQueues, Name: "p/3"}).ErrorCode)
	require.Equal(t, kerr.InvalidRequest.Code, write(nil, private.DocumentChange{Kind: "brokers", Name: "1"}).ErrorCode)
	read = as[*private.ReadDocumentsResponse](f, private.Principal, &private.ReadDocumentsRequest{Kind: private.KindQueues, Name: "p/", Prefix: true, After: "p/1", Limit: 1})
	require.True(t, read.More)
	require.Len(t, read.Documents, 1)
	require.Equal(t, "p/2", read.Documents[0].Name)
}

func TestPrivateRequestsAreNoClients(t *testing.T) {
	f := newFixture(t)
	_, err := f.registry.Do(t.Context(), "User:alice", &private.ReadDocumentsRequest{Kind: private.KindSecrets, Prefix: true})
	require.ErrorIs(t, err, ErrClosed)
	for _, api := range f.registry.APIs() {
		require.Less(t, api.Key, private.MinKey, "a listener has the row of %s", api.Name)
	}
}

func TestAQueuesTopicIsNotTheClientsToAdminister(t *testing.T) {
	f := newHostFixture(t)
	create := kmsg.NewPtrCreateTopicsRequest()
	create.Version, create.TimeoutMillis = 7, 10_000
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = queueTopic, 1, 1
	create.Topics = append(create.Topics, topic)
	violation := kerr.PolicyViolation.Code
	require.Equal(t, violation, as[*kmsg.CreateTopicsResponse](f, "User:alice", create).Topics[0].ErrorCode)
	require.Zero(t, as[*kmsg.CreateTopicsResponse](f, private.Principal, create).Topics[0].ErrorCode)

	grow := kmsg.NewPtrCreatePartitionsRequest()
	grow.Version, grow.TimeoutMillis = 3, 10_000
	grow.Topics = []kmsg.CreatePartitionsRequestTopic{{Topic: queueTopic, Count: 2}}
	require.Equal(t, violation, as[*kmsg.CreatePartitionsResponse](f, "User:alice", grow).Topics[0].ErrorCode)

	value := "1000"
	alter := kmsg.NewPtrIncrementalAlterConfigsRequest()
	alter.Version = 1
	alter.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: queueTopic,
		Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "retention.ms", Value: &value}}}}
	require.Equal(t, violation, as[*kmsg.IncrementalAlterConfigsResponse](f, "User:alice", alter).Resources[0].ErrorCode)
	require.Zero(t, as[*kmsg.IncrementalAlterConfigsResponse](f, private.Principal, alter).Resources[0].ErrorCode)

	cut := kmsg.NewPtrDeleteRecordsRequest()
	cut.Version = 2
	cut.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: queueTopic, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Offset: -1}}}}
	require.Equal(t, violation, as[*kmsg.DeleteRecordsResponse](f, "User:alice", cut).Topics[0].Partitions[0].ErrorCode)

	remove := kmsg.NewPtrDeleteTopicsRequest()
	remove.Version, remove.TimeoutMillis = 6, 10_000
	remove.Topics = []kmsg.DeleteTopicsRequestTopic{{Topic: kmsg.StringPtr(queueTopic)}}
	require.Equal(t, violation, as[*kmsg.DeleteTopicsResponse](f, "User:alice", remove).Topics[0].ErrorCode)
	require.NotNil(t, f.cluster.Image().Topic(queueTopic))
	require.Zero(t, as[*kmsg.DeleteTopicsResponse](f, private.Principal, remove).Topics[0].ErrorCode)

	ask := kmsg.NewPtrMetadataRequest()
	ask.Version, ask.AllowAutoTopicCreation = 12, true
	ask.Topics = []kmsg.MetadataRequestTopic{{Topic: kmsg.StringPtr(queueTopic)}}
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, as[*kmsg.MetadataResponse](f, "User:alice", ask).Topics[0].ErrorCode)
	require.Nil(t, f.cluster.Image().Topic(queueTopic), "it is not brought back by asking for it")
}

func TestAQueuesGroupIsNotTheClientsToAdminister(t *testing.T) {
	f := newFixture(t)
	alter := func(principal, group string) int16 {
		value := "20000"
		r := kmsg.NewPtrIncrementalAlterConfigsRequest()
		r.Version = 1
		r.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeGroupConfig, ResourceName: group,
			Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "share.record.lock.duration.ms", Value: &value}}}}
		return as[*kmsg.IncrementalAlterConfigsResponse](f, principal, r).Resources[0].ErrorCode
	}
	require.Zero(t, alter("User:alice", queueGroup), "no queue has it: it is a name like any other")
	_, err := f.cluster.WriteDocuments(t.Context(), nil, []cluster.DocumentOp{{Kind: private.KindQueueGroups, Name: queueGroup}})
	require.NoError(t, err)
	require.Equal(t, kerr.PolicyViolation.Code, alter("User:alice", queueGroup))
	require.Equal(t, kerr.PolicyViolation.Code, alter("User:alice", "http."+queueGroup))
	require.Zero(t, alter(private.Principal, queueGroup))

	write := kmsg.NewPtrWriteShareGroupStateRequest()
	write.GroupID, write.Version = queueGroup, 1
	write.Topics = []kmsg.WriteShareGroupStateRequestTopic{{TopicID: [16]byte{1}, Partitions: []kmsg.WriteShareGroupStateRequestTopicPartition{{Partition: 3}}}}
	answered := as[*kmsg.WriteShareGroupStateResponse](f, "User:alice", write).Topics[0].Partitions[0]
	require.Equal(t, []any{int32(3), kerr.PolicyViolation.Code}, []any{answered.Partition, answered.ErrorCode}, "nor is what the group has settled")
	why := "The group '" + queueGroup + "' belongs to a queue: only the queue service administers it."
	require.Equal(t, &why, answered.ErrorMessage)
	remove := kmsg.NewPtrDeleteShareGroupStateRequest()
	remove.GroupID = queueGroup
	remove.Topics = []kmsg.DeleteShareGroupStateRequestTopic{{TopicID: [16]byte{1}, Partitions: make([]kmsg.DeleteShareGroupStateRequestTopicPartition, 1)}, {TopicID: [16]byte{2}}}
	require.Equal(t, []kmsg.DeleteShareGroupStateResponseTopic{
		{TopicID: [16]byte{1}, Partitions: []kmsg.DeleteShareGroupStateResponseTopicPartition{{ErrorCode: kerr.PolicyViolation.Code, ErrorMessage: &why}}},
		{TopicID: [16]byte{2}, Partitions: []kmsg.DeleteShareGroupStateResponseTopicPartition{}},
	}, as[*kmsg.DeleteShareGroupStateResponse](f, "User:alice", remove).Topics)
}

func TestAQueuesGroupIsNotTheClientsToDelete(t *testing.T) {
	f := newGroupsFixture(t)
	topic := f.topic("t", 1)
	_, err := f.cluster.WriteDocuments(t.Context(), nil, []cluster.DocumentOp{{Kind: private.KindQueueGroups, Name: queueGroup}})
	require.NoError(t, err)
	httpGroup := "http." + queueGroup
	for _, group := range []string{queueGroup, httpGroup, "g"} {
		commit := offsetCommit(9, []*cluster.Topic{topic}, 0)
		commit.Group = group
		require.Zero(t, do[*kmsg.OffsetCommitResponse](f, commit).Topics[0].Partitions[0].ErrorCode)
	}
	remove := func(principal string, groups ...string) map[string]string {
		r := at(3, kmsg.NewPtrDeleteGroupsRequest())
		r.Groups = groups
		told := map[string]string{}
		for _, g := range as[*kmsg.DeleteGroupsResponse](f, principal, r).Groups {
			require.NotContains(t, told, g.Group)
			told[g.Group] = named(g.ErrorCode)
			require.Equal(t, told[g.Group] == "POLICY_VIOLATION", g.ErrorMessage != nil)
		}
		return told
	}
	committed := func(group string) int64 {
		r := at(9, kmsg.NewPtrOffsetFetchRequest())
		r.Groups = []kmsg.OffsetFetchRequestGroup{{Group: group, Topics: []kmsg.OffsetFetchRequestGroupTopic{{Topic: "t", Partitions: []int32{0}}}}}
		return do[*kmsg.OffsetFetchResponse](f, r).Groups[0].Topics[0].Partitions[0].Offset
	}
	refused := "POLICY_VIOLATION"
	require.Equal(t, map[string]string{queueGroup: refused}, remove("User:alice", queueGroup), "a request that is left with no group")
	require.Equal(t, map[string]string{queueGroup: refused, httpGroup: refused, "g": "", "none": "GROUP_ID_NOT_FOUND"},
		remove("User:alice", queueGroup, "g", httpGroup, "none"))
	require.Equal(t, []int64{5, 5, -1}, []int64{committed(queueGroup), committed(httpGroup), committed("g")}, "what was refused goes on")
	require.Equal(t, map[string]string{queueGroup: "", httpGroup: ""}, remove(private.Principal, queueGroup, httpGroup))
	require.Equal(t, []int64{-1, -1}, []int64{committed(queueGroup), committed(httpGroup)})
}
