package config

import (
	"math"
	"strconv"
	"sync"
)

// Topic is the settings of a topic (Kafka's topic configuration reference, 4.4).
var Topic = sync.OnceValue(func() *Table { return newTable("topic", topicKeys()) })

const never = "9223372036854775807" // Long.MAX_VALUE, Kafka's "not at all"

func topicKeys() []*Key {
	return []*Key{
		{Name: "cleanup.policy", Type: List, Default: "delete", Synonym: "log.cleanup.policy", check: someOf("compact", "delete"),
			Doc: "delete: old segments go by time or size; compact: the newest record of each key stays; both may be given."},
		{Name: "compression.type", Type: String, Default: "producer", Synonym: "compression.type",
			check: oneOf("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"),
			Doc:   "producer keeps batches as they were sent; anything else compresses them again with that codec."},
		{Name: "compression.gzip.level", Type: Int, Default: "-1", Synonym: "compression.gzip.level", check: gzipLevel,
			Doc: "Level when compression.type is gzip: 1 to 9, or -1."},
		{Name: "compression.lz4.level", Type: Int, Default: "9", Synonym: "compression.lz4.level", check: between(1, 17),
			Doc: "Level when compression.type is lz4: 1 to 17."},
		{Name: "compression.zstd.level", Type: Int, Default: "3", Synonym: "compression.zstd.level", check: between(-131072, 22),
			Doc: "Level when compression.type is zstd: -131072 to 22."},
		{Name: "delete.retention.ms", Type: Long, Default: "86400000", Synonym: "log.cleaner.delete.retention.ms", check: atLeast(0),
			Doc: "How long a compacted topic keeps the mark of a deleted key."},
		{Name: "errors.deadletterqueue.group.enable", Type: Boolean, Default: "false",
			Doc: "Whether share groups may write dead letters to this topic (KIP-1191)."},
		{Name: "file.delete.delay.ms", Type: Long, Default: "60000", Synonym: "log.segment.delete.delay.ms", check: atLeast(0),
			Doc: "How long a removed segment stays on disk under another name."},
		{Name: "flush.messages", Type: Long, Default: never, Synonym: "log.flush.interval.messages", check: atLeast(1),
			Doc: "1: acknowledged means synced to disk, by group commit. Any other value: acknowledged means in the page cache, as in Kafka."},
		{Name: "flush.ms", Type: Long, Default: never, Inert: true, check: atLeast(0),
			Doc: "Without effect: what flush.messages leaves in the page cache is synced at checkpoints, whatever their topic."},
		{Name: "follower.replication.throttled.replicas", Type: List, Default: "", Inert: true, check: throttledReplicas,
			Doc: "Replicas whose catching up is throttled."},
		{Name: "index.interval.bytes", Type: Int, Default: "4096", Synonym: "log.index.interval.bytes", check: atLeast(0),
			Doc: "Bytes of log between two entries of its offset index."},
		{Name: "leader.replication.throttled.replicas", Type: List, Default: "", Inert: true, check: throttledReplicas,
			Doc: "Replicas whose reading from the leader is throttled."},
		{Name: "local.retention.bytes", Type: Long, Default: "-2", Synonym: "log.local.retention.bytes", Inert: true, check: atLeast(-2),
			Doc: "Tiered storage only."},
		{Name: "local.retention.ms", Type: Long, Default: "-2", Synonym: "log.local.retention.ms", Inert: true, check: atLeast(-2),
			Doc: "Tiered storage only."},
		{Name: "max.compaction.lag.ms", Type: Long, Default: never, Synonym: "log.cleaner.max.compaction.lag.ms", check: atLeast(1),
			Doc: "Longest time a record of a compacted topic may stay uncompacted."},
		{Name: "max.decompressed.message.bytes", Type: Int, Default: "2147483639", Synonym: "max.decompressed.message.bytes", check: atLeast(1),
			Doc: "Largest size a compressed batch may unfold to."},
		{Name: "max.message.bytes", Type: Int, Default: "1048588", Synonym: "message.max.bytes", check: atLeast(0),
			Doc: "Largest batch, as sent."},
		{Name: "message.timestamp.after.max.ms", Type: Long, Default: "3600000", Synonym: "log.message.timestamp.after.max.ms", check: atLeast(0),
			Doc: "How far in the future a record's timestamp may lie."},
		{Name: "message.timestamp.before.max.ms", Type: Long, Default: never, Synonym: "log.message.timestamp.before.max.ms", check: atLeast(0),
			Doc: "How far in the past a record's timestamp may lie."},
		{Name: "message.timestamp.type", Type: String, Default: "CreateTime", Synonym: "log.message.timestamp.type",
			check: oneOf("CreateTime", "LogAppendTime"), Doc: "Whose clock stamps records: the producer's or the broker's."},
		{Name: "min.cleanable.dirty.ratio", Type: Double, Default: "0.5", Synonym: "log.cleaner.min.cleanable.ratio", check: ratio,
			Doc: "Share of uncompacted bytes from which a log is compacted."},
		{Name: "min.compaction.lag.ms", Type: Long, Default: "0", Synonym: "log.cleaner.min.compaction.lag.ms", check: atLeast(0),
			Doc: "Shortest time a record stays before compaction may remove it."},
		{Name: "min.insync.replicas", Type: Int, Default: "1", Synonym: "min.insync.replicas", check: atLeast(1),
			Doc: "In-sync replicas that acks=all needs."},
		{Name: "preallocate", Type: Boolean, Default: "false", Synonym: "log.preallocate", Inert: true,
			Doc: "Kafka's preallocation of segments; the shared journal makes it needless here."},
		{Name: "remote.copy.lag.bytes", Type: Long, Default: "-1", Synonym: "log.remote.copy.lag.bytes", Inert: true, check: atLeast(-1), Doc: "Tiered storage only."},
		{Name: "remote.copy.lag.ms", Type: Long, Default: "0", Synonym: "log.remote.copy.lag.ms", Inert: true, check: atLeast(-1), Doc: "Tiered storage only."},
		{Name: "remote.log.copy.disable", Type: Boolean, Default: "false", Inert: true, Doc: "Tiered storage only."},
		{Name: "remote.log.delete.on.disable", Type: Boolean, Default: "false", Inert: true, Doc: "Tiered storage only."},
		{Name: "remote.storage.enable", Type: Boolean, Default: "false", Inert: true, check: noTieredStorage,
			Doc: "Tiered storage, which this broker does not have: true is refused."},
		{Name: "retention.bytes", Type: Long, Default: "-1", Synonym: "log.retention.bytes", Doc: "Bytes of a partition to keep; -1: no limit."},
		{Name: "retention.ms", Type: Long, Default: "604800000", check: atLeast(-1), Doc: "How long records are kept; -1: for ever."},
		{Name: "segment.bytes", Type: Int, Default: "1073741824", Synonym: "log.segment.bytes", check: atLeast(1 << 20), Doc: "Largest segment file."},
		{Name: "segment.index.bytes", Type: Int, Default: "10485760", Synonym: "log.index.size.max.bytes", check: atLeast(4),
			Doc: "Largest index of a segment; a full one starts a new segment."},
		{Name: "segment.jitter.ms", Type: Long, Default: "0", check: atLeast(0), Doc: "Random share taken off segment.ms, so that segments do not all end together."},
		{Name: "segment.ms", Type: Long, Default: "604800000", check: atLeast(1), Doc: "Time after which a segment ends even if small."},
		{Name: "unclean.leader.election.enable", Type: Boolean, Default: "false", Synonym: "unclean.leader.election.enable",
			Doc: "Whether a replica outside the in-sync set may lead, at the price of lost records."},
	}
}

func noTieredStorage(name, value string) error {
	if value == "true" {
		return invalidf("Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage (%s=true).", name)
	}
	return nil
}

// ValidateTopic checks a topic's own settings, each and together, and answers a copy of
// them, as they were given. The error is [ErrInvalid].
func ValidateTopic(own map[string]string, behind Layers) (map[string]string, error) {
	out, err := parseAll(Topic(), own, "Unknown topic config name: %s")
	if err != nil {
		return nil, err
	}
	behind.Own = out
	least, most := behind.topicInt("min.compaction.lag.ms"), behind.topicInt("max.compaction.lag.ms")
	if least > most {
		return nil, invalidf("conflict topic config setting min.compaction.lag.ms (%d) > max.compaction.lag.ms (%d)", least, most)
	}
	return out, nil
}

// topicInt is an effective numeric topic setting.
func (l Layers) topicInt(name string) int64 {
	v := l.value(Topic(), name)
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		return math.MaxInt64 // unreachable: values are stored in canonical form
	}
	return n
}
