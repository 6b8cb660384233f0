package runtime

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics of one runtime, labelled with its name.
type metrics struct {
	registerer prometheus.Registerer
	registered []prometheus.Collector

	operations, records, timeouts, busy, failures prometheus.Counter
	loadSeconds                                   prometheus.Histogram
}

// census is what a scrape counts over the shards.
type census struct {
	states [Unloaded + 1]int
	parked int
	bytes  int
}

func newMetrics(name string, registerer prometheus.Registerer, count func() census) (*metrics, error) {
	labels := prometheus.Labels{"coordinator": name}
	counter := func(metric, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "tidemark", Subsystem: "coordinator", Name: metric, Help: help, ConstLabels: labels,
		})
	}
	m := &metrics{
		registerer: registerer,
		operations: counter("operations_total", "Operations decided, timers included."),
		records:    counter("records_total", "Records appended to the coordinator's log."),
		timeouts:   counter("commit_timeouts_total", "Replies given up because their commit took too long."),
		busy:       counter("busy_total", "Operations turned away because too much was pending in their shard."),
		failures:   counter("failures_total", "Ends of a shard's life because of its log or view."),
		loadSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "tidemark", Subsystem: "coordinator", Name: "load_seconds",
			Help:        "Time to load a shard, from when its log's end was committed.",
			ConstLabels: labels, Buckets: prometheus.ExponentialBuckets(0.001, 4, 9),
		}),
	}
	if registerer == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{
		m.operations, m.records, m.timeouts, m.busy, m.failures, m.loadSeconds, newGauges(labels, count),
	} {
		if err := registerer.Register(c); err != nil {
			m.close()
			return nil, err
		}
		m.registered = append(m.registered, c)
	}
	return m, nil
}

func (m *metrics) close() {
	for _, c := range m.registered {
		m.registerer.Unregister(c)
	}
	m.registered = nil
}

// gauges are counted when somebody looks.
type gauges struct {
	count                 func() census
	shards, parked, bytes *prometheus.Desc
}

func newGauges(labels prometheus.Labels, count func() census) *gauges {
	desc := func(metric, help string, variable ...string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName("tidemark", "coordinator", metric), help, variable, labels)
	}
	return &gauges{
		count:  count,
		shards: desc("shards", "Partitions of the coordinator's topic by state.", "state"),
		parked: desc("parked_replies", "Replies that wait for a commit."),
		bytes:  desc("pending_bytes", "Keys and values of records appended and not yet in the view."),
	}
}

// Describe implements prometheus.Collector.
func (g *gauges) Describe(ch chan<- *prometheus.Desc) {
	ch <- g.shards
	ch <- g.parked
	ch <- g.bytes
}

// Collect implements prometheus.Collector.
func (g *gauges) Collect(ch chan<- prometheus.Metric) {
	c := g.count()
	for state, n := range c.states {
		ch <- prometheus.MustNewConstMetric(g.shards, prometheus.GaugeValue, float64(n), State(state).String())
	}
	ch <- prometheus.MustNewConstMetric(g.parked, prometheus.GaugeValue, float64(c.parked))
	ch <- prometheus.MustNewConstMetric(g.bytes, prometheus.GaugeValue, float64(c.bytes))
}

// count takes the census.
func (r *Runtime[M]) count() census {
	var c census
	r.mu.RLock()
	shards := make([]*shard[M], 0, len(r.slots))
	for _, sl := range r.slots {
		if s := sl.shard.Load(); s != nil {
			shards = append(shards, s)
		}
	}
	r.mu.RUnlock()
	for _, s := range shards {
		s.mu.Lock()
		c.states[s.state.Load()]++
		c.parked += len(s.mu.parked)
		c.bytes += s.mu.bytes
		s.mu.Unlock()
	}
	return c
}
