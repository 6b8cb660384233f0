package wire

import (
	"encoding/binary"
	"math"
	"unicode/utf8"
)

// Bounds that Kafka 4.4 sets on what a request may claim.
const (
	maxElements = 1_000_000 // of an array
	maxTags     = 10_000    // of one section
	maxText     = math.MaxInt16
)

// Check walks the body of a request and refuses what Kafka's own parser would refuse, or what would cost more than its bytes
// are worth. It reads each byte at most once and allocates nothing unless it refuses.
//
// decoded estimates the bytes that Decode will allocate, for the budget of requests in flight. Errors: ErrUnknownKey,
// ErrUnknownVersion (also for versions that are advertised but not served), *MalformedError. Bytes after the request are let pass,
// as Kafka does.
func Check(key, version int16, body []byte) (decoded int64, err error) {
	p, err := lookupProgram(key, version)
	if err != nil {
		return 0, err
	}
	w := walk{buf: body}
	if err := w.run(p, key, version); err != nil {
		return 0, err
	}
	return w.heap, nil
}

// walk is the state of one walk. heap counts what kmsg will allocate.
type walk struct {
	buf     []byte
	off     int
	heap    int64
	badText bool // some string is not UTF-8
	at      *op  // where it failed, and why
	reason  string
}

func (w *walk) run(p *program, key, version int16) error {
	w.heap = allocated(p.heap)
	if !w.block(p.body) {
		return &MalformedError{Key: key, Version: version, Offset: w.off, Reason: w.at.field + ": " + w.reason}
	}
	if p.keeps {
		w.heap += allocated(int64(len(w.buf)))
	}
	return nil
}

func (w *walk) fail(o *op, reason string) bool {
	w.at, w.reason = o, reason
	return false
}

const (
	cutShort = "the request ends here"
	tooLong  = "longer than the rest of the request"
	isNull   = "null is not allowed"
)

func (w *walk) left() int { return len(w.buf) - w.off }

func (w *walk) block(b *block) bool {
	for i := range b.ops {
		o := &b.ops[i]
		if w.left() < o.min {
			return w.fail(o, cutShort)
		}
		ok := true
		switch o.code {
		case opFixed:
			w.off += o.min
		case opString:
			ok = w.text(o)
		case opBytes:
			ok = w.bytes(o)
		case opList:
			ok = w.list(o)
		case opGroup:
			ok = w.group(o)
		case opTags:
			if w.buf[w.off] == 0 { // none, as nearly always
				w.off++
			} else {
				ok = w.tags(o)
			}
		}
		if !ok {
			return false
		}
	}
	return true
}

// uvarint reads a varint of at most five bytes and 32 bits.
func (w *walk) uvarint(o *op) (uint32, bool) {
	if w.off < len(w.buf) && w.buf[w.off] < 0x80 {
		w.off++
		return uint32(w.buf[w.off-1]), true
	}
	v, n := binary.Uvarint(w.buf[w.off:min(w.off+binary.MaxVarintLen32, len(w.buf))])
	if n <= 0 || v > math.MaxUint32 {
		return 0, w.fail(o, "no varint of 32 bits")
	}
	w.off += n
	return uint32(v), true
}

// size reads a varint that counts something.
func (w *walk) size(o *op) (int, bool) {
	v, ok := w.uvarint(o)
	if ok && v > math.MaxInt32 {
		return 0, w.fail(o, tooLong)
	}
	return int(v), ok
}

// length reads the length of an array or of bytes; -1 is null, which it refuses where that is not allowed.
func (w *walk) length(o *op) (n int, ok bool) {
	if o.compact {
		n, ok = w.size(o)
		n--
	} else {
		n, ok = int(int32(binary.BigEndian.Uint32(w.buf[w.off:]))), true
		w.off += 4
	}
	return w.allowed(o, n, ok)
}

func (w *walk) allowed(o *op, n int, ok bool) (int, bool) {
	switch {
	case !ok:
		return 0, false
	case n >= 0:
		return n, true
	case !o.nullable:
		return 0, w.fail(o, isNull)
	}
	return -1, true // Kafka takes any negative length for null
}

