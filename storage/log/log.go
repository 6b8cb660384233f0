package log

import (
	"fmt"
	"math/rand/v2"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/storage/segment"
)

// Log is one partition's log. All methods may be called by any number of goroutines.
type Log struct {
	o      Options
	cfg    atomic.Pointer[Config]
	damage *Damage // not nil: offline since Open

	// Read without a lock, written under mu, save flushed and watermark.
	segments  atomic.Pointer[[]*segment.Segment] // by base offset; never changed, only replaced
	start     atomic.Int64
	end       atomic.Int64
	recovered atomic.Int64 // the recovery point; written under syncMu
	flushed   atomic.Int64
	watermark atomic.Int64 // unset: none
	onFlushed atomic.Pointer[func(int64)]
	epochs    atomic.Pointer[[]segment.EpochEntry] // rising; never changed, only replaced
	failed    atomic.Pointer[failure]
	cleanedTo atomic.Int64

	syncMu sync.Mutex
	doomed []doomed // segments whose files are to be removed; guarded by syncMu

	mu sync.Mutex
	on appendState

	txns txnTracker
}

// appendState is what the append lock guards.
type appendState struct {
	sink      FlushSink
	producers producers
	jitter    time.Duration // taken off segment.ms for the active segment
	appendMs  int64         // last log append time given

	exists      bool               // the directory is there
	gaps        bool               // offsets may be missing between batches; stands in partition.metadata
	sealed      []*segment.Segment // rolled since the last sync
	dirtyDir    bool               // names in the directory are not synced
	dirtyParent bool               // nor is the directory's own
	dirtyMeta   bool               // partition.metadata is not synced
	dirtyEpochs bool               // the epoch file has to be written
	newEpoch    bool               // it has to be once there is a record of the last epoch
	snapshots   []int64            // offsets of producer snapshots that are not synced
	snapshotAt  int64              // offset of the newest one
}

// failure is why a log takes no more appends.
type failure struct{ err error }

// unset as a watermark: nobody told.
const unset = -1

func newLog(o Options) *Log {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	l := &Log{o: o}
	cfg := o.Config
	l.cfg.Store(&cfg)
	l.segments.Store(&[]*segment.Segment{})
	l.epochs.Store(&[]segment.EpochEntry{})
	l.watermark.Store(unset)
	l.on.sink = o.Sink
	l.on.producers.init()
	return l
}

// Create returns a new, empty log that starts at offset 0. Nothing is on disk before the first append, for which the directory
// must not hold segments.
func Create(o Options) (*Log, error) {
	if o.FS == nil || o.Files == nil || o.Dir == "" {
		return nil, fmt.Errorf("log: options without file system, file cache or directory")
	}
	return newLog(o), nil
}

// Topic is the topic's name.
func (l *Log) Topic() string { return l.o.Topic }

// ID is the topic's id.
func (l *Log) ID() uuid.ID { return l.o.ID }

// Partition is the partition's number in its topic.
func (l *Log) Partition() int32 { return l.o.Partition }

// Dir is the partition's directory.
func (l *Log) Dir() string { return l.o.Dir }

// Config is the settings in force.
func (l *Log) Config() Config { return *l.cfg.Load() }

// SetConfig puts other settings in force, from the next append, roll or retention on.
func (l *Log) SetConfig(c Config) { l.cfg.Store(&c) }

// SetSink sets who is told of appends from the next one on.
func (l *Log) SetSink(s FlushSink) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.on.sink = s
}

// Failure is why the log takes no appends, nil while it does.
func (l *Log) Failure() error { return l.usable() }

// Damage is not nil when the log is offline because acknowledged records are gone.
func (l *Log) Damage() *Damage { return l.damage }

// Start is the first offset that may be read.
func (l *Log) Start() int64 { return l.start.Load() }

// End is the offset that the next record gets.
func (l *Log) End() int64 { return l.end.Load() }

// RecoveryPoint is the offset up to which segments are synced.
func (l *Log) RecoveryPoint() int64 { return l.recovered.Load() }

// FlushedEnd is the offset up to which the log is durable, in its segments or in the journal, as Flushed was told.
func (l *Log) FlushedEnd() int64 { return l.flushed.Load() }

// Flushed is told by the flusher how far the log is durable. It implements journal.Syncer.
func (l *Log) Flushed(end int64) {
	if !raise(&l.flushed, end) {
		return
	}
	if fn := l.onFlushed.Load(); fn != nil {
		(*fn)(end)
	}
}

