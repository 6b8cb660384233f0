// Package admin serves the operator's HTTP listener: whether the broker lives and is ready, its metrics, its profiles. It
// is for loopback or a private network; nothing on it asks who is there.
//
//	/healthz      200 while the process serves HTTP at all
//	/readyz       200 when the broker serves clients, 503 with the reason otherwise
//	/metrics      Prometheus text format
//	/debug/pprof  Go profiles
package admin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
)

// Options says what an admin listener shows.
type Options struct {
	Address string              // host:port; port 0 picks a free one
	Ready   func() error        // nil: ready as soon as the listener is there
	Metrics prometheus.Gatherer // nil: no metrics
	Log     *zap.Logger         // nil: none
}

// Server is a running admin listener.
type Server struct {
	http    *http.Server
	address net.Addr
	done    chan error
}

// What a client that does nothing may hold, and for how long.
const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
)

// Start listens and serves until Stop.
func Start(ctx context.Context, o Options) (*Server, error) {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", o.Address)
	if err != nil {
		return nil, fmt.Errorf("admin listener: %w", err)
	}
	s := &Server{
		address: l.Addr(),
		done:    make(chan error, 1),
		http: &http.Server{
			Handler: handler(o), ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout,
			ErrorLog: zap.NewStdLog(o.Log),
		},
	}
	go func() { s.done <- s.http.Serve(l) }()
	return s, nil
}

// Address is where it listens, with the port that was bound.
func (s *Server) Address() string { return s.address.String() }

// Stop ends the listener; requests under way may finish until ctx ends, and are cut off then. Called once.
func (s *Server) Stop(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	if served := <-s.done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

func handler(o Options) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if o.Ready != nil {
			if err := o.Ready(); err != nil {
				answer(w, http.StatusServiceUnavailable, err.Error())
				return
			}
		}
		answer(w, http.StatusOK, "ready")
	})
	if o.Metrics != nil {
		mux.Handle("GET /metrics", promhttp.HandlerFor(o.Metrics, promhttp.HandlerOpts{ErrorLog: zap.NewStdLog(o.Log)}))
	}
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = fmt.Fprintln(w, text)
}
