package vfs

import (
	"io"
	"os"
	"syscall"

	pvfs "github.com/cockroachdb/pebble/v2/vfs"
)

func (f *Faults) wrap(file File, err error, name string, dir bool) (File, error) {
	if err != nil {
		return nil, err
	}
	return &faultFile{File: file, faults: f, name: name, dir: dir}, nil
}

// apply runs the options on the wrapped file, so that they reach its rules.
func apply(file File, err error, opts []OpenOption) (File, error) {
	if err == nil {
		for _, o := range opts {
			o.Apply(file)
		}
	}
	return file, err
}

func (f *Faults) Create(name string, c Category) (File, error) {
	if _, err := f.judge(OpCreate, name); err != nil {
		return nil, err
	}
	file, err := f.inner.Create(name, c)
	return f.wrap(file, err, name, false)
}

func (f *Faults) Open(name string, opts ...OpenOption) (File, error) {
	if _, err := f.judge(OpOpen, name); err != nil {
		return nil, err
	}
	file, err := f.inner.Open(name)
	file, err = f.wrap(file, err, name, false)
	return apply(file, err, opts)
}

func (f *Faults) OpenReadWrite(name string, c Category, opts ...OpenOption) (File, error) {
	if _, err := f.judge(OpCreate, name); err != nil {
		return nil, err
	}
	file, err := f.inner.OpenReadWrite(name, c)
	file, err = f.wrap(file, err, name, false)
	return apply(file, err, opts)
}

func (f *Faults) OpenDir(name string) (File, error) {
	if _, err := f.judge(OpOpen, name); err != nil {
		return nil, err
	}
	file, err := f.inner.OpenDir(name)
	return f.wrap(file, err, name, true)
}

func (f *Faults) ReuseForWrite(oldname, newname string, c Category) (File, error) {
	if _, err := f.judge(OpRename, oldname, newname); err != nil {
		return nil, err
	}
	file, err := f.inner.ReuseForWrite(oldname, newname, c)
	return f.wrap(file, err, newname, false)
}

func (f *Faults) Link(oldname, newname string) error {
	if _, err := f.judge(OpLink, oldname, newname); err != nil {
		return err
	}
	return f.inner.Link(oldname, newname)
}

func (f *Faults) Remove(name string) error {
	if _, err := f.judge(OpRemove, name); err != nil {
		return err
	}
	return f.inner.Remove(name)
}

func (f *Faults) RemoveAll(name string) error {
	if _, err := f.judge(OpRemove, name); err != nil {
		return err
	}
	return f.inner.RemoveAll(name)
}

func (f *Faults) Rename(oldname, newname string) error {
	if _, err := f.judge(OpRename, oldname, newname); err != nil {
		return err
	}
	return f.inner.Rename(oldname, newname)
}

func (f *Faults) MkdirAll(dir string, perm os.FileMode) error {
	if _, err := f.judge(OpMkdir, dir); err != nil {
		return err
	}
	return f.inner.MkdirAll(dir, perm)
}

func (f *Faults) Lock(name string) (io.Closer, error) {
	if _, err := f.judge(OpLock, name); err != nil {
		return nil, err
	}
	return f.inner.Lock(name)
}

func (f *Faults) List(dir string) ([]string, error) {
	if _, err := f.judge(OpList, dir); err != nil {
		return nil, err
	}
	return f.inner.List(dir)
}

func (f *Faults) Stat(name string) (FileInfo, error) {
	if _, err := f.judge(OpStat, name); err != nil {
		return nil, err
	}
	return f.inner.Stat(name)
}

func (f *Faults) Truncate(name string, size int64) error {
	if _, err := f.judge(OpTruncate, name); err != nil {
		return err
	}
	return f.inner.Truncate(name, size)
}

func (f *Faults) PathBase(name string) string    { return f.inner.PathBase(name) }
func (f *Faults) PathJoin(elem ...string) string { return f.inner.PathJoin(elem...) }
func (f *Faults) PathDir(name string) string     { return f.inner.PathDir(name) }

// Unwrap answers the wrapped file system.
func (f *Faults) Unwrap() pvfs.FS { return f.inner }

// GetDiskUsage answers what SetUsage said, or asks the wrapped file system.
func (f *Faults) GetDiskUsage(name string) (DiskUsage, error) {
	f.mu.Lock()
	usage := f.usage
	f.mu.Unlock()
	if usage != nil {
		return *usage, nil
	}
	return f.inner.GetDiskUsage(name)
}

// take answers how many of n bytes there is still room for, and takes them.
func (f *Faults) take(n int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.budget < 0 {
		return n
	}
	got := int(min(f.budget, int64(n)))
	f.budget -= int64(got)
	return got
}

// faultFile is an open file under the rules of a Faults. As of any file, writes
// to it come from one goroutine at a time.
type faultFile struct {
	File
	faults *Faults
	name   string
	dir    bool
	pos    int64 // of Read and Write, for Rule.Corrupt
}

// syncFailer is a file that can play a failed sync.
type syncFailer interface{ failSync() }

func (f *faultFile) Fd() uintptr { return InvalidFd }

func (f *faultFile) Read(p []byte) (int, error) {
	v, err := f.faults.judge(OpRead, f.name)
	if err != nil {
		return 0, err
	}
	n, err := f.File.Read(p)
	v.corrupt(f.pos, p[:n])
	f.pos += int64(n)
	return n, err
}

func (f *faultFile) ReadAt(p []byte, off int64) (int, error) {
	v, err := f.faults.judge(OpRead, f.name)
	if err != nil {
		return 0, err
	}
	n, err := f.File.ReadAt(p, off)
	v.corrupt(off, p[:n])
	return n, err
}

func (v verdict) corrupt(off int64, p []byte) {
	if v.rule != nil && v.rule.Corrupt != nil {
		v.rule.Corrupt(off, p)
	}
}

func (f *faultFile) Write(p []byte) (int, error) {
	n, err := f.write(p, f.File.Write)
	f.pos += int64(n)
	return n, err
}

func (f *faultFile) WriteAt(p []byte, off int64) (int, error) {
	return f.write(p, func(p []byte) (int, error) { return f.File.WriteAt(p, off) })
}

func (f *faultFile) write(p []byte, write func([]byte) (int, error)) (int, error) {
	v, _ := f.faults.judge(OpWrite, f.name) // answers no error for writes
	allowed, fail := len(p), error(nil)
	if v.fails(OpWrite) {
		allowed, fail = min(allowed, v.rule.Short), v.rule.err()
	}
	if room := f.faults.take(allowed); room < allowed {
		allowed, fail = room, syscall.ENOSPC
	}
	if fail == nil {
		return write(p)
	}
	n := 0
	if allowed > 0 {
		var err error
		if n, err = write(p[:allowed]); err != nil {
			return n, err
		}
	}
	return n, pathError("write", f.name, fail)
}

func (f *faultFile) Preallocate(offset, length int64) error {
	if _, err := f.faults.judge(OpPreallocate, f.name); err != nil {
		return err
	}
	return f.File.Preallocate(offset, length)
}

func (f *faultFile) sync(sync func() error) error {
	op := OpSync
	if f.dir {
		op = OpSyncDir
	}
	if _, err := f.faults.judge(op, f.name); err != nil {
		if s, ok := f.File.(syncFailer); ok {
			s.failSync()
		}
		return err
	}
	return sync()
}

func (f *faultFile) Sync() error     { return f.sync(f.File.Sync) }
func (f *faultFile) SyncData() error { return f.sync(f.File.SyncData) }

func (f *faultFile) dropCache() error { return DropCache(f.File) }
