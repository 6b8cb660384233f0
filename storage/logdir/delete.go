package logdir

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/storage/journal"
	"github.com/tidemark-mq/tidemark/storage/log"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// DeleteLog deletes a log. When it returns nil the deletion is durable; the files go in the background.
func (d *Dir) DeleteLog(l *log.Log) error {
	e := d.entryOf(l)
	if e == nil {
		return fmt.Errorf("logdir: delete %s: %w", l.Dir(), log.ErrClosed)
	}
	if err := e.void(); err != nil {
		return fmt.Errorf("logdir: delete %s: %w", l.Dir(), err)
	}
	trash, err := l.Delete()
	d.mu.Lock()
	delete(d.logs, e.key)
	delete(d.wanted, e.key)
	d.mu.Unlock()
	if trash != "" {
		d.throw(trash)
	}
	return errors.Join(err, d.dropRescued(e.key))
}

// void makes durable that the log is no more: no facts, and nothing in the journal that counts.
func (e *entry) void() error {
	s := e.stream.Load()
	if s == nil {
		return e.dropFacts()
	}
	if err := s.Void(0, e.dropFacts); err != nil {
		return err
	}
	s.Close()
	return nil
}

func (e *entry) dropFacts() error {
	b := e.d.kv.NewBatch()
	dropFacts(b, e.key)
	return b.Commit(true)
}

// stray is a log, or what is left of one, that nobody has opened.
type stray struct {
	key  journal.Key // with known
	dir  string      // base name in the logs directory, "" when there is none
	fact bool
}

// Strays names what is in the directory of logs that nobody has opened: of topics deleted while the broker was down, or whose
// deletion was cut short.
func (d *Dir) Strays() ([]string, error) {
	all, err := d.strays()
	if err != nil {
		return nil, err
	}
	names := make([]string, len(all))
	for i, s := range all {
		names[i] = s.dir
		if s.dir == "" {
			names[i] = s.key.String()
		}
	}
	return names, nil
}

func (d *Dir) strays() ([]stray, error) {
	var all []stray
	wanted := map[string]bool{} // a log that could not be opened is not a stray
	d.mu.Lock()
	for key := range d.known {
		if d.wanted[key] == "" {
			all = append(all, stray{key: key, fact: true})
		}
	}
	for _, name := range d.wanted {
		wanted[name] = true
	}
	d.mu.Unlock()
	names, err := d.fs.List(d.path(logsDir))
	if err != nil {
		return nil, fmt.Errorf("logdir: list %s: %w", d.path(logsDir), err)
	}
	for _, name := range names {
		if !wanted[name] && (log.IsTrash(name) || isPartition(name)) {
			all = append(all, stray{dir: name})
		}
	}
	return all, nil
}

// isPartition tells whether name is "<topic>-<partition>".
func isPartition(name string) bool {
	dash := strings.LastIndexByte(name, '-')
	if dash <= 0 {
		return false
	}
	n, err := strconv.ParseInt(name[dash+1:], 10, 32)
	return err == nil && n >= 0
}

// RemoveStrays deletes what Strays names. To be called when all logs of this broker are open.
func (d *Dir) RemoveStrays() error {
	all, err := d.strays()
	if err != nil {
		return err
	}
	b := d.kv.NewBatch()
	for _, s := range all {
		if s.fact {
			dropFacts(b, s.key)
		}
	}
	if err := commit(b); err != nil {
		return fmt.Errorf("logdir: forget deleted logs: %w", err)
	}
	for _, s := range all {
		if s.fact {
			d.mu.Lock()
			delete(d.known, s.key)
			d.mu.Unlock()
			if err := d.dropRescued(s.key); err != nil {
				return err
			}
			continue
		}
		d.o.Log.Info("removing a log that no topic has", zap.String("dir", s.dir))
		path := d.fs.PathJoin(d.o.Dir, logsDir, s.dir)
		if log.IsTrash(s.dir) {
			d.throw(path)
		} else if err := d.putAside(path); err != nil {
			return err
		}
	}
	return nil
}

// putAside takes a partition directory that is not wanted any more, durably, out of the way.
func (d *Dir) putAside(dir string) error {
	id, err := log.ReadTopicID(d.fs, dir)
	if err != nil && !saysNothing(err) {
		return fmt.Errorf("logdir: %s: %w", dir, err)
	}
	trash := trashPath(d.fs, dir, id)
	if err := d.fs.Rename(dir, trash); err != nil {
		return fmt.Errorf("logdir: put %s aside: %w", dir, err)
	}
	if err := vfs.SyncDir(d.fs, d.fs.PathDir(dir)); err != nil {
		return fmt.Errorf("logdir: put %s aside: %w", dir, err)
	}
	d.throw(trash)
	return nil
}

// trashPath is the name that dir gets, as log.Delete would give it. The topic is cut where it would be too long.
func trashPath(fsys vfs.FS, dir string, id uuid.ID) string {
	base, suffix := fsys.PathBase(dir), "."+id.String()+"-delete"
	const longest = 255 // of a file name
	return fsys.PathJoin(fsys.PathDir(dir), base[:min(len(base), longest-len(suffix))]+suffix)
}

// trash is what waits to be removed. Its length is bounded by the number of directories there are.
type trash struct {
	paths []string
	more  chan struct{}
	once  sync.Once
}

func (t *trash) wake() chan struct{} {
	t.once.Do(func() { t.more = make(chan struct{}, 1) })
	return t.more
}

// throw has a directory removed in the background.
func (d *Dir) throw(path string) {
	d.mu.Lock()
	d.trash.paths = append(d.trash.paths, path)
	d.mu.Unlock()
	select {
	case d.trash.wake() <- struct{}{}:
	default:
	}
}

// emptyTrash removes directories until the Dir is closed. What is left then, the next start finds by its name.
func (d *Dir) emptyTrash(ctx context.Context) {
	for {
		d.mu.Lock()
		path := ""
		if len(d.trash.paths) > 0 {
			path = d.trash.paths[0]
			d.trash.paths = d.trash.paths[1:]
		}
		d.mu.Unlock()
		if path != "" {
			if err := d.fs.RemoveAll(path); err != nil {
				d.o.Log.Warn("deleted log is not removed; the next start tries again", zap.String("dir", path), zap.Error(err))
			}
			if ctx.Err() != nil {
				return
			}
			continue
		}
		select {
		case <-d.trash.wake():
		case <-ctx.Done():
			return
		}
	}
}
