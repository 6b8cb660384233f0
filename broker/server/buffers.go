package server

import (
	"math/bits"
	"sync"
)

// Size classes of pooled buffers: powers of two. Larger ones are allocated for their frame and left to the collector,
// because they are rare and a pool would hold on to the largest ever seen.
const (
	leastClass = 9  // 512 bytes
	mostClass  = 24 // 16 MiB: a produce request of six batches of a megabyte is no rarity
)

// Sizes of buffers with a fixed use.
const (
	readAhead    = 16 << 10 // what is read from a socket before the frame's own buffer is known
	gatherLimit  = 64 << 10 // answers put together for one write
	gatherPiece  = 16 << 10 // pieces of a payload up to this size are copied into it
	usualMessage = 512
)

// buffer is a slice from the pool of its capacity. Its owner frees it once, or loses it to the collector.
type buffer struct{ b []byte }

var pools [mostClass + 1]sync.Pool

// roomFor is the capacity of a buffer for n bytes.
func roomFor(n int) int {
	if n > 1<<mostClass {
		return n
	}
	return 1 << classOf(n)
}

// classOf is the lowest class whose buffers hold n bytes.
func classOf(n int) int { return max(leastClass, bits.Len(uint(max(n, 1)-1))) }

// newBuffer gives a buffer with length and at least capacity n; its content is whatever it was.
func newBuffer(n int) *buffer {
	if n > 1<<mostClass {
		return &buffer{b: make([]byte, n)}
	}
	class := classOf(n)
	if p, _ := pools[class].Get().(*buffer); p != nil {
		p.b = p.b[:n]
		return p
	}
	return &buffer{b: make([]byte, n, 1<<class)}
}

// free gives the buffer back; neither it nor its bytes may be used after that. A buffer that grew by append goes to the
// class its capacity fills.
func (b *buffer) free() {
	class := bits.Len(uint(cap(b.b))) - 1
	if class < leastClass || class > mostClass {
		return
	}
	pools[class].Put(b)
}
