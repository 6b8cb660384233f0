package group

import (
	"maps"
	"slices"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// shareGroup is a share group as the log has it. It does not change once it is shown: a decision changes a draft, the records
// are what differs, and when they are in the log the draft takes the group's place.
type shareGroup struct {
	id    string
	epoch int32 // grows with every change of members, subscriptions or what is known of their topics
	hash  int64 // of the topics that members subscribe to, see topicsHash; 0: none
	// assigned is the epoch that the members' targets were made for, at a time in ms.
	assigned   int32
	assignedAt int64
	members    map[string]*shareMember
	states     shareStates
	changed    bool // of a draft: its states are its own

	*shareWork // shared with the drafts
}

// shareMember is a member. It does not change.
type shareMember struct {
	id         string
	rack       *string
	clientID   string
	clientHost string
	topics     []string // subscribed, sorted

	target          []topicPartitions // what it is to have
	epoch, previous int32             // of what it has, and the epoch before
	current         []topicPartitions // what it has
}

// shareWork is what is not in the log of a share group.
type shareWork struct {
	revision int64     // of the metadata that was looked at last; -1: look again
	run      *stateRun // under way
	// waiting is called when the states are as they should be, or that takes too long. They hand their answers to the tx.
	waiting  []func(tx *runtime.Tx, g *shareGroup)
	failures int // runs that failed since one did not
}

// maxWaiting bounds the answers held back in one group; beyond it they are given at once.
const maxWaiting = 1000

// shareGroupEpoch is that of a group that nothing happened to yet, as in Kafka.
const shareGroupEpoch = 1

func newShareGroup(id string) *shareGroup {
	return &shareGroup{
		id: id, epoch: shareGroupEpoch, assigned: shareGroupEpoch,
		members: map[string]*shareMember{}, states: shareStates{}, shareWork: &shareWork{revision: -1},
	}
}

// draft is a copy to be changed. Its states are still those of the group: see change.
func (g *shareGroup) draft() *shareGroup {
	d := *g
	d.members, d.changed = maps.Clone(g.members), false
	return &d
}

// change is the states of a draft, to be changed.
func (d *shareGroup) change() shareStates {
	if !d.changed {
		d.states, d.changed = d.states.clone(), true
	}
	return d.states
}

// state is the group's in Kafka's answers.
func (g *shareGroup) state() string {
	if len(g.members) == 0 {
		return shareEmpty
	}
	return shareStableName
}

// idle tells whether the group needs no place in memory.
func (g *shareGroup) idle() bool {
	return len(g.members) == 0 && g.run == nil && len(g.waiting) == 0 && !g.states.pending()
}

func (g *shareGroup) sorted() []string { return slices.Sorted(maps.Keys(g.members)) }

// records is what takes a group, nil for a new one, to its draft. The order is Kafka's.
func (d *shareGroup) records(g *shareGroup) []runtime.Record {
	var all []runtime.Record
	set := func(key, value []byte) { all = append(all, runtime.Record{Key: key, Value: value}) }
	was := map[string]*shareMember{}
	if g != nil {
		was = g.members
	}
	for _, id := range slices.Sorted(maps.Keys(was)) {
		if d.members[id] == nil {
			for _, kind := range []uint16{typeShareCurrent, typeShareGiven, typeShareMember} {
				set(shareMemberKey(kind, d.id, id), nil)
			}
		}
	}
	members := d.sorted()
	for _, id := range members {
		if m, old := d.members[id], was[id]; old == nil || !m.describes(old) {
			set(shareMemberKey(typeShareMember, d.id, id), m.appendValue(nil))
		}
	}
	if g == nil || g.epoch != d.epoch || g.hash != d.hash {
		set(appendShareKey(nil, typeShareGroup, d.id), shareGroupValue(d.epoch, d.hash))
	}
	for _, id := range members {
		if m, old := d.members[id], was[id]; old == nil || !sameAssignment(m.target, old.target) {
			set(shareMemberKey(typeShareGiven, d.id, id), shareTargetMemberValue(m.target))
		}
	}
	if g == nil || g.assigned != d.assigned || g.assignedAt != d.assignedAt {
		set(appendShareKey(nil, typeShareTarget, d.id), shareTargetValue(d.assigned, d.assignedAt))
	}
	for _, id := range members {
		if m, old := d.members[id], was[id]; old == nil || m.epoch != old.epoch || m.previous != old.previous || !sameAssignment(m.current, old.current) {
			set(shareMemberKey(typeShareCurrent, d.id, id), shareCurrentValue(m.epoch, m.previous, m.current))
		}
	}
	if d.changed {
		set(appendShareKey(nil, typeShareStates, d.id), d.states.value().append(nil))
	}
	return all
}

// tombstones deletes all records of a group without members.
func (g *shareGroup) tombstones() []runtime.Record {
	return []runtime.Record{
		{Key: appendShareKey(nil, typeShareTarget, g.id)},
		{Key: appendShareKey(nil, typeShareStates, g.id)},
		{Key: appendShareKey(nil, typeShareGroup, g.id)},
	}
}

// describes tells whether a member's metadata, of which its record is, are the same.
func (m *shareMember) describes(o *shareMember) bool {
	return m == o || sameText(m.rack, o.rack) && m.clientID == o.clientID && m.clientHost == o.clientHost && slices.Equal(m.topics, o.topics)
}

func sameText(a, b *string) bool { return a == b || a != nil && b != nil && *a == *b }

func sameAssignment(a, b []topicPartitions) bool {
	return slices.EqualFunc(a, b, func(x, y topicPartitions) bool { return x.topic == y.topic && slices.Equal(x.partitions, y.partitions) })
}

// normalise puts an assignment, as another broker may have written it, in order.
func normalise(a []topicPartitions) []topicPartitions {
	byTopic := map[uuid.ID][]int32{}
	for _, t := range a {
		byTopic[t.topic] = union(byTopic[t.topic], t.partitions)
	}
	var out []topicPartitions
	for _, id := range slices.SortedFunc(maps.Keys(byTopic), compareID) {
		if len(byTopic[id]) > 0 {
			out = append(out, topicPartitions{id, byTopic[id]})
		}
	}
	return out
}

// adoptShare keeps a share group in memory, in place of what it was, or lets it go if its rows say all there is.
func (s *machine) adoptShare(g *shareGroup) {
	g.changed = false
	if g.idle() {
		delete(s.shares, g.id)
		return
	}
	s.shares[g.id] = g
}
