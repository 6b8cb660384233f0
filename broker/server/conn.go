package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/protocol/wire"
)

// Why a connection ended; the cause of its calls' contexts.
const (
	errPeerGone = ended("client closed the connection")
	errStopping = ended("broker is stopping")
	errIdle     = ended("connection idle too long")
	errStalled  = ended("client stalled")
	errRefused  = ended("request refused")
)

// ended is such a reason. Handlers, which know nothing of connections, see it as context.Canceled.
type ended string

func (e ended) Error() string        { return string(e) }
func (e ended) Is(target error) bool { return target == context.Canceled }

// conn is one connection. Its reader goroutine cuts and decodes requests and runs their handlers, one after the other;
// answers come from any goroutine and leave in the order of the requests.
//
// Whoever completes the answer that is next in order writes it, together with all others that are ready behind it; one
// goroutine writes at a time (writing). The reader may wait for the socket then, which is back-pressure; anybody else
// leaves the rest to a goroutine made for it as soon as the socket is full.
type conn struct {
	srv    *Server
	stream stream
	frames frames
	peer   call.Peer
	sess   call.Session
	ctx    context.Context
	cancel context.CancelCauseFunc

	stall  stallClock   // of writes
	waits  stallClock   // of the reader, for earlier answers
	ending stallClock   // of the reader, for the last answers of a connection that is over
	active atomic.Int64 // when a request last came or an answer went, by the server's clock

	held atomic.Int64 // bytes of memory in out, as of the last write

	mu      sync.Mutex
	changed sync.Cond // an answer came or went, or the connection broke
	// first to last are the requests whose answers have not been handed to the writer, in order.
	first, last *request
	blocked     *request // what the reader waits to start, nil if it does not
	inFlight    int      // how many those are
	unanswered  int      // those without an answer
	serial      int      // those without an answer that nothing may overtake
	unsent      int64    // bytes of answers that wait behind another
	writing     bool     // a goroutine owns out
	broken      bool     // nothing is read, started or sent any more
	out         writer
}

// serve runs the connection to its end. It is the reader goroutine.
func (c *conn) serve() {
	err := c.readRequests()
	c.frames.close()
	if cause := context.Cause(c.ctx); cause != nil {
		err = cause // of an error that only says the socket was closed
	}
	c.srv.noteEnd(c, err)
	c.finish(err)
}

// readRequests reads and starts requests until one of them, the client or the broker ends it.
func (c *conn) readRequests() error {
	for {
		q, err := c.readRequest()
		if err != nil {
			return err
		}
		if !c.enqueue(q) {
			q.releaseRequest()
			return context.Cause(c.ctx)
		}
		q.api.Handle(&q.Call)
		q.letGo() // the next frame finds its memory at hand, however long this one's answer waits
		c.handled(q)
	}
}

// readRequest waits for the next request, within all limits. Requests that Kafka does not answer are errors.
func (c *conn) readRequest() (*request, error) {
	head, err := c.frames.readHead()
	if err != nil {
		return nil, err
	}
	api, err := c.srv.route(head)
	if err != nil {
		return nil, err
	}
	q := &request{conn: c, api: api}
	buf, err := c.frames.readBody(c.ctx, head, &q.frameLease)
	if err == nil {
		q.frame = buf
		err = c.decode(q, buf.b)
	}
	if err != nil {
		q.releaseRequest()
		return nil, err
	}
	c.srv.metrics.bytesIn.Add(float64(head.size + 4))
	return q, nil
}

// smallBody is up to where a request is decoded before its decoded size is leased, to walk it once instead of twice.
const smallBody = 1 << 10

// decode makes the call out of the frame.
func (c *conn) decode(q *request, frame []byte) error {
	h, body, err := wire.ParseHeader(frame)
	if err != nil {
		return err
	}
	if len(body) > smallBody && q.api.Serves(h.Version) {
		size, err := wire.Check(h.Key, h.Version, body)
		if err != nil {
			return err
		}
		if err := c.leaseDecoded(q, q.memory(size)); err != nil {
			return err
		}
	}
	var req kmsg.Request
	var size int64
	if q.api.Serves(h.Version) {
		req, size, err = wire.Decode(h, body)
	} else {
		req = kmsg.RequestForKey(h.Key)
		req.SetVersion(h.Version)
	}
	if err != nil {
		return err
	}
	if q.decodeLease.Held() == 0 {
		if err := c.leaseDecoded(q, q.memory(size)); err != nil {
			return err
		}
	}
	if !q.api.Aliases {
		q.releaseFrame()
	}
	q.Context, q.Peer, q.Session = c.ctx, &c.peer, &c.sess
	q.Header, q.Request, q.Received = h, req, time.Now()
	q.SetSink(q)
	return nil
}

