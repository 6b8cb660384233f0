package handler

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/coordinator/group"
	"github.com/tidemark-mq/tidemark/coordinator/runtime"
	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/storage/kv"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// groupLog is a partition of __consumer_offsets in memory; what is appended is committed.
type groupLog struct {
	mu  sync.Mutex
	all []byte
	end int64
}

func (l *groupLog) Append(epoch int32, batch []byte) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	base := l.end
	b := record.Batch(bytes.Clone(batch))
	b.Stamp(base, epoch)
	l.all, l.end = append(l.all, b...), b.NextOffset()
	return base, nil
}

func (l *groupLog) WhenCommitted(_ int64, fn func(error)) { fn(nil) }
func (l *groupLog) Read(int64, int) ([]byte, error)       { return l.all, nil }
func (l *groupLog) Start() int64                          { return 0 }
func (l *groupLog) End() int64                            { l.mu.Lock(); defer l.mu.Unlock(); return l.end }
func (l *groupLog) HighWatermark() int64                  { return l.End() }

// newGroupsFixture is a broker that coordinates all groups.
func newGroupsFixture(t *testing.T) *fixture {
	db, err := kv.Open(kv.Options{FS: vfs.NewCrash(1), Dir: "/kv"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	g, err := group.New(group.Options{KV: db, Partitions: func() int32 { return 1 }})
	require.NoError(t, err)
	t.Cleanup(g.Close)
	g.Load([16]byte{1}, 0, 0, &groupLog{})
	require.Eventually(t, func() bool { return g.Shards()[0] == runtime.Active }, 10*time.Second, time.Millisecond)
	return newFixture(t, func(d *Deps) { d.Groups = g })
}

// offsetCommit commits offset 5 of these partitions; a nil topic is one that does not exist.
func offsetCommit(version int16, topics []*cluster.Topic, partitions ...int32) *kmsg.OffsetCommitRequest {
	req := at(version, kmsg.NewPtrOffsetCommitRequest())
	req.Group, req.Generation = "g", -1
	for _, t := range topics {
		if t == nil {
			t = &cluster.Topic{Name: "none", ID: [16]byte{9}}
		}
		topic := kmsg.OffsetCommitRequestTopic{Topic: t.Name, TopicID: t.ID}
		for _, n := range partitions {
			p := kmsg.NewOffsetCommitRequestTopicPartition()
			p.Partition, p.Offset = n, 5
			topic.Partitions = append(topic.Partitions, p)
		}
		req.Topics = append(req.Topics, topic)
	}
	return req
}

func TestOffsetCommitAnswersEveryPartition(t *testing.T) {
	f := newGroupsFixture(t)
	a, b := f.topic("a", 2), f.topic("b", 1)
	for version, unknown := range map[int16]string{2: "UNKNOWN_TOPIC_OR_PARTITION", 9: "UNKNOWN_TOPIC_OR_PARTITION", 10: "UNKNOWN_TOPIC_ID"} {
		r := do[*kmsg.OffsetCommitResponse](f, offsetCommit(version, []*cluster.Topic{a, nil, b}, 0, 1, 7, -1))
		var codes [][]string
		for _, topic := range r.Topics {
			var of []string
			for _, p := range topic.Partitions {
				of = append(of, named(p.ErrorCode))
			}
			codes = append(codes, of)
		}
		missing := "UNKNOWN_TOPIC_OR_PARTITION"
		require.Equal(t, [][]string{
			{"", "", missing, missing}, {unknown, unknown, unknown, unknown}, {"", missing, missing, missing},
		}, codes, "v%d", version)
	}
	require.Empty(t, do[*kmsg.OffsetCommitResponse](f, offsetCommit(8, []*cluster.Topic{a})).Topics, "a topic without partitions is not answered")
}

func offsetFetch(version int16, topics ...*cluster.Topic) *kmsg.OffsetFetchRequest {
	req := at(version, kmsg.NewPtrOffsetFetchRequest())
	asked := kmsg.NewOffsetFetchRequestGroup()
	req.Group, asked.Group = "g", "g"
	for _, t := range topics {
		if t == nil {
			t = &cluster.Topic{Name: "none", ID: [16]byte{9}}
		}
		req.Topics = append(req.Topics, kmsg.OffsetFetchRequestTopic{Topic: t.Name, Partitions: []int32{0, 1}})
		asked.Topics = append(asked.Topics, kmsg.OffsetFetchRequestGroupTopic{Topic: t.Name, TopicID: t.ID, Partitions: []int32{0, 1}})
	}
	req.Groups = append(req.Groups, asked)
	return req
}

func TestOffsetFetchInAllItsForms(t *testing.T) {
	f := newGroupsFixture(t)
	a, b := f.topic("a", 1), f.topic("b", 1)
	do[*kmsg.OffsetCommitResponse](f, offsetCommit(9, []*cluster.Topic{a, b}, 0))
	for _, version := range []int16{1, 2, 7} {
		r := do[*kmsg.OffsetFetchResponse](f, offsetFetch(version, a, nil, b))
		require.Len(t, r.Topics, 3)
		for i, name := range []string{"a", "none", "b"} {
			require.Equal(t, name, r.Topics[i].Topic)
			require.Zero(t, r.Topics[i].Partitions[1].ErrorCode)
			require.EqualValues(t, -1, r.Topics[i].Partitions[1].Offset)
		}
		require.EqualValues(t, 5, r.Topics[0].Partitions[0].Offset)
		require.EqualValues(t, -1, r.Topics[1].Partitions[0].Offset)
	}
	r := do[*kmsg.OffsetFetchResponse](f, offsetFetch(10, a, nil, b)).Groups[0]
	require.EqualValues(t, a.ID, r.Topics[0].TopicID)
	require.EqualValues(t, 5, r.Topics[0].Partitions[0].Offset)
	require.Equal(t, "UNKNOWN_TOPIC_ID", named(r.Topics[1].Partitions[0].ErrorCode))
	require.EqualValues(t, 5, r.Topics[2].Partitions[0].Offset)

	require.Len(t, do[*kmsg.OffsetFetchResponse](f, offsetFetch(2)).Topics, 2, "null topics are all")
	require.Empty(t, do[*kmsg.OffsetFetchResponse](f, offsetFetch(1)).Topics)
	require.NoError(t, f.cluster.DeleteTopic(context.Background(), b.ID))
	all := do[*kmsg.OffsetFetchResponse](f, offsetFetch(10)).Groups[0]
	require.Len(t, all.Topics, 1, "those of a deleted topic are gone")
	require.EqualValues(t, a.ID, all.Topics[0].TopicID)
	require.EqualValues(t, -1, do[*kmsg.OffsetFetchResponse](f, offsetFetch(8, b)).Groups[0].Topics[0].Partitions[0].Offset)

	several := offsetFetch(8, a)
	several.RequireStable = true
	several.Groups = append(several.Groups, several.Groups[0])
	several.Groups[1].Group = "other"
	two := do[*kmsg.OffsetFetchResponse](f, several).Groups
	require.EqualValues(t, 5, two[0].Topics[0].Partitions[0].Offset)
	require.EqualValues(t, -1, two[1].Topics[0].Partitions[0].Offset)
}

func TestOffsetDeleteAnswersEveryPartition(t *testing.T) {
	f := newGroupsFixture(t)
	a := f.topic("a", 1)
	req := func() *kmsg.OffsetDeleteRequest {
		r := kmsg.NewPtrOffsetDeleteRequest()
		r.Group = "g"
		for _, name := range []string{"none", "a", "empty"} {
			topic := kmsg.OffsetDeleteRequestTopic{Topic: name}
			if name != "empty" {
				topic.Partitions = []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 3}, {Partition: 0}}
			}
			r.Topics = append(r.Topics, topic)
		}
		return r
	}
	r := do[*kmsg.OffsetDeleteResponse](f, req())
	require.Equal(t, "GROUP_ID_NOT_FOUND", named(r.ErrorCode))
	do[*kmsg.OffsetCommitResponse](f, offsetCommit(9, []*cluster.Topic{a}, 0))
	r = do[*kmsg.OffsetDeleteResponse](f, req())
	require.Zero(t, r.ErrorCode)
	require.Len(t, r.Topics, 2)
	require.Equal(t, "UNKNOWN_TOPIC_OR_PARTITION", named(r.Topics[0].Partitions[1].ErrorCode))
	require.Equal(t, "UNKNOWN_TOPIC_OR_PARTITION", named(r.Topics[1].Partitions[0].ErrorCode))
	require.Zero(t, r.Topics[1].Partitions[1].ErrorCode)
	require.EqualValues(t, -1, do[*kmsg.OffsetFetchResponse](f, offsetFetch(8, a)).Groups[0].Topics[0].Partitions[0].Offset)
}

