package broker

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark-mq/tidemark/broker/fetch"
)

// measure registers the figures of what the broker itself puts together; its parts register their own.
func (b *Broker) measure(sessions *fetch.Sessions) {
	for _, g := range []struct {
		name, help string
		read       func() int
	}{
		{"tidemark_partitions_offline", "Partitions that cannot be read or written because of their logs.", b.replicas.Offline},
		{"tidemark_acknowledgements_waiting", "Appends whose acknowledgement waits for the disk.", func() int { return int(b.replicas.Waiting()) }},
		{"tidemark_fetches_waiting", "Fetch requests that wait for records.", b.fetcher.Parked},
		{"tidemark_fetch_sessions", "Incremental fetch sessions in the cache.", sessions.Len},
		{"tidemark_fetch_session_partitions", "Partitions in all fetch sessions together.", sessions.Places},
	} {
		b.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: g.name, Help: g.help}, func() float64 { return float64(g.read()) }))
	}
}
