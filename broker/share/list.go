package share

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/coordinator/share"
	"github.com/tidemark-mq/tidemark/protocol/private"
)

// mostListed bounds the ranges of one ListLeasesResponse.
const mostListed = 10_000

// ListLeases answers a ListLeasesRequest (protocol/private).
func (e *Engine) ListLeases(c *call.Call) {
	req := c.Request.(*private.ListLeasesRequest)
	resp := &private.ListLeasesResponse{}
	refuse := func(err error) {
		resp.ErrorCode, resp.ErrorMessage = e.plainCode(err, "list leases")
		c.Reply(call.Response{Message: resp})
	}
	if req.Limit < 0 || req.From < 0 {
		refuse(kerr.InvalidRequest)
		return
	}
	keys, err := e.keys(req.Group, req.TopicID, req.Partition)
	if err != nil {
		refuse(err)
		return
	}
	limit := int(min(req.Limit, mostListed))
	if limit == 0 {
		limit = mostListed
	}
	e.each(keys, func(parts []*partition, err error) {
		if err != nil {
			refuse(err)
			return
		}
		for _, p := range parts {
			from := req.From
			if req.Partition < 0 {
				from = 0
			}
			if resp.More = p.list(from, limit, &resp.Leases); resp.More {
				break
			}
		}
		c.Reply(call.Response{Message: resp})
	})
}

// each finds share partitions, and calls done with all of them or with an error.
func (e *Engine) each(keys []share.Key, done func([]*partition, error)) {
	parts := make([]*partition, len(keys))
	g := newGather(len(keys), func(err error) { done(parts, err) })
	for i, k := range keys {
		e.partition(k, func(p *partition, err error) {
			parts[i] = p
			g.one(err)
		})
	}
	g.one(nil)
}

// list appends what is held, waits, or is on its way, until there are limit ranges; true: there are more.
func (p *partition) list(from int64, limit int, out *[]private.HeldRange) (more bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.e.now().UnixMilli()
	for b := range p.mu.window.Ranges(from) {
		if b.State == share.Available && b.Until <= now {
			continue
		}
		if len(*out) >= limit {
			return true
		}
		*out = append(*out, private.HeldRange{Partition: p.key.Partition, First: b.First, Last: b.Last, State: int8(b.State), Holder: b.Holder,
			UntilMillis: b.Until, Deliveries: int32(b.Deliveries), Failures: b.Failures})
	}
	return false
}
