package share

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/broker/clock"
	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/coordinator/share"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// State keeps what became of records; *share.Service (coordinator/share) is one. Each done is called once, from any goroutine,
// perhaps before the call returns.
type State interface {
	Read(k share.Key, leaderEpoch int32, done func(share.Stored, error))
	Write(w *share.Write, done func(error))
	Initialize(k share.Key, stateEpoch int32, start int64, done func(error))
	Summary(k share.Key, done func(share.Stored, error))
}

// Options is what an Engine stands on.
type Options struct {
	BrokerID int32
	Replicas *replica.Manager
	State    State
	Image    func() *cluster.Image
	// Start is the broker settings given at start-up, by Kafka's names.
	Start map[string]string
	// CreateTopic makes a topic for dead letters; it answers when the image has it.
	CreateTopic func(context.Context, cluster.TopicSpec) (*cluster.Topic, error)
	// ProducerIDs answers one producer id that nobody has.
	ProducerIDs func(context.Context) (int64, error)
	// Delayed is how many messages wait to enter a topic; nil: none ever do.
	Delayed func(ctx context.Context, topic uuid.ID) (int64, error)
	// Now is the time that leases and retries go by, see clock.Anchored; nil: a clock that is made by New.
	Now     func() time.Time
	Log     *zap.Logger
	Metrics prometheus.Registerer // nil: none
}

// Engine is the lease engine of one broker: the share partitions whose partitions it leads.
type Engine struct {
	o       Options
	metrics *metrics
	clock   deadlines
	waiting atomic.Int64                  // polls that are parked
	answers atomic.Int64                  // counts answers with records, for the turns of partitions
	newest  atomic.Pointer[cluster.Image] // that Apply has heard of: while it runs, Image answers the one before
	ctx     context.Context
	end     context.CancelFunc
	work    atomic.Int64  // polls, goroutines and callbacks under way
	quiet   chan struct{} // hears that work fell to 0
	closed  atomic.Bool

	mu      sync.Mutex
	parts   map[share.Key]*partition // guarded by mu
	leaving map[share.Key]*partition // those that are over and have changes yet to hand to the state; guarded by mu
}

// idleAfter is how long a window is kept that nobody uses: no lease runs, nobody waits.
const idleAfter = 5 * time.Minute

// New makes an engine without partitions.
func New(o Options) (*Engine, error) {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Now == nil {
		o.Now = clock.Anchored(time.Now)
	}
	e := &Engine{o: o, quiet: make(chan struct{}, 1), parts: map[share.Key]*partition{}, leaving: map[share.Key]*partition{}}
	e.ctx, e.end = context.WithCancel(context.Background())
	e.clock.now, e.clock.due, e.clock.enter, e.clock.leave = e.now, (*partition).due, e.enter, e.leave
	var err error
	if e.metrics, err = newMetrics(e, o.Metrics); err != nil {
		return nil, fmt.Errorf("metrics of the lease engine: %w", err)
	}
	return e, nil
}

// now is the engine's time: see Options.Now.
func (e *Engine) now() time.Time { return e.o.Now() }

// enter begins a piece of work that Close waits for; false: the engine is closed.
func (e *Engine) enter() bool {
	e.work.Add(1)
	if e.closed.Load() {
		e.leave()
		return false
	}
	return true
}

// enterLate is enter for what follows from work that has begun, also while the engine closes.
func (e *Engine) enterLate() { e.work.Add(1) }

// leave ends a piece of work.
func (e *Engine) leave() {
	if e.work.Add(-1) == 0 {
		select {
		case e.quiet <- struct{}{}:
		default:
		}
	}
}

// spawn runs fn in a goroutine that Close waits for.
func (e *Engine) spawn(fn func()) {
	e.enterLate()
	go func() {
		defer e.leave()
		fn()
	}()
}

// loaded is how many share partitions are in use.
func (e *Engine) loaded() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.parts)
}

// inUse is the share partition, if it is in use and loaded; nil otherwise.
func (e *Engine) inUse(k share.Key) *partition {
	e.mu.Lock()
	p := e.parts[k]
	e.mu.Unlock()
	if p == nil || p.stale() || !p.ready() {
		return nil
	}
	return p
}

