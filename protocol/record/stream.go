package record

import (
	"errors"
	"fmt"
	"io"
	"sync"
)

// windowSize is how much of a batch's decompressed records is in memory at a time. An LZ4 block as Java writes it fits beside
// the rest of a record, and is decompressed in place.
const windowSize = 128 << 10

// errEnds: the records end before their number or their sizes say.
var errEnds = errors.New("records end early")

// stream is a batch's encoded records, read through a window that slides over what its inflater yields. Records that are not
// compressed are their own window.
type stream struct {
	buf   []byte
	r, w  int // buf[r:w] is read from the inflater and not yet used
	in    inflater
	codec Codec
	err   error // why no more bytes come
	total int64 // bytes that came from the inflater
	limit int64
	owned []byte // the window to keep for the next batch
}

var streams = sync.Pool{New: func() any { return new(stream) }}

// openStream begins with b's records; limit 0 is ExpansionLimit. The caller closes it.
func openStream(b Batch, limit int64) (*stream, error) {
	if limit <= 0 {
		limit = ExpansionLimit(len(b))
	}
	s := streams.Get().(*stream)
	owned := s.owned
	*s = stream{codec: b.Codec(), limit: limit, owned: owned}
	if s.codec == None {
		s.buf, s.w, s.err = b.Payload(), len(b.Payload()), errEnds
		return s, nil
	}
	in, err := openInflater(s.codec, b.Payload(), limit)
	if err != nil {
		streams.Put(s)
		return nil, err
	}
	if s.owned == nil {
		s.owned = make([]byte, windowSize)
	}
	s.in, s.buf = in, s.owned
	return s, nil
}

func (s *stream) close() {
	if s.in != nil {
		closeInflater(s.codec, s.in)
		if s.owned = s.buf; cap(s.owned) > keptBuffer {
			s.owned = nil
		}
	}
	s.buf, s.in = nil, nil
	streams.Put(s)
}

// more gets at least one byte more into the window, which must not be full from its start. errEnds: there are none. What is
// wrong behind bytes that came is told only when those are used, as a reader of single bytes would find it.
func (s *stream) more() error {
	if s.err != nil {
		return s.err
	}
	if s.r > 0 {
		s.w = copy(s.buf, s.buf[s.r:s.w])
		s.r = 0
	}
	n, err := s.in.read(s.buf[s.w:])
	s.w += n
	s.total += int64(n)
	switch {
	case s.total > s.limit:
		s.err = fmt.Errorf("%w of %d bytes", ErrExpansion, s.limit)
		return s.err
	case err == io.EOF:
		s.err = errEnds
	case err != nil:
		s.err = brokenData(s.codec, err)
	}
	if n == 0 {
		return s.err
	}
	return nil
}

// atEnd tells whether all is used, nil, or what is wrong.
func (s *stream) atEnd() error {
	for s.r == s.w {
		if err := s.more(); errors.Is(err, errEnds) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return errSurplus
}

// varint reads one.
func (s *stream) varint() (int32, error) {
	for {
		v, n := sizedVarint32(s.buf[s.r:s.w])
		if n > 0 {
			s.r += n
			return v, nil
		}
		if n < 0 {
			return 0, errMalformed
		}
		if err := s.more(); err != nil {
			return 0, err
		}
	}
}

// skip passes over n bytes; none if n is negative.
func (s *stream) skip(n int32) error {
	for left := int(n); left > 0; {
		if s.r == s.w {
			if err := s.more(); err != nil {
				return err
			}
		}
		used := min(left, s.w-s.r)
		s.r += used
		left -= used
	}
	return nil
}

// size reads the size that a record begins with.
func (s *stream) size() (int, error) {
	n, err := s.varint()
	if err == nil && n < 0 {
		err = fmt.Errorf("a record of %d bytes", n)
	}
	return int(n), err
}

// body is the next n bytes in one piece, good until the stream is read again. The window grows to hold them, as they come.
func (s *stream) body(n int) ([]byte, error) {
	for s.w-s.r < n {
		if s.err != nil {
			return nil, s.err
		}
		if s.r == 0 && s.w == len(s.buf) {
			grown := make([]byte, min(2*len(s.buf), n))
			copy(grown, s.buf)
			s.buf = grown
		}
		if err := s.more(); err != nil {
			return nil, err
		}
	}
	p := s.buf[s.r : s.r+n]
	s.r += n
	return p, nil
}

// fits tells whether a body of n bytes fits the window as it is.
func (s *stream) fits(n int) bool { return n <= len(s.buf) || s.codec == None }

// pass reads over a record that does not fit the window, into l what comes before its key and the sizes.
func (s *stream) pass(n int, l *layout) error {
	start := s.total - int64(s.w-s.r) // position in the records
	head := min(n, 1+10+5+5)          // attributes, deltas, key size
	for s.w-s.r < head {
		if err := s.more(); err != nil {
			return err
		}
	}
	u, i := uvarint64(s.buf[s.r:s.w], 1)
	l.timestampDelta = zigzag64(u)
	offset, i := uvarint32(s.buf[s.r:s.w], i)
	l.offsetDelta = zigzag32(offset)
	if i == broken {
		return errMalformed
	}
	s.r += i
	if err := s.passFields(l); err != nil {
		return err
	}
	if used := s.total - int64(s.w-s.r) - start; used != int64(n) {
		return fmt.Errorf("a record of %d bytes says it has %d", used, n)
	}
	return nil
}

// passFields reads over key, value and headers.
func (s *stream) passFields(l *layout) (err error) {
	for _, size := range []*int32{&l.keySize, &l.valueSize} {
		if *size, err = s.varint(); err != nil {
			return err
		}
		if err = s.skip(*size); err != nil {
			return err
		}
	}
	if l.headers, err = s.varint(); err != nil {
		return err
	}
	if l.headers < 0 {
		return errMalformed
	}
	for range l.headers {
		name, err := s.varint()
		if err != nil {
			return err
		}
		if name < 0 {
			return errMalformed
		}
		if err = s.skip(name); err != nil {
			return err
		}
		value, err := s.varint()
		if err != nil {
			return err
		}
		if err = s.skip(value); err != nil {
			return err
		}
	}
	return nil
}

var (
	errMalformed = errors.New("malformed record")
	errSurplus   = errors.New("records go on after their number")
)

// next reads over one record and says where its parts lie. If whole it returns the record's body in one piece, else only where
// that costs no memory.
func (s *stream) next(l *layout, whole bool) ([]byte, error) {
	n, err := s.size()
	if err != nil {
		return nil, err
	}
	if !whole && !s.fits(n) {
		return nil, s.pass(n, l)
	}
	p, err := s.body(n)
	if err != nil {
		return nil, err
	}
	if !l.parse(p) {
		return nil, errMalformed
	}
	return p, nil
}

// recordError gives an error of the stream its kind: what is not the codec's fault is an invalid record.
func recordError(err error) error {
	if errors.Is(err, ErrBrokenData) || errors.Is(err, ErrExpansion) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrInvalidRecord, err)
}