func (w *walk) text(o *op) (ok bool) {
	var n int
	if o.compact {
		n, ok = w.size(o)
		n--
	} else {
		n, ok = int(int16(binary.BigEndian.Uint16(w.buf[w.off:]))), true
		w.off += 2
	}
	if n, ok = w.allowed(o, n, ok); !ok || n < 0 {
		return ok
	}
	if n > w.left() {
		return w.fail(o, tooLong)
	}
	if n > maxText {
		return w.fail(o, "a string above 32767 bytes")
	}
	if !utf8.Valid(w.buf[w.off : w.off+n]) {
		w.badText = true
		w.heap += int64(n) * repairCost
	}
	w.off += n
	w.heap += int64(n) + o.heap
	if n > 0 {
		w.heap += 8 // rounding
	}
	return true
}

func (w *walk) bytes(o *op) bool {
	n, ok := w.length(o)
	if !ok || n < 0 {
		return ok
	}
	if n > w.left() {
		return w.fail(o, tooLong)
	}
	w.off += n
	return true
}

func (w *walk) list(o *op) bool {
	n, ok := w.length(o)
	if !ok || n <= 0 {
		return ok
	}
	if n > maxElements {
		return w.fail(o, "more than 1,000,000 elements")
	}
	if n*o.inner.min > w.left() {
		return w.fail(o, "more elements than bytes for them")
	}
	w.heap += allocated(int64(n) * o.heap)
	if o.inner.fixed {
		w.off += n * o.inner.min
		return true
	}
	for range n {
		if !w.block(o.inner) {
			return false
		}
	}
	return true
}

// group reads a structure that may be null. Kafka takes any negative byte for null, kmsg only -1.
func (w *walk) group(o *op) bool {
	present := int8(w.buf[w.off])
	w.off++
	switch {
	case present == -1:
		return true
	case present < 0:
		return w.fail(o, "neither null nor a structure")
	}
	w.heap += allocated(o.heap)
	return w.block(o.inner)
}

// tags reads a section of tagged fields. Kafka allows them in any order, and repeated.
func (w *walk) tags(o *op) bool {
	n, ok := w.size(o)
	if !ok {
		return false
	}
	if n > maxTags {
		return w.fail(o, "more than 10,000 tags")
	}
	if n > w.left()/2 {
		return w.fail(o, "more tags than bytes for them")
	}
	unknown := 0
	for range n {
		known, ok := w.tag(o)
		if !ok {
			return false
		}
		if !known {
			unknown++
		}
	}
	w.heap += tagsAllocated(unknown)
	return true
}

func (w *walk) tag(o *op) (known, ok bool) {
	key, ok := w.uvarint(o)
	if !ok {
		return false, false
	}
	size, ok := w.size(o)
	if !ok {
		return false, false
	}
	if size > w.left() {
		return false, w.fail(o, tooLong)
	}
	for i := range o.tags {
		if o.tags[i].key == key {
			return true, w.content(o, o.tags[i].content, size)
		}
	}
	w.off += size
	return false, true
}

// content reads a tag that the API knows. Kafka ignores its declared size and reads on, kmsg trusts the size: they agree where
// both are the same.
func (w *walk) content(o *op, content *block, size int) bool {
	if content == nil {
		return w.fail(o, "a tag of a later version")
	}
	whole, end := w.buf, w.off+size
	w.buf = w.buf[:end]
	if !w.block(content) {
		return false
	}
	w.buf = whole
	if w.off != end {
		return w.fail(o, "a tag of another size than its content")
	}
	return true
}

// allocated is what the allocator takes for n bytes: size classes waste up to an eighth.
func allocated(n int64) int64 { return n + n/8 + 8 }

// tagsAllocated is what kmsg's map of n unknown tags takes: one group of eight at first, then tables that double.
func tagsAllocated(n int) int64 {
	switch {
	case n == 0:
		return 0
	case n <= 8:
		return 352
	}
	return 352 + int64(n)*192
}
