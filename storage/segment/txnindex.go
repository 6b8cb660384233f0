package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// AbortedTxn is one aborted transaction.
type AbortedTxn struct {
	ProducerID   int64
	FirstOffset  int64 // of its first record
	LastOffset   int64 // of its marker
	StableOffset int64 // last stable offset once it was aborted
}

const (
	txnEntrySize = 34
	txnVersion   = 0
	// txnBlock is how many entries are read at once.
	txnBlock = 128
)

func (a AbortedTxn) encode(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, txnVersion)
	for _, v := range []int64{a.ProducerID, a.FirstOffset, a.LastOffset, a.StableOffset} {
		dst = binary.BigEndian.AppendUint64(dst, uint64(v))
	}
	return dst
}

func decodeAborted(p []byte) (AbortedTxn, error) {
	if v := binary.BigEndian.Uint16(p); v != txnVersion {
		return AbortedTxn{}, fmt.Errorf("%w: transaction index of version %d", ErrNewerVersion, v)
	}
	at := func(i int) int64 { return int64(binary.BigEndian.Uint64(p[i:])) }
	return AbortedTxn{ProducerID: at(2), FirstOffset: at(10), LastOffset: at(18), StableOffset: at(26)}, nil
}

// AppendAborted adds to the index of aborted transactions. Not beside another change.
func (s *Segment) AppendAborted(a AbortedTxn) error {
	files := s.cache.fs
	path := s.txnPath()
	f, err := files.OpenReadWrite(path, diskCategory)
	if err != nil {
		return fmt.Errorf("segment: open %s: %w", path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("segment: %w", err)
	}
	at := info.Size() / txnEntrySize * txnEntrySize
	if _, err := f.WriteAt(a.encode(nil), at); err != nil {
		return fmt.Errorf("segment: write %s: %w", path, err)
	}
	s.mu.Lock()
	s.meta.HasTxns = true
	s.mu.Unlock()
	return nil
}

// Aborted calls fn for each aborted transaction of the segment, in the order in which they ended, until it returns false.
func (s *Segment) Aborted(fn func(AbortedTxn) bool) error {
	if !s.Meta().HasTxns {
		return nil
	}
	f, path, err := s.openTxns()
	if err != nil {
		return fmt.Errorf("segment: open %s: %w", path, err)
	}
	defer f.Close()
	var block [txnBlock * txnEntrySize]byte
	for at := int64(0); ; {
		n, err := f.ReadAt(block[:], at)
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("segment: read %s: %w", path, err)
		}
		n -= n % txnEntrySize
		for p := block[:n]; len(p) > 0; p = p[txnEntrySize:] {
			a, err := decodeAborted(p)
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			if !fn(a) {
				return nil
			}
		}
		if n < len(block) {
			return nil
		}
		at += int64(n)
	}
}

// openTxns opens the index of aborted transactions under the name it has.
func (s *Segment) openTxns() (vfs.File, string, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	path := s.sidePathLocked(TxnExt)
	f, err := s.cache.fs.Open(path)
	return f, path, err
}

// ResetAborted removes the index of aborted transactions. Not beside another change.
func (s *Segment) ResetAborted() error {
	s.mu.Lock()
	s.meta.HasTxns = false
	s.mu.Unlock()
	if err := s.cache.fs.Remove(s.txnPath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("segment: %w", err)
	}
	return nil
}

// CutAborted removes the entries of transactions that ended at offset next or later. Not beside another change.
func (s *Segment) CutAborted(next int64) error {
	keep := int64(0)
	err := s.Aborted(func(a AbortedTxn) bool {
		if a.LastOffset >= next {
			return false
		}
		keep += txnEntrySize
		return true
	})
	if err != nil {
		return err
	}
	files, path := s.cache.fs, s.txnPath()
	if keep == 0 {
		return s.ResetAborted()
	}
	if err := files.Truncate(path, keep); err != nil {
		return fmt.Errorf("segment: truncate %s: %w", path, err)
	}
	return nil
}
