package rest

import (
	"bytes"
	_ "embed" // openapi.json
	"io"
	"net"
	"net/http"
	"strings"
)

// openapi is the description of the listener.
//
//go:embed openapi.json
var openapi []byte

// outside answers what stands below no project: the versions, the description and the identity service.
func (s *Server) outside(x *exchange, path, first string) {
	if s.keystone != nil && (first == "v3" || strings.HasPrefix(first, "v3.") || first == "admin") {
		s.identify(x)
		return
	}
	var serve func()
	switch strings.TrimSuffix(path, "/") {
	case "", "*":
		serve = func() { x.versions() }
	case "/v1.0":
		serve = func() { x.version("v1.0") }
	case "/v2":
		serve = func() { x.version("v2") }
	case "/openapi.json":
		serve = func() {
			x.answer.b = append(x.answer.b, openapi...)
			x.reply(s.fixed, http.StatusOK)
		}
	default:
		x.refuse(s.other, refuse(codeNoPath, "The URL or endpoint does not exist: %s.", clip(x.r.URL.Path)))
		return
	}
	const allowed = "GET, HEAD, OPTIONS"
	switch x.r.Method {
	case http.MethodGet, http.MethodHead:
		serve()
	case http.MethodOptions:
		x.w.Header().Set("Allow", allowed)
		x.send204()
	default:
		x.w.Header().Set("Allow", allowed)
		x.refuse(s.other, refuse(codeMethod, "The method %s is not allowed here; %s are.", clip(x.r.Method), allowed))
	}
}

// base is where the client reaches this listener.
func (x *exchange) base() string {
	if x.server.url != "" {
		return x.server.url
	}
	if a, ok := x.r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		return "http://" + a.String()
	}
	return ""
}

func (x *exchange) describe(id, path string) {
	a := &x.answer
	a.open('{')
	a.text("id", id)
	a.text("status", "CURRENT")
	a.begin("links", '[')
	a.open('{')
	a.text("rel", "self")
	a.text("href", x.base()+path)
	a.close('}').close(']').close('}')
}

// versions is GET / (D1). With an identity service here it is what a Keystone client looks into before it logs in, which
// would take an entry v2 for the log-in of that version.
func (x *exchange) versions() {
	a := &x.answer
	a.open('{')
	a.begin("versions", '{')
	a.begin("values", '[')
	x.describe("v1.0", "/v1.0/")
	if x.server.keystone == nil {
		x.describe("v2", "/v2/")
	} else {
		x.describe("v3.14", "/v3/")
	}
	a.close(']').close('}').close('}')
	x.reply(x.server.fixed, http.StatusMultipleChoices)
}

func (x *exchange) version(id string) {
	x.answer.open('{')
	x.answer.name("version")
	x.describe(id, "/"+id+"/")
	x.answer.close('}')
	x.reply(x.server.fixed, http.StatusOK)
}

// statusWriter remembers the status that another handler answered with.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// identify passes a request to the identity service. Its body is read before, within the same bounds as all others.
func (s *Server) identify(x *exchange) {
	if err := x.read(controlBytes); err != nil {
		x.refuse(s.identities, err)
		return
	}
	if x.hasBody() {
		x.r.Body = io.NopCloser(bytes.NewReader(x.in))
	}
	x.w.Header().Set("X-Request-Id", x.id)
	w := &statusWriter{ResponseWriter: x.w, status: http.StatusOK}
	s.keystone.ServeHTTP(w, x.r)
	x.done(s.identities, w.status)
}
