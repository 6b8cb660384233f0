package group

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/storage/kv"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// memLog is a partition's log in memory. Appends are committed at once unless held.
type memLog struct {
	mu      sync.Mutex
	batches []record.Batch
	hw      int64
	held    bool // commits wait for release
	waiting []func(error)
	ends    []int64
	refuse  error // every append answers this, nothing is written
}

func (l *memLog) endLocked() int64 {
	if len(l.batches) == 0 {
		return 0
	}
	return l.batches[len(l.batches)-1].NextOffset()
}

func (l *memLog) Append(epoch int32, batch []byte) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refuse != nil {
		return 0, l.refuse
	}
	base := l.endLocked()
	b := record.Batch(bytes.Clone(batch))
	b.Stamp(base, epoch)
	l.batches = append(l.batches, b)
	if !l.held {
		l.hw = l.endLocked()
	}
	return base, nil
}

func (l *memLog) WhenCommitted(end int64, fn func(error)) {
	l.mu.Lock()
	if l.hw < end {
		l.waiting, l.ends = append(l.waiting, fn), append(l.ends, end)
		fn = nil
	}
	l.mu.Unlock()
	if fn != nil {
		fn(nil)
	}
}

// hold keeps appends from being committed until release.
func (l *memLog) hold() {
	l.mu.Lock()
	l.held = true
	l.mu.Unlock()
}

func (l *memLog) release() {
	l.mu.Lock()
	l.held, l.hw = false, l.endLocked()
	due := l.waiting
	l.waiting, l.ends = nil, nil
	l.mu.Unlock()
	for _, fn := range due {
		fn(nil)
	}
}

func (l *memLog) refuseAll(err error) {
	l.mu.Lock()
	l.refuse = err
	l.mu.Unlock()
}

func (l *memLog) Read(from int64, maxBytes int) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []byte
	for _, b := range l.batches {
		if b.LastOffset() >= from && (len(out) == 0 || len(out)+len(b) <= maxBytes) {
			out = append(out, b...)
		}
	}
	return out, nil
}

func (l *memLog) Start() int64         { return 0 }
func (l *memLog) End() int64           { l.mu.Lock(); defer l.mu.Unlock(); return l.endLocked() }
func (l *memLog) HighWatermark() int64 { l.mu.Lock(); defer l.mu.Unlock(); return l.hw }

// records decodes the log from an offset on, one line a record.
func (l *memLog) records(t *testing.T, from int64) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var lines []string
	for _, b := range l.batches {
		for rec, err := range b.All(0) {
			require.NoError(t, err)
			if rec.Offset >= from {
				lines = append(lines, line(t, rec.Key, rec.Value))
			}
		}
	}
	return lines
}

// line shows a record as tests expect it.
func line(t *testing.T, key, value []byte) string {
	switch recordType(key) {
	case typeOffset:
		k, ok := decodeOffsetKey(key)
		require.True(t, ok)
		if value == nil {
			return fmt.Sprintf("offset %s/%s/%d gone", k.group, k.topic, k.partition)
		}
		v, err := decodeOffsetValue(value)
		require.NoError(t, err)
		return fmt.Sprintf("offset %s/%s/%d = %d %q", k.group, k.topic, k.partition, v.offset, v.metadata)
	case typeGroup:
		name, _, ok := readString(key[2:])
		require.True(t, ok)
		if value == nil {
			return "group " + name + " gone"
		}
		v, err := decodeGroupValue(value)
		require.NoError(t, err)
		s := fmt.Sprintf("group %s gen=%d type=%s", name, v.Generation, v.ProtocolType)
		if v.Protocol != nil {
			s += " protocol=" + *v.Protocol
		}
		for _, m := range v.Members {
			s += fmt.Sprintf(" %s:%s=%s", alias(m.MemberID), m.Subscription, m.Assignment)
			if v.Leader != nil && *v.Leader == m.MemberID {
				s += "*"
			}
		}
		return s
	}
	if group, member, ok := decodeShareKey(key); ok {
		if value == nil {
			return fmt.Sprintf("%d of %s/%s gone", recordType(key), group, member)
		}
		text, _ := shareLine(t, key, value)
		return text
	}
	return fmt.Sprintf("%x", key)
}

// alias is the part of a member id before its random UUID.
func alias(id string) string {
	if len(id) <= 37 {
		return id
	}
	return id[:len(id)-37]
}

