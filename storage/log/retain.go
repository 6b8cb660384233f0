package log

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/storage/segment"
)

// doomed is a segment out of the log whose files are removed later.
type doomed struct {
	s  *segment.Segment
	at time.Time // not before
}

// Retained says what one pass of retention did.
type Retained struct {
	Segments int   // taken out of the log
	Bytes    int64 // of their log files
	Removed  int   // segments whose files are gone, taken out in this or an earlier pass
	Expired  int   // producers forgotten
	Start    int64 // of the log, afterwards
}

// Retain takes segments out of the log that are older than retention.ms, beyond retention.bytes, or below the log's start, as long
// as they lie below the watermark; removes the files of those taken out file.delete.delay.ms ago; and forgets producers not seen
// for producer.id.expiration.ms. The active segment is rolled first where it is all expired. Called now and then; cheap when
// there is nothing to do.
func (l *Log) Retain(now time.Time) (Retained, error) {
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	var r Retained
	if err := l.usable(); err != nil {
		return r, err
	}
	l.mu.Lock()
	r.Expired = l.on.producers.expire(now.Add(-l.cfg.Load().ProducerExpiry).UnixMilli())
	l.mu.Unlock()

	n, end := l.countExpired(now)
	err := l.deleteOldest(n, end, now, &r)
	r.Removed = l.removeDoomed(now)
	r.Start = l.Start()
	return r, err
}

// countExpired is how many of the oldest segments are to go, and the offset at which the last of them ended when it was looked at.
func (l *Log) countExpired(now time.Time) (n int, end int64) {
	cfg, list := l.cfg.Load(), l.list()
	watermark, start := l.HighWatermark(), l.Start()
	over := int64(-1) // bytes beyond retention.bytes
	if cfg.Delete && cfg.RetentionBytes >= 0 {
		over = l.SizeBytes() - cfg.RetentionBytes
	}
	for i, s := range list {
		m := s.Meta()
		last := i == len(list)-1
		if m.Next > watermark || last && m.Size == 0 {
			break
		}
		expired := cfg.Delete && cfg.RetentionTime >= 0 && now.UnixMilli()-lastTime(&m) > cfg.RetentionTime.Milliseconds()
		below := !last && list[i+1].Base() <= start
		if !expired && !below && (over < 0 || over < m.Size) {
			break
		}
		over -= m.Size
		n, end = n+1, m.Next
	}
	return n, end
}

// lastTime is when the last record was written as far as retention goes: the records' own time where they have one.
func lastTime(m *segment.Meta) int64 {
	if m.MaxTime >= 0 {
		return m.MaxTime
	}
	return m.Created
}

// deleteOldest takes the n oldest segments, which end at offset end, out of the log. Called with syncMu.
func (l *Log) deleteOldest(n int, end int64, now time.Time, r *Retained) error {
	if n == 0 {
		return nil
	}
	n, err := l.rollExpired(n, end, now)
	if err != nil || n == 0 {
		return err
	}
	// The producers of the batches that go are in the snapshot at the base of the first segment that stays.
	l.mu.Lock()
	unsynced := len(l.on.snapshots) > 0
	l.mu.Unlock()
	if unsynced {
		if err := l.syncAll(); err != nil {
			return err
		}
	}
	list := l.list()
	if start := list[n].Base(); start > l.Start() {
		if err := l.moveStart(start); err != nil {
			return err
		}
	}
	l.mu.Lock()
	list = l.list() // appends may have rolled
	gone := list[:n]
	l.setSegments(list[n:len(list):len(list)])
	l.on.sealed = slices.DeleteFunc(slices.Clone(l.on.sealed), func(s *segment.Segment) bool { return slices.Contains(gone, s) })
	l.mu.Unlock()
	for _, s := range gone {
		if r != nil {
			r.Segments++
			r.Bytes += s.Size()
		}
		l.o.Log.Debug("segment deleted", zap.String("file", s.Path()), zap.Int64("bytes", s.Size()))
	}
	first := list[n].Base()
	return errors.Join(l.doom(gone, now), l.dropSnapshots(func(offset int64) bool { return offset < first }))
}

// rollExpired rolls the active segment where it is the last of the n that go, and answers how many do: one that took records since it
// was seen to end at offset end stays.
func (l *Log) rollExpired(n int, end int64, now time.Time) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return 0, err
	}
	list := l.list()
	if list[n-1].Next() > end {
		return n - 1, nil
	}
	if n == len(list) {
		if _, err := l.rollLocked(l.end.Load(), now.UnixMilli()); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// doom renames the files of segments that are out of the log and notes when to remove them.
func (l *Log) doom(gone []*segment.Segment, now time.Time) error {
	at := now.Add(l.cfg.Load().DeleteDelay)
	for _, s := range gone {
		if err := s.Rename(segment.DeletedSuffix); err != nil {
			return fmt.Errorf("log: delete segment: %w", err)
		}
		s.Forget()
		l.doomed = append(l.doomed, doomed{s, at})
	}
	return nil
}

// removeDoomed removes the files of segments whose time has come.
func (l *Log) removeDoomed(now time.Time) int {
	n := 0
	l.doomed = slices.DeleteFunc(l.doomed, func(d doomed) bool {
		if now.Before(d.at) {
			return false
		}
		n++
		if err := d.s.Remove(); err != nil { // the next start removes what is left
			l.o.Log.Warn("files of a deleted segment not removed", zap.String("file", d.s.Path()), zap.Error(err))
		}
		return true
	})
	if len(l.doomed) == 0 {
		l.doomed = nil
	}
	return n
}

// moveStart moves the log's start up: durably first. Called with syncMu.
func (l *Log) moveStart(start int64) error {
	if l.o.Hooks.StartMoved != nil {
		if err := l.o.Hooks.StartMoved(start); err != nil {
			return fmt.Errorf("log: move the log start to %d: %w", start, err)
		}
	}
	raise(&l.start, start)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.raiseEpochsLocked(start)
	return nil
}

// DeleteRecordsTo moves the log's start up to offset, durably, and takes out the segments that lie below it. It answers the start,
// which stays where it is beyond offset already. ErrOffsetOutOfRange beyond the log's end; the caller sees to the watermark.
func (l *Log) DeleteRecordsTo(offset int64) (int64, error) {
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	if err := l.usable(); err != nil {
		return -1, err
	}
	if offset < 0 || offset > l.End() {
		return -1, fmt.Errorf("%w: deleting up to %d, the log ends at %d", ErrOffsetOutOfRange, offset, l.End())
	}
	if offset <= l.Start() {
		return l.Start(), nil
	}
	if err := l.moveStart(offset); err != nil {
		return -1, err
	}
	list := l.list()
	n := 0
	for n+1 < len(list) && list[n+1].Base() <= offset {
		n++
	}
	return offset, l.deleteOldest(n, offset, time.Now(), nil)
}
