package replica

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

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

	manager *Manager
	log     *log.Log // nil when it could not be opened: see offline
	offline error    // why the log cannot be used; does not change once the partition can be found
	conf    atomic.Pointer[settings]

	roleMu sync.RWMutex
	role   atomic.Pointer[role] // written under roleMu
	hw     atomic.Int64

	own       offsetWaiters // wait for the leader's own end (acks=1)
	committed offsetWaiters // wait for the high watermark
	watchers  watchers
}

func newPartition(m *Manager, t *cluster.Topic, n int32, conf *settings) *Partition {
	p := &Partition{Topic: t.Name, ID: t.ID, Number: n, Internal: t.Internal, manager: m}
	p.own.total, p.committed.total = &m.waiting, &m.waiting
	p.conf.Store(conf)
	p.role.Store(&role{leader: cluster.NoLeader, epoch: -1, why: ErrNotLeader})
	return p
}

// open opens the partition's log, or makes the partition offline with the reason.
func (p *Partition) open() error {
	l, err := p.manager.o.Dir.OpenLog(p.Topic, p.ID, p.Number, p.conf.Load().log(p.Internal), p.flushes())
	if l != nil {
		p.log = l
	}
	if err != nil {
		p.offline = err
		p.manager.o.Log.Error("partition is offline", zap.String("topic", p.Topic), zap.Int32("partition", p.Number), zap.Error(err))
		return err
	}
	p.hw.Store(p.ownEnd())
	l.SetHighWatermark(p.hw.Load())
	l.OnFlushed(func(int64) { p.ownAdvanced() })
	return nil
}

// Settings is the topic's effective settings.
func (p *Partition) Settings() *config.TopicSettings { return &p.conf.Load().TopicSettings }

// HighWatermark is the offset below which records are committed.
func (p *Partition) HighWatermark() int64 { return p.hw.Load() }

// StableOffset is the offset below which every transaction is decided; -1 where there is no log.
func (p *Partition) StableOffset() int64 {
	if p.log == nil {
		return -1
	}
	return min(p.log.StableOffset(), p.hw.Load())
}

// LogStart is the first offset that may be read; -1 where there is no log.
func (p *Partition) LogStart() int64 {
	if p.log == nil {
		return -1
	}
	return p.log.Start()
}

// LogEnd is the offset the next record will get; -1 where there is no log.
func (p *Partition) LogEnd() int64 {
	if p.log == nil {
		return -1
	}
	return p.log.End()
}

// SizeBytes is the size of the partition's segments on disk.
func (p *Partition) SizeBytes() int64 {
	if p.log == nil {
		return 0
	}
	return p.log.SizeBytes()
}

// flushes says whether an acknowledgement waits for the disk: flush.messages is 1, or the topic is a coordinator's
// (durability rule 1 of coordinators).
func (p *Partition) flushes() bool { return p.Internal || p.conf.Load().FlushMessages == 1 }

// ownEnd is this replica's end as durability counts it.
func (p *Partition) ownEnd() int64 {
	end := p.log.End() // before the settings: what is appended after they turn flushing on does not count unflushed
	if p.flushes() {
		return p.log.FlushedEnd()
	}
	return end
}

// Appended is what became of an append; see the log's.
type Appended struct {
	log.Appended
	Epoch int32 // the leader epoch it was made in: what WhenDurable is to be asked with
}

// Append is what a produce request or a coordinator appends.
type Append struct {
	Batches []byte // as log.Append takes them; stamped in place
	Origin  log.Origin
	Acks    int16 // -1: all in-sync replicas, 1: the leader, 0: nobody waits
	Epoch   int32 // the leader epoch the caller acts under; negative: the current one
}

// Append writes to the log as leader. The records are in the page cache when it returns;
// see WhenDurable. Errors: those of this package and of the log.
func (p *Partition) Append(a Append) (Appended, error) {
	if a.Origin == log.Client {
		if err := p.manager.admits(a.Acks); err != nil {
			return Appended{}, err
		}
	}
	done, err := p.appendAsLeader(a)
	if err == nil && !p.flushes() {
		p.ownAdvanced()
	}
	return done, err
}

