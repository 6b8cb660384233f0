package journal

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of one flusher. Registered only with a registerer.
type metrics struct {
	registerer  prometheus.Registerer
	all         []prometheus.Collector
	rounds      prometheus.Histogram
	entries     prometheus.Histogram
	bytes       prometheus.Counter
	ownSyncs    prometheus.Histogram
	checkpoints prometheus.Counter
}

func newMetrics(f *Flusher, r prometheus.Registerer) *metrics {
	seconds := prometheus.ExponentialBuckets(50e-6, 2, 16) // 50 us to 1.6 s
	m := &metrics{
		registerer:  r,
		rounds:      histogram("round_seconds", "Time from taking a round to its data being durable.", seconds),
		entries:     histogram("round_entries", "Journal entries in a round.", prometheus.ExponentialBuckets(1, 4, 8)),
		ownSyncs:    histogram("own_sync_seconds", "Time of a log's own sync, by the pool or by a checkpoint.", seconds),
		bytes:       counter("bytes_total", "Bytes written to the journal."),
		checkpoints: counter("checkpoint_syncs_total", "Logs synced by checkpoints."),
	}
	m.all = []prometheus.Collector{m.rounds, m.entries, m.ownSyncs, m.bytes, m.checkpoints,
		f.gauge("parked_streams", "Logs that wait for an own sync.", func() float64 { return float64(len(f.own)) }),
		f.gauge("dirty_streams", "Logs with data above their recorded recovery point.", func() float64 { return float64(f.aged.n) }),
		f.gauge("live_bytes", "Journal bytes that checkpoints have not freed yet.", func() float64 {
			live, _ := f.files.liveLocked(f)
			return float64(live)
		}),
	}
	if r != nil {
		for _, c := range m.all {
			if r.Register(c) != nil {
				continue // another flusher of this process has the name; its owner should have labelled the registerer
			}
		}
	}
	return m
}

func (m *metrics) unregister() {
	if m.registerer == nil {
		return
	}
	for _, c := range m.all {
		m.registerer.Unregister(c)
	}
}

func (m *metrics) round(r *round) {
	m.rounds.Observe(time.Since(r.began).Seconds())
	m.entries.Observe(float64(r.entries))
	m.bytes.Add(float64(len(r.buf)))
}

func (m *metrics) ownSync(d time.Duration) { m.ownSyncs.Observe(d.Seconds()) }

// gauge reads a value under the flusher's lock.
func (f *Flusher) gauge(name, help string, read func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "tidemark", Subsystem: "journal", Name: name, Help: help}, func() float64 {
		f.mu.Lock()
		defer f.mu.Unlock()
		return read()
	})
}

func histogram(name, help string, buckets []float64) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "tidemark", Subsystem: "journal", Name: name, Help: help, Buckets: buckets})
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "tidemark", Subsystem: "journal", Name: name, Help: help})
}
