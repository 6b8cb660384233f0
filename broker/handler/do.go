package handler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/protocol/private"
	"github.com/tidemark-mq/tidemark/protocol/wire"
)

// ErrNotServed says that the broker does not serve the request's API in its version.
var ErrNotServed = errors.New("API or version not served")

// ErrClosed stands for an answer that would have closed a client's connection, such as a failed Produce with acks=0.
var ErrClosed = errors.New("request refused without an answer")

// Do is the in-process front door: it answers req, in the version set in it, as if it had come over a socket from that
// principal. The answer is nil for a request that has none (Produce with acks=0). An end of ctx gives up waiting and says
// nothing about whether the request took effect. req must not be changed until Do returns, and after an end of ctx at all.
func (r *Registry) Do(ctx context.Context, principal string, req kmsg.Request) (kmsg.Response, error) {
	api := r.API(req.Key())
	if api == nil {
		api = r.hidden[req.Key()]
	}
	if api == nil || !api.Serves(req.GetVersion()) {
		return nil, fmt.Errorf("%s version %d: %w", kmsg.NameForKey(req.Key()), req.GetVersion(), ErrNotServed)
	}
	c := &call.Call{
		Context:  ctx,
		Header:   wire.Header{Key: req.Key(), Version: req.GetVersion()},
		Request:  req,
		Peer:     &call.Peer{Principal: principal},
		Session:  &call.Session{},
		Received: time.Now(),
	}
	handle := api.Handle
	if waits(req) {
		handle = func(c *call.Call) { go api.Handle(c) } // it ends when the call is parked or answered
	}
	resp, err := call.Await(c, handle, r.repeated)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", api.Name, err)
	}
	return materialise(api, req, resp)
}

// waits tells whether a request may be parked for long. Its handler then runs on a goroutine of its own: a stack that grew to
// handle a call does not shrink while its goroutine waits, and 10,000 open polls would keep 8 KiB each.
func waits(req kmsg.Request) bool {
	lease, ok := req.(*private.LeaseRequest)
	return ok && lease.MaxWaitMillis > 0
}

// materialise turns an answer into kmsg form, whatever form it came in.
func materialise(api *call.API, req kmsg.Request, resp call.Response) (kmsg.Response, error) {
	defer resp.Free()
	switch {
	case resp.Message != nil:
		return resp.Message, nil
	case resp.Nothing:
		return nil, nil
	case resp.Payload == nil:
		return nil, fmt.Errorf("%s: %w", api.Name, ErrClosed)
	}
	body, err := resp.Payload.AppendTo(make([]byte, 0, resp.Payload.Size()))
	if err != nil {
		return nil, fmt.Errorf("%s: read the answer: %w", api.Name, err)
	}
	out := req.ResponseKind()
	if err := out.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("%s: decode the answer: %w", api.Name, err)
	}
	return out, nil
}

func (r *Registry) repeated(c *call.Call) {
	r.log.DPanic("call answered twice", zap.Int16("key", c.Header.Key), zap.Int16("version", c.Header.Version))
}
