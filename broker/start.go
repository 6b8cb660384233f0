package broker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/broker/admin"
	"github.com/tidemark-mq/tidemark/broker/fetch"
	"github.com/tidemark-mq/tidemark/broker/handler"
	"github.com/tidemark-mq/tidemark/broker/quota"
	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/broker/server"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/coordinator/config"
	"github.com/tidemark-mq/tidemark/coordinator/group"
	"github.com/tidemark-mq/tidemark/coordinator/share"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/storage/cleaner"
	"github.com/tidemark-mq/tidemark/storage/logdir"
)

// The steps of Start, in their order. Each leaves in Broker.stops how it is undone.

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
		Journal:           logdir.JournalOptions{CheckpointAge: ms(l.BrokerInt("log.flush.offset.checkpoint.interval.ms"))},
		Cleaner:           cleaner.Options{Tuned: b.cleanerTuning},
		NoCleaner:         !l.BrokerBool("log.cleaner.enable"),
		Log:               b.log.Named("storage"), Metrics: b.registry,
	})
	if err != nil {
		return fmt.Errorf("data-dir %s: %w%s", b.plan.DataDir, err, unusable(err))
	}
	b.dir = d
	b.stops = append(b.stops, func(context.Context) error { return d.Close() })
	return nil
}

// unusable is what to do about a data directory that the system does not let a broker make or write.
func unusable(err error) string {
	for _, reason := range []error{fs.ErrPermission, fs.ErrNotExist, syscall.ENOTDIR, syscall.EROFS} {
		if errors.Is(err, reason) {
			return "; --data-dir must name a directory that this user can make and write"
		}
	}
	return ""
}

// cleanerTuning is what is set for the cleaner now. The cleaner begins once the cluster is joined. Its map has a smaller default
// than Kafka's 128 MiB, which 1.5 million keys a run fit, and the memory that is set where it is.
func (b *Broker) cleanerTuning() cleaner.Tuning {
	l := replica.Layers(b.cluster.Image(), b.plan.BrokerID, b.plan.start, "")
	t := cleaner.Tuning{Backoff: ms(l.BrokerInt("log.cleaner.backoff.ms")), BytesPerSecond: l.BrokerFloat("log.cleaner.io.max.bytes.per.second")}
	const room = "log.cleaner.dedupe.buffer.size"
	if k, known := config.Broker().Key(room); known && l.Describe(config.Broker(), k).Source != config.FromDefault {
		t.MapBytes = l.BrokerInt(room)
	}
	return t
}

func (b *Broker) joinCluster(ctx context.Context) error {
	var endpoints []cluster.Endpoint
	for _, l := range b.bound {
		endpoints = append(endpoints, cluster.Endpoint{Name: l.advertised.Name, Protocol: "PLAINTEXT", Host: l.advertised.Host, Port: int32(l.advertised.Port)})
	}
	o := cluster.Options{BrokerID: b.plan.BrokerID, Rack: b.plan.Rack, Listeners: endpoints, DirectoryID: b.dir.ID(), Clean: b.dir.Clean(),
		ClusterID: b.dir.ClusterID(), Endpoints: b.plan.Etcd, Features: handler.FoundingFeatures(), Log: b.log.Named("cluster"), Metrics: b.registry}
	switch {
	case b.plan.metadata != nil:
		o.Store = b.plan.metadata
	case len(o.Endpoints) == 0:
		o.Dir = filepath.Join(b.plan.DataDir, "etcd")
	}
	c, err := cluster.Start(ctx, o)
	if err != nil {
		if len(o.Endpoints) > 0 && errors.Is(err, cluster.ErrUnavailable) {
			err = fmt.Errorf("%w; start that etcd, or give --etcd the URL of one that answers", err)
		}
		return err
	}
	b.cluster = c
	b.producers = handler.NewProducerIDs(c.AllocateProducerIDs)
	b.stops = append(b.stops, c.Close)
	return b.dir.SetClusterID(c.Image().ClusterID)
}

func (b *Broker) startReplicas(context.Context) error {
	b.replicas = replica.New(replica.Options{Dir: b.dir, BrokerID: b.plan.BrokerID, Start: b.plan.start, Active: b.cluster.Active,
		OnLeadership: b.leads, Log: b.log.Named("replica")})
	b.stops = append(b.stops, func(ctx context.Context) error {
		b.stopLeases(ctx)
		b.groups.Close()
		b.shares.Close()
		b.replicas.Close()
		b.prunes.Wait()
		return nil
	})
	if err := b.startLeases(); err != nil {
		return err
	}
	b.dir.OnDiskFull(b.replicas.SetDiskFull)
	b.cluster.OnFence(b.replicas.SetFenced)
	b.cluster.OnChange(b.replicas.Apply)
	if err := b.dir.Ready(); err != nil {
		return fmt.Errorf("data-dir %s: %w", b.plan.DataDir, err)
	}
	b.cluster.OnChange(b.leases.Apply)
	b.cluster.OnChange(b.forgetOffsets)
	if b.cluster.Image().Incomplete {
		b.log.Error("topics' metadata cannot be read, so logs that no topic seems to have are kept")
		return nil
	}
	return b.dir.RemoveStrays()
}

