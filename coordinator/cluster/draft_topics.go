package cluster

import (
	"errors"
	"maps"
	"slices"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// errCounted says that a partition key was removed under a topic that counts it. Nothing here does that.
var errCounted = errors.New("partition of an existing topic removed by a stranger")

func (d *draft) applyPartition(rest string, e *Event) error {
	id, n, ok := parsePartitionKey(rest)
	if !ok {
		return errMalformed
	}
	t := d.im.TopicByID(id)
	counted := t != nil && int(n) < len(t.Partitions)
	if e.Deleted {
		if counted {
			return errCounted // shown as it was: better than dropping a log for a slip of somebody's hand
		}
		d.aside.drop(id, n)
		return nil
	}
	r, err := decodePartition(e.Value)
	if err != nil {
		return err
	}
	p := Partition{Leader: r.Leader, LeaderEpoch: r.LeaderEpoch, PartitionEpoch: r.PartitionEpoch,
		Replicas: d.aside.share(r.Replicas), ISR: d.aside.share(r.ISR), Revision: e.ModRevision}
	if counted {
		d.own(t).Partitions[n] = p
		return nil
	}
	d.aside.keep(id, n, p)
	if _, waits := d.aside.waiting[id]; waits {
		d.show(id)
	}
	return nil
}

func (d *draft) applyTopic(name string, e *Event) error {
	delete(d.aside.unread, name)
	if e.Deleted {
		d.hide(name)
		return nil
	}
	err := d.applyTopicValue(name, e)
	if err != nil {
		d.aside.unread[name] = true
	}
	return err
}

func (d *draft) applyTopicValue(name string, e *Event) error {
	if err := ValidateTopicName(name); err != nil {
		return err // names become directories
	}
	r, err := decodeTopic(e.Value)
	if err != nil {
		return err
	}
	if other := d.im.TopicByID(r.ID); other != nil && other.Name != name {
		return errMalformed // two names for one id
	}
	if was := d.im.Topic(name); was != nil && was.ID != r.ID {
		d.hide(name)
	}
	d.aside.waiting[r.ID] = waitingTopic{name: name, record: r, revision: e.ModRevision}
	d.show(r.ID)
	return nil
}

// show makes a waiting topic what its key says, if all its partitions are there. The count is believed only as far as partition keys back it.
func (d *draft) show(id uuid.ID) {
	w, loose := d.aside.waiting[id], d.aside.loose[id]
	var had []Partition
	if t := d.im.TopicByID(id); t != nil {
		had = t.Partitions
	}
	count := int(w.record.Partitions)
	if count-len(had) > len(loose) {
		return
	}
	for n := len(had); n < count; n++ {
		if _, there := loose[int32(n)]; !there {
			return
		}
	}
	parts := slices.Grow(slices.Clone(had[:min(len(had), count)]), max(count-len(had), 0))
	for n := len(had); n < count; n++ {
		parts = append(parts, loose[int32(n)])
		d.aside.drop(id, int32(n))
	}
	for n := count; n < len(had); n++ {
		d.aside.keep(id, int32(n), had[n])
	}
	delete(d.aside.waiting, id)
	d.put(&Topic{Name: w.name, ID: id, Internal: IsInternal(w.name), Partitions: parts, revision: w.revision})
}

// put enters a topic that this draft made.
func (d *draft) put(t *Topic) {
	was := d.im.TopicByID(t.ID)
	if was == nil {
		if !d.bulk {
			d.im.names = d.im.names.with(t.Name)
		}
		if foldable(t.Name) {
			d.im.folded.Set(d.owner, fold(t.Name), t.Name)
		}
	} else {
		d.im.partitions -= len(was.Partitions)
	}
	d.im.partitions += len(t.Partitions)
	d.mine[t.ID] = t
	d.im.byName.Set(d.owner, t.Name, t)
	d.im.byID.Set(d.owner, t.ID, t)
}

// own gives the draft's own copy of a topic.
func (d *draft) own(t *Topic) *Topic {
	if mine := d.mine[t.ID]; mine != nil {
		return mine
	}
	clone := *t
	clone.Partitions = slices.Clone(t.Partitions)
	d.put(&clone)
	return &clone
}

// hide takes a topic away. Its partition keys are loose until they are removed too.
func (d *draft) hide(name string) {
	for id, w := range d.aside.waiting {
		if w.name == name {
			delete(d.aside.waiting, id)
		}
	}
	t := d.im.Topic(name)
	if t == nil {
		return
	}
	for n, p := range t.Partitions {
		d.aside.keep(t.ID, int32(n), p)
	}
	delete(d.mine, t.ID)
	d.im.byName.Delete(d.owner, name)
	d.im.byID.Delete(d.owner, t.ID)
	d.im.names = d.im.names.without(name)
	d.im.partitions -= len(t.Partitions)
	if is, _ := d.im.folded.Get(fold(name)); is == name {
		d.im.folded.Delete(d.owner, fold(name))
	}
}

// finishLoad ends a draft that began empty: it orders the names and, so that callers see by pointer what did not change, takes over from old
// what is the same there.
func (d *draft) finishLoad(old *Image) *Image {
	names := make([]string, 0, d.im.byName.Len())
	var same []*Topic
	for name, t := range d.im.byName.All() {
		names = append(names, name)
		if was := old.TopicByID(t.ID); was != nil && sameTopic(was, t) {
			same = append(same, was)
		}
	}
	slices.Sort(names)
	d.im.names = newOrder(names)
	for _, t := range same {
		d.im.byName.Set(d.owner, t.Name, t)
		d.im.byID.Set(d.owner, t.ID, t)
	}
	for key, was := range old.configs.All() {
		if is, found := d.im.configs.Get(key); found && is.revision == was.revision {
			d.im.configs.Set(d.owner, key, was)
		}
	}
	d.im.documentKeys = newOrder(d.finishDocuments(old))
	for _, w := range d.aside.waiting {
		d.log.Error("topic not shown: partitions are missing", zap.String("topic", w.name), zap.Stringer("id", w.record.ID))
	}
	d.keepHidden(old)
	return d.im
}

// keepHidden goes on showing, as it was, what old shows and this load could not read.
func (d *draft) keepHidden(old *Image) {
	names := slices.Collect(maps.Keys(d.aside.unread))
	for _, w := range d.aside.waiting {
		names = append(names, w.name)
	}
	d.bulk = false
	for _, name := range names {
		if was := old.Topic(name); was != nil && d.im.Topic(name) == nil {
			d.put(was)
			delete(d.mine, was.ID) // it is the old image's too
			delete(d.aside.waiting, was.ID)
			delete(d.aside.loose, was.ID)
		}
	}
}

func sameTopic(a, b *Topic) bool {
	return a.Name == b.Name && a.revision == b.revision && slices.EqualFunc(a.Partitions, b.Partitions,
		func(p, q Partition) bool { return p.Revision == q.Revision })
}
