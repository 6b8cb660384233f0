package segment

import (
	"fmt"

	"github.com/tidemark-mq/tidemark/protocol/record"
)

// CutPoint is where the log file is to be cut so that no record at or after offset is left, and the offset after what stays: a
// batch that reaches offset goes as a whole.
func (s *Segment) CutPoint(offset int64) (pos, next int64, err error) {
	if err := s.checkIndexes(); err != nil {
		return 0, 0, err
	}
	s.loading.Lock()
	defer s.loading.Unlock()
	l := s.lookup(offset, offset)
	f, err := s.file.Acquire()
	if err != nil {
		return 0, 0, err
	}
	defer s.file.Release()
	c := s.cursor(f, l.size, &lookupBuffers)
	defer c.close()
	if pos, err = l.find(c, offset); err != nil {
		return 0, 0, err
	}
	if pos == l.size {
		return pos, min(offset, s.Next()), nil
	}
	b, err := c.header(pos, s.base)
	if err != nil {
		return 0, 0, err
	}
	return pos, min(offset, b.BaseOffset()), nil
}

// TruncateAt cuts the log file at pos, where a batch begins or the good part of the file ends; next is the offset expected
// there. The cut is durable after the next sync. Not beside another change; readers that found their place before may meet the
// end of the file.
func (s *Segment) TruncateAt(pos, next int64) error {
	if err := s.checkIndexes(); err != nil {
		return err
	}
	s.loading.Lock() // a reader may be building the indexes again
	defer s.loading.Unlock()
	files := s.cache.fs
	if err := files.Truncate(s.Path(), pos); err != nil {
		return fmt.Errorf("segment: truncate %s: %w", s.Path(), err)
	}
	s.mu.Lock()
	m := &s.meta
	shrunk := pos < m.Size
	m.Size, m.Next = pos, next
	s.recent = nil
	s.verified = s.verified.cut(pos)
	s.mu.Unlock()
	if !shrunk {
		return nil
	}
	if err := s.cutIndexes(pos, next); err != nil {
		return err
	}
	for _, x := range []*index{&s.offsets, &s.times} {
		if err := x.truncate(s.cache); err != nil {
			return err
		}
	}
	return s.CutAborted(next)
}

// cutIndexes drops the entries that point past the end, and finds out again what they stood for.
func (s *Segment) cutIndexes(pos, next int64) error {
	var offsetBuf, timeBuf [timeEntrySize]byte
	offsets, times := view(s.offsets), view(s.times)
	n, lastOffset, err := offsets.search(&offsetBuf, func(e []byte) bool { return entryPosition(e) >= pos })
	if err != nil {
		return err
	}
	k, lastTime, err := times.search(&timeBuf, func(e []byte) bool { return entryTimeOffset(e) >= next-s.base })
	if err != nil {
		return err
	}
	fresh := emptyMeta(s.base, s.meta.Created)
	fresh.FirstTime = s.meta.FirstTime
	if pos == 0 {
		fresh.FirstTime = -1
	}
	from := int64(0) // nothing before this batch is later than the last entry that is left of the time index
	if lastTime != nil {
		fresh.MaxTime, fresh.MaxTimeOffset = entryTime(lastTime), s.base+entryTimeOffset(lastTime)
		fresh.IndexedTime = fresh.MaxTime
		var buf [timeEntrySize]byte
		e, err := offsets.floor(&buf, func(e []byte) bool { return entryOffset(e) > entryTimeOffset(lastTime) })
		if err != nil {
			return err
		}
		if e != nil {
			from = entryPosition(e)
		}
	}
	fresh.SinceIndex = pos
	if lastOffset != nil {
		fresh.SinceIndex = pos - entryPosition(lastOffset)
	}
	f, err := s.file.Acquire()
	if err != nil {
		return err
	}
	defer s.file.Release()
	err = s.scanFrom(f, from, pos, Scan{CheckFrom: NoCheck}, func(b record.Batch) {
		if b.MaxTimestamp() > fresh.MaxTime {
			fresh.MaxTime, fresh.MaxTimeOffset = b.MaxTimestamp(), b.LastOffset()
		}
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	fresh.Size, fresh.Next, fresh.HasTxns = pos, next, s.meta.HasTxns
	s.meta = fresh
	s.offsets, s.times = s.offsets.cut(n), s.times.cut(k)
	return nil
}
