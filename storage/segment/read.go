package segment

import (
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// Span is a run of whole batches in a log file.
type Span struct {
	Pos  int64
	Len  int
	Next int64 // no record of the run has this offset or a later one
}

// Range finds the batches from the one that holds offset from (or the first one after it), none that reaches upTo or beyond,
// and no more than maxBytes of them, though at least one if atLeastOne. Len 0: none. A *CorruptError when the file does not
// hold a batch there, or not the one that was written; where that is not the first, the span ends before it.
func (s *Segment) Range(from, upTo int64, maxBytes int, atLeastOne bool) (Span, error) {
	if err := s.checkIndexes(); err != nil {
		return Span{}, err
	}
	span, err := s.find(from, upTo, maxBytes, atLeastOne)
	if err != nil || span.Len == 0 {
		return span, err
	}
	return s.verify(span, from)
}

func (s *Segment) find(from, upTo int64, maxBytes int, atLeastOne bool) (Span, error) {
	l := s.lookup(from, upTo)
	if l.startKnown && l.endKnown && (l.end-l.start <= int64(maxBytes) || l.end <= l.start) {
		return l.span(), nil
	}
	f, err := s.file.Acquire()
	if err != nil {
		return Span{}, err
	}
	defer s.file.Release()
	return l.settle(f, maxBytes, atLeastOne)
}

// lookup is what is known of a Range without reading.
type lookup struct {
	s          *Segment
	from, upTo int64
	size       int64
	offsets    view

	next                 int64 // as in Span
	start, end           int64
	startKnown, endKnown bool
}

func (s *Segment) lookup(from, upTo int64) lookup {
	s.mu.RLock()
	defer s.mu.RUnlock()
	l := lookup{s: s, from: from, upTo: upTo, size: s.meta.Size, offsets: view(s.offsets), next: min(upTo, s.meta.Next)}
	switch {
	case from >= s.meta.Next:
		l.start, l.startKnown = l.size, true
	default:
		l.start, l.startKnown = s.recent.find(from)
	}
	if upTo >= s.meta.Next {
		l.end, l.endKnown = l.size, true
	} else {
		l.end, l.endKnown = s.recent.find(upTo)
	}
	return l
}

// settle finds what lookup left open.
func (l *lookup) settle(f vfs.File, maxBytes int, atLeastOne bool) (Span, error) {
	c := l.s.cursor(f, l.size, &lookupBuffers)
	defer c.close()
	var err error
	if !l.startKnown {
		if l.start, err = l.find(c, l.from); err != nil {
			return Span{}, err
		}
	}
	if !l.endKnown {
		if l.end, err = l.find(c, l.upTo); err != nil {
			return Span{}, err
		}
	}
	if l.end-l.start > int64(maxBytes) {
		if err = l.cut(c, maxBytes, atLeastOne); err != nil {
			return Span{}, err
		}
	}
	return l.span(), nil
}

func (l *lookup) span() Span {
	return Span{Pos: l.start, Len: int(max(0, l.end-l.start)), Next: l.next}
}

// find is where the first batch begins that reaches offset; the file's end if none does.
func (l *lookup) find(c *cursor, offset int64) (int64, error) {
	var buf [timeEntrySize]byte
	var pos int64
	relative := offset - l.s.base
	e, err := l.offsets.floor(&buf, func(e []byte) bool { return entryOffset(e) > relative })
	if err != nil {
		return 0, err
	}
	next := l.s.base
	if e != nil {
		pos = entryPosition(e)
	}
	for pos < l.size {
		b, err := c.header(pos, next)
		if err != nil {
			return 0, err
		}
		if b.LastOffset() >= offset {
			return pos, nil
		}
		pos, next = pos+int64(b.Size()), b.NextOffset()
	}
	return l.size, nil
}

// cut moves the end to that of the last whole batch within maxBytes of the start.
func (l *lookup) cut(c *cursor, maxBytes int, atLeastOne bool) error {
	var buf [timeEntrySize]byte
	limit := l.start + int64(maxBytes)
	e, err := l.offsets.floor(&buf, func(e []byte) bool { return entryPosition(e) > limit })
	if err != nil {
		return err
	}
	pos, next := l.start, l.from
	if e != nil && entryPosition(e) > pos {
		pos, next = entryPosition(e), l.s.base+entryOffset(e)
	}
	for pos < l.end {
		b, err := c.header(pos, l.s.base)
		if err != nil {
			return err
		}
		end := pos + int64(b.Size())
		if end > limit {
			if pos == l.start && atLeastOne {
				pos, next = end, b.NextOffset()
			}
			break
		}
		pos, next = end, b.NextOffset()
	}
	l.end, l.next = pos, next
	return nil
}
