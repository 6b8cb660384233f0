package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/broker/call"
)

// InitProducerId (key 22), versions 0 to 5: v2 is flexible, v3 lets a producer name the id and epoch it has, v4 says PRODUCER_FENCED,
// v5 goes with transactions of version 2.
//
// Idempotent producers get a new id each time they ask. Transactional ones are refused for good: this broker does not serve
// transactions yet, and TRANSACTIONAL_ID_AUTHORIZATION_FAILED is what every client gives up on at once instead of trying
// again for minutes.
func (h *handlers) initProducerID(c *call.Call) {
	req := c.Request.(*kmsg.InitProducerIDRequest)
	resp := req.ResponseKind().(*kmsg.InitProducerIDResponse)
	id, err := h.newProducer(c.Context, req)
	if err != nil {
		resp.ErrorCode, resp.ProducerID, resp.ProducerEpoch = h.code(err, "hand out a producer id"), -1, -1
	} else {
		resp.ProducerID, resp.ProducerEpoch = id, 0
	}
	c.Reply(call.Response{Message: resp})
}

func (h *handlers) newProducer(ctx context.Context, req *kmsg.InitProducerIDRequest) (int64, error) {
	switch {
	case req.TransactionalID != nil && *req.TransactionalID == "":
		return -1, kerr.InvalidRequest
	case req.Version >= 3 && (req.ProducerID == -1) != (req.ProducerEpoch == -1):
		return -1, kerr.InvalidRequest
	case req.TransactionalID != nil:
		return -1, kerr.TransactionalIDAuthorizationFailed
	}
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	id, err := h.producers.Next(ctx)
	if err != nil {
		h.Log.Warn("no producer ids to hand out", zap.Error(err))
		return -1, kerr.CoordinatorLoadInProgress // as Kafka: the one that producers wait for
	}
	return id, nil
}

// ProducerIDs hands out producer ids one by one from blocks that only this broker has. What is left of a block when the broker
// stops is lost.
type ProducerIDs struct {
	allocate func(context.Context) (first int64, n int, err error)
	desk     chan struct{} // a lock that can be given up waiting for; whoever holds it may do I/O
	at, end  int64         // the next id, and the end of the block; under the desk
}

// NewProducerIDs makes one that gets its blocks from allocate.
func NewProducerIDs(allocate func(context.Context) (int64, int, error)) *ProducerIDs {
	return &ProducerIDs{allocate: allocate, desk: make(chan struct{}, 1)}
}

// Next is an id that nobody had before. It is never 0, which some tools take for "no producer".
func (p *ProducerIDs) Next(ctx context.Context) (int64, error) {
	select {
	case p.desk <- struct{}{}:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	defer func() { <-p.desk }()
	for p.at == p.end || p.at == 0 {
		if p.at < p.end {
			p.at++ // skips 0
			continue
		}
		first, n, err := p.allocate(ctx)
		if err != nil {
			return 0, err
		}
		p.at, p.end = first, first+int64(n)
	}
	id := p.at
	p.at++
	return id, nil
}
