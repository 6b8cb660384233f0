package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/pierrec/lz4/v4"
)

// Kafka reads a part of the LZ4 frame format only (KIP-57): one frame, blocks that do not depend on each other, no
// dictionary. What it would refuse to deliver to a consumer is refused here; the blocks are the library's work.
//
//	0  uint32 LE  lz4Magic
//	4  byte       flags: version 01, independent, block checksums, content size, content checksum, 0, dictionary
//	5  byte       bits 4 to 6: largest block, 64 KiB << 2*(n-4)
//	6  uint64 LE  content size, if flagged
//	   byte       second byte of the XXH32 of the descriptor, which begins at 4
//	   blocks: uint32 LE size (top bit: stored as it is), data, uint32 LE XXH32 if flagged; size 0 ends
//	   uint32 LE  XXH32 of the content, if flagged; Kafka does not look at it
const (
	lz4Magic        = 0x184d2204
	lz4Stored       = 1 << 31
	lz4BlockSums    = 0x10
	lz4ContentSize  = 0x08
	lz4ContentSum   = 0x04
	lz4FixedMask    = 0xe3 // version, independence, reserved, dictionary
	lz4Fixed        = 0x60
	lz4Ratio        = 255 // an LZ4 block cannot expand to more
	lz4WrittenBlock = 64 << 10
	lz4BlockCode    = 4 // of lz4WrittenBlock
)

var errLZ4Frame = errors.New("malformed LZ4 frame")

type lz4Inflater struct {
	src      []byte // what is left
	sums     bool   // blocks have checksums
	tail     int    // bytes after the end mark
	maxBlock int
	block    []byte // what is left of the last block
	buf      []byte
}

func (l *lz4Inflater) open(src []byte, _ int64) error {
	if len(src) < 7 || binary.LittleEndian.Uint32(src) != lz4Magic {
		return errLZ4Frame
	}
	flags, sizes, end := src[4], src[5], 6
	if flags&lz4FixedMask != lz4Fixed || sizes&0x8f != 0 || sizes < lz4BlockCode<<4 {
		return fmt.Errorf("LZ4 frame descriptor %02x %02x is not supported", flags, sizes)
	}
	if flags&lz4ContentSize != 0 {
		end += 8
	}
	if len(src) <= end || byte(xxh32(src[4:end])>>8) != src[end] {
		return fmt.Errorf("%w: descriptor checksum", errLZ4Frame)
	}
	l.src, l.block = src[end+1:], nil
	l.sums, l.tail = flags&lz4BlockSums != 0, 0
	if flags&lz4ContentSum != 0 {
		l.tail = 4
	}
	l.maxBlock = 1 << (2*(sizes>>4) + 8)
	return nil
}

func (l *lz4Inflater) read(p []byte) (int, error) {
	for len(l.block) == 0 {
		data, stored, err := l.next()
		if err != nil {
			return 0, err
		}
		if stored {
			l.block = data
			break
		}
		// Straight to p if it fits. A block that does not is broken or larger than p; in a buffer of its largest size it is
		// found out.
		if n, err := lz4.UncompressBlock(data, p[:min(len(p), l.maxBlock)]); err == nil {
			if n > 0 {
				return n, nil
			}
			continue
		}
		most := min(l.maxBlock, lz4Ratio*len(data))
		if most <= len(p) {
			return 0, fmt.Errorf("%w: broken block", errLZ4Frame)
		}
		if cap(l.buf) < most {
			l.buf = make([]byte, most)
		}
		n, err := lz4.UncompressBlock(data, l.buf[:most])
		if err != nil {
			return 0, err
		}
		l.block = l.buf[:n]
	}
	n := copy(p, l.block)
	l.block = l.block[n:]
	return n, nil
}

// next takes the next block from src; io.EOF after the end mark.
func (l *lz4Inflater) next() (data []byte, stored bool, err error) {
	if len(l.src) < 4 {
		return nil, false, io.ErrUnexpectedEOF
	}
	word := binary.LittleEndian.Uint32(l.src)
	size, tail := int(word&^lz4Stored), 0
	if size == 0 {
		if len(l.src)-4 < l.tail {
			return nil, false, io.ErrUnexpectedEOF
		}
		return nil, false, io.EOF // the mark stays, to be found again
	}
	if l.sums {
		tail = 4
	}
	if size > l.maxBlock || size > len(l.src)-4-tail {
		return nil, false, fmt.Errorf("%w: block of %d bytes", errLZ4Frame, size)
	}
	data = l.src[4 : 4+size]
	l.src = l.src[4+size:]
	if l.sums {
		if binary.LittleEndian.Uint32(l.src) != xxh32(data) {
			return nil, false, fmt.Errorf("%w: block checksum", errLZ4Frame)
		}
		l.src = l.src[4:]
	}
	return data, word&lz4Stored != 0, nil
}

func (l *lz4Inflater) close() {
	if cap(l.buf) > keptBlock {
		l.buf = nil
	}
	l.src, l.block = nil, nil
}

// lz4Header is the frame header that Java writes: independent blocks of 64 KiB, nothing else.
var lz4Header = func() []byte {
	h := binary.LittleEndian.AppendUint32(nil, lz4Magic)
	h = append(h, lz4Fixed, lz4BlockCode<<4)
	return append(h, byte(xxh32(h[4:])>>8))
}()

var (
	lz4Fast = sync.Pool{New: func() any { return new(lz4.Compressor) }}
	lz4High = sync.Pool{New: func() any { return new(lz4.CompressorHC) }}
)

// appendLZ4 takes Kafka's default level for the fast compressor, and others for the search depth of the slow one.
func appendLZ4(dst []byte, level int, src []byte) ([]byte, error) {
	var compress func(src, dst []byte) (int, error)
	if r, _ := Levels(LZ4); level == r.Default {
		c := lz4Fast.Get().(*lz4.Compressor)
		defer lz4Fast.Put(c)
		compress = c.CompressBlock
	} else {
		c := lz4High.Get().(*lz4.CompressorHC)
		defer lz4High.Put(c)
		c.Level = 1 << (8 + min(max(level, 1), 9))
		compress = c.CompressBlock
	}
	dst = append(dst, lz4Header...)
	for len(src) > 0 {
		block := src[:min(len(src), lz4WrittenBlock)]
		src = src[len(block):]
		at := len(dst)
		dst = append(dst, make([]byte, 4+lz4.CompressBlockBound(len(block)))...)
		n, err := compress(block, dst[at+4:])
		if err != nil {
			return dst[:at], err
		}
		word := uint32(n)
		if n == 0 || n >= len(block) {
			n = copy(dst[at+4:], block)
			word = uint32(n) | lz4Stored
		}
		binary.LittleEndian.PutUint32(dst[at:], word)
		dst = dst[:at+4+n]
	}
	return append(dst, 0, 0, 0, 0), nil
}
