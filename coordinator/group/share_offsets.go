package group

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
	"github.com/tidemark-mq/tidemark/coordinator/share"
)

// Messages of Kafka's, for what is the same in more than one place.
const (
	notHosted  = "This server does not host this topic-partition."
	notEmpty   = "The group is not empty."
	notDeleted = "There is no offset information to delete."
)

// maxTries is how often a request waits for another change of the same group's states.
const maxTries = 3

// shareAdmin is a change of a share group's states that somebody asked for: alter or delete offsets, delete the group.
type shareAdmin struct {
	group string
	tries int
	again func()                    // ask once more: another change was under way
	fail  func(*kerr.Error, string) // the whole request
}

func (a *shareAdmin) refuse(code *kerr.Error, message string) runtime.Outcome {
	return runtime.Outcome{Reply: func(err error) {
		if err != nil {
			code, message = codeOf(err), ""
		}
		a.fail(code, message)
	}}
}

// mayChange is the group whose states are to be changed, or the outcome if they must not be. The group is nil if there is none.
func (s *machine) mayChange(v runtime.View, a *shareAdmin) (*shareGroup, *runtime.Outcome) {
	g, err := s.findShare(v, a.group)
	var code *kerr.Error
	var message string
	switch {
	case err != nil:
		code = codeOf(err)
	case g == nil:
		switch classic, err := s.find(v, a.group); {
		case err != nil:
			code = codeOf(err)
		case classic != nil:
			code, message = kerr.GroupIDNotFound, notShare(a.group)
		case s.crowded():
			code = kerr.CoordinatorNotAvailable
		}
	case len(g.members) > 0:
		code, message = kerr.NonEmptyGroup, notEmpty
	case g.run != nil && (a.tries >= maxTries || len(g.waiting) >= maxWaiting):
		code = kerr.CoordinatorLoadInProgress
	case g.run != nil:
		a.tries++
		return nil, &runtime.Outcome{Then: func(tx *runtime.Tx) {
			s.await(tx, g, func(tx *runtime.Tx, _ *shareGroup) {
				tx.Reply(func(err error) {
					if err != nil {
						a.fail(codeOf(err), "")
						return
					}
					a.again()
				})
			})
		}}
	case s.shares[g.id] == nil && s.crowded():
		code = kerr.CoordinatorNotAvailable
	}
	if code != nil {
		out := a.refuse(code, message)
		return nil, &out
	}
	return g, nil
}

// change writes a draft of g, nil if it is new, and begins a run. A group that was there goes on in a new epoch: its states of
// before are of an older one from then on, so that what leaders still write for them is fenced. A new group has none, and is in
// the first epoch, as in Kafka.
func (s *machine) change(g, d *shareGroup, run *stateRun, a *shareAdmin) runtime.Outcome {
	if g != nil {
		d.epoch++
		d.assigned, d.assignedAt = d.epoch, 0
	}
	run.group, run.epoch = d.id, d.epoch
	return runtime.Outcome{
		Records: d.records(g),
		Then: func(tx *runtime.Tx) {
			s.begin(tx, d, run)
			s.adoptShare(d)
		},
		Refused: func(tx *runtime.Tx, err error) {
			tx.Reply(func(error) { a.fail(codeOf(err), "") })
		},
	}
}

// alterShareOffsets decides an AlterShareGroupOffsets request. A group that is not there is made.
func (s *machine) alterShareOffsets(v runtime.View, r *kmsg.AlterShareGroupOffsetsRequest, a *shareAdmin, done func(*kmsg.AlterShareGroupOffsetsResponse)) runtime.Outcome {
	g, refused := s.mayChange(v, a)
	if refused != nil {
		return *refused
	}
	d := newShareGroup(a.group)
	if g != nil {
		d = g.draft()
	}
	answer := kmsg.NewPtrAlterShareGroupOffsetsResponse()
	starts := map[share.Key]int64{} // of a partition named twice the last
	var order []share.Key
	for _, t := range r.Topics {
		topic := kmsg.NewAlterShareGroupOffsetsResponseTopic()
		topic.Topic = t.Topic
		id, partitions, there := s.topics.Topic(t.Topic)
		if there {
			topic.TopicID = id
		}
		for _, p := range t.Partitions {
			out := kmsg.NewAlterShareGroupOffsetsResponseTopicPartition()
			out.Partition = p.Partition
			k := share.Key{Group: a.group, Topic: id, Partition: p.Partition}
			switch states := d.states[id]; {
			case !there || p.Partition < 0 || p.Partition >= partitions:
				out.ErrorCode, out.ErrorMessage = kerr.UnknownTopicOrPartition.Code, kmsg.StringPtr(notHosted)
			case states != nil && states.deleting:
				out.ErrorCode = kerr.CoordinatorNotAvailable.Code
			default:
				if _, named := starts[k]; !named {
					order = append(order, k)
					d.change().begin(id, t.Topic, []int32{p.Partition})
				}
				starts[k] = max(p.StartOffset, -1)
			}
			topic.Partitions = append(topic.Partitions, out)
		}
		answer.Topics = append(answer.Topics, topic)
	}
	if len(order) == 0 {
		return runtime.Outcome{Reply: func(error) { done(answer) }}
	}
	run := new(stateRun)
	for _, k := range order {
		run.inits = append(run.inits, stateInit{Key: k, start: starts[k]})
	}
	run.done = func(err error) {
		if err != nil {
			a.fail(stateCode(err), "")
			return
		}
		for i := range answer.Topics {
			t := &answer.Topics[i]
			for j := range t.Partitions {
				p := &t.Partitions[j]
				if err := run.errs[share.Key{Group: a.group, Topic: t.TopicID, Partition: p.Partition}]; err != nil {
					p.ErrorCode = stateCode(err).Code
				}
			}
		}
		done(answer)
	}
	return s.change(g, d, run, a)
}

