package vfs

import (
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"
	"time"

	pvfs "github.com/cockroachdb/pebble/v2/vfs"
)

// openLocked answers the node of a file, made if it is missing and may be.
func (c *Crash) openLocked(name string, create bool) (*node, error) {
	dir, base, err := c.parentLocked("open", name)
	if err != nil {
		return nil, err
	}
	if base == "" {
		return dir, nil
	}
	n := dir.entries[base]
	if n == nil {
		if !create {
			return nil, pathError("open", name, syscall.ENOENT)
		}
		n = c.newNode(false)
		c.changeLocked(namePart{dir: dir, name: base, to: n})
	}
	return n, nil
}

// Open opens a file or a directory for reading.
func (c *Crash) Open(name string, opts ...OpenOption) (File, error) {
	c.mu.Lock()
	n, err := c.openLocked(name, false)
	c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	f := &crashFile{fs: c, name: name, node: n}
	for _, o := range opts {
		o.Apply(f)
	}
	return f, nil
}

// OpenDir opens a directory to sync it.
func (c *Crash) OpenDir(name string) (File, error) { return c.Open(name) }

// OpenReadWrite opens a file for reading and writing at its start, and makes it
// if it is not there.
func (c *Crash) OpenReadWrite(name string, _ Category, opts ...OpenOption) (File, error) {
	c.mu.Lock()
	n, err := c.openLocked(name, true)
	c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if n.dir {
		return nil, pathError("open", name, syscall.EISDIR)
	}
	f := &crashFile{fs: c, name: name, node: n, write: true}
	for _, o := range opts {
		o.Apply(f)
	}
	return f, nil
}

// ReuseForWrite renames a file and opens it for writing at its start; its bytes
// stay until they are overwritten.
func (c *Crash) ReuseForWrite(oldname, newname string, category Category) (File, error) {
	if err := c.Rename(oldname, newname); err != nil {
		return nil, err
	}
	return c.OpenReadWrite(newname, category)
}

// Truncate makes the named file size bytes long.
func (c *Crash) Truncate(name string, size int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if size < 0 {
		return pathError("truncate", name, syscall.EINVAL)
	}
	n, err := c.findLocked("truncate", name)
	if err != nil {
		return err
	}
	if err := n.truncate(size); err != nil {
		return pathError("truncate", name, err)
	}
	return nil
}

// Stat describes the named file or directory.
func (c *Crash) Stat(name string) (FileInfo, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.findLocked("stat", name)
	if err != nil {
		return nil, err
	}
	return n.info(path.Base(clean(name))), nil
}

// PathBase answers the last element of a path.
func (c *Crash) PathBase(name string) string { return path.Base(name) }

// PathJoin joins path elements.
func (c *Crash) PathJoin(elem ...string) string { return path.Join(elem...) }

// PathDir answers a path without its last element.
func (c *Crash) PathDir(name string) string { return path.Dir(name) }

// crashFile is an open file or directory of a Crash. Its fields after the first
// four are guarded by fs.mu.
type crashFile struct {
	fs    *Crash
	name  string
	node  *node
	write bool

	pos    int64
	closed bool
}

// begin locks the file system for one operation of kind op; the caller unlocks.
// With an error the lock is not held.
func (f *crashFile) begin(op string, writing bool) error {
	f.fs.mu.Lock()
	var err error
	switch {
	case f.closed:
		err = os.ErrClosed
	case f.fs.isDead:
		err = ErrCut
	case writing && !f.write:
		err = syscall.EBADF
	default:
		return nil
	}
	f.fs.mu.Unlock()
	return pathError(op, f.name, err)
}

