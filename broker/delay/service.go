package delay

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/broker/clock"
	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/coordinator/runtime"
	"github.com/tidemark-mq/tidemark/protocol/private"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/storage/kv"
)

// Topic is the internal topic that delayed messages wait in.
const Topic = "__delayed_messages"

// Options of a Service.
type Options struct {
	KV       *kv.DB // keeps the views of the partitions led here
	Replicas *replica.Manager
	Image    func() *cluster.Image
	// ProducerID is a producer id that nobody had before.
	ProducerID func(context.Context) (int64, error)
	// MaxPending is how many messages may wait for one partition; default 10 million.
	MaxPending int64
	// Now is the time by which messages are due, see clock.Anchored; nil: a clock that is made by New.
	Now     func() time.Time
	Log     *zap.Logger
	Metrics prometheus.Registerer
}

// Service keeps the delayed messages of those partitions of Topic that this broker leads. Its methods may be called from any
// goroutine.
type Service struct {
	o          Options
	log        *zap.Logger
	rt         *runtime.Runtime[*machine]
	producerID func(context.Context) (int64, error)
	maxPending int64
	slots      chan struct{} // held by a copy that is being made

	life context.Context
	end  context.CancelFunc
	mu   sync.Mutex // guards closed against the adding of tasks
	done bool
	wg   sync.WaitGroup
}

// copiesAtOnce bounds the copies that are being made side by side.
const copiesAtOnce = 64

// TooManyError says that as many messages wait for a partition as may.
type TooManyError struct {
	Target         Target
	Waiting, Limit int64
}

func (e *TooManyError) Error() string {
	return fmt.Sprintf("%d delayed messages wait for partition %d already; at most %d may", e.Waiting, e.Target.Partition, e.Limit)
}

// New makes a service that leads no partition yet.
func New(o Options) (*Service, error) {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Now == nil {
		o.Now = clock.Anchored(time.Now)
	}
	s := &Service{o: o, log: o.Log, producerID: o.ProducerID, maxPending: o.MaxPending, slots: make(chan struct{}, copiesAtOnce)}
	if s.maxPending <= 0 {
		s.maxPending = 10_000_000
	}
	s.life, s.end = context.WithCancel(context.Background())
	rt, err := runtime.New(runtime.Options[*machine]{Name: "delay", KV: o.KV, Rows: Rows, Now: o.Now,
		New: func(partition, _ int32) *machine { return newMachine(s, partition) }, Log: o.Log, Metrics: o.Metrics})
	if err != nil {
		return nil, err
	}
	s.rt = rt
	return s, nil
}

// Load begins to serve a partition of Topic, see runtime.Runtime.Load.
func (s *Service) Load(id uuid.ID, partition, epoch int32, log runtime.Log) {
	s.rt.Load(id, partition, epoch, log)
}

// Unload ends it, for that epoch and older ones.
func (s *Service) Unload(partition, epoch int32) { s.rt.Unload(partition, epoch) }

// Shards lists the partitions served here and their states.
func (s *Service) Shards() map[int32]runtime.State { return s.rt.Shards() }

// Close stops; what was on its way goes on in the next life.
func (s *Service) Close() {
	s.mu.Lock()
	s.done = true
	s.mu.Unlock()
	s.end()
	s.rt.Close()
	s.wg.Wait()
}

// start runs fn on a goroutine that Close waits for; not at all once it is closed.
func (s *Service) start(fn func(context.Context)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done {
		return
	}
	s.wg.Go(func() { fn(s.life) })
}

// shardOf is the partition of Topic that keeps a target's messages; false while there is none.
func (s *Service) shardOf(t Target) (int32, bool) {
	topic := s.o.Image().Topic(Topic)
	if topic == nil {
		return 0, false
	}
	h := fnv.New32a()
	h.Write(t.append(nil))
	return int32(h.Sum32() % uint32(len(topic.Partitions))), true
}

// Delay keeps messages until they are due. done is called once, maybe before Delay returns: with their ids when they are
// durable, or with an error of package runtime, or *TooManyError, and then none is kept. messages must not be empty.
func (s *Service) Delay(t Target, messages []private.DelayedMessage, done func(ids []int64, err error)) {
	shard, ok := s.shardOf(t)
	err := runtime.ErrNotCoordinator
	if ok {
		err = s.rt.Do(shard, func(m *machine, v runtime.View) runtime.Outcome { return m.keep(v, t, messages, done) })
	}
	if err != nil {
		done(nil, err)
	}
}

