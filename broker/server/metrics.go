package server

import (
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/broker/quota"
	"github.com/tidemark-mq/tidemark/protocol/wire"
)

// route is a row of the registry with what the server keeps for it.
type route struct {
	call.API
	latency prometheus.Observer
	usual   atomic.Int64 // bytes of a recent answer, where the next one's buffer starts
}

// observe counts an answered request.
func (r *route) observe(took time.Duration) { r.latency.Observe(took.Seconds()) }

// sized remembers how large an answer was. Large ones are forgotten, so that one of them does not make every later
// buffer large.
func (r *route) sized(n int) {
	if n = max(n, usualMessage); n <= gatherLimit && int64(n) != r.usual.Load() {
		r.usual.Store(int64(n))
	}
}

// metrics are the server's figures.
type metrics struct {
	latency     *prometheus.HistogramVec
	bytesIn     prometheus.Counter
	bytesOut    prometheus.Counter
	accepted    *prometheus.CounterVec
	refused     *prometheus.CounterVec
	closed      *prometheus.CounterVec
	connections atomic.Int64
	parked      atomic.Int64
}

// latencyBuckets run from 50 microseconds, a request answered from memory, to long polls, in seconds.
var latencyBuckets = []float64{.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10}

func newMetrics(r prometheus.Registerer, requests, decoded *quota.Budget) (*metrics, error) {
	m := &metrics{
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tidemark_request_seconds", Help: "Time from a request read to its answer, by API; its count is the number of requests.",
			Buckets: latencyBuckets,
		}, []string{"api"}),
		bytesIn: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tidemark_network_received_bytes_total", Help: "Bytes of whole requests read."}),
		bytesOut: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tidemark_network_sent_bytes_total", Help: "Bytes of answers written."}),
		accepted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidemark_connections_accepted_total", Help: "Connections accepted, by listener."}, []string{"listener"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidemark_connections_refused_total", Help: "Connections refused, by the limit that was reached."}, []string{"limit"}),
		closed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidemark_connections_closed_total", Help: "Connections the broker closed, by reason."}, []string{"reason"}),
	}
	for _, c := range []prometheus.Collector{m.latency, m.bytesIn, m.bytesOut, m.accepted, m.refused, m.closed,
		gauge("tidemark_connections", "Connections open.", m.connections.Load),
		gauge("tidemark_requests_parked", "Requests whose handler returned and whose answer is not there yet.", m.parked.Load),
		gauge("tidemark_request_memory_bytes", "Memory leased for frames of requests in flight.", requests.Used),
		gauge("tidemark_request_memory_limit_bytes", "Memory there is for frames of requests in flight.", requests.Limit),
		gauge("tidemark_request_memory_waiting", "Connections that are not read because that memory is spent.",
			func() int64 { return int64(requests.Waiting()) }),
		gauge("tidemark_decoded_memory_bytes", "Memory leased for decoded requests.", decoded.Used),
		gauge("tidemark_decoded_memory_waiting", "Connections that wait because that memory is spent.",
			func() int64 { return int64(decoded.Waiting()) }),
	} {
		if r == nil {
			break
		}
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func gauge(name, help string, read func() int64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(read()) })
}

// closeReason is the label for why the broker closed a connection; empty where the client did, or the broker stops.
func closeReason(err error) string {
	var malformed *wire.MalformedError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, errPeerGone), errors.Is(err, errStopping), isReset(err),
		errors.Is(err, io.ErrClosedPipe), errors.Is(err, errFrameClosed):
		return ""
	case errors.As(err, &malformed):
		return "malformed"
	case errors.Is(err, wire.ErrUnknownKey), errors.Is(err, wire.ErrUnknownVersion):
		return "unknown_api"
	case errors.Is(err, errFrameSize):
		return "frame_size"
	case errors.Is(err, errStalled):
		return "stalled"
	case errors.Is(err, errIdle):
		return "idle"
	case errors.Is(err, errRefused):
		return "refused"
	}
	return "other"
}
