package record

import (
	"encoding/binary"
	"hash/crc32"
)

// Excerpt appends a batch with b's header and only some of its records: count of them, as they stand in b's payload without
// compression, sizes included. Offsets, times and the offsets that the batch covers stay as in b, as those of a batch that was
// compacted; only what counts the bytes and the records is another. Of b its header is looked at.
func Excerpt(dst []byte, b Batch, records []byte, count int32) []byte {
	at := len(dst)
	dst = append(append(dst, b[:HeaderSize]...), records...)
	out := dst[at:]
	out[attributesAt+1] &^= codecMask
	binary.BigEndian.PutUint32(out[lengthAt:], uint32(len(out)-lengthEnd))
	binary.BigEndian.PutUint32(out[countAt:], uint32(count))
	binary.BigEndian.PutUint32(out[crcAt:], crc32.Checksum(out[attributesAt:], castagnoli))
	return dst
}

// RecordPrefix is as many bytes of a record as Peek may need.
const RecordPrefix = 5 + 1 + 10 + 5

// Peek reads from the beginning of a record, in a payload without compression, its offset relative to the batch's and its size
// in bytes, that of the size included. ok is false when p does not hold enough to tell, or no record.
func Peek(p []byte) (offsetDelta int32, size int, ok bool) {
	u, i := uvarint32(p, 0)
	if i > len(p) || zigzag32(u) < 6 {
		return 0, 0, false
	}
	size = i + int(zigzag32(u))
	i++ // attributes mean nothing
	_, i = uvarint64(p, i)
	u, i = uvarint32(p, i)
	if i > len(p) {
		return 0, 0, false
	}
	return zigzag32(u), size, true
}
