package simulation

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/broker/clock"
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

// Dir is the broker's data directory on a World's disk.
const Dir = "data"

const (
	offsetsTopic = "__consumer_offsets"
	shareTopic   = "__share_group_state"
)

// settings make coordinators small.
var settings = map[string]string{
	"offsets.topic.num.partitions":                 "1",
	"share.coordinator.state.topic.num.partitions": "1",
}

// The journal is small, so that its files are used again and again.
var smallJournal = logdir.JournalOptions{FileBytes: 64 << 10, MaxBytes: 256 << 10, OwnSyncBytes: 8 << 10, MaxRoundBytes: 32 << 10, CheckpointAge: 10 * time.Second}

// Life is one life of a broker. Its parts are there for tests to look at, and to do what no request does.
type Life struct {
	Cluster  *cluster.Cluster
	Shares   *share.Service
	Replicas *replica.Manager
	Delays   *delay.Service

	log      *zap.Logger
	metadata *cable
	dir      *logdir.Dir
	groups   *group.Service
	leases   *engine.Engine
	door     *engine.Door
	handlers *handler.Registry
	now      func() time.Time

	ctx    context.Context // ends when the life does
	end    context.CancelFunc
	works  sync.WaitGroup // the watch over the disk, and prunes
	pruned atomic.Int64
}

// Context ends when the life does: that of its clients' connections.
func (l *Life) Context() context.Context { return l.ctx }

// Do is the front door: it answers a request as if it had come over a socket from the principal.
func (l *Life) Do(ctx context.Context, principal string, req kmsg.Request) (kmsg.Response, error) {
	return l.handlers.Do(ctx, principal, req)
}

// Now is the time that the broker's leases and delayed messages go by.
func (l *Life) Now() time.Time { return l.now() }

// Pruned is the offset below which the share coordinator's log was dropped last; 0: it was not yet.
func (l *Life) Pruned() int64 { return l.pruned.Load() }

// begin starts a life; an error is one of a disk or a cable that was cut. The life is to be stopped even so.
func begin(o Options, fs vfs.FS, metadata *cable, log *zap.Logger) (*Life, error) {
	l := &Life{log: log, metadata: metadata}
	l.ctx, l.end = context.WithCancel(context.Background())
	d, err := logdir.Open(logdir.Options{FS: fs, Dir: Dir, BrokerID: 1, Journal: smallJournal, NoCleaner: true, Reserve: -1, Log: log})
	if err != nil {
		return l, err
	}
	l.dir = d
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	l.Cluster, err = cluster.Start(ctx, cluster.Options{BrokerID: 1, DirectoryID: d.ID(), Clean: d.Clean(), ClusterID: d.ClusterID(), Store: metadata, Log: log,
		Features:  handler.FoundingFeatures(),
		Listeners: []cluster.Endpoint{{Name: "PLAINTEXT", Protocol: "PLAINTEXT", Host: "here", Port: 9092}}})
	if err != nil {
		return l, err
	}
	if err := d.SetClusterID(l.Cluster.Image().ClusterID); err != nil {
		return l, err
	}
	if err := l.coordinators(o); err != nil {
		return l, err
	}
	if err := l.engines(o); err != nil {
		return l, err
	}
	return l, l.serve()
}

// coordinators makes them over partitions that are not open yet.
func (l *Life) coordinators(o Options) (err error) {
	named := func(name string) func() int32 {
		return func() int32 { return partitions(l.Cluster.Image().Topic(name)) }
	}
	l.Shares, err = share.New(share.Options{KV: l.dir.KV(), Log: l.log, Partitions: named(shareTopic), Prune: l.prune, Unfinished: l.resume, Config: o.Share,
		TopicPartitions: func(id uuid.ID) int32 { return partitions(l.Cluster.Image().TopicByID(id)) },
		TopicGone:       func(id uuid.ID) bool { return l.Cluster.Image().TopicByID(id) == nil }})
	if err != nil {
		return err
	}
	l.groups, err = group.New(group.Options{KV: l.dir.KV(), Log: l.log, Partitions: named(offsetsTopic), Share: l.Shares, Topics: topics{l},
		ShareStateChanged: func(k share.Key) { l.leases.Forget(k) },
		ShareStateDeleted: func(k share.Key) { l.leases.Deleted(k) }})
	if err != nil {
		return err
	}
	l.Replicas = replica.New(replica.Options{Dir: l.dir, BrokerID: 1, Start: settings, Active: l.Cluster.Active, OnLeadership: l.leads, Log: l.log})
	return nil
}

