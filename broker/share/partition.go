package share

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/broker/share/window"
	"github.com/tidemark-mq/tidemark/coordinator/share"
)

// partition is one share partition in use, for as long as this broker leads the partition in one epoch. It ends by stop; who
// asks again then gets another.
type partition struct {
	e        *Engine
	key      share.Key
	part     *replica.Partition
	epoch    int32        // leader epoch
	deadline deadline     // guarded by e.clock.mu
	answered atomic.Int64 // Engine.answers as of its last answer with records
	over     atomic.Bool  // mu.why is set
	bookmark atomic.Pointer[bookmark]

	mu struct {
		sync.Mutex
		settings   *settings
		window     *window.Window // nil until it is loaded
		stateEpoch int32
		counters   share.Counters            // of what took effect
		ended      int64                     // leases that had ended when it was loaded, and whose end is not durable yet
		why        error                     // it is over, and why
		loaded     []func(*partition, error) // who waits for the load
		writes     int                       // changes on the way
		unsent     int                       // those of them that are yet to be handed to the state
		sent       []func()                  // what waits until there are none of these
		hold       time.Time                 // nothing is tried before: the state refused
		failed     int                       // times in a row that it did
		used       time.Time                 // the last time that somebody asked
		line       line
		dead       deadLetters
	}
}

func newPartition(e *Engine, k share.Key, part *replica.Partition) *partition {
	p := &partition{e: e, key: k, part: part, epoch: part.Epoch()}
	p.mu.used = p.e.now()
	return p
}

// stale tells that the partition can not be used any more, from what can be seen without a lock.
func (p *partition) stale() bool {
	return p.over.Load() || p.part.Closed() || p.part.Epoch() != p.epoch || p.e.leads(p.part) != nil
}

// deleted tells whether it is over because its state was deleted.
func (p *partition) deleted() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.why == errDeleted
}

// ready tells whether it is loaded and in use.
func (p *partition) ready() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.why == nil && p.mu.window != nil
}

// stop ends the partition: it leaves the table, and who waits for it looks for another.
func (p *partition) stop(why error) {
	p.mu.Lock()
	p.stopLocked(why, nil)
}

// stopLocked is stop, and unlocks the partition. next, if not nil, takes its place, where this broker still leads.
func (p *partition) stopLocked(why error, next *partition) {
	if p.mu.why != nil {
		p.mu.Unlock()
		return
	}
	p.mu.why = why
	p.over.Store(true)
	loaded := p.mu.loaded
	p.mu.loaded = nil
	stood := p.disbandLocked()
	replaced := p.e.succeed(p, next)
	p.mu.Unlock()
	p.e.clock.put(p, time.Time{})
	for _, done := range loaded {
		done(nil, why)
	}
	for _, pl := range stood {
		pl.poll.lost(pl)
	}
	if replaced {
		next.loadAfter(p)
	}
}

// enter locks the partition for somebody who uses it. The error: it is over. The caller calls leave otherwise.
func (p *partition) enter() (time.Time, error) {
	if !p.over.Load() && p.stale() {
		p.stop(errNotLeader)
	}
	p.mu.Lock()
	if p.mu.why != nil {
		p.mu.Unlock()
		return time.Time{}, p.mu.why
	}
	now := p.e.now()
	p.mu.used = now
	p.mu.settings = p.e.settings(p.key.Group, p.mu.settings)
	return now, nil
}

// leads answers why this broker does not act as the partition's leader now, nil if it does.
func (p *partition) leads() error {
	_, err := p.part.Read(replica.Read{Offset: p.part.LogStart(), Epoch: p.epoch, LastEpoch: -1}) // of no bytes: it looks at the role only
	if errors.Is(err, replica.ErrOffsetOutOfRange) {
		return nil // the start moved
	}
	return err
}

// leave unlocks the partition and sees to what follows from a change of it: its next deadline, who is to be tried next, dead
// letters.
func (p *partition) leave() {
	if p.mu.why != nil || p.mu.window == nil {
		p.mu.Unlock()
		return
	}
	now := p.e.now()
	next := p.callLocked(now)
	p.e.clock.put(p, p.deadlineLocked(now))
	bury := p.buryLocked(now)
	p.mu.Unlock()
	if bury {
		p.e.spawn(p.bury)
	}
	p.call(next)
}

// deadlineLocked is when due is to be called.
func (p *partition) deadlineLocked(now time.Time) time.Time {
	at := p.mu.used.Add(idleAfter)
	if !at.After(now) {
		at = now.Add(idleAfter) // it could not be dropped
	}
	sooner := func(t time.Time) {
		if !t.IsZero() && t.Before(at) {
			at = t
		}
	}
	if next := p.mu.window.Deadline(); !next.IsZero() {
		if soonest := now.Add(time.Millisecond); next.Before(soonest) {
			next = soonest // the window's time is in ms
		}
		if next.Before(p.mu.hold) {
			next = p.mu.hold
		}
		sooner(next)
	}
	if p.mu.hold.After(now) {
		sooner(p.mu.hold)
	}
	if retry := p.mu.dead.retry; !retry.Before(p.mu.hold) {
		sooner(retry) // else hold comes first, and until it is over nothing is tried
	}
	return at
}

// due does what a deadline stands for: it ends leases and back-offs, tries again what failed, and drops a window that nobody uses.
func (p *partition) due() {
	p.mu.Lock()
	if p.mu.why == nil && p.mu.window != nil && p.idleLocked(p.e.now()) {
		p.stopLocked(errForgotten, nil) // before anybody takes something of it
		return
	}
	p.mu.Unlock()
	used := p.lastUsed()
	now, err := p.enter()
	if err != nil {
		return
	}
	p.mu.used = used    // the clock does not count
	p.mu.line.version++ // what backed off, or whose lease is over, may be free without a write
	var c *window.Change
	if !p.mu.hold.After(now) {
		c = p.mu.window.Expire(now, p.mu.settings.limits)
	}
	p.sendLocked(c, func(err error) {
		if err == nil {
			p.e.metrics.expired.Add(float64(offsets(c)))
		}
	})
}

func (p *partition) lastUsed() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.used
}

// idleLocked tells whether the window may be dropped: all that it knows is in the state.
func (p *partition) idleLocked(now time.Time) bool {
	return now.Sub(p.mu.used) >= idleAfter && p.mu.writes == 0 && p.mu.line.empty() && p.mu.window.InFlight() == 0 && !p.mu.dead.busy
}

// news tells that something changed outside: the log, or the settings.
func (p *partition) news() {
	used := p.lastUsed()
	if _, err := p.enter(); err != nil {
		return
	}
	p.mu.used = used
	p.mu.line.version++
	p.leave()
}

// PartitionChanged implements replica.Watcher, while somebody waits.
func (p *partition) PartitionChanged(*replica.Partition) { p.news() }

// offsets is how many a change is about.
func offsets(c *window.Change) (n int64) {
	if c == nil {
		return 0
	}
	for i := range c.Batches {
		n += c.Batches[i].Last - c.Batches[i].First + 1
	}
	return n
}
