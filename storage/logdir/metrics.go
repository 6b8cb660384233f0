package logdir

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics of one directory. Registered only with a registerer.
type metrics struct {
	registerer prometheus.Registerer
	all        []prometheus.Collector
	retained   prometheus.Counter
}

func newMetrics(d *Dir, r prometheus.Registerer) *metrics {
	gauge := func(name, help string, read func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "tidemark", Subsystem: "logdir", Name: name, Help: help}, read)
	}
	m := &metrics{
		registerer: r,
		retained: prometheus.NewCounter(prometheus.CounterOpts{Namespace: "tidemark", Subsystem: "logdir", Name: "retention_deleted_bytes_total",
			Help: "Bytes of segments taken out by retention."}),
	}
	m.all = []prometheus.Collector{m.retained,
		gauge("logs", "Open partition logs.", func() float64 { return float64(len(d.Logs())) }),
		gauge("log_bytes", "Size of all partition logs.", func() float64 { return float64(d.Usage()) }),
		gauge("open_files", "Open files of partition logs.", func() float64 { return float64(d.files.Open()) }),
		gauge("free_bytes", "Free space of the file system.", func() float64 {
			_, usable, err := d.Space()
			if err != nil {
				return -1
			}
			return float64(usable)
		}),
		gauge("full", "1 while produces are refused because free space is below the reserve.", func() float64 {
			if d.Full() {
				return 1
			}
			return 0
		}),
	}
	if r != nil {
		for _, c := range m.all {
			_ = r.Register(c) // the name is taken when another directory of this process has it: its owner should label the registerer
		}
	}
	return m
}

func (m *metrics) unregister() {
	if m == nil || m.registerer == nil {
		return
	}
	for _, c := range m.all {
		m.registerer.Unregister(c)
	}
}
