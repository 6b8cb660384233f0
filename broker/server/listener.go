package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"
)

// DefaultListener is the name of a listener that is given none.
const DefaultListener = "PLAINTEXT"

// Endpoint is a listener as configured, or as advertised.
type Endpoint struct {
	Name string // in capitals, as Kafka names listeners
	Host string // empty for all addresses
	Port int    // 0 picks a free one
}

// ParseEndpoint reads "[NAME=]host:port". IPv6 addresses stand in brackets.
func ParseEndpoint(text string) (Endpoint, error) {
	e := Endpoint{Name: DefaultListener}
	address := text
	if name, rest, found := strings.Cut(text, "="); found {
		e.Name, address = strings.ToUpper(strings.TrimSpace(name)), rest
		if e.Name == "" || strings.ContainsAny(e.Name, " \t:/,") {
			return Endpoint{}, fmt.Errorf("%q: the listener's name is empty or has characters that names do not", text)
		}
	}
	host, port, err := net.SplitHostPort(strings.TrimSpace(address))
	if err != nil {
		return Endpoint{}, fmt.Errorf("%q is not [NAME=]host:port: %w", text, err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return Endpoint{}, fmt.Errorf("%q: the port is not a number from 0 to 65535", text)
	}
	e.Host, e.Port = host, int(n)
	return e, nil
}

// Address is host:port.
func (e Endpoint) Address() string { return net.JoinHostPort(e.Host, strconv.Itoa(e.Port)) }

// String is NAME=host:port.
func (e Endpoint) String() string { return e.Name + "=" + e.Address() }

// listener is a named listening socket.
type listener struct {
	net.Listener
	name string
}

// Listen binds a listener. The endpoint that comes back has the port that was bound. Connections queue up in the kernel
// until Start.
func (s *Server) Listen(ctx context.Context, e Endpoint) (Endpoint, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", e.Address())
	if err != nil {
		return Endpoint{}, err
	}
	if a, ok := l.Addr().(*net.TCPAddr); ok {
		e.Port = a.Port
	}
	s.Serve(e.Name, l)
	return e, nil
}

// Serve adds a listener made elsewhere, an in-memory network for instance. The server closes it.
func (s *Server) Serve(name string, l net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	added := &listener{Listener: l, name: name}
	s.listeners = append(s.listeners, added)
	if s.started && !s.stopping {
		s.goroutines.Go(func() { s.accept(added) })
	}
}

// Pauses after a failed accept, which is nearly always a lack of file descriptors.
const (
	leastPause = 5 * time.Millisecond
	mostPause  = time.Second
)

// accept takes connections until the listener is closed.
func (s *Server) accept(l *listener) {
	var pause time.Duration
	for {
		nc, err := l.Accept()
		if errors.Is(err, net.ErrClosed) || s.ctx.Err() != nil {
			if err == nil {
				_ = nc.Close()
			}
			return
		}
		if err != nil {
			pause = min(max(2*pause, leastPause), mostPause)
			if pause == mostPause {
				s.log.Error("cannot accept connections", zap.String("listener", l.name), zap.Error(err))
			}
			select {
			case <-time.After(pause):
			case <-s.ctx.Done():
			}
			continue
		}
		pause = 0
		if err := s.open(l, nc); err != nil {
			s.refuse(l, nc, err)
		}
	}
}

// refuse closes a connection that no limit has room for.
func (s *Server) refuse(l *listener, nc net.Conn, err error) {
	s.metrics.refused.WithLabelValues(err.Error()).Inc()
	s.connLog.Info("connection refused", zap.String("listener", l.name), zap.Stringer("client", remoteOf(nc)), zap.Error(err))
	_ = nc.Close()
}

// remoteOf is the client's address; for networks without ports the zero value.
func remoteOf(nc net.Conn) netip.AddrPort {
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		return netip.AddrPortFrom(a.AddrPort().Addr().Unmap(), uint16(a.Port))
	}
	return netip.AddrPort{}
}

// loopbackSendBuffer is what the kernel may hold for a client on the same machine. Left to grow to its usual megabytes, what
// was sent has left the processor's cache before the client reads it: consuming 1 KiB records is 7 % slower so. To other
// machines the kernel knows better what a path holds.
const loopbackSendBuffer = 512 << 10

func sizeSendBuffer(nc net.Conn, client netip.Addr) {
	if tcp, ok := nc.(*net.TCPConn); ok && client.IsLoopback() {
		_ = tcp.SetWriteBuffer(loopbackSendBuffer) // the kernel's own size serves as well
	}
}

// isReset tells whether the client tore the connection down.
func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
