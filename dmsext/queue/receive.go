package queue

import (
	"context"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/tidemark-mq/tidemark/protocol/private"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// staleAfter is how long a retrieval may wait and still take it that its group is there.
const staleAfter = 100 * time.Millisecond

// aroundMessage is what the answer's JSON has around a message, its handle included: what leases may bring leaves room for it.
const aroundMessage = 256

// Receive leases messages to the caller for AckWait and waits for the first (DMS reference 4.2 and 5). All are of one partition. No
// message in time is an empty list and no error. When ctx ends the wait is over at once.
func (s *Service) Receive(ctx context.Context, project, id, group string, r Receive) ([]Received, error) {
	out, err := s.receive(ctx, project, id, group, &r)
	return out, s.told(err)
}

// receiving is one retrieval on its way.
type receiving struct {
	begin, until time.Time
	queue        *queue
	keys         *keys
	handle       handle
	group        *group
	req          *private.LeaseRequest
}

// receive waits in lease. What comes before and after is in functions of its own, so that the stack of a goroutine that waits,
// of which there may be 10,000, stays small.
func (s *Service) receive(ctx context.Context, project, id, name string, r *Receive) ([]Received, error) {
	x, err := s.begin(ctx, project, id, name, r)
	if err != nil || x.req.TopicID.IsZero() {
		return []Received{}, err
	}
	resp, err := s.lease(ctx, x.queue, x.group, x.req, x.until)
	if err != nil {
		return nil, err
	}
	return s.came(ctx, project, x, resp)
}

// begin looks up and checks what a retrieval needs; no topic in its request: there were no dead letters until its time was up.
//
//go:noinline
func (s *Service) begin(ctx context.Context, project, id, name string, r *Receive) (*receiving, error) {
	x := &receiving{begin: time.Now()}
	x.until = x.begin.Add(r.Wait)
	if err := checkReceive(r); err != nil {
		return nil, err
	}
	var err error
	if x.queue, x.group, err = s.findGroup(ctx, project, id, name); err != nil {
		return nil, err
	}
	if x.queue.Mode.Kafka() && (r.DeadLetters || len(r.Labels) > 0) {
		return nil, badf(CodeConsume, "Failed to consume messages due to: a Kafka queue has neither dead letters nor tags.")
	}
	if x.keys, err = s.handleKeys(ctx); err != nil {
		return nil, err
	}
	if x.req, err = s.leaseRequest(ctx, x.queue, x.group, r, x.until); err != nil {
		return nil, err
	}
	x.handle = handle{deadLetter: r.DeadLetters, queue: x.queue.key, group: x.group.key, holder: newHolder()}
	x.req.Holder = x.handle.holder.text()
	return x, nil
}

// came makes messages of what was leased.
//
//go:noinline
func (s *Service) came(ctx context.Context, project string, x *receiving, resp *private.LeaseResponse) ([]Received, error) {
	if time.Since(x.begin) > staleAfter {
		if _, _, err := s.findGroup(ctx, project, x.queue.id, x.group.ID); err != nil { // it may have been deleted while this waited
			return nil, err
		}
	}
	key := x.keys.signing(s.now())
	out := make([]Received, len(resp.Records))
	for i := range resp.Records {
		rec := &resp.Records[i]
		out[i] = received(x.queue, resp.Partition, rec)
		out[i].Produced = time.UnixMilli(rec.Timestamp)
		x.handle.partition, x.handle.offset, x.handle.delivery = resp.Partition, rec.Offset, rec.Deliveries
		out[i].Handle = x.handle.text(project, key)
	}
	return out, nil
}

// leaseRequest is what a retrieval asks of the lease engine, but for the holder. No topic: there were no dead letters until then.
func (s *Service) leaseRequest(ctx context.Context, q *queue, g *group, r *Receive, until time.Time) (*private.LeaseRequest, error) {
	req := &private.LeaseRequest{
		Group: g.share, TopicID: q.Topic, Partition: -1, MaxRecords: int32(r.Max), MaxBytes: maxCallBytes - int32(r.Max)*aroundMessage,
		LeaseMillis: millis(r.AckWait),
	}
	var err error
	switch {
	case r.DeadLetters:
		req.TopicID, err = s.awaitLetters(ctx, q, g, until)
	case g.Rule != nil || len(r.Labels) > 0:
		err = s.obeyRule(ctx, q, g, r)
		req.Labels, req.AllLabels = r.Labels, r.AllLabels
	}
	return req, err
}

// lease asks for records until that time, through a start of the broker if need be.
func (s *Service) lease(ctx context.Context, q *queue, g *group, req *private.LeaseRequest, until time.Time) (*private.LeaseResponse, error) {
	var resp *private.LeaseResponse
	once := func() (err error) {
		next := *req // a request that was given away is not changed
		next.MaxWaitMillis = millis(time.Until(until))
		if resp, err = ask[*private.LeaseResponse](ctx, s, &next); err != nil {
			return err
		}
		return refused("lease", resp.ErrorCode, resp.ErrorMessage)
	}
	err := patiently(ctx, max(time.Until(until), time.Second), once)
	if isRefusal(err, kerr.GroupIDNotFound) { // its registration is lost, or was never made, or it was deleted
		if _, _, err = s.findGroup(ctx, q.project, q.id, g.ID); err == nil {
			err = s.setUp(ctx, q, []*group{g})
		}
		if err == nil {
			err = patiently(ctx, max(time.Until(until), time.Second), once)
		}
	}
	if req.TopicID != q.Topic && (isRefusal(err, kerr.UnknownTopicID) || isRefusal(err, kerr.UnknownTopicOrPartition)) { // the dead letters are gone
		g.letters.Store(nil)
		return &private.LeaseResponse{Partition: -1}, nil
	}
	return resp, s.missing(ctx, q, err)
}

// awaitLetters waits for the topic of a group's dead letters, which is made with the first of them; zero when there is none by then.
func (s *Service) awaitLetters(ctx context.Context, q *queue, g *group, until time.Time) (uuid.ID, error) {
	const most = time.Second
	pause := 50 * time.Millisecond
	for {
		id, err := s.letterTopic(ctx, g)
		left := time.Until(until)
		if err != nil || !id.IsZero() || left <= 0 {
			return id, err
		}
		if err = rest(ctx, min(pause, left)); err == nil {
			q, g, err = s.findGroup(ctx, q.project, q.id, g.ID)
		}
		if err != nil {
			return id, err
		}
		pause = min(2*pause, most)
	}
}

// obeyRule lets a retrieval through whose labels are the group's rule, and makes them the rule of a group without one, before the
// first message is taken by it (DMS reference 9.5, D24). It brings the labels into the rule's order.
func (s *Service) obeyRule(ctx context.Context, q *queue, g *group, r *Receive) error {
	labels := slices.Clone(r.Labels)
	slices.Sort(labels)
	r.Labels = slices.Compact(labels)
	rule := g.Rule
	if rule == nil {
		var err error
		if rule, err = s.fixRule(ctx, q, g.ID, r); err != nil {
			return err
		}
	}
	if slices.Equal(rule.Labels, r.Labels) && rule.All == r.AllLabels {
		return nil
	}
	return badf(CodeConsume, "Failed to consume messages due to: the consumer group has another tag rule.")
}

// fixRule makes the labels the group's rule if it has none; it answers the rule that the group has then.
func (s *Service) fixRule(ctx context.Context, q *queue, group string, r *Receive) (*ruleDoc, error) {
	var rule *ruleDoc
	_, err := s.update(ctx, q.project, q.id, func(doc *queueDoc, _ *transaction) error {
		for i := range doc.Groups {
			g := &doc.Groups[i]
			switch {
			case g.ID != group || g.Deleting || doc.Deleting:
				continue
			case g.Rule != nil:
				rule = g.Rule
				return errUnchanged
			}
			rule = &ruleDoc{Labels: r.Labels, All: r.AllLabels}
			g.Rule = rule
			return nil
		}
		return noGroup(group)
	})
	return rule, err
}
