package cluster

import (
	"context"
	"fmt"
	"slices"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// Proposal is a partition's new state, proposed by its leader: an in-sync set that shrank or grew, or a leader to hand over to.
type Proposal struct {
	Revision int64 // of the partition as the proposer knows it
	Leader   int32 // as it is, or another member of ISR
	ISR      []int32
}

// AlterPartition performs a leader's proposal, if the partition is still as it knows it and this broker still registered. ErrStalePartition
// when not: the image then shows why, and the proposer starts from that. ErrFenced while this broker's lease is not alive, ErrInvalidRequest for a
// proposal that makes no sense.
func (c *Cluster) AlterPartition(ctx context.Context, id uuid.ID, n int32, proposal Proposal) (Partition, error) {
	ctx, end, err := c.enter(ctx)
	if err != nil {
		return Partition{}, err
	}
	defer end()
	if !c.Active() {
		return Partition{}, ErrFenced
	}
	was := c.Image().partition(id, n)
	if was == nil {
		return Partition{}, refuse(ErrUnknownPartition, "This server does not host this topic-partition.")
	}
	if was.Revision != proposal.Revision {
		return Partition{}, fmt.Errorf("partition %v-%d at revision %d, proposed on %d: %w", id, n, was.Revision, proposal.Revision, ErrStalePartition)
	}
	if err := proposal.check(was); err != nil {
		return Partition{}, err
	}
	next, changed := was.with(proposal.Leader, slices.Clone(proposal.ISR))
	if !changed {
		return *was, nil
	}
	w := writer{store: c.store, prefix: c.prefix, guard: []Cond{{Key: c.prefix.broker(c.session.id), Revision: c.session.epoch.Load()}}}
	txn := Txn{If: w.guard}
	w.add(&txn, id, n, next)
	res, err := c.store.Txn(ctx, txn)
	if err != nil {
		return Partition{}, fmt.Errorf("partition %v-%d: %w", id, n, err)
	}
	if !res.Done {
		return Partition{}, c.explainStale(ctx, id, n)
	}
	if _, err := c.view.awaitRevision(ctx, res.Revision); err != nil {
		return Partition{}, err
	}
	next.Revision = res.Revision
	return next, nil
}

// explainStale waits until the image shows what the partition's key holds, so that the proposer does not propose on the old state again.
func (c *Cluster) explainStale(ctx context.Context, id uuid.ID, n int32) error {
	kv, err := get(ctx, c.store, c.prefix.partition(id, n))
	if err != nil {
		return err
	}
	if _, err := c.view.awaitRevision(ctx, kv.ModRevision); err != nil {
		return err
	}
	return fmt.Errorf("partition %v-%d is at revision %d: %w", id, n, kv.ModRevision, ErrStalePartition)
}

func (p *Proposal) check(was *Partition) error {
	if len(p.ISR) == 0 {
		return refuse(ErrInvalidRequest, "The in-sync set may not be empty.")
	}
	for i, id := range p.ISR {
		if !slices.Contains(was.Replicas, id) || slices.Contains(p.ISR[:i], id) {
			return refuse(ErrInvalidRequest, "The in-sync set holds broker %d, which is no replica or is in it twice.", id)
		}
	}
	if p.Leader != NoLeader && !slices.Contains(p.ISR, p.Leader) {
		return refuse(ErrInvalidRequest, "Broker %d cannot lead: it is not in the in-sync set.", p.Leader)
	}
	return nil
}
