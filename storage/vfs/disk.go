package vfs

import (
	"os"
	"runtime"
	"syscall"

	pvfs "github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"
)

// Disk is the machine's file system. Its files are *os.File with the system
// calls of Linux behind SyncData (fdatasync), Preallocate (fallocate, the size
// stays) and Prefetch (readahead); nothing is buffered in the process.
func Disk() FS { return diskFS{pvfs.Default} }

type diskFS struct{ pvfs.FS }

func (diskFS) Truncate(name string, size int64) error { return os.Truncate(name, size) }

func (d diskFS) Create(name string, c Category) (File, error) {
	return wrapDisk(d.FS.Create(name, c))
}

func (d diskFS) Open(name string, opts ...OpenOption) (File, error) {
	return wrapDisk(d.FS.Open(name, opts...))
}

func (d diskFS) OpenReadWrite(name string, c Category, opts ...OpenOption) (File, error) {
	return wrapDisk(d.FS.OpenReadWrite(name, c, opts...))
}

func (d diskFS) ReuseForWrite(oldname, newname string, c Category) (File, error) {
	return wrapDisk(d.FS.ReuseForWrite(oldname, newname, c))
}

// diskFile adds what Pebble's file lacks. The methods of the embedded file are
// promoted, so that reads and writes go to it without a step in between.
type diskFile struct{ File }

func wrapDisk(f File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return &diskFile{f}, nil
}

// SyncData is fdatasync, repeated when a signal interrupts it (network file
// systems do that): a failed sync ends the broker, so it must be a real one.
func (f *diskFile) SyncData() error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		runtime.KeepAlive(f)
		if err != syscall.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}

func (f *diskFile) dropCache() error {
	err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	runtime.KeepAlive(f)
	return os.NewSyscallError("fadvise", err)
}

// maxVectors is the kernel's limit of buffers in one pwritev (UIO_MAXIOV).
const maxVectors = 1024

func (f *diskFile) writeVAt(bufs [][]byte, off int64) (int64, error) {
	var done int64
	var skip int // bytes of bufs[0] that are written
	for {
		for len(bufs) > 0 && skip == len(bufs[0]) {
			bufs, skip = bufs[1:], 0
		}
		if len(bufs) == 0 {
			return done, nil
		}
		n, err := f.pwritev(bufs, skip, off+done)
		if err != nil {
			return done, err
		}
		done += int64(n)
		for n > 0 {
			step := min(n, len(bufs[0])-skip)
			n, skip = n-step, skip+step
			if skip == len(bufs[0]) {
				bufs, skip = bufs[1:], 0
			}
		}
	}
}

// pwritev writes as much of bufs (without the first skip bytes) as one system
// call takes.
func (f *diskFile) pwritev(bufs [][]byte, skip int, off int64) (int, error) {
	if skip > 0 || len(bufs) == 1 {
		return f.WriteAt(bufs[0][skip:], off)
	}
	bufs = bufs[:min(len(bufs), maxVectors)]
	for {
		n, err := unix.Pwritev(int(f.Fd()), bufs, off)
		runtime.KeepAlive(f)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return 0, os.NewSyscallError("pwritev", err)
		}
		if n == 0 {
			return 0, os.NewSyscallError("pwritev", syscall.EIO)
		}
		return n, nil
	}
}
