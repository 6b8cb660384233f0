package rest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/dmsext/queue"
)

// Queues is the queue service as the handlers need it; *queue.Service. Its errors are *queue.Error, or come from ctx. What
// a call is given, message bodies above all, is the handler's again when it returns: none of it may be kept. A Receive
// whose ctx ends leases nothing.
type Queues interface {
	CreateQueue(ctx context.Context, project string, q queue.NewQueue) (queue.Queue, error)
	Queues(ctx context.Context, project string) ([]queue.Queue, error)
	Queue(ctx context.Context, project, queue string) (queue.Queue, error)
	DeleteQueue(ctx context.Context, project, queue string) error
	CreateGroups(ctx context.Context, project, queue string, names []string) ([]queue.Group, error)
	Groups(ctx context.Context, project, queue string, q queue.GroupsQuery) (queue.GroupList, error)
	DeleteGroup(ctx context.Context, project, queue, group string) error
	Send(ctx context.Context, project, queue string, messages []queue.Message) ([]queue.Sent, error)
	Receive(ctx context.Context, project, queue, group string, r queue.Receive) ([]queue.Received, error)
	Ack(ctx context.Context, project, queue, group string, deadLetters bool, acks []queue.Ack) (queue.AckResult, error)
	Quota(ctx context.Context, project string) (queue.Quota, error)
	PutTag(ctx context.Context, project, queue string, t queue.Tag) error
	ChangeTags(ctx context.Context, project, queue string, c queue.TagChange) error
	DeleteTag(ctx context.Context, project, queue, key string) error
	Tags(ctx context.Context, project, queue string) ([]queue.Tag, error)
	ProjectTags(ctx context.Context, project string) ([]queue.TagValues, error)
	SearchTags(ctx context.Context, project string, q queue.TagSearch) ([]queue.TagMatch, int, error)
	Purge(ctx context.Context, project, queue string) error
	Leases(ctx context.Context, project, queue, group string, deadLetters bool, limit int) (leases []queue.Lease, more bool, err error)
	SettleLease(ctx context.Context, project, queue, group string, f queue.ForcedSettle) error
}

var _ Queues = (*queue.Service)(nil)

// Options are what a Server is made of. Queues is needed, everything else has a default.
type Options struct {
	Queues Queues
	// Identity tells who asks; nil is the open mode: anybody may use any project.
	Identity Authenticator
	// IdentityHandler serves /v3 and below; nil: there is no identity service here.
	IdentityHandler http.Handler
	// ServiceURL is where clients reach the listener, as "http://host:port"; empty: the address a request came in by.
	ServiceURL string
	Limits     Limits
	Log        *zap.Logger
	Metrics    prometheus.Registerer
}

// Server serves the queue API on any number of listeners.
type Server struct {
	queues   Queues
	identity Authenticator
	keystone http.Handler
	url      string
	limits   Limits
	log      *zap.Logger
	metrics  *metrics
	http     *http.Server
	tree     *node

	fixed, identities, other *tally // of what stands below no project

	// ctx ends when the server stops, and with it all long polls.
	ctx    context.Context
	cancel context.CancelFunc

	connections atomic.Int64
	polls       atomic.Int64
	bodies      atomic.Int64 // bytes

	idPrefix [8]byte // of request IDs: random, one of this process
	idNext   atomic.Uint64

	exchanges sync.Pool
	watcher   *watcher
	resting   restingConns

	goroutines sync.WaitGroup // accepting, and polls with their watchers

	mu        sync.Mutex
	stopped   bool
	listeners []*listener
	parked    map[*poll]*conn
}

