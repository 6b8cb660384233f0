package leases

import (
	"errors"

	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// watched is a disk that tells when a sync found it cut.
type watched struct {
	*vfs.Crash
	cut chan<- struct{}
}

type watchedFile struct {
	vfs.File
	cut chan<- struct{}
}

func (f watchedFile) tell(err error) error {
	if errors.Is(err, vfs.ErrCut) {
		select {
		case f.cut <- struct{}{}:
		default:
		}
	}
	return err
}

func (f watchedFile) Sync() error     { return f.tell(f.File.Sync()) }
func (f watchedFile) SyncData() error { return f.tell(f.File.SyncData()) }

func (d watched) file(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return watchedFile{f, d.cut}, nil
}

func (d watched) Create(name string, c vfs.Category) (vfs.File, error) {
	return d.file(d.Crash.Create(name, c))
}

func (d watched) OpenReadWrite(name string, c vfs.Category, opts ...vfs.OpenOption) (vfs.File, error) {
	return d.file(d.Crash.OpenReadWrite(name, c, opts...))
}

func (d watched) ReuseForWrite(oldname, newname string, c vfs.Category) (vfs.File, error) {
	return d.file(d.Crash.ReuseForWrite(oldname, newname, c))
}

func (d watched) OpenDir(name string) (vfs.File, error) { return d.file(d.Crash.OpenDir(name)) }
