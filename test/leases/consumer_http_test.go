package leases

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/tidemark-mq/tidemark/protocol/private"
	"github.com/tidemark-mq/tidemark/test/simulation"
)

// retriever is a consumer at the HTTP door: it sends what that sends, one lease at a time.
type retriever struct {
	w     *world
	g     *consumed
	name  string
	n     int
	whole bool // as the drain does: it takes what it gets and accepts all
}

// step takes a lease and does something with it.
func (c *retriever) step(rnd *rand.Rand) {
	l := c.w.Current()
	if l == nil {
		return
	}
	lease := []time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 15 * time.Second}[rnd.IntN(4)]
	t, ok := c.take(l, rnd, 1+rnd.Int32N(8), lease, time.Duration(rnd.IntN(2000))*time.Millisecond)
	if !ok {
		return
	}
	held := t.Records
	for range 3 {
		if len(held) == 0 || rnd.IntN(8) == 0 {
			return // it vanishes
		}
		think := time.Duration(rnd.Int64N(int64(lease) / 2))
		if rnd.IntN(10) == 0 {
			think = lease + time.Duration(rnd.IntN(3000))*time.Millisecond // too late
		}
		time.Sleep(think + time.Microsecond)
		req, said := c.say(rnd, t, held)
		outcome := c.settle(t, req, said)
		for outcome == Unknown && rnd.IntN(4) > 0 {
			time.Sleep(time.Duration(rnd.IntN(1000))*time.Millisecond + time.Microsecond)
			outcome = c.settle(t, req, said)
		}
		if outcome != Done {
			return
		}
		if rnd.IntN(8) == 0 { // once more
			time.Sleep(time.Duration(rnd.IntN(100))*time.Millisecond + time.Microsecond)
			if c.settle(t, req, said) != Refused {
				return
			}
		}
		held = remaining(held, said)
	}
}

// remaining is what is still held after something was said.
func remaining(held []Taken, said []Said) (out []Taken) {
	ended := map[Place]bool{}
	for _, s := range said {
		ended[s.Place] = s.Action != Renew
	}
	for _, t := range held {
		if !ended[t.Place] {
			out = append(out, t)
		}
	}
	return out
}

// take asks for records.
func (c *retriever) take(l *simulation.Life, rnd *rand.Rand, records int32, lease, wait time.Duration) (Take, bool) {
	c.n++
	req := &private.LeaseRequest{Group: c.g.Name, TopicID: c.w.topic.ID, Partition: -1, Holder: fmt.Sprintf("%s-%d", c.name, c.n), MaxRecords: records, MaxBytes: 1 << 20,
		MaxWaitMillis: int32(wait.Milliseconds()), LeaseMillis: int32(lease.Milliseconds()), Labels: c.g.Labels, AllLabels: c.g.AllLabels}
	ctx, cancel := context.WithCancel(l.Context())
	defer cancel()
	if !c.whole && rnd.IntN(12) == 0 { // its client gives up
		time.AfterFunc(time.Duration(rnd.IntN(1500))*time.Millisecond, cancel)
	}
	from := time.Now()
	resp, err := simulation.Ask[*private.LeaseResponse](ctx, l, private.Principal, req)
	to := time.Now()
	if err != nil || resp.ErrorCode != 0 {
		c.w.rec.Lost(Lost{Group: c.g.Name, Request: Span{from, to}, Until: to.Add(lease + skewed)})
		return Take{}, false
	}
	if c.w.Broken(l) { // another partition's records may have been taken, which could not be kept
		c.w.rec.Lost(Lost{Group: c.g.Name, Request: Span{from, to}, Until: to.Add(lease + skewed)})
	}
	if len(resp.Records) == 0 {
		return Take{}, false
	}
	until := time.UnixMilli(resp.UntilMillis)
	t := Take{Group: c.g.Name, Holder: req.Holder, Door: HTTP, Request: Span{from, to}, Until: Span{until, until.Add(time.Millisecond)}}
	t.Granted = Span{later(from, until.Add(-lease)), earlier(to, until.Add(time.Millisecond-lease))}
	for _, r := range resp.Records {
		t.Records = append(t.Records, Taken{Place: Place{resp.Partition, r.Offset}, Value: string(r.Value), Delivery: int(r.Deliveries), Failures: int(r.Failures)})
	}
	c.w.rec.Take(t)
	return t, true
}

