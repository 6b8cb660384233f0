package group

import (
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
)

// shareBeat is a ShareGroupHeartbeat request with what the coordinator adds to it. It owns its memory.
type shareBeat struct {
	group, member string
	epoch         int32
	rack          *string  // nil: as it was
	topics        []string // sorted, each once; nil: as they were
	clientID      string
	clientHost    string
	settings      ShareSettings
	done          func(*kmsg.ShareGroupHeartbeatResponse)
}

// The member epochs that mean more than themselves.
const (
	shareJoins  = 0
	shareLeaves = -1
)

func (r *shareBeat) refuse(code *kerr.Error, message string) runtime.Outcome {
	return answered(r.done, shareBeatError(code, message), shareBeatFailed)
}

func shareBeatError(code *kerr.Error, message string) *kmsg.ShareGroupHeartbeatResponse {
	r := kmsg.NewPtrShareGroupHeartbeatResponse()
	r.ErrorCode = code.Code
	if message != "" {
		r.ErrorMessage = &message
	}
	return r
}

func shareBeatFailed(err error) *kmsg.ShareGroupHeartbeatResponse {
	return shareBeatError(codeOf(err), "")
}

// shareHeartbeat decides a heartbeat: joins, changes of subscription and of topics, leaves. What it changes it writes, and the
// member has its part of the new assignment in the answer.
func (s *machine) shareHeartbeat(v runtime.View, r *shareBeat) runtime.Outcome {
	g, err := s.findShare(v, r.group)
	if err != nil {
		return r.refuse(codeOf(err), "")
	}
	if g == nil {
		return s.firstBeat(v, r)
	}
	m := g.members[r.member]
	switch {
	case m == nil && r.epoch != shareJoins:
		return r.refuse(kerr.UnknownMemberID, fmt.Sprintf("Member %s is not a member of group %s.", r.member, r.group))
	case m == nil && len(g.members) >= s.cfg.ShareMaxSize:
		return r.refuse(kerr.GroupMaxSizeReached, fmt.Sprintf("The share group has reached its maximum capacity of %d members.", s.cfg.ShareMaxSize))
	case m == nil && s.shares[g.id] == nil && s.crowded():
		return r.refuse(kerr.CoordinatorNotAvailable, "")
	case r.epoch == shareLeaves:
		return s.shareLeave(v, g, r)
	case m != nil && r.epoch > 0:
		if message := m.fences(r.epoch); message != "" {
			return r.refuse(kerr.FencedMemberEpoch, message)
		}
	}
	if m != nil && s.quiet(g, m, r) {
		out := answered(r.done, r.answer(m, m.epoch, m.current), shareBeatFailed)
		out.Then = func(tx *runtime.Tx) {
			tx.Schedule(shareSessionTimer(g, m.id), tx.Now().Add(r.settings.SessionTimeout))
		}
		return out
	}
	return s.beat(v, g, g.draft(), r)
}

// quiet tells whether a heartbeat changes nothing, and there is nothing new for its member.
func (s *machine) quiet(g *shareGroup, m *shareMember, r *shareBeat) bool {
	return r.topics == nil && r.updated(m) == m && g.revision == s.topics.Revision() &&
		g.assigned == g.epoch && m.epoch == g.assigned && sameAssignment(m.current, m.target)
}

// answer is what a member is told, who had that epoch and assignment before the request.
func (r *shareBeat) answer(m *shareMember, epoch int32, had []topicPartitions) *kmsg.ShareGroupHeartbeatResponse {
	answer := kmsg.NewPtrShareGroupHeartbeatResponse()
	answer.MemberID, answer.MemberEpoch = &m.id, m.epoch
	answer.HeartbeatIntervalMillis = int32(r.settings.HeartbeatInterval.Milliseconds())
	// Kafka leaves the assignment out of the answer to the epoch before, which says that an answer with one was lost.
	if r.topics != nil || r.epoch != epoch || !sameAssignment(m.current, had) {
		answer.Assignment = told(m.current)
	}
	return answer
}

// firstBeat is a heartbeat to a group that is not there, which joining makes.
func (s *machine) firstBeat(v runtime.View, r *shareBeat) runtime.Outcome {
	switch classic, err := s.find(v, r.group); {
	case err != nil:
		return r.refuse(codeOf(err), "")
	case classic != nil:
		return r.refuse(kerr.GroupIDNotFound, notShare(r.group))
	case r.epoch == shareLeaves:
		return r.refuse(kerr.GroupIDNotFound, fmt.Sprintf("Group %s not found.", r.group))
	case r.epoch != shareJoins:
		return r.refuse(kerr.GroupIDNotFound, fmt.Sprintf("Share group %s not found.", r.group))
	case s.crowded():
		return r.refuse(kerr.CoordinatorNotAvailable, "")
	}
	return s.beat(v, nil, newShareGroup(r.group), r)
}

func notShare(group string) string { return fmt.Sprintf("Group %s is not a share group.", group) }

// crowded tells whether one more group in memory is too many.
func (s *machine) crowded() bool { return len(s.groups)+len(s.shares) >= s.cfg.MaxGroups }

// fences tells why a member may not speak with that epoch. The one before is good: the answer with the new one may be lost.
func (m *shareMember) fences(epoch int32) string {
	const rejoin = "The member must abandon all its partitions and rejoin."
	switch {
	case epoch > m.epoch:
		return fmt.Sprintf("The share group member has a greater member epoch (%d) than the one known by the group coordinator (%d). %s", epoch, m.epoch, rejoin)
	case epoch < m.epoch && epoch != m.previous:
		return fmt.Sprintf("The share group member has a smaller member epoch (%d) than the one known by the group coordinator (%d), "+
			"and it does not match the previous member epoch (%d). %s", epoch, m.epoch, m.previous, rejoin)
	}
	return ""
}

