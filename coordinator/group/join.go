package group

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
)

// joinRequest is a JoinGroup request with what the coordinator adds to it. It owns its
// bytes.
type joinRequest struct {
	version      int16
	group        string
	memberID     string // as sent; "": a new member
	newID        string // for the member, if it is new
	instance     *string
	clientID     string
	clientHost   string
	session      time.Duration
	rebalance    time.Duration
	protocolType string
	protocols    []protocol
	done         func(*kmsg.JoinGroupResponse)
}

// The JoinGroup versions from which on a new member is sent away with an id to come back
// with (KIP-394), and a rejoining leader is told not to assign (KIP-814).
const (
	joinWithID         = 4
	joinSkipAssignment = 9
)

func (r *joinRequest) refuse(memberID string, code *kerr.Error) runtime.Outcome {
	return answered(r.done, joinError(memberID, code), func(err error) *kmsg.JoinGroupResponse {
		return joinError(memberID, codeOf(err))
	})
}

// join decides a JoinGroup request. A group that is new to the log gets a record, whatever
// becomes of the request.
func (s *machine) join(v runtime.View, r *joinRequest) runtime.Outcome {
	g, err := s.find(v, r.group)
	if err != nil {
		return r.refuse(r.memberID, codeOf(err))
	}
	if g == nil {
		switch share, err := s.isShare(v, r.group); {
		case err != nil:
			return r.refuse(r.memberID, codeOf(err))
		case share:
			return r.refuse(r.memberID, kerr.InconsistentGroupProtocol)
		}
	}
	if g == nil && r.memberID != "" {
		return r.refuse(r.memberID, kerr.UnknownMemberID)
	}
	out := runtime.Outcome{Refused: func(tx *runtime.Tx, err error) {
		reply(tx, r.done, joinError(r.memberID, codeOf(err)), func(err error) *kmsg.JoinGroupResponse {
			return joinError(r.memberID, codeOf(err))
		})
	}}
	if g == nil {
		g = newGroup(r.group, v.Now())
		out.Records = []runtime.Record{groupRecord(g.id, g.value(nil))}
	}
	if s.full(g) {
		return r.refuse(r.memberID, kerr.CoordinatorNotAvailable)
	}
	if keep, records := s.replacesQuietly(g, r); keep {
		out.Records = append(out.Records, records...)
		out.Then = func(tx *runtime.Tx) { s.replaceQuietly(tx, g, r) }
		return out
	}
	out.Then = func(tx *runtime.Tx) {
		s.adopt(g)
		s.admit(tx, g, r)
		s.settle(g)
	}
	return out
}

// admit lets a member in, as far as the group's phase and size allow.
func (s *machine) admit(tx *runtime.Tx, g *group, r *joinRequest) {
	fail := func(memberID string, code *kerr.Error) {
		reply(tx, r.done, joinError(memberID, code), func(err error) *kmsg.JoinGroupResponse {
			return joinError(memberID, codeOf(err))
		})
	}
	switch {
	case !s.hasRoom(g, r.memberID):
		s.takeOut(tx, g, r.memberID)
		fail("", kerr.GroupMaxSizeReached)
		s.completeIfAllJoined(tx, g) // the others have waited for this one
	case !g.supports(r.protocolType, r.protocols):
		fail(r.memberID, kerr.InconsistentGroupProtocol)
	case r.memberID == "" && r.instance != nil:
		if old := g.static[*r.instance]; old != nil {
			s.replaceStatic(tx, g, old, r)
		} else {
			s.addMember(tx, g, r.newID, r)
		}
	case r.memberID == "" && r.version >= joinWithID:
		if len(g.pending) >= s.cfg.MaxPendingMembers {
			fail("", kerr.CoordinatorNotAvailable)
			return
		}
		g.pending[r.newID] = true
		tx.Schedule(sessionTimer(g, r.newID), tx.Now().Add(r.session))
		fail(r.newID, kerr.MemberIDRequired)
	case r.memberID == "":
		s.addMember(tx, g, r.newID, r)
	case g.pending[r.memberID]:
		if r.instance != nil {
			fail(r.memberID, kerr.UnknownServerError) // such an id is given to dynamic members only
			return
		}
		s.addMember(tx, g, r.memberID, r)
	default:
		if code := g.validate(r.memberID, r.instance); code != nil {
			fail(r.memberID, code)
			return
		}
		s.rejoin(tx, g, g.byID[r.memberID], r)
	}
}

