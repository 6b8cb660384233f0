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
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/broker/admin"
	"github.com/tidemark-mq/tidemark/broker/fetch"
	"github.com/tidemark-mq/tidemark/broker/handler"
	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/broker/server"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/coordinator/config"
	"github.com/tidemark-mq/tidemark/coordinator/group"
	"github.com/tidemark-mq/tidemark/storage/cleaner"
	"github.com/tidemark-mq/tidemark/storage/logdir"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// Broker is one running broker.
type Broker struct {
	plan     *plan
	log      *zap.Logger
	registry *prometheus.Registry

	bound    []boundListener
	dir      *logdir.Dir
	cluster  *cluster.Cluster
	replicas *replica.Manager
	groups   *group.Service
	handlers *handler.Registry
	server   *server.Server
	admin    *admin.Server

	stops []func(context.Context) error // in the order of starting

	failOnce sync.Once
	failed   chan struct{}
	err      error         // of failed; valid after it is closed
	done     chan struct{} // closed by Stop: the watch for failures ends
	watch    sync.WaitGroup
	stopTrim context.CancelFunc
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
	b := &Broker{plan: p, log: p.Log, registry: prometheus.NewRegistry(), failed: make(chan struct{}), done: make(chan struct{})}
	b.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, step := range []func(context.Context) error{b.bind, b.startAdmin, b.openDir, b.joinCluster, b.startGroups, b.startReplicas, b.serve} {
		if err := step(ctx); err != nil {
			cleanup, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			return nil, errors.Join(err, b.Stop(cleanup))
		}
	}
	b.watchFailures()
	trimming, stop := context.WithCancel(context.Background())
	b.watch.Go(func() { trimMemory(trimming) })
	b.stopTrim = stop
	return b, nil
}

// layers is the broker's settings as they are now, dynamic ones included.
func (b *Broker) layers() config.Layers {
	return replica.Layers(b.cluster.Image(), b.plan.BrokerID, b.plan.start, "")
}

// fixed is the broker's settings as given at start-up.
func (b *Broker) fixed() config.Layers { return config.Layers{Start: b.plan.start} }

// bind takes the listeners' ports.
func (b *Broker) bind(ctx context.Context) error {
	var lc net.ListenConfig
	b.stops = append(b.stops, func(context.Context) error {
		for _, l := range b.bound {
			_ = l.Close()
		}
		return nil
	})
	for _, e := range b.plan.listen {
		l, err := lc.Listen(ctx, "tcp", e.Address())
		if err != nil {
			return fmt.Errorf("listen %s: %w; choose another port or stop who has it", e.Address(), err)
		}
		if a, ok := l.Addr().(*net.TCPAddr); ok {
			e.Port = a.Port
		}
		b.bound = append(b.bound, boundListener{l, b.advertised(e)})
	}
	return nil
}

// advertised is what clients are told to connect to for a listener.
func (b *Broker) advertised(bound server.Endpoint) server.Endpoint {
	if a, ok := b.plan.advertise[bound.Name]; ok {
		if a.Port == 0 {
			a.Port = bound.Port
		}
		return a
	}
	if bound.Host == "" || bound.Host == "0.0.0.0" || bound.Host == "::" {
		if bound.Host = b.plan.Hostname; bound.Host == "" {
			bound.Host = "localhost"
		}
	}
	return bound
}

func (b *Broker) startAdmin(ctx context.Context) error {
	if b.plan.AdminListen == "" {
		return nil
	}
	a, err := admin.Start(ctx, admin.Options{Address: b.plan.AdminListen, Ready: b.Ready, Metrics: b.registry, Log: b.log.Named("admin")})
	if err != nil {
		return fmt.Errorf("admin-listen %s: %w; choose another port, or none with --admin-listen ''", b.plan.AdminListen, err)
	}
	b.admin = a
	b.stops = append(b.stops, a.Stop)
	return nil
}

