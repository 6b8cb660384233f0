package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

const (
	blockBytes       = 4096 // frames begin at multiples of this
	frameHeaderBytes = 40
	entryHeaderBytes = 56
	formatVersion    = 1

	fileMagic  = "tidemark-journal"
	frameMagic = "TMJF"
)

// Kind says what an entry is.
type Kind uint8

const (
	KindData Kind = 1 // batches of a log
	KindNote Kind = 2 // an own sync moved the flushed end
	KindVoid Kind = 3 // entries of this log so far no longer count
)

// Key names one log: a topic made again under its old name has another id.
type Key struct {
	Topic     uuid.ID
	Partition int32
}

func (k Key) String() string { return fmt.Sprintf("%s-%d", k.Topic, k.Partition) }

// Entry is one entry of the journal. Batches are as the segment holds them.
type Entry struct {
	Kind    Kind
	Key     Key
	Base    int64 // first offset of Batches
	End     int64 // offset after the last
	Flushed int64 // the log's flushed end when the entry was made
	Epoch   int32
	Batches []byte
}

var (
	errMalformed = errors.New("journal: malformed")
	castagnoli   = crc32.MakeTable(crc32.Castagnoli)
)

// appendEntry encodes e behind dst.
func appendEntry(dst []byte, e *Entry) []byte {
	var h [entryHeaderBytes]byte
	h[0] = byte(e.Kind)
	binary.BigEndian.PutUint32(h[4:], uint32(e.Key.Partition))
	copy(h[8:24], e.Key.Topic[:])
	binary.BigEndian.PutUint64(h[24:], uint64(e.Base))
	binary.BigEndian.PutUint64(h[32:], uint64(e.End))
	binary.BigEndian.PutUint64(h[40:], uint64(e.Flushed))
	binary.BigEndian.PutUint32(h[48:], uint32(e.Epoch))
	binary.BigEndian.PutUint32(h[52:], uint32(len(e.Batches)))
	return append(append(dst, h[:]...), e.Batches...)
}

// decodeEntry reads the first entry of buf into e and answers what follows it. e.Batches aliases buf.
func decodeEntry(buf []byte, e *Entry) ([]byte, error) {
	if len(buf) < entryHeaderBytes {
		return nil, fmt.Errorf("%w: entry header cut after %d bytes", errMalformed, len(buf))
	}
	n := uint64(binary.BigEndian.Uint32(buf[52:]))
	if n > uint64(len(buf)-entryHeaderBytes) {
		return nil, fmt.Errorf("%w: entry of %d bytes where %d are left", errMalformed, n, len(buf)-entryHeaderBytes)
	}
	e.Kind = Kind(buf[0])
	e.Key.Partition = int32(binary.BigEndian.Uint32(buf[4:]))
	copy(e.Key.Topic[:], buf[8:24])
	e.Base = int64(binary.BigEndian.Uint64(buf[24:]))
	e.End = int64(binary.BigEndian.Uint64(buf[32:]))
	e.Flushed = int64(binary.BigEndian.Uint64(buf[40:]))
	e.Epoch = int32(binary.BigEndian.Uint32(buf[48:]))
	e.Batches = buf[entryHeaderBytes : entryHeaderBytes+n : entryHeaderBytes+n]
	switch {
	case e.Kind < KindData || e.Kind > KindVoid:
		return nil, fmt.Errorf("%w: entry of kind %d", errMalformed, buf[0])
	case e.Base < 0 || e.End < e.Base || e.Flushed < 0 || e.Key.Partition < 0:
		return nil, fmt.Errorf("%w: entry with offsets %d..%d, flushed %d, partition %d", errMalformed, e.Base, e.End, e.Flushed, e.Key.Partition)
	case e.Kind != KindData && n != 0:
		return nil, fmt.Errorf("%w: entry of kind %d with %d bytes", errMalformed, e.Kind, n)
	}
	return buf[entryHeaderBytes+n:], nil
}

// frameHeader is the head of one round in a file.
type frameHeader struct {
	crc     uint32
	salt    uint64
	seq     uint64
	oldest  uint64
	length  uint32
	entries uint32
}

// sealFrame fills in the header that frame begins with; what follows it are the entries.
func sealFrame(frame []byte, h frameHeader) {
	copy(frame, frameMagic)
	binary.BigEndian.PutUint64(frame[8:], h.salt)
	binary.BigEndian.PutUint64(frame[16:], h.seq)
	binary.BigEndian.PutUint64(frame[24:], h.oldest)
	binary.BigEndian.PutUint32(frame[32:], uint32(len(frame)-frameHeaderBytes))
	binary.BigEndian.PutUint32(frame[36:], h.entries)
	binary.BigEndian.PutUint32(frame[4:], crc32.Checksum(frame[8:], castagnoli))
}

// parseFrameHeader reads a header; false when buf does not begin like a frame of a file with this salt.
func parseFrameHeader(buf []byte, salt uint64) (frameHeader, bool) {
	if len(buf) < frameHeaderBytes || string(buf[:4]) != frameMagic || binary.BigEndian.Uint64(buf[8:]) != salt {
		return frameHeader{}, false
	}
	h := frameHeader{
		crc:     binary.BigEndian.Uint32(buf[4:]),
		salt:    salt,
		seq:     binary.BigEndian.Uint64(buf[16:]),
		oldest:  binary.BigEndian.Uint64(buf[24:]),
		length:  binary.BigEndian.Uint32(buf[32:]),
		entries: binary.BigEndian.Uint32(buf[36:]),
	}
	return h, h.oldest <= h.seq
}

// blocks is n rounded up to whole blocks.
func blocks(n int64) int64 { return (n + blockBytes - 1) / blockBytes * blockBytes }

// fileHeader is the first block of a file.
func fileHeader(salt uint64) []byte {
	b := make([]byte, blockBytes)
	copy(b, fileMagic)
	binary.BigEndian.PutUint32(b[16:], formatVersion)
	binary.BigEndian.PutUint64(b[24:], salt)
	binary.BigEndian.PutUint32(b[20:], crc32.Checksum(b[24:32], castagnoli))
	return b
}

// parseFileHeader answers the file's salt. ok is false for a block that is no header (a file whose making was cut short).
func parseFileHeader(b []byte) (salt uint64, ok bool, err error) {
	if len(b) < 32 || string(b[:16]) != fileMagic || crc32.Checksum(b[24:32], castagnoli) != binary.BigEndian.Uint32(b[20:]) {
		return 0, false, nil
	}
	if v := binary.BigEndian.Uint32(b[16:]); v != formatVersion {
		return 0, false, fmt.Errorf("%w: version %d where this build knows %d", ErrVersion, v, formatVersion)
	}
	return binary.BigEndian.Uint64(b[24:]), true, nil
}
