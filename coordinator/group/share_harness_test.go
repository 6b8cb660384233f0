package group

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/coordinator/share"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// world is the topics and the share coordinator around a group coordinator; it outlives restarts.
type world struct {
	mu       sync.Mutex
	revision int64
	topics   map[string]knownTopic
	states   map[share.Key]share.Stored
	ends     map[uuid.ID]int64
	changed  []share.Key // told to ShareStateChanged, or to ShareStateDeleted
	deleted  []share.Key // told to ShareStateDeleted
	fail     error       // of every change of states
	hold     bool        // changes of states wait for release
	held     []func()
	inits    int
	lost     []share.Key // positions that were initialised over
	settings ShareSettings
}

func newWorld(topics ...knownTopic) *world {
	w := &world{topics: map[string]knownTopic{}, states: map[share.Key]share.Stored{}, ends: map[uuid.ID]int64{}}
	for _, t := range topics {
		w.topics[t.name] = t
	}
	return w
}

// options connects a coordinator to the world.
func (w *world) options(o *Options) {
	o.Share, o.Topics = w, w
	o.ShareStateChanged = func(k share.Key) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.changed = append(w.changed, k)
	}
	o.ShareStateDeleted = func(k share.Key) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.changed, w.deleted = append(w.changed, k), append(w.deleted, k)
	}
	o.Settings = func(string) ShareSettings { return w.settings }
}

// later runs a change of states now, or when it is released.
func (w *world) later(fn func() error, done func(error)) {
	w.mu.Lock()
	run := func() {
		w.mu.Lock()
		err := w.fail
		if err == nil {
			err = fn()
		}
		w.mu.Unlock()
		done(err)
	}
	if w.hold {
		w.held = append(w.held, run)
		w.mu.Unlock()
		return
	}
	w.mu.Unlock()
	run()
}

// holding keeps changes of states waiting for release.
func (w *world) holding() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hold = true
}

// failing has every change of states answered with an error, nil for none.
func (w *world) failing(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail = err
}

func (w *world) release() {
	w.mu.Lock()
	held := w.held
	w.hold, w.held = false, nil
	w.mu.Unlock()
	for _, fn := range held {
		fn()
	}
}

func (w *world) Initialize(k share.Key, epoch int32, start int64, done func(error)) {
	w.later(func() error {
		w.inits++
		if was, ok := w.states[k]; ok && was.StateEpoch == epoch {
			return nil // as the share coordinator does
		} else if was.Start >= 0 && ok && start < 0 {
			w.lost = append(w.lost, k)
		}
		w.states[k] = share.Stored{StateEpoch: epoch, Start: start}
		return nil
	}, done)
}

func (w *world) Delete(k share.Key, done func(error)) {
	w.later(func() error { delete(w.states, k); return nil }, done)
}

func (w *world) Summary(k share.Key, done func(share.Stored, error)) {
	w.mu.Lock()
	s, ok := w.states[k]
	w.mu.Unlock()
	if !ok {
		s = share.Stored{None: true, Start: -1}
	}
	done(s, nil)
}

func (w *world) Revision() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.revision
}

func (w *world) Topic(name string) (uuid.ID, int32, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t, ok := w.topics[name]
	return t.id, t.partitions, ok
}

func (w *world) TopicByID(id uuid.ID) (string, int32, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range w.topics {
		if t.id == id {
			return t.name, t.partitions, true
		}
	}
	return "", 0, false
}

func (w *world) LogEnd(id uuid.ID, _ int32, done func(int64, error)) {
	w.mu.Lock()
	end := w.ends[id]
	w.mu.Unlock()
	done(end, nil)
}

// set makes, changes or, with no partitions, deletes a topic.
func (w *world) set(name string, id uuid.ID, partitions int32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.revision++
	if w.topics[name] = (knownTopic{name, id, partitions}); partitions == 0 {
		delete(w.topics, name)
	}
}