func (p *Partition) appendAsLeader(a Append) (Appended, error) {
	p.roleMu.RLock()
	defer p.roleMu.RUnlock()
	if err := p.usable(); err != nil {
		return Appended{}, err
	}
	r := p.role.Load()
	if a.Epoch >= 0 && a.Epoch != r.epoch {
		return Appended{}, fmt.Errorf("%w: appending under epoch %d, it is %d", ErrNotLeader, a.Epoch, r.epoch)
	}
	// No more can be asked than there are replicas (KIP-966).
	if least := min(p.conf.Load().MinInsyncReplicas, len(r.replicas)); a.Acks == -1 && a.Origin == log.Client && len(r.isr) < least {
		return Appended{}, fmt.Errorf("%w: %d in sync, min.insync.replicas is %d", ErrNotEnough, len(r.isr), least)
	}
	done, err := p.log.Append(log.Append{Batches: a.Batches, LeaderEpoch: r.epoch, Origin: a.Origin})
	return Appended{done, r.epoch}, err
}

// WhenDurable runs fn once when records below end, appended in that leader epoch (negative: the present one), are as
// durable as acks asks: on the leader for 1, on every in-sync replica for -1. It runs fn at once, in the caller's
// goroutine, where that is so already or can no longer come; otherwise fn runs in the flusher's, or in that of whoever
// ends the wait, and must not block. The error is one of this package's: ErrNotLeader when the epoch ended or the broker
// is fenced, or why the partition was closed.
func (p *Partition) WhenDurable(end int64, epoch int32, acks int16, fn func(error)) {
	if epoch < 0 {
		epoch = p.role.Load().epoch
	}
	waiters, passed := &p.committed, p.hw.Load
	// A watermark that is there already may stem from before the topic began to flush: this replica's own end decides.
	if acks == 1 || p.hw.Load() >= end {
		waiters, passed = &p.own, p.ownEnd
	}
	x := offsetWaiter{end: end, epoch: epoch, fn: fn}
	parked, err := waiters.add(x, passed, func() error { return p.lost(epoch) })
	if parked {
		return
	}
	if err == nil {
		p.advance(p.ownEnd()) // whoever is answered finds its records
	}
	fn(err)
}

// ownAdvanced follows up after this replica's own end moved: first the watermark, so that who was answered with acks=1 finds
// its records.
func (p *Partition) ownAdvanced() {
	end := p.ownEnd()
	p.advance(end)
	p.release(&p.own, end)
}

// advance moves the watermark to what the in-sync replicas have, and tells who waits.
// With this broker alone in sync that is its own end.
func (p *Partition) advance(end int64) {
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
	p.release(&p.committed, end)
	p.watchers.wake(p)
}

// release answers those of w who waited for an offset up to passed: well, unless the epoch of their records is over.
func (p *Partition) release(w *offsetWaiters, passed int64) {
	var buf [16]offsetWaiter
	due := w.take(passed, buf[:0])
	if len(due) == 0 {
		return
	}
	epoch, err := due[0].epoch, p.lost(due[0].epoch)
	for _, d := range due {
		if d.epoch != epoch {
			epoch, err = d.epoch, p.lost(d.epoch)
		}
		d.fn(err)
	}
}

// Watch has w.To told of news until Unwatch.
func (p *Partition) Watch(w *Watch) { p.watchers.add(w) }

// Unwatch undoes Watch. A call of w.To under way may still end after it.
func (p *Partition) Unwatch(w *Watch) { p.watchers.remove(w) }

// apply puts other settings into force.
func (p *Partition) apply(conf *settings) {
	if p.log == nil || *p.conf.Load() == *conf {
		return
	}
	p.conf.Store(conf)
	p.manager.o.Dir.Configure(p.log, conf.log(p.Internal), p.flushes())
	if p.offline == nil {
		p.ownAdvanced() // where the topic does not flush any more, nobody has to wait
	}
}

// delete deletes the log, of a partition that is closed.
func (p *Partition) delete() error {
	if p.log == nil {
		return nil // it could not be opened; what is on disk is a stray for the next start
	}
	began := time.Now()
	err := p.manager.o.Dir.DeleteLog(p.log)
	if err != nil && !errors.Is(err, log.ErrClosed) {
		p.manager.o.Log.Error("log not deleted", zap.String("topic", p.Topic), zap.Int32("partition", p.Number),
			zap.Duration("after", time.Since(began)), zap.Error(err))
	}
	return err
}