// beat takes a heartbeat of a member, or of one to become, of group g, nil for a new one, into its draft d.
func (s *machine) beat(v runtime.View, g, d *shareGroup, r *shareBeat) runtime.Outcome {
	m := r.updated(d.members[r.member])
	bump := d.members[r.member] == nil || !slices.Equal(m.topics, d.members[r.member].topics)
	d.members[m.id] = m
	revision := s.topics.Revision()
	if bump || revision != d.revision || d.assigned < d.epoch {
		s.refresh(d, bump, v.Now())
		m = d.members[r.member]
	}
	had := m
	if m.epoch != d.assigned || !sameAssignment(m.current, m.target) {
		moved := *m
		if m.epoch != d.assigned {
			moved.previous, moved.epoch = m.epoch, d.assigned
		}
		moved.current = m.target
		m, d.members[m.id] = &moved, &moved
	}
	answer := r.answer(m, had.epoch, had.current)
	out := runtime.Outcome{Records: d.records(g)}
	hold := answer.Assignment != nil && d.states.pending() && len(d.waiting) < maxWaiting
	if !hold {
		out.Reply = answered(r.done, answer, shareBeatFailed).Reply
	}
	out.Then = func(tx *runtime.Tx) {
		d.revision = revision
		if hold {
			s.await(tx, d, func(tx *runtime.Tx, _ *shareGroup) { reply(tx, r.done, answer, shareBeatFailed) })
		}
		tx.Schedule(shareSessionTimer(d, m.id), tx.Now().Add(r.settings.SessionTimeout))
		s.adoptShare(d)
		s.startRun(tx, d)
	}
	if hold {
		out.Refused = func(tx *runtime.Tx, err error) { tx.Reply(func(error) { r.done(shareBeatFailed(err)) }) }
	}
	return out
}

// updated is the member as the request has it.
func (r *shareBeat) updated(m *shareMember) *shareMember {
	if m == nil {
		m = &shareMember{id: r.member}
	}
	n := *m
	n.clientID, n.clientHost = r.clientID, r.clientHost
	if r.rack != nil {
		n.rack = r.rack
	}
	if r.topics != nil {
		n.topics = r.topics
	}
	if n.describes(m) && m.topics != nil {
		return m
	}
	return &n
}

// refresh brings a draft up to the metadata: what became of its topics, and its members' targets if anything did.
func (s *machine) refresh(d *shareGroup, bump bool, now time.Time) {
	all := known(s.topics, d.subscribedNames())
	s.keepStates(d, all)
	if hash := topicsHash(all); bump || hash != d.hash {
		d.epoch++
		d.hash = hash
	}
	if d.assigned < d.epoch {
		d.assign(all)
		d.assigned, d.assignedAt = d.epoch, now.UnixMilli()
	}
}

// keepStates has the states of a draft follow its topics: new partitions get one, and of topics that are gone they go.
func (s *machine) keepStates(d *shareGroup, all []knownTopic) {
	for id := range d.states {
		if _, _, ok := s.topics.TopicByID(id); !ok {
			d.change().end(id)
		}
	}
	for _, t := range all {
		if missing := d.states.lacks(t.id, t.partitions); missing != nil {
			d.change().begin(t.id, t.name, missing)
		}
	}
}

func told(a []topicPartitions) *kmsg.ShareGroupHeartbeatResponseAssignment {
	out := kmsg.NewShareGroupHeartbeatResponseAssignment()
	for _, t := range a {
		p := kmsg.NewShareGroupHeartbeatResponseAssignmentTopicPartition()
		p.TopicID, p.Partitions = t.topic, t.partitions
		out.TopicPartitions = append(out.TopicPartitions, p)
	}
	return &out
}

// shareLeave takes a member out because it says so.
func (s *machine) shareLeave(v runtime.View, g *shareGroup, r *shareBeat) runtime.Outcome {
	answer := kmsg.NewPtrShareGroupHeartbeatResponse()
	answer.MemberID, answer.MemberEpoch = &r.member, shareLeaves
	out := s.loseMember(g, r.member)
	out.Reply = answered(r.done, answer, shareBeatFailed).Reply
	return out
}

// loseMember takes a member out. The others learn what they have in its place with their next heartbeats.
func (s *machine) loseMember(g *shareGroup, id string) runtime.Outcome {
	d := g.draft()
	delete(d.members, id)
	d.epoch++
	if len(d.members) == 0 {
		d.hash, d.assigned, d.assignedAt = 0, d.epoch, 0
	}
	return runtime.Outcome{
		Records: d.records(g),
		Then: func(tx *runtime.Tx) {
			tx.Cancel(shareSessionTimer(d, id))
			s.adoptShare(d)
			s.log.Info("member of a share group is gone", zap.String("group", d.id), zap.String("member", id), zap.Int32("epoch", d.epoch))
		},
	}
}

// shareSessionTimeout: a member has been silent for too long.
func (s *machine) shareSessionTimeout(g *shareGroup, id string) runtime.Outcome {
	if g.members[id] == nil {
		return runtime.Outcome{}
	}
	return s.retried(s.loseMember(g, id), shareSessionTimer(g, id))
}