func (b *Broker) openDir(context.Context) error {
	l := b.fixed()
	d, err := logdir.Open(logdir.Options{
		FS: b.plan.FS, Dir: b.plan.DataDir, BrokerID: b.plan.BrokerID,
		RetentionInterval: ms(l.BrokerInt("log.retention.check.interval.ms")),
		Cleaner: cleaner.Options{MapBytes: l.BrokerInt("log.cleaner.dedupe.buffer.size"), BytesPerSecond: l.BrokerFloat("log.cleaner.io.max.bytes.per.second"),
			Backoff: ms(l.BrokerInt("log.cleaner.backoff.ms"))},
		NoCleaner: !l.BrokerBool("log.cleaner.enable"),
		Log:       b.log.Named("storage"), Metrics: b.registry,
	})
	if err != nil {
		return err
	}
	b.dir = d
	b.stops = append(b.stops, func(context.Context) error { return d.Close() })
	return nil
}

func (b *Broker) joinCluster(ctx context.Context) error {
	var endpoints []cluster.Endpoint
	for _, l := range b.bound {
		endpoints = append(endpoints, cluster.Endpoint{Name: l.advertised.Name, Protocol: "PLAINTEXT", Host: l.advertised.Host, Port: int32(l.advertised.Port)})
	}
	o := cluster.Options{BrokerID: b.plan.BrokerID, Rack: b.plan.Rack, Listeners: endpoints, DirectoryID: b.dir.ID(), Clean: b.dir.Clean(),
		ClusterID: b.dir.ClusterID(), Endpoints: b.plan.Etcd, Features: handler.FoundingFeatures(), Log: b.log.Named("cluster"), Metrics: b.registry}
	if len(o.Endpoints) == 0 {
		o.Dir = filepath.Join(b.plan.DataDir, "etcd")
	}
	c, err := cluster.Start(ctx, o)
	if err != nil {
		return err
	}
	b.cluster = c
	b.stops = append(b.stops, c.Close)
	return b.dir.SetClusterID(c.Image().ClusterID)
}

func (b *Broker) startReplicas(context.Context) error {
	b.replicas = replica.New(replica.Options{Dir: b.dir, BrokerID: b.plan.BrokerID, Start: b.plan.start, OnLeadership: b.leads,
		ProducerExpiry: ms(b.fixed().BrokerInt("producer.id.expiration.ms")), Log: b.log.Named("replica")})
	b.stops = append(b.stops, func(context.Context) error {
		b.groups.Close()
		b.replicas.Close()
		return nil
	})
	b.dir.OnDiskFull(b.replicas.SetDiskFull)
	b.cluster.OnFence(b.replicas.SetFenced)
	b.cluster.OnChange(b.replicas.Apply)
	b.cluster.OnChange(b.forgetOffsets)
	return b.dir.RemoveStrays()
}

func (b *Broker) startGroups(context.Context) error {
	l := b.fixed()
	g, err := group.New(group.Options{
		KV: b.dir.KV(), Partitions: func() int32 { return int32(len(internalTopic(b.cluster.Image(), offsetsTopic))) },
		Config: group.Config{
			MinSessionTimeout:     ms(l.BrokerInt("group.min.session.timeout.ms")),
			MaxSessionTimeout:     ms(l.BrokerInt("group.max.session.timeout.ms")),
			InitialRebalanceDelay: ms(l.BrokerInt("group.initial.rebalance.delay.ms")),
			MaxSize:               int(l.BrokerInt("group.max.size")),
			OffsetMetadataMaxSize: int(l.BrokerInt("offset.metadata.max.bytes")),
			OffsetsRetention:      time.Duration(l.BrokerInt("offsets.retention.minutes")) * time.Minute,
			RetentionInterval:     ms(l.BrokerInt("offsets.retention.check.interval.ms")),
			CommitTimeout:         ms(l.BrokerInt("offsets.commit.timeout.ms")),
		},
		Log: b.log.Named("group"), Metrics: b.registry,
	})
	if err != nil {
		return err
	}
	b.groups = g
	return nil
}

// offsetsTopic holds the group coordinator's state, as in Kafka.
const offsetsTopic = "__consumer_offsets"

