package runtime

import (
	"errors"
	"fmt"
	goruntime "runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/storage/kv"
)

// Options of a Runtime. Zero values stand for the defaults.
type Options[M Machine] struct {
	// Name says in logs and metrics whose runtime this is: "group".
	Name string
	// KV keeps the views, in key spaces of Name.
	KV *kv.DB
	// New makes the machine of one life of a shard.
	New func(partition, epoch int32) M
	// Rows makes the rows of an entry, from the entry and the rows alone; Raw by default.
	Rows func(Writer, *Entry) error
	// DeleteRetention is the topic's delete.retention.ms: a view left alone for half of it
	// is dropped, because tombstones it never saw may be gone. Default 24 h.
	DeleteRetention time.Duration
	// CommitTimeout bounds how long a reply waits for its commit; afterwards it is
	// ErrTimedOut. Kafka's offsets.commit.timeout.ms; default 5 s.
	CommitTimeout time.Duration
	// MaxPending and MaxPendingBytes bound what one shard may have appended or parked
	// without being committed; beyond them Do answers ErrBusy. Default 20,000 and 32 MiB.
	MaxPending      int
	MaxPendingBytes int
	// EarlyReplies lets replies leave as soon as what they wait for is committed, before the view has it. For coordinators whose
	// readers all go through Do, which sees what is appended; not for those that use Read to see what was answered.
	EarlyReplies bool
	// Now is the time that timers, decisions and the batches written go by; time.Now by default.
	Now func() time.Time
	// Loads bounds how many shards load at once; default one a processor.
	Loads   int
	Log     *zap.Logger
	Metrics prometheus.Registerer

	store func(partition int32) store // where tests keep views
}

// readChunk is how much of a log one read asks for while loading, in bytes.
const readChunk = 1 << 20

// Runtime runs the shards of one coordinator. Its methods may be called from any
// goroutine.
type Runtime[M Machine] struct {
	opts    Options[M]
	log     *zap.Logger
	metrics *metrics
	timers  timers
	loads   chan struct{}
	wg      sync.WaitGroup

	mu     sync.RWMutex
	slots  map[int32]*slot[M]
	closed bool
}

// slot is a partition's place in the runtime, held over the lives of its shards.
type slot[M Machine] struct {
	// view keeps the writers of the partition's view apart, and readers from seeing half a
	// commit; held during its I/O.
	view  sync.RWMutex
	shard atomic.Pointer[shard[M]]
}

// New makes a runtime without shards.
func New[M Machine](o Options[M]) (*Runtime[M], error) {
	if o.store == nil && o.KV != nil {
		o.store = func(partition int32) store { return newKVStore(o.KV, o.Name, partition) }
	}
	if o.Name == "" || o.store == nil || o.New == nil {
		return nil, errors.New("a coordinator runtime needs Name, KV and New")
	}
	if o.Rows == nil {
		o.Rows = Raw
	}
	def(&o.DeleteRetention, 24*time.Hour)
	def(&o.CommitTimeout, 5*time.Second)
	def(&o.MaxPending, 20_000)
	def(&o.MaxPendingBytes, 32<<20)
	def(&o.Loads, goruntime.GOMAXPROCS(0))
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	r := &Runtime[M]{
		opts:   o,
		log:    o.Log.With(zap.String("coordinator", o.Name)),
		loads:  make(chan struct{}, o.Loads),
		timers: timers{now: o.Now},
		slots:  map[int32]*slot[M]{},
	}
	m, err := newMetrics(o.Name, o.Metrics, r.count)
	if err != nil {
		return nil, fmt.Errorf("metrics of the %s coordinator: %w", o.Name, err)
	}
	r.metrics = m
	return r, nil
}

func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Load begins to serve a partition of the topic id in a leader epoch; it returns at once
// and Do answers ErrLoading until the shard is ready. A shard of an older epoch ends; a
// call for the epoch that is already served, or an older one, does nothing.
func (r *Runtime[M]) Load(id uuid.ID, partition, epoch int32, log Log) {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return
	}
	sl := r.slots[partition]
	if sl == nil {
		sl = &slot[M]{}
		r.slots[partition] = sl
	}
	old := sl.shard.Load()
	if old != nil && old.id == id && (old.epoch > epoch || old.epoch == epoch && old.state.Load() != int32(Unloaded)) {
		r.mu.Unlock()
		return
	}
	s := newShard(r, sl, id, partition, epoch, log, 0)
	sl.shard.Store(s)
	r.mu.Unlock()
	if old != nil {
		old.end(Unloaded, errSuperseded)
	}
	s.begin()
}

