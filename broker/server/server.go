// Package server is the broker's door to sockets: listeners, connections, frames, the order of requests and answers, and every
// limit that keeps clients from hurting the broker or one another. It knows no API: it gives calls to the rows of the
// registry it is made with.
//
// A connection has one goroutine, its reader. It cuts frames, decodes requests and runs their handlers; answers are
// encoded and written by whoever completes them (see conn, order.go and writer.go). A connection without a request in
// flight has no other goroutine and no buffer.
//
//	client ==> frames (leased memory) -> wire (bounded walk) -> enqueue (order) -> handler
//	client <== one write for all answers ready, sendfile <- answers in order <- Call.Reply
//
// Locks: Server.mu guards the set of connections, conn.mu a connection's order; neither is held while the other is taken,
// nor while anything is read, written or handled. Budgets have a lock of their own, which nothing is taken under.
//
// Stop: no new connections; every connection finishes the requests it has started, whose contexts end, and takes no more;
// what is left at the deadline is cut; all goroutines have ended when Stop returns nil.
package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/broker/quota"
)

// Options says what a server serves and its limits; zero values are the defaults named.
type Options struct {
	APIs []call.API // the registry's rows

	MaxRequestBytes     int           // largest frame, socket.request.max.bytes; 100 MiB
	MaxConnections      int           // max.connections; 0 is no limit
	MaxConnectionsPerIP int           // max.connections.per.ip; 0 is no limit
	IdleTimeout         time.Duration // connections.max.idle.ms; 10 min, negative is never
	// StallTimeout closes connections that stop in the middle: a frame that does not come on, an answer that is not read; where
	// next to no memory waits to be read, IdleTimeout does. 30 s.
	StallTimeout time.Duration
	MaxInFlight  int   // unanswered or unsent requests of a connection; 256
	MaxUnsent    int64 // bytes of answers that wait behind another on a connection, before no further request is started; 1 MiB

	// Requests is the memory for frames, Decoded the memory for what they decode to; quota.DefaultBytes each.
	Requests, Decoded *quota.Budget

	Log     *zap.Logger
	Metrics prometheus.Registerer
}

// Server serves connections. Make it with New, give it listeners, Start it, Stop it.
type Server struct {
	log         *zap.Logger
	connLog     *zap.Logger // for what clients cause; it drops lines when there are too many
	routes      []*route    // index is the key
	maxRequest  int
	maxInFlight int
	maxUnsent   int64
	idle, stall time.Duration
	requests    *quota.Budget
	decoded     *quota.Budget
	metrics     *metrics
	clock       coarseClock

	ctx        context.Context // parent of every connection's
	cancel     context.CancelCauseFunc
	goroutines sync.WaitGroup // accepting, sweeping, reading, writing

	mu        sync.Mutex
	listeners []*listener
	conns     map[*conn]struct{}
	perIP     map[netip.Addr]int
	maxConns  int
	maxPerIP  int
	started   bool
	stopping  bool
}

