package config

import (
	_ "embed"
	"strings"
	"sync"
)

//go:embed broker.tsv
var brokerTSV string

// ours are the broker defaults that differ from Kafka's on purpose.
var ours = map[string]string{
	"log.flush.interval.messages":    "1",        // acknowledged means synced
	"log.cleaner.dedupe.buffer.size": "50331648", // 48 MiB in place of 128: two million keys a run
}

// live are the broker settings this broker acts on; the others of Kafka's are accepted,
// kept and shown without effect, so that tools which read and write them go on working.
var live = func() map[string]bool {
	m := map[string]bool{}
	for name := range strings.FieldsSeq(`
		auto.create.topics.enable broker.id broker.rack compression.type compression.gzip.level compression.lz4.level
		compression.zstd.level connections.max.idle.ms default.replication.factor delete.topic.enable
		fetch.max.bytes group.initial.rebalance.delay.ms group.max.session.timeout.ms group.max.size
		group.min.session.timeout.ms log.cleaner.delete.retention.ms log.cleaner.enable log.cleaner.io.max.bytes.per.second
		log.cleaner.dedupe.buffer.size log.cleaner.backoff.ms
		log.cleaner.max.compaction.lag.ms log.cleaner.min.cleanable.ratio log.cleaner.min.compaction.lag.ms log.cleanup.policy
		log.flush.interval.messages log.flush.offset.checkpoint.interval.ms log.index.interval.bytes log.index.size.max.bytes
		log.message.timestamp.after.max.ms log.message.timestamp.before.max.ms log.message.timestamp.type
		log.retention.bytes log.retention.check.interval.ms log.retention.hours log.retention.minutes log.retention.ms
		log.roll.hours log.roll.jitter.hours log.roll.jitter.ms log.roll.ms log.segment.bytes log.segment.delete.delay.ms
		max.connections max.connections.per.ip max.decompressed.message.bytes max.incremental.fetch.session.cache.slots
		max.request.partition.size.limit message.max.bytes min.insync.replicas node.id num.partitions
		offset.metadata.max.bytes offsets.commit.timeout.ms offsets.retention.check.interval.ms offsets.retention.minutes
		offsets.topic.num.partitions offsets.topic.replication.factor offsets.topic.segment.bytes
		producer.id.expiration.ms queued.max.request.bytes socket.request.max.bytes unclean.leader.election.enable`) {
		m[name] = true
	}
	return m
}()

// bounds are the limits of the live settings that have any.
var bounds = map[string]func(string, string) error{
	"log.retention.check.interval.ms":           atLeast(1),
	"message.max.bytes":                         atLeast(0),
	"num.partitions":                            atLeast(1),
	"default.replication.factor":                atLeast(1),
	"min.insync.replicas":                       atLeast(1),
	"log.segment.bytes":                         atLeast(1 << 20),
	"log.roll.ms":                               atLeast(1),
	"log.roll.hours":                            atLeast(1),
	"log.roll.jitter.ms":                        atLeast(0),
	"log.roll.jitter.hours":                     atLeast(0),
	"log.flush.interval.messages":               atLeast(1),
	"log.index.interval.bytes":                  atLeast(0),
	"log.index.size.max.bytes":                  atLeast(4),
	"log.segment.delete.delay.ms":               atLeast(0),
	"log.cleanup.policy":                        someOf("compact", "delete"),
	"log.cleaner.min.cleanable.ratio":           ratio,
	"log.cleaner.delete.retention.ms":           atLeast(0),
	"log.cleaner.min.compaction.lag.ms":         atLeast(0),
	"log.cleaner.max.compaction.lag.ms":         atLeast(1),
	"log.cleaner.dedupe.buffer.size":            atLeast(1 << 20),
	"log.message.timestamp.type":                oneOf("CreateTime", "LogAppendTime"),
	"log.message.timestamp.after.max.ms":        atLeast(0),
	"log.message.timestamp.before.max.ms":       atLeast(0),
	"compression.type":                          oneOf("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"),
	"compression.gzip.level":                    gzipLevel,
	"compression.lz4.level":                     between(1, 17),
	"compression.zstd.level":                    between(-131072, 22),
	"max.decompressed.message.bytes":            atLeast(1),
	"group.max.size":                            atLeast(1),
	"group.initial.rebalance.delay.ms":          atLeast(0),
	"offset.metadata.max.bytes":                 atLeast(0),
	"offsets.topic.num.partitions":              between(1, 10000),
	"offsets.retention.minutes":                 atLeast(1),
	"offsets.retention.check.interval.ms":       atLeast(1),
	"offsets.topic.segment.bytes":               atLeast(1),
	"producer.id.expiration.ms":                 atLeast(1),
	"max.connections":                           atLeast(0),
	"max.connections.per.ip":                    atLeast(0),
	"max.incremental.fetch.session.cache.slots": atLeast(0),
	"max.request.partition.size.limit":          atLeast(1),
	"socket.request.max.bytes":                  atLeast(1),
	"fetch.max.bytes":                           atLeast(1024),
}

// Broker is the settings of a broker: all of Kafka 4.4's names and types, with Kafka's
// defaults save those in ours.
var Broker = sync.OnceValue(func() *Table {
	var keys []*Key
	for line := range strings.Lines(brokerTSV) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "#") || line == "" {
			continue
		}
		f := strings.Split(line, "\t")
		k := &Key{Name: f[0], Type: typeNamed(f[1]), Default: f[2], NoDefault: f[2] == `\N`,
			ReadOnly: strings.Contains(f[3], "r"), Sensitive: strings.Contains(f[3], "s"), Inert: !live[f[0]], check: bounds[f[0]]}
		if v, mine := ours[k.Name]; mine {
			k.Default = v
		}
		keys = append(keys, k)
	}
	return newTable("broker", keys)
})

func typeNamed(name string) Type {
	for t := Boolean; t <= Password; t++ {
		if strings.EqualFold(t.String(), name) {
			return t
		}
	}
	return String
}
