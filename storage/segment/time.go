package segment

import (
	"fmt"

	"github.com/tidemark-mq/tidemark/protocol/record"
)

// Timed is a record found by its time.
type Timed struct {
	Timestamp int64 // ms
	Offset    int64
}

// FindTime finds the first record at or after offset from whose timestamp is ms or later; ok is false when there is none. limit
// bounds what a compressed batch may expand to.
func (s *Segment) FindTime(ms, from, limit int64) (t Timed, ok bool, err error) {
	return s.searchTime(ms, from, limit, func(b record.Batch) bool {
		return b.MaxTimestamp() >= ms && b.LastOffset() >= from
	})
}

// FindMaxTime finds the first record that has the segment's largest timestamp.
func (s *Segment) FindMaxTime(limit int64) (t Timed, ok bool, err error) {
	m := s.Meta()
	if m.MaxTime < 0 {
		return Timed{}, false, nil
	}
	return s.searchTime(m.MaxTime, s.base, limit, func(b record.Batch) bool { return b.MaxTimestamp() == m.MaxTime })
}

// searchTime looks into the batches that match for the first record from offset from on that is not before ms.
func (s *Segment) searchTime(ms, from, limit int64, match func(record.Batch) bool) (Timed, bool, error) {
	if err := s.checkIndexes(); err != nil {
		return Timed{}, false, err
	}
	s.mu.RLock()
	times, offsets, size := view(s.times), view(s.offsets), s.meta.Size
	s.mu.RUnlock()

	// Nothing up to the offset of the last entry that is before ms can match.
	var buf [timeEntrySize]byte
	relative := from - s.base
	e, err := times.floor(&buf, func(e []byte) bool { return entryTime(e) >= ms })
	if err != nil {
		return Timed{}, false, err
	}
	if e != nil {
		relative = max(relative, entryTimeOffset(e))
	}
	var pos int64
	if e, err = offsets.floor(&buf, func(e []byte) bool { return entryOffset(e) > relative }); err != nil {
		return Timed{}, false, err
	}
	if e != nil {
		pos = entryPosition(e)
	}
	f, err := s.file.Acquire()
	if err != nil {
		return Timed{}, false, err
	}
	defer s.file.Release()
	c := s.cursor(f, size, &lookupBuffers)
	defer c.close()
	for next := s.base; pos < size; {
		b, err := c.header(pos, next)
		if err != nil {
			return Timed{}, false, err
		}
		batchSize := b.Size()
		next = b.NextOffset()
		if match(b) {
			t, ok, err := c.timeWithin(pos, batchSize, ms, from, limit)
			if ok || err != nil {
				return t, ok, err
			}
		}
		pos += int64(batchSize)
	}
	return Timed{}, false, nil
}

// timeWithin looks for the record in the batch at pos.
func (c *cursor) timeWithin(pos int64, size int, ms, from, limit int64) (Timed, bool, error) {
	b, err := c.readBatch(pos, size)
	if err != nil {
		return Timed{}, false, err
	}
	if err := b.CheckCRC(); err != nil {
		return Timed{}, false, c.corrupt(pos, b.BaseOffset(), err)
	}
	records, err := b.Records(limit)
	if err != nil {
		return Timed{}, false, fmt.Errorf("segment: %s at byte %d: %w", c.path, pos, err)
	}
	defer records.Close()
	for {
		offset, timestamp, ok, err := records.NextTime()
		if err != nil {
			return Timed{}, false, fmt.Errorf("segment: %s at byte %d: %w", c.path, pos, err)
		}
		if !ok {
			return Timed{}, false, nil
		}
		if timestamp >= ms && offset >= from {
			return Timed{timestamp, offset}, true, nil
		}
	}
}