// New makes a server. It serves nothing before Serve.
func New(o Options) (*Server, error) {
	if o.Queues == nil {
		return nil, errors.New("the HTTP listener needs a queue service")
	}
	if err := o.Limits.validate(); err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	s := &Server{queues: o.Queues, identity: o.Identity, keystone: o.IdentityHandler, url: strings.TrimRight(o.ServiceURL, "/"),
		limits: o.Limits.withDefaults(), log: o.Log, parked: map[*poll]*conn{}}
	rand.Read(s.idPrefix[:]) //nolint:errcheck // crypto/rand.Read does not fail
	var err error
	if s.metrics, err = newMetrics(o.Metrics, s); err != nil {
		return nil, fmt.Errorf("metrics of the HTTP listener: %w", err)
	}
	if s.watcher, err = newWatcher(); err != nil {
		return nil, fmt.Errorf("HTTP listener: %w", err)
	}
	s.tree = s.routes()
	s.fixed, s.identities, s.other = s.metrics.tally("describe"), s.metrics.tally("identity"), s.metrics.tally("none")
	s.exchanges.New = func() any { return &exchange{server: s} }
	s.ctx, s.cancel = context.WithCancel(context.Background())
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	s.http = &http.Server{
		Handler:                      s,
		Protocols:                    protocols,
		DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout:            s.limits.HeaderTime,
		IdleTimeout:                  s.limits.IdleTime,
		MaxHeaderBytes:               s.limits.HeaderBytes,
		// Counted from a request's headers, so a long poll is in it.
		WriteTimeout: longestPoll + s.limits.WriteTime,
		ErrorLog:     log.New(netLog{s.log}, "", 0),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c)
		},
	}
	return s, nil
}

// Handler serves requests on a listener that is somebody else's, without Limits of connections and headers.
func (s *Server) Handler() http.Handler { return s }

// Serve takes connections from l until Stop; then it returns nil. The listener is closed.
func (s *Server) Serve(l net.Listener) error {
	own := newListener(s, l)
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		return errors.Join(http.ErrServerClosed, l.Close())
	}
	s.listeners = append(s.listeners, own)
	s.goroutines.Go(own.accept)
	if len(s.listeners) == 1 {
		s.goroutines.Go(s.watcher.run)
	}
	s.mu.Unlock()
	if err := s.http.Serve(own); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		_ = own.Close()
		return fmt.Errorf("HTTP listener %s: %w", l.Addr(), err)
	}
	return nil
}

// Stop ends the listeners, lets requests in flight finish and long polls answer with what they have, which is nothing.
// When ctx ends first, connections are cut. Every goroutine of the server is gone when it returns.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		s.goroutines.Wait()
		return nil
	}
	s.stopped = true
	for _, l := range s.listeners {
		_ = l.Close()
	}
	s.mu.Unlock()
	s.cancel()
	s.mu.Lock()
	for p := range s.parked {
		p.cancel()
	}
	s.mu.Unlock()
	s.resting.end()
	err := s.http.Shutdown(ctx)
	if err != nil {
		_ = s.http.Close()
	}
	stop := context.AfterFunc(ctx, s.cut)
	defer stop()
	s.watcher.stop()
	s.goroutines.Wait()
	return errors.Join(err, s.watcher.close())
}

// cut closes the connections of parked polls.
func (s *Server) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.parked {
		_ = c.Close()
	}
}

// Connections is how many connections are open, parked ones too.
func (s *Server) Connections() int { return int(s.connections.Load()) }

// LongPolls is how many retrievals are waiting.
func (s *Server) LongPolls() int { return int(s.polls.Load()) }

// netLog takes what net/http has to say: what clients do wrong is for debugging, a handler that panicked is not.
type netLog struct{ log *zap.Logger }

func (l netLog) Write(line []byte) (int, error) {
	level := zap.DebugLevel
	if bytes.Contains(line, []byte("panic")) {
		level = zap.ErrorLevel
	}
	l.log.Log(level, "HTTP connection", zap.ByteString("text", bytes.TrimSpace(line)))
	return len(line), nil
}

// requestID makes an ID: 32 hex digits, no two alike.
func (s *Server) requestID() string {
	var raw [16]byte
	var text [32]byte
	copy(raw[:8], s.idPrefix[:])
	binary.BigEndian.PutUint64(raw[8:], s.idNext.Add(1))
	hex.Encode(text[:], raw[:])
	return string(text[:])
}
