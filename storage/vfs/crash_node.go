package vfs

import (
	"sync/atomic"
	"syscall"
	"time"
)

const (
	sectorSize = 512 // what a disk writes whole or not at all
	pageSize   = 4096
	// maxFileSize bounds the page table that a write at a wild offset needs.
	maxFileSize = 16 << 30
)

// A page is changed in place only by the image whose generation it carries;
// every other image that has it shares it and copies it first.
type page struct {
	gen uint64
	b   [pageSize]byte
}

var generation atomic.Uint64

func newGeneration() uint64 { return generation.Add(1) }

// image is the content of a file: pages, of which nil ones and missing ones
// read as zeros, and the size. Bytes past the size are zero.
type image struct {
	pages []*page
	size  int64
}

// change is one write or truncation that no sync has covered.
type change struct {
	truncate bool
	off      int64  // of a write
	data     []byte // of a write; never changed once here
	size     int64  // of the file afterwards
}

// node is a file or a directory.
type node struct {
	id      uint64
	dir     bool
	modTime time.Time

	// Of files. cur is what reads see; dur is what is on the disk; changes lead
	// from one to the other, unless forgot says that a failed sync has dropped
	// some, after which only dur tells what the disk has.
	cur, dur image
	changes  []change
	forgot   bool
	gen      uint64 // generation of the pages cur may change in place

	// Of directories.
	entries, durable map[string]*node
}

func (n *node) touch() { n.modTime = time.Now() }

// bytes answers what the named files below n hold. A file with several names
// counts once for each.
func (n *node) bytes() int64 {
	if !n.dir {
		return n.cur.size
	}
	var sum int64
	for _, child := range n.entries {
		sum += child.bytes()
	}
	return sum
}

// readAt copies from the image at off and answers how much.
func (im *image) readAt(p []byte, off int64) int {
	if off >= im.size {
		return 0
	}
	p = p[:min(int64(len(p)), im.size-off)]
	for done := 0; done < len(p); {
		at := off + int64(done)
		in := int(at % pageSize)
		part := p[done:min(len(p), done+pageSize-in)]
		if i := int(at / pageSize); i < len(im.pages) && im.pages[i] != nil {
			copy(part, im.pages[i].b[in:])
		} else {
			clear(part)
		}
		done += len(part)
	}
	return len(p)
}

// writable answers page i of the image, made or copied so that gen may change it.
func (im *image) writable(i int, gen uint64) *page {
	for len(im.pages) <= i {
		im.pages = append(im.pages, nil)
	}
	p := im.pages[i]
	switch {
	case p == nil:
		p = &page{gen: gen}
	case p.gen != gen:
		c := *p
		c.gen = gen
		p = &c
	}
	im.pages[i] = p
	return p
}

// put copies data to off without regard to the size.
func (im *image) put(data []byte, off int64, gen uint64) {
	for len(data) > 0 {
		in := int(off % pageSize)
		n := copy(im.writable(int(off/pageSize), gen).b[in:], data)
		data, off = data[n:], off+int64(n)
	}
}

// resize sets the size and zeroes what lies past it.
func (im *image) resize(size int64, gen uint64) {
	im.size = size
	keep := int((size + pageSize - 1) / pageSize)
	if keep < len(im.pages) {
		clear(im.pages[keep:]) // the pages are not ours to keep alive
		im.pages = im.pages[:keep]
	}
	if in := size % pageSize; in != 0 && keep == len(im.pages) && im.pages[keep-1] != nil {
		clear(im.writable(keep-1, gen).b[in:])
	}
}

// share answers a copy of the image with the same pages. Whoever changes
// either needs a new generation first.
func (im *image) share() image {
	return image{pages: append([]*page(nil), im.pages...), size: im.size}
}

// write is what every write to a file comes down to.
func (n *node) write(p []byte, off int64) error {
	if off < 0 {
		return syscall.EINVAL
	}
	if off+int64(len(p)) > maxFileSize {
		return syscall.EFBIG
	}
	if len(p) == 0 {
		return nil
	}
	data := append([]byte(nil), p...)
	n.cur.put(data, off, n.gen)
	n.cur.size = max(n.cur.size, off+int64(len(data)))
	n.changes = append(n.changes, change{off: off, data: data, size: n.cur.size})
	n.touch()
	return nil
}

func (n *node) truncate(size int64) error {
	switch {
	case n.dir:
		return syscall.EISDIR
	case size > maxFileSize:
		return syscall.EFBIG
	}
	n.cur.resize(size, n.gen)
	n.changes = append(n.changes, change{truncate: true, size: size})
	n.touch()
	return nil
}

// apply brings one change onto an image.
func (im *image) apply(c change, gen uint64) {
	if c.truncate {
		im.resize(c.size, gen)
		return
	}
	im.put(c.data, c.off, gen)
	im.size = max(im.size, c.off+int64(len(c.data)))
}

// sync makes the content of a file durable.
func (n *node) sync() {
	if n.forgot {
		// The disk lacks what an earlier failed sync dropped: only what was written
		// since then reaches it.
		gen := newGeneration()
		for _, c := range n.changes {
			n.dur.apply(c, gen)
		}
	} else if len(n.changes) > 0 {
		n.dur.follow(&n.cur, n.changes)
		n.gen = newGeneration()
	}
	n.changes = nil
}

// follow makes im share the pages of cur, given the changes that led there.
func (im *image) follow(cur *image, changes []change) {
	for _, c := range changes {
		if c.truncate {
			*im = cur.share()
			return
		}
	}
	for len(im.pages) < len(cur.pages) {
		im.pages = append(im.pages, nil)
	}
	for _, c := range changes {
		last := int((c.off + int64(len(c.data)) - 1) / pageSize)
		for i := int(c.off / pageSize); i <= last; i++ {
			im.pages[i] = cur.pages[i]
		}
	}
	im.size = cur.size
}

// forget is what a failed sync does on Linux: the dirty pages are marked clean,
// the cache goes on showing them, and no later sync will write them.
func (n *node) forget() {
	if len(n.changes) > 0 {
		n.changes, n.forgot = nil, true
	}
}

// reload makes reads see the disk again where pages are clean.
func (n *node) reload() {
	if !n.forgot {
		return
	}
	n.cur = n.dur.share()
	n.gen = newGeneration()
	for _, c := range n.changes {
		n.cur.apply(c, n.gen)
	}
	n.forgot = false
}
