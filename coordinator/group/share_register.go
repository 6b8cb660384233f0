package group

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// registerShare decides that a share group reads topics, whether it has members or not. done is told when the topics' states
// are initialised.
func (s *machine) registerShare(v runtime.View, group string, topics []uuid.ID, done func(error)) runtime.Outcome {
	refuse := func(code error) runtime.Outcome {
		return answered(done, code, func(err error) error { return codeOf(err) })
	}
	g, err := s.findShare(v, group)
	if err != nil {
		return refuse(codeOf(err))
	}
	d := newShareGroup(group)
	if g != nil {
		d = g.draft()
	} else if classic, err := s.find(v, group); err != nil {
		return refuse(codeOf(err))
	} else if classic != nil {
		return refuse(fmt.Errorf("%s %w", notShare(group), kerr.GroupIDNotFound))
	}
	if s.shares[group] == nil && s.crowded() || len(d.waiting) >= maxWaiting {
		return refuse(kerr.CoordinatorNotAvailable)
	}
	for _, id := range topics {
		name, partitions, ok := s.topics.TopicByID(id)
		if !ok {
			return refuse(fmt.Errorf("topic %s: %w", id, kerr.UnknownTopicID))
		}
		if missing := d.states.lacks(id, partitions); missing != nil {
			d.change().begin(id, name, missing)
		}
	}
	out := runtime.Outcome{Records: d.records(g)}
	if !d.states.pending() {
		out.Reply = refuse(nil).Reply
	}
	out.Then = func(tx *runtime.Tx) {
		if d.states.pending() {
			s.await(tx, d, func(tx *runtime.Tx, g *shareGroup) {
				reply(tx, done, g.reads(topics), func(err error) error { return codeOf(err) })
			})
		}
		s.adoptShare(d)
		s.startRun(tx, d)
	}
	out.Refused = func(tx *runtime.Tx, err error) {
		if out.Reply == nil {
			tx.Reply(func(error) { done(codeOf(err)) })
		}
	}
	return out
}

// reads tells whether the topics' states are there.
func (g *shareGroup) reads(topics []uuid.ID) error {
	for _, id := range topics {
		if t := g.states[id]; t == nil || t.deleting || len(t.initializing) > 0 {
			return fmt.Errorf("states of topic %s are not initialised yet: %w", id, kerr.CoordinatorNotAvailable)
		}
	}
	return nil
}
