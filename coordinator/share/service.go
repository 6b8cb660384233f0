package share

import (
	"container/list"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/storage/kv"
)

// Options of a Service. Config's zero fields are Kafka's defaults.
type Options struct {
	KV     *kv.DB // keeps the views of the partitions led here
	Config Config
	// Partitions is how many partitions __share_group_state has; 0 while it does not exist.
	Partitions func() int32
	// TopicPartitions is how many partitions the topic of that id has, 0 for none: what the wire answers
	// UNKNOWN_TOPIC_OR_PARTITION for. nil: that is not asked.
	TopicPartitions func(uuid.ID) int32
	// TopicGone tells whether a topic is known not to exist: what is kept for it is dropped, where TopicsDeleted was not in time. nil:
	// that is not asked.
	TopicGone func(uuid.ID) bool
	// Prune is called now and then, from any goroutine, when no record of that partition of __share_group_state below upTo
	// is needed: they may be deleted, as by DeleteRecords. It returns soon. nil: the log keeps all.
	Prune func(partition int32, upTo int64)
	// Unfinished is called once after each load of a partition that has any, from a goroutine of its own, with the share
	// partitions in which something was on its way: dead letters, or leases that are persisted and may have run out. Nobody may
	// ask for them for long. nil: nobody wants to know.
	Unfinished func([]Key)
	Log        *zap.Logger
	Metrics    prometheus.Registerer
}

// Service is the share coordinator of this broker: for the share partitions of those partitions of __share_group_state that
// it leads. Its methods may be called from any goroutine; done is called once, maybe before the method returns and maybe much
// later, from any goroutine, and with nil only when what was decided is durable. Errors wrap a *kerr.Error.
type Service struct {
	cfg  Config
	opts Options
	log  *zap.Logger
	rt   *runtime.Runtime[*machine]
	held atomic.Int64 // bytes of states in memory

	mu     sync.Mutex
	logs   map[int32]runtime.Log // of the partitions loaded
	closed bool
	wg     sync.WaitGroup // goroutines that look for what is unfinished; none begins once closed
}

// New makes a coordinator that leads no partition yet.
func New(o Options) (*Service, error) {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Partitions == nil {
		return nil, errors.New("a share coordinator needs Partitions")
	}
	s := &Service{cfg: o.Config.withDefaults(), opts: o, log: o.Log, logs: map[int32]runtime.Log{}}
	rt, err := runtime.New(runtime.Options[*machine]{
		Name: "share", KV: o.KV, Rows: Rows, New: s.newMachine, EarlyReplies: true,
		// Records are only deleted when they are not needed any more, tombstones among them: a view never grows too old.
		DeleteRetention: forever, CommitTimeout: s.cfg.WriteTimeout,
		Log: o.Log, Metrics: o.Metrics,
	})
	if err != nil {
		return nil, err
	}
	s.rt = rt
	return s, nil
}

// forever is ten years.
const forever = 10 * 365 * 24 * 60 * 60 * 1e9

func (s *Service) newMachine(partition, _ int32) *machine {
	m := &machine{
		cfg: &s.cfg, log: s.log, partition: partition, gone: s.opts.TopicGone, held: &s.held,
		states: map[Key]*sharePartition{}, recent: list.New(),
	}
	s.mu.Lock()
	log := s.logs[partition]
	s.mu.Unlock()
	if s.opts.Unfinished != nil {
		m.loaded = func() { s.findUnfinished(partition) }
	}
	m.ends = func() (int64, int64) { return log.Start(), log.End() }
	if prune := s.opts.Prune; prune != nil {
		m.prune = func(upTo int64) { prune(partition, upTo) }
	}
	return m
}

// Load begins to coordinate the share partitions of a partition, whose leader this broker became in that epoch; id is that of
// the topic. See runtime.Runtime.Load.
func (s *Service) Load(id uuid.ID, partition, epoch int32, log runtime.Log) {
	s.mu.Lock()
	s.logs[partition] = log
	s.mu.Unlock()
	s.rt.Load(id, partition, epoch, log)
}

// Unload ends it, for that epoch and older ones.
func (s *Service) Unload(partition, epoch int32) { s.rt.Unload(partition, epoch) }

// Shards lists the partitions coordinated here and their states.
func (s *Service) Shards() map[int32]runtime.State { return s.rt.Shards() }