func TestFindCoordinator(t *testing.T) {
	f := newGroupsFixture(t)
	old := at(1, kmsg.NewPtrFindCoordinatorRequest())
	old.CoordinatorKey = "g"
	r := do[*kmsg.FindCoordinatorResponse](f, old)
	require.Zero(t, r.ErrorCode)
	require.EqualValues(t, 1, r.NodeID)
	require.Equal(t, "here", r.Host)
	require.Equal(t, "NONE", text(r.ErrorMessage))
	require.Len(t, f.cluster.Image().Topic("__consumer_offsets").Partitions, 50, "made when first asked for")

	several := at(6, kmsg.NewPtrFindCoordinatorRequest())
	several.CoordinatorType = 2
	id := "AAAAAAAAAAAAAAAAAAAAAQ"
	several.CoordinatorKeys = []string{"g:" + id + ":0", "with:colon:" + id + ":12", ":" + id + ":0", "g:" + id + ":x", "g:nope:0", "g"}
	var codes []string
	for _, c := range do[*kmsg.FindCoordinatorResponse](f, several).Coordinators {
		codes = append(codes, named(c.ErrorCode))
	}
	const invalid = "INVALID_REQUEST"
	require.Equal(t, []string{"", "", invalid, invalid, invalid, invalid}, codes)
	several.SetVersion(5)
	require.Equal(t, invalid, named(do[*kmsg.FindCoordinatorResponse](f, several).Coordinators[0].ErrorCode))
	several.CoordinatorType, several.CoordinatorKeys = 3, []string{"g"}
	require.Equal(t, invalid, named(do[*kmsg.FindCoordinatorResponse](f, several).Coordinators[0].ErrorCode))
	several.CoordinatorKeys = nil
	require.Empty(t, do[*kmsg.FindCoordinatorResponse](f, several).Coordinators)
}

