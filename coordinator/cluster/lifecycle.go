package cluster

import (
	"context"
	"path/filepath"

	"go.etcd.io/etcd/client/pkg/v3/fileutil"
	"go.uber.org/zap"
)

// enter joins a caller's context with the Cluster's life, which ends with ErrClosed or with why the embedded etcd broke. end has to be called
// when the operation is over.
func (c *Cluster) enter(ctx context.Context) (_ context.Context, end func(), err error) {
	if c.ctx.Err() != nil {
		return nil, nil, context.Cause(c.ctx)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(c.ctx, func() { cancel(context.Cause(c.ctx)) })
	return ctx, func() { stop(); cancel(nil) }, nil
}

// enterSwap is enter for what one caller does at a time.
func (c *Cluster) enterSwap(ctx context.Context) (_ context.Context, end func(), err error) {
	ctx, leave, err := c.enter(ctx)
	if err != nil {
		return nil, nil, err
	}
	select {
	case c.swaps <- struct{}{}:
		return ctx, func() { <-c.swaps; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, nil, context.Cause(ctx)
	}
}

// Close leaves the cluster: it ends what is under way, gives up the office and the registration, and stops an embedded etcd. ctx bounds the
// farewell; without it the lease runs out by itself.
func (c *Cluster) Close(ctx context.Context) error {
	c.closeOnce.Do(func() {
		c.halt(ErrClosed)
		for _, fn := range c.unregister {
			fn()
		}
		if lease := c.session.leave(); lease != 0 && c.Err() == nil {
			if err := c.store.Revoke(ctx, lease); err != nil {
				c.log.Warn("registration left to run out", zap.Error(err))
			}
		}
		c.closeErr = c.store.Close()
	})
	return c.closeErr
}

// halt ends all goroutines of the Cluster and waits for them.
func (c *Cluster) halt(why error) {
	c.cancel(why)
	c.tasks.Wait()
}

// failWithStore ends everything when the embedded etcd broke.
func (c *Cluster) failWithStore() {
	select {
	case <-c.Failed():
		c.log.Error("metadata store failed", zap.Error(c.Err()))
		c.cancel(c.Err())
	case <-c.ctx.Done():
	}
}

func errorFields(key string, err error) []zap.Field {
	return []zap.Field{zap.String("key", key), zap.Error(err)}
}

// embeddedExists reports whether an embedded etcd ran on dir before.
func embeddedExists(dir string) bool { return fileutil.Exist(filepath.Join(dir, "member", "wal")) }
