package handler

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/protocol/wire"
)

func askMetadata(version int16, create bool, names ...string) *kmsg.MetadataRequest {
	req := at(version, kmsg.NewPtrMetadataRequest())
	req.AllowAutoTopicCreation, req.Topics = create, []kmsg.MetadataRequestTopic{}
	for _, n := range names {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = &n
		req.Topics = append(req.Topics, t)
	}
	return req
}

func topicNames(r *kmsg.MetadataResponse) (names []string) {
	for _, t := range r.Topics {
		names = append(names, text(t.Topic)+" "+named(t.ErrorCode))
	}
	return names
}

func TestMetadataShowsTheClusterAndTheTopicsAskedFor(t *testing.T) {
	f := newFixture(t)
	a := f.topic("a", 3)
	f.topic("b", 1)
	for v := int16(0); v <= 13; v++ {
		r := do[*kmsg.MetadataResponse](f, askMetadata(v, false, "b", "a", "b"))
		require.Equal(t, []string{"b ", "a "}, topicNames(r), "version %d: each topic once", v)
		require.Len(t, r.Brokers, 1)
		require.Equal(t, "here", r.Brokers[0].Host)
		require.Len(t, r.Topics[1].Partitions, 3)
		p := r.Topics[1].Partitions[2]
		require.Equal(t, []int32{1}, p.Replicas)
		require.Equal(t, []int32{1}, p.ISR)
		require.Equal(t, int32(2), p.Partition)
		require.Equal(t, int32(1), p.Leader)
		if v >= 1 {
			require.Equal(t, "r1", *r.Brokers[0].Rack)
			require.Equal(t, int32(1), r.ControllerID)
		}
		if v >= 2 {
			require.Equal(t, f.deps.ClusterID, *r.ClusterID)
		}
		if v >= 10 {
			require.Equal(t, [16]byte(a.ID), r.Topics[1].TopicID)
		}
	}
}

func TestMetadataNullTopicsAreAllAndNoneAreNone(t *testing.T) {
	f := newFixture(t)
	f.topic("b", 1)
	f.topic("a", 1)
	for v := int16(0); v <= 13; v++ {
		none := do[*kmsg.MetadataResponse](f, askMetadata(v, false))
		if v == 0 {
			require.Equal(t, []string{"a ", "b "}, topicNames(none), "version 0 has no null")
			continue
		}
		require.Empty(t, none.Topics)
		all := askMetadata(v, false)
		all.Topics = nil
		require.Equal(t, []string{"a ", "b "}, topicNames(do[*kmsg.MetadataResponse](f, all)))
	}
}

func TestMetadataByID(t *testing.T) {
	f := newFixture(t)
	a, _ := f.topic("a", 1), f.topic("b", 1)
	ask := func(v int16, ids ...[16]byte) *kmsg.MetadataRequest {
		req := askMetadata(v, false)
		for _, id := range ids {
			rt := kmsg.NewMetadataRequestTopic()
			rt.TopicID = id
			req.Topics = append(req.Topics, rt)
		}
		return req
	}
	unknown := [16]byte{1, 2, 3}
	r := do[*kmsg.MetadataResponse](f, ask(12, a.ID, unknown, a.ID))
	require.Equal(t, []string{"a ", "<null> UNKNOWN_TOPIC_ID"}, topicNames(r))

	mixed := ask(13, a.ID)
	mixed.Topics = append(mixed.Topics, askMetadata(13, false, "b").Topics...)
	require.Equal(t, []string{"a "}, topicNames(do[*kmsg.MetadataResponse](f, mixed)), "names beside ids are left out")

	r = do[*kmsg.MetadataResponse](f, ask(13, [16]byte{}))
	require.Equal(t, []string{" UNKNOWN_SERVER_ERROR"}, topicNames(r))
	require.Equal(t, "UNKNOWN_SERVER_ERROR", named(r.ErrorCode))

	r = do[*kmsg.MetadataResponse](f, ask(10, a.ID))
	require.Equal(t, []string{" INVALID_REQUEST"}, topicNames(r), "ids came with version 12")
	require.Empty(t, r.Brokers)
}

func TestMetadataOfTopicsThatAreNotThere(t *testing.T) {
	long := make([]byte, 250)
	for i := range long {
		long[i] = 'x'
	}
	f := newFixture(t)
	f.topic("a.b", 1)
	r := do[*kmsg.MetadataResponse](f, askMetadata(12, false, "none", "a b", "", "..", string(long), "__consumer_offsets"))
	require.Equal(t, []string{"none UNKNOWN_TOPIC_OR_PARTITION", "a b INVALID_TOPIC_EXCEPTION", " INVALID_TOPIC_EXCEPTION", ".. INVALID_TOPIC_EXCEPTION",
		string(long) + " INVALID_TOPIC_EXCEPTION", "__consumer_offsets UNKNOWN_TOPIC_OR_PARTITION"}, topicNames(r))
	require.True(t, r.Topics[5].IsInternal)
	require.Equal(t, 1, f.cluster.Image().NumTopics(), "nothing is made unless allowed")

	for _, name := range []string{"new", "a_b", "a b"} {
		do[*kmsg.MetadataResponse](f, askMetadata(4, true, name))
	}
	require.NotNil(t, f.cluster.Image().Topic("new"))
	require.Nil(t, f.cluster.Image().Topic("a_b"), "collides with a.b")
	require.Equal(t, []string{"old UNKNOWN_TOPIC_OR_PARTITION"}, topicNames(do[*kmsg.MetadataResponse](f, askMetadata(3, false, "old"))))
	require.NotNil(t, f.cluster.Image().Topic("old"), "before version 4 clients could not say no")
	require.Equal(t, []string{"new ", "old "}, topicNames(do[*kmsg.MetadataResponse](f, askMetadata(12, false, "new", "old"))))
}

