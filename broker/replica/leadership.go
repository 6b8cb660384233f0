package replica

import (
	"fmt"

	"github.com/tidemark-mq/tidemark/coordinator/cluster"
)

// role is what the image says of a partition, or that the partition was closed; it is replaced, never changed.
type role struct {
	leader   int32 // broker id, -1 for none
	epoch    int32
	replicas []int32
	isr      []int32
	why      error // nil: this broker leads. ErrNotLeader, or why the partition was closed
	closed   bool  // for good
}

func (r *role) leading() bool { return r.why == nil }

// Epoch is the partition's leader epoch.
func (p *Partition) Epoch() int32 { return p.role.Load().epoch }

// Leader is the leader's broker id and epoch, for answers that point a client there.
func (p *Partition) Leader() (id, epoch int32) {
	r := p.role.Load()
	return r.leader, r.epoch
}

// Closed tells whether the partition is gone for good: its topic was deleted, or the broker or its storage ended. One that
// was deleted may exist again, as another Partition.
func (p *Partition) Closed() bool { return p.role.Load().closed }

// usable answers why the partition cannot be used as leader, nil if it can.
func (p *Partition) usable() error {
	if p.offline != nil {
		return fmt.Errorf("%w: %w", ErrOffline, p.offline)
	}
	if why := p.role.Load().why; why != nil {
		return why
	}
	if p.manager.fenced.Load() {
		return fmt.Errorf("%w: fenced", ErrNotLeader)
	}
	return nil
}

// lost answers why what was appended in an epoch cannot be acknowledged, nil if it can once it is durable. The lease is
// looked at by the clock, not by what timers have said: a process that slept must not acknowledge when it wakes.
func (p *Partition) lost(epoch int32) error {
	if err := p.usable(); err != nil {
		return err
	}
	if own := p.role.Load().epoch; own != epoch {
		return fmt.Errorf("%w: written in epoch %d, it is %d", ErrNotLeader, epoch, own)
	}
	if !p.manager.o.Active() {
		return fmt.Errorf("%w: the broker's lease ran out", ErrNotLeader)
	}
	return nil
}

// checkEpoch compares the leader epoch a client believes in with ours (KIP-320). -1 is no epoch; what is below that is an
// old one.
func (p *Partition) checkEpoch(current int32) error {
	switch own := p.Epoch(); {
	case current == noEpoch || current == own:
		return nil
	case current < own:
		return fmt.Errorf("%w: %d, it is %d", ErrFencedEpoch, current, own)
	default:
		return fmt.Errorf("%w: %d, it is %d", ErrUnknownEpoch, current, own)
	}
}

// become takes over what the image says of the partition and answers its role before and after. Nothing changes for one
// that is closed.
func (p *Partition) become(now cluster.Partition, self int32) (was, is *role) {
	is = &role{leader: now.Leader, epoch: now.LeaderEpoch, replicas: now.Replicas, isr: now.ISR}
	if now.Leader != self {
		is.why = ErrNotLeader
	}
	p.roleMu.Lock()
	was = p.role.Load()
	if was.closed {
		p.roleMu.Unlock()
		return was, was
	}
	if is.leading() && p.log != nil && was.epoch != is.epoch {
		p.log.AssignEpoch(is.epoch)
	}
	p.role.Store(is)
	p.roleMu.Unlock()
	switch {
	case was.leading() && !is.leading():
		p.failWaiters(ErrNotLeader, noEpoch)
	case was.epoch != is.epoch:
		p.failWaiters(ErrNotLeader, is.epoch)
	}
	if p.log != nil && is.leading() {
		p.ownAdvanced()
	}
	p.watchers.wake(p)
	return was, is
}

// close ends the partition, for good and for everyone who waits on it. It answers the role it had.
func (p *Partition) close(why error) (was *role) {
	p.roleMu.Lock()
	was = p.role.Load()
	if was.closed {
		p.roleMu.Unlock()
		return was
	}
	ended := *was
	ended.why, ended.closed = why, true
	p.role.Store(&ended)
	p.roleMu.Unlock()
	p.failWaiters(why, noEpoch)
	p.watchers.wake(p)
	return was
}

// noEpoch is no leader epoch.
const noEpoch = -1

// failWaiters answers everyone who waits, save for what was written in the epoch keep. Nobody begins to wait unseen:
// whoever does looks at the role first, under the waiters' lock.
func (p *Partition) failWaiters(why error, keep int32) {
	p.own.fail(why, keep)
	p.committed.fail(why, keep)
}
