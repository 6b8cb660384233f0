package log

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/storage/segment"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// Slice is a run of whole batches in one segment file. It is not copied: the file stays open, and readable even after the segment
// is deleted, until Release, which must be called exactly once when Len is above 0.
type Slice struct {
	File vfs.File // vfs.Fd tells whether it can be sent with sendfile
	Pos  int64    // of the first byte in File
	Len  int
	End  int64 // no record of the slice has this offset or a later one

	held *segment.File
}

// Release gives the file back.
func (s Slice) Release() {
	if s.held != nil {
		s.held.Release()
	}
}

// Bytes appends the slice's bytes to dst.
func (s Slice) Bytes(dst []byte) ([]byte, error) {
	if s.Len == 0 {
		return dst, nil
	}
	n := len(dst)
	dst = append(dst, make([]byte, s.Len)...)
	if got, err := s.File.ReadAt(dst[n:], s.Pos); got < s.Len {
		return dst[:n], fmt.Errorf("log: read %d bytes at %d: %w", s.Len, s.Pos, err)
	}
	return dst, nil
}

// Read returns whole batches from the one that holds offset from on, none that reaches upTo or beyond, and no more than maxBytes
// of them, though at least one if atLeastOne. They lie in one segment; what follows in the next one is for the next read. An
// empty slice: there is nothing below upTo, or the first batch is larger than maxBytes. ErrOffsetOutOfRange: from is not
// within Start and End. A *segment.CorruptError: the file does not hold batches where it should.
func (l *Log) Read(from, upTo int64, maxBytes int, atLeastOne bool) (Slice, error) {
	for {
		slice, s, err := l.read(from, upTo, maxBytes, atLeastOne)
		if err == nil || !l.replaced(s, err) {
			return slice, err
		}
	}
}

// read is one attempt of Read, and names the segment that failed.
func (l *Log) read(from, upTo int64, maxBytes int, atLeastOne bool) (Slice, *segment.Segment, error) {
	if err := l.readable(); err != nil {
		return Slice{}, nil, err
	}
	end, start := l.End(), l.Start() // before the list, which then holds all below end
	if from < start || from > end {
		return Slice{}, nil, fmt.Errorf("%w: %d is not within %d to %d", ErrOffsetOutOfRange, from, start, end)
	}
	upTo = min(upTo, end)
	if from >= upTo {
		return Slice{End: from}, nil, nil
	}
	list := l.list()
	for i := holding(list, from); i < len(list) && list[i].Base() < upTo; i++ {
		s := list[i]
		slice, more, err := l.readSegment(s, from, upTo, maxBytes, atLeastOne)
		if err != nil || slice.Len > 0 || !more {
			return slice, s, err
		}
	}
	return Slice{End: from}, nil, nil
}

// replaced tells whether an operation on a segment failed because it was taken out of the log meanwhile and its files are gone, so
// that it has to begin again with what there is now.
func (l *Log) replaced(s *segment.Segment, err error) bool {
	return s != nil && errors.Is(err, fs.ErrNotExist) && !slices.Contains(l.list(), s)
}

// readSegment reads from one segment; more says that it has nothing from offset from on, so that the next one has to.
func (l *Log) readSegment(s *segment.Segment, from, upTo int64, maxBytes int, atLeastOne bool) (slice Slice, more bool, err error) {
	span, err := s.Range(from, upTo, maxBytes, atLeastOne)
	if err != nil && (errors.Is(err, segment.ErrCorrupt) || errors.Is(err, segment.ErrIndex)) && l.reindex(s, err) {
		span, err = s.Range(from, upTo, maxBytes, atLeastOne)
	}
	if err != nil {
		return Slice{}, false, l.readFailed(s, from, err)
	}
	if span.Len == 0 {
		return Slice{End: from}, span.Pos >= s.Size(), nil
	}
	file := s.File()
	f, err := file.Acquire()
	if err != nil {
		return Slice{}, false, l.readFailed(s, from, err)
	}
	return Slice{File: f, Pos: span.Pos, Len: span.Len, End: span.Next, held: file}, false, nil
}

// reindex builds a segment's indexes again, because one of them may have led a reader to the wrong place. Once in its life; it tells
// whether they were, now or before, as by another reader. It takes no lock of the log: a large file takes long to read.
func (l *Log) reindex(s *segment.Segment, why error) bool {
	tried, err := s.Reindex()
	if tried {
		l.o.Log.Warn("segment indexes built again", zap.String("file", s.Path()), zap.NamedError("because", why), zap.Error(err))
	}
	return err == nil
}

// readFailed tells a log that was closed meanwhile from a bad one.
func (l *Log) readFailed(s *segment.Segment, from int64, err error) error {
	if closed := l.readable(); closed != nil {
		return closed
	}
	if l.replaced(s, err) {
		return err
	}
	if !s.Complain(time.Now()) {
		return err
	}
	l.o.Log.Error("partition log cannot be read", zap.String("file", s.Path()), zap.Int64("offset", from), zap.Error(err))
	return err
}