// hasRoom tells whether the group's size allows for the member. While it rebalances only
// those who have joined already count: so the last to rejoin of a group that has become
// too large are turned away.
func (s *machine) hasRoom(g *group, memberID string) bool {
	m := g.byID[memberID]
	switch g.phase {
	case preparing:
		return m != nil && m.join != nil || g.joined < s.cfg.MaxSize
	case completing, stable:
		return m != nil || len(g.members) < s.cfg.MaxSize
	}
	return true
}

// validate tells why a member may not speak for itself, or for an instance.
func (g *group) validate(memberID string, instance *string) *kerr.Error {
	if instance != nil {
		switch m := g.static[*instance]; {
		case m == nil:
			return kerr.UnknownMemberID
		case m.id != memberID:
			return kerr.FencedInstanceID
		}
	}
	if g.byID[memberID] == nil {
		return kerr.UnknownMemberID
	}
	return nil
}

// addMember takes a new member in, which starts a rebalance.
func (s *machine) addMember(tx *runtime.Tx, g *group, id string, r *joinRequest) {
	m := &member{
		id: id, instance: r.instance, clientID: r.clientID, clientHost: r.clientHost,
		rebalance: r.rebalance, session: r.session, protocols: r.protocols, fresh: true, join: r.done,
	}
	if g.phase == preparing && g.previous == empty {
		g.newMember = true
	}
	if len(g.members) == 0 {
		g.protocolType = r.protocolType
	}
	g.add(m)
	// It cannot send heartbeats before it knows its id, and a broken connection is not
	// seen while the request is parked: so its wait ends some time. If it is still there it
	// asks again.
	s.hear(tx, g, m, newMemberTimeout)
	s.rebalanceOrComplete(tx, g, "a member joins: "+id)
}

// rejoin is a join of a member that the group knows.
func (s *machine) rejoin(tx *runtime.Tx, g *group, m *member, r *joinRequest) {
	same := m.same(r.protocols)
	switch {
	case g.phase == completing && same, g.phase == stable && same && g.leader != m.id:
		// It may have missed the answer; what it joined stands.
		s.current(tx, g, m, r, g.phase == completing && g.leader == m.id)
	case g.phase == empty:
		reply(tx, r.done, joinError(m.id, kerr.UnknownMemberID), func(err error) *kmsg.JoinGroupResponse {
			return joinError(m.id, codeOf(err))
		})
	default:
		// New metadata, a leader that wants another assignment, or a rebalance under way.
		s.update(tx, g, m, r)
		s.rebalanceOrComplete(tx, g, "a member rejoins: "+m.id)
	}
}

// current answers a join with the generation as it is.
func (s *machine) current(tx *runtime.Tx, g *group, m *member, r *joinRequest, withMembers bool) {
	answer := g.joinAnswer(m)
	if withMembers {
		answer.Members = g.joinMembers()
	}
	reply(tx, r.done, answer, func(err error) *kmsg.JoinGroupResponse { return joinError(m.id, codeOf(err)) })
}

// update has the member wait with what its new request says. A request that waited before
// is told to try again: its client has given up on it.
func (s *machine) update(tx *runtime.Tx, g *group, m *member, r *joinRequest) {
	s.answerJoin(tx, g, m, joinError(m.id, kerr.RebalanceInProgress))
	g.count(m, -1)
	m.protocols, m.rebalance, m.session, m.join = r.protocols, r.rebalance, r.session, r.done
	g.count(m, 1)
}

