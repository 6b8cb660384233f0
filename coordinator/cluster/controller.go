package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"go.uber.org/zap"
)

// errGuard says that the condition under which a change was made does not hold any more: for the controller, that it was replaced.
var errGuard = errors.New("guard does not hold")

// Controller decides for the cluster while this broker holds the office: it places replicas, makes and removes topics, and gives partitions new
// leaders when brokers come and go. It keeps nothing that a successor could not read back.
//
// One change of topics is under way at a time: the desk. Whoever holds it may do I/O.
type Controller struct {
	store  Store
	prefix keys
	view   *view
	who    *session
	limits limits
	log    *zap.Logger

	desk chan struct{} // a lock that can be given up waiting for
	wake chan struct{} // tells run that the desk is free again

	// Guarded by the desk.
	office  int64    // the epoch under which the office was taken over completely; 0 = not
	unsure  bool     // a transaction got no answer: it may still come about under this epoch
	written int64    // the newest revision of a change made here
	settled []Broker // the brokers of the image that was settled last

	elections atomic.Int64 // leaders chosen, for metrics
}

type limits struct{ batch, topic, cluster, replicas int }

func newController(o Options, store Store, v *view, s *session) *Controller {
	return &Controller{store: store, prefix: keys(o.Prefix), view: v, who: s, log: o.Log,
		limits: limits{batch: o.PartitionsPerBatch, topic: o.PartitionsPerTopic, cluster: o.PartitionsInCluster, replicas: o.MaxReplicas},
		desk:   make(chan struct{}, 1), wake: make(chan struct{}, 1)}
}

