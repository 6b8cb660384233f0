package logdir

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/storage/cleaner"
	"github.com/tidemark-mq/tidemark/storage/journal"
	"github.com/tidemark-mq/tidemark/storage/log"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

const (
	defaultReserve = 256 << 20
	spaceInterval  = time.Second
)

// startBackground starts what is done for all logs together. No log has a goroutine or timer of its own.
func (d *Dir) startBackground() {
	ctx, cancel := context.WithCancel(context.Background())
	d.cancel = cancel
	d.background.Go(func() { d.watchFailures(ctx) })
	d.background.Go(func() { every(ctx, d.o.RetentionInterval, d.retain) })
	d.background.Go(func() { every(ctx, spaceInterval, d.checkSpace) })
	if !d.o.NoCleaner {
		o := d.o.Cleaner
		o.Log, o.Metrics = d.log.Named("cleaner"), d.o.Metrics
		d.background.Go(func() { cleaner.New(o).Run(ctx, d.Logs) })
	}
}

func every(ctx context.Context, interval time.Duration, fn func(context.Context)) {
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			fn(ctx)
		}
	}
}

func (d *Dir) watchFailures(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-d.flusher.Failed():
		d.fail(d.flusher.Err())
	case err, ok := <-d.kv.Failed():
		if ok {
			d.fail(err)
		}
	}
}

// retain is one pass of retention over every log.
func (d *Dir) retain(ctx context.Context) {
	began, bytes, segments := time.Now(), int64(0), 0
	for _, l := range d.Logs() {
		if ctx.Err() != nil {
			return
		}
		if l.Damage() != nil {
			continue
		}
		done, err := l.Retain(time.Now())
		bytes, segments = bytes+done.Bytes, segments+done.Segments
		if err != nil && !errors.Is(err, log.ErrClosed) {
			d.log.Error("retention failed", zap.String("dir", l.Dir()), zap.Error(err))
		}
	}
	if segments > 0 {
		d.log.Info("retention", zap.Int("segments", segments), zap.Int64("bytes", bytes), zap.Duration("took", time.Since(began)))
	}
}

// OnDiskFull sets who hears when the disk reserve is reached and when there is room again.
func (d *Dir) OnDiskFull(fn func(full bool)) { d.onDiskFull.Store(&fn) }

// checkSpace compares the free space with the reserve. There must be twice the reserve before clients may write again, so that the
// answer does not change with every segment.
func (d *Dir) checkSpace(context.Context) {
	total, usable, err := d.Space()
	if err != nil {
		d.log.Warn("free space unknown", zap.Error(err))
		return
	}
	reserve := d.o.Reserve
	if reserve <= 0 {
		reserve = min(defaultReserve, total/20)
	}
	was := d.diskFull.Load()
	full := usable < reserve || was && usable < 2*reserve
	if full == was {
		return
	}
	d.diskFull.Store(full)
	if fn := d.onDiskFull.Load(); fn != nil {
		(*fn)(full)
	}
	if full {
		d.log.Error("disk reserve reached: produces are refused until space is freed", zap.Int64("freeBytes", usable), zap.Int64("reserveBytes", reserve))
	} else {
		d.log.Info("there is room on the disk again", zap.Int64("freeBytes", usable))
	}
}

// Close flushes everything, closes what is open, and writes the clean mark if all of it went well and nothing had failed.
func (d *Dir) Close() error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	d.closed = true
	active := d.flusher != nil
	d.mu.Unlock()
	if active {
		d.cancel()
		d.background.Wait()
	}
	err := d.closeLogs()
	if active && err == nil && d.Ready() != nil {
		select {
		case <-d.failed:
			err = fmt.Errorf("not a clean stop: %w", d.failure)
		default:
		}
	}
	if err == nil && active {
		err = d.recordClean()
	}
	err = errors.Join(err, d.closeKV())
	if err == nil && active {
		err = vfs.WriteFileAtomic(d.o.FS, d.path(cleanFile), fmt.Appendf(nil, "%d\n", d.lastSeq))
	}
	return errors.Join(err, d.unlock())
}

// closeLogs ends the flusher and closes every log; their states go to the facts.
func (d *Dir) closeLogs() error {
	var failures []error
	if d.flusher != nil {
		failures = append(failures, d.flusher.Close())
		d.lastSeq = d.flusher.LastSeq()
	}
	for key, e := range d.logs {
		if e.log.Damage() != nil {
			continue
		}
		state, err := e.log.Close()
		if err != nil {
			failures = append(failures, fmt.Errorf("close log %s: %w", e.log.Dir(), err))
			continue
		}
		d.known[key] = facts{recoveryPoint: e.log.RecoveryPoint(), start: e.log.Start(), cleanedTo: e.log.CleanedTo(), state: state.Encode(nil)}
	}
	return errors.Join(failures...)
}

// recordClean writes the facts of every log with its state.
func (d *Dir) recordClean() error {
	b := d.kv.NewBatch()
	defer b.Close()
	for key, e := range d.logs {
		if e.log.Damage() == nil {
			f := d.known[key]
			b.Set(factSpace, factKey(key), f.encode())
		}
	}
	return b.Commit(true)
}

func (d *Dir) closeKV() error {
	if d.kv == nil {
		return nil
	}
	return d.kv.Close()
}

func (d *Dir) unlock() error {
	if d.lock == nil {
		return nil
	}
	return d.lock.Close()
}

// abandon gives back what a failed Open took.
func (d *Dir) abandon() error { return errors.Join(d.closeKV(), d.unlock()) }

var _ journal.Syncer = (*log.Log)(nil)
