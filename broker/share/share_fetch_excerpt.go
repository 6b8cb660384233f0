package share

import (
	"sync"

	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/broker/share/window"
	"github.com/tidemark-mq/tidemark/protocol/record"
)

// A consumer that takes ten records of a batch of ten thousand would be sent all of them each time. Kafka does; here it is sent
// an excerpt: the batch's header with the records that are its own.

const (
	excerptFrom   = 16 << 10 // of fewer bytes no excerpt is made
	excerptFactor = 4        // the batches must have so many times the offsets acquired
	// excerptExpansion bounds a compressed batch that is taken apart, in bytes without compression.
	excerptExpansion = 16 << 20
	excerptChunk     = 32 << 10
)

// bookmark is where in a batch without compression the record of an offset begins: the next consumer goes on there.
type bookmark struct {
	base   int64 // offset of the batch
	offset int64
	at     int // bytes into the batch
}

// excerpt is the records of a slice that were acquired, in batches of their own, appended to dst; false where whole batches are
// as good, or cannot be taken apart.
func (p *partition) excerpt(dst []byte, a *acquired) ([]byte, bool) {
	if a.slice.Len < excerptFrom || !sparse(a.granted, a.batches) {
		return dst, false
	}
	x := excerpts.Get().(*excerpt)
	defer excerpts.Put(x)
	x.slice, x.granted, x.mark = a.slice, a.granted, p.bookmark.Load()
	out, ok := x.all(dst)
	if !ok || len(out)-len(dst) > a.slice.Len/2 {
		return dst, false
	}
	if x.left.base >= 0 {
		left := x.left
		p.bookmark.Store(&left)
	}
	return out, true
}

// sparse tells whether what was acquired is little of the batches that hold it.
func sparse(granted []window.Grant, batches []window.Span) bool {
	var taken, whole int64
	for _, g := range granted {
		taken += g.Last - g.First + 1
	}
	for _, b := range batches {
		whole += b.Last - b.First + 1
	}
	return whole >= taken*excerptFactor
}

// excerpt makes one; its memory is used again.
type excerpt struct {
	slice   replica.Slice
	granted []window.Grant
	mark    *bookmark
	left    bookmark // where the next may go on

	header [record.HeaderSize]byte
	buf    []byte // of the batch's payload, or of a part of it
	from   int    // where in the batch buf begins
	size   int    // of the batch, or of its payload without compression
	pos    int64  // of the batch in the file
	flat   bool   // buf is all there is
	out    []byte // records taken
	count  int32
}

var excerpts = sync.Pool{New: func() any { return new(excerpt) }}

// all goes over the batches of the slice.
func (x *excerpt) all(dst []byte) ([]byte, bool) {
	x.left.base = -1
	for at := 0; at < x.slice.Len; {
		x.pos = x.slice.Pos + int64(at)
		if n, _ := x.slice.File.ReadAt(x.header[:], x.pos); n < record.HeaderSize {
			return dst, false
		}
		b := record.Batch(x.header[:])
		size := b.Size()
		if size < record.HeaderSize || size > x.slice.Len-at {
			return dst, false
		}
		at += size
		if b.IsControl() || !x.wants(b.BaseOffset(), b.LastOffset()) {
			continue
		}
		x.out, x.count = x.out[:0], 0
		if !x.open(b, size) || !x.take(b) {
			return dst, false
		}
		if x.count > 0 {
			dst = record.Excerpt(dst, b, x.out, x.count)
		}
	}
	return dst, true
}

// wants tells whether offsets from first to last were acquired, one at least.
func (x *excerpt) wants(first, last int64) bool {
	for _, g := range x.granted {
		if g.First <= last && g.Last >= first {
			return true
		}
	}
	return false
}

// open makes the payload of a batch ready to be read.
func (x *excerpt) open(b record.Batch, size int) bool {
	x.buf, x.from, x.size, x.flat = x.buf[:0], record.HeaderSize, size, false
	if b.Codec() == record.None {
		return true
	}
	packed := make([]byte, size)
	if n, _ := x.slice.File.ReadAt(packed, x.pos); n < size {
		return false
	}
	var err error
	x.buf, err = record.Decompress(x.buf, b.Codec(), packed[record.HeaderSize:], excerptExpansion)
	x.size, x.flat = record.HeaderSize+len(x.buf), true
	return err == nil
}

// take copies the records of a batch that were acquired.
func (x *excerpt) take(b record.Batch) bool {
	at := record.HeaderSize
	last := x.granted[len(x.granted)-1].Last
	if m := x.mark; m != nil && !x.flat && m.base == b.BaseOffset() && m.offset <= x.first(b) {
		at = m.at
	}
	for at < x.size {
		delta, size, ok := x.peek(at)
		if !ok || size > x.size-at {
			return false
		}
		offset := b.BaseOffset() + int64(delta)
		if offset > last {
			break
		}
		if x.wants(offset, offset) {
			whole, ok := x.bytes(at, size)
			if !ok {
				return false
			}
			x.out = append(x.out, whole...)
			x.count++
		}
		if at += size; !x.flat {
			x.left = bookmark{base: b.BaseOffset(), offset: offset + 1, at: at}
		}
	}
	return true
}

// first is the first offset of a batch that was acquired.
func (x *excerpt) first(b record.Batch) int64 {
	for _, g := range x.granted {
		if g.Last >= b.BaseOffset() {
			return max(g.First, b.BaseOffset())
		}
	}
	return b.LastOffset()
}

func (x *excerpt) peek(at int) (delta int32, size int, ok bool) {
	p, ok := x.bytes(at, min(record.RecordPrefix, x.size-at))
	if !ok {
		return 0, 0, false
	}
	return record.Peek(p)
}

// bytes are n bytes of the batch, counted from its header.
func (x *excerpt) bytes(at, n int) ([]byte, bool) {
	if at < x.from || at+n > x.from+len(x.buf) {
		if x.flat {
			return nil, false
		}
		read := min(max(n, excerptChunk), x.size-at)
		if cap(x.buf) < read {
			x.buf = make([]byte, read)
		}
		x.buf = x.buf[:read]
		if got, _ := x.slice.File.ReadAt(x.buf, x.pos+int64(at)); got < read {
			return nil, false
		}
		x.from = at
	}
	return x.buf[at-x.from : at-x.from+n], true
}
