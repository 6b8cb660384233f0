package log

import (
	"errors"
	"fmt"

	"github.com/tidemark-mq/tidemark/storage/segment"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// Sync makes the log durable up to at least upTo: what is appended by the time of the call, older segments and the directory
// first (durability rule 3), and moves the recovery point. Appends go on meanwhile. The first failure is final: every later
// Sync fails as well, and nothing is appended any more (rule 11).
func (l *Log) Sync(upTo int64) error {
	if l.RecoveryPoint() >= upTo {
		return nil
	}
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	if l.RecoveryPoint() >= upTo {
		return nil
	}
	return l.syncAll()
}

// unsynced is what one sync has to make durable.
type unsynced struct {
	end         int64
	sealed      []*segment.Segment
	active      *segment.Segment // nil: nothing new in it
	epochs      []segment.EpochEntry
	snapshots   []int64 // offsets of producer snapshots
	dirtyDir    bool
	dirtyParent bool
	dirtyMeta   bool
	dirtyEpochs bool
}

// syncAll is Sync with syncMu held.
func (l *Log) syncAll() error {
	l.mu.Lock()
	if err := l.usable(); err != nil {
		l.mu.Unlock()
		return err
	}
	w := l.takeUnsyncedLocked()
	l.mu.Unlock()
	return l.syncWork(w)
}

// syncLocked is syncAll for those who hold mu as well: truncation and Close.
func (l *Log) syncLocked() error {
	if err := l.usable(); err != nil {
		return err
	}
	return l.syncWork(l.takeUnsyncedLocked())
}

func (l *Log) takeUnsyncedLocked() unsynced {
	on := &l.on
	w := unsynced{
		end: l.end.Load(), sealed: on.sealed, snapshots: on.snapshots, epochs: *l.epochs.Load(),
		dirtyDir: on.dirtyDir, dirtyParent: on.dirtyParent, dirtyMeta: on.dirtyMeta, dirtyEpochs: on.dirtyEpochs && on.exists,
	}
	if s := l.active(); s != nil && s.Next() > l.RecoveryPoint() {
		w.active = s
	}
	on.sealed, on.snapshots = nil, nil
	on.dirtyDir, on.dirtyParent, on.dirtyMeta = false, false, false
	on.dirtyEpochs = on.dirtyEpochs && !on.exists
	return w
}

func (l *Log) syncWork(w unsynced) error {
	if err := l.makeDurable(w); err != nil {
		return l.syncFailed("sync", err)
	}
	l.recovered.Store(w.end)
	return nil
}

func (l *Log) makeDurable(w unsynced) error {
	for _, s := range w.sealed {
		if err := errors.Join(s.Seal(), s.SyncLog(), s.SyncIndexes()); err != nil {
			return err
		}
		w.dirtyDir = true // the names of its indexes
	}
	if w.active != nil {
		if err := errors.Join(w.active.SyncLog(), w.active.SyncTxns()); err != nil {
			return err
		}
	}
	for _, offset := range w.snapshots {
		if err := l.syncFile(segment.Name(offset, segment.SnapshotExt)); err != nil {
			return err
		}
	}
	if w.dirtyMeta {
		if err := l.syncFile(segment.MetadataFile); err != nil {
			return err
		}
	}
	if w.dirtyEpochs { // atomic, so the directory is synced as well
		if err := vfs.WriteFileAtomic(l.o.FS, l.path(segment.EpochFile), segment.EncodeEpochs(w.epochs)); err != nil {
			return err
		}
		w.dirtyDir = false
	}
	if w.dirtyDir {
		if err := l.syncDir(); err != nil {
			return err
		}
	}
	if w.dirtyParent {
		return vfs.SyncDir(l.o.FS, l.o.FS.PathDir(l.o.Dir))
	}
	return nil
}

func (l *Log) path(name string) string { return l.o.FS.PathJoin(l.o.Dir, name) }

func (l *Log) syncDir() error { return vfs.SyncDir(l.o.FS, l.o.Dir) }

func (l *Log) syncFile(name string) error {
	f, err := l.o.FS.OpenReadWrite(l.path(name), vfs.Unspecified)
	if err != nil {
		return fmt.Errorf("log: %w", err)
	}
	return errors.Join(f.SyncData(), f.Close())
}

// writeFile replaces a small file without syncing it.
func (l *Log) writeFile(name string, data []byte) error {
	f, err := l.o.FS.Create(l.path(name), vfs.Unspecified)
	if err != nil {
		return fmt.Errorf("log: %w", err)
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}