func internalTopic(image *cluster.Image, name string) []cluster.Partition {
	t := image.Topic(name)
	if t == nil {
		return nil
	}
	return t.Partitions
}

// leads hands leadership of internal partitions to their coordinator.
func (b *Broker) leads(p *replica.Partition, leading bool, epoch int32) {
	if p.Topic != offsetsTopic {
		return
	}
	if leading {
		b.groups.Load(p.ID, p.Number, epoch, p.CoordinatorLog())
	} else {
		b.groups.Unload(p.Number, epoch)
	}
}

// forgetOffsets has the offsets of deleted topics dropped.
func (b *Broker) forgetOffsets(old, now *cluster.Image) {
	var gone []group.Topic
	for was, is := range now.TopicChanges(old) {
		if is == nil {
			gone = append(gone, group.Topic{Name: was.Name, ID: was.ID})
		}
	}
	if len(gone) > 0 {
		b.groups.TopicsDeleted(gone)
	}
}

func (b *Broker) serve(context.Context) error {
	l := b.fixed()
	image := b.cluster.Image()
	deps := handler.Deps{Log: b.log.Named("handler"), ClusterID: image.ClusterID, BrokerID: b.plan.BrokerID, Start: b.plan.start,
		Cluster: b.cluster, Replicas: b.replicas, Groups: b.groups, Disk: b.dir, LogLevel: b.plan.LogLevel}
	deps.Fetch = fetch.New(fetch.Options{Replicas: b.replicas, Image: b.cluster.Image, MaxBytes: int32(l.BrokerInt("fetch.max.bytes")),
		Sessions: fetch.NewSessions(int(l.BrokerInt("max.incremental.fetch.session.cache.slots")))})
	r, err := handler.New(deps)
	if err != nil {
		return err
	}
	b.handlers = r
	s, err := server.New(server.Options{APIs: r.APIs(), MaxRequestBytes: int(l.BrokerInt("socket.request.max.bytes")),
		MaxConnections: limit(l.BrokerInt("max.connections")), MaxConnectionsPerIP: limit(l.BrokerInt("max.connections.per.ip")),
		IdleTimeout: ms(l.BrokerInt("connections.max.idle.ms")), Log: b.log.Named("server"), Metrics: b.registry})
	if err != nil {
		return err
	}
	for _, bound := range b.bound {
		s.Serve(bound.advertised.Name, bound.Listener)
	}
	b.server = s
	b.stops = append(b.stops, s.Stop)
	s.Start()
	return nil
}

// limit turns Kafka's "no limit" into the server's.
func limit(n int64) int {
	if n >= 1<<31-1 {
		return 0
	}
	return int(n)
}

func ms(n int64) time.Duration {
	if n < 0 || n > int64(1<<63-1)/int64(time.Millisecond) {
		return 1<<63 - 1
	}
	return time.Duration(n) * time.Millisecond
}

// watchFailures turns the failure of a part into the broker's.
func (b *Broker) watchFailures() {
	b.watch.Go(func() {
		select {
		case <-b.dir.Failed():
			reason := b.dir.Ready()
			b.replicas.Fail(reason)
			b.fail(fmt.Errorf("storage failed: %w", reason))
		case <-b.cluster.Failed():
			b.fail(fmt.Errorf("cluster metadata failed: %w", b.cluster.Err()))
		case <-b.done:
		}
	})
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
	select {
	case <-b.done:
		return errors.New("stopping")
	default:
	}
	if b.server == nil {
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
// as waiting for clients goes; the flush at the end is never cut short.
func (b *Broker) Stop(ctx context.Context) error {
	close(b.done)
	if b.stopTrim != nil {
		b.stopTrim()
	}
	b.watch.Wait()
	var failures []error
	for i := len(b.stops) - 1; i >= 0; i-- {
		if err := b.stops[i](ctx); err != nil && !errors.Is(err, server.ErrStopForced) {
			failures = append(failures, err)
		}
	}
	return errors.Join(failures...)
}
