package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// Cluster is one broker's part in the cluster's metadata. All methods may be called from any goroutine. None may be called, save Image,
// Active and Epoch, from a callback of OnChange or OnFence: it would wait for itself.
type Cluster struct {
	store   Store
	prefix  keys
	log     *zap.Logger
	view    *view
	session *session
	control *Controller

	ctx    context.Context // of everything that runs for this Cluster
	cancel context.CancelCauseFunc
	tasks  sync.WaitGroup

	swaps chan struct{} // held by a compare-and-swap of configs or producer ids: those of one broker need not fight each other

	unregister []func() // the metrics
	closeOnce  sync.Once
	closeErr   error
}

// Start opens the store, founds or joins the cluster, loads its metadata, registers the broker and stands for controller. When it returns
// the image shows the broker, and, if this broker is the controller, leaders that fit the registered brokers. ctx bounds the start alone.
//
// Errors for the operator: ErrLocked, ErrWrongCluster, ErrNewerFormat, ErrBrokerIDInUse, ErrEtcdFailed, ErrUnavailable. Nothing was registered
// then.
func Start(ctx context.Context, options Options) (*Cluster, error) {
	o, err := options.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("cluster options: %w", err)
	}
	store, err := open(ctx, o)
	if err != nil {
		return nil, err
	}
	c := assemble(o, store)
	if err := c.start(ctx, o); err != nil {
		return nil, errors.Join(err, c.Close(ctx))
	}
	return c, nil
}

func open(ctx context.Context, o Options) (Store, error) {
	switch {
	case o.Store != nil:
		return o.Store, nil
	case o.Dir != "":
		if o.ClusterID != "" && !embeddedExists(o.Dir) {
			return nil, fmt.Errorf("%w: the data directory belongs to cluster %s, but %s holds no metadata", ErrWrongCluster, o.ClusterID, o.Dir)
		}
		return openEmbedded(ctx, o.Dir, o.Log)
	}
	return openExternal(ctx, external{endpoints: o.Endpoints, username: o.Username, password: o.Password, tls: o.TLS}, o.Log)
}

func assemble(o Options, store Store) *Cluster {
	c := &Cluster{store: store, prefix: keys(o.Prefix), log: o.Log, swaps: make(chan struct{}, 1)}
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	c.view = newView(store, c.prefix, o.Log)
	c.session = newSession(o, store, c.view)
	c.control = newController(o, store, c.view, c.session)
	return c
}

func (c *Cluster) start(ctx context.Context, o Options) error {
	c.tasks.Go(c.failWithStore)
	identity, err := found(ctx, c.store, c.prefix, o)
	if err != nil {
		return err
	}
	c.session.identity = identity
	if err := raiseFeatures(ctx, c.store, c.prefix, identity, o); err != nil {
		return err
	}
	if err := c.view.load(ctx); err != nil {
		return err
	}
	c.tasks.Go(func() { c.view.follow(c.ctx) })
	if err := awaitPredecessor(ctx, c.session); err != nil {
		return err
	}
	if !o.Clean {
		if err := settleCrash(ctx, c.session); err != nil {
			return err
		}
	}
	if err := c.session.register(ctx); err != nil {
		return err
	}
	c.view.OnChange(c.session.notice)
	c.tasks.Go(func() { c.session.run(c.ctx) })
	if err := c.control.sit(ctx); err == nil {
		c.control.rise()
	} else if !errors.Is(err, ErrNotController) {
		return fmt.Errorf("take office of controller: %w", err)
	}
	c.tasks.Go(func() { c.control.run(c.ctx) })
	return c.registerMetrics(o.Metrics)
}

// found makes the cluster's identity when there is none, and compares it with what the data directory says. It answers the condition that
// it is still the same one.
func found(ctx context.Context, store Store, prefix keys, o Options) (Cond, error) {
	for range casAttempts {
		kv, err := get(ctx, store, prefix.cluster())
		if err != nil {
			return Cond{}, err
		}
		if kv.ModRevision != 0 {
			return Cond{Key: kv.Key, Revision: kv.ModRevision}, checkIdentity(kv, o.ClusterID)
		}
		if o.ClusterID != "" {
			return Cond{}, fmt.Errorf("%w: the data directory belongs to cluster %s, but there is no cluster under %q", ErrWrongCluster, o.ClusterID, o.Prefix)
		}
		txn := Txn{
			If:   []Cond{{Key: kv.Key}},
			Then: []Op{{Key: kv.Key, Value: encode(clusterRecord{ID: uuid.New().String(), Format: format})}},
		}
		if len(o.Features) > 0 {
			txn.Then = append(txn.Then, Op{Key: prefix.features(), Value: encode(o.Features)})
		}
		res, err := store.Txn(ctx, txn)
		if err != nil || res.Done {
			return Cond{Key: kv.Key, Revision: res.Revision}, err
		}
	}
	return Cond{}, ErrConflict
}

