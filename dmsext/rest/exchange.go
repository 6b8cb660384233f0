package rest

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/dmsext/queue"
)

// exchange is one request with its answer. Exchanges are used again, so nothing of one may be kept past its request.
type exchange struct {
	server *Server
	w      http.ResponseWriter
	r      *http.Request
	conn   *conn // nil under a server that is not ours
	route  *route
	began  time.Time
	id     string // of the request
	caller string

	project, queue, group, key string

	in      []byte // the body
	charged int64  // bytes of it that count in Server.bodies
	answer  answer

	messages []queue.Message
	acks     []queue.Ack

	timer *time.Timer // of a poll

	idHeader [1]string
	length   [1]string
}

// How large a buffer (bytes) and how long a list of acknowledgements may be to be kept for another request.
const (
	keptBuffer = 64 << 10
	keptAcks   = 64
)

func (s *Server) exchange(w http.ResponseWriter, r *http.Request) *exchange {
	x, _ := s.exchanges.Get().(*exchange)
	x.w, x.r, x.conn, x.began, x.id = w, r, connOf(r.Context()), time.Now(), s.requestID()
	return x
}

// release gives the exchange back for another request.
func (x *exchange) release() {
	s := x.server
	s.bodies.Add(-x.charged)
	if x.timer != nil {
		x.timer.Stop()
	}
	kept := exchange{server: s, timer: x.timer, in: x.in[:0], answer: answer{x.answer.b[:0]}, messages: x.messages[:0], acks: x.acks[:0]}
	if cap(kept.in) > keptBuffer {
		kept.in = nil
	}
	if cap(kept.answer.b) > keptBuffer {
		kept.answer.b = nil
	}
	if cap(kept.acks) > keptAcks {
		kept.acks = nil
	}
	// To their capacity: of a body with two lists, the first lies beyond the length of the second, and holds on to its body.
	clear(kept.messages[:cap(kept.messages)])
	clear(kept.acks[:cap(kept.acks)])
	*x = kept
	s.exchanges.Put(x)
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := s.exchange(w, r)
	defer x.release()
	x.limitBody()
	path, encoded := r.URL.Path, false
	if r.URL.RawPath != "" {
		path, encoded = decodeUnreserved(r.URL.RawPath), true
	}
	first, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	for _, dialect := range dialects {
		if first == dialect && rest != "" {
			x.project, rest, _ = strings.Cut(rest, "/")
			if rest != "" {
				x.serve(rest, encoded)
				return
			}
		}
	}
	s.outside(x, path, first)
}

// serve answers a request below a project.
func (x *exchange) serve(rest string, encoded bool) {
	at := x.find(rest, encoded)
	if at == nil {
		x.refuse(x.server.other, refuse(codeNoPath, "The URL or endpoint does not exist: %s.", clip(x.r.URL.Path)))
		return
	}
	if x.r.Method == http.MethodOptions {
		x.w.Header().Set("Allow", at.allow)
		x.send204()
		return
	}
	if x.route = at.methods[x.r.Method]; x.route == nil {
		x.w.Header().Set("Allow", at.allow)
		x.refuse(x.server.other, refuse(codeMethod, "The method %s is not allowed here; %s are.", clip(x.r.Method), at.allow))
		return
	}
	status, err := x.run()
	switch {
	case err != nil:
		x.refuse(x.route.tally, err)
	case status != 0:
		x.reply(x.route.tally, status)
	}
}

// run does what every call has in common, then the call.
func (x *exchange) run() (status int, err error) {
	if !isProject(x.project) {
		return 0, refuse(queue.CodeProject, "The project ID %q is not 1 to 64 letters, digits, underscores or hyphens.", clip(x.project))
	}
	if err := x.read(x.route.limit); err != nil {
		return 0, err
	}
	if err := x.authenticate(); err != nil {
		return 0, err
	}
	return x.route.run(x)
}

var jsonType = []string{"application/json"}

// reply writes the answer that a handler has left.
func (x *exchange) reply(t *tally, status int) {
	h := x.w.Header()
	x.idHeader[0] = x.id
	h["X-Request-Id"] = x.idHeader[:]
	if status != http.StatusNoContent {
		h["Content-Type"] = jsonType
		if n := len(x.answer.b); n > 1024 || x.r.Method == http.MethodHead { // net/http counts shorter ones that are written
			x.length[0] = strconv.Itoa(n)
			h["Content-Length"] = x.length[:]
		}
	}
	x.w.WriteHeader(status)
	if status != http.StatusNoContent && x.r.Method != http.MethodHead {
		_, _ = x.w.Write(x.answer.b) // a client that is gone finds out by itself
	}
	x.done(t, status)
}

func (x *exchange) send204() {
	x.reply(x.server.other, http.StatusNoContent)
}

// refuse answers with an error.
func (x *exchange) refuse(t *tally, err error) {
	e, known := failure(err)
	if !known {
		x.server.log.Error("HTTP request failed", zap.String("request_id", x.id), zap.String("call", t.name), zap.Error(err))
	}
	h := x.w.Header()
	if after := retryAfter(e); after != "" {
		h.Set("Retry-After", after)
	}
	if e.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", x.server.challenge())
	}
	x.answer.b = appendError(x.answer.b[:0], e, x.id)
	x.reply(t, e.Status)
}

// challenge says how to authenticate.
func (s *Server) challenge() string {
	if s.url == "" {
		return "Keystone"
	}
	return `Keystone uri="` + s.url + `/v3"`
}

// done counts and logs an answered request.
func (x *exchange) done(t *tally, status int) {
	took := time.Since(x.began)
	t.count(status, took)
	if !x.server.log.Core().Enabled(zap.DebugLevel) {
		return
	}
	x.server.log.Debug("HTTP request", zap.String("request_id", x.id), zap.String("call", t.name), zap.Int("status", status),
		zap.Duration("took", took), zap.String("method", x.r.Method), zap.String("path", x.r.URL.Path),
		zap.String("client", x.r.RemoteAddr), zap.String("caller", x.caller), zap.Int("bytes_in", len(x.in)), zap.Int("bytes_out", len(x.answer.b)))
}
