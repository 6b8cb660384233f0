package share

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/broker/share/window"
	"github.com/tidemark-mq/tidemark/coordinator/share"
)

// settle does what a share consumer says of its records, all of it or, with an error, nothing. What it rejects becomes a dead letter
// where the group has such (KIP-1191). done is called once, perhaps before it returns, when it is durable. Errors wrap window.ErrState
// or window.ErrRange, or are as acquire's: see Engine.code.
func (p *partition) settle(holder string, actions []window.Action, done func(error)) {
	if err := p.leads(); err != nil {
		done(err)
		return
	}
	now, err := p.enter()
	if err != nil {
		done(err)
		return
	}
	limits := p.mu.settings.limits
	c, err := p.mu.window.Settle(holder, rejections(actions, limits), now, limits)
	if err != nil {
		p.leave()
		done(fmt.Errorf("%v: %w", p.key, err))
		return
	}
	p.sendLocked(c, func(err error) {
		if err == nil {
			p.e.metrics.settled.Add(float64(offsets(c)))
		}
		done(err)
	})
}

// rejections is the actions with dead letters in place of what is rejected, if there are dead letters.
func rejections(actions []window.Action, l window.Limits) []window.Action {
	if !l.DeadLetter || !slices.ContainsFunc(actions, func(a window.Action) bool { return a.Kind == window.Reject }) {
		return actions
	}
	actions = slices.Clone(actions)
	for i := range actions {
		if actions[i].Kind == window.Reject {
			actions[i].Kind = window.DeadLetter
		}
	}
	return actions
}

// release gives back all that a holder holds: its session is over. done is called once, perhaps before it returns, when that is
// durable or cannot be, in which case the leases run out by themselves.
func (p *partition) release(holder string, done func()) {
	now, err := p.enter()
	if err != nil {
		done()
		return
	}
	p.sendLocked(p.mu.window.ReleaseHolder(holder, now, p.mu.settings.limits), func(error) { done() })
}

// sendLocked unlocks the partition, makes a change durable, and then calls done. A nil change is durable.
func (p *partition) sendLocked(c *window.Change, done func(error)) {
	if c == nil {
		p.leave()
		done(nil)
		return
	}
	w := p.writeLocked(c)
	p.leave()
	p.send(c, w, done)
}

// writeLocked counts a change as on the way and says how it is written.
func (p *partition) writeLocked(c *window.Change) *share.Write {
	p.mu.writes++
	p.mu.unsent++
	return &share.Write{Key: p.key, StateEpoch: p.mu.stateEpoch, LeaderEpoch: p.epoch, Start: c.Start, Batches: c.Batches, Add: c.Add}
}

// send writes a change that writeLocked has counted.
func (p *partition) send(c *window.Change, w *share.Write, done func(error)) {
	p.handOver(w, func(err error) {
		p.written(c, err)
		done(err)
	})
}

// handOver gives a write that was counted to the state. No other window over it is loaded before it has it: that one would not know.
func (p *partition) handOver(w *share.Write, done func(error)) {
	p.e.enterLate()
	p.e.enterLate()
	p.e.o.State.Write(w, func(err error) {
		defer p.e.leave()
		if errors.Is(err, share.ErrUninitialized) {
			err = fmt.Errorf("%w: %w", errDeleted, err)
		}
		done(err)
	})
	p.mu.Lock()
	p.sentLocked()
	p.e.leave()
}

// sentLocked counts a change as handed to the state, or taken back, and unlocks the partition.
func (p *partition) sentLocked() {
	var sent []func()
	if p.mu.unsent--; p.mu.unsent == 0 && p.mu.why != nil {
		p.e.left(p)
		sent, p.mu.sent = p.mu.sent, nil
	}
	p.mu.Unlock()
	for _, fn := range sent {
		fn()
	}
}

// whenSent calls fn when a partition that is over has handed all its changes to the state, perhaps before it returns.
func (p *partition) whenSent(fn func()) {
	p.mu.Lock()
	if p.mu.unsent > 0 {
		p.mu.sent = append(p.mu.sent, fn)
		p.mu.Unlock()
		return
	}
	p.mu.Unlock()
	fn()
}

// written lets a change take effect, or not.
func (p *partition) written(c *window.Change, err error) {
	p.mu.Lock()
	now := p.e.now()
	if err == nil {
		p.commitLocked(c, now)
	} else {
		p.mu.window.Rollback(c, now)
	}
	p.endLocked(err, now)
}

// commitLocked lets a change that is durable take effect, and what it counts with it: who counts sees both or neither.
func (p *partition) commitLocked(c *window.Change, now time.Time) {
	p.mu.window.Commit(c, now)
	p.mu.counters = p.mu.counters.Add(c.Add)
}

// endLocked counts a write as ended, and unlocks the partition.
func (p *partition) endLocked(err error, now time.Time) {
	p.mu.writes--
	p.mu.line.version++
	if err == nil {
		p.mu.failed, p.mu.hold = 0, time.Time{}
		p.leave()
		return
	}
	p.pauseLocked(now)
	p.e.metrics.failures.Inc()
	if refused(err) || p.mu.why != nil {
		p.leave()
		return
	}
	// It is not this broker's to say any more, or nobody knows whether it was written: what is kept decides, and nobody may go by what
	// is here before that.
	p.e.o.Log.Warn("share partition's state could not be written", zap.Stringer("partition", p.key), zap.Error(err))
	var next *partition
	if unreached(err) {
		// It is loaded anew, so that who waits, leases that run out, and dead letters go on as soon as it can be.
		next = newPartition(p.e, p.key, p.part)
		next.mu.hold, next.mu.failed = p.mu.hold, p.mu.failed
	}
	why := fmt.Errorf("%w: %w", errForgotten, err)
	if errors.Is(err, errDeleted) {
		why = errDeleted // as Deleted says in a moment; loaded meanwhile, the state would be made again
	}
	p.stopLocked(why, next)
}

// pauseLocked keeps the partition quiet for a while, longer each time, after the state refused.
func (p *partition) pauseLocked(now time.Time) {
	p.mu.hold = now.Add(retryAfter(p.mu.failed))
	p.mu.failed++
}

// retryAfter is how long to wait after so many failures: 50 ms at first, 2 s at most.
func retryAfter(failures int) time.Duration {
	return min(50*time.Millisecond<<min(failures, 10), 2*time.Second)
}
