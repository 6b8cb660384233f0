package segment

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// Extents are what a set of bytes would be, save that they may forget.
func TestExtentsAgainstModel(t *testing.T) {
	const size = 200
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var x extents
		var model [size + 1]bool
		for range 30 {
			from := rng.Int64N(size)
			to := from + rng.Int64N(min(20, size-from)+1)
			if rng.IntN(8) == 0 {
				x = x.cut(from)
				clear(model[from:])
			} else {
				x = x.add(from, to)
				for i := from; i < to; i++ {
					model[i] = true
				}
			}
			for pos := range int64(size) {
				want := pos
				for model[want] {
					want++
				}
				require.Equal(t, want, x.after(pos), "%v at %d", x, pos)
			}
		}
	}
	var x extents
	for i := range int64(10 * maxExtents) {
		x = x.add(2*i, 2*i+1)
	}
	require.Len(t, x, maxExtents)
	require.Equal(t, int64(1), x.after(0))
}

// A checksum is compared once: what was appended, or read before, is not read again to find the end of a span.
func TestChecksumsAreComparedOnce(t *testing.T) {
	faults := vfs.NewFaults(vfs.NewCrash(1))
	c := NewCache(faults, 4)
	s, batches := filled(t, c, 40)
	end := s.Next()
	s = Restore(c, ".", s.Meta(), "")
	span, err := s.Range(1000, end, 1<<20, true)
	require.NoError(t, err)
	require.Equal(t, s.Size(), int64(span.Len))
	faults.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpRead}, Path: "*.log", Corrupt: vfs.FlipBit(s.Size()-1, 1)})
	again, err := s.Range(1000, end, 1<<20, true)
	require.NoError(t, err)
	require.Equal(t, span, again)
	s = Restore(c, ".", s.Meta(), "")
	span, err = s.Range(1000, end, 1<<20, true)
	require.NoError(t, err)
	last := batches[len(batches)-1]
	require.Equal(t, Span{Len: int(s.Size()) - len(last), Next: last.BaseOffset()}, span)
	_, err = s.Range(last.BaseOffset(), end, 1<<20, true)
	require.ErrorIs(t, err, ErrCorrupt)
}
