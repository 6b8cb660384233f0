package leases

import (
	"context"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/broker/delay"
	"github.com/tidemark-mq/tidemark/broker/fetch"
	"github.com/tidemark-mq/tidemark/broker/handler"
	"github.com/tidemark-mq/tidemark/broker/replica"
	leases "github.com/tidemark-mq/tidemark/broker/share"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/coordinator/group"
	"github.com/tidemark-mq/tidemark/coordinator/runtime"
	"github.com/tidemark-mq/tidemark/coordinator/share"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/storage/logdir"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// life is one life of a broker, put together as broker.Start does it, without sockets: all parts are the real ones. Its disk can be
// cut, and the cluster's metadata outlives it.
type life struct {
	ctx  context.Context // of its clients' connections
	end  context.CancelFunc
	over chan struct{} // closed when it has ended

	log      *zap.Logger
	store    *outliving
	dir      *logdir.Dir
	cluster  *cluster.Cluster
	shares   *share.Service
	groups   *group.Service
	replicas *replica.Manager
	delays   *delay.Service
	leases   *leases.Engine
	door     *leases.Door
	handlers *handler.Registry
}

const (
	offsetsTopic = "__consumer_offsets"
	shareTopic   = "__share_group_state"
)

// settings make everything small.
var settings = map[string]string{
	"offsets.topic.num.partitions":                 "1",
	"share.coordinator.state.topic.num.partitions": "1",
}

// The journal is small, so that its files are used again and again.
var smallJournal = logdir.JournalOptions{FileBytes: 64 << 10, MaxBytes: 256 << 10, OwnSyncBytes: 8 << 10, MaxRoundBytes: 32 << 10, CheckpointAge: 10 * time.Second}

// begin starts a life; an error is one of a disk that was cut. The life is to be ended even so.
func begin(fs vfs.FS, metadata cluster.Store, log *zap.Logger) (*life, error) {
	l := &life{log: log, store: &outliving{Store: metadata}, over: make(chan struct{})}
	l.ctx, l.end = context.WithCancel(context.Background())
	d, err := logdir.Open(logdir.Options{FS: fs, Dir: "data", BrokerID: 1, Journal: smallJournal, NoCleaner: true, Reserve: -1, Log: log})
	if err != nil {
		return l, err
	}
	l.dir = d
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	l.cluster, err = cluster.Start(ctx, cluster.Options{BrokerID: 1, DirectoryID: d.ID(), Clean: d.Clean(), ClusterID: d.ClusterID(), Store: l.store, Log: log,
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

// partitions is how many partitions a topic has.
func (l *life) partitions(name string) int32 {
	if t := l.cluster.Image().Topic(name); t != nil {
		return int32(len(t.Partitions))
	}
	return 0
}

func (l *life) coordinators() (err error) {
	l.shares, err = share.New(share.Options{KV: l.dir.KV(), Log: l.log, Partitions: func() int32 { return l.partitions(shareTopic) },
		TopicPartitions: func(id uuid.ID) int32 {
			if t := l.cluster.Image().TopicByID(id); t != nil {
				return int32(len(t.Partitions))
			}
			return 0
		},
		Config: share.Config{SnapshotUpdates: 20, WriteTimeout: 15 * time.Second}})
	if err != nil {
		return err
	}
	l.groups, err = group.New(group.Options{KV: l.dir.KV(), Log: l.log, Partitions: func() int32 { return l.partitions(offsetsTopic) },
		Share: l.shares, Topics: topicsOf{l}, ShareStateChanged: func(k share.Key) { l.leases.Forget(k) }})
	if err != nil {
		return err
	}
	l.replicas = replica.New(replica.Options{Dir: l.dir, BrokerID: 1, Start: settings, Active: l.cluster.Active, OnLeadership: l.leads, Log: l.log})
	producers := handler.NewProducerIDs(l.cluster.AllocateProducerIDs)
	l.delays, err = delay.New(delay.Options{KV: l.dir.KV(), Replicas: l.replicas, Image: l.cluster.Image, ProducerID: producers.Next, Log: l.log})
	if err != nil {
		return err
	}
	l.leases, err = leases.New(leases.Options{BrokerID: 1, Replicas: l.replicas, State: l.shares, Image: l.cluster.Image, Start: settings, Log: l.log,
		CreateTopic: l.cluster.CreateTopic, ProducerIDs: producers.Next,
		Delayed: func(_ context.Context, id uuid.ID) (int64, error) {
			t := l.cluster.Image().TopicByID(id)
			if t == nil {
				return 0, nil
			}
			return l.delays.Count(id, int32(len(t.Partitions)))
		}})
	if err != nil {
		return err
	}
	l.door = leases.NewDoor(leases.DoorOptions{Engine: l.leases, MaxSessions: 100, MaxBytes: 50 << 20, Endpoint: handler.Endpoint})
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

// stop takes the parts down in the broker's order. After a crash the cluster hears nothing of it.
func (l *life) stop(orderly bool) error {
	l.store.shut.Store(!orderly)
	l.end()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if !orderly && l.replicas != nil {
		l.replicas.Fail(vfs.ErrCut) // as the broker does when its storage has failed
	}
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
	if l.cluster != nil {
		_ = l.cluster.Close(ctx)
	}
	if l.dir != nil {
		_ = l.dir.Close()
	}
	close(l.over)
	return err
}

// outliving is metadata that a broker leaves behind; shut, nothing reaches it.
type outliving struct {
	cluster.Store
	shut atomic.Bool
}

func (s *outliving) Txn(ctx context.Context, t cluster.Txn) (cluster.TxnResult, error) {
	if s.shut.Load() {
		return cluster.TxnResult{}, cluster.ErrUnavailable
	}
	return s.Store.Txn(ctx, t)
}

func (s *outliving) Revoke(ctx context.Context, id cluster.LeaseID) error {
	if s.shut.Load() {
		return cluster.ErrUnavailable
	}
	return s.Store.Revoke(ctx, id)
}

func (s *outliving) Close() error { return nil }

// topicsOf is the cluster's topics as share groups see them.
type topicsOf struct{ l *life }

func (t topicsOf) Revision() int64 { return t.l.cluster.Image().Revision }

func (t topicsOf) Topic(name string) (uuid.ID, int32, bool) {
	topic := t.l.cluster.Image().Topic(name)
	if topic == nil {
		return uuid.ID{}, 0, false
	}
	return topic.ID, int32(len(topic.Partitions)), true
}

func (t topicsOf) TopicByID(id uuid.ID) (string, int32, bool) {
	topic := t.l.cluster.Image().TopicByID(id)
	if topic == nil {
		return "", 0, false
	}
	return topic.Name, int32(len(topic.Partitions)), true
}

func (t topicsOf) LogEnd(id uuid.ID, partition int32, done func(int64, error)) {
	p, err := t.l.replicas.Partition(id, partition)
	if err != nil {
		done(-1, err)
		return
	}
	done(p.HighWatermark(), nil)
}
