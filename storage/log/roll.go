package log

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"time"

	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/storage/segment"
)

// segmentForLocked is the segment that takes batches of offsets [base, end): the active one, or a new one where that is full, too
// old, or cannot hold the offsets.
func (l *Log) segmentForLocked(batches []byte, base, end, nowMs int64) (*segment.Segment, error) {
	s := l.active()
	if s != nil {
		if m := s.Meta(); m.Size == 0 && end-1-m.Base <= math.MaxInt32 || !l.due(&m, batches, end, nowMs) {
			return s, nil
		}
	}
	return l.rollLocked(base, nowMs)
}

// due tells whether the active segment must be rolled before batches go into the log (Kafka: LogSegment.shouldRoll).
func (l *Log) due(m *segment.Meta, batches []byte, end, nowMs int64) bool {
	cfg := l.cfg.Load()
	if m.Size+int64(len(batches)) > min(cfg.SegmentBytes, segment.MaxSize) {
		return true
	}
	if end-1-m.Base > math.MaxInt32 {
		return true
	}
	if m.OffsetEntries >= cfg.IndexBytes/8 || m.TimeEntries >= cfg.IndexBytes/12-1 {
		return true
	}
	// The time of records counts where they have one, so that a replica rolls where its leader did.
	age := nowMs - m.Created
	if ms := maxTimestamp(batches); ms >= 0 && m.FirstTime >= 0 {
		age = ms - m.FirstTime
	}
	return age > (cfg.SegmentTime - l.on.jitter).Milliseconds()
}

func maxTimestamp(batches []byte) int64 {
	ms := record.NoTimestamp
	for len(batches) > 0 {
		b := record.Batch(batches)
		ms = max(ms, b.MaxTimestamp())
		batches = batches[b.Size():]
	}
	return ms
}

// Roll ends the active segment if it holds records; the next append begins another one.
func (l *Log) Roll(now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	if s := l.active(); s == nil || s.Size() == 0 {
		return nil
	}
	_, err := l.rollLocked(l.end.Load(), now.UnixMilli())
	return err
}

// rollLocked begins a segment at offset base. The one before it is left to the next sync, which makes its indexes and it durable
// before anything in the new one is.
func (l *Log) rollLocked(base, nowMs int64) (*segment.Segment, error) {
	if err := l.makeDirLocked(); err != nil {
		return nil, l.writeFailed(err)
	}
	s, err := segment.Create(l.o.Files, l.o.Dir, base, nowMs, "")
	if err != nil {
		return nil, l.writeFailed(err)
	}
	l.on.dirtyDir = true
	l.on.jitter = l.newJitter()
	list := l.list()
	if n := len(list); n > 0 {
		l.on.sealed = append(l.on.sealed, list[n-1])
		l.writeSnapshotLocked(base)
	}
	l.setSegments(append(list[:len(list):len(list)], s))
	return s, nil
}

func (l *Log) setSegments(list []*segment.Segment) { l.segments.Store(&list) }

// makeDirLocked makes the partition's directory with the file that says whose it is.
func (l *Log) makeDirLocked() error {
	if l.on.exists {
		return nil
	}
	files := l.o.FS
	if names, err := files.List(l.o.Dir); err == nil {
		for _, name := range names {
			if _, ext, suffix, ok := segment.ParseName(name); ok && ext == segment.LogExt && suffix == "" {
				return fmt.Errorf("log: %s holds segments of another log", l.o.Dir)
			}
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("log: %w", err)
	}
	if err := files.MkdirAll(l.o.Dir, 0o755); err != nil {
		return fmt.Errorf("log: make %s: %w", l.o.Dir, err)
	}
	l.on.dirtyParent = true
	if err := l.writeMetadataLocked(); err != nil {
		return err
	}
	l.on.exists = true
	return nil
}

// writeMetadataLocked writes partition.metadata; the next sync makes it durable.
func (l *Log) writeMetadataLocked() error {
	m := segment.Metadata{Topic: l.o.ID, Gaps: l.on.gaps}
	if err := l.writeFile(segment.MetadataFile, m.Encode()); err != nil {
		return err
	}
	l.on.dirtyDir, l.on.dirtyMeta = true, true
	return nil
}

// writeFailed is the answer to an append that could not be written. Only what could not be undone takes the log offline: a full
// disk may have room again.
func (l *Log) writeFailed(err error) error {
	if errors.Is(err, segment.ErrDirtyEnd) {
		return l.fail("append", err)
	}
	return fmt.Errorf("%w: %w", ErrOffline, err)
}
