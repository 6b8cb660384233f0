package share

import (
	"math"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/coordinator/share"
	"github.com/tidemark-mq/tidemark/protocol/private"
)

// mostCounted bounds the groups of one CountQueueRequest.
const mostCounted = 10_000

// counting is one CountQueueRequest until it is answered.
type counting struct {
	e     *Engine
	req   *private.CountQueueRequest
	resp  private.CountQueueResponse
	parts []*replica.Partition
	tally []tally // by group, then by partition
}

// tally is one share partition's numbers.
type tally struct {
	counters  share.Counters
	available int64 // below rest
	rest      int64 // from here to the log's end all is available
	inFlight  int64
	err       error
}

// CountQueue answers a CountQueueRequest (protocol/private). A group that is not in use here is counted from what its coordinator
// keeps; one that has leased records and not settled all is brought into use for it, because only its window knows what it holds.
func (e *Engine) CountQueue(c *call.Call) {
	n := &counting{e: e, req: c.Request.(*private.CountQueueRequest)}
	refuse := func(err error) {
		n.resp = private.CountQueueResponse{}
		n.resp.ErrorCode, n.resp.ErrorMessage = e.plainCode(err, "count")
		c.Reply(call.Response{Message: &n.resp})
	}
	if len(n.req.Groups) > mostCounted {
		refuse(kerr.InvalidRequest)
		return
	}
	keys, err := e.keys("", n.req.TopicID, -1)
	if err != nil {
		refuse(err)
		return
	}
	for _, k := range keys {
		p, err := e.o.Replicas.Partition(k.Topic, k.Partition)
		if err == nil {
			err = e.leads(p)
		}
		if err != nil {
			refuse(err)
			return
		}
		n.parts = append(n.parts, p)
	}
	if e.o.Delayed != nil {
		if n.resp.Delayed, err = e.o.Delayed(c.Context, n.req.TopicID); err != nil {
			refuse(err)
			return
		}
	}
	n.tally = make([]tally, len(n.req.Groups)*len(keys))
	g := newGather(len(n.tally), func(error) {
		n.sum()
		c.Reply(call.Response{Message: &n.resp})
	})
	for i, group := range n.req.Groups {
		for j, k := range keys {
			k.Group = group
			n.count(k, n.parts[j], &n.tally[i*len(keys)+j], g)
		}
	}
	g.one(nil)
}

// sum adds up the partitions of each group. The ends of the logs are read here, once, for what is in the topic and for what of it
// is available: behind them is nothing that a group has settled, because its counters were read before.
func (n *counting) sum() {
	partitions := len(n.parts)
	ends := make([]int64, partitions)
	for j, p := range n.parts {
		ends[j] = p.HighWatermark()
		n.resp.Records += max(0, ends[j]-p.LogStart())
		n.resp.Bytes += p.SizeBytes()
	}
	n.resp.Groups = make([]private.GroupCount, len(n.req.Groups))
	for i, group := range n.req.Groups {
		out := &n.resp.Groups[i]
		out.Group = group
		for j, t := range n.tally[i*partitions : (i+1)*partitions] {
			if t.err != nil {
				code, _ := n.e.plainCode(t.err, "count")
				*out = private.GroupCount{Group: group, ErrorCode: code}
				break
			}
			out.Available += t.available + max(0, ends[j]-t.rest)
			out.InFlight += t.inFlight
			out.Accepted += t.counters.Accepted
			out.Rejected += t.counters.Rejected
			out.DeadLettered += t.counters.DeadLettered
			out.Filtered += t.counters.Filtered
			out.Skipped += t.counters.Skipped
		}
	}
}

// count counts one share partition.
func (n *counting) count(k share.Key, part *replica.Partition, out *tally, g *gather) {
	inUse := n.e.inUse(k)
	n.e.o.State.Summary(k, func(kept share.Stored, err error) {
		start, high := part.LogStart(), part.HighWatermark()
		switch {
		case err != nil:
			out.err = err
		case inUse != nil: // with what was on its way when this was asked: the state answers in order
			inUse.count(out)
		case kept.Start < 0:
			out.counters, out.rest = kept.Counters, math.MaxInt64
			if n.e.settings(k.Group, nil).Reset.Earliest {
				out.rest = start
			}
		case kept.Start >= high || kept.LeaderEpoch < 0 && kept.DeliveryComplete <= 0: // all is settled, or none was ever leased
			out.counters, out.rest = kept.Counters, max(start, kept.Start)
			out.counters.Skipped += max(0, min(start, high)-kept.Start) // as the next lease will say
		default:
			n.load(k, out, g)
			return
		}
		g.one(nil)
	})
}

// load counts a share partition by its window.
func (n *counting) load(k share.Key, out *tally, g *gather) {
	n.e.partition(k, func(p *partition, err error) {
		if out.err = err; err == nil {
			p.count(out)
		}
		g.one(nil)
	})
}

// count says how many records are in the log and not settled, how many of them are held, and what became of the others.
func (p *partition) count(out *tally) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w, start := p.mu.window, p.part.LogStart()
	out.counters = p.mu.counters
	if start <= w.Start() {
		out.rest, out.inFlight = w.Start()+w.Complete(), max(0, w.InFlight()-p.mu.ended)
		return
	}
	// Retention or a purge passed the window's start, as the next lease will see: only what is above counts, and the rest is skipped.
	for b := range w.Ranges(w.Start()) {
		out.counters.Skipped += max(0, min(b.Last+1, start)-b.First)
		n := max(0, b.Last+1-max(b.First, start))
		out.available += n
		if b.State == share.Acquired {
			out.inFlight += n
		}
	}
	out.counters.Skipped += max(0, start-w.End())
	out.rest = max(start, w.End())
}
