package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// maxRelative is the largest distance of an offset from its segment's base that an index can hold.
const maxRelative = math.MaxInt32

// MaxSize is the largest log file: positions are 32 bits wide in the index.
const MaxSize = math.MaxInt32

// Segment is one log file with its indexes. One goroutine at a time may call the methods that change it (they say so); the
// others may be called by any number beside it.
type Segment struct {
	base  int64
	cache *Cache
	dir   string
	file  *File

	// loading is held while indexes that turned out not to fit are rebuilt, and by what changes the segment; taken before mu.
	loading    sync.Mutex
	reindexed  bool        // guarded by loading
	reindexErr error       // likewise
	unchecked  atomic.Bool // the index files were not compared with the log since they were opened

	mu      sync.RWMutex
	meta    Meta
	suffix  string
	offsets index
	times   index
	recent  *recent // the last batches appended; nil before the first

	complained atomic.Pointer[time.Time] // when Complain last said yes

	verified extents // of the log file: their checksums were compared in this life
}

// Meta is what there is to know of a segment without reading it.
type Meta struct {
	Base    int64 // offset in the file's name
	Next    int64 // offset after the last record; Base when empty
	Size    int64 // bytes of the log file
	Created int64 // ms; of the segment, or of the process that found it

	FirstTime     int64 // largest timestamp of the first batch, ms; -1: empty
	MaxTime       int64 // largest timestamp, ms; -1: none
	MaxTimeOffset int64 // last offset of the batch that holds it

	SinceIndex  int64 // bytes after the last batch with an entry in the offset index
	IndexedTime int64 // time of the last entry of the time index; -1: none

	OffsetEntries int // in the index files
	TimeEntries   int
	HasTxns       bool // there is an index of aborted transactions
}

func emptyMeta(base, nowMs int64) Meta {
	return Meta{Base: base, Next: base, Created: nowMs, FirstTime: -1, MaxTime: -1, MaxTimeOffset: base, IndexedTime: -1}
}

// Create makes an empty segment in dir, whose suffix is "" or CleanedSuffix. Neither the file nor its name is synced.
func Create(c *Cache, dir string, base, nowMs int64, suffix string) (*Segment, error) {
	s := newSegment(c, dir, emptyMeta(base, nowMs), suffix)
	// Entries of another segment of that name would be taken for this one's.
	if err := s.ResetAborted(); err != nil {
		return nil, err
	}
	file, err := c.create(s.file.Path())
	if err != nil {
		return nil, err
	}
	s.file = file
	file.Release()
	return s, nil
}

// Restore is a segment as Meta said it was when it was last closed. It touches no file; the index files are compared with
// what Meta says on first use, and rebuilt if they differ.
func Restore(c *Cache, dir string, m Meta, suffix string) *Segment {
	s := newSegment(c, dir, m, suffix)
	s.offsets.disk, s.times.disk = m.OffsetEntries, m.TimeEntries
	s.unchecked.Store(true)
	return s
}

func newSegment(c *Cache, dir string, m Meta, suffix string) *Segment {
	path := func(ext string) string { return c.fs.PathJoin(dir, Name(m.Base, ext)+suffix) }
	s := &Segment{base: m.Base, cache: c, dir: dir, meta: m, suffix: suffix}
	s.file = c.File(path(LogExt), true)
	s.offsets = index{file: c.File(path(IndexExt), true), width: offsetEntrySize}
	s.times = index{file: c.File(path(TimeExt), true), width: timeEntrySize}
	return s
}

// Base is the offset in the segment's name.
func (s *Segment) Base() int64 { return s.base }

// Path is where the log file is now.
func (s *Segment) Path() string { return s.file.Path() }

// File is the log file, for those who send parts of it. Acquire it before and release it after.
func (s *Segment) File() *File { return s.file }

// Meta is what the segment is now.
func (s *Segment) Meta() Meta {
	s.mu.RLock()
	defer s.mu.RUnlock()
	m := s.meta
	m.OffsetEntries, m.TimeEntries = s.offsets.len(), s.times.len()
	return m
}

// Size is the number of bytes in the log file.
func (s *Segment) Size() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.meta.Size
}

// Next is the offset after the last record.
func (s *Segment) Next() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.meta.Next
}

// complainEvery is how often trouble with one segment is worth a line: consumers ask again at once.
const complainEvery = time.Minute

// Complain tells whether trouble with the segment is to be logged now. It is not when other trouble was, short of a minute ago.
func (s *Segment) Complain(now time.Time) bool {
	last := s.complained.Load()
	return (last == nil || now.Sub(*last) >= complainEvery) && s.complained.CompareAndSwap(last, &now)
}

// checkIndexes compares the index files of a restored segment with what is expected, once, and rebuilds them if they differ.
func (s *Segment) checkIndexes() error {
	if !s.unchecked.Load() {
		return nil
	}
	s.loading.Lock()
	defer s.loading.Unlock()
	if !s.unchecked.Load() {
		return nil
	}
	fits, err := s.indexesFit()
	if err != nil {
		return err
	}
	if !fits {
		if err := s.rebuild(); err != nil {
			return err
		}
	}
	s.unchecked.Store(false)
	return nil
}

func (s *Segment) indexesFit() (bool, error) {
	for _, x := range []*index{&s.offsets, &s.times} {
		if x.disk == 0 {
			continue
		}
		info, err := s.cache.fs.Stat(x.file.Path())
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		} else if err != nil {
			return false, fmt.Errorf("segment: %w", err)
		}
		if info.Size() != int64(x.disk)*int64(x.width) {
			return false, nil
		}
	}
	return true, nil
}