// kept lists the states there are, as group/topic/partition@epoch:start.
func (w *world) kept() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	for k, s := range w.states {
		all = append(all, fmt.Sprintf("%s/%x/%d@%d:%d", k.Group, k.Topic[:1], k.Partition, s.StateEpoch, s.Start))
	}
	slices.Sort(all)
	return all
}

var (
	topicA = knownTopic{"a", uuid.ID{0xa}, 4}
	topicB = knownTopic{"b", uuid.ID{0xb}, 2}
)

// sharing is a coordinator among topics a, with 4 partitions, and b, with 2.
func sharing(t *testing.T, conf Config) (*coord, *world) {
	w := newWorld(topicA, topicB)
	c := &coord{t: t, log: &memLog{}, fs: vfs.NewCrash(1), conf: conf, options: w.options}
	c.start()
	return c, w
}

type beatReply = reply1[*kmsg.ShareGroupHeartbeatResponse]

func (c *coord) beatLater(group, member string, epoch int32, topics ...string) *beatReply {
	req := kmsg.NewPtrShareGroupHeartbeatRequest()
	req.Version, req.GroupID, req.MemberID, req.MemberEpoch, req.SubscribedTopicNames = 1, group, member, epoch, topics
	p := &beatReply{t: c.t}
	c.ShareGroupHeartbeat(Caller{"client", "/127.0.0.1"}, req, p.set)
	return p
}

// beat sends a heartbeat, and shows the answer: the epoch and the assignment, or the code and the message.
func (c *coord) beat(group, member string, epoch int32, topics ...string) string {
	c.t.Helper()
	return showBeat(c.beatLater(group, member, epoch, topics...).get())
}

func showBeat(r *kmsg.ShareGroupHeartbeatResponse) string {
	if r.ErrorCode != 0 {
		if r.ErrorMessage == nil {
			return fmt.Sprint(r.ErrorCode)
		}
		return fmt.Sprint(r.ErrorCode, " ", *r.ErrorMessage)
	}
	s := fmt.Sprint(r.MemberEpoch)
	if r.Assignment == nil {
		return s
	}
	s += ":"
	for _, t := range r.Assignment.TopicPartitions {
		s += fmt.Sprintf(" %x%v", t.TopicID[:1], t.Partitions)
	}
	return s
}

func (c *coord) describeShare(group string) kmsg.ShareGroupDescribeResponseGroup {
	c.t.Helper()
	req := kmsg.NewPtrShareGroupDescribeRequest()
	req.Version, req.GroupIDs = 1, []string{group}
	p := &reply1[*kmsg.ShareGroupDescribeResponse]{t: c.t}
	c.ShareGroupDescribe(req, p.set)
	return p.get().Groups[0]
}

// showShare is a group as ShareGroupDescribe shows it.
func (c *coord) showShare(group string) string {
	c.t.Helper()
	g := c.describeShare(group)
	if g.ErrorCode != 0 {
		return fmt.Sprint(g.ErrorCode)
	}
	s := fmt.Sprintf("%s epoch=%d/%d", g.GroupState, g.GroupEpoch, g.AssignmentEpoch)
	for _, m := range g.Members {
		s += fmt.Sprintf(" %s@%d%v", m.MemberID, m.MemberEpoch, m.SubscribedTopicNames)
		for _, t := range m.Assignment.TopicPartitions {
			s += fmt.Sprintf("%s%v", t.Topic, t.Partitions)
		}
	}
	return s
}

func (c *coord) alter(group string, offsets map[string]int64) *reply1[*kmsg.AlterShareGroupOffsetsResponse] {
	req := kmsg.NewPtrAlterShareGroupOffsetsRequest()
	req.GroupID = group
	for _, at := range slices.Sorted(maps.Keys(offsets)) {
		topic, number, _ := strings.Cut(at, "/")
		t := kmsg.NewAlterShareGroupOffsetsRequestTopic()
		t.Topic = topic
		p := kmsg.NewAlterShareGroupOffsetsRequestTopicPartition()
		p.Partition, p.StartOffset = int32(number[0]-'0'), offsets[at]
		t.Partitions = append(t.Partitions, p)
		req.Topics = append(req.Topics, t)
	}
	p := &reply1[*kmsg.AlterShareGroupOffsetsResponse]{t: c.t}
	c.AlterShareGroupOffsets(req, p.set)
	return p
}

