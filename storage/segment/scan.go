package segment

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"

	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// Scan is how Load and Walk go over a log file.
type Scan struct {
	// CheckFrom: batches that reach this offset have their checksum compared; those below are believed but for their headers.
	CheckFrom int64
	// Visit is called for each good batch in order. The header is valid during the call only; body reads the whole batch. An
	// error it returns is the reason why the batch is not good.
	Visit func(header record.Batch, body func() (record.Batch, error)) error
	// Contiguous demands that each batch begins at the offset after the one before it, save those that begin at GapsUpTo or
	// below: that far the log may have been compacted.
	Contiguous bool
	GapsUpTo   int64
}

// Load is a segment as its log file says: all of it is read, up to the first batch that is not good, and the indexes are built
// again, in memory. bad is nil when the file ends with a whole batch; else it says where the good part ends, and the file
// still holds what follows. Nothing on disk is changed. The segment then counts as having the good part only.
func Load(c *Cache, dir string, base, nowMs int64, indexInterval int, suffix string, scan Scan) (s *Segment, bad *CorruptError, err error) {
	s = newSegment(c, dir, emptyMeta(base, nowMs), suffix)
	info, err := c.fs.Stat(s.file.Path())
	if err != nil {
		return nil, nil, fmt.Errorf("segment: %w", err)
	}
	f, err := s.file.Acquire()
	if err != nil {
		return nil, nil, err
	}
	defer s.file.Release()
	// What a failed sync of an earlier life left in the page cache need not be on the disk.
	if err := dropCache(f, scan); err != nil {
		return nil, nil, fmt.Errorf("segment: drop cached pages of %s: %w", s.file.Path(), err)
	}
	size := info.Size()
	if size > MaxSize {
		bad = &CorruptError{File: s.file.Path(), Position: MaxSize, Offset: base, Reason: errors.New("file is larger than 2 GiB")}
		size = MaxSize
	}
	err = s.scan(f, size, scan, func(b record.Batch) {
		pos := s.meta.Size
		s.noteLocked(b, int64(indexInterval))
		if b.NextOffset() > scan.CheckFrom {
			s.verified = s.verified.add(pos, s.meta.Size)
		}
	})
	if !errors.As(err, &bad) && err != nil {
		return nil, nil, err
	}
	_, err = c.fs.Stat(s.txnPath())
	s.meta.HasTxns = err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("segment: %w", err)
	}
	return s, bad, nil
}

func dropCache(f vfs.File, scan Scan) error {
	if scan.CheckFrom == NoCheck {
		return nil
	}
	return vfs.DropCache(f)
}

// Walk goes over the batches of the segment from the one that holds offset from on.
func (s *Segment) Walk(from int64, scan Scan) error {
	l := s.lookup(from, from)
	f, err := s.file.Acquire()
	if err != nil {
		return err
	}
	defer s.file.Release()
	span := Span{Pos: l.start}
	if !l.startKnown {
		if err := s.checkIndexes(); err != nil {
			return err
		}
		s.loading.Lock() // index files that are being written do not fit what was there before
		l = s.lookup(from, from)
		span, err = l.settle(f, 0, false)
		s.loading.Unlock()
		if err != nil {
			return err
		}
	}
	return s.scanFrom(f, span.Pos, l.size, scan, func(record.Batch) {})
}

func (s *Segment) scan(f vfs.File, size int64, scan Scan, note func(record.Batch)) error {
	return s.scanFrom(f, 0, size, scan, note)
}

func (s *Segment) scanFrom(f vfs.File, pos, size int64, scan Scan, note func(record.Batch)) error {
	c := s.cursor(f, size, &scanBuffers)
	defer c.close()
	var header [record.HeaderSize]byte
	next := s.base
	for first := pos > 0; pos < size; first = false {
		b, err := c.header(pos, next)
		if err != nil {
			return err
		}
		if scan.Contiguous && !first && b.BaseOffset() != next && b.BaseOffset() > scan.GapsUpTo {
			return c.corrupt(pos, next, fmt.Errorf("base offset is %d", b.BaseOffset()))
		}
		batchSize, after := b.Size(), b.NextOffset()
		if after > scan.CheckFrom {
			copy(header[:], b)
			if err := c.checkCRC(pos, next, batchSize, b.CRC()); err != nil {
				return err
			}
			b = header[:]
		}
		if scan.Visit != nil {
			at := pos
			body := func() (record.Batch, error) { return c.readBatch(at, batchSize) }
			if err := scan.Visit(b, body); err != nil {
				return c.corrupt(pos, next, err)
			}
		}
		note(b)
		pos, next = pos+int64(batchSize), after
	}
	return nil
}

// Reindex builds the indexes again from the log file, if that was not done before: a reader was led to a place where no batch
// begins. tried is false when it was; err says what became of it in either case. Appends to this segment wait meanwhile.
func (s *Segment) Reindex() (tried bool, err error) {
	s.loading.Lock()
	defer s.loading.Unlock()
	if s.reindexed {
		return false, s.reindexErr
	}
	s.reindexed = true
	s.reindexErr = s.rebuild()
	return true, s.reindexErr
}

// rebuild makes the indexes again from the log file, as restored. Called with loading held.
func (s *Segment) rebuild() error {
	s.mu.RLock()
	size, old := s.meta.Size, s.meta
	s.mu.RUnlock()
	f, err := s.file.Acquire()
	if err != nil {
		return err
	}
	defer s.file.Release()
	fresh := newSegment(s.cache, s.dir, emptyMeta(s.base, old.Created), "")
	err = s.scan(f, size, Scan{CheckFrom: NoCheck}, func(b record.Batch) { fresh.noteLocked(b, defaultInterval) })
	if err != nil {
		return err
	}
	if fresh.meta.Next != old.Next {
		return &CorruptError{File: s.file.Path(), Position: size, Offset: fresh.meta.Next,
			Reason: fmt.Errorf("%w: records up to offset %d were here", io.ErrUnexpectedEOF, old.Next)}
	}
	s.mu.Lock()
	s.offsets.disk, s.offsets.tail = 0, fresh.offsets.tail
	s.times.disk, s.times.tail = 0, fresh.times.tail
	s.meta.SinceIndex, s.meta.IndexedTime = fresh.meta.SinceIndex, fresh.meta.IndexedTime
	s.mu.Unlock()
	return s.writeIndexes()
}

// NoCheck as CheckFrom: no checksum is compared.
const NoCheck = math.MaxInt64

// defaultInterval is Kafka's index.interval.bytes, for indexes that are made again when nobody is there to ask.
const defaultInterval = 4096
