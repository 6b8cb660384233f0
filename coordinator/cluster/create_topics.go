package cluster

import (
	"context"
	"fmt"
	"slices"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// change is what one topic's creation or deletion does to the store.
type change struct {
	at    int  // in the caller's list
	first []Op // partition keys that no transaction has room for beside the topic key: written before it when it is made
	conds []Cond
	ops   []Op // with the topic key: what makes it count
	later []Op // partition keys removed after the topic key
	err   error
}

// CreateTopics makes topics, several of them in one transaction where they fit. The answers are in the order of specs.
func (c *Controller) CreateTopics(ctx context.Context, specs []TopicSpec) []TopicResult {
	out := make([]TopicResult, len(specs))
	if err := c.sit(ctx); err != nil {
		return allTopics(out, err)
	}
	defer c.rise()
	im := c.view.Image()
	ids, changes, err := c.planTopics(im, specs, out)
	if err != nil {
		return allTopics(out, err)
	}
	im, err = c.commit(ctx, changes)
	for i := range changes {
		ch := &changes[i]
		if ch.err == nil {
			ch.err = err
		}
		out[ch.at].Topic, out[ch.at].Err = nil, ch.err
		if ch.err == nil {
			out[ch.at].Topic = im.TopicByID(ids[ch.at])
		}
	}
	return out
}

func allTopics(out []TopicResult, err error) []TopicResult {
	for i := range out {
		out[i] = TopicResult{Err: err}
	}
	return out
}

// planTopics checks all specs against the image and each other. Refusals and validations go to out, the rest into changes.
func (c *Controller) planTopics(im *Image, specs []TopicSpec, out []TopicResult) ([]uuid.ID, []change, error) {
	total := 0
	for i := range specs {
		total += specs[i].size()
	}
	if total > c.limits.batch {
		return nil, nil, refuse(ErrTooManyPartitions, "Excessively large number of partitions per request.")
	}
	ids := make([]uuid.ID, len(specs))
	planned := map[string]string{} // fold(name) -> name
	room := c.limits.cluster - im.NumPartitions()
	var changes []change
	for i := range specs {
		spec := &specs[i]
		ids[i] = uuid.New()
		replicas, err := c.planTopic(im, spec, ids[i], planned, room)
		switch {
		case err != nil:
			out[i].Err = err
			continue
		case spec.ValidateOnly:
			out[i].Topic = preview(spec.Name, replicas)
			continue
		}
		planned[fold(spec.Name)] = spec.Name
		room -= len(replicas)
		ch, err := c.creation(spec, ids[i], replicas)
		if err != nil {
			out[i].Err = err
			continue
		}
		ch.at = i
		changes = append(changes, ch)
	}
	return ids, changes, nil
}

func (c *Controller) planTopic(im *Image, spec *TopicSpec, id uuid.ID, planned map[string]string, room int) ([][]int32, error) {
	if err := checkName(im, spec.Name); err != nil {
		return nil, err
	}
	if other, taken := planned[fold(spec.Name)]; taken && other == spec.Name {
		return nil, errExists(spec.Name)
	} else if taken {
		return nil, errCollides(spec.Name, other)
	}
	replicas, err := spec.layout(im, id, c.limits.topic)
	if err != nil {
		return nil, err
	}
	for _, r := range replicas {
		if len(r) > c.limits.replicas {
			return nil, refuse(ErrReplicationFactor, "Unable to replicate the partition %d time(s): this broker does not replicate yet, "+
				"so at most %d can be asked for.", len(r), c.limits.replicas)
		}
	}
	return replicas, c.checkRoom(len(replicas), room)
}

func (c *Controller) checkRoom(partitions, room int) error {
	if partitions > room {
		return refuse(ErrTooManyPartitions, "The cluster may have at most %d partitions, which %d more would exceed.", c.limits.cluster, partitions)
	}
	return nil
}

// preview is a topic as it would be.
func preview(name string, replicas [][]int32) *Topic {
	t := &Topic{Name: name, Internal: IsInternal(name)}
	for _, r := range replicas {
		p := newPartition(r)
		t.Partitions = append(t.Partitions, Partition{Leader: p.Leader, Replicas: p.Replicas, ISR: p.ISR})
	}
	return t
}

// creation turns a checked spec into what has to be written.
func (c *Controller) creation(spec *TopicSpec, id uuid.ID, replicas [][]int32) (change, error) {
	key := c.prefix.topic(spec.Name)
	ch := change{conds: []Cond{{Key: key}}}
	topic := []Op{{Key: key, Value: encode(topicRecord{ID: id, Partitions: int32(len(replicas))})}}
	if len(spec.Configs) > 0 {
		value, err := encodeConfigs(spec.Configs)
		if err != nil {
			return change{}, err
		}
		topic = append(topic, Op{Key: c.prefix.config("topic", spec.Name), Value: value})
	}
	partitions := c.partitionOps(id, 0, replicas)
	if fits := MaxTxnOps - len(topic); len(partitions) > fits {
		ch.first, partitions = partitions[fits:], partitions[:fits]
	}
	ch.ops = slices.Concat(partitions, topic)
	return ch, nil
}

func (c *Controller) partitionOps(id uuid.ID, first int, replicas [][]int32) []Op {
	ops := make([]Op, len(replicas))
	for i, r := range replicas {
		ops[i] = Op{Key: c.prefix.partition(id, int32(first+i)), Value: encode(newPartition(r))}
	}
	return ops
}

// commit performs changes and waits until the image shows them. Each change has its own error; the one answered is for all that have none.
func (c *Controller) commit(ctx context.Context, changes []change) (*Image, error) {
	ready := make([]*change, 0, len(changes))
	for i := range changes {
		ch := &changes[i]
		if len(ch.first) > 0 {
			ch.err = c.write(ctx, ch.first)
		}
		if ch.err == nil {
			ready = append(ready, ch)
		}
	}
	for _, group := range pack(ready) {
		c.commitGroup(ctx, group)
	}
	if im, err := c.wrote(ctx, 0); err != nil {
		return im, c.checked(ctx, func() error { return err })
	}
	for _, ch := range ready {
		if ch.err == nil && len(ch.later) > 0 {
			if err := c.write(ctx, ch.later); err != nil {
				c.log.Warn("partition keys of a deleted topic are left to the next sweep", zap.Error(err))
			}
		}
	}
	im, err := c.wrote(ctx, 0)
	return im, c.checked(ctx, func() error { return err })
}

// write performs operations in as many transactions as they take.
func (c *Controller) write(ctx context.Context, ops []Op) error {
	return c.checked(ctx, func() error {
		revision, err := c.writer().perform(ctx, ops)
		c.written = max(c.written, revision)
		return err
	})
}

// maxTxnBytes is how much a transaction of several changes holds at most: a default etcd refuses requests of 1.5 MiB and more. A single change
// stays below that by itself: its largest part is a config set (maxConfigValue).
const maxTxnBytes = 1 << 20

// pack groups changes so that each group fits into one transaction.
func pack(changes []*change) [][]*change {
	var groups [][]*change
	ops, conds, bytes := 0, 0, 0 // room left in the last group
	for _, ch := range changes {
		size := ch.size()
		if len(ch.ops) > ops || len(ch.conds) > conds || size > bytes {
			groups = append(groups, nil)
			ops, conds, bytes = MaxTxnOps, MaxTxnOps-1, maxTxnBytes // one condition is the guard
		}
		last := len(groups) - 1
		groups[last] = append(groups[last], ch)
		ops, conds, bytes = ops-len(ch.ops), conds-len(ch.conds), bytes-size
	}
	return groups
}

func (ch *change) size() (bytes int) {
	for i := range ch.ops {
		bytes += len(ch.ops[i].Key) + len(ch.ops[i].Value)
	}
	return bytes
}

// commitGroup performs a group in one transaction; if its conditions do not hold, each change alone.
func (c *Controller) commitGroup(ctx context.Context, group []*change) {
	txn := Txn{If: []Cond{c.inOffice()}}
	for _, ch := range group {
		txn.If = append(txn.If, ch.conds...)
		txn.Then = append(txn.Then, ch.ops...)
	}
	res, err := c.store.Txn(ctx, txn)
	if err == nil && !res.Done {
		if len(group) > 1 {
			for _, ch := range group {
				c.commitGroup(ctx, []*change{ch})
			}
			return
		}
		if err = c.writer().checkGuard(ctx); err == nil {
			err = fmt.Errorf("%s: %w", group[0].conds[0].Key, ErrConflict)
		}
	}
	if err == nil {
		c.written = max(c.written, res.Revision)
	}
	err = c.checked(ctx, func() error { return err })
	for _, ch := range group {
		ch.err = err
	}
}
