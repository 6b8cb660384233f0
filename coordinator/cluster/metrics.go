package cluster

import "github.com/prometheus/client_golang/prometheus"

// metrics show the state of the cluster as this broker sees it. All are read when asked for.
func metrics(c *Cluster) []prometheus.Collector {
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "tidemark", Subsystem: "cluster", Name: name, Help: help}, value)
	}
	truth := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	return []prometheus.Collector{
		gauge("brokers", "Registered brokers.", func() float64 { return float64(len(c.Image().Brokers)) }),
		gauge("topics", "Topics.", func() float64 { return float64(c.Image().NumTopics()) }),
		gauge("partitions", "Partitions of all topics.", func() float64 { return float64(c.Image().NumPartitions()) }),
		gauge("image_revision", "Revision of the metadata store that the image shows.", func() float64 { return float64(c.Image().Revision) }),
		gauge("active_controller", "1 on the broker that is the controller.", func() float64 {
			return truth(c.Image().ControllerID == c.session.id)
		}),
		gauge("fenced", "1 while the broker's lease has run out.", func() float64 { return truth(!c.Active()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "tidemark", Subsystem: "cluster", Name: "partitions_settled_total",
			Help: "Partitions given another leader or in-sync set by this controller."},
			func() float64 { return float64(c.control.elections.Load()) }),
	}
}

// registerMetrics registers them until the Cluster is closed.
func (c *Cluster) registerMetrics(to prometheus.Registerer) error {
	if to == nil {
		return nil
	}
	for _, m := range metrics(c) {
		if err := to.Register(m); err != nil {
			return err
		}
		c.unregister = append(c.unregister, func() { to.Unregister(m) })
	}
	return nil
}
