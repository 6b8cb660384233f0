// Package vfs is the only door to files: everything the broker keeps on disk
// (logs, journal, side files, and Pebble's own files) is opened through one
// [FS] value.
//
// There are three of them:
//
//   - [Disk] is the machine's file system.
//   - [Crash] lives in memory and knows what a power cut would leave. Tests cut
//     a script at each sync point and look at what recovery makes of the rest.
//   - [Faults] wraps either and fails, shortens, corrupts or holds up chosen
//     operations.
//
// The interface is Pebble's, so that Pebble runs on the same value, with
// Truncate added. All three behave as POSIX does where the broker relies on
// it: an unlinked file stays usable through its open handles, a read at or past
// the end answers io.EOF, a rename is atomic, and nothing is promised to be on
// stable storage before it was synced. What is synced how:
//
//	bytes and size of a file            File.Sync or File.SyncData of any handle of it
//	the name of a file or directory     Sync of its parent directory (SyncDir)
//	SyncTo                              promises nothing, it only starts writing early
//
// An error that has to do with a file is an *fs.PathError (or *os.LinkError)
// around a syscall.Errno, whichever implementation it comes from, so callers
// branch with errors.Is(err, fs.ErrNotExist) and its kin.
//
// The package owns no goroutine.
package vfs

import (
	"errors"

	pvfs "github.com/cockroachdb/pebble/v2/vfs"
)

// The types of Pebble's file system interface, named here so that no other
// package has to import it.
type (
	// File is an open file or directory. At most one goroutine may write or sync
	// it at a time; ReadAt may be called by any number.
	File = pvfs.File
	// FileInfo describes a file.
	FileInfo = pvfs.FileInfo
	// DiskUsage is the space of the file system that holds a path, in bytes.
	DiskUsage = pvfs.DiskUsage
	// OpenOption is applied to a file right after it was opened.
	OpenOption = pvfs.OpenOption
	// Category labels what a file is written for.
	Category = pvfs.DiskWriteCategory
)

const (
	// Unspecified is the category of files nobody counts apart.
	Unspecified = pvfs.WriteCategoryUnspecified
	// InvalidFd is what File.Fd answers for a file without a descriptor.
	InvalidFd = pvfs.InvalidFd
)

// Hints on how an opened file will be read.
var (
	RandomReads     = pvfs.RandomReadsOption
	SequentialReads = pvfs.SequentialReadsOption
)

// ErrTooLarge is returned for a file that is longer than its reader allows.
var ErrTooLarge = errors.New("vfs: file is larger than allowed")

// FS is a file system: Pebble's interface and what it lacks for logs.
type FS interface {
	pvfs.FS

	// Truncate makes the named file size bytes long, cutting it or filling it
	// with zeros. The new length is durable after the next Sync of the file.
	Truncate(name string, size int64) error
}

// Fd answers the descriptor of f for sendfile, and false when f has none that
// may be used behind its back (files in memory, files under fault rules).
func Fd(f File) (uintptr, bool) {
	fd := f.Fd()
	return fd, fd != InvalidFd
}

// cacheDropper is a File that can forget what the page cache holds of it.
type cacheDropper interface{ dropCache() error }

// vectorWriter is a File that writes several buffers with one call.
type vectorWriter interface {
	writeVAt(bufs [][]byte, off int64) (int64, error)
}

// DropCache makes the following reads of f come from the device instead of the
// page cache, where the pages were written (or believed to be written) before.
// Recovery calls it before it trusts bytes that an earlier life may have failed
// to sync: such pages are marked clean although the device never took them.
// Pages not yet written back stay. It does nothing for files that have no cache.
func DropCache(f File) error {
	if d, ok := f.(cacheDropper); ok {
		return d.dropCache()
	}
	return nil
}

// WriteV writes bufs one after the other at offset off, with as few system
// calls as the file allows, and answers how many bytes were written. Like
// WriteAt it returns an error when that is less than all of them. It must not
// run at the same time as f's Close. A power cut may keep any part of it.
func WriteV(f File, bufs [][]byte, off int64) (int64, error) {
	if v, ok := f.(vectorWriter); ok {
		return v.writeVAt(bufs, off)
	}
	var done int64
	for _, b := range bufs {
		n, err := f.WriteAt(b, off+done)
		done += int64(n)
		if err != nil {
			return done, err
		}
	}
	return done, nil
}
