package group

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// Names of share groups' type, states and assignor in Kafka's answers.
const (
	shareType       = "share"
	shareEmpty      = "Empty"
	shareStableName = "Stable"
	simpleAssignor  = "simple"
)

// describeShare answers for one share group; explain: of one that is not there it says what there is of that name. It waits for what it saw to be committed.
func (s *machine) describeShare(v runtime.View, id string, explain bool, done func(kmsg.ShareGroupDescribeResponseGroup)) runtime.Outcome {
	later := func(err error) kmsg.ShareGroupDescribeResponseGroup { return shareNotDescribed(id, codeOf(err), "") }
	g, err := s.findShare(v, id)
	if err != nil {
		return answered(done, later(err), later)
	}
	if g == nil {
		message := fmt.Sprintf("Group %s not found.", id)
		if explain {
			if classic, err := s.find(v, id); err == nil && classic != nil {
				message = notShare(id)
			}
		}
		if tooLong(message) {
			message = "Group not found."
		}
		return answered(done, shareNotDescribed(id, kerr.GroupIDNotFound, message), later)
	}
	answer := kmsg.NewShareGroupDescribeResponseGroup()
	answer.GroupID, answer.GroupState, answer.Assignor = id, g.state(), simpleAssignor
	answer.GroupEpoch, answer.AssignmentEpoch = g.epoch, g.assigned
	for _, id := range g.sorted() {
		m := g.members[id]
		told := kmsg.NewShareGroupDescribeResponseGroupMember()
		told.MemberID, told.RackID, told.MemberEpoch = m.id, m.rack, m.epoch
		told.ClientID, told.ClientHost, told.SubscribedTopicNames = m.clientID, m.clientHost, m.topics
		for _, t := range m.current {
			name, _, ok := s.topics.TopicByID(t.topic)
			if !ok {
				continue
			}
			p := kmsg.NewShareGroupDescribeResponseGroupMemberAssignmentTopicPartition()
			p.TopicID, p.Topic, p.Partitions = t.topic, name, t.partitions
			told.Assignment.TopicPartitions = append(told.Assignment.TopicPartitions, p)
		}
		answer.Members = append(answer.Members, told)
	}
	return answered(done, answer, later)
}

func shareNotDescribed(id string, code *kerr.Error, message string) kmsg.ShareGroupDescribeResponseGroup {
	answer := kmsg.NewShareGroupDescribeResponseGroup()
	answer.GroupID, answer.ErrorCode = id, code.Code
	if message != "" {
		answer.ErrorMessage = &message
	}
	return answer
}

// listShares adds the share groups of a table that are not in memory: they have no members.
func listShares(r runtime.Reader, all map[string]listing) error {
	for _, kind := range []byte{typeShareGroup, typeShareStates} {
		err := r.Scan([]byte{0, kind}, nil, func(key, _ []byte) bool {
			name, _, ok := decodeShareKey(key)
			if _, known := all[name]; ok && !known {
				all[name] = listing{id: name, protocolType: shareType, state: shareEmpty, kind: shareType}
			}
			return true
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// readTopics is the topics that a share group reads, with the partitions that have a state, as they are committed.
func readTopics(r runtime.Reader, group string) (map[uuid.ID][]int32, error) {
	value, ok, err := r.Get(appendShareKey(nil, typeShareStates, group))
	if err != nil || !ok {
		return nil, err
	}
	v, err := decodeShareStates(value)
	if err != nil {
		return nil, fmt.Errorf("states of share group %q: %w", group, err)
	}
	all := map[uuid.ID][]int32{}
	for id, t := range statesOf(v) {
		if !t.deleting {
			all[id] = slices.Clone(t.initialized)
		}
	}
	return all, nil
}