// coord is a coordinator of one partition.
type coord struct {
	*Service
	t    *testing.T
	log  *memLog
	fs   vfs.FS
	db   *kv.DB
	conf Config
	life int32 // leader epoch

	options func(*Options) // what else there is around it
}

// coordinator is one that is loaded, with Kafka's initial delay unless said, in the simulated time of the test.
func coordinator(t *testing.T, conf Config) *coord {
	if conf.InitialRebalanceDelay == 0 {
		conf.InitialRebalanceDelay = -1 // Kafka's default, 3 s
	}
	c := &coord{t: t, log: &memLog{}, fs: vfs.NewCrash(1), conf: conf}
	c.start()
	return c
}

func (c *coord) start() {
	c.t.Helper()
	var err error
	c.db, err = kv.Open(kv.Options{FS: c.fs, Dir: "/kv"})
	require.NoError(c.t, err)
	o := Options{KV: c.db, Config: c.conf, Partitions: func() int32 { return 1 }}
	if c.options != nil {
		c.options(&o)
	}
	c.Service, err = New(o)
	require.NoError(c.t, err)
	c.life++
	c.Load(uuid.ID{1}, 0, c.life, c.log)
	synctest.Wait()
	c.t.Cleanup(c.stop)
}

func (c *coord) stop() {
	if c.Service != nil {
		c.Close()
		require.NoError(c.t, c.db.Close())
		c.Service = nil
	}
}

// restart is a new life of the coordinator, from log and view.
func (c *coord) restart() {
	c.stop()
	c.start()
}

// reply is an answer that is to come.
type reply1[R any] struct {
	t  *testing.T
	mu sync.Mutex
	r  *R
}

func (p *reply1[R]) set(r R) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.r != nil {
		panic("answered twice")
	}
	p.r = &r
}

// get is the answer, which must be there.
func (p *reply1[R]) get() R {
	p.t.Helper()
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	require.NotNil(p.t, p.r, "not answered")
	return *p.r
}

func (p *reply1[R]) open() bool {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.r == nil
}

type (
	joinReply = reply1[*kmsg.JoinGroupResponse]
	syncReply = reply1[*kmsg.SyncGroupResponse]
)

// who is a client: its name, and the id the coordinator gave it.
type who struct {
	name      string
	id        string
	gen       int32
	instance  *string
	protocols []string
	version   int16
	session   time.Duration
	typ       string
}

func client(name string) *who {
	return &who{name: name, protocols: []string{"range"}, version: 9, session: 10 * time.Second, typ: "consumer"}
}

func static(name string) *who {
	w := client(name)
	w.instance = &w.name
	return w
}

// join sends one JoinGroup.
func (c *coord) join(group string, w *who) *joinReply {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.MemberID, req.InstanceID, req.ProtocolType = w.version, group, w.id, w.instance, w.typ
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = int32(w.session.Milliseconds()), 60_000
	for _, name := range w.protocols {
		req.Protocols = append(req.Protocols, kmsg.JoinGroupRequestProtocol{Name: name, Metadata: []byte(w.name + "/" + name)})
	}
	p := &joinReply{t: c.t}
	c.JoinGroup(Caller{w.name, "/127.0.0.1"}, req, p.set)
	return p
}

// enter joins with the id that a first attempt is sent away with.
func (c *coord) enter(group string, w *who) *joinReply {
	c.t.Helper()
	p := c.join(group, w)
	if w.id == "" && w.instance == nil && w.version >= joinWithID {
		r := p.get()
		require.EqualValues(c.t, 79, r.ErrorCode)
		w.id = r.MemberID
		p = c.join(group, w)
	}
	return p
}

// joined takes the answer to a join over.
func (w *who) joined(p *joinReply) *kmsg.JoinGroupResponse {
	p.t.Helper()
	r := p.get()
	require.Zero(p.t, r.ErrorCode)
	w.id, w.gen = r.MemberID, r.Generation
	return r
}

// sync sends SyncGroup, with an assignment for each of all if it is the leader's.
func (c *coord) sync(group string, w *who, all ...*who) *syncReply {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Version, req.Group, req.MemberID, req.Generation, req.InstanceID = 5, group, w.id, w.gen, w.instance
	req.ProtocolType, req.Protocol = &w.typ, &w.protocols[0]
	for _, m := range all {
		req.GroupAssignment = append(req.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{
			MemberID: m.id, MemberAssignment: fmt.Appendf(nil, "%s@%d", m.name, w.gen),
		})
	}
	p := &syncReply{t: c.t}
	c.SyncGroup(req, p.set)
	return p
}

