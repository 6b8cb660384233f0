package share

import "time"

// Config is the broker's settings that the share coordinator goes by, by Kafka's names in the comments. The zero value of a
// field stands for Kafka's default.
type Config struct {
	// SnapshotUpdates is share.coordinator.snapshot.update.records.per.snapshot: how many updates of a share partition are
	// written at least before its next snapshot: 500; negative: none. A large state waits longer, until its updates
	// outweigh it.
	SnapshotUpdates      int
	WriteTimeout         time.Duration // share.coordinator.write.timeout.ms, 5 s
	PruneInterval        time.Duration // share.coordinator.state.topic.prune.interval.ms, 5 min
	ColdSnapshotInterval time.Duration // share.coordinator.cold.partition.snapshot.interval.ms, 5 min

	// CacheBytes bounds roughly the memory of share partitions' states, of all shards together; what does not fit is read
	// again when it is needed. Kafka has no such limit. Default 256 MiB.
	CacheBytes int64
	// CacheIdle is how long a state may be unused before it leaves memory. Default 10 min.
	CacheIdle time.Duration
}

func (c Config) withDefaults() Config {
	def(&c.SnapshotUpdates, 500)
	c.SnapshotUpdates = max(c.SnapshotUpdates, 0)
	def(&c.WriteTimeout, 5*time.Second)
	def(&c.PruneInterval, 5*time.Minute)
	def(&c.ColdSnapshotInterval, 5*time.Minute)
	def(&c.CacheBytes, 256<<20)
	def(&c.CacheIdle, 10*time.Minute)
	return c
}

func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}
