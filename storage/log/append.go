package log

import (
	"fmt"
	"time"

	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/storage/segment"
)

// Origin says who appends.
type Origin uint8

const (
	// Client is a producer: everything is checked.
	Client Origin = iota
	// Coordinator is this broker itself, which may write control batches and skips the checks that guard against producers.
	Coordinator
)

// Append is what is to be appended.
type Append struct {
	// Batches is one whole v2 batch; from a Client bytes may follow it that make no second one. It may be changed in place.
	Batches     []byte
	LeaderEpoch int32
	Origin      Origin
	Now         time.Time // of the append; zero is the time of the call
}

// Appended is what became of an append.
type Appended struct {
	Base, Last int64 // offsets of the first and the last record
	// LogAppendTime is the time given to the records, ms; -1 where the topic keeps the producer's. For a Duplicate it is the
	// original's last timestamp, as in Kafka.
	LogAppendTime int64
	LogStart      int64
	Duplicate     bool  // nothing was written: the batch is here already, at Base
	FlushEnd      int64 // the answer waits until the flushed end, or the watermark, has reached this
}

// Append checks a batch, assigns its offsets and writes it to the page cache. Errors: record's *RejectedError for the content,
// ErrAboveSegment, ErrOutOfOrderSequence, ErrInvalidProducerEpoch, ErrInvalidTxnState, ErrCoordinatorFenced, ErrStaleEpoch; nothing
// was written then. ErrOffline and ErrClosed.
func (l *Log) Append(a Append) (Appended, error) {
	cfg := l.cfg.Load()
	if a.Now.IsZero() {
		a.Now = time.Now()
	}
	nowMs := a.Now.UnixMilli()
	b, info, err := check(a, cfg.rules(a.Origin, nowMs))
	if err != nil {
		return Appended{}, err
	}
	if int64(len(b)) > min(cfg.SegmentBytes, segment.MaxSize) {
		return Appended{}, fmt.Errorf("%w: %d bytes, at most %d", ErrAboveSegment, len(b), cfg.SegmentBytes)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return Appended{}, err
	}
	if latest := l.LatestEpoch(); a.LeaderEpoch < latest {
		return Appended{}, fmt.Errorf("%w: %d where it is %d", ErrStaleEpoch, a.LeaderEpoch, latest)
	}
	k, err := l.checkProducer(b, a.Origin)
	if err != nil {
		return Appended{}, err
	}
	if k != nil {
		return Appended{Base: k.FirstOffset(), Last: k.LastOffset, LogAppendTime: k.Timestamp, LogStart: l.Start(), Duplicate: true,
			FlushEnd: k.LastOffset + 1}, nil
	}
	base := l.end.Load()
	if info.AppendTime >= 0 {
		// Appends may overtake each other on the way to the lock; their times may not.
		info.AppendTime = max(info.AppendTime, l.on.appendMs)
		l.on.appendMs = info.AppendTime
		b.SetAppendTime(info.AppendTime)
	}
	b.Stamp(base, a.LeaderEpoch)
	if err := l.writeLocked(b, base, b.NextOffset(), nowMs); err != nil {
		return Appended{}, err
	}
	return Appended{Base: base, Last: b.LastOffset(), LogAppendTime: info.AppendTime, LogStart: l.Start(), FlushEnd: b.NextOffset()}, nil
}

// check is all that needs no lock.
func check(a Append, rules record.Rules) (record.Batch, record.Info, error) {
	b, err := record.Single(a.Batches)
	if err != nil {
		return nil, record.Info{}, err
	}
	if len(b) < len(a.Batches) && a.Origin != Client {
		return nil, record.Info{}, fmt.Errorf("log: %d bytes after the batch", len(a.Batches)-len(b))
	}
	info, err := record.Validate(b, rules)
	if err != nil {
		return nil, record.Info{}, err
	}
	return info.Batch, info, nil
}

// writeLocked appends whole batches at the log's end: offsets [base, end), stamped and checked.
func (l *Log) writeLocked(batches []byte, base, end, nowMs int64) error {
	s, err := l.segmentForLocked(batches, base, end, nowMs)
	if err != nil {
		return err
	}
	err = s.Append(batches, l.cfg.Load().IndexInterval)
	if err != nil {
		return l.writeFailed(err)
	}
	l.on.dirtyEpochs, l.on.newEpoch = l.on.dirtyEpochs || l.on.newEpoch, false
	epoch := int32(noEpoch)
	for rest := batches; len(rest) > 0; {
		b := record.Batch(rest[:record.Batch(rest).Size()])
		rest = rest[len(b):]
		if epoch = b.LeaderEpoch(); epoch != l.LatestEpoch() {
			l.assignEpochLocked(epoch, b.BaseOffset())
		}
		if err := l.noteBatchLocked(s, b, nowMs); err != nil {
			return err
		}
	}
	l.end.Store(end)
	if l.on.sink != nil {
		l.on.sink.Appended(base, end, epoch, batches)
	}
	return nil
}

// noteBatchLocked takes an appended batch's producer into account.
func (l *Log) noteBatchLocked(s *segment.Segment, b record.Batch, nowMs int64) error {
	if !b.HasProducerID() {
		return nil
	}
	aborted := l.applyProducer(b, markerOf(b), nowMs, l.HighWatermark())
	if aborted == nil {
		return nil
	}
	if err := s.AppendAborted(*aborted); err != nil {
		// The batch is in the log, where a recovery finds it; until then nobody can be told what was aborted.
		return l.fail("write the index of aborted transactions", err)
	}
	return nil
}

// markerOf is the marker in a whole batch, nil if it is none.
func markerOf(b record.Batch) *record.Marker {
	if !b.IsControl() {
		return nil
	}
	m, err := b.Marker()
	if err != nil {
		return nil
	}
	return &m
}
