package logdir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/tidemark-mq/tidemark/storage/journal"
	"github.com/tidemark-mq/tidemark/storage/kv"
	"github.com/tidemark-mq/tidemark/storage/log"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// Activate takes the directory into use: it has to be called after the logs that are known at the start are opened and before
// anything is appended. Logs opened later work at once; a further call after opening some makes sure that the first appends to
// them find their facts synced. An error is final.
func (d *Dir) Activate() error {
	d.activating.Lock()
	defer d.activating.Unlock()
	d.mu.Lock()
	err, closed := d.err, d.closed
	d.mu.Unlock()
	switch {
	case err != nil:
		return err
	case closed:
		return ErrClosed
	case d.flusher.Load() == nil:
		err = d.activate()
	default:
		err = d.settleFacts()
	}
	if err != nil {
		d.fail(err)
		return d.Ready()
	}
	return nil
}

// activate is the first Activate. The order matters: what recovery found is recorded before the journal it came from is declared
// void, and the clean-shutdown marker is gone before anything can be acknowledged.
func (d *Dir) activate() error {
	if !d.clean {
		if err := d.recoverRest(); err != nil {
			return err
		}
	}
	d.progress.over()
	if err := d.recordRecovered(); err != nil {
		return err
	}
	if err := d.removeDurably(cleanFile); err != nil {
		return err
	}
	fl, err := journal.Start(journal.Options{
		FS: d.fs, Dir: d.path(journalDir), After: d.after, Reset: !d.clean, Record: d.record,
		FileBytes: d.o.Journal.FileBytes, MaxBytes: d.o.Journal.MaxBytes, OwnSyncBytes: d.o.Journal.OwnSyncBytes,
		MaxRoundBytes: d.o.Journal.MaxRoundBytes, CheckpointAge: d.o.Journal.CheckpointAge,
		Log: d.o.Log.Named("journal"), Metrics: d.o.Metrics,
	})
	if err != nil {
		return err
	}
	d.replayed = &journal.Replayed{} // its files are being written over
	d.mu.Lock()
	d.flusher.Store(fl)
	all := make([]*entry, 0, len(d.logs))
	var recovered []journal.Key
	for key, e := range d.logs {
		if e.log != nil && e.log.Damage() == nil {
			all = append(all, e)
			recovered = append(recovered, key)
		}
	}
	for key, f := range d.known {
		if f.closed {
			recovered = append(recovered, key)
		}
	}
	d.mu.Unlock()
	for _, e := range all {
		e.join(fl)
	}
	for _, key := range recovered {
		if err := d.dropRescued(key); err != nil {
			return err
		}
	}
	if err := d.removeDurably(failedFile); err != nil {
		return err
	}
	d.startBackground(fl)
	return nil
}

// removeDurably removes one of the directory's small files, if it is there.
func (d *Dir) removeDurably(name string) error {
	err := d.fs.Remove(d.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = vfs.SyncDir(d.fs, d.o.Dir)
	}
	if err != nil {
		return fmt.Errorf("logdir: remove %s: %w", d.path(name), err)
	}
	return nil
}

// recordRecovered makes the recovery points of all opened logs facts.
func (d *Dir) recordRecovered() error {
	b := d.kv.NewBatch()
	d.mu.Lock()
	for key, e := range d.logs {
		if d.clean && !e.mended || e.log == nil || e.log.Damage() != nil {
			continue
		}
		putRecovered(b, key, e.log)
	}
	d.mu.Unlock()
	if d.unsure.Swap(false) || !d.clean {
		b.Set(metaSpace, []byte("settled"), nil)
	}
	return commit(b)
}

// putRecovered writes the facts of a log that recovery left open.
func putRecovered(b *kv.Batch, key journal.Key, l *log.Log) {
	setNumber(b, key, factPoint, l.RecoveryPoint())
	b.Delete(factSpace, factKey(key, factPromised))
}

