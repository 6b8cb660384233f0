package group

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
)

// leave decides a LeaveGroup request in its form of versions 3 and up, a list of members.
// done gets a code for each, in order, or one for all.
func (s *machine) leave(v runtime.View, group string, members []kmsg.LeaveGroupRequestMember, done func([]*kerr.Error, *kerr.Error)) runtime.Outcome {
	codes := make([]*kerr.Error, len(members))
	g := s.groups[group]
	gone := map[string]bool{} // members and ids that leave
	for i := range members {
		var id string
		if id, codes[i] = g.leaver(&members[i], gone); codes[i] == nil {
			gone[id] = true
		}
	}
	reply := func(err error) {
		if err != nil {
			done(nil, codeOf(err))
			return
		}
		done(codes, nil)
	}
	if len(gone) == 0 {
		return runtime.Outcome{Reply: reply}
	}
	if len(g.members) > 0 && g.emptiedBy(gone, false) {
		out := s.empty(v, g)
		settle := out.Then
		out.Then = func(tx *runtime.Tx) {
			s.takeOutAll(tx, g, gone)
			settle(tx)
		}
		out.Reply = reply
		return out
	}
	return runtime.Outcome{
		Reply: reply,
		Then: func(tx *runtime.Tx) {
			s.takeOutAll(tx, g, gone)
			switch g.phase {
			case stable, completing:
				s.prepareRebalance(tx, g, "members leave")
			case preparing:
				s.completeIfAllJoined(tx, g)
			}
			s.settle(g)
		},
	}
}

// leaver is the id of who is to leave: named by its id, or by its instance as an
// administrator does. Who has been named before is gone.
func (g *group) leaver(m *kmsg.LeaveGroupRequestMember, gone map[string]bool) (string, *kerr.Error) {
	if g == nil {
		return "", kerr.UnknownMemberID
	}
	id := m.MemberID
	switch {
	case id == "":
		if m.InstanceID == nil || g.static[*m.InstanceID] == nil {
			return "", kerr.UnknownMemberID
		}
		id = g.static[*m.InstanceID].id
	case g.pending[id]:
	default:
		if code := g.validate(id, m.InstanceID); code != nil {
			return "", code
		}
	}
	if gone[id] {
		return "", kerr.UnknownMemberID
	}
	return id, nil
}

func (s *machine) takeOutAll(tx *runtime.Tx, g *group, gone map[string]bool) {
	var ids []string
	for _, m := range g.members {
		if gone[m.id] {
			ids = append(ids, m.id)
		}
	}
	for id := range g.pending {
		if gone[id] {
			ids = append(ids, id)
		}
	}
	for _, id := range ids {
		s.log.Info("member leaves", zap.String("group", g.id), zap.String("member", id))
		s.takeOut(tx, g, id)
	}
}
