package leases

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/broker/delay"
	"github.com/tidemark-mq/tidemark/broker/fetch"
	"github.com/tidemark-mq/tidemark/broker/handler"
	"github.com/tidemark-mq/tidemark/broker/replica"
	engine "github.com/tidemark-mq/tidemark/broker/share"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/coordinator/group"
	"github.com/tidemark-mq/tidemark/coordinator/runtime"
	"github.com/tidemark-mq/tidemark/coordinator/share"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/storage/logdir"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

const (
	offsetsTopic = "__consumer_offsets"
	shareTopic   = "__share_group_state"
)

// settings make coordinators small.
var settings = map[string]string{
	"offsets.topic.num.partitions":                 "1",
	"share.coordinator.state.topic.num.partitions": "1",
}

// The journal is small, so that its files are used again.
var smallJournal = logdir.JournalOptions{FileBytes: 64 << 10, MaxBytes: 256 << 10, OwnSyncBytes: 8 << 10, MaxRoundBytes: 32 << 10, CheckpointAge: 10 * time.Second}

// shareConfig has snapshots written often, and what they replace dropped soon.
var shareConfig = share.Config{SnapshotUpdates: 3, WriteTimeout: 15 * time.Second, PruneInterval: 200 * time.Millisecond, ColdSnapshotInterval: time.Millisecond}

// life is one life of a broker: all parts are the real ones.
type life struct {
	log      *zap.Logger
	metadata *cable
	dir      *logdir.Dir
	cluster  *cluster.Cluster
	shares   *share.Service
	groups   *group.Service
	replicas *replica.Manager
	delays   *delay.Service
	leases   *engine.Engine
	door     *engine.Door
	handlers *handler.Registry

	over  chan struct{}  // closed when the life ends
	watch sync.WaitGroup // the watch over the disk, and prunes

	pruned atomic.Int64 // below which offset share state was dropped last
	slow   atomic.Bool  // see slowIntents
}

// slowIntents is the share coordinator, to which, while slow, intents of dead letters take a second to get.
type slowIntents struct {
	*share.Service
	slow *atomic.Bool
}

const intentDelay = time.Second

func (s slowIntents) Write(w *share.Write, done func(error)) {
	if w.Producer == nil || !s.slow.Load() {
		s.Service.Write(w, done)
		return
	}
	time.AfterFunc(intentDelay, func() { s.Service.Write(w, done) })
}

// begin starts a life; an error is one of a disk or a cable that was cut. The life is to be ended even so.
func begin(fs vfs.FS, metadata *cable, log *zap.Logger) (*life, error) {
	l := &life{log: log, metadata: metadata, over: make(chan struct{})}
	d, err := logdir.Open(logdir.Options{FS: fs, Dir: "data", BrokerID: 1, Journal: smallJournal, NoCleaner: true, Reserve: -1, Log: log})
	if err != nil {
		return l, err
	}
	l.dir = d
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	l.cluster, err = cluster.Start(ctx, cluster.Options{BrokerID: 1, DirectoryID: d.ID(), Clean: d.Clean(), ClusterID: d.ClusterID(), Store: metadata, Log: log,
		Features:  handler.FoundingFeatures(),
		Listeners: []cluster.Endpoint{{Name: "PLAINTEXT", Protocol: "PLAINTEXT", Host: "here", Port: 9092}}})
	if err != nil {
		return l, err
	}
	if err := d.SetClusterID(l.cluster.Image().ClusterID); err != nil {
		return l, err
	}
	if err := l.coordinators(); err != nil {
		return l, err
	}
	return l, l.serve()
}

func (l *life) partitions(t *cluster.Topic) int32 {
	if t == nil {
		return 0
	}
	return int32(len(t.Partitions))
}

// resume takes up what was on its way, as the broker does.
func (l *life) resume(keys []share.Key) {
	for range 10 {
		if keys = l.leases.Resume(keys); len(keys) == 0 {
			return
		}
		select {
		case <-time.After(time.Second):
		case <-l.over:
			return
		}
	}
}

func (l *life) coordinators() (err error) {
	named := func(name string) func() int32 {
		return func() int32 { return l.partitions(l.cluster.Image().Topic(name)) }
	}
	l.shares, err = share.New(share.Options{KV: l.dir.KV(), Log: l.log, Partitions: named(shareTopic), Prune: l.prune, Unfinished: l.resume, Config: shareConfig,
		TopicPartitions: func(id uuid.ID) int32 { return l.partitions(l.cluster.Image().TopicByID(id)) },
		TopicGone:       func(id uuid.ID) bool { return l.cluster.Image().TopicByID(id) == nil }})
	if err != nil {
		return err
	}
	l.groups, err = group.New(group.Options{KV: l.dir.KV(), Log: l.log, Partitions: named(offsetsTopic), Share: l.shares, Topics: topicsOf{l},
		ShareStateChanged: func(k share.Key) { l.leases.Forget(k) }})
	if err != nil {
		return err
	}
	l.replicas = replica.New(replica.Options{Dir: l.dir, BrokerID: 1, Start: settings, Active: l.cluster.Active, OnLeadership: l.leads, Log: l.log})
	producers := handler.NewProducerIDs(l.cluster.AllocateProducerIDs)
	l.delays, err = delay.New(delay.Options{KV: l.dir.KV(), Replicas: l.replicas, Image: l.cluster.Image, ProducerID: producers.Next, Log: l.log})
	if err != nil {
		return err
	}
	l.leases, err = engine.New(engine.Options{BrokerID: 1, Replicas: l.replicas, State: slowIntents{l.shares, &l.slow}, Image: l.cluster.Image, Start: settings, Log: l.log,
		CreateTopic: l.cluster.CreateTopic, ProducerIDs: producers.Next,
		Delayed: func(_ context.Context, id uuid.ID) (int64, error) {
			return l.delays.Count(id, l.partitions(l.cluster.Image().TopicByID(id)))
		}})
	if err != nil {
		return err
	}
	l.door = engine.NewDoor(engine.DoorOptions{Engine: l.leases, MaxSessions: 100, MaxBytes: 50 << 20, Endpoint: handler.Endpoint})
	l.handlers, err = handler.New(handler.Deps{Log: l.log, ClusterID: l.cluster.Image().ClusterID, BrokerID: 1, Start: settings, Cluster: l.cluster,
		Replicas: l.replicas, Groups: l.groups, Shares: l.shares, Leases: l.leases, ShareDoor: l.door, Delays: l.delays, Producers: producers,
		Fetch: fetch.New(fetch.Options{Replicas: l.replicas, Image: l.cluster.Image, Sessions: fetch.NewSessions(10), MaxBytes: 50 << 20})})
	return err
}

