package cluster

import (
	"context"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// DeleteTopics removes topics with their configs, several in one transaction where they fit: the topic key first, so that the topic is gone at
// once, then what is left of its partition keys. The answers are in the order of ids; ErrUnknownTopic for one that is not there.
func (c *Controller) DeleteTopics(ctx context.Context, ids []uuid.ID) []error {
	out := make([]error, len(ids))
	if err := c.sit(ctx); err != nil {
		return allErrors(out, err)
	}
	defer c.rise()
	im := c.view.Image()
	var changes []change
	planned := map[uuid.ID]bool{}
	for i, id := range ids {
		t := im.TopicByID(id)
		if t == nil || planned[id] {
			out[i] = refuse(ErrUnknownTopic, "This server does not host this topic ID.")
			continue
		}
		planned[id] = true
		ch := c.deletion(t)
		ch.at = i
		changes = append(changes, ch)
	}
	_, err := c.commit(ctx, changes)
	for i := range changes {
		out[changes[i].at] = changes[i].err
		if changes[i].err == nil {
			out[changes[i].at] = err
		}
	}
	return out
}

func allErrors(out []error, err error) []error {
	for i := range out {
		out[i] = err
	}
	return out
}

func (c *Controller) deletion(t *Topic) change {
	key := c.prefix.topic(t.Name)
	ops := make([]Op, 0, len(t.Partitions)+2)
	ops = append(ops, Op{Key: key, Delete: true}, Op{Key: c.prefix.config("topic", t.Name), Delete: true})
	for n := range t.Partitions {
		ops = append(ops, Op{Key: c.prefix.partition(t.ID, int32(n)), Delete: true})
	}
	ch := change{conds: []Cond{{Key: key, Revision: t.revision}}, ops: ops}
	if len(ops) > MaxTxnOps {
		ch.ops, ch.later = ops[:MaxTxnOps], ops[MaxTxnOps:]
	}
	return ch
}
