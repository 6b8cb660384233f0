package log

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/storage/segment"
)

// How segments are replaced, as in Kafka, so that a crash at any moment leaves either the old ones or the new ones:
//
//	1  the new segments lie complete as .cleaned files; they are synced
//	2  each is renamed to .swap, the last one first, its name synced before the next: while any .cleaned is left,
//	   the .swap files after it do not count, and recovery removes both
//	3  the old ones are renamed to .deleted, the first one first, each name synced before the next
//	4  the new ones get their names; names synced
//
// A recovery that finds .swap files without .cleaned ones goes on with step 3.

// ErrReplaced: the segments to be replaced are not, or not all, sealed and synced segments of the log one after the other.
var ErrReplaced = errors.New("log: segments cannot be replaced")

// ReplaceSegments puts new segments, made with segment.Create and CleanedSuffix in the log's directory and sealed, in the place of
// those with the bases in old. There is at least one, maybe empty, that has the first old one's base; old ones follow one another
// and lie below the recovery point. Offsets stay as they are. The files of the old ones are removed after file.delete.delay.ms. The
// new ones are the log's from the call on: after an error before step 2 they are removed; after a later one the log is offline, and
// they are what the next recovery goes on with.
func (l *Log) ReplaceSegments(old []int64, cleaned []*segment.Segment) error {
	// Before the lock: large files take long to sync, and acknowledgements may wait for the lock.
	err := l.syncCleaned(cleaned)
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	var from int
	if err == nil {
		from, err = l.prepareReplace(old, cleaned)
	}
	if err != nil {
		for _, s := range cleaned {
			err = errors.Join(err, s.Remove())
		}
		return err
	}
	for _, s := range slices.Backward(cleaned) {
		if err := errors.Join(s.Rename(segment.SwapSuffix), l.syncDir()); err != nil {
			return l.syncFailed("replace segments", err)
		}
	}
	l.mu.Lock()
	list := l.list()
	gone := slices.Clone(list[from : from+len(old)])
	l.setSegments(slices.Concat(list[:from], cleaned, list[from+len(old):]))
	// One that was rolled when it was synced already only waits for its indexes to be.
	l.on.sealed = slices.DeleteFunc(slices.Clone(l.on.sealed), func(s *segment.Segment) bool { return slices.Contains(gone, s) })
	l.mu.Unlock()
	return l.finishReplace(gone, cleaned)
}

func (l *Log) syncCleaned(cleaned []*segment.Segment) error {
	for _, s := range cleaned {
		if err := errors.Join(s.SyncLog(), s.SyncIndexes()); err != nil {
			if closed := l.usable(); closed != nil {
				return closed
			}
			return l.syncFailed("sync compacted segments", err)
		}
	}
	return nil
}

// prepareReplace is what comes before step 2: the names of the new segments are durable, and recovery knows what to make of them. It
// answers where in the list the old ones begin.
func (l *Log) prepareReplace(old []int64, cleaned []*segment.Segment) (from int, err error) {
	if err := l.usable(); err != nil {
		return 0, err
	}
	if from, err = l.replaceable(old, cleaned); err != nil {
		return 0, err
	}
	if h := l.o.Hooks.Replacing; h != nil {
		if err := h(l.list()[from+len(old)].Base()); err != nil {
			return 0, l.fail("record the recovery point before segments are replaced", err)
		}
	}
	l.mu.Lock()
	err = l.noteGapsLocked()
	l.mu.Unlock()
	if err != nil {
		return 0, err
	}
	if err := l.syncDir(); err != nil {
		return 0, l.syncFailed("sync compacted segments", err)
	}
	return from, nil
}

func (l *Log) finishReplace(gone, cleaned []*segment.Segment) error {
	// One after the other, so that no crash leaves an old value without the tombstone that came after it.
	for _, s := range gone {
		if err := errors.Join(l.doom([]*segment.Segment{s}, time.Now()), l.syncDir()); err != nil {
			return l.syncFailed("replace segments", err)
		}
	}
	for _, s := range cleaned {
		if err := s.Rename(""); err != nil {
			return l.syncFailed("replace segments", err)
		}
	}
	if err := l.syncDir(); err != nil {
		return l.syncFailed("replace segments", err)
	}
	for _, s := range gone {
		if slices.ContainsFunc(cleaned, func(c *segment.Segment) bool { return c.Base() == s.Base() }) {
			continue
		}
		// The producers at a base that is none any more. The next stop would remove the file as well.
		if err := l.o.FS.Remove(l.path(segment.Name(s.Base(), segment.SnapshotExt))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			l.o.Log.Warn("producer snapshot not removed", zap.String("dir", l.o.Dir), zap.Int64("offset", s.Base()), zap.Error(err))
		}
	}
	return nil
}

