package segment

import (
	"errors"
	"slices"
)

// Bytes that were appended in this life of the process had their checksums compared on the way in. Those of earlier lives may have
// changed on the disk since, and recovery looks at none below the recovery point: they are compared when they are first read, once
// in the life of the process, so that a damaged batch is never served, and neither starts nor later reads pay for it.

// extent is a run of whole batches in a log file: bytes [from, to).
type extent struct{ from, to int64 }

// maxExtents bounds what is remembered of a segment that is read here and there. What does not fit is compared again.
const maxExtents = 256

// extents are apart from each other, in order.
type extents []extent

// after is the end of the extent that holds the byte at pos, pos where none does.
func (x extents) after(pos int64) int64 {
	i, _ := slices.BinarySearchFunc(x, pos, func(e extent, pos int64) int {
		if e.to <= pos {
			return -1
		}
		return 1
	})
	if i < len(x) && x[i].from <= pos {
		return x[i].to
	}
	return pos
}

// add joins [from, to) to what there is.
func (x extents) add(from, to int64) extents {
	if n := len(x); n > 0 && x[n-1].to == from { // as an append does
		x[n-1].to = max(to, from)
		return x
	}
	first := 0
	for first < len(x) && x[first].to < from {
		first++
	}
	last := first
	for last < len(x) && x[last].from <= to {
		from, to = min(from, x[last].from), max(to, x[last].to)
		last++
	}
	if from >= to || first == last && len(x) >= maxExtents {
		return x
	}
	return slices.Replace(x, first, last, extent{from, to})
}

// cut keeps what lies before pos.
func (x extents) cut(pos int64) extents {
	for len(x) > 0 && x[len(x)-1].to > pos {
		n := len(x)
		if x[n-1].from < pos {
			x[n-1].to = pos
			break
		}
		x = x[:n-1]
	}
	return x
}

// verify compares the checksums of the batches of span, which begins with the one that holds offset, and answers the part of it before
// the first bad one. A *CorruptError when that is the first.
func (s *Segment) verify(span Span, offset int64) (Span, error) {
	end := span.Pos + int64(span.Len)
	s.mu.RLock()
	known := s.verified.after(span.Pos)
	s.mu.RUnlock()
	if known >= end {
		return span, nil
	}
	f, err := s.file.Acquire()
	if err != nil {
		return Span{}, err
	}
	defer s.file.Release()
	c := s.cursor(f, end, &scanBuffers)
	defer c.close()
	good, err := c.check(span.Pos, known)
	var bad *CorruptError
	switch {
	case err == nil:
	case !errors.As(err, &bad):
		return Span{}, err
	case good == span.Pos:
		bad.Offset = max(bad.Offset, offset)
		return Span{}, bad
	default:
		span.Len, span.Next = int(good-span.Pos), bad.Offset
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.verified = s.verified.add(span.Pos, min(good, s.meta.Size))
	return span, nil
}

// check compares the checksums of the batches from pos to the cursor's end, save those before known, and answers where the good ones
// end.
func (c *cursor) check(pos, known int64) (good int64, err error) {
	for next := c.base; pos < c.size; {
		b, err := c.header(pos, next)
		if err != nil {
			return pos, err
		}
		base, size := b.BaseOffset(), b.Size()
		next = b.NextOffset()
		if pos >= known {
			if err := c.checkCRC(pos, base, size, b.CRC()); err != nil {
				return pos, err
			}
		}
		pos += int64(size)
	}
	return pos, nil
}
