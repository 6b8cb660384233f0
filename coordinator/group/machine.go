package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
)

// machine is the coordinator of the groups of one partition of __consumer_offsets.
type machine struct {
	cfg    *Config
	log    *zap.Logger
	groups map[string]*group // those with members or ids handed out
	expiry expiry

	shares   map[string]*shareGroup // those with members, or with states to change
	topics   Topics
	settings func(group string) ShareSettings
	runs     runner
}

// runner carries out what a decision leads to outside the shard; *Service is one.
type runner interface {
	begin(run *stateRun, err error)
}

var _ runtime.Machine = (*machine)(nil)

// The timers of a group: Timer.Of is the group, Timer.Who the member.
const (
	timerJoin         uint8 = iota + 1 // the rebalance has taken long enough
	timerSync                          // members that have not synced are taken out
	timerSession                       // the member has been silent for too long
	timerExpiry                        // time to look for offsets past their retention; of the whole shard
	timerShareSession                  // a share group's member has been silent for too long
	timerShareHold                     // answers have waited long enough for a share group's states
	timerShareStates                   // changes of a share group's states are to be tried again
)

func joinTimer(g *group) runtime.Timer { return runtime.Timer{Kind: timerJoin, Of: g.id} }
func syncTimer(g *group) runtime.Timer { return runtime.Timer{Kind: timerSync, Of: g.id} }

func sessionTimer(g *group, member string) runtime.Timer {
	return runtime.Timer{Kind: timerSession, Of: g.id, Who: member}
}

func newMachine(s *Service) *machine {
	return &machine{
		cfg: &s.cfg, log: s.log, groups: map[string]*group{},
		shares: map[string]*shareGroup{}, topics: s.topics, settings: s.settings, runs: s,
	}
}

// Restore implements runtime.Machine: groups with members come back into memory, and
// their members have a whole session to be heard of again.
func (s *machine) Restore(tx *runtime.Tx) error {
	var names []string
	err := tx.Scan([]byte(rowLive), nil, func(key, _ []byte) bool {
		names = append(names, string(key[len(rowLive):]))
		return true
	})
	if err != nil {
		return err
	}
	for _, name := range names {
		g, err := s.stored(tx, name)
		if err != nil {
			return err
		}
		if g == nil || g.idle() {
			continue
		}
		s.groups[name] = g
		for _, m := range g.members {
			s.hear(tx, g, m, m.session)
		}
		if len(g.members) > s.cfg.MaxSize {
			s.prepareRebalance(tx, g, "more members than group.max.size allows")
		}
	}
	tx.Schedule(runtime.Timer{Kind: timerExpiry}, tx.Now().Add(s.cfg.RetentionInterval))
	return s.restoreShares(tx)
}

// Abandon implements runtime.Machine.
func (s *machine) Abandon(tx *runtime.Tx) {
	for _, g := range s.groups {
		for _, m := range g.members {
			s.answerJoin(tx, g, m, joinError(m.id, kerr.NotCoordinator))
			s.answerSync(tx, m, syncError(kerr.NotCoordinator))
		}
	}
	for _, g := range s.shares {
		s.releaseShare(tx, g)
	}
}

// Fire implements runtime.Machine.
func (s *machine) Fire(v runtime.View, t runtime.Timer) runtime.Outcome {
	switch g := s.shares[t.Of]; {
	case t.Kind == timerExpiry:
		return s.expire(v)
	case t.Kind == timerShareSession && g != nil:
		return s.shareSessionTimeout(g, t.Who)
	case t.Kind == timerShareHold && g != nil:
		return s.shareHoldTimeout(g)
	case t.Kind == timerShareStates && g != nil:
		return s.shareStatesTimeout(g)
	}
	g := s.groups[t.Of]
	if g == nil {
		return runtime.Outcome{}
	}
	switch t.Kind {
	case timerJoin:
		return s.joinTimeout(v, g)
	case timerSync:
		return s.syncTimeout(v, g)
	case timerSession:
		return s.sessionTimeout(v, g, t.Who)
	}
	return runtime.Outcome{}
}

// stored makes a group from its row; nil if there is none.
func (s *machine) stored(r runtime.Reader, id string) (*group, error) {
	value, ok, err := r.Get(appendGroupKey(nil, id))
	if err != nil || !ok {
		return nil, err
	}
	v, err := decodeGroupValue(value)
	if err != nil {
		// It stays as it is in the log; treating the group as new loses its generation only.
		s.log.Error("a group's record cannot be read", zap.String("group", id), zap.Error(err))
		return nil, nil
	}
	return restore(id, v), nil
}

// find is the group of that id: the one in memory, one made from its row, or one without
// protocol where there are only committed offsets. nil if there is nothing of the kind.
func (s *machine) find(r runtime.Reader, id string) (*group, error) {
	if g := s.groups[id]; g != nil {
		return g, nil
	}
	g, err := s.stored(r, id)
	if g != nil || err != nil {
		return g, err
	}
	found, err := hasOffsets(r, id)
	if !found || err != nil {
		return nil, err
	}
	return newGroup(id, time.Time{}), nil
}

// adopt keeps a group in memory while it is changed, and settle lets it go if its row says
// all there is again.
func (s *machine) adopt(g *group) { s.groups[g.id] = g }

func (s *machine) settle(g *group) {
	if g.idle() {
		delete(s.groups, g.id)
	}
}

// full tells whether one more group in memory is too many.
func (s *machine) full(g *group) bool {
	return s.groups[g.id] == nil && len(s.groups) >= s.cfg.MaxGroups
}

// hear restarts a member's session.
func (s *machine) hear(tx *runtime.Tx, g *group, m *member, session time.Duration) {
	tx.Schedule(sessionTimer(g, m.id), tx.Now().Add(session))
}

// answerJoin ends a member's wait for the rebalance, if it waits.
func (s *machine) answerJoin(tx *runtime.Tx, g *group, m *member, r *kmsg.JoinGroupResponse) {
	if m.join == nil {
		return
	}
	reply(tx, m.join, r, func(err error) *kmsg.JoinGroupResponse { return joinError(m.id, codeOf(err)) })
	m.join = nil
	if g.byID[m.id] == m {
		g.joined--
	}
}

// answerSync ends a member's wait for its assignment, if it waits; it tells whether it did.
func (s *machine) answerSync(tx *runtime.Tx, m *member, r *kmsg.SyncGroupResponse) bool {
	if m.sync == nil {
		return false
	}
	reply(tx, m.sync, r, func(err error) *kmsg.SyncGroupResponse { return syncError(codeOf(err)) })
	m.sync = nil
	return true
}

// reply sends r when what was decided is committed, or what fail makes of the reason why
// it will not be.
func reply[R any](tx *runtime.Tx, done func(R), r R, fail func(error) R) {
	tx.Reply(func(err error) {
		if err != nil {
			r = fail(err)
		}
		done(r)
	})
}

// answered is the outcome that only answers.
func answered[R any](done func(R), r R, fail func(error) R) runtime.Outcome {
	return runtime.Outcome{Reply: func(err error) {
		if err != nil {
			r = fail(err)
		}
		done(r)
	}}
}

func joinError(memberID string, code *kerr.Error) *kmsg.JoinGroupResponse {
	r := kmsg.NewPtrJoinGroupResponse()
	r.MemberID, r.ErrorCode = memberID, code.Code
	return r
}

func syncError(code *kerr.Error) *kmsg.SyncGroupResponse {
	r := kmsg.NewPtrSyncGroupResponse()
	r.ErrorCode = code.Code
	return r
}
