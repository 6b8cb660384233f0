package segment

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/tidemark-mq/tidemark/protocol/record"
)

// OpenSealed is a segment that was synced with its indexes: those are believed as far as they fit, and only what follows their
// last entries is read of the log file. A *CorruptError when that end is not good; ErrIndex when the indexes do not fit, or are
// not there, and Load has to read it all. The segment's files have the suffix given.
func OpenSealed(c *Cache, dir string, base, nowMs int64, suffix string) (*Segment, error) {
	s := newSegment(c, dir, emptyMeta(base, nowMs), suffix)
	info, err := c.fs.Stat(s.file.Path())
	if err != nil {
		return nil, fmt.Errorf("segment: %w", err)
	}
	if info.Size() > MaxSize {
		return nil, &CorruptError{File: s.file.Path(), Position: MaxSize, Offset: base, Reason: errors.New("file is larger than 2 GiB")}
	}
	s.meta.Size = info.Size()
	for _, x := range []*index{&s.offsets, &s.times} {
		if err := x.open(c); err != nil {
			return nil, err
		}
	}
	if _, err := c.fs.Stat(s.txnPath()); err == nil {
		s.meta.HasTxns = true
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("segment: %w", err)
	}
	return s, s.readEnds()
}

// open believes the length of the index file.
func (x *index) open(c *Cache) error {
	info, err := c.fs.Stat(x.file.Path())
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s is not there", ErrIndex, x.file.Path())
	} else if err != nil {
		return fmt.Errorf("segment: %w", err)
	}
	if info.Size()%int64(x.width) != 0 || info.Size() > MaxSize {
		return fmt.Errorf("%w: %s has %d bytes", ErrIndex, x.file.Path(), info.Size())
	}
	x.disk = int(info.Size()) / x.width
	return nil
}

// readEnds finds what Meta has to say from the first batch, the last entries of the indexes, and the batches after those.
func (s *Segment) readEnds() error {
	m := &s.meta
	if m.Size == 0 {
		if s.offsets.disk+s.times.disk > 0 {
			return fmt.Errorf("%w: %s is empty", ErrIndex, s.Path())
		}
		return nil
	}
	var offsetBuf, timeBuf [timeEntrySize]byte
	offsets, times := view(s.offsets), view(s.times)
	lastOffset, err := offsets.last(&offsetBuf)
	if err != nil {
		return err
	}
	lastTime, err := times.last(&timeBuf)
	if err != nil {
		return err
	}
	f, err := s.file.Acquire()
	if err != nil {
		return err
	}
	defer s.file.Release()
	c := s.cursor(f, m.Size, &lookupBuffers)
	defer c.close()
	b, err := c.header(0, s.base)
	if err != nil {
		return err
	}
	m.FirstTime = b.MaxTimestamp()
	pos, next := int64(0), s.base
	if lastOffset != nil {
		pos = entryPosition(lastOffset)
		b, err = c.header(pos, s.base)
		if err != nil || b.LastOffset() != s.base+entryOffset(lastOffset) {
			return fmt.Errorf("%w: no batch that ends at offset %d begins at byte %d of %s", ErrIndex, s.base+entryOffset(lastOffset), pos, s.Path())
		}
		next = b.BaseOffset()
	}
	if lastTime != nil {
		m.MaxTime, m.MaxTimeOffset = entryTime(lastTime), s.base+entryTimeOffset(lastTime)
		m.IndexedTime = m.MaxTime
	}
	m.SinceIndex = m.Size - pos
	err = s.scanFrom(f, pos, m.Size, Scan{CheckFrom: NoCheck}, func(b record.Batch) {
		if b.MaxTimestamp() > m.MaxTime {
			m.MaxTime, m.MaxTimeOffset = b.MaxTimestamp(), b.LastOffset()
		}
		next = b.NextOffset()
	})
	m.Next = next
	if err == nil && lastTime != nil && m.MaxTimeOffset >= m.Next {
		return fmt.Errorf("%w: %s points past offset %d", ErrIndex, s.times.file.Path(), m.Next)
	}
	return err
}
