package share

import (
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/broker/share/window"
	"github.com/tidemark-mq/tidemark/coordinator/share"
)

// skew is added to the deadlines of leases that were kept: the clock they were made by may be ahead of or behind this one
// (durability, leases, rule 6).
const skew = 500 * time.Millisecond

// whenLoaded calls done when the partition is loaded, or has failed to.
func (p *partition) whenLoaded(done func(*partition, error)) {
	p.mu.Lock()
	switch {
	case p.mu.why != nil:
		err := p.mu.why
		p.mu.Unlock()
		done(nil, err)
	case p.mu.window != nil:
		p.mu.Unlock()
		done(p, nil)
	default:
		p.mu.loaded = append(p.mu.loaded, done)
		p.mu.Unlock()
	}
}

// loadAfter is load when another partition, which is over, has handed to the state what it had decided; nil: there is none.
func (p *partition) loadAfter(before *partition) {
	if before == nil {
		p.load()
		return
	}
	before.whenSent(p.load)
}

// load reads what is kept and makes the window of it. A failure ends the partition: who asks again loads another.
func (p *partition) load() {
	if p.over.Load() {
		return
	}
	p.e.enterLate()
	p.e.o.State.Read(p.key, p.epoch, func(kept share.Stored, err error) {
		defer p.e.leave()
		switch {
		case err != nil:
			p.stop(fmt.Errorf("reading the state: %w", err))
		case kept.Start < 0:
			p.e.spawn(func() { p.begin(kept) }) // it looks into the log
		default:
			p.make(kept)
		}
	})
}

// begin finds where a group without a position begins, and keeps it, so that another leader begins there too.
func (p *partition) begin(kept share.Stored) {
	start, err := p.position()
	if err != nil {
		p.stop(err)
		return
	}
	if !kept.None {
		p.beginAt(start, kept)
		return
	}
	p.e.enterLate()
	p.e.o.State.Initialize(p.key, kept.StateEpoch, start, func(err error) {
		defer p.e.leave()
		if err != nil {
			p.notBegun(err)
			return
		}
		// Read again, because now there is something to note the leader's epoch in, and somebody else may have made it first.
		p.e.enterLate()
		p.e.o.State.Read(p.key, p.epoch, func(kept share.Stored, err error) {
			defer p.e.leave()
			switch {
			case err != nil:
				p.notBegun(err)
			case kept.Start >= 0:
				p.make(kept)
			default:
				p.beginAt(start, kept)
			}
		})
	})
}

// beginAt keeps a position in a state that has none. If the state was deleted meanwhile, its group was: it is not made again.
func (p *partition) beginAt(start int64, kept share.Stored) {
	p.e.enterLate()
	p.e.o.State.Write(&share.Write{Key: p.key, StateEpoch: kept.StateEpoch, LeaderEpoch: p.epoch, Start: start}, func(err error) {
		defer p.e.leave()
		if err != nil {
			p.notBegun(err)
			return
		}
		kept.Start = start
		p.make(kept)
	})
}

func (p *partition) notBegun(err error) {
	if errors.Is(err, share.ErrUninitialized) {
		p.stop(errDeleted)
		return
	}
	p.stop(fmt.Errorf("keeping the first position: %w", err))
}

// position is what the group's share.auto.offset.reset says (KIP-932, KIP-1106).
func (p *partition) position() (int64, error) {
	reset := p.e.settings(p.key.Group, nil).Reset
	switch {
	case reset.Latest:
		return p.part.HighWatermark(), nil
	case reset.Earliest:
		return p.part.LogStart(), nil
	}
	found, err := p.part.OffsetFor(time.Now().Add(-reset.By).UnixMilli(), false, -1)
	if err != nil {
		return 0, err
	}
	if found.Offset < 0 {
		return p.part.HighWatermark(), nil // nothing is that young
	}
	return found.Offset, nil
}

// make makes the window and lets in who waits.
func (p *partition) make(kept share.Stored) {
	now := p.e.now()
	for i := range kept.Batches {
		if b := &kept.Batches[i]; b.State == share.Acquired {
			b.Until += skew.Milliseconds()
		}
	}
	w := window.New(kept, kept.Start, now)
	p.mu.Lock()
	if p.mu.why != nil {
		p.mu.Unlock()
		return
	}
	p.mu.settings = p.e.settings(p.key.Group, nil)
	p.mu.window, p.mu.stateEpoch, p.mu.counters = w, kept.StateEpoch, kept.Counters
	p.mu.dead.producer = kept.Producer
	p.mu.used = now
	loaded := p.mu.loaded
	p.mu.loaded = nil
	var expired *window.Change
	if !p.mu.hold.After(now) {
		expired = w.Expire(now, p.mu.settings.limits)
		p.catchUpLocked(now)
	}
	p.e.o.Log.Debug("share partition in use", zap.Stringer("partition", p.key), zap.Int64("start", w.Start()), zap.Int32("epoch", p.epoch))
	p.mu.ended = offsets(expired)
	p.sendLocked(expired, func(error) {
		p.mu.Lock()
		p.mu.ended = 0
		p.mu.Unlock()
	})
	for _, done := range loaded {
		done(p, nil)
	}
}

// catchUpLocked follows the start of the log: what retention took can not be handed out.
func (p *partition) catchUpLocked(now time.Time) {
	start := p.part.LogStart()
	if start <= p.mu.window.Start() {
		return
	}
	c := p.mu.window.AdvanceStart(start, now)
	if c == nil {
		return
	}
	w := p.writeLocked(c)
	// Not under the lock, and nobody waits for it.
	p.e.spawn(func() { p.send(c, w, func(error) {}) })
}

// upTo is the offset below which a group sees records.
func (p *partition) upTo(s *settings) int64 {
	if s.ReadCommitted {
		return p.part.StableOffset()
	}
	return p.part.HighWatermark()
}

var _ replica.Watcher = (*partition)(nil)