// settle brings a group of these clients into a stable generation.
func (c *coord) settle(group string, all ...*who) {
	c.t.Helper()
	var joins []*joinReply
	for _, w := range all {
		joins = append(joins, c.enter(group, w))
	}
	time.Sleep(c.InitialDelay())
	var leader *who
	for i, w := range all {
		if r := w.joined(joins[i]); r.LeaderID == w.id {
			leader = w
		}
	}
	require.NotNil(c.t, leader)
	var syncs []*syncReply
	for _, w := range all {
		if w != leader {
			syncs = append(syncs, c.sync(group, w))
		}
	}
	syncs = append(syncs, c.sync(group, leader, all...))
	for _, p := range syncs {
		require.Zero(c.t, p.get().ErrorCode)
	}
}

// InitialDelay is how long the first rebalance waits for members that come together: once,
// and once more because some have come.
func (c *coord) InitialDelay() time.Duration { return 2*c.cfg.InitialRebalanceDelay + time.Millisecond }

func (c *coord) heartbeat(group string, w *who) int16 {
	c.t.Helper()
	req := kmsg.NewPtrHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.Generation, req.InstanceID = 4, group, w.id, w.gen, w.instance
	p := &reply1[*kmsg.HeartbeatResponse]{t: c.t}
	c.Heartbeat(req, p.set)
	return p.get().ErrorCode
}

func (c *coord) leave(group string, all ...*who) []int16 {
	c.t.Helper()
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Version, req.Group = 5, group
	for _, w := range all {
		req.Members = append(req.Members, kmsg.LeaveGroupRequestMember{MemberID: w.id, InstanceID: w.instance})
	}
	p := &reply1[*kmsg.LeaveGroupResponse]{t: c.t}
	c.LeaveGroup(req, p.set)
	r := p.get()
	require.Zero(c.t, r.ErrorCode)
	var codes []int16
	for _, m := range r.Members {
		codes = append(codes, m.ErrorCode)
	}
	return codes
}

func (c *coord) describe(group string) kmsg.DescribeGroupsResponseGroup {
	c.t.Helper()
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Version, req.Groups = 6, []string{group}
	p := &reply1[*kmsg.DescribeGroupsResponse]{t: c.t}
	c.DescribeGroups(req, p.set)
	return p.get().Groups[0]
}

var topicIDs = map[string]uuid.ID{"t": {0: 1}, "u": {0: 2}}

// commit stores an offset, as a member or, with nil, as a simple consumer.
func (c *coord) commit(group string, w *who, topic string, partition int32, offset int64, change ...func(*kmsg.OffsetCommitRequest)) int16 {
	c.t.Helper()
	return c.commitLater(group, w, topic, partition, offset, change...).get().Topics[0].Partitions[0].ErrorCode
}

func (c *coord) commitLater(group string, w *who, topic string, partition int32, offset int64, change ...func(*kmsg.OffsetCommitRequest)) *reply1[*kmsg.OffsetCommitResponse] {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group = 9, group
	if w != nil {
		req.MemberID, req.Generation, req.InstanceID = w.id, w.gen, w.instance
	}
	req.Topics = []kmsg.OffsetCommitRequestTopic{{
		Topic: topic, TopicID: topicIDs[topic],
		Partitions: []kmsg.OffsetCommitRequestTopicPartition{{Partition: partition, Offset: offset, LeaderEpoch: -1}},
	}}
	for _, f := range change {
		f(req)
	}
	p := &reply1[*kmsg.OffsetCommitResponse]{t: c.t}
	c.OffsetCommit(req, p.set)
	return p
}

// offset is what is committed.
func (c *coord) offset(group, topic string, partition int32) int64 {
	c.t.Helper()
	return c.fetch(group, topic, partition, false).Offset
}

func (c *coord) fetch(group, topic string, partition int32, stable bool) kmsg.OffsetFetchResponseGroupTopicPartition {
	c.t.Helper()
	asked := kmsg.NewOffsetFetchRequestGroup()
	asked.Group = group
	asked.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: topic, TopicID: topicIDs[topic], Partitions: []int32{partition}}}
	p := &reply1[kmsg.OffsetFetchResponseGroup]{t: c.t}
	c.OffsetFetch(&asked, stable, p.set)
	return p.get().Topics[0].Partitions[0]
}

// simulate runs a test in virtual time.
func simulate(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}

var _ runtime.Log = (*memLog)(nil)