// replaceable finds the old segments in the list.
func (l *Log) replaceable(old []int64, cleaned []*segment.Segment) (from int, err error) {
	list := l.list()
	from = slices.IndexFunc(list, func(s *segment.Segment) bool { return len(old) > 0 && s.Base() == old[0] })
	if from < 0 || len(cleaned) == 0 || from+len(old) >= len(list) || list[from+len(old)].Base() > l.RecoveryPoint() {
		return 0, fmt.Errorf("%w: %d from %v on", ErrReplaced, len(old), old[:min(1, len(old))])
	}
	for i, base := range old {
		if list[from+i].Base() != base {
			return 0, fmt.Errorf("%w: there is no segment %d after %d", ErrReplaced, base, list[from].Base())
		}
	}
	next := old[0]
	for i, s := range cleaned {
		if s.Base() < next || i == 0 && s.Base() != next || s.Next() > list[from+len(old)].Base() {
			return 0, fmt.Errorf("%w: new segment of %d to %d in the place of %d to %d", ErrReplaced, s.Base(), s.Next(), old[0], list[from+len(old)].Base())
		}
		next = s.Next()
	}
	return from, nil
}

// finishSwaps completes or undoes a replacement that a crash interrupted, and answers how many new segments it put in place.
func (l *Log) finishSwaps(d *dirContent) (int, error) {
	if !d.unfinished() {
		return 0, nil
	}
	c, dir := l.o.Files, l.o.Dir
	remove := func(base int64, suffix string) error {
		return segment.Restore(c, dir, segment.Meta{Base: base}, suffix).Remove()
	}
	if len(d.cleaned) > 0 {
		d.swaps = slices.DeleteFunc(d.swaps, func(base int64) bool {
			if base < d.cleaned[0] {
				return false
			}
			d.cleaned = append(d.cleaned, base)
			return true
		})
		for _, base := range d.cleaned {
			if err := errors.Join(remove(base, segment.CleanedSuffix), remove(base, segment.SwapSuffix)); err != nil {
				return 0, err
			}
		}
	}
	if len(d.swaps) > 0 {
		if err := l.putInPlace(d); err != nil {
			return 0, err
		}
	}
	return len(d.swaps), l.syncDir()
}

// putInPlace removes what is left of the old segments and gives the new ones, which are all of one replacement, their names. Old
// segments after the last offset of the new ones stay: all of their records was compacted away, and they say nothing that
// later ones do not undo.
func (l *Log) putInPlace(d *dirContent) error {
	swaps := make([]*segment.Segment, len(d.swaps))
	end := d.swaps[0] + 1
	for i, base := range d.swaps {
		s, err := l.openSwap(base)
		if err != nil {
			return err
		}
		swaps[i], end = s, max(end, s.Next())
	}
	var errs []error
	for _, base := range d.swaps { // the log file may be gone already and an index be left
		errs = append(errs, segment.Restore(l.o.Files, l.o.Dir, segment.Meta{Base: base}, "").Remove())
	}
	d.logs = slices.DeleteFunc(d.logs, func(base int64) bool {
		if base < d.swaps[0] || base >= end {
			return false
		}
		errs = append(errs, segment.Restore(l.o.Files, l.o.Dir, segment.Meta{Base: base}, "").Remove())
		return true
	})
	if err := errors.Join(append(errs, l.syncDir())...); err != nil {
		return err
	}
	for _, s := range swaps {
		if err := s.Rename(""); err != nil {
			return err
		}
		s.Forget()
		d.logs = append(d.logs, s.Base())
		l.o.Log.Info("compacted segment put in place", zap.String("file", s.Path()))
	}
	slices.Sort(d.logs)
	return nil
}

func (l *Log) openSwap(base int64) (*segment.Segment, error) {
	s, err := segment.OpenSealed(l.o.Files, l.o.Dir, base, nowMs(), segment.SwapSuffix)
	if errors.Is(err, segment.ErrIndex) {
		var bad *segment.CorruptError
		s, bad, err = segment.Load(l.o.Files, l.o.Dir, base, nowMs(), l.cfg.Load().IndexInterval, segment.SwapSuffix, segment.Scan{CheckFrom: segment.NoCheck})
		if bad != nil {
			err = bad
		}
	}
	return s, err
}
