package broker

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/broker/clock"
	"github.com/tidemark-mq/tidemark/broker/delay"
	"github.com/tidemark-mq/tidemark/broker/handler"
	"github.com/tidemark-mq/tidemark/broker/replica"
	leases "github.com/tidemark-mq/tidemark/broker/share"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/coordinator/config"
	"github.com/tidemark-mq/tidemark/coordinator/group"
	"github.com/tidemark-mq/tidemark/coordinator/runtime"
	"github.com/tidemark-mq/tidemark/coordinator/share"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// shareTopic holds the share coordinator's state, as in Kafka.
const shareTopic = "__share_group_state"

// startShares starts the share coordinator.
func (b *Broker) startShares(context.Context) error {
	l := b.fixed()
	s, err := share.New(share.Options{
		KV: b.dir.KV(), Partitions: func() int32 { return int32(len(internalTopic(b.cluster.Image(), shareTopic))) },
		TopicPartitions: func(id uuid.ID) int32 {
			t := b.cluster.Image().TopicByID(id)
			if t == nil {
				return 0
			}
			return int32(len(t.Partitions))
		},
		TopicGone: func(id uuid.ID) bool {
			image := b.cluster.Image()
			return !image.Incomplete && image.TopicByID(id) == nil
		},
		Prune: b.pruneShareState, Unfinished: b.resumeLeases,
		Config: share.Config{
			SnapshotUpdates: orNone(int(l.BrokerInt("share.coordinator.snapshot.update.records.per.snapshot"))),
			WriteTimeout:    ms(l.BrokerInt("share.coordinator.write.timeout.ms")),
		},
		Log: b.log.Named("share"), Metrics: b.registry,
	})
	if err != nil {
		return err
	}
	b.shares = s
	b.stops = append(b.stops, func(context.Context) error {
		s.Close()
		return nil
	})
	return nil
}

// pruneShareState drops what the share coordinator does not need any more.
func (b *Broker) pruneShareState(partition int32, upTo int64) {
	if b.life.Err() != nil {
		return
	}
	b.prunes.Go(func() {
		t := b.cluster.Image().Topic(shareTopic)
		if t == nil {
			return
		}
		p, err := b.replicas.Partition(t.ID, partition)
		if err == nil {
			_, err = p.DeleteRecords(upTo)
		}
		if err != nil {
			b.log.Warn("old share state not dropped", zap.Int32("partition", partition), zap.Error(err))
		}
	})
}

// resumeLeases has the engine take up what was on its way in share partitions: nobody else may ask for them, and their dead
// letters and the ends of their leases are not to wait for that.
func (b *Broker) resumeLeases(keys []share.Key) {
	const attempts, pause = 10, time.Second // those that this broker leads are led soon after the coordinator is
	for range attempts {
		if keys = b.leases.Resume(keys); len(keys) == 0 {
			return
		}
		select {
		case <-time.After(pause):
		case <-b.life.Done():
			return
		}
	}
}

// startLeases makes the lease engine and the delays over partitions that are not open yet.
func (b *Broker) startLeases() error {
	b.now = clock.Anchored(time.Now)
	d, err := delay.New(delay.Options{KV: b.dir.KV(), Replicas: b.replicas, Image: b.cluster.Image, ProducerID: b.producers.Next,
		Now: b.now, Log: b.log.Named("delay"), Metrics: b.registry})
	if err != nil {
		return err
	}
	b.delays = d
	e, err := leases.New(leases.Options{BrokerID: b.plan.BrokerID, Replicas: b.replicas, State: b.shares, Image: b.cluster.Image, Start: b.plan.start,
		CreateTopic: func(ctx context.Context, spec cluster.TopicSpec) (*cluster.Topic, error) {
			return b.cluster.CreateTopic(ctx, spec)
		},
		ProducerIDs: b.producers.Next,
		Delayed: func(_ context.Context, id uuid.ID) (int64, error) {
			t := b.cluster.Image().TopicByID(id)
			if t == nil {
				return 0, nil
			}
			return d.Count(id, int32(len(t.Partitions)))
		},
		Now: b.now, Log: b.log.Named("leases"), Metrics: b.registry})
	if err != nil {
		return err
	}
	b.leases = e
	l := b.fixed()
	b.shareDoor = leases.NewDoor(leases.DoorOptions{Engine: e, MaxSessions: int(l.BrokerInt("group.share.max.share.sessions")),
		MaxBytes: int32(l.BrokerInt("fetch.max.bytes")), Endpoint: handler.Endpoint})
	return nil
}

// Now is the time that this broker's leases and delayed messages go by, which steps of the machine's clock do not move (package
// clock). It is for a queue service in front of this broker, whose due times are compared with it.
func (b *Broker) Now() time.Time { return b.now() }

// stopLeases ends what startLeases began, before the partitions end.
func (b *Broker) stopLeases(ctx context.Context) {
	if b.shareDoor != nil {
		if err := b.shareDoor.Close(ctx); err != nil {
			b.log.Warn("share sessions were left open", zap.Error(err))
		}
	}
	if b.leases != nil {
		if err := b.leases.Close(ctx); err != nil {
			b.log.Warn("leases were left at work", zap.Error(err))
		}
	}
	if b.delays != nil {
		b.delays.Close()
	}
}

// leads hands leadership of internal partitions to their coordinator.
func (b *Broker) leads(p *replica.Partition, leading bool, epoch int32) {
	var c coordinator
	switch p.Topic {
	case offsetsTopic:
		c = b.groups
	case shareTopic:
		c = b.shares
	case delay.Topic:
		c = b.delays
	default:
		return
	}
	if leading {
		c.Load(p.ID, p.Number, epoch, p.CoordinatorLog(epoch))
	} else {
		c.Unload(p.Number, epoch)
	}
}

// groupTopics is the cluster's topics as share groups see them.
type groupTopics struct{ b *Broker }

func (t groupTopics) Revision() int64 { return t.b.cluster.Image().Revision }

func (t groupTopics) Topic(name string) (uuid.ID, int32, bool) {
	topic := t.b.cluster.Image().Topic(name)
	if topic == nil {
		return uuid.ID{}, 0, false
	}
	return topic.ID, int32(len(topic.Partitions)), true
}

func (t groupTopics) TopicByID(id uuid.ID) (string, int32, bool) {
	topic := t.b.cluster.Image().TopicByID(id)
	if topic == nil {
		return "", 0, false
	}
	return topic.Name, int32(len(topic.Partitions)), true
}

func (t groupTopics) LogEnd(id uuid.ID, partition int32, done func(int64, error)) {
	p, err := t.b.replicas.Partition(id, partition)
	if err != nil {
		done(-1, err)
		return
	}
	done(p.HighWatermark(), nil)
}

// shareSettings is what a share group's members live by.
func (b *Broker) shareSettings(name string) group.ShareSettings {
	image := b.cluster.Image()
	l := replica.Layers(image, b.plan.BrokerID, b.plan.start, "")
	l.Own = image.Config(config.Group().Kind, name)
	s := l.Share()
	return group.ShareSettings{SessionTimeout: s.SessionTimeout, HeartbeatInterval: s.HeartbeatInterval}
}

// coordinator serves the partitions of an internal topic that this broker leads.
type coordinator interface {
	Load(id uuid.ID, partition, epoch int32, log runtime.Log)
	Unload(partition, epoch int32)
}
