package group

import (
	"encoding/binary"
	"hash/fnv"
	"maps"
	"slices"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// knownTopic is a topic that a group subscribes to and that exists.
type knownTopic struct {
	name       string
	id         uuid.ID
	partitions int32
}

// known looks up topics by name; those that do not exist are left out.
func known(topics Topics, names []string) []knownTopic {
	var all []knownTopic
	for _, name := range names {
		if id, n, ok := topics.Topic(name); ok && n > 0 {
			all = append(all, knownTopic{name, id, n})
		}
	}
	return all
}

// topicsHash tells one set of topics and partitions from another; 0 is the empty one. Kafka keeps a hash of its own in the same
// place: a coordinator that does not know the one it finds looks at the topics again.
func topicsHash(all []knownTopic) int64 {
	if len(all) == 0 {
		return 0
	}
	h := fnv.New64a()
	for _, t := range all {
		h.Write(t.id[:])
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(t.partitions)))
	}
	return int64(h.Sum64())
}

// assigner gives the partitions of topics to the members that subscribe to them, as Kafka's simple assignor means it:
//
//   - every partition has a member, and every member a partition, as far as it subscribes to any
//   - where more members than partitions subscribe to the same, each partition is shared by as many as it takes
//   - members have as many partitions as others, give or take one, as far as subscriptions allow
//   - what a member has it keeps, as far as that is so
//
// It is deterministic. Its costs are the partitions times the members that may have them.
type assigner struct {
	members []string // sorted
	able    map[uuid.ID][]int
	parts   []assignedPartition // by topic and number
	load    []int               // partitions of each member
}

type assignedPartition struct {
	topic     uuid.ID
	partition int32
	holders   []int // indexes of members
}

// assign makes new targets for the members of a group's draft.
func (d *shareGroup) assign(all []knownTopic) {
	a := newAssigner(d, all)
	share := a.sharers()
	for i := range a.parts {
		a.trim(&a.parts[i], share)
	}
	for i := range a.parts {
		for p := &a.parts[i]; len(p.holders) < share && a.give(p); {
		}
	}
	a.balance()
	a.cover()
	for id, target := range a.targets() {
		if m := d.members[id]; !sameAssignment(m.target, target) {
			changed := *m
			changed.target = target
			d.members[id] = &changed
		}
	}
}

// newAssigner begins with what the members have of the topics they subscribe to.
func newAssigner(d *shareGroup, all []knownTopic) *assigner {
	a := &assigner{members: d.sorted(), able: map[uuid.ID][]int{}}
	a.load = make([]int, len(a.members))
	slices.SortFunc(all, func(x, y knownTopic) int { return compareID(x.id, y.id) })
	byName := make(map[string]uuid.ID, len(all))
	at := make(map[uuid.ID]int, len(all)) // where a topic's partitions begin
	size := make(map[uuid.ID]int32, len(all))
	for _, t := range all {
		byName[t.name], at[t.id], size[t.id] = t.id, len(a.parts), t.partitions
		for p := range t.partitions {
			a.parts = append(a.parts, assignedPartition{topic: t.id, partition: p})
		}
	}
	for i, id := range a.members {
		m := d.members[id]
		able := map[uuid.ID]bool{}
		for _, name := range m.topics {
			if topic, ok := byName[name]; ok && !able[topic] {
				able[topic] = true
				a.able[topic] = append(a.able[topic], i)
			}
		}
		for _, had := range m.target {
			for _, p := range had.partitions {
				if able[had.topic] && p >= 0 && p < size[had.topic] {
					a.hold(&a.parts[at[had.topic]+int(p)], i)
				}
			}
		}
	}
	a.parts = slices.DeleteFunc(a.parts, func(p assignedPartition) bool { return len(a.able[p.topic]) == 0 })
	return a
}

// sharers is how many members have each partition at least, and unless that leaves a member with none.
func (a *assigner) sharers() int {
	for _, able := range a.able {
		if len(able) != len(a.members) {
			return 1
		}
	}
	if len(a.parts) == 0 {
		return 1
	}
	return (len(a.members) + len(a.parts) - 1) / len(a.parts)
}

func (a *assigner) hold(p *assignedPartition, member int) {
	p.holders = append(p.holders, member)
	a.load[member]++
}

func (a *assigner) release(p *assignedPartition, member int) {
	p.holders = slices.DeleteFunc(p.holders, func(h int) bool { return h == member })
	a.load[member]--
}

// trim leaves a partition to so many members, taking it from those that have most.
func (a *assigner) trim(p *assignedPartition, share int) {
	for len(p.holders) > share {
		a.release(p, slices.MaxFunc(p.holders, func(x, y int) int { return a.load[x] - a.load[y] }))
	}
}

// least is the member with the fewest partitions among those that may have p and do not; -1 if there is none.
func (a *assigner) least(p *assignedPartition) int {
	best := -1
	for _, m := range a.able[p.topic] {
		if (best < 0 || a.load[m] < a.load[best]) && !slices.Contains(p.holders, m) {
			best = m
		}
	}
	return best
}

func (a *assigner) give(p *assignedPartition) bool {
	m := a.least(p)
	if m >= 0 {
		a.hold(p, m)
	}
	return m >= 0
}

// cover gives members that have nothing a share in the partition that the fewest have.
func (a *assigner) cover() {
	for m, load := range a.load {
		if load > 0 {
			continue
		}
		var best *assignedPartition
		for i := range a.parts {
			p := &a.parts[i]
			if _, able := slices.BinarySearch(a.able[p.topic], m); able && (best == nil || len(p.holders) < len(best.holders)) {
				best = p
			}
		}
		if best != nil {
			a.hold(best, m)
		}
	}
}

// balance moves partitions from members with more to members with at least two fewer, until none can be moved. Those with more
// than their part come first, so that no more is moved than has to be.
func (a *assigner) balance() {
	total := 0
	for _, load := range a.load {
		total += load
	}
	if len(a.members) > 0 {
		a.even((total + len(a.members) - 1) / len(a.members))
	}
	a.even(0)
}

// even is balance for members with more than so many partitions.
func (a *assigner) even(above int) {
	for moved := true; moved; {
		moved = false
		for i := range a.parts {
			p := &a.parts[i]
			most := slices.MaxFunc(p.holders, func(x, y int) int { return a.load[x] - a.load[y] })
			if a.load[most] <= above {
				continue
			}
			if to := a.least(p); to >= 0 && a.load[most]-a.load[to] >= 2 {
				a.release(p, most)
				a.hold(p, to)
				moved = true
			}
		}
	}
}

func (a *assigner) targets() map[string][]topicPartitions {
	targets := make(map[string][]topicPartitions, len(a.members))
	for _, id := range a.members {
		targets[id] = nil
	}
	for i := range a.parts {
		p := &a.parts[i]
		for _, m := range p.holders {
			target := targets[a.members[m]]
			if n := len(target); n == 0 || target[n-1].topic != p.topic {
				target = append(target, topicPartitions{topic: p.topic})
			}
			last := &target[len(target)-1]
			last.partitions = append(last.partitions, p.partition)
			targets[a.members[m]] = target
		}
	}
	return targets
}

// subscribedNames is what members may have, for a decision that looks at the metadata.
func (d *shareGroup) subscribedNames() []string {
	all := map[string]bool{}
	for _, m := range d.members {
		for _, t := range m.topics {
			all[t] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}
