package replica

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/coordinator/config"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/storage/log"
)

// Partition is one partition on this broker. It is safe for use by several goroutines.
type Partition struct {
	Topic    string
	ID       uuid.ID
	Number   int32
	Internal bool

	manager  *Manager
	log      *log.Log // nil when it could not be opened: see offline
	offline  error
	settings atomic.Pointer[config.TopicSettings]

	roleMu sync.RWMutex
	role   atomic.Pointer[role] // written under roleMu
	hw     atomic.Int64

	own       offsetWaiters // wait for the leader's own end (acks=1)
	committed offsetWaiters // wait for the high watermark
	watchers  watchers
}

// role is what the image says of the partition; it is replaced, never changed.
type role struct {
	leader   int32 // broker id, -1 for none
	epoch    int32
	replicas []int32
	isr      []int32
	leading  bool // leader is this broker
}

// Epoch is the partition's leader epoch.
func (p *Partition) Epoch() int32 { return p.role.Load().epoch }

// Leader is the leader's broker id and epoch, for answers that point a client there.
func (p *Partition) Leader() (id, epoch int32) {
	r := p.role.Load()
	return r.leader, r.epoch
}

// Settings is the topic's effective settings.
func (p *Partition) Settings() *config.TopicSettings { return p.settings.Load() }

// HighWatermark is the offset below which records are committed.
func (p *Partition) HighWatermark() int64 { return p.hw.Load() }

// StableOffset is the offset below which every transaction is decided.
func (p *Partition) StableOffset() int64 { return min(p.log.StableOffset(), p.hw.Load()) }

// LogStart is the first offset that may be read.
func (p *Partition) LogStart() int64 { return p.log.Start() }

// LogEnd is the offset the next record will get.
func (p *Partition) LogEnd() int64 { return p.log.End() }

// SizeBytes is the size of the partition's segments on disk.
func (p *Partition) SizeBytes() int64 {
	if p.log == nil {
		return 0
	}
	return p.log.SizeBytes()
}

// flushes says whether an acknowledgement waits for the disk: flush.messages is 1.
func (p *Partition) flushes() bool { return p.settings.Load().FlushMessages == 1 }

// ownEnd is this replica's end as durability counts it.
func (p *Partition) ownEnd() int64 {
	if p.flushes() {
		return p.log.FlushedEnd()
	}
	return p.log.End()
}

// usable answers why the partition cannot be used as leader, nil if it can.
func (p *Partition) usable() error {
	if p.offline != nil {
		return fmt.Errorf("%w: %w", ErrOffline, p.offline)
	}
	if !p.role.Load().leading || p.manager.fenced.Load() {
		return ErrNotLeader
	}
	return nil
}

// CheckEpoch compares the leader epoch a client believes in (negative: none) with ours
// (KIP-320).
func (p *Partition) CheckEpoch(current int32) error {
	switch own := p.Epoch(); {
	case current < 0 || current == own:
		return nil
	case current < own:
		return fmt.Errorf("%w: %d, it is %d", ErrFencedEpoch, current, own)
	default:
		return fmt.Errorf("%w: %d, it is %d", ErrUnknownEpoch, current, own)
	}
}

// Appended is what became of an append; see the log's.
type Appended = log.Appended

// Append is what a produce request or a coordinator appends.
type Append struct {
	Batches []byte // as log.Append takes them; stamped in place
	Origin  log.Origin
	Acks    int16 // -1: all in-sync replicas, 1: the leader, 0: nobody waits
	Epoch   int32 // the leader epoch the caller acts under; negative: the current one
}

// Append writes to the log as leader. The records are in the page cache when it returns;
// see WhenDurable. Errors: those of this package and of the log.
func (p *Partition) Append(a Append) (log.Appended, error) {
	if a.Origin == log.Client && p.manager.full.Load() {
		return log.Appended{}, ErrDiskFull
	}
	done, err := p.appendAsLeader(a)
	if err == nil && !p.flushes() {
		p.ownAdvanced()
	}
	return done, err
}