// smallDecoded is what a connection without a request in flight may decode to without waiting, in bytes: others hold the budget
// for as long as their requests are parked, which for a long poll is as long as they like.
const smallDecoded = 16 << 10

// leaseDecoded counts what q decodes to, and waits for it if need be.
func (c *conn) leaseDecoded(q *request, n int64) error {
	if c.srv.decoded.TryTake(&q.decodeLease, n) {
		return nil
	}
	if n <= smallDecoded && c.isUnburdened() {
		c.srv.decoded.TakeNow(&q.decodeLease, n)
		return nil
	}
	return c.srv.decoded.Take(c.ctx, &q.decodeLease, n)
}

// isUnburdened tells whether no request of the connection is in flight.
func (c *conn) isUnburdened() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.inFlight == 0
}

// fail breaks the connection: calls are told, nothing is sent any more.
func (c *conn) fail(cause error) {
	c.cancel(cause)
	c.mu.Lock()
	c.broken = true
	dropped := c.dropLocked()
	c.changed.Broadcast()
	c.mu.Unlock()
	for q := dropped; q != nil; q = q.next {
		q.releaseAnswer()
	}
	_ = c.stream.close()
}

// drain lets the connection finish what it has started and no more.
func (c *conn) drain(cause error) {
	c.cancel(cause)
	c.stream.interrupt()
	c.mu.Lock()
	c.changed.Broadcast() // the reader may wait to start one more
	c.mu.Unlock()
}

// lingerTime is how long a draining connection waits for a client that goes on sending to notice.
const lingerTime = 500 * time.Millisecond

// finish waits until every request that was started is answered and sent, and closes. The sweeper ends a wait that is too long:
// calls are to be answered when their context ends.
func (c *conn) finish(cause error) {
	if errors.Is(cause, io.EOF) {
		cause = errPeerGone
	}
	c.cancel(cause)
	c.ending.begin()
	c.mu.Lock()
	for !c.broken && (c.inFlight > 0 || c.writing) {
		c.changed.Wait()
	}
	broken := c.broken
	c.mu.Unlock()
	if !broken && errors.Is(cause, errStopping) {
		c.stream.linger(lingerTime)
	}
	c.fail(cause)
	c.mu.Lock()
	for c.writing { // the writer notices that the socket is closed
		c.changed.Wait()
	}
	c.mu.Unlock()
}

// route finds the row of a request from the head of its frame; requests that Kafka closes the connection for are errors.
func (s *Server) route(h frameHead) (*route, error) {
	var api *route
	if h.key >= 0 && int(h.key) < len(s.routes) {
		api = s.routes[h.key]
	}
	if api == nil {
		return nil, fmt.Errorf("api key %d: %w", h.key, wire.ErrUnknownKey)
	}
	if !api.Serves(h.version) && !api.AnyVersion {
		return nil, fmt.Errorf("%s version %d: %w", api.Name, h.version, wire.ErrUnknownVersion)
	}
	if api.FrameLimit > 0 && h.size > api.FrameLimit {
		return nil, fmt.Errorf("%s with %d bytes, limit %d: %w", api.Name, h.size, api.FrameLimit, errFrameSize)
	}
	return api, nil
}

// noteEnd counts and logs a connection that the broker ended; clients may come and go unnoticed.
func (s *Server) noteEnd(c *conn, err error) {
	reason := closeReason(err)
	if reason == "" {
		return
	}
	s.metrics.closed.WithLabelValues(reason).Inc()
	s.connLog.Info("connection closed", zap.String("reason", reason), zap.Stringer("client", c.peer.Remote),
		zap.String("listener", c.peer.Listener), zap.Error(err))
}
