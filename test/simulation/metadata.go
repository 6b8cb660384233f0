package simulation

import (
	"context"
	"sync"
	"time"

	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// cable is a life's way to the cluster's metadata, which outlives it. It can be cut at a transaction: then the disk is cut as well,
// because it is the broker that dies.
type cable struct {
	cluster.Store
	die func()

	mu   sync.Mutex
	dead bool     // guarded by mu
	left int64    // guarded by mu; transactions until the cut, which is the last of them; 0: there is none
	when vfs.When // guarded by mu
}

// cutAt makes the n-th transaction from now the one at which the broker dies: before it, or after it and without its answer.
func (c *cable) cutAt(n int64, when vfs.When) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left, c.when = n, when
}

// cut has nothing reach the metadata from now on.
func (c *cable) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dead = true
}

func (c *cable) check() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return cluster.ErrUnavailable
	}
	return nil
}

// Txn counts.
func (c *cable) Txn(ctx context.Context, t cluster.Txn) (cluster.TxnResult, error) {
	c.mu.Lock()
	dead, last := c.dead, false
	if !dead && c.left > 0 {
		c.left--
		last = c.left == 0
		c.dead = last
	}
	when := c.when
	c.mu.Unlock()
	switch {
	case dead:
		return cluster.TxnResult{}, cluster.ErrUnavailable
	case last:
		c.die()
		if when == vfs.AfterSync {
			_, _ = c.Store.Txn(ctx, t)
		}
		return cluster.TxnResult{}, cluster.ErrUnavailable
	}
	return c.Store.Txn(ctx, t)
}

// Range implements cluster.Store.
func (c *cable) Range(ctx context.Context, r cluster.Range) (cluster.RangeResult, error) {
	if err := c.check(); err != nil {
		return cluster.RangeResult{}, err
	}
	return c.Store.Range(ctx, r)
}

// KeepAlive implements cluster.Store.
func (c *cable) KeepAlive(ctx context.Context, id cluster.LeaseID) (time.Duration, error) {
	if err := c.check(); err != nil {
		return 0, err
	}
	return c.Store.KeepAlive(ctx, id)
}

// Revoke implements cluster.Store.
func (c *cable) Revoke(ctx context.Context, id cluster.LeaseID) error {
	if err := c.check(); err != nil {
		return err
	}
	return c.Store.Revoke(ctx, id)
}

// Close leaves the metadata as it is.
func (c *cable) Close() error { return nil }
