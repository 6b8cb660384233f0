package simulation

import (
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// watch is what is seen of the disks of all lives, and how fast they are.
type watch struct {
	cut     chan struct{} // hears that a sync found the disk cut
	slowest time.Duration // how long a sync of the journal takes at most; 0: no time
	slow    atomic.Bool   // while true: syncs of the journal take time
	syncs   atomic.Uint64
}

// watched is a life's disk. It tells when a sync found it cut. Syncs of the journal, on which most answers wait, may take time;
// others, and those of starts and ends, do not: time stands still while anybody waits for a mutex.
type watched struct {
	*vfs.Crash
	watch *watch
}

type watchedFile struct {
	vfs.File
	watch   *watch
	journal bool
}

func (f watchedFile) delay() {
	if n := f.watch.syncs.Add(0x9e3779b97f4a7c15); f.journal && f.watch.slowest > 0 && f.watch.slow.Load() {
		time.Sleep(time.Duration(n % uint64(f.watch.slowest)))
	}
}

func (f watchedFile) tell(err error) error {
	if errors.Is(err, vfs.ErrCut) {
		select {
		case f.watch.cut <- struct{}{}:
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
	return watchedFile{f, d.watch, strings.Contains(name, "/journal/")}, nil
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

// Remains is what a crash leaves of a disk, as a seed has it: all that was written, as a kill does; all or nothing of what was not
// synced; or some of it. The disk itself stays as it was. It fits World.Crash.
func Remains(disk *vfs.Crash, seed uint64) *vfs.Crash {
	switch seed % 4 {
	case 0:
		return disk.PowerCutAll()
	case 1:
		return disk.Kill()
	case 2:
		return disk.PowerCutNone()
	}
	return disk.PowerCut(seed)
}
