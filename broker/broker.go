// Package broker assembles one broker from its parts and takes it apart again.
//
// Parts start in the order of their dependence: listeners are bound (so that a port in use is an error before anything is
// touched), the data directory is opened, the cluster's metadata is joined, partitions are opened and led, coordinators
// load, and only then are connections accepted. They stop in the opposite order:
//
//	1  stop accepting, let requests in flight be answered
//	2  coordinators answer what is pending and unload
//	3  partitions end for those who wait
//	4  leave the cluster, so that nobody counts on this broker
//	5  flush and close the logs and the store of views, write the clean-stop mark, release the lock
//	6  the admin listener, which tells how the stop goes on, ends last
package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/broker/admin"
	"github.com/tidemark-mq/tidemark/broker/delay"
	"github.com/tidemark-mq/tidemark/broker/fetch"
	"github.com/tidemark-mq/tidemark/broker/handler"
	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/broker/server"
	leases "github.com/tidemark-mq/tidemark/broker/share"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/coordinator/group"
	"github.com/tidemark-mq/tidemark/coordinator/share"
	"github.com/tidemark-mq/tidemark/storage/logdir"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// Broker is one running broker.
type Broker struct {
	plan     *plan
	log      *zap.Logger
	registry *prometheus.Registry

	bound     []boundListener
	dir       *logdir.Dir
	cluster   *cluster.Cluster
	replicas  *replica.Manager
	groups    *group.Service
	shares    *share.Service
	delays    *delay.Service
	leases    *leases.Engine
	shareDoor *leases.Door
	now       func() time.Time // what leases and delays go by
	handlers  *handler.Registry
	fetcher   *fetch.Fetcher
	server    *server.Server
	admin     *admin.Server

	producers *handler.ProducerIDs
	prunes    sync.WaitGroup // deletions of old share state under way

	serving atomic.Bool // everything above is set

	stops []func(context.Context) error // in the order of starting

	failOnce sync.Once
	failed   chan struct{}
	err      error           // of failed; valid after it is closed
	life     context.Context // ends with Stop: so do the goroutines in watch
	end      context.CancelFunc
	watch    sync.WaitGroup

	stopOnce sync.Once
	stopErr  error
}

type boundListener struct {
	net.Listener
	advertised server.Endpoint
}

// Start starts a broker and returns when it serves. On an error nothing is left running.
func Start(ctx context.Context, o Options) (*Broker, error) {
	p, err := o.check()
	if err != nil {
		return nil, err
	}
	if p.Log == nil {
		p.Log = zap.NewNop()
	}
	if p.FS == nil {
		p.FS = vfs.Disk()
	}
	b := &Broker{plan: p, log: p.Log, registry: prometheus.NewRegistry(), failed: make(chan struct{})}
	b.life, b.end = context.WithCancel(context.Background())
	b.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	steps := []func(context.Context) error{b.bind, b.startAdmin, b.openDir, b.joinCluster, b.startShares, b.startGroups, b.startReplicas, b.serve}
	for _, step := range steps {
		if err = ctx.Err(); err == nil {
			err = step(ctx)
		}
		if err != nil {
			cleanup, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			return nil, errors.Join(err, b.Stop(cleanup))
		}
	}
	b.serving.Store(true)
	b.watch.Go(b.watchFailures)
	b.watch.Go(func() { trimMemory(b.life) })
	return b, nil
}

// watchFailures turns the failure of a part into the broker's.
func (b *Broker) watchFailures() {
	select {
	case <-b.dir.Failed():
		reason := b.dir.Ready()
		b.replicas.Fail(reason)
		b.fail(fmt.Errorf("storage failed: %w", reason))
	case <-b.cluster.Failed():
		b.fail(fmt.Errorf("cluster metadata failed: %w", b.cluster.Err()))
	case <-b.life.Done():
	}
}

func (b *Broker) fail(err error) {
	b.failOnce.Do(func() {
		b.err = err
		close(b.failed)
	})
}

// Failed is closed when the broker cannot go on; Err then says why. It is still to be
// stopped.
func (b *Broker) Failed() <-chan struct{} { return b.failed }

// Err is why the broker failed, nil if it did not.
func (b *Broker) Err() error {
	select {
	case <-b.failed:
		return b.err
	default:
		return nil
	}
}

// Ready answers why the broker should get no work, nil if it should.
func (b *Broker) Ready() error {
	if err := b.Err(); err != nil {
		return err
	}
	switch {
	case b.life.Err() != nil:
		return errors.New("stopping")
	case !b.serving.Load():
		return errors.New("starting")
	}
	if !b.cluster.Active() {
		return errors.New("not registered in the cluster")
	}
	return b.dir.Ready()
}

// Do is the in-process front door: it answers a request as if it had come over a socket
// from the principal. See handler.Registry.Do.
func (b *Broker) Do(ctx context.Context, principal string, req kmsg.Request) (kmsg.Response, error) {
	return b.handlers.Do(ctx, principal, req)
}

// Metrics is where parts in front of the broker register theirs.
func (b *Broker) Metrics() prometheus.Registerer { return b.registry }

// Addresses names every address the broker listens on, for the ready line.
func (b *Broker) Addresses() string {
	var kafka []string
	for _, l := range b.bound {
		name := ""
		if l.advertised.Name != server.DefaultListener {
			name = l.advertised.Name + "="
		}
		kafka = append(kafka, name+l.Addr().String())
	}
	adminAddr := "off"
	if b.admin != nil {
		adminAddr = b.admin.Address()
	}
	return fmt.Sprintf("kafka %s admin %s data %s cluster %s broker %d", strings.Join(kafka, ","), adminAddr, b.plan.DataDir, b.dir.ClusterID(), b.plan.BrokerID)
}

// Stop takes the broker down in the order the package comment states, within ctx as far
// as waiting for clients goes; the flush at the end is never cut short. Further calls wait for the first and answer as it does.
func (b *Broker) Stop(ctx context.Context) error {
	b.stopOnce.Do(func() { b.stopErr = b.stop(ctx) })
	return b.stopErr
}

func (b *Broker) stop(ctx context.Context) error {
	b.end()
	b.watch.Wait()
	var failures []error
	for i := len(b.stops) - 1; i >= 0; i-- {
		if err := b.stops[i](ctx); err != nil {
			failures = append(failures, err)
		}
	}
	return errors.Join(failures...)
}
