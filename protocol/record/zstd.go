package record

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
)

const (
	// zstdStreamed is the largest window that is decoded in pieces; the window is what that costs. Java's levels to 19 and
	// other clients' frames up to this size stay below.
	zstdStreamed = 8 << 20
	// zstdWidest is the largest window that libzstd takes by default, that of its level 22.
	zstdWidest = 128 << 20
	// zstdWide bounds what a frame with a larger window may decompress to, beside 16 times its size: it is held whole, since
	// a window costs its full size however little is in it.
	zstdWide = 16 << 20
	// zstdRatio is above what zstd can expand to: 128 KiB from a block of 4 bytes.
	zstdRatio = 32 << 10
	// zstdBlock is the most that one block adds to the output, with the room that the library wants behind it.
	zstdBlock = 128<<10 + 16
)

type zstdInflater struct {
	src     bytes.Reader
	stream  *zstd.Decoder
	wide    bool
	content []byte // of a wide frame: what is left
}

func (z *zstdInflater) open(src []byte, limit int64) error {
	var h zstd.Header
	if err := h.Decode(src); err != nil && len(src) > 0 {
		return err
	}
	window := h.WindowSize
	if h.SingleSegment {
		window = h.FrameContentSize
	}
	if z.wide = window > zstdStreamed; z.wide {
		var err error
		z.content, err = decodeWide(src, h, min(limit, max(zstdWide, 16*int64(len(src)))))
		return err
	}
	if z.stream == nil {
		var err error
		// Concurrency 1 decodes in the caller's goroutine and starts none.
		z.stream, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(zstdStreamed), zstd.WithDecodeBuffersBelow(0))
		if err != nil {
			return err
		}
	}
	z.src.Reset(src)
	return z.stream.Reset(&z.src)
}

func (z *zstdInflater) read(p []byte) (int, error) {
	if !z.wide {
		return z.stream.Read(p)
	}
	if len(z.content) == 0 {
		return 0, io.EOF
	}
	n := copy(p, z.content)
	z.content = z.content[n:]
	return n, nil
}

func (z *zstdInflater) close() {
	z.content = nil
	z.src.Reset(nil)
}

// wideDecoder holds no window between uses: it decodes into the caller's buffer and not beyond its capacity.
var wideDecoder = sync.OnceValues(func() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(zstdWidest), zstd.WithDecodeAllCapLimit(true))
})

// decodeWide decodes a whole payload whose window is too large to stream, in a buffer that grows until it fits.
func decodeWide(src []byte, h zstd.Header, limit int64) ([]byte, error) {
	d, err := wideDecoder()
	if err != nil {
		return nil, err
	}
	possible := zstdRatio * int64(len(src))
	most := min(limit, possible)
	size := min(most, max(1<<20, 4*int64(len(src))))
	if h.HasFCS && h.FrameContentSize <= uint64(most) {
		size = max(size, int64(h.FrameContentSize))
	}
	for {
		// Within a block the library calls a full buffer broken data. With room for one block more, blocks that end within size
		// never see the buffer's end, and whoever saw it is beyond size already.
		out, err := d.DecodeAll(src, make([]byte, 0, size+zstdBlock))
		if err == nil && int64(len(out)) <= most {
			return out, nil
		}
		if err != nil && !errors.Is(err, zstd.ErrDecoderSizeExceeded) && int64(len(out)) <= size {
			return nil, err
		}
		if size >= most && most == possible {
			return nil, fmt.Errorf("%d bytes claim to hold more than %d", len(src), possible)
		}
		if size >= most {
			return nil, fmt.Errorf("%w of %d bytes", ErrExpansion, most)
		}
		size = min(most, 4*size)
	}
}

// zstdWriters are pooled by the library's speed, onto which zstd's levels are mapped.
var zstdWriters [zstd.SpeedBestCompression + 1]sync.Pool

func appendZstd(dst []byte, level int, src []byte) ([]byte, error) {
	speed := zstd.EncoderLevelFromZstd(level)
	pool := &zstdWriters[speed]
	w, ok := pool.Get().(*zstd.Encoder)
	if !ok {
		var err error
		// The batch has a checksum of its own. Java writes none here either.
		w, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(speed), zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true),
			zstd.WithWindowSize(4<<20), zstd.WithEncoderCRC(false), zstd.WithZeroFrames(true))
		if err != nil {
			return dst, err
		}
	}
	defer pool.Put(w)
	return w.EncodeAll(src, dst), nil
}
