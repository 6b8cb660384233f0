package log

import (
	"context"
	"time"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/storage/segment"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// Origin says who appends.
type Origin uint8

const (
	Client      Origin = iota // one batch, everything checked
	Coordinator               // batches built by this broker, control batches included
)

// Append is what is to be appended. Batches is stamped in place.
type Append struct {
	Batches     []byte // whole v2 batches; Client: exactly one (bytes after it that are no whole batch are ignored)
	LeaderEpoch int32
	Origin      Origin
	Now         time.Time // zero: the time of the call
}

// Appended is what became of it.
type Appended struct {
	Base, Last    int64 // offsets of the first and last record
	LogAppendTime int64 // ms; -1 where the topic keeps the producer's times (for a duplicate: its original's last timestamp)
	LogStart      int64
	Duplicate     bool  // nothing was written: the batch is here already, at Base
	FlushEnd      int64 // the answer waits until the flushed end (or watermark) reaches this offset
}

// Slice is a run of whole batches in one segment file. Release it exactly once.
type Slice struct {
	File vfs.File // open until Release; Fd() for sendfile where it is not vfs.InvalidFd
	Pos  int64
	Len  int
	// ...
	ref *segment.File
}

func (s Slice) Release()                         {}
func (s Slice) Bytes(dst []byte) ([]byte, error) { return nil, nil } // appends the bytes to dst

// Recovery is what the owner knows about a log that was there before. durability.md, rule 6.
type Recovery struct {
	Clean         bool    // stopped by Close, State is what Close returned
	State         State   // with Clean
	RecoveryPoint int64   // segments are synced up to here
	Promised      int64   // highest recorded flushed end (F)
	Start         int64   // log start
	CleanedTo     int64   // the cleaner's checkpoint
	Entries       []Entry // the log's journal entries after its last void, in the order written
}

// Entry is one journal entry: whole batches at [Base, End).
type Entry struct {
	Base, End int64
	Batches   []byte
}

// Report says what Open found and did.
type Report struct {
	Damage   *Damage // not nil: the log is offline and its files are untouched
	Clean    bool    // the clean stop was trusted, no segment was read
	End      int64
	Cut      []Cut // unacknowledged tails that were removed
	Replayed int   // journal entries appended
	Checked  int64 // bytes validated
	Rebuilt  int   // segments whose indexes were rebuilt
}

// Cut is an unacknowledged tail that recovery removed.
type Cut struct {
	File     string
	Position int64
	Bytes    int64
	Offset   int64
	Reason   error
}

// State is what Close leaves for the next Open. Encode and ParseState keep it on disk.
type State struct{}

func (s State) Encode(dst []byte) []byte { return nil }
func ParseState(b []byte) (State, error) { return State{}, nil }

// Log is one partition's log.
type Log struct{}

// Create returns a new, empty log starting at offset 0. Nothing is on disk before the first append.
func Create(o Options) (*Log, error) { return nil, nil }

// Open recovers a log. A damaged one is returned as well, offline: every operation on it fails with Report.Damage. On return
// everything is synced: RecoveryPoint() == End(). A directory that is not there (its first sync never happened) is an empty log,
// to which entries are replayed.
func Open(o Options, r Recovery) (*Log, Report, error) { return nil, Report{}, nil }

// ReadTopicID says which topic id a partition directory belongs to; fs.ErrNotExist when it does not say.
func ReadTopicID(fs vfs.FS, dir string) (uuid.ID, error) { return uuid.ID{}, nil }

func (l *Log) Topic() string     { return "" }
func (l *Log) ID() uuid.ID       { return uuid.ID{} }
func (l *Log) Partition() int32  { return 0 }
func (l *Log) Dir() string       { return "" }
func (l *Log) Config() Config    { return Config{} }
func (l *Log) SetConfig(Config)  {}
func (l *Log) SetSink(FlushSink) {}
func (l *Log) Damage() *Damage   { return nil } // not nil: offline

func (l *Log) Append(a Append) (Appended, error)     { return Appended{}, nil }
func (l *Log) AppendAsFollower(batches []byte) error { return nil }

// Read returns whole batches from the one that holds offset from, none that reaches past upTo, at most maxBytes of them, but at
// least one when atLeastOne. An empty Slice (Len 0) when there is nothing below upTo.
func (l *Log) Read(from, upTo int64, maxBytes int, atLeastOne bool) (Slice, error) {
	return Slice{}, nil
}

func (l *Log) Start() int64         { return 0 }
func (l *Log) End() int64           { return 0 }
func (l *Log) RecoveryPoint() int64 { return 0 }

// Sync makes the log durable up to at least upTo (what is appended by the time of the call), oldest segment first, directory
// included, and moves the recovery point. The first failure is final: every later Sync fails.
func (l *Log) Sync(upTo int64) error { return nil }

// Flushed is told by the flusher how far the log is durable, in its segments or in the journal. Implements journal.Syncer.
func (l *Log) Flushed(end int64) {}
func (l *Log) FlushedEnd() int64 { return 0 }

// OnFlushed sets the one function that runs after each advance of the flushed end, outside every lock of the log.
func (l *Log) OnFlushed(func(end int64)) {}

// SetHighWatermark tells how far records are committed. Retention, compaction and StableOffset never pass it. Never called: the
// flushed end is taken.
func (l *Log) SetHighWatermark(offset int64) {}

// StableOffset is the watermark or the first offset of a transaction that is open or whose end is above the watermark.
func (l *Log) StableOffset() int64 { return 0 }

// TimedOffset is a record found by time. Offset and Timestamp -1: none.
type TimedOffset struct {
	Timestamp, Offset int64
	LeaderEpoch       int32
}

func (l *Log) OffsetForTime(ms int64) (TimedOffset, error) { return TimedOffset{}, nil } // first record at or after ms
func (l *Log) OffsetOfMaxTime() (TimedOffset, error)       { return TimedOffset{}, nil }

// EndOffsetForEpoch answers OffsetForLeaderEpoch: the largest epoch not above the one asked for, and its end offset; -1, -1 when
// there is none.
func (l *Log) EndOffsetForEpoch(epoch int32) (int32, int64) { return 0, 0 }
func (l *Log) LatestEpoch() int32                           { return 0 } // -1: none
func (l *Log) EpochOf(offset int64) int32                   { return 0 } // -1: unknown
// AssignEpoch notes that a leader of this epoch begins at the log's end.
func (l *Log) AssignEpoch(epoch int32) {}

func (l *Log) DeleteRecordsTo(offset int64) (start int64, err error) { return 0, nil }
func (l *Log) TruncateTo(offset int64) error                         { return nil }
func (l *Log) TruncateFullyAndStartAt(offset int64) error            { return nil }

// ProducerState is what DescribeProducers shows.
type ProducerState struct {
	ID               int64
	Epoch            int16
	LastSequence     int32
	LastTimestamp    int64
	CoordinatorEpoch int32
	CurrentTxnStart  int64
}

func (l *Log) Producers() []ProducerState { return nil }

// AbortedTxns lists the aborted transactions that overlap offsets [from, to).
func (l *Log) AbortedTxns(from, to int64) ([]segment.AbortedTxn, error) { return nil, nil }

func (l *Log) SizeBytes() int64        { return 0 }
func (l *Log) Segments() []SegmentInfo { return nil }

// SegmentInfo describes one segment.
type SegmentInfo struct {
	Base, End    int64
	Bytes        int64
	MaxTimestamp int64
}

// Retained says what one pass of retention did.
type Retained struct {
	Segments int
	Bytes    int64
	Start    int64
}

// Retain rolls when due, deletes segments by time and size up to the watermark, removes the files of segments deleted
// file.delete.delay.ms ago and forgets expired producers. Cheap when there is nothing to do.
func (l *Log) Retain(now time.Time) (Retained, error) { return Retained{}, nil }
func (l *Log) Roll(now time.Time) error               { return nil }

// Close writes indexes and the producer snapshot, syncs everything and closes files.
func (l *Log) Close() (State, error) { return State{}, nil }

// Delete closes the log and durably renames its directory to "<dir>.<topic id>-delete"; what it returns is the new name, for the owner
// to remove when it likes ("" when nothing was on disk).
func (l *Log) Delete() (trash string, err error) { return "", nil }

var _ context.Context
