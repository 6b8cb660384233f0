package rest

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// conn is a connection that counts against the limit until it is closed, and that may begin with bytes which were read
// before net/http had it.
type conn struct {
	net.Conn
	from    *listener
	pending []byte // read before; owned by whoever reads
	// resting says that it is back from a poll and no byte of its next request has come: net/http, which takes it for a new
	// connection, gives the headers their time from now on, where it is between requests. Owned by whoever reads.
	resting bool
	closed  atomic.Bool
}

// Read gives what was read before first.
func (c *conn) Read(p []byte) (int, error) {
	if len(c.pending) > 0 && len(p) > 0 {
		n := copy(p, c.pending)
		if c.pending = c.pending[n:]; len(c.pending) == 0 {
			c.pending = nil
		}
		return n, nil
	}
	n, err := c.Conn.Read(p)
	if c.resting && n > 0 {
		c.resting = false
		c.from.server.resting.remove(c)
		_ = c.Conn.SetReadDeadline(time.Now().Add(c.from.server.limits.HeaderTime))
	}
	return n, err
}

// SetReadDeadline gives a connection that rests its time between requests, whatever t is.
func (c *conn) SetReadDeadline(t time.Time) error {
	if c.resting {
		t = time.Now().Add(c.from.server.limits.IdleTime)
	}
	return c.Conn.SetReadDeadline(t)
}

// Close closes the connection once.
func (c *conn) Close() error {
	if c.closed.Swap(true) {
		return net.ErrClosed
	}
	c.from.server.connections.Add(-1)
	c.from.server.resting.remove(c)
	return c.Conn.Close()
}

// CloseWrite lets net/http end its side before the other when it refuses a request.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// restingConns are the connections that came back from polls and have no request: net/http would wait five seconds for each to send
// its first before it shuts down.
type restingConns struct {
	mu    sync.Mutex
	ended bool
	conns map[*conn]struct{}
}

// add takes a connection in; false: the server stops, and it is to be closed.
func (r *restingConns) add(c *conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return false
	}
	if r.conns == nil {
		r.conns = map[*conn]struct{}{}
	}
	r.conns[c] = struct{}{}
	return true
}

func (r *restingConns) remove(c *conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c)
}

// end closes all of them and those to come.
func (r *restingConns) end() {
	r.mu.Lock()
	r.ended = true
	all := r.conns
	r.conns = nil
	r.mu.Unlock()
	for c := range all {
		_ = c.Close()
	}
}

type connKey struct{}

// connOf finds the connection of a request; nil under a server that is not ours.
func connOf(ctx context.Context) *conn {
	c, _ := ctx.Value(connKey{}).(*conn)
	return c
}

// listener hands net/http the connections that come from the network and those that come back from long polls.
type listener struct {
	net.Listener
	server *Server
	queue  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newListener(s *Server, l net.Listener) *listener {
	return &listener{Listener: l, server: s, queue: make(chan net.Conn), closed: make(chan struct{})}
}

// Accept implements net.Listener for http.Server.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, net.ErrClosed
	default:
	}
	select {
	case c := <-l.queue:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close ends the listener, once; what is open stays so.
func (l *listener) Close() (err error) {
	l.once.Do(func() {
		close(l.closed)
		err = l.Listener.Close()
	})
	return err
}

// hand gives a connection to net/http, or closes it when there is no more serving.
func (l *listener) hand(c *conn) {
	select {
	case l.queue <- c:
	case <-l.closed:
		_ = c.Close()
	}
}

// Pauses after a failed accept, which is nearly always a lack of file descriptors.
const (
	leastPause = 5 * time.Millisecond
	mostPause  = time.Second
)

// accept takes connections from the network until the listener is closed.
func (l *listener) accept() {
	var pause time.Duration
	for {
		nc, err := l.Listener.Accept()
		if err == nil {
			pause = 0
			l.admit(nc)
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		pause = min(max(2*pause, leastPause), mostPause)
		if pause == mostPause {
			l.server.log.Error("cannot accept HTTP connections", zap.Error(err))
		}
		select {
		case <-time.After(pause):
		case <-l.closed:
			return
		}
	}
}

// full is what a connection gets that is one too many.
const full = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: 149\r\n\r\n" +
	`{"code":10240407,"message":"Too many connections; try again later.","error_code":"DMS.10240407","error_msg":"Too many connections; try again later."}`

func (l *listener) admit(nc net.Conn) {
	s := l.server
	if s.connections.Add(1) > int64(s.limits.Connections) {
		s.connections.Add(-1)
		s.metrics.refused.Inc()
		// Fits the empty buffer of a new socket, so this does not wait for the client.
		_ = nc.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = nc.Write([]byte(full))
		_ = nc.Close()
		return
	}
	l.hand(&conn{Conn: nc, from: l})
}
