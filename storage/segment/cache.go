package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// DefaultOpenFiles is how many files a Cache keeps open when nothing else is asked for.
const DefaultOpenFiles = 1024

// diskCategory labels the writes of logs in the statistics of the file system.
const diskCategory = vfs.Category("log")

// Cache opens the files of many segments on first use and keeps the recently used ones open, up to a limit. Files in use
// are never closed, so the limit is passed while more than that many are in use at once. Safe for concurrent use.
type Cache struct {
	fs    vfs.FS
	limit int

	mu   sync.Mutex
	open int  // files open now
	idle File // head of the ring of open files that nobody uses, least recently used first
}

// NewCache returns a cache of at most limit open files; zero or less means DefaultOpenFiles.
func NewCache(files vfs.FS, limit int) *Cache {
	if limit <= 0 {
		limit = DefaultOpenFiles
	}
	c := &Cache{fs: files, limit: limit}
	c.idle.prev, c.idle.next = &c.idle, &c.idle
	return c
}

// FS is the file system that the cache opens files on.
func (c *Cache) FS() vfs.FS { return c.fs }

// Open is the number of files open now.
func (c *Cache) Open() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open
}

// Close closes every file that is not in use; those in use are closed when their last user releases them.
func (c *Cache) Close() error {
	c.mu.Lock()
	c.limit = 0
	victims := c.evictLocked()
	c.mu.Unlock()
	return closeAll(victims)
}

// evictLocked takes idle files out of the cache until the limit holds; the caller closes them without the lock.
func (c *Cache) evictLocked() []vfs.File {
	var victims []vfs.File
	for c.open > c.limit && c.idle.next != &c.idle {
		f := c.idle.next
		f.unlinkLocked()
		victims = append(victims, f.file)
		f.file = nil
		c.open--
	}
	return victims
}

func closeAll(files []vfs.File) error {
	var errs []error
	for _, f := range files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// File is a file that is open only while it is used, and for as long afterwards as its cache has room. A file that is
// renamed or removed stays readable for those who hold it.
type File struct {
	cache    *Cache
	writable bool

	opening sync.Mutex // held while the file is being opened; taken before cache.mu

	// Guarded by cache.mu.
	path       string
	file       vfs.File // nil while closed
	refs       int
	gone       bool // no longer worth keeping open
	prev, next *File
}

// File returns the file at path without opening it. A writable one is also opened for writing.
func (c *Cache) File(path string, writable bool) *File {
	return &File{cache: c, path: path, writable: writable}
}

// Path is where the file is now.
func (f *File) Path() string {
	f.cache.mu.Lock()
	defer f.cache.mu.Unlock()
	return f.path
}

// Acquire opens the file unless it is open. What it returns stays valid until the matching Release.
func (f *File) Acquire() (vfs.File, error) {
	if file := f.take(); file != nil {
		return file, nil
	}
	f.opening.Lock()
	defer f.opening.Unlock()
	if file := f.take(); file != nil {
		return file, nil
	}
	path := f.Path()
	file, err := f.cache.openFile(path, f.writable)
	if err != nil {
		return nil, fmt.Errorf("segment: open %s: %w", path, err)
	}
	c := f.cache
	c.mu.Lock()
	f.file, f.refs = file, 1
	c.open++
	victims := c.evictLocked()
	c.mu.Unlock()
	// A file that was evicted here was in nobody's use; failing to close it concerns nobody who waits now.
	_ = closeAll(victims)
	return file, nil
}

// openFile never makes a file: what should be there and is not is an error, also for writing.
func (c *Cache) openFile(path string, writable bool) (vfs.File, error) {
	if !writable {
		return c.fs.Open(path)
	}
	if _, err := c.fs.Stat(path); err != nil {
		return nil, err
	}
	return c.fs.OpenReadWrite(path, diskCategory)
}

// take adds a user when the file is open.
func (f *File) take() vfs.File {
	c := f.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.file == nil {
		return nil
	}
	if f.refs == 0 {
		f.unlinkLocked()
	}
	f.refs++
	return f.file
}

// Release gives back what one Acquire returned.
func (f *File) Release() {
	c := f.cache
	c.mu.Lock()
	f.refs--
	var victims []vfs.File
	if f.refs == 0 {
		f.linkLocked()
		if f.gone {
			victims = f.closeLocked()
		} else {
			victims = c.evictLocked()
		}
	}
	c.mu.Unlock()
	_ = closeAll(victims)
}

// Forget closes the file as soon as nobody uses it. It can be opened again all the same.
func (f *File) Forget() {
	c := f.cache
	c.mu.Lock()
	f.gone = true
	var victims []vfs.File
	if f.file != nil && f.refs == 0 {
		victims = f.closeLocked()
	}
	c.mu.Unlock()
	_ = closeAll(victims)
}

// Rename gives the file another path. Those who hold it open keep it.
func (f *File) Rename(path string) error {
	f.opening.Lock()
	defer f.opening.Unlock()
	old := f.Path()
	if err := f.cache.fs.Rename(old, path); err != nil {
		return fmt.Errorf("segment: rename %s: %w", old, err)
	}
	f.setPath(path)
	return nil
}

func (f *File) setPath(path string) {
	f.cache.mu.Lock()
	defer f.cache.mu.Unlock()
	f.path = path
}

// create makes an empty file in place of whatever is at path. It comes acquired.
func (c *Cache) create(path string) (*File, error) {
	if err := c.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("segment: %w", err)
	}
	file, err := c.fs.OpenReadWrite(path, diskCategory)
	if err != nil {
		return nil, fmt.Errorf("segment: create %s: %w", path, err)
	}
	f := c.File(path, true)
	c.mu.Lock()
	f.file, f.refs = file, 1
	c.open++
	victims := c.evictLocked()
	c.mu.Unlock()
	_ = closeAll(victims)
	return f, nil
}

func (f *File) closeLocked() []vfs.File {
	f.unlinkLocked()
	file := f.file
	f.file = nil
	f.cache.open--
	return []vfs.File{file}
}

// linkLocked makes the file the most recently used idle one.
func (f *File) linkLocked() {
	head := &f.cache.idle
	f.prev, f.next = head.prev, head
	f.prev.next, head.prev = f, f
}

func (f *File) unlinkLocked() {
	f.prev.next, f.next.prev = f.next, f.prev
	f.prev, f.next = nil, nil
}