// run reacts to brokers that come and go, to a vacant office and to orphans, until ctx ends.
func (c *Controller) run(ctx context.Context) {
	retry := retryFirst
	for {
		changed := c.view.Changed()
		err := c.step(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil || errors.Is(err, ErrNotController) {
			retry = retryFirst
			select {
			case <-changed:
			case <-c.wake:
			case <-ctx.Done():
				return
			}
			continue
		}
		c.log.Warn("controller's work failed, trying again", zap.Duration("after", retry), zap.Error(err))
		pause(ctx, retry)
		retry = min(2*retry, retryMost)
	}
}

// step does what the newest image asks for. It costs little when that is nothing.
func (c *Controller) step(ctx context.Context) error {
	im := c.view.Image()
	if im.ControllerID == NoLeader {
		return c.campaign(ctx)
	}
	if im.ControllerID != c.who.id {
		return nil
	}
	if err := c.sit(ctx); err != nil {
		return err
	}
	defer c.leaveDesk()
	if !c.due(c.view.Image()) {
		return nil
	}
	return c.checked(ctx, func() error { return errors.Join(c.settle(ctx), c.sweep(ctx)) })
}

// due reports whether brokers changed since the last settling, or partition keys lie about that no topic counts.
func (c *Controller) due(im *Image) bool {
	return c.view.hasLoose() || !slices.EqualFunc(im.Brokers, c.settled, func(a, b Broker) bool { return a.ID == b.ID && a.Epoch == b.Epoch })
}

// campaign takes the vacant office, if this broker is registered and alive.
func (c *Controller) campaign(ctx context.Context) error {
	if !c.who.Active() {
		return nil
	}
	registered := Cond{Key: c.prefix.broker(c.who.id), Revision: c.who.epoch.Load()}
	res, err := c.store.Txn(ctx, Txn{
		If:   []Cond{registered, {Key: c.prefix.controller()}},
		Then: []Op{c.who.candidacy(LeaseID(c.who.lease.Load()))},
	})
	if errors.Is(err, ErrLeaseGone) {
		return nil // the session will register again, and stand again
	}
	if err != nil {
		return fmt.Errorf("campaign: %w", err)
	}
	if res.Done {
		c.log.Info("elected controller", zap.Int32("broker", c.who.id), zap.Int64("epoch", res.Revision))
	}
	return nil
}

// sit takes the desk for the holder of the office: after it, the image shows all that this and earlier controllers did, leaders are settled
// and no orphans are left. ErrNotController when the office is another's. Whoever sat down has to rise.
func (c *Controller) sit(ctx context.Context) error {
	select {
	case c.desk <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := c.takeOffice(ctx); err != nil {
		c.leaveDesk()
		return err
	}
	return nil
}

func (c *Controller) leaveDesk() { <-c.desk }

// rise frees the desk, and has run look at what is left to do.
func (c *Controller) rise() {
	c.leaveDesk()
	select {
	case c.wake <- struct{}{}:
	default: // one is enough
	}
}

func (c *Controller) takeOffice(ctx context.Context) error {
	if c.unsure {
		if err := c.renewOffice(ctx); err != nil {
			return err
		}
	}
	im, err := c.view.awaitRevision(ctx, c.written)
	if err != nil {
		return err
	}
	if im.ControllerID != c.who.id {
		c.office = 0
		return ErrNotController
	}
	if c.office == im.ControllerEpoch {
		return nil
	}
	c.office = im.ControllerEpoch
	if err := c.checked(ctx, func() error { return errors.Join(c.settle(ctx), c.sweep(ctx)) }); err != nil {
		c.office = 0
		return err
	}
	return nil
}

// renewOffice takes the office anew, so that a transaction of the old epoch that got no answer can come about no more.
func (c *Controller) renewOffice(ctx context.Context) error {
	office, err := get(ctx, c.store, c.prefix.controller())
	if err != nil {
		return err
	}
	var r controllerRecord
	if office.ModRevision == 0 || decode(office.Value, &r) != nil || r.Incarnation != c.who.record.Incarnation {
		c.unsure, c.office = false, 0 // somebody else's, or vacant: the old epoch is over either way
		return ErrNotController
	}
	res, err := c.store.Txn(ctx, Txn{
		If:   []Cond{{Key: office.Key, Revision: office.ModRevision}},
		Then: []Op{c.who.candidacy(office.Lease)},
	})
	if err != nil {
		return err
	}
	if !res.Done {
		return ErrNotController
	}
	c.unsure, c.office, c.written = false, 0, res.Revision
	return nil
}

// checked runs a change at the desk and draws the consequences of how it failed.
func (c *Controller) checked(ctx context.Context, change func() error) error {
	err := change()
	switch {
	case errors.Is(err, errGuard):
		c.office = 0
		return fmt.Errorf("%w: %w", ErrNotController, err)
	case errors.Is(err, ErrUnavailable) || err != nil && ctx.Err() != nil:
		c.unsure = true
	}
	return err
}

// writer makes changes that hold only while this office does.
func (c *Controller) writer() writer {
	return writer{store: c.store, prefix: c.prefix, guard: []Cond{c.inOffice()}}
}

func (c *Controller) inOffice() Cond { return Cond{Key: c.prefix.controller(), Revision: c.office} }

// wrote notes a change and waits until the image shows it.
func (c *Controller) wrote(ctx context.Context, revision int64) (*Image, error) {
	c.written = max(c.written, revision)
	return c.view.awaitRevision(ctx, c.written)
}

// settle gives every partition the leader and in-sync set that the registered brokers ask for.
func (c *Controller) settle(ctx context.Context) error {
	im := c.view.Image()
	alive := aliveIn(im)
	decide := func(p Partition) (Partition, bool) { return settle(p, alive) }
	refs := affected(im, decide)
	if len(refs) > 0 {
		revision, err := c.writer().rewrite(ctx, refs, decide)
		c.written = max(c.written, revision)
		if err != nil {
			return fmt.Errorf("settle leaders of %d partitions: %w", len(refs), err)
		}
		if _, err := c.wrote(ctx, revision); err != nil {
			return err
		}
		c.elections.Add(int64(len(refs)))
		c.log.Info("partitions settled after brokers came or went", zap.Int("partitions", len(refs)), zap.Int("brokers", len(im.Brokers)))
	}
	c.settled = im.Brokers
	return nil
}

// sweep removes partition keys that no topic counts. At the desk, with all changes made here shown, they are what a failed change left.
func (c *Controller) sweep(ctx context.Context) error {
	if !c.view.hasLoose() {
		return nil
	}
	var ops []Op
	for _, ref := range c.view.loose() {
		ops = append(ops, Op{Key: c.prefix.partition(ref.id, ref.n), Delete: true})
	}
	revision, err := c.writer().perform(ctx, ops)
	c.written = max(c.written, revision)
	if err != nil {
		return fmt.Errorf("remove %d orphaned partition keys: %w", len(ops), err)
	}
	c.log.Info("orphaned partition keys removed", zap.Int("keys", len(ops)))
	_, err = c.wrote(ctx, revision)
	return err
}
