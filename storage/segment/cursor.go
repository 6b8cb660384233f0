package segment

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"

	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

const (
	lookupWindow = 8 << 10   // read at once by a lookup: an index interval and what sticks out
	scanWindow   = 256 << 10 // read at once by a scan of a whole file
)

var (
	lookupBuffers = sync.Pool{New: func() any { b := make([]byte, lookupWindow); return &b }}
	scanBuffers   = sync.Pool{New: func() any { b := make([]byte, scanWindow); return &b }}
	castagnoli    = crc32.MakeTable(crc32.Castagnoli)
)

// cursor reads batch headers of a log file through a window.
type cursor struct {
	f    vfs.File
	path string
	base int64 // of the segment
	size int64 // end of what counts in the file

	pool *sync.Pool
	buf  *[]byte
	at   int64 // position of the window in the file
	n    int   // bytes in it
}

func (s *Segment) cursor(f vfs.File, size int64, pool *sync.Pool) *cursor {
	return &cursor{f: f, path: s.file.Path(), base: s.base, size: size, pool: pool, buf: pool.Get().(*[]byte)}
}

func (c *cursor) close() { c.pool.Put(c.buf) }

// window returns the bytes [pos, pos+n), n at most the window's size; valid until the next call.
func (c *cursor) window(pos int64, n int) ([]byte, error) {
	if pos < c.at || pos+int64(n) > c.at+int64(c.n) {
		p := (*c.buf)[:min(int64(len(*c.buf)), c.size-pos)]
		got, err := c.f.ReadAt(p, pos)
		if got < n {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		c.at, c.n = pos, got
	}
	return (*c.buf)[pos-c.at : pos-c.at+int64(n)], nil
}

// header is the header of the batch at pos, whose first offset must not be below next. Valid until the next call; only the
// accessors of record.Batch that need no more than the header may be used.
func (c *cursor) header(pos, next int64) (record.Batch, error) {
	if c.size-pos < record.HeaderSize {
		return nil, c.corrupt(pos, next, fmt.Errorf("%w: %d bytes are left", record.ErrShort, c.size-pos))
	}
	p, err := c.window(pos, record.HeaderSize)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, c.corrupt(pos, next, err)
	} else if err != nil {
		return nil, fmt.Errorf("segment: read %s at %d: %w", c.path, pos, err)
	}
	size, err := record.PeekSize(p)
	if err != nil {
		return nil, c.corrupt(pos, next, err)
	}
	b := record.Batch(p)
	switch {
	case int64(size) > c.size-pos:
		err = fmt.Errorf("%w: %d of %d bytes", record.ErrShort, c.size-pos, size)
	case b.BaseOffset() < next || b.BaseOffset() < c.base:
		err = fmt.Errorf("base offset is %d", b.BaseOffset())
	case b.LastOffsetDelta() < 0 || b.NextOffset() <= b.BaseOffset() || b.LastOffset()-c.base > maxRelative:
		err = fmt.Errorf("last offset delta is %d", b.LastOffsetDelta())
	default:
		return b, nil
	}
	return nil, c.corrupt(pos, next, err)
}

// checkCRC reads the whole batch at pos, in pieces, and compares its checksum.
func (c *cursor) checkCRC(pos, next int64, size int, want uint32) error {
	const from = 21 // the checksum covers everything after itself
	var sum uint32
	for at, end := pos+from, pos+int64(size); at < end; {
		n := int(min(end-at, int64(len(*c.buf))))
		// What the window already holds is used up first, so that small batches are read once.
		if in := c.at + int64(c.n) - at; at >= c.at && in > 0 {
			n = int(min(int64(n), in))
		}
		p, err := c.window(at, n)
		if err != nil {
			return fmt.Errorf("segment: read %s at %d: %w", c.path, at, err)
		}
		sum = crc32.Update(sum, castagnoli, p)
		at += int64(n)
	}
	if sum != want {
		return c.corrupt(pos, next, fmt.Errorf("%w: checksum is %08x, stored is %08x", record.ErrCorrupt, sum, want))
	}
	return nil
}

func (c *cursor) corrupt(pos, offset int64, reason error) error {
	return &CorruptError{File: c.path, Position: pos, Offset: offset, Reason: reason}
}

// readBatch reads the whole batch at pos.
func (c *cursor) readBatch(pos int64, size int) (record.Batch, error) {
	b := make([]byte, size)
	if n, err := c.f.ReadAt(b, pos); n < size {
		return nil, fmt.Errorf("segment: read %s at %d: %w", c.path, pos, err)
	}
	return b, nil
}
