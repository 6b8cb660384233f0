package share

import (
	"encoding/binary"
	"math"
	"unicode/utf16"
)

// The types of records, with which their keys begin, in the topic __share_group_state.
const (
	typeSnapshot = 0
	typeUpdate   = 1
)

// PartitionFor is the partition of __share_group_state, out of so many, whose coordinator keeps a share partition: Kafka's
// abs(hashCode) % partitions of the key as a string.
func PartitionFor(k Key, partitions int32) int32 {
	h := javaHash(k.String())
	switch {
	case h == math.MinInt32:
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

// appendKey encodes a share partition as both types of record keys, and our rows, have it after what they begin with.
func appendKey(b []byte, k Key) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(k.Group)))
	b = append(b, k.Group...)
	b = append(b, k.Topic[:]...)
	return binary.BigEndian.AppendUint32(b, uint32(k.Partition))
}

func recordKey(typ uint16, k Key) []byte {
	b := make([]byte, 0, 2+2+len(k.Group)+16+4)
	return appendKey(binary.BigEndian.AppendUint16(b, typ), k)
}

// decodeKey takes apart the key of a record. ok is false for one of another type, or of none.
func decodeKey(b []byte) (typ uint16, k Key, ok bool) {
	r := reader{b: b}
	typ = r.uint16()
	k = r.key()
	return typ, k, !r.short && len(r.b) == 0 && typ <= typeUpdate
}

// fits tells whether a group's name can be part of a record's key.
func fits(group string) bool { return len(group) <= math.MaxInt16 }
