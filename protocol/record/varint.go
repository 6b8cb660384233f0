package record

import "math/bits"

// Varints are read the way Kafka reads them: up to 5 bytes (10 for 64 bits), bits beyond the value's width dropped, overlong
// forms accepted.

// broken is the position after a varint that is not one. It lies behind every buffer, so that reading on there fails as well
// and a whole record is checked for it once, at its end.
const broken = 1 << 62

func zigzag32(u uint32) int32 { return int32(u>>1) ^ -int32(u&1) }

func zigzag64(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

// uvarint32 reads a varint at p[i] and returns it with the position after it, or broken.
func uvarint32(p []byte, i int) (uint32, int) {
	if i < len(p) && p[i] < 0x80 {
		return uint32(p[i]), i + 1
	}
	return longUvarint32(p, i)
}

func longUvarint32(p []byte, i int) (u uint32, next int) {
	for shift := 0; shift <= 28 && i < len(p); shift += 7 {
		c := p[i]
		i++
		u |= uint32(c&0x7f) << shift
		if c < 0x80 {
			return u, i
		}
	}
	return 0, broken
}

// uvarint64 is uvarint32 for 64 bits.
func uvarint64(p []byte, i int) (u uint64, next int) {
	for shift := 0; shift <= 63 && i < len(p); shift += 7 {
		c := p[i]
		i++
		u |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return u, i
		}
	}
	return 0, broken
}

// sizedVarint32 is a varint at the start of p and its size: 0 if p ends before it does, -1 if it is none.
func sizedVarint32(p []byte) (v int32, size int) {
	u, next := uvarint32(p, 0)
	switch {
	case next != broken:
		return zigzag32(u), next
	case len(p) < 5:
		return 0, 0
	}
	return 0, -1
}

func appendVarint(dst []byte, v int64) []byte {
	u := uint64(v<<1) ^ uint64(v>>63)
	for u >= 0x80 {
		dst = append(dst, byte(u)|0x80)
		u >>= 7
	}
	return append(dst, byte(u))
}

func varintSize(v int64) int {
	u := uint64(v<<1) ^ uint64(v>>63)
	return (bits.Len64(u|1) + 6) / 7
}
