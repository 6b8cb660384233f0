package group

import (
	"maps"
	"slices"

	"github.com/tidemark-mq/tidemark/coordinator/share"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// shareStates says which partitions a share group has a state for at the share coordinator. A value that a group shows does
// not change: changes are made to a clone.
type shareStates map[uuid.ID]*topicStates

// topicStates is the states of one topic's partitions. Partitions are sorted.
type topicStates struct {
	name         string
	initializing []int32 // decided, and maybe not there yet
	initialized  []int32
	// deleting: the states of the topic are to go. Of which partitions is in initialized, if it is known.
	deleting bool
}

func (s shareStates) clone() shareStates {
	c := make(shareStates, len(s))
	for id, t := range s {
		copied := *t
		c[id] = &copied
	}
	return c
}

// pending tells whether there is something to do.
func (s shareStates) pending() bool {
	for _, t := range s {
		if t.deleting || len(t.initializing) > 0 {
			return true
		}
	}
	return false
}

func (s shareStates) sorted() []uuid.ID {
	return slices.SortedFunc(maps.Keys(s), compareID)
}

func compareID(a, b uuid.ID) int { return slices.Compare(a[:], b[:]) }

// lacks lists the partitions of a topic, which has so many, that have no state. A topic whose states go has none to give.
func (s shareStates) lacks(id uuid.ID, partitions int32) []int32 {
	t := s[id]
	if t == nil {
		t = &topicStates{}
	}
	if t.deleting || len(t.initializing)+len(t.initialized) >= int(partitions) {
		return nil
	}
	var missing []int32
	for p := range partitions {
		if !has(t.initializing, p) && !has(t.initialized, p) {
			missing = append(missing, p)
		}
	}
	return missing
}

// begin has partitions initialised, again if they were.
func (s shareStates) begin(id uuid.ID, name string, partitions []int32) {
	t := s[id]
	if t == nil {
		t = &topicStates{}
		s[id] = t
	}
	t.name = name
	t.initializing = union(t.initializing, partitions)
	t.initialized = without(t.initialized, partitions)
}

// begun notes that partitions are initialised, those that still were to be.
func (s shareStates) begun(id uuid.ID, partitions []int32) {
	if t := s[id]; t != nil && !t.deleting {
		done := slices.DeleteFunc(slices.Clone(partitions), func(p int32) bool { return !has(t.initializing, p) })
		t.initialized = union(t.initialized, done)
		t.initializing = without(t.initializing, done)
	}
}

// end has all states of a topic deleted.
func (s shareStates) end(id uuid.ID) {
	if t := s[id]; t != nil && !t.deleting {
		t.deleting = true
		t.initialized, t.initializing = union(t.initialized, t.initializing), nil
	}
}

// ended notes that they are deleted.
func (s shareStates) ended(id uuid.ID) {
	if t := s[id]; t != nil && t.deleting {
		delete(s, id)
	}
}

// value is the record of the states.
func (s shareStates) value() *statesValue {
	v := new(statesValue)
	for _, id := range s.sorted() {
		t := s[id]
		part := func(p []int32) stateParts { return stateParts{topicPartitions{id, p}, t.name} }
		if t.deleting {
			v.deleting = append(v.deleting, part(nil))
			continue
		}
		if len(t.initializing) > 0 {
			v.initializing = append(v.initializing, part(t.initializing))
		}
		if len(t.initialized) > 0 {
			v.initialized = append(v.initialized, part(t.initialized))
		}
	}
	return v
}

// statesOf is what a record says. A record that names a partition twice, which none of ours does, means it once.
func statesOf(v *statesValue) shareStates {
	s := shareStates{}
	for _, t := range v.initialized {
		s.begin(t.topic, t.name, t.partitions)
		s.begun(t.topic, t.partitions)
	}
	for _, t := range v.initializing {
		s.begin(t.topic, t.name, t.partitions)
	}
	for _, t := range v.deleting {
		s.begin(t.topic, t.name, nil)
		s.end(t.topic)
	}
	return s
}

// todo lists what is to be done about the states. Of topics that are deleted and whose partitions are not known it asks
// partitions for their number.
func (s shareStates) todo(group string, partitions func(uuid.ID) int32) (inits []stateInit, deletes []share.Key) {
	for _, id := range s.sorted() {
		t := s[id]
		for _, p := range t.initializing {
			inits = append(inits, stateInit{Key: share.Key{Group: group, Topic: id, Partition: p}, start: -1, fresh: true})
		}
		if !t.deleting {
			continue
		}
		for p := range max(partitions(id), 0) {
			if !has(t.initialized, p) {
				deletes = append(deletes, share.Key{Group: group, Topic: id, Partition: p})
			}
		}
		for _, p := range t.initialized {
			deletes = append(deletes, share.Key{Group: group, Topic: id, Partition: p})
		}
	}
	return inits, deletes
}

func has(sorted []int32, p int32) bool {
	_, found := slices.BinarySearch(sorted, p)
	return found
}

// union is the sorted numbers of both.
func union(a, b []int32) []int32 {
	all := append(slices.Clone(a), b...)
	slices.Sort(all)
	return slices.Compact(all)
}

// without is those of a, which is sorted, that are not in b.
func without(a, b []int32) []int32 {
	if len(b) == 0 {
		return a
	}
	gone := union(b, nil)
	return slices.DeleteFunc(slices.Clone(a), func(p int32) bool { return has(gone, p) })
}
