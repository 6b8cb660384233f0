package cluster

import (
	"context"
	"slices"
)

// PartitionsSpec asks for more partitions of a topic.
type PartitionsSpec struct {
	Topic        string
	Count        int32     // how many there shall be in all
	Assignments  [][]int32 // replicas of each new partition; nil = the controller places them
	ValidateOnly bool
}

// CreatePartitions adds partitions to a topic. With ValidateOnly it answers the topic as it is.
func (c *Controller) CreatePartitions(ctx context.Context, spec PartitionsSpec) (*Topic, error) {
	if err := c.sit(ctx); err != nil {
		return nil, err
	}
	defer c.rise()
	im := c.view.Image()
	t := im.Topic(spec.Topic)
	if t == nil {
		return nil, refuse(ErrUnknownTopic, "This server does not host this topic-partition.")
	}
	replicas, err := c.planPartitions(im, t, spec)
	if err != nil || spec.ValidateOnly {
		return t, err
	}
	changes := []change{c.growth(t, replicas)}
	im, err = c.commit(ctx, changes)
	if changes[0].err != nil {
		err = changes[0].err
	}
	if err != nil {
		return nil, err
	}
	return im.TopicByID(t.ID), nil
}

// planPartitions checks a request by Kafka's rules and answers the replicas of the new partitions.
func (c *Controller) planPartitions(im *Image, t *Topic, spec PartitionsSpec) ([][]int32, error) {
	had, more := len(t.Partitions), int(spec.Count)-len(t.Partitions)
	switch {
	case more == 0:
		return nil, refuse(ErrInvalidPartitions, "Topic already has %d partition(s).", had)
	case more < 0:
		return nil, refuse(ErrInvalidPartitions, "The topic %s currently has %d partition(s); %d would not be an increase.",
			t.Name, had, spec.Count)
	case more > c.limits.batch || int(spec.Count) > c.limits.topic:
		return nil, refuse(ErrTooManyPartitions, "Excessively large number of additional partitions per request.")
	case spec.Assignments != nil && len(spec.Assignments) != more:
		return nil, refuse(ErrInvalidAssignment, "Attempted to add %d additional partition(s), but only %d assignment(s) were specified.",
			more, len(spec.Assignments))
	}
	if err := c.checkRoom(more, c.limits.cluster-im.NumPartitions()); err != nil {
		return nil, err
	}
	factor := len(t.Partitions[0].Replicas)
	if spec.Assignments == nil {
		if err := checkFactor(im, factor); err != nil {
			return nil, err
		}
		return place(im.Brokers, t.ID, had, more, factor), nil
	}
	for _, replicas := range spec.Assignments {
		if err := checkReplicas(im, replicas, factor); err != nil {
			return nil, err
		}
	}
	return spec.Assignments, nil
}

// growth writes the new partition keys, and with or after them the count that makes them count.
func (c *Controller) growth(t *Topic, replicas [][]int32) change {
	key := c.prefix.topic(t.Name)
	count := Op{Key: key, Value: encode(topicRecord{ID: t.ID, Partitions: int32(len(t.Partitions) + len(replicas))})}
	ch := change{conds: []Cond{{Key: key, Revision: t.revision}}}
	ops := c.partitionOps(t.ID, len(t.Partitions), replicas)
	if fits := MaxTxnOps - 1; len(ops) > fits {
		ch.first, ops = ops[fits:], ops[:fits]
	}
	ch.ops = slices.Concat(ops, []Op{count})
	return ch
}