// serve opens the partitions.
func (l *life) serve() error {
	l.dir.OnDiskFull(l.replicas.SetDiskFull)
	l.cluster.OnFence(l.replicas.SetFenced)
	l.cluster.OnChange(l.replicas.Apply)
	if err := l.dir.Ready(); err != nil {
		return err
	}
	l.cluster.OnChange(l.leases.Apply)
	l.cluster.OnChange(l.forget)
	l.watch.Go(func() {
		select {
		case <-l.dir.Failed():
			l.replicas.Fail(l.dir.Ready())
		case <-l.over:
		}
	})
	return l.dir.RemoveStrays()
}

func (l *life) leads(p *replica.Partition, leading bool, epoch int32) {
	type coordinator interface {
		Load(id uuid.ID, partition, epoch int32, log runtime.Log)
		Unload(partition, epoch int32)
	}
	c, coordinated := map[string]coordinator{offsetsTopic: l.groups, shareTopic: l.shares, delay.Topic: l.delays}[p.Topic]
	switch {
	case !coordinated:
	case leading:
		c.Load(p.ID, p.Number, epoch, p.CoordinatorLog(epoch))
	default:
		c.Unload(p.Number, epoch)
	}
}

// prune drops share state that is not needed.
func (l *life) prune(partition int32, upTo int64) {
	l.watch.Go(func() {
		p, err := l.replicas.Partition(l.cluster.Image().Topic(shareTopic).ID, partition)
		if err == nil {
			_, err = p.DeleteRecords(upTo)
		}
		if err == nil {
			l.pruned.Store(upTo)
		}
	})
}

// forget has the coordinators drop what belongs to deleted topics.
func (l *life) forget(old, now *cluster.Image) {
	var gone []group.Topic
	var ids []uuid.ID
	for was, is := range now.TopicChanges(old) {
		if is == nil {
			gone, ids = append(gone, group.Topic{Name: was.Name, ID: was.ID}), append(ids, was.ID)
		}
	}
	if len(gone) > 0 {
		l.groups.TopicsDeleted(gone)
		l.delays.TopicsDeleted(ids)
		l.shares.TopicsDeleted(ids)
	}
}

// stop takes the parts down in the broker's order. After a crash the cluster hears nothing of it.
func (l *life) stop(orderly bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if !orderly {
		l.metadata.cut()
		if l.replicas != nil {
			l.replicas.Fail(vfs.ErrCut)
		}
	}
	close(l.over)
	var err error
	if l.door != nil {
		err = l.door.Close(ctx)
	}
	if l.leases != nil {
		if e := l.leases.Close(ctx); err == nil {
			err = e
		}
	}
	if l.delays != nil {
		l.delays.Close()
	}
	if l.groups != nil {
		l.groups.Close()
	}
	if l.shares != nil {
		l.shares.Close()
	}
	if l.replicas != nil {
		l.replicas.Close()
	}
	l.watch.Wait()
	if l.cluster != nil {
		_ = l.cluster.Close(ctx)
	}
	if l.dir != nil {
		_ = l.dir.Close()
	}
	return err
}

// topicsOf is the cluster's topics as share groups see them.
type topicsOf struct{ l *life }

func (t topicsOf) Revision() int64 { return t.l.cluster.Image().Revision }

func (t topicsOf) Topic(name string) (uuid.ID, int32, bool) {
	topic := t.l.cluster.Image().Topic(name)
	if topic == nil {
		return uuid.ID{}, 0, false
	}
	return topic.ID, t.l.partitions(topic), true
}

func (t topicsOf) TopicByID(id uuid.ID) (string, int32, bool) {
	topic := t.l.cluster.Image().TopicByID(id)
	if topic == nil {
		return "", 0, false
	}
	return topic.Name, t.l.partitions(topic), true
}

func (t topicsOf) LogEnd(id uuid.ID, partition int32, done func(int64, error)) {
	p, err := t.l.replicas.Partition(id, partition)
	if err != nil {
		done(-1, err)
		return
	}
	done(p.HighWatermark(), nil)
}