// partition finds a share partition that is in use, or loads it. done is called once, perhaps before it returns. Errors: see code.
func (e *Engine) partition(k share.Key, done func(*partition, error)) {
	for {
		e.mu.Lock()
		if e.closed.Load() {
			e.mu.Unlock()
			done(nil, errStopped)
			return
		}
		p := e.parts[k]
		if p == nil {
			break
		}
		e.mu.Unlock()
		if !p.stale() {
			p.whenLoaded(done)
			return
		}
		p.stop(errNotLeader)
	}
	// Engine.mu is held.
	part, err := e.o.Replicas.Partition(k.Topic, k.Partition)
	if err == nil {
		err = e.leads(part)
	} else {
		err = e.absent(k, err)
	}
	if err != nil {
		e.mu.Unlock()
		done(nil, err)
		return
	}
	p := newPartition(e, k, part)
	e.parts[k] = p
	before := e.leaving[k]
	e.mu.Unlock()
	p.whenLoaded(done)
	p.loadAfter(before)
}

// leads answers why a partition can not be used as leader by its image; whether the broker is fenced, reads tell.
func (e *Engine) leads(part *replica.Partition) error {
	leader, _ := part.Leader()
	switch {
	case part.Closed():
		return fmt.Errorf("%w: closed", replica.ErrNotLeader)
	case leader != e.o.BrokerID:
		return replica.ErrNotLeader
	}
	return nil
}

// absent tells a partition that another broker leads from one that does not exist, or is about to be gone.
func (e *Engine) absent(k share.Key, err error) error {
	t := e.o.Image().TopicByID(k.Topic)
	if t != nil && k.Partition >= 0 && int(k.Partition) < len(t.Partitions) && t.Partitions[k.Partition].Leader != e.o.BrokerID {
		return replica.ErrNotLeader
	}
	return err
}

// succeed takes a partition that is over out of the table. next, if not nil, takes its place where it had one and this broker still
// leads; false: it did not.
func (e *Engine) succeed(p *partition, next *partition) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if p.mu.unsent > 0 {
		e.leaving[p.key] = p
	}
	if e.parts[p.key] != p {
		return false
	}
	if next == nil || e.closed.Load() || e.leads(p.part) != nil {
		delete(e.parts, p.key)
		return false
	}
	e.parts[p.key] = next
	return true
}

// left forgets a partition that is over and has nothing more to hand to the state.
func (e *Engine) left(p *partition) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.leaving[p.key] == p {
		delete(e.leaving, p.key)
	}
}

// all is every partition in use for which keep answers true.
func (e *Engine) all(keep func(*partition) bool) (out []*partition) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, p := range e.parts {
		if keep(p) {
			out = append(out, p)
		}
	}
	return out
}

// Apply follows the metadata; it is cluster.OnChange's callback, behind the replicas'. Windows of deleted topics and of partitions
// that others lead now are dropped, and who waits hears of other settings.
func (e *Engine) Apply(old, now *cluster.Image) {
	e.newest.Store(now)
	gone, led, groups, everyone := false, false, map[string]bool{}, false
	for was, is := range now.TopicChanges(old) {
		gone, led = gone || is == nil, led || was != nil
	}
	for kind, name := range now.ConfigChanges(old) {
		if kind == "group" {
			groups[name] = true
		}
		everyone = everyone || kind == "broker"
	}
	if gone || led {
		for _, p := range e.all((*partition).stale) {
			p.stop(errNotLeader)
		}
	}
	if len(groups) == 0 && !everyone {
		return
	}
	for _, p := range e.all(func(p *partition) bool { return everyone || groups[p.key.Group] }) {
		p.news()
	}
}

// Deleted drops the window of a share partition whose state was deleted, as it is with its group; who waits for it is answered.
func (e *Engine) Deleted(k share.Key) { e.drop(k, errDeleted) }

// Forget drops the window of a share partition whose state was altered or deleted; who waits for it goes on with what is kept now.
func (e *Engine) Forget(k share.Key) { e.drop(k, errForgotten) }

func (e *Engine) drop(k share.Key, why error) {
	e.mu.Lock()
	p := e.parts[k]
	e.mu.Unlock()
	if p != nil {
		p.stop(why)
	}
}

// Close ends all that waits, with NOT_LEADER_OR_FOLLOWER, and waits, within ctx, until nothing of the engine runs. The state it
// stands on must still answer.
func (e *Engine) Close(ctx context.Context) error {
	e.closed.Store(true)
	e.end()
	e.clock.stop()
	for _, p := range e.all(func(*partition) bool { return true }) {
		p.stop(errStopped)
	}
	defer e.metrics.close()
	for e.work.Load() > 0 {
		select {
		case <-e.quiet:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}