func (b *Broker) startGroups(context.Context) error {
	l := b.fixed()
	g, err := group.New(group.Options{
		KV: b.dir.KV(), Partitions: func() int32 { return int32(len(internalTopic(b.cluster.Image(), offsetsTopic))) },
		Config: group.Config{
			MinSessionTimeout:     orNone(ms(max(l.BrokerInt("group.min.session.timeout.ms"), 0))),
			MaxSessionTimeout:     ms(l.BrokerInt("group.max.session.timeout.ms")),
			InitialRebalanceDelay: ms(l.BrokerInt("group.initial.rebalance.delay.ms")),
			MaxSize:               int(l.BrokerInt("group.max.size")),
			ShareMaxSize:          int(l.BrokerInt("group.share.max.size")),
			OffsetMetadataMaxSize: orNone(int(l.BrokerInt("offset.metadata.max.bytes"))),
			OffsetsRetention:      minutes(l.BrokerInt("offsets.retention.minutes")),
			RetentionInterval:     ms(l.BrokerInt("offsets.retention.check.interval.ms")),
			CommitTimeout:         ms(l.BrokerInt("offsets.commit.timeout.ms")),
		},
		Share: b.shares, Topics: groupTopics{b}, Settings: b.shareSettings,
		ShareStateChanged: func(k share.Key) { b.leases.Forget(k) },
		ShareStateDeleted: func(k share.Key) { b.leases.Deleted(k) },
		Log:               b.log.Named("group"), Metrics: b.registry,
	})
	if err != nil {
		return err
	}
	b.groups = g
	b.stops = append(b.stops, func(context.Context) error {
		g.Close() // again, after a start that came no further
		return nil
	})
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
		ids := make([]uuid.ID, len(gone))
		for i := range gone {
			ids[i] = gone[i].ID
		}
		b.delays.TopicsDeleted(ids)
		b.shares.TopicsDeleted(ids)
	}
}

func (b *Broker) serve(context.Context) error {
	l := b.fixed()
	sessions := fetch.NewSessions(int(l.BrokerInt("max.incremental.fetch.session.cache.slots")))
	b.fetcher = fetch.New(fetch.Options{Replicas: b.replicas, Image: b.cluster.Image, Sessions: sessions, MaxBytes: int32(l.BrokerInt("fetch.max.bytes"))})
	b.measure(sessions)
	r, err := handler.New(handler.Deps{Log: b.log.Named("handler"), ClusterID: b.cluster.Image().ClusterID, BrokerID: b.plan.BrokerID,
		Start: b.plan.start, Cluster: b.cluster, Replicas: b.replicas, Fetch: b.fetcher, Groups: b.groups, Delays: b.delays, Leases: b.leases, ShareDoor: b.shareDoor, Shares: b.shares, Producers: b.producers, Disk: b.dir, LogLevel: b.plan.LogLevel})
	if err != nil {
		return err
	}
	b.handlers = r
	s, err := server.New(server.Options{APIs: r.APIs(), MaxRequestBytes: int(l.BrokerInt("socket.request.max.bytes")),
		IdleTimeout: ms(l.BrokerInt("connections.max.idle.ms")), Requests: requestBudget(l.BrokerInt("queued.max.request.bytes")),
		Log: b.log.Named("server"), Metrics: b.registry})
	if err != nil {
		return err
	}
	for _, bound := range b.bound {
		s.Serve(bound.advertised.Name, bound.Listener)
	}
	b.server = s
	b.stops = append(b.stops, b.stopServing)
	b.cluster.OnChange(b.limitConnections)
	s.Start()
	return nil
}

// stopServing ends the clients' requests, and then what those had parked. Clients that do not take their answers get four
// fifths of the time, so that the rest of the stop is orderly and within the limit all the same.
func (b *Broker) stopServing(ctx context.Context) error {
	clients := ctx
	if end, limited := ctx.Deadline(); limited {
		var cancel context.CancelFunc
		clients, cancel = context.WithDeadline(ctx, end.Add(-time.Until(end)/5))
		defer cancel()
	}
	err := b.server.Stop(clients)
	if errors.Is(err, server.ErrStopForced) {
		b.log.Warn("clients were cut off", zap.Error(err))
		err = nil
	}
	if parked := b.fetcher.Wait(ctx); parked != nil { // their contexts have ended: they are about to notice
		b.log.Warn("fetches are still parked", zap.Int("requests", b.fetcher.Parked()))
	}
	return err
}

// requestBudget is the memory for requests on their way, nil for the server's own choice.
func requestBudget(limit int64) *quota.Budget {
	if limit <= 0 {
		return nil
	}
	return quota.NewBudget(limit)
}

// limitConnections puts into force what is set of the limits now.
func (b *Broker) limitConnections(_, now *cluster.Image) {
	l := replica.Layers(now, b.plan.BrokerID, b.plan.start, "")
	b.server.LimitConnections(limit(l.BrokerInt("max.connections")), limit(l.BrokerInt("max.connections.per.ip")))
}

// limit turns Kafka's "no limit" into the server's.
func limit(n int64) int {
	if n >= 1<<31-1 {
		return 0
	}
	return int(n)
}

// orNone keeps a 0 that is meant from being taken for "not set", as group.Config has it.
func orNone[T int | time.Duration](n T) T {
	if n == 0 {
		return -1
	}
	return n
}

// minutes is ms for settings in minutes: "never", as 2147483647, is longer than a Duration can be.
func minutes(n int64) time.Duration { return ms(n * 60_000) }

func ms(n int64) time.Duration {
	if n < 0 || n > int64(1<<63-1)/int64(time.Millisecond) {
		return 1<<63 - 1
	}
	return time.Duration(n) * time.Millisecond
}
