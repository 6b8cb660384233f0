package record

import (
	"errors"
	"fmt"
	"io"
	"sync"
)

// inflater decompresses one payload at a time, from memory, in pieces. What it allocates is in proportion to the payload or
// bounded by its codec's window.
type inflater interface {
	// open begins with src, of which it keeps hold until close. limit is a hint: output beyond it is of no use.
	open(src []byte, limit int64) error
	// read puts some bytes into p, which is not empty. io.EOF: the payload ended where it should.
	read(p []byte) (int, error)
	// close lets go of src and of buffers too large to keep.
	close()
}

const (
	// keptBuffer bounds the buffers that wait in a pool, or a Builder, for the next batch.
	keptBuffer = 1 << 20
	// keptBlock is the same for blocks that cannot be decompressed in pieces. Many clients write LZ4 blocks of 4 MiB.
	keptBlock = 4 << 20
)

var inflaters = [numCodecs]sync.Pool{
	Gzip:   {New: func() any { return new(gzipInflater) }},
	Snappy: {New: func() any { return new(snappyInflater) }},
	LZ4:    {New: func() any { return new(lz4Inflater) }},
	Zstd:   {New: func() any { return new(zstdInflater) }},
}

// openInflater takes an inflater from its pool; closeInflater brings it back.
func openInflater(c Codec, src []byte, limit int64) (inflater, error) {
	if c == None || !c.Valid() {
		return nil, fmt.Errorf("%w %d", ErrUnknownCodec, c)
	}
	in := inflaters[c].Get().(inflater)
	if err := in.open(src, limit); err != nil {
		closeInflater(c, in)
		return nil, brokenData(c, err)
	}
	return in, nil
}

func closeInflater(c Codec, in inflater) {
	in.close()
	inflaters[c].Put(in)
}

// brokenData makes one kind of the many errors that codecs return.
func brokenData(c Codec, err error) error {
	if errors.Is(err, ErrExpansion) {
		return err
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%w: %s: %w", ErrBrokenData, c, err)
}

// ExpansionLimit is how many bytes a batch of the given size may decompress to where nothing else is said: 64 MiB, and
// four times its size where that is more. A batch may be made of many equal records, so that no lower ratio is safe, and
// clients fill batches by their size before compression.
func ExpansionLimit(size int) int64 { return max(64<<20, 4*int64(size)) }

// Decompress appends the decompressed src to dst, at most limit bytes (0: ExpansionLimit of src). ErrExpansion beyond that,
// ErrBrokenData, ErrUnknownCodec. Memory grows with what comes out, not with what src claims.
func Decompress(dst []byte, c Codec, src []byte, limit int64) ([]byte, error) {
	if limit <= 0 {
		limit = ExpansionLimit(len(src))
	}
	if c == None {
		if int64(len(src)) > limit {
			return dst, fmt.Errorf("%w of %d bytes", ErrExpansion, limit)
		}
		return append(dst, src...), nil
	}
	in, err := openInflater(c, src, limit)
	if err != nil {
		return dst, err
	}
	defer closeInflater(c, in)
	start := len(dst)
	for {
		if cap(dst)-len(dst) < 512 {
			dst = append(dst, make([]byte, max(4096, len(dst)-start))...)[:len(dst)]
		}
		n, err := in.read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if int64(len(dst)-start) > limit {
			return dst[:start], fmt.Errorf("%w of %d bytes", ErrExpansion, limit)
		}
		if err == io.EOF {
			return dst, nil
		}
		if err != nil {
			return dst[:start], brokenData(c, err)
		}
	}
}
