package share

import "github.com/prometheus/client_golang/prometheus"

// metrics of the engine. Records unless said otherwise.
type metrics struct {
	registerer prometheus.Registerer
	registered []prometheus.Collector

	acquired, settled, expired, deadLetters, abandoned, failures prometheus.Counter
}

func newMetrics(e *Engine, registerer prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "tidemark", Subsystem: "share", Name: name, Help: help})
	}
	gauge := func(name, help string, read func() int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "tidemark", Subsystem: "share", Name: name, Help: help},
			func() float64 { return float64(read()) })
	}
	m := &metrics{
		registerer:  registerer,
		acquired:    counter("acquired_total", "Records handed out to share groups."),
		settled:     counter("settled_total", "Records whose holders said what became of them."),
		expired:     counter("expired_total", "Records whose lease ran out."),
		deadLetters: counter("dead_letters_total", "Records copied to a dead letter topic."),
		abandoned:   counter("dead_letters_abandoned_total", "Records that were to become dead letters and could not."),
		failures:    counter("state_failures_total", "Changes of share partitions that could not be made durable."),
	}
	if registerer == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{
		m.acquired, m.settled, m.expired, m.deadLetters, m.abandoned, m.failures,
		gauge("partitions", "Share partitions in use on this broker.", e.loaded),
		gauge("waiters", "Requests that wait for records of share partitions.", func() int { return int(e.waiting.Load()) }),
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