func (f *crashFile) Read(p []byte) (int, error) {
	if err := f.begin("read", false); err != nil {
		return 0, err
	}
	defer f.fs.mu.Unlock()
	if f.node.dir {
		return 0, pathError("read", f.name, syscall.EISDIR)
	}
	n := f.node.cur.readAt(p, f.pos)
	f.pos += int64(n)
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (f *crashFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.begin("read", false); err != nil {
		return 0, err
	}
	defer f.fs.mu.Unlock()
	if off < 0 {
		return 0, pathError("readat", f.name, syscall.EINVAL)
	}
	if len(p) == 0 {
		return 0, nil
	}
	if f.node.dir {
		return 0, pathError("read", f.name, syscall.EISDIR)
	}
	n := f.node.cur.readAt(p, off)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *crashFile) Write(p []byte) (int, error) {
	if err := f.begin("write", true); err != nil {
		return 0, err
	}
	defer f.fs.mu.Unlock()
	if err := f.node.write(p, f.pos); err != nil {
		return 0, pathError("write", f.name, err)
	}
	f.pos += int64(len(p))
	return len(p), nil
}

func (f *crashFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.begin("write", true); err != nil {
		return 0, err
	}
	defer f.fs.mu.Unlock()
	if err := f.node.write(p, off); err != nil {
		return 0, pathError("writeat", f.name, err)
	}
	return len(p), nil
}

// Sync makes a file's content, or a directory's names, durable.
func (f *crashFile) Sync() error {
	if err := f.begin("sync", false); err != nil {
		return err
	}
	defer f.fs.mu.Unlock()
	err := f.fs.syncPointLocked(func() {
		if f.node.dir {
			f.fs.syncNamesLocked(f.node)
		} else {
			f.node.sync()
		}
	})
	if err != nil {
		return pathError("sync", f.name, err)
	}
	return nil
}

// SyncData is Sync: the size is part of what fdatasync keeps.
func (f *crashFile) SyncData() error { return f.Sync() }

// SyncTo does nothing, which is all that may be relied on.
func (f *crashFile) SyncTo(int64) (bool, error) {
	if err := f.begin("sync", false); err != nil {
		return false, err
	}
	f.fs.mu.Unlock()
	return false, nil
}

// Preallocate changes nothing that can be seen.
func (f *crashFile) Preallocate(offset, length int64) error {
	if err := f.begin("fallocate", true); err != nil {
		return err
	}
	f.fs.mu.Unlock()
	if offset < 0 || length <= 0 {
		return pathError("fallocate", f.name, syscall.EINVAL)
	}
	return nil
}

// Prefetch does nothing.
func (f *crashFile) Prefetch(int64, int64) error { return nil }

// Fd answers that there is no descriptor.
func (f *crashFile) Fd() uintptr { return InvalidFd }

func (f *crashFile) Stat() (FileInfo, error) {
	if err := f.begin("stat", false); err != nil {
		return nil, err
	}
	defer f.fs.mu.Unlock()
	return f.node.info(path.Base(clean(f.name))), nil
}

// Close works after a cut as well, so that what held the file can be torn down.
func (f *crashFile) Close() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.closed {
		return pathError("close", f.name, os.ErrClosed)
	}
	f.closed = true
	return nil
}

func (f *crashFile) dropCache() error {
	if err := f.begin("fadvise", false); err != nil {
		return err
	}
	defer f.fs.mu.Unlock()
	f.node.reload()
	return nil
}

// failSync is called by Faults in place of a sync that it makes fail.
func (f *crashFile) failSync() {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if !f.fs.isDead {
		f.node.forget()
	}
}

func (n *node) info(name string) crashInfo {
	return crashInfo{name: name, size: n.cur.size, dir: n.dir, modTime: n.modTime}
}

type crashInfo struct {
	name    string
	size    int64
	dir     bool
	modTime time.Time
}

func (i crashInfo) Name() string            { return i.name }
func (i crashInfo) Size() int64             { return i.size }
func (i crashInfo) ModTime() time.Time      { return i.modTime }
func (i crashInfo) IsDir() bool             { return i.dir }
func (i crashInfo) Sys() any                { return nil }
func (i crashInfo) DeviceID() pvfs.DeviceID { return pvfs.DeviceID{} }

func (i crashInfo) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o755
	}
	return 0o644
}
