// Package call is what one request and its answer are, for everyone who handles them: the socket server, the handlers and
// the in-process front door.
//
// A Call is made by whoever received the request and is handed to exactly one handler, which owns answering it. The
// handler may answer before it returns or later from any goroutine, but exactly once; the receiver keeps the order of
// answers, so a handler never thinks about other calls of the connection.
//
// Memory: the records of a Produce request alias the buffer the frame was read into. They are valid until the handler
// returns or has called Reply, whichever is first; whoever keeps any of them longer copies. Everything else in a request is
// its own.
package call

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/protocol/wire"
)

// Call is one request on its way to its answer. The fields are set by the receiver before a handler sees the call and
// not changed while it runs.
type Call struct {
	// Context ends when nobody waits for the answer any more (the connection is gone) or the broker drains. A parked
	// call answers then; a long poll answers with what it has.
	Context context.Context
	Header  wire.Header
	// Request is decoded, of exactly the version in Header. For ApiVersions in a version the broker does not know it is
	// an empty request of that version. The receiver may take a request of an API with Aliases away once the handler has returned.
	Request kmsg.Request
	Peer    *Peer
	Session *Session
	// Received is when the request was read completely.
	Received time.Time

	sink     Sink
	answered atomic.Bool
}

// Peer is who asks, the same for all calls of a connection.
type Peer struct {
	// Listener names the listener the connection came in through; metadata answers advertise the endpoints of that
	// name. Empty for the in-process front door, which takes the first listener.
	Listener string
	// Remote is the client's address; the zero value for the in-process front door.
	Remote netip.AddrPort
	// Principal is "User:name"; Anonymous where nobody authenticated.
	Principal string
}

// Anonymous is the principal of clients on listeners without authentication.
const Anonymous = "User:ANONYMOUS"

// Host is the client's address as Kafka shows it in group descriptions: a slash and the address without a port.
func (p *Peer) Host() string {
	if !p.Remote.IsValid() {
		return "/127.0.0.1"
	}
	return "/" + p.Remote.Addr().Unmap().WithZone("").String()
}

// Session is what a connection learns about its client while it lives. Safe for use by several goroutines.
type Session struct {
	mu                            sync.Mutex
	softwareName, softwareVersion string
}

// SetSoftware records what the client said of itself in ApiVersions (KIP-511).
func (s *Session) SetSoftware(name, version string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.softwareName, s.softwareVersion = name, version
}

// Software is the client's name and version, empty where it told none.
func (s *Session) Software() (name, version string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.softwareName, s.softwareVersion
}

// Sink takes the answer of a call.
type Sink interface {
	// Answer takes the one answer. It never blocks on a client, because the goroutine that replies may serve others.
	Answer(Response)
	// Repeated tells of a second answer, which is a bug in the handler. That answer's payload is already released.
	Repeated(*Call)
}

// SetSink says where the answer goes; receivers call it once, before a handler sees the call.
func (c *Call) SetSink(s Sink) { c.sink = s }

// Reply answers the call: exactly once, from any goroutine, without blocking on the client. The request's records must not
// be used after it.
func (c *Call) Reply(r Response) {
	if c.answered.Swap(true) {
		r.Free()
		c.sink.Repeated(c)
		return
	}
	c.sink.Answer(r)
}

// Answered says whether Reply was called.
func (c *Call) Answered() bool { return c.answered.Load() }
