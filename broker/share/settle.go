package share

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/broker/share/window"
	"github.com/tidemark-mq/tidemark/coordinator/share"
	"github.com/tidemark-mq/tidemark/protocol/private"
)

// mostSettled bounds the leases of one SettleRequest.
const mostSettled = 10_000

// settling is one SettleRequest until it is answered.
type settling struct {
	e      *Engine
	call   *call.Call
	req    *private.SettleRequest
	parts  []*partition // by lease
	answer private.SettleResponse
}

// Settle answers a SettleRequest (protocol/private).
func (e *Engine) Settle(c *call.Call) {
	s := &settling{e: e, call: c, req: c.Request.(*private.SettleRequest)}
	if err := s.check(); err != nil {
		s.refuse(err)
		return
	}
	s.parts = make([]*partition, len(s.req.Leases))
	g := newGather(len(s.parts), s.decide)
	for i := range s.req.Leases {
		k := share.Key{Group: s.req.Group, Topic: s.req.TopicID, Partition: s.req.Leases[i].Partition}
		e.partition(k, func(p *partition, err error) {
			s.parts[i] = p
			g.one(err)
		})
	}
	g.one(nil)
}

// check looks at the request itself, and puts each lease's records in order.
func (s *settling) check() error {
	t := s.e.o.Image().TopicByID(s.req.TopicID)
	if t == nil {
		return kerr.UnknownTopicID
	}
	if len(s.req.Leases) > mostSettled || s.req.RenewMillis < 0 {
		return kerr.InvalidRequest
	}
	for i := range s.req.Leases {
		l := &s.req.Leases[i]
		if l.Partition < 0 || int(l.Partition) >= len(t.Partitions) {
			return kerr.UnknownTopicOrPartition
		}
		if l.Holder == "" && !l.Force {
			return kerr.InvalidRequest
		}
		slices.SortFunc(l.Records, func(a, b private.SettledRecord) int { return cmp.Compare(a.Offset, b.Offset) })
		for j, r := range l.Records {
			if r.Action < private.Accept || r.Action > private.DeadLetter || j > 0 && l.Records[j-1].Offset == r.Offset {
				return fmt.Errorf("%w: offset %d, action %d", kerr.InvalidRequest, r.Offset, r.Action)
			}
		}
	}
	return nil
}

// decided is what is to be written for one lease.
type decided struct {
	p        *partition
	c        *window.Change // nil: nothing
	w        *share.Write
	lease    *private.SettledLease
	accepted int32 // records that were mentioned and are accepted
}

// decide changes all windows, or none, and writes.
func (s *settling) decide(err error) {
	if err != nil {
		s.refuse(err)
		return
	}
	changes := make([]decided, 0, len(s.parts))
	for i, p := range s.parts {
		d, err := s.lease(p, &s.req.Leases[i])
		if err != nil {
			for _, d := range changes {
				d.p.undo(d.c)
			}
			s.refuse(err)
			return
		}
		s.answer.Accepted += d.accepted
		s.answer.Others += int32(len(d.lease.Records)) - d.accepted
		if d.c != nil {
			changes = append(changes, d)
		}
	}
	g := newGather(len(changes), s.reply)
	for _, d := range changes {
		d.p.send(d.c, d.w, func(err error) {
			switch {
			case err == nil:
				s.e.metrics.settled.Add(float64(offsets(d.c)))
			case unreached(err) || len(changes) > 1:
				s.e.spawn(func() { g.one(s.again(d, err)) })
				return
			}
			g.one(err)
		})
	}
	g.one(nil)
}

// undo takes back a change that was not written.
func (p *partition) undo(c *window.Change) {
	p.mu.Lock()
	p.mu.writes--
	p.mu.line.version++
	p.mu.window.Rollback(c, p.e.now())
	p.leave()
	p.mu.Lock()
	p.sentLocked()
}