// replacesQuietly tells whether a static member that comes back under a new id takes its
// old place without a rebalance: the group is stable and the vote stays as it was. The
// records make the new id known.
func (s *machine) replacesQuietly(g *group, r *joinRequest) (bool, []runtime.Record) {
	if r.memberID != "" || r.instance == nil || g.phase != stable ||
		!s.hasRoom(g, r.memberID) || !g.supports(r.protocolType, r.protocols) {
		return false, nil
	}
	old := g.static[*r.instance]
	if old == nil || g.voteWith(old, r.protocols) != g.protocol {
		return false, nil
	}
	v := g.value(g.assignments())
	for i := range v.Members {
		if v.Members[i].MemberID != old.id {
			continue
		}
		metadata, _ := (&member{protocols: r.protocols}).metadata(g.protocol)
		v.Members[i].MemberID, v.Members[i].Subscription = r.newID, metadata
		v.Members[i].RebalanceTimeoutMillis = int32(r.rebalance.Milliseconds())
		v.Members[i].SessionTimeoutMillis = int32(r.session.Milliseconds())
	}
	if g.leader == old.id {
		v.Leader = &r.newID
	}
	return true, []runtime.Record{groupRecord(g.id, v)}
}

// voteWith is the vote if one member had other protocols.
func (g *group) voteWith(m *member, protocols []protocol) string {
	was := m.protocols
	set := func(p []protocol) {
		g.count(m, -1)
		m.protocols = p
		g.count(m, 1)
	}
	set(protocols)
	defer set(was)
	return g.vote()
}

func (s *machine) replaceQuietly(tx *runtime.Tx, g *group, r *joinRequest) {
	leader := g.leader
	m := s.replace(tx, g, g.static[*r.instance], r)
	answer := g.joinAnswer(m)
	switch {
	case r.version < joinSkipAssignment:
		// Older clients are told the leader's old id, so that it does not assign again.
		answer.LeaderID = leader
	case g.leader == m.id:
		answer.SkipAssignment, answer.Members = true, g.joinMembers()
	}
	s.answerJoin(tx, g, m, answer)
}

// replaceStatic is a static member's return that may need a rebalance.
func (s *machine) replaceStatic(tx *runtime.Tx, g *group, old *member, r *joinRequest) {
	s.replace(tx, g, old, r)
	switch g.phase {
	case stable, completing:
		// In a generation that is being completed the leader may have the old id already.
		s.prepareRebalance(tx, g, "a static member has other protocols, or comes back amid a rebalance: "+*r.instance)
	case preparing:
		s.completeIfAllJoined(tx, g)
	}
}

// replace puts a static member's new id in the place of the old, which is fenced.
func (s *machine) replace(tx *runtime.Tx, g *group, old *member, r *joinRequest) *member {
	s.log.Info("static member comes back under a new id", zap.String("group", g.id),
		zap.String("instance", *r.instance), zap.String("old", old.id), zap.String("new", r.newID))
	s.answerJoin(tx, g, old, joinError(old.id, kerr.FencedInstanceID))
	s.answerSync(tx, old, syncError(kerr.FencedInstanceID))
	tx.Cancel(sessionTimer(g, old.id))
	m := *old
	m.id, m.fresh = r.newID, false
	g.count(old, -1)
	delete(g.byID, old.id)
	g.byID[m.id], g.static[*r.instance] = &m, &m
	g.members[slices.Index(g.members, old)] = &m
	if g.leader == old.id {
		g.leader = m.id
	}
	delete(g.unsynced, old.id)
	m.protocols, m.rebalance, m.session, m.join = r.protocols, r.rebalance, r.session, r.done
	g.count(&m, 1)
	s.hear(tx, g, &m, m.session)
	return &m
}

func (g *group) assignments() map[string][]byte {
	all := make(map[string][]byte, len(g.members))
	for _, m := range g.members {
		all[m.id] = m.assignment
	}
	return all
}

// joinAnswer is what a member is told of its generation.
func (g *group) joinAnswer(m *member) *kmsg.JoinGroupResponse {
	r := kmsg.NewPtrJoinGroupResponse()
	r.MemberID, r.Generation, r.LeaderID = m.id, g.generation, g.leader
	protocol, protocolType := g.protocol, g.protocolType
	r.Protocol, r.ProtocolType = &protocol, &protocolType
	return r
}

// joinMembers is what the leader is told of all.
func (g *group) joinMembers() []kmsg.JoinGroupResponseMember {
	all := make([]kmsg.JoinGroupResponseMember, 0, len(g.members))
	for _, m := range g.members {
		metadata, _ := m.metadata(g.protocol)
		all = append(all, kmsg.JoinGroupResponseMember{MemberID: m.id, InstanceID: m.instance, ProtocolMetadata: metadata})
	}
	return all
}
