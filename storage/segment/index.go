package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sort"
	"sync"

	"github.com/tidemark-mq/tidemark/storage/vfs"
)

const (
	offsetEntrySize = 8
	timeEntrySize   = 12

	// spillBytes of entries are kept in memory before they are written out, so that a large active segment does not hold
	// megabytes of index.
	spillBytes = 64 << 10
	// blockEntries is how far a search narrows entry by entry before it reads the rest at once.
	blockEntries = 256
)

// index is a file of entries of one size: those on disk, and after them those still in memory.
type index struct {
	file  *File
	width int
	disk  int    // entries on disk
	tail  []byte // encoded entries; never changed once appended, so that readers may look at them without a lock
}

// view is an index at a moment.
type view index

func (x *index) len() int { return x.disk + len(x.tail)/x.width }

func (v *view) len() int { return v.disk + len(v.tail)/v.width }

// flush writes the entries in memory behind those on disk and answers what the index is then. It changes nothing in x, which
// readers may be using: the caller stores the answer under its lock.
func (x *index) flush(c *Cache) (index, error) {
	done := *x
	if x.disk == 0 { // nothing of what may lie there counts
		x.file.Forget()
		file, err := c.create(x.file.Path())
		if err != nil {
			return *x, err
		}
		done.file = file
		defer file.Release()
		if len(x.tail) > 0 {
			if _, err := file.file.WriteAt(x.tail, 0); err != nil {
				return *x, fmt.Errorf("segment: write %s: %w", file.Path(), err)
			}
		}
	} else {
		f, err := x.file.Acquire()
		if err != nil {
			return *x, err
		}
		defer x.file.Release()
		if _, err := f.WriteAt(x.tail, int64(x.disk)*int64(x.width)); err != nil {
			return *x, fmt.Errorf("segment: write %s: %w", x.file.Path(), err)
		}
	}
	done.disk, done.tail = x.len(), nil
	return done, nil
}

// cut is the index with its first n entries only. Those on disk are removed there by truncate.
func (x *index) cut(n int) index {
	done := *x
	if n <= x.disk {
		done.disk, done.tail = n, nil
		return done
	}
	// A copy, because readers may look at what follows it in the old one.
	done.tail = append([]byte(nil), x.tail[:(n-x.disk)*x.width]...)
	return done
}

// truncate makes the file as long as its entries on disk.
func (x *index) truncate(c *Cache) error {
	path := x.file.Path()
	info, err := c.fs.Stat(path)
	if errors.Is(err, fs.ErrNotExist) && x.disk == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("segment: %w", err)
	}
	if want := int64(x.disk) * int64(x.width); info.Size() > want {
		if err := c.fs.Truncate(path, want); err != nil {
			return fmt.Errorf("segment: truncate %s: %w", path, err)
		}
	}
	return nil
}

var blocks = sync.Pool{New: func() any { return new([blockEntries * timeEntrySize]byte) }}

// search counts the entries for which after is false, entries being in order so that after is false for the first ones and true
// for the rest. The last of those counted is copied to buf; nil when there is none.
func (v *view) search(buf *[timeEntrySize]byte, after func(entry []byte) bool) (count int, last []byte, err error) {
	if n := len(v.tail) / v.width; n > 0 && !after(v.tail[:v.width]) {
		i := sort.Search(n, func(i int) bool { return after(v.tail[i*v.width : (i+1)*v.width]) })
		return v.disk + i, buf[:copy(buf[:], v.tail[(i-1)*v.width:i*v.width])], nil
	}
	if v.disk == 0 {
		return 0, nil, nil
	}
	f, err := v.file.Acquire()
	if err != nil {
		return 0, nil, err
	}
	defer v.file.Release()
	block := blocks.Get().(*[blockEntries * timeEntrySize]byte)
	defer blocks.Put(block)

	// The count lies in [lo, hi].
	lo, hi := 0, v.disk
	for hi-lo >= blockEntries {
		mid := lo + (hi-lo)/2
		if err := v.readAt(f, block[:v.width], mid); err != nil {
			return 0, nil, err
		}
		if after(block[:v.width]) {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	first := max(lo-1, 0)
	part := block[:(hi-first)*v.width]
	if err := v.readAt(f, part, first); err != nil {
		return 0, nil, err
	}
	i := sort.Search(hi-first, func(i int) bool { return after(part[i*v.width : (i+1)*v.width]) })
	if i == 0 {
		return 0, nil, nil
	}
	return first + i, buf[:copy(buf[:], part[(i-1)*v.width:i*v.width])], nil
}

// floor is the last entry for which after is false, see search; nil when there is none.
func (v *view) floor(buf *[timeEntrySize]byte, after func(entry []byte) bool) ([]byte, error) {
	_, e, err := v.search(buf, after)
	return e, err
}

// last is the last entry, nil when there is none.
func (v *view) last(buf *[timeEntrySize]byte) ([]byte, error) {
	return v.floor(buf, func([]byte) bool { return false })
}

func (v *view) readAt(f vfs.File, p []byte, entry int) error {
	n, err := f.ReadAt(p, int64(entry)*int64(v.width))
	switch {
	case n == len(p):
		return nil
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%w: %s is shorter than %d entries", ErrIndex, v.file.Path(), v.disk)
	}
	return fmt.Errorf("segment: read %s: %w", v.file.Path(), err)
}

func putOffsetEntry(dst []byte, relative, position int32) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(relative))
	return binary.BigEndian.AppendUint32(dst, uint32(position))
}

func putTimeEntry(dst []byte, ms int64, relative int32) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(ms))
	return binary.BigEndian.AppendUint32(dst, uint32(relative))
}

// Fields of an offset entry.
func entryOffset(e []byte) int64   { return int64(int32(binary.BigEndian.Uint32(e))) }
func entryPosition(e []byte) int64 { return int64(int32(binary.BigEndian.Uint32(e[4:]))) }

// Fields of a time entry.
func entryTime(e []byte) int64       { return int64(binary.BigEndian.Uint64(e)) }
func entryTimeOffset(e []byte) int64 { return int64(int32(binary.BigEndian.Uint32(e[8:]))) }
