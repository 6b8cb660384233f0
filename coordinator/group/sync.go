package group

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
)

// syncRequest is a SyncGroup request. It owns its bytes.
type syncRequest struct {
	group        string
	memberID     string
	instance     *string
	generation   int32
	protocolType *string
	protocol     *string
	assignments  map[string][]byte
	done         func(*kmsg.SyncGroupResponse)
}

func (r *syncRequest) refuse(code *kerr.Error) runtime.Outcome {
	return answered(r.done, syncError(code), func(err error) *kmsg.SyncGroupResponse { return syncError(codeOf(err)) })
}

// sync decides a SyncGroup request. The leader's makes the record of the generation; the
// others wait for it.
func (s *machine) sync(v runtime.View, r *syncRequest) runtime.Outcome {
	g := s.groups[r.group]
	if g == nil || g.phase == empty {
		return r.refuse(kerr.UnknownMemberID)
	}
	if code := g.mayAsk(r); code != nil {
		return r.refuse(code)
	}
	m := g.byID[r.memberID]
	if g.phase == stable {
		out := answered(r.done, g.syncAnswer(m), func(err error) *kmsg.SyncGroupResponse { return syncError(codeOf(err)) })
		out.Then = func(tx *runtime.Tx) { s.synced(tx, g, m) }
		return out
	}
	wait := func(tx *runtime.Tx) {
		s.answerSync(tx, m, syncError(kerr.RebalanceInProgress)) // an earlier request its client gave up on
		m.sync = r.done
		s.synced(tx, g, m)
	}
	if g.leader != m.id {
		return runtime.Outcome{Then: wait}
	}
	return runtime.Outcome{
		Records: []runtime.Record{groupRecord(g.id, g.value(r.assignments))},
		Then: func(tx *runtime.Tx) {
			wait(tx)
			since := g.since // as the record has it
			g.enter(stable, since)
			for _, m := range g.members {
				m.assignment = r.assignments[m.id]
			}
			s.spread(tx, g, nil)
		},
		Refused: func(tx *runtime.Tx, err error) {
			// The generation cannot be stored, so it cannot be used: everybody starts over.
			wait(tx)
			s.spread(tx, g, codeOf(err))
			s.prepareRebalance(tx, g, "the assignment could not be stored: "+err.Error())
		},
	}
}

// mayAsk tells why a member must not sync.
func (g *group) mayAsk(r *syncRequest) *kerr.Error {
	if code := g.validate(r.memberID, r.instance); code != nil {
		return code
	}
	switch {
	case r.generation != g.generation:
		return kerr.IllegalGeneration
	case differs(r.protocolType, g.protocolType) || differs(r.protocol, g.protocol):
		return kerr.InconsistentGroupProtocol
	case g.phase == preparing:
		return kerr.RebalanceInProgress
	}
	return nil
}

func differs(asked *string, have string) bool { return asked != nil && have != "" && *asked != have }

// synced notes that a member has asked for its assignment.
func (s *machine) synced(tx *runtime.Tx, g *group, m *member) {
	delete(g.unsynced, m.id)
	if len(g.unsynced) == 0 {
		tx.Cancel(syncTimer(g))
	}
}
