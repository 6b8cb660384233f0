package vfs

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"syscall"

	pvfs "github.com/cockroachdb/pebble/v2/vfs"
)

// ErrCut is what every operation on a Crash file system answers once it is cut.
var ErrCut = errors.New("vfs: power was cut")

// When says on which side of a sync point a Crash file system is cut.
type When int

const (
	// BeforeSync: the sync fails and made nothing durable.
	BeforeSync When = iota
	// AfterSync: the sync fails although all it stood for is durable; whoever
	// called it never learns.
	AfterSync
)

// Crash is a file system in memory that knows what a power cut would leave.
//
// Each file has a current content and a durable one, and between them the
// ordered list of writes and truncations since its last sync. Each directory
// has current and durable names, and between them the list of operations
// (create, remove, rename, link, mkdir) that no directory sync has covered.
// The sync points, at which something becomes durable, are Sync and SyncData of
// files and directories; they are counted, and the power can be cut at any of
// them. What is left is another Crash:
//
//   - PowerCut keeps all that was synced, and of the rest a part picked by the
//     seed. Of a file's unsynced writes each 512-byte sector may be there or not,
//     at any of the versions it had; the size is any it had; what lies inside it
//     and was lost reads as zeros. Unsynced name operations are kept or lost one
//     by one, a rename always whole. A directory that is lost takes all in it.
//   - PowerCutNone and PowerCutAll are the ends: nothing unsynced was lost, all
//     of it was.
//   - Kill keeps everything written, as the page cache does when only the process
//     dies, and remembers what of it is not yet synced.
//
// Two rules of real file systems hold even for what is lost: bytes cut off by a
// truncation that is durable do not come back, and bytes written where a
// truncation had cut do not arrive without it. A rename between two directories
// is durable once either of them is synced.
//
// Given the same operations in the same order and the same seeds, everything is
// repeated exactly. All methods may be called from any goroutine.
type Crash struct {
	mu    sync.Mutex
	seed  uint64
	root  *node
	next  uint64          // id of the newest node
	names []*nameOp       // unsynced operations on names, oldest first
	locks map[string]bool // paths held by Lock

	ops    int64 // sync points so far
	cutAt  int64 // sync point at which the power goes; 0 = none
	when   When
	isDead bool
}

// NewCrash answers an empty file system. The seed decides the order in which
// List answers and is mixed into that of PowerCut.
func NewCrash(seed uint64) *Crash {
	c := &Crash{seed: seed, locks: map[string]bool{}}
	c.root = c.newNode(true)
	return c
}

// Ops answers how many sync points there were so far.
func (c *Crash) Ops() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ops
}

// CutAt makes the n-th sync point (the first is 1) the moment at which the power
// goes: that sync and every operation after it fail with ErrCut, on files
// opened before as well. With BeforeSync what it would have made durable is not,
// with AfterSync it is. Closing files still succeeds.
func (c *Crash) CutAt(n int64, when When) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cutAt, c.when = n, when
}

// Cut makes every operation fail with ErrCut from now on.
func (c *Crash) Cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.isDead = true
}

// IsCut tells whether the power is gone, by Cut or by CutAt.
func (c *Crash) IsCut() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.isDead
}

// syncPointLocked counts one sync point and runs what it makes durable.
func (c *Crash) syncPointLocked(takeEffect func()) error {
	c.ops++
	if c.cutAt != c.ops {
		takeEffect()
		return nil
	}
	c.isDead = true
	if c.when == AfterSync {
		takeEffect()
	}
	return ErrCut
}

func (c *Crash) newNode(dir bool) *node {
	c.next++
	n := &node{id: c.next, dir: dir, gen: newGeneration()}
	if dir {
		n.entries, n.durable = map[string]*node{}, map[string]*node{}
	}
	n.touch()
	return n
}

// Unwrap answers nil: nothing is wrapped.
func (c *Crash) Unwrap() pvfs.FS { return nil }

// crashCapacity is the size of the pretended disk in bytes.
const crashCapacity = 1 << 40

// GetDiskUsage answers the bytes held by files that have a name, of a disk of
// 1 TiB. Wrap the file system in Faults to answer something else.
func (c *Crash) GetDiskUsage(name string) (DiskUsage, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := c.findLocked("statfs", name); err != nil {
		return DiskUsage{}, err
	}
	used := uint64(min(c.root.bytes(), crashCapacity))
	return DiskUsage{AvailBytes: crashCapacity - used, TotalBytes: crashCapacity, UsedBytes: used}, nil
}

func pathError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// crashLock is a held lock; closing it twice is harmless.
type crashLock struct {
	fs   *Crash
	path string
	once sync.Once
}

func (l *crashLock) Close() error {
	l.once.Do(func() {
		l.fs.mu.Lock()
		defer l.fs.mu.Unlock()
		delete(l.fs.locks, l.path)
	})
	return nil
}

// errLocked is what a second lock of one file answers.
func errLocked(name string) error {
	return fmt.Errorf("vfs: %s is locked already: %w", name, syscall.EAGAIN)
}
