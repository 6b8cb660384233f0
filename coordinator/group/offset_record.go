package group

import (
	"encoding/binary"
	"fmt"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// offsetValue is a committed offset, the value of an OffsetCommit record.
type offsetValue struct {
	offset      int64
	leaderEpoch int32 // -1: not told
	metadata    string
	committed   int64 // when, in milliseconds
	expires     int64 // when, in milliseconds, if the client asked (v2 to v4 of the API); else -1
	topic       uuid.ID
}

// The versions of OffsetCommitValue that Kafka 4.4 writes: 1 is the only one with an expiry
// time, 4 the only one with a topic id.
const (
	valueWithExpiry = 1
	valueLatest     = 4
)

// appendOffsetKey encodes OffsetCommitKey, version 1.
func appendOffsetKey(b []byte, group, topic string, partition int32) []byte {
	b = appendOffsetPrefix(b, group)
	b = appendString(b, topic)
	return binary.BigEndian.AppendUint32(b, uint32(partition))
}

// appendOffsetPrefix is what the keys of a group's offsets begin with.
func appendOffsetPrefix(b []byte, group string) []byte {
	return appendString(binary.BigEndian.AppendUint16(b, typeOffset), group)
}

// offsetKey is a decoded OffsetCommitKey.
type offsetKey struct {
	group, topic string
	partition    int32
}

func decodeOffsetKey(b []byte) (k offsetKey, ok bool) {
	if len(b) < 2 {
		return k, false
	}
	b = b[2:]
	if k.group, b, ok = readString(b); !ok {
		return k, false
	}
	if k.topic, b, ok = readString(b); !ok || len(b) != 4 {
		return k, false
	}
	k.partition = int32(binary.BigEndian.Uint32(b))
	return k, true
}

func (v *offsetValue) append(b []byte) []byte {
	if v.expires >= 0 {
		b = binary.BigEndian.AppendUint16(b, valueWithExpiry)
		b = binary.BigEndian.AppendUint64(b, uint64(v.offset))
		b = appendString(b, v.metadata)
		b = binary.BigEndian.AppendUint64(b, uint64(v.committed))
		return binary.BigEndian.AppendUint64(b, uint64(v.expires))
	}
	b = binary.BigEndian.AppendUint16(b, valueLatest)
	b = binary.BigEndian.AppendUint64(b, uint64(v.offset))
	b = binary.BigEndian.AppendUint32(b, uint32(v.leaderEpoch))
	b = binary.AppendUvarint(b, uint64(len(v.metadata))+1)
	b = append(b, v.metadata...)
	b = binary.BigEndian.AppendUint64(b, uint64(v.committed))
	if v.topic == (uuid.ID{}) {
		return append(b, 0)
	}
	return append(append(b, 1, 0, 16), v.topic[:]...) // one tag: number 0, 16 bytes
}

// decodeOffsetValue reads any version Kafka has written.
func decodeOffsetValue(b []byte) (*offsetValue, error) {
	r := reader{b: b}
	version := int16(r.uint16())
	if version < 0 || version > valueLatest {
		return nil, fmt.Errorf("committed offset of version %d", version)
	}
	v := &offsetValue{offset: int64(r.uint64()), leaderEpoch: -1, expires: -1}
	if version >= 3 {
		v.leaderEpoch = int32(r.uint32())
	}
	if version >= valueLatest {
		v.metadata = r.compactString()
	} else {
		v.metadata = r.string()
	}
	v.committed = int64(r.uint64())
	if version == valueWithExpiry {
		v.expires = int64(r.uint64())
	}
	if version >= valueLatest {
		r.tags(func(tag uint64, value []byte) {
			if tag == 0 && len(value) == len(v.topic) {
				copy(v.topic[:], value)
			}
		})
	}
	if r.short {
		return nil, fmt.Errorf("committed offset of version %d cut short at %d bytes", version, len(b))
	}
	return v, nil
}

func appendString(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

func readString(b []byte) (string, []byte, bool) {
	if len(b) < 2 {
		return "", nil, false
	}
	n := int(int16(binary.BigEndian.Uint16(b)))
	if b = b[2:]; n < 0 || n > len(b) {
		return "", nil, false
	}
	return string(b[:n]), b[n:], true
}

// reader takes fields off a record; past the end it answers zeros and remembers.
type reader struct {
	b     []byte
	short bool
}

func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.short, r.b = true, nil
		return nil
	}
	taken := r.b[:n]
	r.b = r.b[n:]
	return taken
}

func (r *reader) number(n int) (v uint64) {
	for _, c := range r.take(uint64(n)) {
		v = v<<8 | uint64(c)
	}
	return v
}

func (r *reader) uint16() uint16 { return uint16(r.number(2)) }
func (r *reader) uint32() uint32 { return uint32(r.number(4)) }
func (r *reader) uint64() uint64 { return r.number(8) }

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.short, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) string() string {
	n := int16(r.uint16())
	return string(r.take(uint64(max(n, 0))))
}

func (r *reader) compactString() string {
	n := r.uvarint()
	return string(r.take(max(n, 1) - 1))
}

func (r *reader) tags(fn func(tag uint64, value []byte)) {
	for n := r.uvarint(); n > 0 && !r.short; n-- {
		tag := r.uvarint()
		fn(tag, r.take(r.uvarint()))
	}
}
