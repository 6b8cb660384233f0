package share

import "encoding/binary"

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

func (r *reader) number(n uint64) (v uint64) {
	for _, c := range r.take(n) {
		v = v<<8 | uint64(c)
	}
	return v
}

func (r *reader) uint16() uint16 { return uint16(r.number(2)) }
func (r *reader) int32() int32   { return int32(r.number(4)) }
func (r *reader) int64() int64   { return int64(r.number(8)) }

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.short, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count reads how many elements follow, each of at least least bytes; more than there is room for is an error.
func (r *reader) count(n uint64, least int) int {
	if n > uint64(len(r.b)/least) {
		r.short, r.b = true, nil
		return 0
	}
	return int(n)
}

func (r *reader) text() string { return string(r.take(r.uvarint())) }

func (r *reader) key() (k Key) {
	k.Group = string(r.take(uint64(r.uint16())))
	copy(k.Topic[:], r.take(uint64(len(k.Topic))))
	k.Partition = r.int32()
	return k
}

// tags calls fn for each tagged field.
func (r *reader) tags(fn func(tag uint64, value reader)) {
	for n := r.uvarint(); n > 0 && !r.short; n-- {
		tag := r.uvarint()
		value := r.take(r.uvarint())
		if !r.short {
			fn(tag, reader{b: value})
		}
	}
}