// lease decides one lease of the request.
func (s *settling) lease(p *partition, l *private.SettledLease) (decided, error) {
	if err := p.leads(); err != nil {
		return decided{}, err
	}
	now, err := p.enter()
	if err != nil {
		return decided{}, err
	}
	defer p.leave()
	renew := p.mu.settings.LockDuration
	if s.req.RenewMillis > 0 {
		renew = time.Duration(s.req.RenewMillis) * time.Millisecond
	}
	w := walk{until: now.Add(renew), force: l.Force}
	if l.Force {
		for _, r := range l.Records {
			w.add(r.Offset, r.Action, r.Delivery)
		}
	} else if err := w.held(p.mu.window, l, s.req.InOrder); err != nil {
		return decided{}, fmt.Errorf("%v: %w", p.key, err)
	}
	if len(w.actions) > 0 {
		c, err := p.mu.window.Settle(l.Holder, w.actions, now, p.mu.settings.limits)
		if err != nil {
			return decided{}, fmt.Errorf("%v: %w", p.key, err)
		}
		if c != nil {
			return decided{p, c, p.writeLocked(c), l, w.accepted}, nil
		}
	}
	return decided{lease: l, accepted: w.accepted}, nil
}

// walk collects what is to be done with a lease's records.
type walk struct {
	until    time.Time // of renewals
	force    bool
	actions  []window.Action
	accepted int32 // records that were mentioned and are accepted
}

func (w *walk) add(offset int64, kind private.Action, delivery int32) {
	if kind == private.Accept {
		w.accepted++
	}
	w.put(window.Action{First: offset, Last: offset, Kind: window.Kind(kind), Delivery: delivery, Until: w.until, Force: w.force})
}

// put adds an action to the one before it if they are alike.
func (w *walk) put(a window.Action) {
	if n := len(w.actions); n > 0 {
		b := &w.actions[n-1]
		if b.Last == a.First-1 && b.Kind == a.Kind && b.Delivery == a.Delivery {
			b.Last = a.Last
			return
		}
	}
	w.actions = append(w.actions, a)
}

// held goes over what the lease holds, beside the records of the request, which are sorted. An error that wraps window.ErrState
// names a record that is not held as the request says.
func (w *walk) held(win *window.Window, l *private.SettledLease, inOrder bool) error {
	if len(l.Records) == 0 {
		return nil
	}
	from := l.Records[0].Offset
	if inOrder {
		from = 0
	}
	left, stopped, failed := l.Records, false, false
	for g := range win.Held(l.Holder, from) {
		at := g.First
		for len(left) > 0 && left[0].Offset <= g.Last {
			r := left[0]
			if r.Offset < at || r.Delivery != 0 && r.Delivery != int32(g.Deliveries) {
				return stateError(r)
			}
			if inOrder {
				if r.Offset > at { // the lease holds one before it that is not mentioned
					stopped = w.pass(at, r.Offset-1, failed) || stopped
				}
				if !stopped {
					w.add(r.Offset, r.Action, r.Delivery)
					failed, stopped = r.Action == private.Fail, r.Action != private.Accept
				} else if failed {
					w.put(window.Action{First: r.Offset, Last: r.Offset, Kind: window.Release})
				}
			} else {
				w.add(r.Offset, r.Action, r.Delivery)
			}
			left, at = left[1:], r.Offset+1
		}
		if inOrder && at <= g.Last {
			stopped = w.pass(at, g.Last, failed) || stopped
		}
		if len(left) == 0 && !failed {
			break
		}
	}
	if len(left) > 0 {
		return stateError(left[0])
	}
	return nil
}

// pass goes over records that the lease holds and the request does not mention: behind one that failed they are released, and
// otherwise the walk ends at them.
func (w *walk) pass(first, last int64, failed bool) (stopped bool) {
	if failed {
		w.put(window.Action{First: first, Last: last, Kind: window.Release})
	}
	return true
}

func stateError(r private.SettledRecord) error {
	return fmt.Errorf("offset %d, delivery %d: %w", r.Offset, r.Delivery, window.ErrState)
}

func (s *settling) reply(err error) {
	if err != nil {
		s.refuse(err)
		return
	}
	s.call.Reply(call.Response{Message: &s.answer})
}

func (s *settling) refuse(err error) {
	code, message := s.e.plainCode(err, "settle")
	s.call.Reply(call.Response{Message: &private.SettleResponse{ErrorCode: code, ErrorMessage: message}})
}