// OnFlushed sets the one function that runs after each advance of the flushed end, in the goroutine that calls Flushed and under no
// lock of the log.
func (l *Log) OnFlushed(fn func(end int64)) { l.onFlushed.Store(&fn) }

// SetHighWatermark tells how far records are committed. Retention, compaction and StableOffset never pass it. Where it is never
// called, the flushed end counts.
func (l *Log) SetHighWatermark(offset int64) {
	if raise(&l.watermark, offset) {
		l.txns.committed(offset)
	}
}

// HighWatermark is the last watermark told, or the flushed end.
func (l *Log) HighWatermark() int64 {
	if w := l.watermark.Load(); w != unset {
		return w
	}
	return l.flushed.Load()
}

// raise stores v if it is larger than what is there.
func raise(a *atomic.Int64, v int64) bool {
	for {
		old := a.Load()
		if v <= old {
			return false
		}
		if a.CompareAndSwap(old, v) {
			return true
		}
	}
}

// CleanedTo is the offset up to which the log was compacted: the cleaner's checkpoint.
func (l *Log) CleanedTo() int64 { return l.cleanedTo.Load() }

// SetCleanedTo is called by the cleaner when it is done up to offset.
func (l *Log) SetCleanedTo(offset int64) { l.cleanedTo.Store(offset) }

// SizeBytes is the size of all log files.
func (l *Log) SizeBytes() int64 {
	var sum int64
	for _, s := range l.list() {
		sum += s.Size()
	}
	return sum
}

// SegmentInfo describes one segment.
type SegmentInfo struct {
	Base, End    int64 // offsets: of the file's name, and after the last record
	Bytes        int64 // of the log file
	MaxTimestamp int64 // ms; -1: none
	FirstTime    int64 // largest timestamp of the first batch, ms; -1: empty
	Active       bool  // appends go here
	Path         string
}

// Segments describes the segments, oldest first.
func (l *Log) Segments() []SegmentInfo {
	list := l.list()
	infos := make([]SegmentInfo, len(list))
	for i, s := range list {
		m := s.Meta()
		infos[i] = SegmentInfo{Base: m.Base, End: m.Next, Bytes: m.Size, MaxTimestamp: m.MaxTime, FirstTime: m.FirstTime,
			Active: i == len(list)-1, Path: s.Path()}
	}
	return infos
}

func (l *Log) list() []*segment.Segment { return *l.segments.Load() }

// active is the segment that appends go to, nil when there is none.
func (l *Log) active() *segment.Segment {
	list := l.list()
	if len(list) == 0 {
		return nil
	}
	return list[len(list)-1]
}

// holding is the index of the last segment that begins at or before offset, 0 when all begin after it.
func holding(list []*segment.Segment, offset int64) int {
	return max(0, sort.Search(len(list), func(i int) bool { return list[i].Base() > offset })-1)
}

// usable answers why the log takes no appends, nil when it does.
func (l *Log) usable() error {
	if l.damage != nil {
		return l.damage
	}
	if f := l.failed.Load(); f != nil {
		return f.err
	}
	return nil
}

// readable answers why the log cannot be read, nil when it can. After a failed write or sync it still can.
func (l *Log) readable() error {
	if l.damage != nil {
		return l.damage
	}
	if f := l.failed.Load(); f != nil && f.err == ErrClosed {
		return ErrClosed
	}
	return nil
}

// fail takes the log offline for appends, for good.
func (l *Log) fail(what string, err error) error {
	err, _ = l.takeOffline(what, err)
	return err
}

// syncFailed is fail after a failed sync, which the owner is told of: the process must stop (rule 11).
func (l *Log) syncFailed(what string, err error) error {
	err, first := l.takeOffline(what, err)
	if h := l.o.Hooks.SyncFailed; first && h != nil {
		h(err)
	}
	return err
}

func (l *Log) takeOffline(what string, err error) (reason error, first bool) {
	err = fmt.Errorf("%w: %s: %w", ErrOffline, what, err)
	if first = l.failed.CompareAndSwap(nil, &failure{err}); first {
		l.o.Log.Error("partition log takes no more appends", zap.String("dir", l.o.Dir), zap.Error(err))
	}
	return err, first
}

func (l *Log) newJitter() time.Duration {
	cfg := l.cfg.Load()
	if j := min(cfg.SegmentJitter, cfg.SegmentTime); j > 0 { // more would roll with every append
		return rand.N(j)
	}
	return 0
}
