package segment

import (
	"errors"
	"fmt"

	"github.com/tidemark-mq/tidemark/protocol/record"
)

// ErrDirtyEnd: an append failed and what it left of itself could not be cut off, so that nothing may be appended any more.
var ErrDirtyEnd = errors.New("segment: a failed append could not be undone")

// Append writes whole batches, checked by the caller, behind the last one with a single write call, and adds to the indexes.
// The offsets must follow those in the segment and lie within 2^31 of its base; the file must not grow beyond MaxSize. After
// an error nothing was appended. Not beside another change.
func (s *Segment) Append(batches []byte, indexInterval int) error {
	if err := s.checkIndexes(); err != nil {
		return err
	}
	s.loading.Lock() // a reader may be building the indexes again
	defer s.loading.Unlock()
	size := s.meta.Size // only changed by the one who may call this
	f, err := s.file.Acquire()
	if err != nil {
		return err
	}
	_, err = f.WriteAt(batches, size)
	s.file.Release()
	if err != nil {
		err = fmt.Errorf("segment: append to %s: %w", s.Path(), err)
		if cut := s.cache.fs.Truncate(s.Path(), size); cut != nil {
			return errors.Join(ErrDirtyEnd, err, cut)
		}
		return err
	}
	s.mu.Lock()
	for rest := batches; len(rest) > 0; {
		b := record.Batch(rest)
		s.noteLocked(b, int64(indexInterval))
		if s.recent == nil {
			s.recent = new(recent)
		}
		s.recent.add(b.BaseOffset(), b.LastOffsetDelta(), s.meta.Size-int64(b.Size()))
		rest = rest[b.Size():]
	}
	s.verified = s.verified.add(size, s.meta.Size)
	spill := len(s.offsets.tail) >= spillBytes
	s.mu.Unlock()
	if spill {
		// The batches are in the log all the same, and the entries stay in memory: the next append tries again.
		_ = s.writeIndexes()
	}
	return nil
}

// noteLocked adds the batch that begins at the end of the log file to what is known. Only its header is read.
func (s *Segment) noteLocked(b record.Batch, interval int64) {
	m := &s.meta
	last, ms := b.LastOffset(), b.MaxTimestamp()
	if m.Size == 0 {
		m.FirstTime = ms
	}
	if ms > m.MaxTime {
		m.MaxTime, m.MaxTimeOffset = ms, last
	}
	if m.SinceIndex > interval {
		s.offsets.tail = putOffsetEntry(s.offsets.tail, int32(last-s.base), int32(m.Size))
		s.noteTimeLocked()
		m.SinceIndex = 0
	}
	size := int64(b.Size())
	m.Size += size
	m.SinceIndex += size
	m.Next = last + 1
}

// noteTimeLocked adds an entry to the time index if the largest time has grown since the last one.
func (s *Segment) noteTimeLocked() {
	if m := &s.meta; m.MaxTime > m.IndexedTime {
		s.times.tail = putTimeEntry(s.times.tail, m.MaxTime, int32(m.MaxTimeOffset-s.base))
		m.IndexedTime = m.MaxTime
	}
}

// Seal completes the indexes and writes them out, as for a segment that nothing is appended to for a while, or ever. Not
// beside another change.
func (s *Segment) Seal() error {
	if err := s.checkIndexes(); err != nil {
		return err
	}
	s.loading.Lock() // a reader may be building the indexes again
	defer s.loading.Unlock()
	s.mu.Lock()
	s.noteTimeLocked()
	s.recent = nil
	s.mu.Unlock()
	return s.writeIndexes()
}

// Unsaved tells whether index entries are in memory only.
func (s *Segment) Unsaved() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.offsets.tail)+len(s.times.tail) > 0 || s.meta.MaxTime > s.meta.IndexedTime
}

// writeIndexes moves the entries in memory to the files.
func (s *Segment) writeIndexes() error {
	for _, x := range []*index{&s.offsets, &s.times} {
		if x.disk > 0 && len(x.tail) == 0 {
			continue
		}
		done, err := x.flush(s.cache)
		if err != nil {
			return err
		}
		s.mu.Lock()
		*x = done
		s.mu.Unlock()
	}
	return nil
}

// recentBatches is how many of the last batches a segment remembers the place of: readers near the end need no lookup.
const recentBatches = 64

type recent struct {
	next int // entry that is written next
	used int
	ring [recentBatches]recentBatch
}

type recentBatch struct {
	base      int64
	lastDelta int32
	pos       int32
}

func (r *recent) add(base int64, lastDelta int32, pos int64) {
	r.ring[r.next] = recentBatch{base: base, lastDelta: lastDelta, pos: int32(pos)}
	r.next = (r.next + 1) % recentBatches
	r.used = min(r.used+1, recentBatches)
}

// find is the position of the batch that holds offset.
func (r *recent) find(offset int64) (pos int64, ok bool) {
	if r == nil {
		return 0, false
	}
	for i := 1; i <= r.used; i++ {
		b := &r.ring[(r.next-i+recentBatches)%recentBatches]
		if b.base <= offset {
			return int64(b.pos), offset <= b.base+int64(b.lastDelta)
		}
	}
	return 0, false
}
