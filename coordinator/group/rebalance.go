package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
)

// A rebalance, as Kafka runs it:
//
//	empty, stable, completing --prepareRebalance--> preparing: members (re)join and wait
//	preparing --complete--> completing: joins are answered, a new generation has begun
//	completing --sync of the leader (sync.go), a record--> stable
//	any, when the last member is gone --becomeEmpty, a record--> empty
//
// Only the last two change what is in the log; where a timer or a request takes the last
// member out, the decision sees that first (emptiedBy) and makes the record.

// rebalanceOrComplete starts a rebalance, or ends the joining of one that is under way if
// that was the last one to wait for.
func (s *machine) rebalanceOrComplete(tx *runtime.Tx, g *group, why string) {
	if g.phase == preparing {
		s.completeIfAllJoined(tx, g)
		return
	}
	s.prepareRebalance(tx, g, why)
}

// prepareRebalance has the members join again. The first rebalance of an empty group waits
// a while, so that many members that start together make one generation.
func (s *machine) prepareRebalance(tx *runtime.Tx, g *group, why string) {
	if g.phase == completing {
		for _, m := range g.members {
			m.assignment = nil
		}
		s.spread(tx, g, kerr.RebalanceInProgress)
	}
	clear(g.unsynced)
	tx.Cancel(syncTimer(g))
	initial := g.phase == empty
	g.enter(preparing, tx.Now())
	s.log.Info("rebalance", zap.String("group", g.id), zap.Int32("generation", g.generation), zap.String("reason", why))
	switch {
	case initial:
		g.newMember = false
		g.delay = s.cfg.InitialRebalanceDelay
		g.remaining = max(g.rebalanceTimeout()-g.delay, 0)
		tx.Schedule(joinTimer(g), tx.Now().Add(g.delay))
	case g.allJoined() && len(g.members) > 0:
		s.complete(tx, g)
	default:
		tx.Schedule(joinTimer(g), tx.Now().Add(g.rebalanceTimeout()))
	}
}

// completeIfAllJoined ends the joining when there is nobody left to wait for; an initial
// rebalance waits for its time all the same.
func (s *machine) completeIfAllJoined(tx *runtime.Tx, g *group) {
	if g.phase == preparing && g.previous != empty && g.allJoined() {
		s.complete(tx, g)
	}
}

// complete begins a generation with those who have joined. Dynamic members that have not
// are taken out; static ones keep their place until their session ends.
func (s *machine) complete(tx *runtime.Tx, g *group) {
	tx.Cancel(joinTimer(g))
	for _, id := range g.missing() {
		s.takeOut(tx, g, id)
	}
	if len(g.members) == 0 {
		// Emptying the group takes a record, which only a decision can make.
		tx.Schedule(joinTimer(g), tx.Now())
		return
	}
	if !g.electLeader() {
		// None but static members, and none of them here: wait until sessions end.
		tx.Schedule(joinTimer(g), tx.Now().Add(g.rebalanceTimeout()))
		return
	}
	g.generation++
	g.protocol = g.vote()
	g.subscribe()
	g.enter(completing, tx.Now())
	s.log.Info("new generation", zap.String("group", g.id), zap.Int32("generation", g.generation), zap.Int("members", len(g.members)))
	clear(g.unsynced)
	for _, m := range g.members {
		answer := g.joinAnswer(m)
		if m.id == g.leader {
			answer.Members = g.joinMembers()
		}
		s.answerJoin(tx, g, m, answer)
		s.hear(tx, g, m, m.session)
		m.fresh = false
		g.unsynced[m.id] = true
	}
	tx.Schedule(syncTimer(g), tx.Now().Add(g.rebalanceTimeout()))
}

// missing lists the dynamic members that have not joined.
func (g *group) missing() (ids []string) {
	for _, m := range g.members {
		if m.join == nil && m.instance == nil {
			ids = append(ids, m.id)
		}
	}
	return ids
}

// takeOut removes a member, or an id handed out, and ends whatever it waits for.
func (s *machine) takeOut(tx *runtime.Tx, g *group, id string) {
	if m := g.byID[id]; m != nil {
		s.answerJoin(tx, g, m, joinError("", kerr.UnknownMemberID))
		s.answerSync(tx, m, syncError(kerr.UnknownMemberID))
	}
	tx.Cancel(sessionTimer(g, id))
	g.remove(id)
}

// spread ends the waiting of all members for their assignments: with these, or an error.
func (s *machine) spread(tx *runtime.Tx, g *group, code *kerr.Error) {
	for _, m := range g.members {
		answer := g.syncAnswer(m)
		if code != nil {
			answer = syncError(code)
		}
		if s.answerSync(tx, m, answer) {
			// Its session may have run out unheeded while it waited.
			s.hear(tx, g, m, m.session)
		}
	}
}

