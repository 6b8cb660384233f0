package kv

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"

	pvfs "github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// fence stands between Pebble and the files. Once a write or a sync fails there
// it trips: the reason is reported, nothing reaches the disk any more, and
// Pebble is told that all went well. It is told so because its commit pipeline
// panics, or waits for ever, on an error of its log; DB refuses every answer
// from the moment of tripping, so nobody else hears the lie. Files that Pebble
// makes after that live in memory, so that it can read them back until it is
// closed: what is in its memtables, a few MiB.
//
// Only tables that were begun before are failed openly, because they would be
// read back and found short.
type fence struct {
	pvfs.FS
	onTrip func(error)

	once    sync.Once
	tripped atomic.Bool
	reason  error // written before tripped is set
	after   *pvfs.MemFS
}

var _ pvfs.FS = (*fence)(nil)

func newFence(fs vfs.FS, onTrip func(error)) *fence {
	return &fence{FS: fs, onTrip: onTrip, after: pvfs.NewMem()}
}

// trip ends all writing. onTrip runs before any operation pretends to succeed.
func (f *fence) trip(err error) {
	f.once.Do(func() {
		f.reason = err
		f.onTrip(err)
		f.tripped.Store(true)
	})
}

func (f *fence) isTripped() bool { return f.tripped.Load() }

func (f *fence) cause() error {
	if f.isTripped() {
		return f.reason
	}
	return nil
}

func isTable(name string) bool {
	return strings.HasSuffix(name, ".sst") || strings.HasSuffix(name, ".blob")
}

// Unwrap hides what is behind the fence.
func (f *fence) Unwrap() pvfs.FS { return nil }

// pretend makes the file in memory that Pebble gets once the fence tripped.
func (f *fence) pretend(name string, c pvfs.DiskWriteCategory) (pvfs.File, error) {
	if err := f.after.MkdirAll(f.PathDir(name), 0o755); err != nil {
		return nil, err
	}
	return f.after.Create(name, c)
}

func (f *fence) made(file pvfs.File, err error, name string, c pvfs.DiskWriteCategory) (pvfs.File, error) {
	if err != nil {
		f.trip(fmt.Errorf("create %s: %w", name, err))
		return f.pretend(name, c)
	}
	return &fencedFile{File: file, fence: f, name: name, table: isTable(name)}, nil
}

func (f *fence) Create(name string, c pvfs.DiskWriteCategory) (pvfs.File, error) {
	if f.isTripped() {
		return f.pretend(name, c)
	}
	file, err := f.FS.Create(name, c)
	return f.made(file, err, name, c)
}

func (f *fence) OpenReadWrite(name string, c pvfs.DiskWriteCategory, opts ...pvfs.OpenOption) (pvfs.File, error) {
	if f.isTripped() {
		return f.pretend(name, c)
	}
	file, err := f.FS.OpenReadWrite(name, c, opts...)
	return f.made(file, err, name, c)
}

func (f *fence) ReuseForWrite(oldname, newname string, c pvfs.DiskWriteCategory) (pvfs.File, error) {
	if f.isTripped() {
		return f.pretend(newname, c)
	}
	file, err := f.FS.ReuseForWrite(oldname, newname, c)
	return f.made(file, err, newname, c)
}

func (f *fence) Open(name string, opts ...pvfs.OpenOption) (pvfs.File, error) {
	if f.isTripped() {
		if file, err := f.after.Open(name); err == nil {
			return file, nil
		}
	}
	return f.FS.Open(name, opts...)
}

func (f *fence) Stat(name string) (pvfs.FileInfo, error) {
	if f.isTripped() {
		if info, err := f.after.Stat(name); err == nil {
			return info, nil
		}
	}
	return f.FS.Stat(name)
}

func (f *fence) OpenDir(name string) (pvfs.File, error) {
	dir, err := f.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &fencedFile{File: dir, fence: f, name: name}, nil
}

// change runs an operation on names, which trips the fence when it fails.
func (f *fence) change(what string, real, pretended func() error) error {
	if !f.isTripped() {
		err := real()
		if err == nil {
			return nil
		}
		f.trip(fmt.Errorf("%s: %w", what, err))
	}
	_ = pretended() // of names that are there only behind the fence
	return nil
}

func (f *fence) Rename(oldname, newname string) error {
	return f.change("rename "+oldname,
		func() error { return f.FS.Rename(oldname, newname) },
		func() error { return f.after.Rename(oldname, newname) })
}

func (f *fence) Link(oldname, newname string) error {
	return f.change("link "+oldname,
		func() error { return f.FS.Link(oldname, newname) },
		func() error { return f.after.Link(oldname, newname) })
}

func (f *fence) MkdirAll(dir string, perm fs.FileMode) error {
	return f.change("make directory "+dir,
		func() error { return f.FS.MkdirAll(dir, perm) },
		func() error { return f.after.MkdirAll(dir, perm) })
}

// Remove may fail: a file that stays is removed at the next start.
func (f *fence) Remove(name string) error {
	if f.isTripped() {
		_ = f.after.Remove(name)
		return nil
	}
	return f.FS.Remove(name)
}

func (f *fence) RemoveAll(name string) error {
	if f.isTripped() {
		return f.after.RemoveAll(name)
	}
	return f.FS.RemoveAll(name)
}

// List does not fail once the fence tripped: opening would be given up, and closed what a goroutine of Pebble's still uses. All that
// is looked for by then is what may be removed.
func (f *fence) List(dir string) ([]string, error) {
	names, err := f.FS.List(dir)
	if err != nil && f.isTripped() {
		return nil, nil
	}
	return names, err
}

// Lock is not for the fence: a directory that cannot be locked is not opened.
func (f *fence) Lock(name string) (io.Closer, error) { return f.FS.Lock(name) }

// GetDiskUsage only paces deletions, so that not knowing it is no failure.
func (f *fence) GetDiskUsage(path string) (pvfs.DiskUsage, error) {
	usage, err := f.FS.GetDiskUsage(path)
	if err != nil {
		return usage, pvfs.ErrUnsupported
	}
	return usage, nil
}

// fencedFile is a file or directory opened before the fence tripped.
type fencedFile struct {
	pvfs.File
	fence *fence
	name  string
	table bool
}

var errTripped = errors.New("kv: nothing is written after a failure")

// outcome decides what Pebble hears of an operation that failed or that came
// after a failure.
func (f *fencedFile) outcome(what string, err error) error {
	if err == nil {
		return nil
	}
	f.fence.trip(fmt.Errorf("%s %s: %w", what, f.name, err))
	if f.table {
		return err
	}
	return nil
}

func (f *fencedFile) Write(p []byte) (int, error) {
	err := errTripped
	if !f.fence.isTripped() {
		_, err = f.File.Write(p)
	}
	if err := f.outcome("write", err); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (f *fencedFile) WriteAt(p []byte, off int64) (int, error) {
	err := errTripped
	if !f.fence.isTripped() {
		_, err = f.File.WriteAt(p, off)
	}
	if err := f.outcome("write", err); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (f *fencedFile) sync(sync func() error) error {
	err := errTripped
	if !f.fence.isTripped() {
		err = sync()
	}
	return f.outcome("sync", err)
}

func (f *fencedFile) Sync() error     { return f.sync(f.File.Sync) }
func (f *fencedFile) SyncData() error { return f.sync(f.File.SyncData) }

func (f *fencedFile) SyncTo(length int64) (full bool, err error) {
	err = f.sync(func() error {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, err
}

func (f *fencedFile) Close() error {
	err := f.File.Close()
	if f.fence.isTripped() {
		return nil
	}
	return f.outcome("close", err)
}
