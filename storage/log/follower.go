package log

import (
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/storage/segment"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// AppendAsFollower appends batches as a leader stored them: offsets, epochs and times stay. Each must be whole, with a right
// checksum, and follow the one before; offsets that compaction removed at the leader may be missing. ErrUnexpectedOffset: they
// begin below the log's end, record.ErrCorrupt; what came before the bad batch is appended.
func (l *Log) AppendAsFollower(batches []byte) error {
	nowMs := time.Now().UnixMilli()
	var bad error
	good, expected := 0, int64(-1)
	for rest := batches; len(rest) > 0 && bad == nil; {
		var b record.Batch
		if b, rest, bad = record.First(rest); bad != nil {
			break
		}
		switch err := b.CheckCRC(); {
		case err != nil:
			bad = err
		case b.LastOffsetDelta() < 0 || b.BaseOffset() < expected || b.NextOffset() <= b.BaseOffset():
			bad = fmt.Errorf("%w: a batch at %d after offset %d", ErrUnexpectedOffset, b.BaseOffset(), expected)
		default:
			good += len(b)
			expected = b.NextOffset()
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	return errors.Join(l.appendRunsLocked(batches[:good], nowMs), bad)
}

// appendRunsLocked appends checked batches, as many with one write as belong into one segment.
func (l *Log) appendRunsLocked(batches []byte, nowMs int64) error {
	for len(batches) > 0 {
		base := record.Batch(batches).BaseOffset()
		if end := l.end.Load(); base < end {
			return fmt.Errorf("%w: a batch at %d, the log ends at %d", ErrUnexpectedOffset, base, end)
		} else if base > end {
			if err := l.noteGapsLocked(); err != nil {
				return err
			}
		}
		n, end, err := l.runLocked(batches)
		if err != nil {
			return err
		}
		if err := l.writeLocked(batches[:n], base, end, nowMs); err != nil {
			return err
		}
		batches = batches[n:]
	}
	return nil
}

// runLocked measures the batches from the first on that go into one segment together: their bytes and the offset after them.
func (l *Log) runLocked(batches []byte) (n int, end int64, err error) {
	cfg := l.cfg.Load()
	room := min(cfg.SegmentBytes, segment.MaxSize)
	first := record.Batch(batches)
	if int64(first.Size()) > segment.MaxSize {
		return 0, 0, fmt.Errorf("%w: %d bytes", ErrAboveSegment, first.Size())
	}
	if s := l.active(); s != nil && s.Size()+int64(first.Size()) <= room {
		room -= s.Size()
	}
	end = first.BaseOffset()
	for rest := batches; len(rest) > 0; {
		b := record.Batch(rest[:record.Batch(rest).Size()])
		if n > 0 && (int64(n+len(b)) > room || b.NextOffset()-first.BaseOffset() > maxRun) {
			break
		}
		if b.BaseOffset() != end {
			if err := l.noteGapsLocked(); err != nil {
				return 0, 0, err
			}
		}
		n, end, rest = n+len(b), b.NextOffset(), rest[len(b):]
	}
	return n, end, nil
}

// maxRun keeps the offsets of one write within what a segment can hold.
const maxRun = 1 << 30

// noteGapsLocked remembers on disk that offsets may be missing from now on, so that recovery does not take it for damage.
func (l *Log) noteGapsLocked() error {
	if l.on.gaps {
		return nil
	}
	l.on.gaps = true
	if !l.on.exists {
		return nil // written when the directory is made
	}
	m := segment.Metadata{Topic: l.o.ID, Gaps: true}
	if err := vfs.WriteFileAtomic(l.o.FS, l.path(segment.MetadataFile), m.Encode()); err != nil {
		l.on.gaps = false // the next one tries again
		return l.writeFailed(err)
	}
	l.o.Log.Debug("offsets are missing between batches", zap.String("dir", l.o.Dir), zap.Int64("end", l.end.Load()))
	return nil
}
