package queue

import (
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"math"
)

// handle is what a handle says: which delivery of which message, to whom. Its layout is in the package's comment.
type handle struct {
	deadLetter bool
	queue      [16]byte
	group      [16]byte
	holder     holder
	partition  int32
	offset     int64
	delivery   int32
}

const (
	handleVersion = 1
	handleNumbers = 3 + 3*16 // where the varints begin
	macSize       = 16
	leastHandle   = handleNumbers + 3 + macSize
	mostHandle    = handleNumbers + binary.MaxVarintLen32 + binary.MaxVarintLen64 + binary.MaxVarintLen32 + macSize
)

// encoding is strict, so that no two texts are the same handle.
var encoding = base64.RawURLEncoding.Strict()

// text makes the handle's text, signed with that key.
func (h *handle) text(project string, key *macKey) string {
	var b [mostHandle]byte
	b[0], b[1] = handleVersion, key.generation
	if h.deadLetter {
		b[2] = 1
	}
	copy(b[3:], h.queue[:])
	copy(b[19:], h.group[:])
	copy(b[35:], h.holder[:])
	p := binary.AppendUvarint(b[:handleNumbers], uint64(uint32(h.partition)))
	p = binary.AppendUvarint(p, uint64(h.offset))
	p = binary.AppendUvarint(p, uint64(uint32(h.delivery)))
	p = key.appendMAC(p, project, p)
	var out [(mostHandle*8 + 5) / 6]byte
	return string(encoding.AppendEncode(out[:0], p))
}

// parseHandle reads a handle and proves that this service made it for that project. key finds the key of a generation, nil if there is none.
func parseHandle(text, project string, key func(generation byte) *macKey) (h handle, ok bool) {
	var raw [mostHandle]byte
	if n := encoding.DecodedLen(len(text)); n < leastHandle || n > mostHandle {
		return h, false
	}
	b, err := encoding.AppendDecode(raw[:0], []byte(text))
	if err != nil || len(b) < leastHandle || b[0] != handleVersion || b[2] > 1 {
		return h, false
	}
	k := key(b[1])
	if k == nil {
		return h, false
	}
	said, mac := b[:len(b)-macSize], b[len(b)-macSize:]
	var want [macSize]byte
	if subtle.ConstantTimeCompare(k.appendMAC(want[:0], project, said), mac) != 1 {
		return h, false
	}
	h.deadLetter = b[2] == 1
	copy(h.queue[:], b[3:])
	copy(h.group[:], b[19:])
	copy(h.holder[:], b[35:])
	return h, h.numbers(said[handleNumbers:])
}

// numbers reads the varints.
func (h *handle) numbers(b []byte) bool {
	var n [3]uint64
	for i := range n {
		v, size := binary.Uvarint(b)
		if size <= 0 {
			return false
		}
		n[i], b = v, b[size:]
	}
	h.partition, h.offset, h.delivery = int32(n[0]), int64(n[1]), int32(n[2])
	return len(b) == 0 && n[0] <= math.MaxInt32 && n[1] <= math.MaxInt64 && n[2] <= math.MaxInt32
}