// Cancel drops the messages that wait for a target, save those on their way into it, and answers how many there were. It waits
// until that is durable.
func (s *Service) Cancel(ctx context.Context, t Target) (n int64, err error) {
	shard, ok := s.shardOf(t)
	if !ok {
		return 0, nil
	}
	for {
		dropped, more, err := s.cancelSome(ctx, shard, t)
		if n += dropped; err != nil || !more {
			return n, err
		}
	}
}

func (s *Service) cancelSome(ctx context.Context, shard int32, t Target) (n int64, more bool, err error) {
	done := make(chan error, 1)
	err = s.rt.Do(shard, func(m *machine, v runtime.View) runtime.Outcome {
		keep := map[ref]bool{}
		p, err := m.producerOf(v, t)
		if err == nil && p != nil && p.open != nil {
			for _, at := range p.open.messages {
				keep[at] = true
			}
		}
		var records []runtime.Record
		if err == nil {
			records, more, err = m.waiting(v, t, keep)
		}
		if err != nil {
			return runtime.Outcome{Reply: func(error) { done <- err }}
		}
		n = int64(len(records))
		return runtime.Outcome{Records: records, Reply: func(err error) { done <- err }}
	})
	if err != nil {
		return 0, false, err
	}
	select {
	case err = <-done:
		return n, more, err
	case <-ctx.Done():
		return 0, false, context.Cause(ctx)
	}
}

// TopicsDeleted drops what waits for topics that are gone.
func (s *Service) TopicsDeleted(gone []uuid.ID) {
	for shard := range s.rt.Shards() {
		for _, id := range gone {
			_ = s.rt.Do(shard, func(m *machine, v runtime.View) runtime.Outcome { // elsewhere and later: found gone when due
				for t, at := range m.targets {
					if t.Topic == id && !at.busy {
						return m.dropAll(v, id)
					}
				}
				return runtime.Outcome{}
			})
		}
	}
}

// dropAll has each target of a topic found gone.
func (m *machine) dropAll(v runtime.View, id uuid.ID) runtime.Outcome {
	return runtime.Outcome{Then: func(tx *runtime.Tx) {
		for t, at := range m.targets {
			if t.Topic == id && !at.busy {
				at.busy = true
				tx.Schedule(timerOf(timerRetry, t), tx.Now())
			}
		}
	}}
}

// Count is how many messages wait for the partitions of a topic that has so many. Errors wrap COORDINATOR_LOAD_IN_PROGRESS or
// NOT_COORDINATOR while a shard is not there.
func (s *Service) Count(topic uuid.ID, partitions int32) (n int64, err error) {
	for p := range partitions {
		t := Target{topic, p}
		shard, ok := s.shardOf(t)
		if !ok {
			return 0, nil
		}
		err := s.rt.Read(shard, func(r runtime.Reader) error {
			some, err := count(r, t)
			n += some
			return err
		})
		if err != nil {
			return 0, fmt.Errorf("counting what waits: %w", refusal(err))
		}
	}
	return n, nil
}

// refusal is an error with what it is for those who do not know the runtime's: a shard that starts is worth another try.
func refusal(err error) error {
	switch {
	case errors.Is(err, runtime.ErrLoading), errors.Is(err, runtime.ErrBusy):
		return fmt.Errorf("%w: %w", kerr.CoordinatorLoadInProgress, err)
	case errors.Is(err, runtime.ErrNotCoordinator):
		return fmt.Errorf("%w: %w", kerr.NotCoordinator, err)
	}
	return err
}

// find is a target's partition on this broker.
func (s *Service) find(t Target) (*replica.Partition, error) {
	image := s.o.Image()
	topic := image.TopicByID(t.Topic)
	if topic == nil || t.Partition < 0 || int(t.Partition) >= len(topic.Partitions) {
		if image.Incomplete {
			return nil, errNotHere // it may be among what cannot be read
		}
		return nil, errTargetGone
	}
	p, err := s.o.Replicas.Partition(t.Topic, t.Partition)
	if err != nil {
		return nil, errNotHere
	}
	return p, nil
}

// logEnd is the end of a target's log; 0 where it is not here.
func (s *Service) logEnd(t Target) int64 {
	p, err := s.find(t)
	if err != nil {
		return 0
	}
	return max(p.LogEnd(), 0)
}
