package log

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/storage/segment"
)

// Recovery is what the owner of a log knows about it from before (durability rule 6).
type Recovery struct {
	Clean         bool    // stopped by Close, and nothing happened since; State is what Close returned
	State         State   // with Clean
	RecoveryPoint int64   // segments are synced up to here
	Promised      int64   // the highest flushed end recorded (F)
	Start         int64   // log start
	CleanedTo     int64   // the cleaner's checkpoint
	Entries       []Entry // the log's journal entries after its last void, in the order written
}

// Entry is one journal entry: whole batches of offsets [Base, End).
type Entry struct {
	Base, End int64
	Batches   []byte
}

// Report says what Open found and did.
type Report struct {
	Damage   *Damage // not nil: the log is offline, its batches untouched
	Clean    bool    // the clean stop was believed, no segment was read
	End      int64
	Cut      []Cut // unacknowledged tails that were removed
	Replayed int   // journal entries that were appended
	Checked  int64 // bytes of batches above the recovery point whose checksums were compared
	Rebuilt  int   // segments whose indexes were built again
	Swapped  int   // replacements by the cleaner that were completed
}

// Cut is an unacknowledged tail that recovery removed.
type Cut struct {
	File     string
	Position int64 // from here on
	Bytes    int64
	Offset   int64 // expected there
	Reason   error
}

// Open goes on with a log. After a clean stop it reads nothing but the names and sizes of files; otherwise it recovers, and
// everything is synced when it returns: RecoveryPoint and FlushedEnd are End. A directory that is not there, as when its first
// sync never happened, is an empty log. A log whose acknowledged records are gone is returned as well, offline: every
// operation on it fails with Report.Damage. Errors: ErrWrongTopic, segment.ErrNewerVersion, those of the file system.
func Open(o Options, r Recovery) (*Log, Report, error) {
	l, err := Create(o)
	if err != nil {
		return nil, Report{}, err
	}
	l.cleanedTo.Store(r.CleanedTo)
	if r.Clean {
		ok, err := l.restore(&r.State)
		if err != nil {
			return nil, Report{}, err
		}
		if ok {
			return l, Report{Clean: true, End: l.End()}, nil
		}
		l.o.Log.Warn("partition is not as it was when it was closed", zap.String("dir", o.Dir))
		fresh, err := Create(o)
		if err != nil {
			return nil, Report{}, err
		}
		l = fresh
		l.cleanedTo.Store(r.CleanedTo)
		r.Promised, r.RecoveryPoint = max(r.Promised, r.State.End), max(r.RecoveryPoint, r.State.End)
		r.Start = max(r.Start, r.State.Start)
	}
	rec := recovery{l: l, in: r}
	if err := rec.run(); err != nil {
		return nil, rec.report, fmt.Errorf("log: recover %s: %w", o.Dir, err)
	}
	return l, rec.report, nil
}

// restore takes the log for what State says, if the files are those it names and have those sizes.
func (l *Log) restore(s *State) (ok bool, err error) {
	names, err := l.o.FS.List(l.o.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		if len(s.Segments) > 0 {
			return false, nil
		}
	} else if err != nil {
		return false, fmt.Errorf("log: %w", err)
	} else {
		if err := l.checkTopic(); err != nil {
			return false, err
		}
		l.on.exists = true
	}
	d := parseDir(names)
	if d.unfinished() || !slices.EqualFunc(d.logs, s.Segments, func(base int64, m segment.Meta) bool { return base == m.Base }) {
		return false, nil
	}
	list := make([]*segment.Segment, len(s.Segments))
	for i, m := range s.Segments {
		list[i] = segment.Restore(l.o.Files, l.o.Dir, m, "")
		info, err := l.o.FS.Stat(list[i].Path())
		if err != nil {
			return false, fmt.Errorf("log: %w", err)
		}
		if info.Size() != m.Size {
			return false, nil
		}
	}
	l.removeLeftovers(d)
	l.setSegments(list)
	l.epochs.Store(&s.Epochs)
	if n := len(s.Epochs); n > 0 {
		l.on.newEpoch = s.Epochs[n-1].Start >= s.End
	}
	l.on.gaps, l.on.snapshotAt, l.on.jitter = s.Gaps, s.SnapshotAt, l.newJitter()
	l.cleanedTo.Store(max(l.CleanedTo(), s.CleanedTo))
	l.startAt(s.Start, s.End)
	if s.Producers > 0 {
		if err := l.loadProducersLocked(s.End, nowMs()); err != nil {
			return false, fmt.Errorf("log: producers of %s: %w", l.o.Dir, err)
		}
	}
	return true, nil
}

// startAt sets all offsets of a log that is durable as it is.
func (l *Log) startAt(start, end int64) {
	l.start.Store(start)
	l.end.Store(end)
	l.recovered.Store(end)
	l.flushed.Store(end)
}

// checkTopic refuses a directory of another topic id. One that does not say whose it is, because it was never synced, passes.
func (l *Log) checkTopic() error {
	m, err := readMetadata(l.o.FS, l.o.Dir)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, segment.ErrSideFile):
		l.on.gaps = false
		return nil
	case err != nil:
		return err
	case m.Topic != l.o.ID:
		return fmt.Errorf("%w: %s is of %s, not %s", ErrWrongTopic, l.o.Dir, m.Topic, l.o.ID)
	}
	l.on.gaps = m.Gaps
	return nil
}

// dirContent is the files of a partition's directory that are named after offsets, and leftovers.
type dirContent struct {
	logs      []int64 // bases of segments, rising
	cleaned   []int64 // of log files written by the cleaner
	swaps     []int64 // of log files about to replace others
	leftovers []string
}

func parseDir(names []string) dirContent {
	var d dirContent
	indexes := map[string]int64{}
	for _, name := range names {
		base, ext, suffix, ok := segment.ParseName(name)
		switch {
		case !ok:
			if len(name) > len(segment.TempSuffix) && name[len(name)-len(segment.TempSuffix):] == segment.TempSuffix {
				d.leftovers = append(d.leftovers, name)
			}
		case suffix == segment.TempSuffix || suffix == segment.DeletedSuffix:
			d.leftovers = append(d.leftovers, name)
		case ext == segment.SnapshotExt:
		case ext != segment.LogExt:
			if suffix == "" {
				indexes[name] = base
			}
		case suffix == segment.CleanedSuffix:
			d.cleaned = append(d.cleaned, base)
		case suffix == segment.SwapSuffix:
			d.swaps = append(d.swaps, base)
		default:
			d.logs = append(d.logs, base)
		}
	}
	slices.Sort(d.logs)
	slices.Sort(d.cleaned)
	slices.Sort(d.swaps)
	for name, base := range indexes {
		_, isLog := slices.BinarySearch(d.logs, base)
		_, isSwap := slices.BinarySearch(d.swaps, base) // may be on its way from one name to the other
		if !isLog && !isSwap {
			d.leftovers = append(d.leftovers, name)
		}
	}
	return d
}

// unfinished tells whether the cleaner was interrupted.
func (d *dirContent) unfinished() bool { return len(d.cleaned)+len(d.swaps) > 0 }

// removeLeftovers removes files that an earlier life was about to remove, or did not finish.
func (l *Log) removeLeftovers(d dirContent) {
	for _, name := range d.leftovers {
		if err := l.o.FS.Remove(l.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			l.o.Log.Warn("leftover file not removed", zap.String("file", l.path(name)), zap.Error(err))
		}
	}
}