func TestGroupThroughTheFrontDoor(t *testing.T) {
	f := newGroupsFixture(t)
	join := at(3, kmsg.NewPtrJoinGroupRequest())
	join.Group, join.ProtocolType, join.SessionTimeoutMillis, join.RebalanceTimeoutMillis = "g", "consumer", 10_000, 10_000
	join.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte("m")}}
	joined := do[*kmsg.JoinGroupResponse](f, join)
	require.Zero(t, joined.ErrorCode)

	sync := at(5, kmsg.NewPtrSyncGroupRequest())
	sync.Group, sync.MemberID, sync.Generation = "g", joined.MemberID, joined.Generation
	sync.ProtocolType, sync.Protocol = kmsg.StringPtr("consumer"), kmsg.StringPtr("range")
	sync.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: joined.MemberID, MemberAssignment: []byte("all")}}
	require.Equal(t, "all", string(do[*kmsg.SyncGroupResponse](f, sync).MemberAssignment))

	beat := kmsg.NewPtrHeartbeatRequest()
	beat.Group, beat.MemberID, beat.Generation = "g", joined.MemberID, joined.Generation
	require.Zero(t, do[*kmsg.HeartbeatResponse](f, beat).ErrorCode)

	describe := at(5, kmsg.NewPtrDescribeGroupsRequest())
	describe.Groups, describe.IncludeAuthorizedOperations = []string{"g", "none"}, true
	groups := do[*kmsg.DescribeGroupsResponse](f, describe).Groups
	require.Equal(t, "Stable", groups[0].State)
	require.EqualValues(t, 3400, groups[0].AuthorizedOperations)
	require.Equal(t, "Dead", groups[1].State)
	require.Len(t, do[*kmsg.ListGroupsResponse](f, at(5, kmsg.NewPtrListGroupsRequest())).Groups, 1)

	remove := at(2, kmsg.NewPtrDeleteGroupsRequest())
	remove.Groups = []string{"g"}
	require.Equal(t, "NON_EMPTY_GROUP", named(do[*kmsg.DeleteGroupsResponse](f, remove).Groups[0].ErrorCode))
	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.Group, leave.MemberID = "g", joined.MemberID
	require.Zero(t, do[*kmsg.LeaveGroupResponse](f, leave).ErrorCode)
	require.Zero(t, do[*kmsg.DeleteGroupsResponse](f, remove).Groups[0].ErrorCode)
}

func TestParkedJoinEndsWithItsClient(t *testing.T) {
	f := newGroupsFixture(t)
	join := at(3, kmsg.NewPtrJoinGroupRequest())
	join.Group, join.ProtocolType, join.SessionTimeoutMillis, join.RebalanceTimeoutMillis = "g", "consumer", 10_000, 10_000
	join.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range"}}
	do[*kmsg.JoinGroupResponse](f, join) // and does not come back, so that the next one waits

	ctx, cancel := context.WithCancel(context.Background())
	answers := make(chan call.Response, 2)
	c := &call.Call{Context: ctx, Request: join, Peer: &call.Peer{}}
	c.SetSink(sink(answers))
	f.registry.API(join.Key()).Handle(c)
	require.Empty(t, answers)
	cancel()
	r := <-answers
	require.Equal(t, "NOT_COORDINATOR", named(r.Message.(*kmsg.JoinGroupResponse).ErrorCode))
}

type sink chan call.Response

func (s sink) Answer(r call.Response) { s <- r }
func (s sink) Repeated(*call.Call)    { panic("answered twice") }
