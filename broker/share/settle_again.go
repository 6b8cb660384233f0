package share

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/tidemark-mq/tidemark/broker/share/window"
	"github.com/tidemark-mq/tidemark/coordinator/share"
)

// insist bounds how long a settlement whose write failed is gone on with.
const insist = 8 * time.Second

// errNobodyKnows: a settlement may have taken effect, all of it or a part.
var errNobodyKnows = fmt.Errorf("%w: the settlement may have taken effect", kerr.RequestTimedOut)

// again goes on with one lease of a request whose write failed in a way that does not tell whether it happened, or beside others that
// did happen: whoever asked could only repeat the whole request, and a lease that is settled already would then seem lost. What is
// kept is read back: it is settled as asked, or the lease still stands and is settled now, or it is lost. An error that is not
// window.ErrState is errNobodyKnows.
func (s *settling) again(d decided, failed error) error {
	giveUp := time.NewTimer(insist)
	defer giveUp.Stop()
	for tries := 0; ; tries++ {
		ends := d.p.leaseEnd(d.c)
		p, err := s.e.await(d.p.key, giveUp.C)
		if err == nil && unreached(failed) {
			switch done, known := p.shows(d.c, ends); {
			case done && known:
				s.e.metrics.settled.Add(float64(offsets(d.c)))
				return nil
			case done:
				return fmt.Errorf("%v: %w", d.p.key, errNobodyKnows)
			}
		}
		if err == nil {
			var next decided
			if next, err = s.lease(p, d.lease); err == nil && next.c == nil {
				return nil
			} else if err == nil {
				d = next
				if err = d.write(); err == nil {
					return nil
				}
				failed = err
			}
		}
		if errors.Is(err, window.ErrState) || errors.Is(err, errNobodyKnows) {
			return err
		}
		if !transient(err) && !refused(err) || !s.e.pause(retryAfter(tries), giveUp.C) {
			return fmt.Errorf("%v: %w: %v", d.p.key, errNobodyKnows, err)
		}
	}
}

// giveBack gives back what a lease holds whose write failed in a way that does not tell whether it happened, if it did: nobody was
// told of the records, and at the end of the lease they would have failed. It returns when that is durable, or cannot be. Nobody else
// may act for the holder meanwhile.
func (e *Engine) giveBack(k share.Key, holder string, granted []window.Grant) {
	giveUp := time.NewTimer(insist)
	defer giveUp.Stop()
	for tries := 0; ; tries++ {
		p, err := e.await(k, giveUp.C)
		if err == nil {
			done := make(chan error, 1)
			p.settle(holder, releases(granted), func(err error) { done <- err })
			err = <-done
		}
		if err == nil || !transient(err) && !refused(err) || !e.pause(retryAfter(tries), giveUp.C) {
			return // also where it is not held: the write did not happen
		}
	}
}

// await finds a share partition, until the time is up.
func (e *Engine) await(k share.Key, giveUp <-chan time.Time) (*partition, error) {
	type found struct {
		p   *partition
		err error
	}
	ch := make(chan found, 1)
	e.partition(k, func(p *partition, err error) { ch <- found{p, err} })
	select {
	case f := <-ch:
		return f.p, f.err
	case <-giveUp:
		return nil, errNobodyKnows
	}
}

// pause waits; false: the time is up, or the engine closes.
func (e *Engine) pause(d time.Duration, giveUp <-chan time.Time) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-giveUp:
	case <-e.ctx.Done():
	}
	return false
}

// write makes what was decided durable, and waits for that.
func (d *decided) write() error {
	done := make(chan error, 1)
	d.p.send(d.c, d.w, func(err error) { done <- err })
	return <-done
}

// leaseEnd is when the first of the leases ends that a change would have settled for good, which has been rolled back.
func (p *partition) leaseEnd(c *window.Change) (at int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range c.Batches {
		for r := range p.mu.window.Ranges(b.First) {
			if r.First > b.Last {
				break
			}
			if (b.State.Final() || b.State == share.Archiving) && r.State == share.Acquired && (at == 0 || r.Until < at) {
				at = r.Until
			}
		}
	}
	return at
}

// shows tells whether a change, which was decided on an earlier window over the same state, took effect. It did not where a record is
// held as before. What is settled for good may be so by somebody else's doing (known is false) if the lease was not kept or its end,
// in ms, has passed; given back and over are the same to whom it is given back by.
func (p *partition) shows(c *window.Change, leaseEnd int64) (done, known bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w, final := p.mu.window, c.Add.Accepted+c.Add.Rejected > 0 || len(c.DeadLetters) > 0
	for _, b := range c.Batches {
		for r := range w.Ranges(b.First) {
			if r.First > b.Last {
				break
			}
			switch {
			case b.State.Final(), b.State == share.Acquired:
				return false, true
			case b.State == share.Archiving && r.State != share.Archiving:
				return false, true
			case r.State == share.Acquired && r.Deliveries == b.Deliveries:
				return false, true
			}
		}
		if b.State == share.Acquired {
			return false, true // a renewal, of what is gone
		}
	}
	return true, !final || p.mu.settings.limits.Durable && p.e.now().UnixMilli() < leaseEnd
}