// Close answers all that is pending and stops.
func (s *Service) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.rt.Close()
	s.wg.Wait()
}

// do runs an operation on a share partition's shard, or fails.
func (s *Service) do(k Key, fail func(error), op func(*machine, runtime.View) runtime.Outcome) {
	var err error
	switch n := s.opts.Partitions(); {
	case k.Partition < 0:
		err = errNegativePartition
	case !fits(k.Group):
		err = errLongGroup
	case n <= 0:
		err = runtime.ErrNotCoordinator
	default:
		err = s.rt.Do(PartitionFor(k, n), op)
	}
	if err != nil {
		fail(err)
	}
}

// failing makes a done that takes a state into one for a failure.
func failing(done func(Stored, error)) func(error) {
	return func(err error) { done(Stored{}, told(err)) }
}

func telling(done func(error)) func(error) {
	return func(err error) { done(told(err)) }
}

// Read answers the state of a share partition, for the leader of its partition in that epoch: later calls of older leaders are
// refused with FENCED_LEADER_EPOCH. Start is -1, without batches, where nothing is kept.
func (s *Service) Read(k Key, leaderEpoch int32, done func(Stored, error)) {
	s.do(k, failing(done), func(m *machine, v runtime.View) runtime.Outcome {
		return m.read(v, k, leaderEpoch, origin{}, func(st Stored, err error) { done(st, told(err)) })
	})
}

// Write changes a state that was initialised. Writes whose batches have no offset in common commute, so they may be in flight
// together. Neither w nor anything in it is kept after the call.
//
// FENCED_STATE_EPOCH and FENCED_LEADER_EPOCH are for good. After them, INVALID_REQUEST, UNKNOWN_SERVER_ERROR (larger than the
// topic admits) and COORDINATOR_LOAD_IN_PROGRESS (loading, or too much is pending) nothing was written; after NOT_COORDINATOR
// and COORDINATOR_NOT_AVAILABLE it may have been, or will be: read again before writing something else, or Add counts twice.
func (s *Service) Write(w *Write, done func(error)) {
	done = telling(done)
	for i := range w.Batches {
		if !valid(&w.Batches[i]) {
			done(errBadBatch)
			return
		}
	}
	s.do(w.Key, done, func(m *machine, v runtime.View) runtime.Outcome { return m.write(v, w, done) })
}

// Initialize begins a state at an offset, or with -1 without a position, and forgets what there is of an older state epoch.
// What there is of the same stays as it is, so a call may be repeated; a newer one is refused with FENCED_STATE_EPOCH.
func (s *Service) Initialize(k Key, stateEpoch int32, start int64, done func(error)) {
	done = telling(done)
	s.do(k, done, func(m *machine, v runtime.View) runtime.Outcome {
		return m.initialize(v, k, stateEpoch, start, origin{}, done)
	})
}

// Delete removes a state; one that does not exist is fine.
func (s *Service) Delete(k Key, done func(error)) {
	done = telling(done)
	s.do(k, done, func(m *machine, v runtime.View) runtime.Outcome { return m.remove(v, k, done) })
}

// Summary answers a state without its batches, as it is committed. Start is -1 where nothing is kept.
func (s *Service) Summary(k Key, done func(Stored, error)) {
	s.do(k, failing(done), func(m *machine, v runtime.View) runtime.Outcome {
		return m.summary(v, k, func(st Stored, err error) { done(st, told(err)) })
	})
}

// TopicsDeleted deletes the states of topics that are gone, before it returns except for the commit.
func (s *Service) TopicsDeleted(ids []uuid.ID) {
	for partition := range s.rt.Shards() {
		var keys []Key
		err := s.rt.Survey(partition, func(r runtime.Reader) error {
			return r.Scan([]byte{rowHead}, nil, func(key, _ []byte) bool {
				r := reader{b: key[1:]}
				if k := r.key(); slices.Contains(ids, k.Topic) {
					keys = append(keys, k)
				}
				return true
			})
		})
		for some := range slices.Chunk(keys, coldStates) {
			if err == nil {
				err = s.rt.Do(partition, func(m *machine, v runtime.View) runtime.Outcome { return m.drop(v, some) })
			}
		}
		if err != nil && !errors.Is(err, runtime.ErrNotCoordinator) {
			s.log.Warn("share state of deleted topics remains", zap.Int32("partition", partition), zap.Error(err))
		}
	}
}
