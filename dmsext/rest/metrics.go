package rest

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the listener's figures.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	refused  prometheus.Counter
	parked   prometheus.Counter
}

// secondBuckets run from 50 microseconds to the longest poll.
var secondBuckets = []float64{.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 60}

func newMetrics(r prometheus.Registerer, s *Server) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidemark_http_requests_total", Help: "HTTP requests answered, by call and status."}, []string{"call", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tidemark_http_request_seconds", Help: "Time from a request's headers to its answer, by call; long polls include their wait.",
			Buckets: secondBuckets}, []string{"call"}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tidemark_http_connections_refused_total", Help: "HTTP connections refused because there were too many."}),
		parked: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tidemark_http_long_polls_parked_total", Help: "Long polls that waited long enough to give their buffers back."}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.requests, m.seconds, m.refused, m.parked,
		gauge("tidemark_http_connections", "HTTP connections open.", &s.connections),
		gauge("tidemark_http_long_polls", "Retrievals that wait for a message.", &s.polls),
		gauge("tidemark_http_body_bytes", "Bytes of request bodies in memory.", &s.bodies),
	} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func gauge(name, help string, value *atomic.Int64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(value.Load()) })
}

// tally is a call's part of the metrics, found once.
type tally struct {
	name     string
	metrics  *metrics
	seconds  prometheus.Observer
	statuses [6 * statusWidth]atomic.Pointer[prometheus.Counter]
}

// statusWidth is how many statuses of each hundred are kept apart without a look-up; no other is ever answered.
const statusWidth = 32

func (m *metrics) tally(name string) *tally {
	return &tally{name: name, metrics: m, seconds: m.seconds.WithLabelValues(name)}
}

func (t *tally) count(status int, took time.Duration) {
	t.seconds.Observe(took.Seconds())
	if status < 0 || status >= 600 || status%100 >= statusWidth {
		t.metrics.requests.WithLabelValues(t.name, strconv.Itoa(status)).Inc()
		return
	}
	at := &t.statuses[status/100*statusWidth+status%100]
	c := at.Load()
	if c == nil {
		made := t.metrics.requests.WithLabelValues(t.name, strconv.Itoa(status))
		c = &made
		at.Store(c)
	}
	(*c).Inc()
}
