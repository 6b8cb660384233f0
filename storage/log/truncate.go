package log

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tidemark-mq/tidemark/storage/segment"
)

// TruncateTo cuts off all records from offset on; a batch that reaches it goes as a whole. Nothing happens at or beyond the log's
// end. Durability rule 4: sync, lower the recovery point and void the journal's entries (Hooks.Void), cut from the end, sync.
// Appends wait meanwhile. After an error the log is offline.
func (l *Log) TruncateTo(offset int64) error {
	if offset < l.Start() {
		return l.TruncateFullyAndStartAt(offset)
	}
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	if offset >= l.End() {
		return nil
	}
	return l.truncated(l.truncateLocked(offset))
}

// TruncateFullyAndStartAt removes all records; the log goes on, empty, at offset.
func (l *Log) TruncateFullyAndStartAt(offset int64) error {
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	return l.truncated(l.restartLocked(offset))
}

func (l *Log) truncated(err error) error {
	if err != nil {
		return l.fail("truncate", err)
	}
	return nil
}

func (l *Log) truncateLocked(offset int64) error {
	list := l.list()
	keep := len(list)
	for keep > 0 && list[keep-1].Base() >= offset {
		keep--
	}
	pos, end := int64(-1), offset
	if keep > 0 && list[keep-1].Next() > offset {
		var err error
		if pos, end, err = list[keep-1].CutPoint(offset); err != nil {
			return err
		}
	}
	if end < l.Start() { // a batch that the start lies in goes as a whole
		return l.restartLocked(l.Start())
	}
	if err := l.beforeCutLocked(end); err != nil {
		return err
	}
	l.setSegments(slices.Clone(list[:keep]))
	l.setEndLocked(end)
	if err := l.removeFromEnd(list[keep:]); err != nil {
		return err
	}
	if pos >= 0 {
		s := list[keep-1]
		if err := errors.Join(s.TruncateAt(pos, end), s.SyncLog(), s.SyncIndexes()); err != nil {
			return l.syncFailed("cut segment", err)
		}
	}
	l.cutEpochsLocked(end)
	if err := l.loadProducersLocked(end, time.Now().UnixMilli()); err != nil {
		return err
	}
	return l.syncLocked()
}

func (l *Log) restartLocked(offset int64) error {
	if err := l.beforeCutLocked(min(offset, l.Start())); err != nil {
		return err
	}
	if l.o.Hooks.StartMoved != nil {
		if err := l.o.Hooks.StartMoved(offset); err != nil {
			return err
		}
	}
	list := l.list()
	l.setSegments([]*segment.Segment{})
	l.start.Store(offset)
	l.setEndLocked(offset)
	if err := l.removeFromEnd(list); err != nil {
		return err
	}
	if err := l.dropSnapshots(func(int64) bool { return true }); err != nil {
		return err
	}
	l.setEpochsLocked([]segment.EpochEntry{})
	l.on.producers.init()
	l.txns.reset(&l.on.producers)
	l.recovered.Store(offset)
	return l.syncLocked()
}

// beforeCutLocked makes the log durable as it is, and then what recovery has to know of the cut.
func (l *Log) beforeCutLocked(end int64) error {
	if err := l.syncLocked(); err != nil {
		return err
	}
	if l.o.Hooks.Void != nil {
		if err := l.o.Hooks.Void(end); err != nil {
			return fmt.Errorf("void journal entries: %w", err)
		}
	}
	l.recovered.Store(min(l.recovered.Load(), end))
	// A snapshot that outlived the cut would be believed once the log has grown past it again: the sync at the end of the
	// truncation makes its removal durable before anything is appended.
	l.on.dirtyDir = l.on.exists
	return l.dropSnapshots(func(offset int64) bool { return offset > end })
}

// setEndLocked lowers the end, and with it what must not be above it.
func (l *Log) setEndLocked(end int64) {
	l.end.Store(end)
	l.flushed.Store(min(l.flushed.Load(), end))
	if w := l.watermark.Load(); w != unset {
		l.watermark.Store(min(w, end))
	}
	l.recovered.Store(min(l.recovered.Load(), end))
	l.on.snapshotAt = min(l.on.snapshotAt, end)
}

// removeFromEnd removes segments' files, the last segment's first. Each is gone for good before the next one goes, so that a crash
// leaves no hole.
func (l *Log) removeFromEnd(list []*segment.Segment) error {
	for _, s := range slices.Backward(list) {
		if err := s.Remove(); err != nil {
			return err
		}
		if err := l.syncDir(); err != nil {
			return l.syncFailed("remove segments", err)
		}
	}
	return nil
}

// loadProducersLocked finds the producers at the log's end again: the newest snapshot not above it, and the batches since.
func (l *Log) loadProducersLocked(end, nowMs int64) error {
	list := l.list()
	if len(list) == 0 {
		l.loadSnapshot(end, end, nowMs)
		return nil
	}
	from := l.loadSnapshot(list[0].Base(), end, nowMs)
	for _, s := range list {
		if s.Next() <= from {
			continue
		}
		if err := s.Walk(from, segment.Scan{CheckFrom: segment.NoCheck, Visit: l.replay(from, nowMs, l.HighWatermark(), nil)}); err != nil {
			return err
		}
	}
	return nil
}
