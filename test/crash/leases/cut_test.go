package leases

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scenario prepares a world, and answers what is cut anywhere and what must hold after a restart, whatever was cut. run returns when
// all that it asked for is answered, or was refused; what goes on by itself afterwards is cut as well.
type scenario func(w *world) (run, check func())

// fate is what a cut leaves of the disk, and what becomes of the restart.
type fate struct {
	name string
	left func(c *vfs.Crash, seed uint64) *vfs.Crash
	// again cuts the restart as well, at a sync point of its own.
	again bool
}

var fates = []fate{
	{name: "power", left: (*vfs.Crash).PowerCut},
	{name: "kill", left: func(c *vfs.Crash, _ uint64) *vfs.Crash { return c.Kill() }},
	{name: "all lost", left: func(c *vfs.Crash, _ uint64) *vfs.Crash { return c.PowerCutAll() }},
	{name: "restart cut", left: (*vfs.Crash).PowerCut, again: true},
}

// cutting is where one run of a scenario is cut.
type cutting struct {
	at       int64
	when     vfs.When
	metadata bool // at a transaction of the metadata, not at a sync point
	fate     fate
}

func (c cutting) String() string {
	where := "sync"
	if c.metadata {
		where = "transaction"
	}
	return fmt.Sprintf("%s=%d/%s/%s", where, c.at, map[vfs.When]string{vfs.BeforeSync: "before", vfs.AfterSync: "after"}[c.when], c.fate.name)
}

func (c cutting) seed() uint64 { return uint64(c.at)*2 + uint64(c.when) }

// cutAtSyncs cuts a scenario at every sync point, before and after it took effect, until one comes to its end. least is how many
// sync points there must have been for the script to mean anything.
func cutAtSyncs(t *testing.T, least int64, s scenario) { cutEverywhere(t, least, false, s) }

// cutAtTransactions cuts a scenario at every transaction of the metadata, before it and before its answer.
func cutAtTransactions(t *testing.T, least int64, s scenario) { cutEverywhere(t, least, true, s) }

func cutEverywhere(t *testing.T, least int64, metadata bool, s scenario) {
	step := int64(1)
	if testing.Short() {
		step = 4
	}
	for _, when := range []vfs.When{vfs.BeforeSync, vfs.AfterSync} {
		places := int64(0)
		for at, over := 1+int64(when), false; !over && !t.Failed(); at += step {
			for i, f := range fates {
				if metadata && (f.name == "all lost" || f.name == "kill") || testing.Short() && at/step%int64(len(fates)) != int64(i) {
					continue
				}
				c := cutting{at: at, when: when, metadata: metadata, fate: f}
				t.Run(c.String(), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { over = !cutOnce(t, c, s) || over }) })
			}
			places = at - 1
		}
		if places < least && !t.Failed() {
			t.Errorf("there are %d places to cut, and should be at least %d", places, least)
		}
		t.Logf("%d places to cut", places)
	}
}

// cutOnce answers whether the cut came before everything was done.
func cutOnce(t *testing.T, c cutting, s scenario) bool {
	w := newWorld(t)
	defer func() { w.end() }()
	run, check := s(w)
	synctest.Wait()
	if c.metadata {
		w.cable.cutAt(c.at, c.when)
	} else {
		w.disk.CutAt(w.disk.Ops()+c.at, c.when)
	}
	run()
	time.Sleep(time.Second) // what goes on by itself
	cut := w.disk.IsCut()
	w.crash(c)
	check()
	return cut
}

// crash ends the life and begins another.
func (w *world) crash(c cutting) {
	w.t.Helper()
	rnd := rand.New(rand.NewPCG(c.seed(), 7))
	w.disk.Cut()
	next := c.fate.left(w.disk, c.seed())
	w.close(false)
	w.disk = next
	if c.fate.again {
		w.disk.CutAt(w.disk.Ops()+1+rnd.Int64N(8), vfs.When(rnd.IntN(2)))
		err := w.start()
		if err == nil {
			time.Sleep(time.Duration(rnd.Int64N(int64(100 * time.Millisecond))))
		} else if !w.disk.IsCut() {
			w.t.Fatalf("a start that nothing disturbs: %v", err)
		}
		w.disk.Cut()
		next = w.disk.PowerCut(rnd.Uint64())
		w.close(false)
		w.disk = next
	}
	if err := w.start(); err != nil {
		w.t.Fatalf("a start that nothing disturbs: %v", err)
	}
}

// cable is a broker's way to the cluster's metadata, which outlives it. It can be cut at a transaction: then its disk is cut as well,
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