// engines makes the delays, the leases, and the front door.
func (l *Life) engines(o Options) (err error) {
	l.now = clock.Anchored(time.Now)
	producers := handler.NewProducerIDs(l.Cluster.AllocateProducerIDs)
	l.Delays, err = delay.New(delay.Options{KV: l.dir.KV(), Replicas: l.Replicas, Image: l.Cluster.Image, ProducerID: producers.Next, Now: l.now, Log: l.log})
	if err != nil {
		return err
	}
	var state engine.State = l.Shares
	if o.State != nil {
		state = o.State(state)
	}
	l.leases, err = engine.New(engine.Options{BrokerID: 1, Replicas: l.Replicas, State: state, Image: l.Cluster.Image, Start: settings, Now: l.now, Log: l.log,
		CreateTopic: l.Cluster.CreateTopic, ProducerIDs: producers.Next,
		Delayed: func(_ context.Context, id uuid.ID) (int64, error) {
			return l.Delays.Count(id, partitions(l.Cluster.Image().TopicByID(id)))
		}})
	if err != nil {
		return err
	}
	l.door = engine.NewDoor(engine.DoorOptions{Engine: l.leases, MaxSessions: 100, MaxBytes: 50 << 20, Endpoint: handler.Endpoint})
	l.handlers, err = handler.New(handler.Deps{Log: l.log, ClusterID: l.Cluster.Image().ClusterID, BrokerID: 1, Start: settings, Cluster: l.Cluster,
		Replicas: l.Replicas, Groups: l.groups, Shares: l.Shares, Leases: l.leases, ShareDoor: l.door, Delays: l.Delays, Producers: producers,
		Fetch: fetch.New(fetch.Options{Replicas: l.Replicas, Image: l.Cluster.Image, Sessions: fetch.NewSessions(10), MaxBytes: 50 << 20})})
	return err
}

// serve opens the partitions.
func (l *Life) serve() error {
	l.dir.OnDiskFull(l.Replicas.SetDiskFull)
	l.Cluster.OnFence(l.Replicas.SetFenced)
	l.Cluster.OnChange(l.Replicas.Apply)
	if err := l.dir.Ready(); err != nil {
		return err
	}
	l.Cluster.OnChange(l.leases.Apply)
	l.Cluster.OnChange(l.forget)
	l.works.Go(func() {
		select {
		case <-l.dir.Failed():
			l.Replicas.Fail(l.dir.Ready())
		case <-l.ctx.Done():
		}
	})
	return l.dir.RemoveStrays()
}

func (l *Life) leads(p *replica.Partition, leading bool, epoch int32) {
	type coordinator interface {
		Load(id uuid.ID, partition, epoch int32, log runtime.Log)
		Unload(partition, epoch int32)
	}
	c, coordinated := map[string]coordinator{offsetsTopic: l.groups, shareTopic: l.Shares, delay.Topic: l.Delays}[p.Topic]
	switch {
	case !coordinated:
	case leading:
		c.Load(p.ID, p.Number, epoch, p.CoordinatorLog(epoch))
	default:
		c.Unload(p.Number, epoch)
	}
}

// resume takes up what was on its way, as the broker does.
func (l *Life) resume(keys []share.Key) {
	for range 10 {
		if keys = l.leases.Resume(keys); len(keys) == 0 {
			return
		}
		select {
		case <-time.After(time.Second):
		case <-l.ctx.Done():
			return
		}
	}
}

// prune drops share state that is not needed.
func (l *Life) prune(partition int32, upTo int64) {
	if l.ctx.Err() != nil {
		return
	}
	l.works.Go(func() {
		t := l.Cluster.Image().Topic(shareTopic)
		if t == nil {
			return
		}
		p, err := l.Replicas.Partition(t.ID, partition)
		if err == nil {
			_, err = p.DeleteRecords(upTo)
		}
		if err == nil {
			l.pruned.Store(upTo)
		}
	})
}

// forget has the coordinators drop what belongs to deleted topics.
func (l *Life) forget(old, now *cluster.Image) {
	var gone []group.Topic
	var ids []uuid.ID
	for was, is := range now.TopicChanges(old) {
		if is == nil {
			gone, ids = append(gone, group.Topic{Name: was.Name, ID: was.ID}), append(ids, was.ID)
		}
	}
	if len(gone) > 0 {
		l.groups.TopicsDeleted(gone)
		l.Delays.TopicsDeleted(ids)
		l.Shares.TopicsDeleted(ids)
	}
}

// stop takes the parts down in the broker's order. After a crash the cluster hears nothing of it. An error says that work is left.
func (l *Life) stop(orderly bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if !orderly {
		l.metadata.cut()
		if l.Replicas != nil {
			l.Replicas.Fail(vfs.ErrCut) // as the broker does when its storage has failed
		}
	}
	l.end()
	var err error
	if l.door != nil {
		err = l.door.Close(ctx)
	}
	if l.leases != nil {
		if e := l.leases.Close(ctx); err == nil {
			err = e
		}
	}
	if l.Delays != nil {
		l.Delays.Close()
	}
	if l.groups != nil {
		l.groups.Close()
	}
	if l.Shares != nil {
		l.Shares.Close()
	}
	if l.Replicas != nil {
		l.Replicas.Close()
	}
	l.works.Wait()
	if l.Cluster != nil {
		_ = l.Cluster.Close(ctx)
	}
	if l.dir != nil {
		_ = l.dir.Close()
	}
	return err
}
