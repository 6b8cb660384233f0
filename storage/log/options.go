package log

import (
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
	Files     *segment.Cache // open files, shared by all logs of a data directory
	Sink      FlushSink      // told of every append; may also be set later with SetSink
	Hooks     Hooks
	Log       *zap.Logger // nil: none
}

// Hooks let the owner of a log make small facts durable at the moment the log depends on them. Each may be nil. They run
// while the log's append lock is held, so they must not call back into the log.
type Hooks struct {
	// Void is called by a truncation after the log is synced and before anything is cut. When it returns nil, a recovery
	// point of at most end, and the fact that journal entries written so far are void, are durable.
	Void func(end int64) error
	// StartMoved is called before segments below a new log start go. When it returns nil, start is durable.
	StartMoved func(start int64) error
}

// FlushSink is told of every append, under the append lock, in offset order. It copies what it keeps of batches.
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

	MaxMessageBytes int           // max.message.bytes
	LogAppendTime   bool          // message.timestamp.type
	TimestampBefore time.Duration // message.timestamp.before.max.ms
	TimestampAfter  time.Duration // message.timestamp.after.max.ms
	Recompress      bool          // compression.type is not "producer" ...
	Codec           record.Codec  // ... but this

	ProducerExpiry time.Duration // producer.id.expiration.ms
	MaxProducers   int           // producers remembered; beyond it the longest idle one is forgotten
}

// DefaultConfig is Kafka 4.4's defaults, with at most 1,000,000 producers in a log.
func DefaultConfig() Config {
	return Config{
		SegmentBytes: 1 << 30, SegmentTime: 7 * 24 * time.Hour, IndexBytes: 10 << 20, IndexInterval: 4096,
		Delete: true, RetentionTime: 7 * 24 * time.Hour, RetentionBytes: -1, DeleteDelay: time.Minute,
		MaxMessageBytes: 1048588, TimestampBefore: maxDuration, TimestampAfter: time.Hour,
		ProducerExpiry: 24 * time.Hour, MaxProducers: 1_000_000,
	}
}

const maxDuration = time.Duration(1<<63 - 1)
