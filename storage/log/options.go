package log

import (
	"math"
	"time"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/storage/segment"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// Options is what a log is made with. FS, Dir and Files are required.
type Options struct {
	FS        vfs.FS
	Dir       string // the partition's directory, "<topic>-<partition>", made by the first append
	Topic     string
	ID        uuid.ID // written to partition.metadata; a directory of another id is refused
	Partition int32
	Config    Config
	Sink      FlushSink      // told of every append; may also be set later with SetSink
	Files     *segment.Cache // open files, shared by all logs of a data directory, on the same FS
	Hooks     Hooks
	Log       *zap.Logger // nil: none
}

// Hooks let the owner of a log make small facts durable at the moment the log depends on them. Each may be nil. They run
// while locks of the log are held, so they must not call back into the log, except for its plain getters.
type Hooks struct {
	// Void is called by a truncation after the log is synced and before anything is cut. When it returns nil, a recovery
	// point of at most end, and the fact that journal entries written so far are void, are durable.
	Void func(end int64) error
	// Replacing is called before compacted segments take the place of those below upTo. When it returns nil, a recovery
	// point of at least upTo is durable: only below that does recovery take missing offsets for compacted ones.
	Replacing func(upTo int64) error
	// StartMoved is called before segments below a new log start go. When it returns nil, start is durable. Only
	// TruncateFullyAndStartAt may lower it. Without it, a crash may bring back some of the segments that were removed.
	StartMoved func(start int64) error
	// SyncFailed is called once, when a sync failed and the log went offline for it: in whichever operation that was, nothing that
	// is on the same disk can be relied upon any more. It must not wait for anything.
	SyncFailed func(error)
}

// FlushSink is told of every append, under the append lock, in offset order. It copies what it keeps of batches. Epoch is that
// of the last of them.
type FlushSink interface {
	Appended(base, end int64, epoch int32, batches []byte)
}

// Config is a topic's effective settings as far as its logs need them. Zero durations mean zero, not "default".
type Config struct {
	SegmentBytes  int64         // segment.bytes
	SegmentTime   time.Duration // segment.ms
	SegmentJitter time.Duration // segment.jitter.ms: up to this much is taken off SegmentTime
	IndexBytes    int           // segment.index.bytes
	IndexInterval int           // index.interval.bytes

	Delete         bool          // cleanup.policy holds delete
	Compact        bool          // cleanup.policy holds compact
	RetentionTime  time.Duration // retention.ms; negative: forever
	RetentionBytes int64         // retention.bytes; negative: without bound
	DeleteDelay    time.Duration // file.delete.delay.ms

	// For the cleaner.
	MinDirtyRatio    float64       // min.cleanable.dirty.ratio
	MinCompactionLag time.Duration // min.compaction.lag.ms
	MaxCompactionLag time.Duration // max.compaction.lag.ms; 0: without bound
	DeleteRetention  time.Duration // delete.retention.ms

	MaxMessageBytes int // max.message.bytes; 0: no limit
	MaxRecordBytes  int // max.decompressed.message.bytes; 0: no limit
	LogAppendTime   bool
	TimestampBefore time.Duration // message.timestamp.before.max.ms
	TimestampAfter  time.Duration // message.timestamp.after.max.ms
	Compression     record.Compression

	ProducerExpiry time.Duration // producer.id.expiration.ms
	MaxProducers   int           // producers remembered; beyond it the longest idle one is forgotten. 0: no limit
}

// DefaultConfig is Kafka 4.4's defaults, with at most 100,000 producers in a log: 20 MiB of memory.
func DefaultConfig() Config {
	return Config{
		SegmentBytes: 1 << 30, SegmentTime: 7 * 24 * time.Hour, IndexBytes: 10 << 20, IndexInterval: 4096,
		Delete: true, RetentionTime: 7 * 24 * time.Hour, RetentionBytes: -1, DeleteDelay: time.Minute,
		MinDirtyRatio: 0.5, DeleteRetention: 24 * time.Hour,
		MaxMessageBytes: 1048588, TimestampBefore: math.MaxInt64, TimestampAfter: time.Hour,
		ProducerExpiry: 24 * time.Hour, MaxProducers: 100_000,
	}
}

func (c *Config) rules(origin Origin, nowMs int64) record.Rules {
	return record.Rules{
		Now: nowMs, Internal: origin == Coordinator, Compacted: c.Compact, AppendTime: c.LogAppendTime,
		BeforeMax: milliseconds(c.TimestampBefore), AfterMax: milliseconds(c.TimestampAfter),
		MaxBytes: c.MaxMessageBytes, MaxRecordBytes: c.MaxRecordBytes, Compression: c.Compression,
	}
}

// milliseconds keeps the largest duration without bound.
func milliseconds(d time.Duration) int64 {
	if d == math.MaxInt64 {
		return math.MaxInt64
	}
	return d.Milliseconds()
}