// New makes a server that serves nothing yet.
func New(o Options) (*Server, error) {
	if o.Requests == nil {
		o.Requests = quota.NewBudget(quota.DefaultBytes())
	}
	if o.Decoded == nil {
		o.Decoded = quota.NewBudget(quota.DefaultBytes())
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	m, err := newMetrics(o.Metrics, o.Requests, o.Decoded)
	if err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	s := &Server{
		log:        o.Log,
		connLog:    o.Log.WithOptions(zap.WrapCore(sampled)),
		maxRequest: orDefault(o.MaxRequestBytes, 100<<20), maxInFlight: orDefault(o.MaxInFlight, 256),
		maxUnsent: orDefault(o.MaxUnsent, 1<<20),
		idle:      orDefault(o.IdleTimeout, 10*time.Minute), stall: orDefault(o.StallTimeout, 30*time.Second),
		maxConns: o.MaxConnections, maxPerIP: o.MaxConnectionsPerIP,
		requests: o.Requests, decoded: o.Decoded, metrics: m,
		conns: map[*conn]struct{}{}, perIP: map[netip.Addr]int{},
	}
	if err := s.addRoutes(o.APIs); err != nil {
		return nil, err
	}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	s.clock.set(time.Now())
	return s, nil
}

// sampled lets ten lines of a kind a second pass, so that no client can fill a disk with them.
func sampled(core zapcore.Core) zapcore.Core {
	return zapcore.NewSamplerWithOptions(core, time.Second, 10, 0)
}

func orDefault[T int | int64 | time.Duration](v, usual T) T {
	if v == 0 {
		return usual
	}
	return v
}

func (s *Server) addRoutes(apis []call.API) error {
	for i := range apis {
		a := &apis[i]
		if a.Key < 0 || a.Handle == nil {
			return fmt.Errorf("registry row %q: no key or no handler", a.Name)
		}
		for int(a.Key) >= len(s.routes) {
			s.routes = append(s.routes, nil)
		}
		r := &route{API: *a, latency: s.metrics.latency.WithLabelValues(a.Name)}
		r.usual.Store(usualMessage)
		s.routes[a.Key] = r
	}
	return nil
}

// Start begins to accept connections on the listeners added, and on those added from now on.
func (s *Server) Start() {
	s.goroutines.Go(s.sweep)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started = true
	for _, l := range s.listeners {
		s.goroutines.Go(func() { s.accept(l) })
	}
}

// LimitConnections changes Options.MaxConnections and MaxConnectionsPerIP, for connections that come from now on.
func (s *Server) LimitConnections(all, perIP int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.maxConns, s.maxPerIP = all, perIP
}

// Connections is how many connections are open.
func (s *Server) Connections() int { return int(s.metrics.connections.Load()) }

// Parked is how many requests wait for their answers outside a handler.
func (s *Server) Parked() int { return int(s.metrics.parked.Load()) }

// ErrStopForced says that Stop cut connections off at its deadline.
var ErrStopForced = errors.New("connections cut off while stopping")

// cutGrace is how long Stop waits for goroutines after it cut their connections.
const cutGrace = 2 * time.Second

// Stop drains: it stops accepting, lets requests in flight be answered and sent, and closes. At the end of ctx it cuts off what
// is left and gives ErrStopForced.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	s.stopping = true
	listeners := s.listeners
	conns := s.appendConnsLocked(nil)
	s.mu.Unlock()
	for _, l := range listeners {
		_ = l.Close()
	}
	s.cancel(errStopping)
	for _, c := range conns {
		c.drain(errStopping)
	}
	done := make(chan struct{})
	go func() {
		s.goroutines.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	conns = s.appendConnsLocked(nil)
	s.mu.Unlock()
	for _, c := range conns {
		c.fail(errStopping)
	}
	select {
	case <-done:
	case <-time.After(cutGrace):
	}
	return fmt.Errorf("%d of them: %w", len(conns), ErrStopForced)
}

func (s *Server) appendConnsLocked(conns []*conn) []*conn {
	for c := range s.conns {
		conns = append(conns, c)
	}
	return conns
}

// open makes a connection of a socket just accepted and starts its reader, within the limits.
func (s *Server) open(l *listener, nc net.Conn) error {
	c := &conn{srv: s, peer: call.Peer{Listener: l.name, Remote: remoteOf(nc), Principal: call.Anonymous}}
	c.changed.L = &c.mu
	c.stall.clock, c.waits.clock, c.ending.clock = &s.clock, &s.clock, &s.clock
	stream, err := newStream(nc, &c.stall)
	if err != nil {
		return err
	}
	sizeSendBuffer(nc, c.peer.Remote.Addr())
	c.stream = stream
	c.frames.in, c.frames.budget, c.frames.most, c.frames.clock = stream, s.requests, s.maxRequest, &s.clock
	c.active.Store(s.clock.now.Load())
	c.ctx, c.cancel = context.WithCancelCause(s.ctx)
	if err := s.admit(c); err != nil {
		c.cancel(err)
		return err
	}
	s.metrics.accepted.WithLabelValues(l.name).Inc()
	s.goroutines.Go(func() {
		c.serve()
		s.leave(c)
	})
	return nil
}

// Errors of connections refused.
var (
	errTooMany   = errors.New("max.connections")
	errTooManyIP = errors.New("max.connections.per.ip")
)

// admit counts a connection in, or says which limit it would break.
func (s *Server) admit(c *conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	ip := c.peer.Remote.Addr()
	switch {
	case s.stopping:
		return errStopping
	case s.maxConns > 0 && len(s.conns) >= s.maxConns:
		return errTooMany
	case s.maxPerIP > 0 && s.perIP[ip] >= s.maxPerIP:
		return errTooManyIP
	}
	s.conns[c] = struct{}{}
	s.perIP[ip]++
	s.metrics.connections.Add(1)
	return nil
}

// leave counts a connection out.
func (s *Server) leave(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	ip := c.peer.Remote.Addr()
	if s.perIP[ip]--; s.perIP[ip] == 0 {
		delete(s.perIP, ip)
	}
	s.metrics.connections.Add(-1)
}
