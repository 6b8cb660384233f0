package group

import "unicode/utf16"

// PartitionFor is the partition of __consumer_offsets, out of so many, whose coordinator a
// group has: Kafka's abs(hashCode) % partitions.
func PartitionFor(group string, partitions int32) int32 {
	h := javaHash(group)
	switch {
	case h == -1<<31:
		h = 0 // Kafka's abs of the one number that has no positive counterpart
	case h < 0:
		h = -h
	}
	return h % partitions
}

// javaHash is String.hashCode: over UTF-16 code units, wrapping at 32 bits.
func javaHash(s string) int32 {
	var h int32
	for _, r := range s {
		if r1, r2 := utf16.EncodeRune(r); r > 0xffff {
			h = 31*(31*h+r1) + r2
		} else {
			h = 31*h + r
		}
	}
	return h
}

// javaLen is String.length: the number of UTF-16 code units.
func javaLen(s string) int {
	n := 0
	for _, r := range s {
		if n++; r > 0xffff {
			n++
		}
	}
	return n
}

// hashOrder is where a string of a small java.util.HashMap comes when it is iterated: the
// bucket, of at least 16, twice as many whenever three quarters are exceeded.
func hashOrder(s string, entries int) int32 {
	buckets := int32(16)
	for int32(entries) > buckets/4*3 {
		buckets *= 2
	}
	h := javaHash(s)
	return (h ^ int32(uint32(h)>>16)) & (buckets - 1)
}
