package logdir

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/tidemark-mq/tidemark/storage/kv"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// Close stops the background, syncs and closes all logs, and leaves the clean-shutdown marker, if all went well; then it gives
// the directory free. Whoever appends should have stopped: what is not told as flushed by now never is.
func (d *Dir) Close() error {
	d.activating.Lock()
	defer d.activating.Unlock()
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	d.closed = true
	failure := d.err
	d.mu.Unlock()
	if d.stop != nil {
		d.stop()
		d.background.Wait()
		d.metrics.unregister()
	}
	err := failure
	fl := d.flusher.Load()
	switch {
	case fl == nil:
		d.closeUnused()
	case failure != nil: // nothing is synced any more, as if it could still be believed
		_ = fl.Close()
	default:
		err = errors.Join(d.closeLogs(), fl.Close(), fl.Err())
	}
	err = errors.Join(err, d.files.Close(), d.kv.Close())
	if err == nil && fl != nil {
		err = d.markClean()
	}
	if err = errors.Join(err, d.lock.Close()); err != nil {
		return fmt.Errorf("logdir: close %s: %w", d.o.Dir, err)
	}
	return nil
}

// closeUnused closes logs that were opened but never taken into use; everything on disk stays as the last stop, or recovery,
// left it.
func (d *Dir) closeUnused() {
	for _, l := range d.Logs() {
		_, _ = l.Close()
	}
}

// closeLogs closes all logs and makes their states facts.
func (d *Dir) closeLogs() error {
	d.mu.Lock()
	all := make([]*entry, 0, len(d.logs))
	for _, e := range d.logs {
		if e.log != nil {
			all = append(all, e)
		}
	}
	d.mu.Unlock()
	var mu sync.Mutex // guards b
	b := d.kv.NewBatch()
	var g errgroup.Group
	g.SetLimit(4 * runtime.GOMAXPROCS(0))
	for _, e := range all {
		g.Go(func() error { return e.close(&mu, b) })
	}
	if err := g.Wait(); err != nil {
		_ = b.Close()
		return err
	}
	return commit(b)
}

func (e *entry) close(mu *sync.Mutex, b *kv.Batch) error {
	if s := e.stream.Load(); s != nil {
		s.Close() // first: its syncs would fail on a closed log
	}
	state, err := e.log.Close()
	if e.log.Damage() != nil {
		return nil // its facts stay as they are
	}
	if err != nil {
		return err
	}
	mu.Lock()
	defer mu.Unlock()
	putState(b, e.key, &state)
	return nil
}

// markClean leaves the marker. Everything it vouches for is durable.
func (d *Dir) markClean() error {
	mark, err := json.Marshal(cleanMark{Version: 1, JournalLast: d.flusher.Load().LastSeq()})
	if err != nil {
		return err
	}
	return vfs.WriteFileAtomic(d.fs, d.path(cleanFile), append(mark, '\n'))
}
