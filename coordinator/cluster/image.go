package cluster

import (
	"iter"
	"slices"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// NoLeader is the leader of a partition that has none, and the controller of a cluster that has none.
const NoLeader int32 = -1

// DefaultName is the name, in configs of kind "broker", of what holds for all brokers.
const DefaultName = ""

// Image is the cluster's metadata as of one revision. It never changes: a handler takes it once and answers from it. Nothing reached from
// it, slices and maps included, may be modified. Two images share all that did not change between them, so equal topics are equal pointers.
type Image struct {
	ClusterID       string
	ControllerID    int32            // the broker that is the controller; NoLeader = none
	ControllerEpoch int64            // grows with each election
	Brokers         []Broker         // those registered now, by id
	Features        map[string]int16 // finalized feature levels
	Revision        int64            // of the metadata store: everything up to here is in this image
	Incomplete      bool             // there are topics whose keys cannot be read: what is not here need not be deleted

	byName     trie[string, *Topic]
	byID       trie[uuid.ID, *Topic]
	names      order
	folded     trie[string, string] // fold(name) -> name, of names that '.' or '_' can make collide
	configs    trie[configKey, *configSet]
	partitions int

	documents    trie[string, *Document] // by kind/name
	documentKeys order
}

// Broker is a registered broker: one whose lease is alive.
type Broker struct {
	ID          int32
	Rack        string // "" = none
	Listeners   []Endpoint
	Epoch       int64   // revision of its registration: another one means that it registered again
	Incarnation uuid.ID // of the process
	Directory   uuid.ID // of its data directory; zero = unknown
}

// Topic is one topic with all its partitions, by number.
type Topic struct {
	Name       string
	ID         uuid.ID
	Internal   bool // kept by the brokers for themselves, as __consumer_offsets
	Partitions []Partition

	revision int64 // of the topic key
}

// Partition is the state of one partition.
type Partition struct {
	Leader         int32 // NoLeader = none
	LeaderEpoch    int32 // grows with each choice of a leader
	PartitionEpoch int32 // grows with each change
	Replicas       []int32
	ISR            []int32
	Revision       int64 // of its key: what a Proposal compares
}

type configKey struct{ kind, name string }

type configSet struct {
	values   map[string]string
	revision int64
}

// Topic answers the topic of that name, nil when there is none.
func (im *Image) Topic(name string) *Topic {
	t, _ := im.byName.Get(name)
	return t
}

// TopicByID answers the topic with that id, nil when there is none.
func (im *Image) TopicByID(id uuid.ID) *Topic {
	t, _ := im.byID.Get(id)
	return t
}

// Topics yields all topics by name.
func (im *Image) Topics() iter.Seq[*Topic] { return im.TopicsFrom("") }

// TopicsFrom yields the topics whose names are not less than name, by name.
func (im *Image) TopicsFrom(name string) iter.Seq[*Topic] {
	return func(yield func(*Topic) bool) {
		for n := range im.names.from(name) {
			if !yield(im.Topic(n)) {
				return
			}
		}
	}
}

// NumTopics is the number of topics.
func (im *Image) NumTopics() int { return im.byName.Len() }

// NumPartitions is the number of partitions of all topics.
func (im *Image) NumPartitions() int { return im.partitions }

// Broker answers the registered broker with that id, nil when there is none.
func (im *Image) Broker(id int32) *Broker {
	i, found := slices.BinarySearchFunc(im.Brokers, id, func(b Broker, id int32) int { return int(b.ID) - int(id) })
	if !found {
		return nil
	}
	return &im.Brokers[i]
}

// Config answers what is set on one resource itself, nil when nothing is. Kinds are those of package coordinator/config.
func (im *Image) Config(kind, name string) map[string]string {
	if set, found := im.configs.Get(configKey{kind, name}); found {
		return set.values
	}
	return nil
}

// ConfigNames lists, sorted, the resources of a kind on which something is set. It walks all config sets.
func (im *Image) ConfigNames(kind string) []string {
	var names []string
	for key := range im.configs.All() {
		if key.kind == kind {
			names = append(names, key.name)
		}
	}
	slices.Sort(names)
	return names
}

// Collision answers the existing topic whose name differs from name only in '.' and '_'.
func (im *Image) Collision(name string) (other string, collides bool) {
	other, found := im.folded.Get(fold(name))
	return other, found && other != name
}

// TopicChanges yields the topics that differ between old and im, as (old, new): nil for a topic that is not there. A topic that was deleted
// and made again is yielded as a deletion and a creation. It takes time for the difference, not for the size.
func (im *Image) TopicChanges(old *Image) iter.Seq2[*Topic, *Topic] {
	return func(yield func(*Topic, *Topic) bool) {
		diff(old.byID, im.byID, func(a, b *leaf[uuid.ID, *Topic]) bool {
			was, is := value(a), value(b)
			return was == is || yield(was, is)
		})
	}
}

// ConfigChanges yields the resources (kind, name) whose set differs between old and im.
func (im *Image) ConfigChanges(old *Image) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		diff(old.configs, im.configs, func(a, b *leaf[configKey, *configSet]) bool {
			if value(a) == value(b) {
				return true
			}
			key := configKey{}
			if a != nil {
				key = a.key
			} else {
				key = b.key
			}
			return yield(key.kind, key.name)
		})
	}
}

func value[K comparable, V any](l *leaf[K, *V]) *V {
	if l == nil {
		return nil
	}
	return l.value
}

// partition answers nil when the topic or the partition does not exist.
func (im *Image) partition(id uuid.ID, n int32) *Partition {
	t := im.TopicByID(id)
	if t == nil || n < 0 || int(n) >= len(t.Partitions) {
		return nil
	}
	return &t.Partitions[n]
}
