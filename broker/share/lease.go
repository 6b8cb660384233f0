package share

import (
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/broker/share/window"
	"github.com/tidemark-mq/tidemark/coordinator/share"
	"github.com/tidemark-mq/tidemark/protocol/private"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// What a lease may hold at most, whatever is asked.
const (
	mostLeased      = 10_000
	mostLeasedBytes = 32 << 20
)

// leasing is one LeaseRequest until it is answered.
type leasing struct {
	e      *Engine
	call   *call.Call
	req    *private.LeaseRequest
	poll   poll
	pick   picker
	err    error // of the last attempt: why a partition could not be used
	failed int   // how many could not
	worked bool  // one could
}

// Lease answers a LeaseRequest (protocol/private).
func (e *Engine) Lease(c *call.Call) {
	req := c.Request.(*private.LeaseRequest)
	l := &leasing{e: e, call: c, req: req}
	if req.Group == "" || req.Holder == "" || req.MaxRecords < 1 || req.MaxBytes < 0 || req.LeaseMillis < 0 {
		l.refuse(kerr.InvalidRequest)
		return
	}
	keys, err := e.keys(req.Group, req.TopicID, req.Partition)
	if err != nil {
		l.refuse(err)
		return
	}
	l.pick = picker{maxRecords: int(min(req.MaxRecords, mostLeased)), maxBytes: int(min(req.MaxBytes, mostLeasedBytes)), allLabels: req.AllLabels}
	for _, label := range req.Labels {
		l.pick.labels = append(l.pick.labels, []byte(label))
	}
	l.poll.ctx, l.poll.until, l.poll.attempt = c.Context, received(c).Add(time.Duration(req.MaxWaitMillis)*time.Millisecond), l.attempt
	l.poll.places = make([]place, len(keys))
	for i, k := range keys {
		l.poll.places[i].key = k
	}
	e.start(&l.poll)
}

// received is when a call came in.
func received(c *call.Call) time.Time {
	if c.Received.IsZero() {
		return time.Now()
	}
	return c.Received
}

// keys is the share partitions of a topic, or of one partition of it. Of all of them those that this broker leads.
func (e *Engine) keys(group string, topic uuid.ID, partition int32) ([]share.Key, error) {
	t := e.o.Image().TopicByID(topic)
	switch {
	case t == nil:
		return nil, kerr.UnknownTopicID
	case partition < -1 || int(partition) >= len(t.Partitions):
		return nil, kerr.UnknownTopicOrPartition
	case partition >= 0:
		return []share.Key{{Group: group, Topic: topic, Partition: partition}}, nil
	}
	keys := make([]share.Key, 0, len(t.Partitions))
	for n := range t.Partitions {
		if t.Partitions[n].Leader == e.o.BrokerID {
			keys = append(keys, share.Key{Group: group, Topic: topic, Partition: int32(n)})
		}
	}
	if len(keys) == 0 {
		return nil, kerr.NotLeaderForPartition
	}
	return keys, nil
}

// attempt is the poll's: it takes from the first of the ready partitions that has something.
func (l *leasing) attempt(ready []*place, final bool, finished func(over bool)) {
	if len(ready) > 0 {
		l.err, l.failed, l.worked = nil, 0, false
	}
	for _, pl := range ready {
		if pl.part == nil && errors.Is(pl.err, errDeleted) { // the group goes; what is left of it is nobody's to wait for
			l.refuse(pl.err)
			finished(true)
			return
		}
	}
	if l.call.Context.Err() == nil {
		l.next(inTurn(ready), final, finished)
		return
	}
	l.conclude(final, finished) // nobody is there to take anything
}

// inTurn has the partition that comes after the one which answered last come first, so that all have their turn.
func inTurn(ready []*place) []*place {
	last, at := int64(0), -1
	for i, pl := range ready {
		if pl.part == nil {
			continue
		}
		if n := pl.part.answered.Load(); n > last {
			last, at = n, i
		}
	}
	if at < 0 || len(ready) < 2 {
		return ready
	}
	return append(ready[at+1:len(ready):len(ready)], ready[:at+1]...)
}

// next tries the places one after the other.
func (l *leasing) next(ready []*place, final bool, finished func(over bool)) {
	for len(ready) > 0 && ready[0].part == nil {
		l.fail(ready[0].err)
		ready = ready[1:]
	}
	if len(ready) == 0 {
		l.conclude(final, finished)
		return
	}
	pl, rest := ready[0], ready[1:]
	l.pick.seen = 0
	ask := acquire{holder: l.req.Holder, lease: time.Duration(l.req.LeaseMillis) * time.Millisecond, maxRecords: l.pick.maxRecords, place: pl, pick: &l.pick}
	pl.part.acquire(ask, func(got acquired, err error) {
		switch {
		case err != nil:
			// Not on to the next one: this may be the state's goroutine, and that one's log would have to be read.
			l.fail(err)
			l.conclude(final, finished)
		case len(got.granted) == 0:
			l.worked = true
			l.next(rest, final, finished)
		default:
			l.give(pl, got)
			finished(true)
		}
	})
}

func (l *leasing) fail(err error) {
	l.err = err
	l.failed++
}

// conclude ends an attempt that took nothing. While one partition may still have something, the others' errors are not told.
func (l *leasing) conclude(final bool, finished func(over bool)) {
	err, forGood := l.poll.unfound()
	if err == nil {
		err, forGood = l.err, l.failed == len(l.poll.places) && !transient(l.err)
	}
	if err != nil && !l.worked && (final || forGood) {
		l.refuse(err)
		finished(true)
		return
	}
	if !final {
		finished(false)
		return
	}
	l.call.Reply(call.Response{Message: &private.LeaseResponse{Partition: -1}})
	finished(true)
}

// give answers with records, or gives them back if nobody waits for them any more.
func (l *leasing) give(pl *place, got acquired) {
	if l.call.Context.Err() != nil {
		pl.part.settle(l.req.Holder, releases(got.granted), func(error) {}) // else the lease runs out by itself
	}
	l.call.Reply(call.Response{Message: &private.LeaseResponse{
		Partition: pl.key.Partition, UntilMillis: got.until.UnixMilli(), Records: l.pick.granted(got.granted),
	}})
}

func releases(granted []window.Grant) []window.Action {
	actions := make([]window.Action, len(granted))
	for i, g := range granted {
		actions[i] = window.Action{First: g.First, Last: g.Last, Kind: window.Release}
	}
	return actions
}

func (l *leasing) refuse(err error) {
	code, message := l.e.plainCode(err, "lease")
	l.call.Reply(call.Response{Message: &private.LeaseResponse{ErrorCode: code, ErrorMessage: message, Partition: -1}})
}
