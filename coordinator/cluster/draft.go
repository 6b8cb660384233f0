package cluster

import (
	"encoding/binary"
	"iter"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// aside is what the store holds and no image shows: partition keys that no topic key counts (of a creation under way, or orphans), and topic
// keys whose partitions are not all there. Its owner is the view.
type aside struct {
	loose   map[uuid.ID]map[int32]Partition
	waiting map[uuid.ID]waitingTopic
	unread  map[string]bool    // topics whose keys cannot be read: nobody knows which partition keys they count
	slices  map[string][]int32 // replica lists, each kept once
}

type waitingTopic struct {
	name     string
	record   topicRecord
	revision int64
}

func newAside() *aside {
	return &aside{loose: map[uuid.ID]map[int32]Partition{}, waiting: map[uuid.ID]waitingTopic{}, unread: map[string]bool{}, slices: map[string][]int32{}}
}

func (a *aside) keep(id uuid.ID, n int32, p Partition) {
	of := a.loose[id]
	if of == nil {
		of = map[int32]Partition{}
		a.loose[id] = of
	}
	of[n] = p
}

func (a *aside) drop(id uuid.ID, n int32) {
	delete(a.loose[id], n)
	if len(a.loose[id]) == 0 {
		delete(a.loose, id)
	}
}

// orphans yields the loose partition keys that surely no topic key counts.
func (a *aside) orphans() iter.Seq2[uuid.ID, map[int32]Partition] {
	return func(yield func(uuid.ID, map[int32]Partition) bool) {
		if len(a.unread) > 0 {
			return
		}
		for id, parts := range a.loose {
			if _, counted := a.waiting[id]; !counted && !yield(id, parts) {
				return
			}
		}
	}
}

// hides reports whether there are topics that no image shows.
func (a *aside) hides() bool { return len(a.waiting) > 0 || len(a.unread) > 0 }

// maxSharedLists bounds aside.slices.
const maxSharedLists = 4096

// share gives a slice equal to ids that many partitions use together: a cluster has few distinct replica lists.
func (a *aside) share(ids []int32) []int32 {
	var buf [64]byte
	key := buf[:0]
	for _, id := range ids {
		key = binary.LittleEndian.AppendUint32(key, uint32(id))
	}
	if shared, found := a.slices[string(key)]; found {
		return shared
	}
	if len(a.slices) >= maxSharedLists {
		clear(a.slices)
	}
	own := slices.Clip(slices.Clone(ids))
	a.slices[string(key)] = own
	return own
}

// draft is the next image while events are applied to it. One goroutine uses it, until finish.
type draft struct {
	im     *Image
	owner  *owner
	mine   map[uuid.ID]*Topic // topics this draft has copied and may change
	aside  *aside
	prefix keys
	bulk   bool // a whole load: names are ordered once, at the end
	log    *zap.Logger
}

func newDraft(from *Image, a *aside, prefix keys, log *zap.Logger) *draft {
	im := *from
	return &draft{im: &im, owner: new(owner), mine: map[uuid.ID]*Topic{}, aside: a, prefix: prefix, log: log}
}

// apply takes one change. A value that cannot be read counts as absent, but no topic counts as deleted for it, nor its partitions as orphans.
func (d *draft) apply(e *Event) {
	d.im.Revision = max(d.im.Revision, e.ModRevision)
	name, ours := strings.CutPrefix(e.Key, string(d.prefix))
	if !ours {
		return
	}
	if err := d.applyNamed(name, e); err != nil {
		d.log.Error("metadata key ignored", zap.String("key", e.Key), zap.Int64("revision", e.ModRevision), zap.Error(err))
	}
}

func (d *draft) applyNamed(name string, e *Event) error {
	if rest, found := strings.CutPrefix(name, partitionsDir); found {
		return d.applyPartition(rest, e)
	}
	if rest, found := strings.CutPrefix(name, topicsDir); found {
		return d.applyTopic(rest, e)
	}
	if rest, found := strings.CutPrefix(name, configsDir); found {
		return d.applyConfig(rest, e)
	}
	if rest, found := strings.CutPrefix(name, documentsDir); found {
		return d.applyDocument(rest, e)
	}
	if rest, found := strings.CutPrefix(name, brokersDir); found {
		return d.applyBroker(rest, e)
	}
	switch name {
	case controllerName:
		return d.applyController(e)
	case featuresName:
		return d.applyFeatures(e)
	case clusterName:
		return d.applyCluster(e)
	}
	return nil // producer ids, and what later versions keep here, are not part of the image
}

func (d *draft) applyCluster(e *Event) error {
	if e.Deleted {
		return nil // the identity stays: nothing good can follow from losing it
	}
	var r clusterRecord
	err := decode(e.Value, &r)
	if err == nil && r.ID != "" {
		d.im.ClusterID = r.ID
	}
	return err
}

func (d *draft) applyFeatures(e *Event) (err error) {
	d.im.Features = nil
	if !e.Deleted {
		d.im.Features, err = decodeFeatures(e.Value)
	}
	return err
}

func (d *draft) applyController(e *Event) error {
	d.im.ControllerID, d.im.ControllerEpoch = NoLeader, e.ModRevision
	if e.Deleted {
		return nil
	}
	var r controllerRecord
	if err := decode(e.Value, &r); err != nil {
		return err
	}
	d.im.ControllerID = r.Broker
	return nil
}

func (d *draft) applyBroker(rest string, e *Event) error {
	id, ok := parseID(rest)
	if !ok {
		return errMalformed
	}
	at, found := slices.BinarySearchFunc(d.im.Brokers, id, func(b Broker, id int32) int { return int(b.ID) - int(id) })
	brokers := slices.Clone(d.im.Brokers)
	if found {
		brokers = slices.Delete(brokers, at, at+1)
	}
	d.im.Brokers = brokers
	if e.Deleted {
		return nil
	}
	var r brokerRecord
	if err := decode(e.Value, &r); err != nil {
		return err
	}
	d.im.Brokers = slices.Insert(brokers, at, Broker{ID: id, Rack: r.Rack, Listeners: r.Listeners, Epoch: e.ModRevision,
		Incarnation: r.Incarnation, Directory: r.Directory})
	return nil
}

func (d *draft) applyConfig(rest string, e *Event) error {
	key, ok := parseConfigKey(rest)
	if !ok {
		return errMalformed
	}
	if e.Deleted {
		d.im.configs.Delete(d.owner, key)
		return nil
	}
	values, err := decodeConfigs(e.Value)
	if err != nil {
		d.im.configs.Delete(d.owner, key)
		return err
	}
	d.im.configs.Set(d.owner, key, &configSet{values: values, revision: e.ModRevision})
	return nil
}
