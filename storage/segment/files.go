package segment

import (
	"errors"
	"fmt"
	"io/fs"
)

// sideFiles are the files of a segment but the log file and the producer snapshot.
var sideFiles = []string{IndexExt, TimeExt, TxnExt}

// SyncLog makes the log file durable up to its size at the call. Beside it, batches may be appended.
func (s *Segment) SyncLog() error {
	f, err := s.file.Acquire()
	if err != nil {
		return err
	}
	defer s.file.Release()
	if err := f.SyncData(); err != nil {
		return fmt.Errorf("segment: sync %s: %w", s.Path(), err)
	}
	return nil
}

// SyncIndexes makes those index files durable that exist; entries still in memory are not in them.
func (s *Segment) SyncIndexes() error {
	for _, ext := range sideFiles {
		if err := s.syncFile(s.sidePath(ext)); err != nil {
			return err
		}
	}
	return nil
}

// SyncTxns makes the index of aborted transactions durable, if there is one.
func (s *Segment) SyncTxns() error {
	if !s.Meta().HasTxns {
		return nil
	}
	return s.syncFile(s.txnPath())
}

func (s *Segment) syncFile(path string) error {
	if _, err := s.cache.fs.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	f, err := s.cache.fs.OpenReadWrite(path, diskCategory)
	if err != nil {
		return fmt.Errorf("segment: open %s: %w", path, err)
	}
	return errors.Join(f.SyncData(), f.Close())
}

// sidePath is the path of one of the segment's files.
func (s *Segment) sidePath(ext string) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.sidePathLocked(ext)
}

func (s *Segment) sidePathLocked(ext string) string {
	return s.cache.fs.PathJoin(s.dir, Name(s.base, ext)+s.suffix)
}

func (s *Segment) txnPath() string { return s.sidePath(TxnExt) }

// Rename gives all files of the segment another suffix, the log file last, so that a log file of the new name has its indexes
// beside it. The directory is not synced. Not beside another change.
func (s *Segment) Rename(suffix string) error {
	s.loading.Lock() // a reader may be building the indexes again
	defer s.loading.Unlock()
	to := func(ext string) string { return s.cache.fs.PathJoin(s.dir, Name(s.base, ext)+suffix) }
	for _, x := range []struct {
		file *File
		ext  string
	}{{s.offsets.file, IndexExt}, {s.times.file, TimeExt}} {
		if err := x.file.Rename(to(x.ext)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		// Also where there is no file yet, so that it gets the right name.
		x.file.setPath(to(x.ext))
	}
	if err := s.renameTxns(suffix); err != nil {
		return err
	}
	return s.file.Rename(to(LogExt))
}

// renameTxns keeps those who are about to open the index of aborted transactions waiting, as it is not held open.
func (s *Segment) renameTxns(suffix string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.sidePathLocked(TxnExt)
	s.suffix = suffix
	if err := s.cache.fs.Rename(old, s.sidePathLocked(TxnExt)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("segment: %w", err)
	}
	return nil
}

// Remove removes the segment's files, the log file last. Those who hold the log file can go on reading.
func (s *Segment) Remove() error {
	s.loading.Lock() // a reader may be building the indexes again
	defer s.loading.Unlock()
	s.reindexed = true // nor may one begin to: the files may soon be another segment's
	s.unchecked.Store(false)
	s.Forget()
	var errs []error
	var paths []string
	for _, ext := range sideFiles {
		paths = append(paths, s.sidePath(ext))
	}
	for _, path := range append(paths, s.Path()) {
		if err := s.cache.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Forget closes the segment's files as soon as nobody uses them.
func (s *Segment) Forget() {
	s.mu.RLock()
	files := []*File{s.file, s.offsets.file, s.times.file}
	s.mu.RUnlock()
	for _, f := range files {
		f.Forget()
	}
}
