package leases

import (
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// watched is a disk that tells when a sync found it cut. Syncs of the journal, on which most answers wait, take time; others, and
// those of a start, do not: time stands still while anybody waits for a mutex.
type watched struct {
	*vfs.Crash
	cut   chan<- struct{}
	syncs *atomic.Uint64
	busy  *atomic.Bool // nothing starts or ends
}

type watchedFile struct {
	vfs.File
	disk watched
	slow bool
}

// slowest is how long a sync takes at most.
const slowest = 4 * time.Millisecond

func (f watchedFile) delay() {
	if n := f.disk.syncs.Add(0x9e3779b97f4a7c15); f.slow && f.disk.busy.Load() {
		time.Sleep(time.Duration(n % uint64(slowest)))
	}
}

func (f watchedFile) tell(err error) error {
	if errors.Is(err, vfs.ErrCut) {
		select {
		case f.disk.cut <- struct{}{}:
		default:
		}
	}
	return err
}

func (f watchedFile) Sync() error {
	f.delay()
	return f.tell(f.File.Sync())
}

func (f watchedFile) SyncData() error {
	f.delay()
	return f.tell(f.File.SyncData())
}

func (d watched) file(name string, f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return watchedFile{f, d, strings.Contains(name, "/journal/")}, nil
}

func (d watched) Create(name string, c vfs.Category) (vfs.File, error) {
	f, err := d.Crash.Create(name, c)
	return d.file(name, f, err)
}

func (d watched) OpenReadWrite(name string, c vfs.Category, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := d.Crash.OpenReadWrite(name, c, opts...)
	return d.file(name, f, err)
}

func (d watched) ReuseForWrite(oldname, newname string, c vfs.Category) (vfs.File, error) {
	f, err := d.Crash.ReuseForWrite(oldname, newname, c)
	return d.file(newname, f, err)
}

func (d watched) OpenDir(name string) (vfs.File, error) {
	f, err := d.Crash.OpenDir(name)
	return d.file(name, f, err)
}
