package vfs

import "math/rand/v2"

// tear decides, for one file, which of its unsynced changes reached the disk.
type tear struct {
	rng *rand.Rand
	// meta is how many changes, oldest first, are durable in what they did to the
	// size. A write after them that made the file longer may be so in part.
	meta int
	part int64 // bytes by which that next write has made the file longer
	// whole is the number of changes, oldest first, whose bytes are all there, and
	// sectors how many of the one after them.
	whole, sectors int
	// scatter has each sector stop at a change of its own instead.
	scatter bool
	count   int           // of all changes
	stops   map[int64]int // by sector: how many changes reached it
}

// survivor answers the content a power cut leaves of a file.
func (n *node) survivor(f fate) image {
	im := n.dur.share()
	if f.mode == loseAll || len(n.changes) == 0 {
		return im
	}
	t := n.draw(f)
	gen := newGeneration()
	const none = int64(1) << 62
	barrier := none // sectors from here on wait for a truncation that was lost
	for i, c := range n.changes {
		switch {
		case !c.truncate:
			t.write(&im, i, c, barrier, gen)
		case i < t.meta:
			im.cut(c.size, t.keeps(i, c.size/sectorSize, 0), gen)
		default:
			barrier = min(barrier, c.size)
		}
	}
	im.resize(n.sizeAfter(t), gen)
	return im
}

// draw picks one of the ways in which a power cut hits a file.
func (n *node) draw(f fate) tear {
	count := len(n.changes)
	all := tear{meta: count, whole: count}
	if f.mode == keepAll {
		return all
	}
	switch f.rng.IntN(6) {
	case 0:
		return tear{}
	case 1:
		return all
	case 2, 3: // in order, torn inside one write
		at := f.rng.IntN(count)
		t := tear{meta: at, whole: at}
		if c := n.changes[at]; !c.truncate {
			t.sectors = f.rng.IntN(sectorsOf(c) + 1)
		}
		if c := n.changes[at]; t.sectors > 0 {
			t.part = min(c.size, (c.off/sectorSize+int64(t.sectors))*sectorSize) - n.sizeBefore(at)
		}
		return t
	default: // in any order
		t := tear{rng: f.rng, scatter: true, count: count, stops: map[int64]int{}}
		t.meta = max(f.rng.IntN(count+1), f.rng.IntN(count+1))
		if t.meta < count && !n.changes[t.meta].truncate {
			if longer := n.changes[t.meta].size - n.sizeBefore(t.meta); longer > 0 {
				t.part = f.rng.Int64N(longer + 1)
			}
		}
		return t
	}
}

func sectorsOf(c change) int {
	end := c.off + int64(len(c.data))
	return int((end+sectorSize-1)/sectorSize - c.off/sectorSize)
}

// sizeBefore answers the file's size before change i.
func (n *node) sizeBefore(i int) int64 {
	if i == 0 {
		return n.dur.size
	}
	return n.changes[i-1].size
}

func (n *node) sizeAfter(t tear) int64 { return n.sizeBefore(t.meta) + max(t.part, 0) }

// keeps tells whether change i reached a sector, which is the nth that it
// touches.
func (t *tear) keeps(i int, sector int64, nth int) bool {
	if !t.scatter {
		return i < t.whole || i == t.whole && nth < t.sectors
	}
	stop, drawn := t.stops[sector]
	if !drawn {
		stop = t.count
		switch t.rng.IntN(3) {
		case 0:
			stop = 0
		case 1:
			stop = i + t.rng.IntN(t.count-i+1)
		}
		t.stops[sector] = stop
	}
	return i < stop
}

// write brings the sectors of a write that reached the disk onto im.
func (t *tear) write(im *image, i int, c change, barrier int64, gen uint64) {
	for nth, data, off := 0, c.data, c.off; len(data) > 0; nth++ {
		sector := off / sectorSize
		n := min(int64(len(data)), (sector+1)*sectorSize-off)
		if sector*sectorSize < barrier && t.keeps(i, sector, nth) {
			im.put(data[:n], off, gen)
		}
		data, off = data[n:], off+n
	}
}

// cut drops the sectors that lie wholly past size, and zeroes the rest of the
// one that size lies in if the disk got to it.
func (im *image) cut(size int64, boundary bool, gen uint64) {
	if boundary {
		im.resize(size, gen)
		return
	}
	in := size % sectorSize
	if in != 0 {
		size += sectorSize - in
	}
	im.resize(size, gen)
}
