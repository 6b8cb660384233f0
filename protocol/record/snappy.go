package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/snappy"
)

// Java frames snappy blocks in its own way, which other clients call xerial. Some clients write one bare block instead;
// both are read, as Java does.
//
//	 0  8 bytes  xerialMagic
//	 8  uint32   version, 1
//	12  uint32   lowest version that can read it, 1
//	16  blocks: uint32 size, snappy block
var (
	xerialMagic  = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}
	xerialHeader = append(bytes.Clone(xerialMagic), 0, 0, 0, 1, 0, 0, 0, 1)
)

const (
	xerialBlock = 32 << 10 // bytes in a block that Java writes
	// snappyRatio is above what a snappy block can expand to: its densest element makes 64 bytes of 3.
	snappyRatio = 22
)

var errSnappyFrame = errors.New("malformed snappy framing")

type snappyInflater struct {
	src    []byte // what is left
	framed bool
	block  []byte // what is left of the last block
	buf    []byte
}

func (s *snappyInflater) open(src []byte, _ int64) error {
	if len(src) == 0 {
		return io.ErrUnexpectedEOF
	}
	s.framed = bytes.HasPrefix(src, xerialMagic)
	if s.framed {
		if len(src) < len(xerialHeader) {
			return errSnappyFrame
		}
		src = src[len(xerialHeader):]
	}
	s.src, s.block = src, nil
	return nil
}

func (s *snappyInflater) read(p []byte) (int, error) {
	for len(s.block) == 0 {
		block, err := s.next()
		if err != nil {
			return 0, err
		}
		size, err := snappy.DecodedLen(block)
		if err != nil {
			return 0, err
		}
		if size > snappyRatio*len(block) {
			return 0, fmt.Errorf("a block of %d bytes claims to hold %d", len(block), size)
		}
		if 0 < size && size <= len(p) {
			if _, err = snappy.DecodeStrict(p[:0], block); err != nil {
				return 0, err
			}
			return size, nil
		}
		if s.block, err = snappy.DecodeStrict(s.buf[:0], block); err != nil {
			s.block = nil
			return 0, err
		}
		s.buf = s.block
	}
	n := copy(p, s.block)
	s.block = s.block[n:]
	return n, nil
}

// next takes the next compressed block from src.
func (s *snappyInflater) next() ([]byte, error) {
	block := s.src
	if !s.framed {
		s.src = nil
		if len(block) == 0 {
			return nil, io.EOF
		}
		return block, nil
	}
	// Java takes fewer bytes than a size for the end, and lets streams be put one after another.
	for {
		if len(s.src) < 4 {
			return nil, io.EOF
		}
		if !bytes.HasPrefix(s.src, xerialMagic) {
			break
		}
		if len(s.src) < len(xerialHeader) {
			return nil, errSnappyFrame
		}
		s.src = s.src[len(xerialHeader):]
	}
	size := binary.BigEndian.Uint32(s.src)
	if int64(size) > int64(len(s.src)-4) {
		return nil, io.ErrUnexpectedEOF
	}
	block, s.src = s.src[4:4+size], s.src[4+size:]
	return block, nil
}

func (s *snappyInflater) close() {
	if cap(s.buf) > keptBlock {
		s.buf = nil
	}
	s.src, s.block = nil, nil
}

func appendSnappy(dst, src []byte) []byte {
	dst = append(dst, xerialHeader...)
	for len(src) > 0 {
		block := src[:min(len(src), xerialBlock)]
		src = src[len(block):]
		at := len(dst)
		dst = append(dst, make([]byte, 4+s2.MaxEncodedLen(len(block)))...)
		n := len(s2.EncodeSnappyBetter(dst[at+4:], block))
		binary.BigEndian.PutUint32(dst[at:], uint32(n))
		dst = dst[:at+4+n]
	}
	return dst
}