var (
	errSuperseded = errors.New("led in a newer epoch")
	errStopping   = errors.New("the broker stops")
)

// Unload stops serving a partition that was loaded in that epoch or an older one.
func (r *Runtime[M]) Unload(partition, epoch int32) {
	r.mu.Lock()
	sl := r.slots[partition]
	if sl == nil {
		r.mu.Unlock()
		return
	}
	s := sl.shard.Load()
	if s == nil || s.epoch > epoch {
		r.mu.Unlock()
		return
	}
	sl.shard.Store(nil)
	r.mu.Unlock()
	s.end(Unloaded, errors.New("unloaded"))
}

// Do runs op on a partition's shard, on this goroutine. When it answers nil, op ran and
// speaks through its Outcome; otherwise it did not run: ErrNotCoordinator, ErrLoading or
// ErrBusy.
func (r *Runtime[M]) Do(partition int32, op func(M, View) Outcome) error {
	s := r.shard(partition)
	if s == nil {
		return ErrNotCoordinator
	}
	return s.do(op)
}

// Read has fn look at a partition's committed rows, as they are at one moment. Commits wait
// for fn, so it is to look up some rows only. Errors are those of Do and of fn.
func (r *Runtime[M]) Read(partition int32, fn func(Reader) error) error {
	s := r.shard(partition)
	if s == nil {
		return ErrNotCoordinator
	}
	s.slot.view.RLock()
	defer s.slot.view.RUnlock()
	if err := s.serving(); err != nil {
		return err
	}
	return fn(s.view)
}

// Survey is Read for long walks: it keeps nobody waiting, but costs more to begin.
func (r *Runtime[M]) Survey(partition int32, fn func(Reader) error) error {
	s := r.shard(partition)
	if s == nil {
		return ErrNotCoordinator
	}
	snap, err := s.snapshot()
	if err != nil {
		return err
	}
	defer snap.close()
	return fn(snapshot{snap})
}

// snapshot is taken while the shard serves, so no other life has begun to change its rows.
func (s *shard[M]) snapshot() (storeSnapshot, error) {
	s.slot.view.RLock()
	defer s.slot.view.RUnlock()
	if err := s.serving(); err != nil {
		return nil, err
	}
	return s.view.snapshot()
}

// State is where a shard is in its life.
type State int32

const (
	Loading State = iota
	Active
	Failed
	Unloaded
)

func (s State) String() string {
	return [...]string{"loading", "active", "failed", "unloaded"}[s]
}

// Shards lists the partitions that are loaded here, or are to be, with their states.
func (r *Runtime[M]) Shards() map[int32]State {
	r.mu.RLock()
	defer r.mu.RUnlock()
	states := make(map[int32]State, len(r.slots))
	for partition, sl := range r.slots {
		if s := sl.shard.Load(); s != nil {
			states[partition] = State(s.state.Load())
		}
	}
	return states
}

// Close ends all shards, answers what is parked and waits for the runtime's goroutines.
func (r *Runtime[M]) Close() {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return
	}
	r.closed = true
	var all []*shard[M]
	for _, sl := range r.slots {
		if s := sl.shard.Swap(nil); s != nil {
			all = append(all, s)
		}
	}
	r.mu.Unlock()
	for _, s := range all {
		s.end(Unloaded, errStopping)
	}
	r.timers.close()
	r.wg.Wait()
	r.metrics.close()
}

func (r *Runtime[M]) shard(partition int32) *shard[M] {
	r.mu.RLock()
	sl := r.slots[partition]
	r.mu.RUnlock()
	if sl == nil {
		return nil
	}
	return sl.shard.Load()
}

// start runs fn on a goroutine that Close waits for; not at all once it is closed.
func (r *Runtime[M]) start(fn func()) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.closed {
		return
	}
	r.wg.Add(1)
	go func() {
		defer r.wg.Done()
		fn()
	}()
}

// reload replaces a failed life of a shard by a new one.
func (r *Runtime[M]) reload(s *shard[M]) {
	r.mu.Lock()
	if r.closed || s.slot.shard.Load() != s {
		r.mu.Unlock()
		return
	}
	next := newShard(r, s.slot, s.id, s.partition, s.epoch, s.log, s.attempt+1)
	s.slot.shard.Store(next)
	r.mu.Unlock()
	next.begin()
}