func checkIdentity(kv KV, expected string) error {
	var r clusterRecord
	if err := decode(kv.Value, &r); err != nil {
		return fmt.Errorf("%s: %w", kv.Key, err)
	}
	switch {
	case r.Format > format:
		return fmt.Errorf("%w: %s says format %d, this version reads up to %d", ErrNewerFormat, kv.Key, r.Format, format)
	case expected != "" && r.ID != expected:
		return fmt.Errorf("%w: the data directory belongs to cluster %s, the metadata to cluster %s", ErrWrongCluster, expected, r.ID)
	}
	return nil
}

// Image is the newest image for which all callbacks ran. It is never nil.
func (c *Cluster) Image() *Image { return c.view.Image() }

// OnChange calls fn at once with an empty and the current image, and then for every change in order, with the image before and after it. Image
// shows a change, and whoever made it is answered, when all callbacks for it returned; so they prepare what an image promises. Changes that
// came together may be shown together.
func (c *Cluster) OnChange(fn func(old, new *Image)) { c.view.OnChange(fn) }

// Active reports whether this broker's lease is alive by its own clock. While it is not, another broker may lead what this one led: nothing may
// be acknowledged. It is cheap enough to ask for each acknowledgement.
func (c *Cluster) Active() bool { return c.session.Active() }

// OnFence calls fn at once with whether the broker is fenced (not Active), and then whenever that changes, in order.
func (c *Cluster) OnFence(fn func(fenced bool)) { c.session.OnFence(fn) }

// Epoch is the epoch of this broker's registration: another one after each registration.
func (c *Cluster) Epoch() int64 { return c.session.epoch.Load() }

// Failed is closed when the embedded etcd broke, for example on a full disk: nothing can be changed any more and the broker has to stop. Err
// says why. With an external etcd it is never closed.
func (c *Cluster) Failed() <-chan struct{} {
	if s, ok := c.store.(interface{ Failed() <-chan struct{} }); ok {
		return s.Failed()
	}
	return nil
}

// Err is why Failed is closed.
func (c *Cluster) Err() error {
	if s, ok := c.store.(interface{ Err() error }); ok {
		return s.Err()
	}
	return nil
}

// CreateTopic makes one topic. See Controller.CreateTopics.
func (c *Cluster) CreateTopic(ctx context.Context, spec TopicSpec) (*Topic, error) {
	res := c.CreateTopics(ctx, []TopicSpec{spec})[0]
	return res.Topic, res.Err
}

// CreateTopics makes topics, each on its own success or failure. ErrNotController when another broker is the controller.
func (c *Cluster) CreateTopics(ctx context.Context, specs []TopicSpec) []TopicResult {
	ctx, end, err := c.enter(ctx)
	if err != nil {
		return allTopics(make([]TopicResult, len(specs)), err)
	}
	defer end()
	return c.control.CreateTopics(ctx, specs)
}

// DeleteTopic removes the topic with that id.
func (c *Cluster) DeleteTopic(ctx context.Context, id uuid.ID) error {
	return c.DeleteTopics(ctx, []uuid.ID{id})[0]
}

// DeleteTopics removes topics, each on its own success or failure.
func (c *Cluster) DeleteTopics(ctx context.Context, ids []uuid.ID) []error {
	ctx, end, err := c.enter(ctx)
	if err != nil {
		return allErrors(make([]error, len(ids)), err)
	}
	defer end()
	return c.control.DeleteTopics(ctx, ids)
}

// CreatePartitions adds partitions to a topic.
func (c *Cluster) CreatePartitions(ctx context.Context, spec PartitionsSpec) (*Topic, error) {
	ctx, end, err := c.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	return c.control.CreatePartitions(ctx, spec)
}
