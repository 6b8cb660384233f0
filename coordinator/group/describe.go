package group

import (
	"bytes"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
)

// describeNotFound is the DescribeGroups version from which on a group that is not there
// has an error (KIP-1043).
const describeNotFound = 6

// describe answers for one group. It waits for what it saw to be committed.
func (s *machine) describe(v runtime.View, version int16, id string, done func(kmsg.DescribeGroupsResponseGroup)) runtime.Outcome {
	later := func(err error) kmsg.DescribeGroupsResponseGroup { return describeFailed(id, codeOf(err)) }
	g, err := s.find(v, id)
	if err != nil {
		return answered(done, describeFailed(id, codeOf(err)), later)
	}
	answer := kmsg.NewDescribeGroupsResponseGroup()
	answer.Group = id
	if g == nil {
		answer.State = dead
		if version >= describeNotFound {
			message := "Group " + id + " not found."
			if is, err := s.isShare(v, id); err == nil && is {
				message = "Group " + id + " is not a classic group."
			}
			if tooLong(message) {
				message = "Group not found."
			}
			answer.ErrorCode, answer.ErrorMessage = kerr.GroupIDNotFound.Code, &message
		}
		return answered(done, answer, later)
	}
	answer.State, answer.ProtocolType = g.phase.String(), g.protocolType
	if g.phase == stable {
		answer.Protocol = g.protocol
	}
	for _, m := range g.members {
		told := kmsg.NewDescribeGroupsResponseGroupMember()
		told.MemberID, told.InstanceID = m.id, m.instance
		told.ClientID, told.ClientHost = m.clientID, m.clientHost
		told.MemberAssignment = m.assignment
		if g.phase == stable {
			told.ProtocolMetadata, _ = m.metadata(g.protocol)
		}
		answer.Members = append(answer.Members, told)
	}
	return answered(done, answer, later)
}

func describeFailed(id string, code *kerr.Error) kmsg.DescribeGroupsResponseGroup {
	answer := kmsg.NewDescribeGroupsResponseGroup()
	answer.Group, answer.ErrorCode = id, code.Code
	return answer
}

// listing says of a group what ListGroups does.
type listing struct {
	id, protocolType, state, kind string
}

// list tells of the groups in memory; those that are not are in the committed rows
// (listRows) by the time done is called.
func (s *machine) list(done func(map[string]listing, error)) runtime.Outcome {
	all := make(map[string]listing, len(s.groups))
	for id, g := range s.groups {
		all[id] = listing{id, g.protocolType, g.phase.String(), classicType}
	}
	for id, g := range s.shares {
		all[id] = listing{id, shareType, g.state(), shareType}
	}
	return runtime.Outcome{Reply: func(err error) { done(all, err) }}
}

// listRows adds the groups of a table that have neither members nor a place in memory: by
// their records, and by the offsets of simple consumers.
func listRows(r runtime.Reader, all map[string]listing) error {
	err := r.Scan([]byte{0, typeGroup}, nil, func(key, value []byte) bool {
		name, _, ok := readString(key[2:])
		if !ok {
			return true
		}
		if _, known := all[name]; known {
			return true
		}
		l := listing{id: name, state: empty.String(), kind: classicType}
		if v, err := decodeGroupValue(value); err == nil {
			l.protocolType = v.ProtocolType
		}
		all[name] = l
		return true
	})
	if err != nil {
		return err
	}
	if err := listShares(r, all); err != nil {
		return err
	}
	prefix := []byte{0, typeOffset}
	for from := prefix; from != nil; {
		var name string
		found := false
		err := r.Scan(prefix, from, func(key, _ []byte) bool {
			name, _, found = readString(key[2:])
			return false
		})
		if err != nil || !found {
			return err
		}
		if _, known := all[name]; !known {
			all[name] = listing{id: name, state: empty.String(), kind: classicType}
		}
		// The topic's length follows, and never begins with 0xff: past all of the group's.
		from = append(bytes.Clone(appendOffsetPrefix(nil, name)), 0xff)
	}
	return nil
}

// classicType is the type of groups that rebalance by JoinGroup, as type filters have it.
const classicType = "classic"

// wanted applies the filters of a ListGroups request, which ignore case; none lets all
// through.
func (l listing) wanted(states, types []string) bool {
	return among(l.state, states) && among(l.kind, types)
}

func among(name string, filter []string) bool {
	if len(filter) == 0 {
		return true
	}
	for _, f := range filter {
		if strings.EqualFold(f, name) {
			return true
		}
	}
	return false
}
