package log

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/storage/segment"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// Close syncs the log, writes what a start needs to go on without reading it, and closes its files; reads under way keep theirs.
// The State is to be kept and given to the next Open. After an error, the next Open must recover. A log that nothing was
// appended to since it was opened is closed without touching the disk.
func (l *Log) Close() (State, error) {
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.damage != nil {
		l.forget()
		return State{}, l.damage
	}
	if err := l.usable(); err != nil {
		l.forget()
		return State{}, err
	}
	state, err := l.closeLocked()
	l.failed.Store(&failure{ErrClosed})
	l.forget()
	if err != nil {
		return State{}, fmt.Errorf("log: close %s: %w", l.o.Dir, err)
	}
	return state, nil
}

func (l *Log) closeLocked() (State, error) {
	s, end := l.active(), l.end.Load()
	if l.on.producers.len() > 0 && l.on.snapshotAt != end {
		l.writeSnapshotLocked(end)
	}
	if s != nil && (end > l.RecoveryPoint() || s.Unsaved()) {
		if err := s.Seal(); err != nil {
			return State{}, err
		}
	}
	if l.unsyncedLocked() {
		if err := l.syncLocked(); err != nil {
			return State{}, err
		}
	}
	if l.on.exists && len(l.on.snapshots) == 0 {
		if err := l.dropSnapshots(l.strays()); err != nil {
			return State{}, err
		}
	}
	l.removeDoomed(time.Unix(math.MaxInt32, 0))
	return l.stateLocked(), nil
}

// unsyncedLocked tells whether there is anything for a sync to do.
func (l *Log) unsyncedLocked() bool {
	on := &l.on
	return l.end.Load() > l.RecoveryPoint() || len(on.sealed) > 0 || len(on.snapshots) > 0 || on.dirtyDir || on.dirtyParent || on.dirtyMeta ||
		on.dirtyEpochs && on.exists
}

// forget closes files that are not in use.
func (l *Log) forget() {
	for _, s := range l.list() {
		s.Forget()
	}
}

// trashSuffix ends the name of a directory that only waits to be removed.
const trashSuffix = "-delete"

// IsTrash tells whether a directory name is one that Delete gave.
func IsTrash(name string) bool { return strings.HasSuffix(name, trashSuffix) }

// Delete closes the log for good and renames its directory, durably, so that it is not taken for a log any more. It answers the
// new name, which the caller removes when it likes, "" when nothing was on disk. Reads under way keep their files.
func (l *Log) Delete() (trash string, err error) {
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed.Store(&failure{ErrClosed})
	defer l.forget()
	if !l.on.exists {
		return "", nil
	}
	files := l.o.FS
	trash = files.PathJoin(files.PathDir(l.o.Dir), trashName(files.PathBase(l.o.Dir), l.o.ID.String()))
	if err := files.Rename(l.o.Dir, trash); err != nil {
		return "", fmt.Errorf("log: delete %s: %w", l.o.Dir, err)
	}
	if err := vfs.SyncDir(files, files.PathDir(l.o.Dir)); err != nil {
		return trash, fmt.Errorf("log: delete %s: %w", l.o.Dir, err)
	}
	return trash, nil
}

// maxName is the longest file name that common file systems take.
const maxName = 255

// trashName is "<topic>-<partition>.<topic id>-delete". Where that is too long the topic is cut, not the partition.
func trashName(base, id string) string {
	suffix := "." + id + trashSuffix
	if over := len(base) + len(suffix) - maxName; over > 0 {
		dash := strings.LastIndexByte(base, '-')
		if dash < 0 {
			dash = len(base)
		}
		base = base[:max(0, dash-over)] + base[dash:]
	}
	return base + suffix
}

// ReadTopicID says which topic a partition's directory belongs to. fs.ErrNotExist: it does not say; segment.ErrSideFile: what it
// says cannot be read, as after a power cut before its first sync.
func ReadTopicID(files vfs.FS, dir string) (uuid.ID, error) {
	m, err := readMetadata(files, dir)
	return m.Topic, err
}

const maxMetadata = 4 << 10

func readMetadata(files vfs.FS, dir string) (segment.Metadata, error) {
	data, err := vfs.ReadFile(files, files.PathJoin(dir, segment.MetadataFile), maxMetadata)
	if err != nil {
		return segment.Metadata{}, err
	}
	m, err := segment.DecodeMetadata(data)
	if err != nil {
		return m, fmt.Errorf("%s: %w", dir, err)
	}
	return m, nil
}
