package cluster

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// inFlight is how many transactions of one large change are under way at a time: etcd syncs those that wait together at once.
const inFlight = 8

// partitionRef is one partition as an image showed it.
type partitionRef struct {
	id uuid.ID
	n  int32
	p  Partition
}

// writer performs large changes as many transactions, each of which holds only while guard does.
type writer struct {
	store  Store
	prefix keys
	guard  []Cond
}

// rewrite changes every listed partition to what decide answers, and gives the revision of the last change (0 = none). A partition that
// changed since the image is read again and decided again; one that was removed is passed over. It may be repeated.
func (w writer) rewrite(ctx context.Context, refs []partitionRef, decide func(Partition) (Partition, bool)) (int64, error) {
	var last atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(inFlight)
	for chunk := range slices.Chunk(refs, MaxTxnOps-len(w.guard)) {
		group.Go(func() error {
			revision, err := w.rewriteChunk(ctx, chunk, decide)
			raise(&last, revision)
			return err
		})
	}
	err := group.Wait()
	return last.Load(), err
}

func (w writer) rewriteChunk(ctx context.Context, refs []partitionRef, decide func(Partition) (Partition, bool)) (int64, error) {
	txn := Txn{If: slices.Clone(w.guard)}
	for _, ref := range refs {
		if p, changed := decide(ref.p); changed {
			w.add(&txn, ref.id, ref.n, p)
		}
	}
	if len(txn.Then) == 0 {
		return 0, nil
	}
	res, err := w.store.Txn(ctx, txn)
	if err != nil || res.Done {
		return res.Revision, err
	}
	var last int64
	for _, ref := range refs { // somebody else changed one of them: each for itself
		revision, err := w.rewriteOne(ctx, ref, decide)
		if last = max(last, revision); err != nil {
			return last, err
		}
	}
	return last, nil
}

func (w writer) rewriteOne(ctx context.Context, ref partitionRef, decide func(Partition) (Partition, bool)) (int64, error) {
	for range casAttempts {
		p, err := readPartition(ctx, w.store, w.prefix, ref.id, ref.n)
		if err != nil {
			return 0, err
		}
		if p == nil {
			return 0, nil
		}
		next, changed := decide(*p)
		if !changed {
			return 0, nil
		}
		txn := Txn{If: slices.Clone(w.guard)}
		w.add(&txn, ref.id, ref.n, next)
		res, err := w.store.Txn(ctx, txn)
		if err != nil || res.Done {
			return res.Revision, err
		}
		if err := w.checkGuard(ctx); err != nil {
			return 0, err
		}
	}
	return 0, fmt.Errorf("partition %v-%d: %w", ref.id, ref.n, ErrConflict)
}

// add puts a partition into a transaction, on the condition that its key is still as p.Revision has it.
func (w writer) add(txn *Txn, id uuid.ID, n int32, p Partition) {
	key := w.prefix.partition(id, n)
	txn.If = append(txn.If, Cond{Key: key, Revision: p.Revision})
	txn.Then = append(txn.Then, Op{Key: key, Value: encode(p.record())})
}

// checkGuard answers errGuard when the guard does not hold any more.
func (w writer) checkGuard(ctx context.Context) error {
	res, err := w.store.Txn(ctx, Txn{If: w.guard})
	if err == nil && !res.Done {
		err = errGuard
	}
	return err
}

// perform does operations on distinct keys in as many transactions as they take.
func (w writer) perform(ctx context.Context, ops []Op) (int64, error) {
	var last atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(inFlight)
	for chunk := range slices.Chunk(ops, MaxTxnOps) {
		group.Go(func() error {
			res, err := w.store.Txn(ctx, Txn{If: w.guard, Then: chunk})
			if err == nil && !res.Done {
				err = errGuard
			}
			if err == nil {
				raise(&last, res.Revision)
			}
			return err
		})
	}
	err := group.Wait()
	return last.Load(), err
}

func raise(to *atomic.Int64, revision int64) {
	for {
		old := to.Load()
		if revision <= old || to.CompareAndSwap(old, revision) {
			return
		}
	}
}

// readPartition reads a partition's key, nil when it does not exist or cannot be read.
func readPartition(ctx context.Context, store Store, prefix keys, id uuid.ID, n int32) (*Partition, error) {
	kv, err := get(ctx, store, prefix.partition(id, n))
	if err != nil || kv.ModRevision == 0 {
		return nil, err
	}
	r, err := decodePartition(kv.Value)
	if err != nil {
		return nil, nil
	}
	return &Partition{Leader: r.Leader, LeaderEpoch: r.LeaderEpoch, PartitionEpoch: r.PartitionEpoch,
		Replicas: r.Replicas, ISR: r.ISR, Revision: kv.ModRevision}, nil
}

// affected lists the partitions that decide would change.
func affected(im *Image, decide func(Partition) (Partition, bool)) []partitionRef {
	var refs []partitionRef
	for _, t := range im.byID.All() {
		for n := range t.Partitions {
			if _, changed := decide(t.Partitions[n]); changed {
				refs = append(refs, partitionRef{id: t.ID, n: int32(n), p: t.Partitions[n]})
			}
		}
	}
	return refs
}