func showAlter(r *kmsg.AlterShareGroupOffsetsResponse) string {
	s := fmt.Sprint(r.ErrorCode)
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			s += fmt.Sprintf(" %s/%d=%d", t.Topic, p.Partition, p.ErrorCode)
		}
	}
	return s
}

func (c *coord) deleteOffsetsOf(group string, topics ...string) string {
	c.t.Helper()
	req := kmsg.NewPtrDeleteShareGroupOffsetsRequest()
	req.GroupID = group
	for _, name := range topics {
		t := kmsg.NewDeleteShareGroupOffsetsRequestTopic()
		t.Topic = name
		req.Topics = append(req.Topics, t)
	}
	p := &reply1[*kmsg.DeleteShareGroupOffsetsResponse]{t: c.t}
	c.DeleteShareGroupOffsets(req, p.set)
	r := p.get()
	s := fmt.Sprint(r.ErrorCode)
	for _, t := range r.Topics {
		s += fmt.Sprintf(" %s=%d", t.Topic, t.ErrorCode)
	}
	return s
}

// positions shows what DescribeShareGroupOffsets tells of a group: start and lag of the partitions of a topic, or all.
func (c *coord) where(group, topic string, partitions ...int32) string {
	c.t.Helper()
	req := kmsg.NewPtrDescribeShareGroupOffsetsRequest()
	req.Version = 1
	g := kmsg.NewDescribeShareGroupOffsetsRequestGroup()
	g.GroupID = group
	if topic != "" {
		g.Topics = []kmsg.DescribeShareGroupOffsetsRequestGroupTopic{{Topic: topic, Partitions: partitions}}
	}
	req.Groups = append(req.Groups, g)
	p := &reply1[*kmsg.DescribeShareGroupOffsetsResponse]{t: c.t}
	c.DescribeShareGroupOffsets(req, p.set)
	r := p.get().Groups[0]
	s := fmt.Sprint(r.ErrorCode)
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			s += fmt.Sprintf(" %s/%d=%d+%d", t.Topic, p.Partition, p.StartOffset, p.Lag)
			if p.ErrorCode != 0 {
				s += fmt.Sprintf("!%d", p.ErrorCode)
			}
		}
	}
	return s
}

func (c *coord) deleteGroupsLater(names ...string) func() []int16 {
	req := kmsg.NewPtrDeleteGroupsRequest()
	req.Version, req.Groups = 3, names
	p := &reply1[*kmsg.DeleteGroupsResponse]{t: c.t}
	c.DeleteGroups(req, p.set)
	return func() []int16 {
		c.t.Helper()
		var codes []int16
		for _, g := range p.get().Groups {
			codes = append(codes, g.ErrorCode)
		}
		return codes
	}
}

func (c *coord) register(group string, topics ...uuid.ID) *reply1[error] {
	p := &reply1[error]{t: c.t}
	c.RegisterShareGroup(group, topics, p.set)
	return p
}

// listed shows ListGroups, filtered by type.
func (c *coord) listed(types ...string) []string {
	c.t.Helper()
	req := kmsg.NewPtrListGroupsRequest()
	req.Version, req.TypesFilter = 5, types
	p := &reply1[*kmsg.ListGroupsResponse]{t: c.t}
	c.ListGroups(req, p.set)
	var all []string
	for _, g := range p.get().Groups {
		all = append(all, fmt.Sprintf("%s %s %s %s", g.Group, g.ProtocolType, g.GroupState, g.GroupType))
	}
	return all
}

// pass lets time go by.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// check asserts what describes a step in a test's story.
func check(t *testing.T, want string, got string) {
	t.Helper()
	require.Equal(t, want, got)
}