func (g *group) syncAnswer(m *member) *kmsg.SyncGroupResponse {
	r := kmsg.NewPtrSyncGroupResponse()
	protocol, protocolType := g.protocol, g.protocolType
	r.Protocol, r.ProtocolType, r.MemberAssignment = &protocol, &protocolType, m.assignment
	return r
}

// emptiedBy tells whether a group that loses these members ends up empty at once, without
// somebody to wait for.
func (g *group) emptiedBy(gone map[string]bool, initialToo bool) bool {
	for _, m := range g.members {
		if !gone[m.id] {
			return false
		}
	}
	for id := range g.pending {
		if !gone[id] {
			return false
		}
	}
	switch g.phase {
	case stable, completing:
		return true
	case preparing:
		return initialToo || g.previous != empty
	}
	return false
}

// empty is the outcome that takes all members out of a group.
func (s *machine) empty(v runtime.View, g *group) runtime.Outcome {
	now := v.Now()
	return runtime.Outcome{
		Records: []runtime.Record{g.emptied(now)},
		Then: func(tx *runtime.Tx) {
			for len(g.members) > 0 {
				s.takeOut(tx, g, g.members[0].id)
			}
			tx.Cancel(joinTimer(g))
			tx.Cancel(syncTimer(g))
			clear(g.unsynced)
			g.generation++
			g.protocol, g.leader = "", ""
			g.subscribe()
			g.enter(empty, now)
			s.log.Info("group is empty", zap.String("group", g.id), zap.Int32("generation", g.generation))
			s.settle(g)
		},
	}
}

// joinTimeout: a rebalance has waited long enough.
func (s *machine) joinTimeout(v runtime.View, g *group) runtime.Outcome {
	if g.phase != preparing {
		return runtime.Outcome{}
	}
	if g.previous == empty && g.newMember && g.remaining > 0 {
		return runtime.Outcome{Then: func(tx *runtime.Tx) { s.waitLonger(tx, g) }}
	}
	if len(g.missing()) == len(g.members) {
		return s.retried(s.empty(v, g), joinTimer(g))
	}
	return runtime.Outcome{Then: func(tx *runtime.Tx) { s.complete(tx, g) }}
}

// waitLonger puts an initial rebalance off because members keep coming.
func (s *machine) waitLonger(tx *runtime.Tx, g *group) {
	g.newMember = false
	delay := min(s.cfg.InitialRebalanceDelay, g.remaining)
	g.remaining = max(g.remaining-g.delay, 0)
	g.delay = delay
	tx.Schedule(joinTimer(g), tx.Now().Add(delay))
}

// syncTimeout: members that have not asked for their assignment are taken out.
func (s *machine) syncTimeout(v runtime.View, g *group) runtime.Outcome {
	if len(g.unsynced) == 0 || g.phase != completing && g.phase != stable {
		return runtime.Outcome{}
	}
	if g.emptiedBy(g.unsynced, true) {
		return s.retried(s.empty(v, g), syncTimer(g))
	}
	return runtime.Outcome{Then: func(tx *runtime.Tx) {
		for _, m := range g.unsyncedMembers() {
			s.takeOut(tx, g, m.id)
		}
		s.prepareRebalance(tx, g, "members have not synced in time")
	}}
}

func (g *group) unsyncedMembers() (all []*member) {
	for _, m := range g.members {
		if g.unsynced[m.id] {
			all = append(all, m)
		}
	}
	return all
}

// sessionTimeout: a member has been silent for too long, or an id handed out not used.
func (s *machine) sessionTimeout(v runtime.View, g *group, id string) runtime.Outcome {
	m := g.byID[id]
	if m == nil && !g.pending[id] || m != nil && !m.expires() {
		return runtime.Outcome{}
	}
	if m != nil && g.emptiedBy(map[string]bool{id: true}, true) {
		return s.retried(s.empty(v, g), sessionTimer(g, id))
	}
	return runtime.Outcome{Then: func(tx *runtime.Tx) {
		s.log.Info("member is taken out after its session timeout", zap.String("group", g.id), zap.String("member", id))
		s.takeOut(tx, g, id)
		s.afterLoss(tx, g, m != nil, "a member's session ended: "+id)
		s.settle(g)
	}}
}

// afterLoss goes on after a member, or an id handed out, is gone.
func (s *machine) afterLoss(tx *runtime.Tx, g *group, member bool, why string) {
	switch {
	case g.phase == preparing && g.allJoined():
		s.complete(tx, g)
	case member && (g.phase == stable || g.phase == completing):
		s.prepareRebalance(tx, g, why)
	}
}

// retried makes a timer's outcome come again if the log refused its record.
func (s *machine) retried(out runtime.Outcome, t runtime.Timer) runtime.Outcome {
	out.Refused = func(tx *runtime.Tx, _ error) { tx.Schedule(t, tx.Now().Add(refusedPause)) }
	return out
}

// refusedPause is how long a timer waits after the log refused its record, as it does
// while the disk is full.
const refusedPause = 5 * time.Second
