package group

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
)

// heartbeat decides a Heartbeat request. It writes nothing: the session is in memory, and
// a new coordinator gives every member a whole one.
func (s *machine) heartbeat(r *kmsg.HeartbeatRequest, done func(code *kerr.Error)) runtime.Outcome {
	g := s.groups[r.Group]
	var code *kerr.Error
	switch {
	case g == nil:
		code = kerr.UnknownMemberID
	default:
		code = g.validate(r.MemberID, r.InstanceID)
	}
	if code == nil && r.Generation != g.generation {
		code = kerr.IllegalGeneration
	}
	if code != nil {
		return answered(done, code, codeOf)
	}
	if g.phase == preparing {
		code = kerr.RebalanceInProgress
	}
	out := answered(done, code, codeOf)
	out.Then = func(tx *runtime.Tx) {
		m := g.byID[r.MemberID]
		s.hear(tx, g, m, m.session)
	}
	return out
}