func TestTopicsAreMadeAutomaticallyAsTheBrokersSettingsSay(t *testing.T) {
	f := newFixture(t, withSettings("num.partitions", "3", "offsets.topic.num.partitions", "5"))
	do[*kmsg.MetadataResponse](f, askMetadata(12, true, "new", "__consumer_offsets"))
	image := f.cluster.Image()
	require.Len(t, image.Topic("new").Partitions, 3)
	offsets := image.Topic("__consumer_offsets")
	require.True(t, offsets.Internal)
	require.Len(t, offsets.Partitions, 5)
	require.Equal(t, []int32{1}, offsets.Partitions[0].Replicas, "a single broker can hold it")
	require.Equal(t, "compact", image.Config("topic", "__consumer_offsets")["cleanup.policy"])

	off := newFixture(t, withSettings("auto.create.topics.enable", "false"))
	do[*kmsg.MetadataResponse](off, askMetadata(12, true, "new"))
	require.Zero(t, off.cluster.Image().NumTopics())
}

func TestAuthorisedOperationsOnlyWhenAskedFor(t *testing.T) {
	f := newFixture(t)
	f.topic("a", 1)
	const unasked = -2147483648
	r := do[*kmsg.MetadataResponse](f, askMetadata(8, false, "a"))
	require.EqualValues(t, unasked, r.AuthorizedOperations)
	require.EqualValues(t, unasked, r.Topics[0].AuthorizedOperations)
	req := askMetadata(8, false, "a")
	req.IncludeClusterAuthorizedOperations, req.IncludeTopicAuthorizedOperations = true, true
	r = do[*kmsg.MetadataResponse](f, req)
	require.EqualValues(t, 8096, r.AuthorizedOperations)
	require.EqualValues(t, 3576, r.Topics[0].AuthorizedOperations)
}

// A client is told the endpoints of the listener it came in through.
func TestEndpointsAreThoseOfTheClientsListener(t *testing.T) {
	f := newFixture(t)
	f.topic("a", 1)
	for listener, host := range map[string]string{"": "here", "PLAINTEXT": "here", "OTHER": "there"} {
		r := f.through(listener, askMetadata(12, false, "a")).(*kmsg.MetadataResponse)
		require.Equal(t, host, r.Brokers[0].Host)
	}
	for v, want := range map[int16]string{5: "LEADER_NOT_AVAILABLE", 6: "LISTENER_NOT_FOUND"} {
		r := f.through("INTERNAL", askMetadata(v, false, "a")).(*kmsg.MetadataResponse)
		require.Empty(t, r.Brokers)
		p := r.Topics[0].Partitions[0]
		require.Equal(t, want, named(p.ErrorCode))
		require.Equal(t, cluster.NoLeader, p.Leader)
		require.Equal(t, []int32{1}, p.OfflineReplicas)
	}
	r := f.through("INTERNAL", askMetadata(0, false, "a")).(*kmsg.MetadataResponse)
	require.Empty(t, r.Topics[0].Partitions[0].Replicas, "version 0 leaves out replicas that cannot be reached")
}

// through asks as a client of a listener.
func (f *fixture) through(listener string, req kmsg.Request) kmsg.Response {
	f.t.Helper()
	c := &call.Call{Context: f.t.Context(), Header: wire.Header{Key: req.Key(), Version: req.GetVersion()}, Request: req,
		Peer: &call.Peer{Listener: listener, Principal: call.Anonymous}, Session: &call.Session{}}
	resp, err := call.Await(c, f.registry.API(req.Key()).Handle, nil)
	require.NoError(f.t, err)
	return resp.Message
}

func BenchmarkMetadata(b *testing.B) {
	f := newFixture(b, func(d *Deps) { d.Log = zap.NewNop() })
	f.topic("one", 6)
	for i := range 1000 {
		f.topic(fmt.Sprintf("t%d", i), 6)
	}
	all := askMetadata(12, false)
	all.Topics = nil
	for name, req := range map[string]*kmsg.MetadataRequest{"one topic": askMetadata(12, false, "one"), "1001 topics": all} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var buf []byte
			for b.Loop() {
				buf = f.through("", req).AppendTo(buf[:0])
			}
			b.ReportMetric(float64(len(buf)), "bytes/answer")
		})
	}
}