// deleteShareOffsets decides a DeleteShareGroupOffsets request.
func (s *machine) deleteShareOffsets(v runtime.View, r *kmsg.DeleteShareGroupOffsetsRequest, a *shareAdmin, done func(*kmsg.DeleteShareGroupOffsetsResponse)) runtime.Outcome {
	g, refused := s.mayChange(v, a)
	if refused != nil {
		return *refused
	}
	if g == nil {
		return a.refuse(kerr.GroupIDNotFound, fmt.Sprintf("Group %s not found.", a.group))
	}
	d := g.draft()
	answer := kmsg.NewPtrDeleteShareGroupOffsetsResponse()
	run := new(stateRun)
	for _, t := range r.Topics {
		topic := kmsg.NewDeleteShareGroupOffsetsResponseTopic()
		topic.Topic = t.Topic
		id, _, there := s.topics.Topic(t.Topic)
		switch states := g.states[id]; {
		case !there:
			topic.ErrorCode, topic.ErrorMessage = kerr.UnknownTopicOrPartition.Code, kmsg.StringPtr(notHosted)
		case states == nil || states.deleting:
			topic.ErrorCode, topic.ErrorMessage = kerr.UnknownTopicOrPartition.Code, kmsg.StringPtr(notDeleted)
		default:
			topic.TopicID = id
			d.change().end(id)
		}
		answer.Topics = append(answer.Topics, topic)
	}
	if !d.changed {
		return runtime.Outcome{Reply: func(error) { done(answer) }}
	}
	_, run.deletes = d.states.todo(d.id, s.partitionsOf)
	run.done = func(err error) {
		if err != nil {
			a.fail(stateCode(err), "")
			return
		}
		for i := range answer.Topics {
			for k, err := range run.errs {
				if t := &answer.Topics[i]; k.Topic == t.TopicID {
					t.ErrorCode = stateCode(err).Code
				}
			}
		}
		done(answer)
	}
	return s.change(g, d, run, a)
}

// deleteShareGroup decides the deletion of a share group: its states, and then the group. Who asks is told by a.fail, without
// a code when the group is gone.
func (s *machine) deleteShareGroup(v runtime.View, a *shareAdmin) runtime.Outcome {
	g, refused := s.mayChange(v, a)
	if refused != nil {
		return *refused
	}
	if g == nil {
		return a.refuse(kerr.GroupIDNotFound, "")
	}
	over := func(err error) {
		if err != nil {
			a.fail(stateCode(err), "")
			return
		}
		a.fail(nil, "")
	}
	if len(g.states) == 0 {
		return runtime.Outcome{Records: g.tombstones(), Reply: over, Then: func(tx *runtime.Tx) {
			s.releaseShare(tx, g)
			delete(s.shares, g.id)
		}}
	}
	d := g.draft()
	for id := range g.states {
		d.change().end(id)
	}
	run := &stateRun{last: true, done: over}
	_, run.deletes = d.states.todo(d.id, s.partitionsOf)
	return s.change(g, d, run, a)
}

// stateCode is what a client is told of a change of states that failed. Where the share coordinator is, and that it loads, is
// the broker's business.
func stateCode(err error) *kerr.Error {
	if errors.Is(err, errNotEmpty) {
		return kerr.NonEmptyGroup
	}
	code := codeOf(err)
	if known := (*kerr.Error)(nil); errors.As(err, &known) {
		code = known
	}
	if code == kerr.NotCoordinator || code == kerr.CoordinatorLoadInProgress {
		return kerr.CoordinatorNotAvailable
	}
	return code
}