// say makes up a request about what is held of a lease, and tells what it comes to.
func (c *retriever) say(rnd *rand.Rand, t Take, held []Taken) (*private.SettleRequest, []Said) {
	lease := private.SettledLease{Partition: t.Records[0].Partition, Holder: t.Holder}
	req := &private.SettleRequest{Group: c.g.Name, TopicID: c.w.topic.ID, InOrder: rnd.IntN(3) > 0}
	said := map[int64]Action{}
	var plain []Said
	renew := rnd.IntN(6) == 0
	if renew {
		req.InOrder, req.RenewMillis = false, 1000+rnd.Int32N(5000)
	}
	for _, r := range held {
		if rnd.IntN(6) == 0 && len(held) > 1 && !renew {
			continue // not mentioned; of a lease of which only some records run longer, nobody could tell what it is to walk over
		}
		a := Accept
		switch {
		case renew:
			a = Renew
		case rnd.IntN(4) == 0:
			a = Fail
		case !req.InOrder && rnd.IntN(4) == 0:
			a = []Action{Release, Reject, Bury}[rnd.IntN(3)]
			if a == Bury && !c.g.DeadLetters {
				a = Release
			}
		}
		rec := private.SettledRecord{Offset: r.Offset, Action: private.Action(a)}
		if rnd.IntN(2) == 0 {
			rec.Delivery = int32(r.Delivery)
		}
		lease.Records = append(lease.Records, rec)
		said[r.Offset] = a
		plain = append(plain, Said{r.Place, r.Value, a})
	}
	rnd.Shuffle(len(lease.Records), func(i, j int) { lease.Records[i], lease.Records[j] = lease.Records[j], lease.Records[i] })
	req.Leases = []private.SettledLease{lease}
	if req.InOrder {
		return req, Walk(held, said)
	}
	return req, plain
}

// settle sends a request; said is what it comes to if it is done.
func (c *retriever) settle(t Take, req *private.SettleRequest, said []Said) Outcome {
	l := c.w.Current()
	if l == nil {
		return Unknown
	}
	again := *req
	again.Leases = []private.SettledLease{{Partition: req.Leases[0].Partition, Holder: req.Leases[0].Holder, Records: append([]private.SettledRecord(nil), req.Leases[0].Records...)}}
	s := Settle{Group: c.g.Name, Holder: t.Holder, Door: HTTP, Records: said}
	s.Request.From = time.Now()
	resp, err := simulation.Ask[*private.SettleResponse](l.Context(), l, private.Principal, &again)
	s.Request.To = time.Now()
	renew := time.Duration(req.RenewMillis) * time.Millisecond
	s.Until = Span{s.Request.From.Add(renew).Truncate(time.Millisecond), s.Request.To.Add(renew)}
	switch {
	case err != nil:
	case resp.ErrorCode == 0:
		s.Outcome = Done
	case resp.ErrorCode == kerr.InvalidRecordState.Code:
		s.Outcome, s.Records = Refused, named(t, req)
	}
	outcome := s.Outcome
	if outcome == Done && req.InOrder && s.Request.To.After(t.Until.From) {
		// A restart lets a lease run a little longer, but what had failed at a limit before it is not among it any more: nobody can
		// tell what the request walked over.
		s.Outcome = Unknown
		c.w.rec.Settle(s)
		s.Records = named(t, req)
		c.w.rec.Settle(s)
		s.Records = nil
		for _, r := range t.Records {
			s.Records = append(s.Records, Said{r.Place, r.Value, Release})
		}
	}
	c.w.rec.Settle(s)
	return outcome
}

// named is what a request names, whatever it would have come to.
func named(t Take, req *private.SettleRequest) (out []Said) {
	for _, r := range t.Records {
		for _, n := range req.Leases[0].Records {
			if n.Offset == r.Offset {
				out = append(out, Said{r.Place, r.Value, Action(n.Action)})
			}
		}
	}
	return out
}