func (p *Partition) appendAsLeader(a Append) (log.Appended, error) {
	p.roleMu.RLock()
	defer p.roleMu.RUnlock()
	if err := p.usable(); err != nil {
		return log.Appended{}, err
	}
	r := p.role.Load()
	if a.Epoch >= 0 && a.Epoch != r.epoch {
		return log.Appended{}, fmt.Errorf("%w: appending under epoch %d, it is %d", ErrNotLeader, a.Epoch, r.epoch)
	}
	// No more can be asked than there are replicas (KIP-966).
	if least := min(p.settings.Load().MinInsyncReplicas, len(r.replicas)); a.Acks == -1 && a.Origin == log.Client && len(r.isr) < least {
		return log.Appended{}, fmt.Errorf("%w: %d in sync, min.insync.replicas is %d", ErrNotEnough, len(r.isr), least)
	}
	return p.log.Append(log.Append{Batches: a.Batches, LeaderEpoch: r.epoch, Origin: a.Origin})
}

// WhenDurable runs fn once when records below end are as durable as acks asks: on the
// leader for 1, on every in-sync replica for -1. It runs fn at once, in the caller's
// goroutine, where that is so already; otherwise fn runs in the flusher's and must not
// block. The error is one of this package's when that can no longer happen.
func (p *Partition) WhenDurable(end int64, acks int16, fn func(error)) {
	waiters, passed := &p.committed, p.HighWatermark
	if acks == 1 {
		waiters, passed = &p.own, p.ownEnd
	}
	if passed() >= end {
		fn(nil)
		return
	}
	if parked, err := waiters.add(end, passed, fn); !parked {
		fn(err)
	}
}

// ownAdvanced follows up after this replica's own end moved.
func (p *Partition) ownAdvanced() {
	p.advance() // first, so that who was answered with acks=1 finds its records
	p.own.release(p.ownEnd())
}

// advance moves the watermark to what the in-sync replicas have, and tells who waits.
// With this broker alone in sync that is its own end.
func (p *Partition) advance() {
	end := p.ownEnd()
	for {
		old := p.hw.Load()
		if end <= old {
			return
		}
		if p.hw.CompareAndSwap(old, end) {
			break
		}
	}
	p.log.SetHighWatermark(end)
	p.committed.release(end)
	p.watchers.wake(p)
}

// Watch calls w.PartitionChanged on news until Unwatch.
func (p *Partition) Watch(w Watcher) { p.watchers.add(w) }

// Unwatch undoes one Watch.
func (p *Partition) Unwatch(w Watcher) { p.watchers.remove(w) }

// become takes over what the image says of the partition and tells whether leadership
// began or ended by it.
func (p *Partition) become(now cluster.Partition, self int32) (was, is *role) {
	next := &role{leader: now.Leader, epoch: now.LeaderEpoch, replicas: now.Replicas, isr: now.ISR, leading: now.Leader == self}
	p.roleMu.Lock()
	was = p.role.Load()
	if next.leading && p.log != nil && (was == nil || was.epoch != next.epoch) {
		p.log.AssignEpoch(next.epoch)
	}
	p.role.Store(next)
	p.roleMu.Unlock()
	if was != nil && was.leading && !next.leading {
		p.own.fail(ErrNotLeader, false)
		p.committed.fail(ErrNotLeader, false)
	}
	if p.log != nil && next.leading {
		p.ownAdvanced()
	}
	p.watchers.wake(p)
	return was, next
}

// close ends the partition for everyone who waits on it.
func (p *Partition) close(why error) {
	p.roleMu.Lock()
	ended := *p.role.Load()
	ended.leading = false
	p.role.Store(&ended)
	p.roleMu.Unlock()
	p.own.fail(why, true)
	p.committed.fail(why, true)
	p.watchers.wake(p)
}
