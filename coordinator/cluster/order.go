package cluster

import (
	"iter"
	"slices"
	"sort"
)

// nameChunk is how many names a chunk of an order holds at most.
const nameChunk = 512

// order is a persistent sorted list of distinct names: chunks of at most nameChunk names. A changed copy has a new list of chunks and one or
// two new chunks (of 100,000 names: 13 KiB), and shares the rest.
type order struct {
	chunks [][]string // none empty, each sorted, all of one before all of the next
}

// newOrder takes sorted distinct names.
func newOrder(sorted []string) order {
	var o order
	for chunk := range slices.Chunk(sorted, nameChunk/2) { // half full, so that the first additions do not split
		o.chunks = append(o.chunks, slices.Clone(chunk))
	}
	return o
}

// chunkOf is the index of the chunk in which name is or would be.
func (o order) chunkOf(name string) int {
	i := sort.Search(len(o.chunks), func(i int) bool { return o.chunks[i][0] > name })
	return max(i-1, 0)
}

func (o order) with(name string) order {
	if len(o.chunks) == 0 {
		return order{chunks: [][]string{{name}}}
	}
	c := o.chunkOf(name)
	chunk := o.chunks[c]
	i, found := slices.BinarySearch(chunk, name)
	if found {
		return o
	}
	grown := make([]string, 0, len(chunk)+1)
	grown = append(append(append(grown, chunk[:i]...), name), chunk[i:]...)
	if len(grown) <= nameChunk {
		return o.replace(c, grown)
	}
	half := len(grown) / 2
	return o.replace(c, slices.Clone(grown[:half]), slices.Clone(grown[half:]))
}

func (o order) without(name string) order {
	if len(o.chunks) == 0 {
		return o
	}
	c := o.chunkOf(name)
	chunk := o.chunks[c]
	i, found := slices.BinarySearch(chunk, name)
	switch {
	case !found:
		return o
	case len(chunk) == 1:
		return o.replace(c)
	}
	shrunk := make([]string, 0, len(chunk)-1)
	return o.replace(c, append(append(shrunk, chunk[:i]...), chunk[i+1:]...))
}

// replace gives a copy in which chunk c is replaced.
func (o order) replace(c int, with ...[]string) order {
	chunks := make([][]string, 0, len(o.chunks)-1+len(with))
	chunks = append(chunks, o.chunks[:c]...)
	chunks = append(chunks, with...)
	return order{chunks: append(chunks, o.chunks[c+1:]...)}
}

// from yields the names that are not less than start, in order.
func (o order) from(start string) iter.Seq[string] {
	return func(yield func(string) bool) {
		if len(o.chunks) == 0 {
			return
		}
		c := o.chunkOf(start)
		i, _ := slices.BinarySearch(o.chunks[c], start)
		for ; c < len(o.chunks); c, i = c+1, 0 {
			for _, name := range o.chunks[c][i:] {
				if !yield(name) {
					return
				}
			}
		}
	}
}