// recoverRest recovers the logs that nobody has opened, and closes them again: the journal, which is about to be declared void,
// may hold their newest records.
func (d *Dir) recoverRest() error {
	keys, deleted := d.unopened()
	b := d.kv.NewBatch()
	for _, key := range deleted {
		dropFacts(b, key)
	}
	if err := commit(b); err != nil {
		return err
	}
	var g errgroup.Group
	g.SetLimit(2 * runtime.GOMAXPROCS(0))
	for _, key := range keys {
		g.Go(func() error { return d.recoverOne(key) })
	}
	return g.Wait()
}

// unopened answers the logs that facts know and nobody has opened. Those whose directory is another log's now are of topics that
// were deleted and made again: what is left of them is forgotten.
func (d *Dir) unopened() (keys, deleted []journal.Key) {
	d.mu.Lock()
	defer d.mu.Unlock()
	taken := map[string]bool{}
	for key, name := range d.wanted {
		if d.logs[key] != nil {
			taken[name] = true
		}
	}
	for key, f := range d.known {
		if !taken[d.fs.PathBase(d.logPath(f.topic, key.Partition))] {
			keys = append(keys, key)
			continue
		}
		deleted = append(deleted, key)
		delete(d.known, key)
	}
	return keys, deleted
}

func (d *Dir) recoverOne(key journal.Key) error {
	d.mu.Lock()
	known := *d.known[key]
	d.mu.Unlock()
	e := &entry{d: d, key: key, topic: known.topic}
	l, report, err := d.openOne(e, &known, log.DefaultConfig())
	if err != nil {
		d.o.Log.Error("log cannot be recovered", zap.String("topic", known.topic), zap.Int32("partition", key.Partition), zap.Error(err))
		return d.preserve(key, known.topic, known.promised)
	}
	if report.Damage != nil {
		_, _ = l.Close()
		return d.preserve(key, known.topic, report.Damage.Promised)
	}
	state, err := l.Close()
	if err != nil {
		return err
	}
	known.point, known.start, known.promised = state.End, state.Start, 0
	known.state, known.closed = state.Encode(nil), true
	b := d.kv.NewBatch()
	putState(b, key, &state)
	if err := b.Commit(false); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.known[key] = &known
	return nil
}

// putState writes the facts of a log that is closed cleanly.
func putState(b *kv.Batch, key journal.Key, s *log.State) {
	b.Set(factSpace, factKey(key, factState), s.Encode(nil))
	setNumber(b, key, factPoint, s.End)
	setNumber(b, key, factStart, s.Start)
	setNumber(b, key, factCleaned, s.CleanedTo)
	b.Delete(factSpace, factKey(key, factPromised))
}

// startBackground starts what goes on until Close.
func (d *Dir) startBackground(fl *journal.Flusher) {
	ctx, cancel := context.WithCancel(context.Background())
	d.stop = cancel
	d.metrics = newMetrics(d, d.o.Metrics)
	d.background.Go(func() { d.watchFailures(ctx, fl) })
	d.background.Go(func() { d.housekeeping(ctx) })
	d.background.Go(func() { d.watchSpace(ctx) })
	d.background.Go(func() { d.emptyTrash(ctx) })
	if !d.o.NoCleaner {
		d.background.Go(func() { d.compaction(ctx) })
	}
}

// watchFailures turns a failure of the flusher, of a log or of the key-value store into the directory's.
func (d *Dir) watchFailures(ctx context.Context, fl *journal.Flusher) {
	select {
	case <-fl.Failed():
		d.fail(fl.Err())
	case err := <-d.logFailed:
		d.fail(err)
	case err, ok := <-d.kv.Failed():
		if ok {
			d.fail(err)
		}
	case <-ctx.Done():
	}
}

// syncFailed has the directory fail for a log's failed sync. While the log is being opened the failure is OpenLog's answer.
func (e *entry) syncFailed(err error) {
	e.d.mu.Lock()
	opened := e.log != nil
	e.d.mu.Unlock()
	if !opened {
		return
	}
	select {
	case e.d.logFailed <- err:
	default: // it is not the first
	}
}
