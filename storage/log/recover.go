package log

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/storage/segment"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// recovery is Open after anything but a clean stop. Its steps, of which the first four change no batch:
//
//	read      segments below the recovery point by their indexes, the others whole, with checksums, up to the first bad batch
//	extend    see how far journal entries continue from there
//	judge     is that less than was promised? Then the log goes offline, uncut
//	cut       remove what lies beyond the last good batch
//	append    the entries
//	start     apply the log's start
//	sync      everything, before anything is promised
type recovery struct {
	l      *Log
	in     Recovery
	report Report

	nowMs      int64
	bases      []int64 // of the segments there are
	synced     int     // so many of them are synced, with their indexes
	needEpochs bool    // there is no good epoch file
	replayed   int64   // producers are replayed from this offset on

	list       []*segment.Segment
	loaded     []loadedSegment
	next       int64                 // offset after the last good batch
	bad        *segment.CorruptError // why reading stopped; nil: at the end of the last file
	unreadable bool                  // for an error of the file system
	unread     []int64               // bases of segments after the bad batch

	tail    []byte // batches of journal entries that continue at next
	restart []byte // and those at the log's start, where the log has to restart there
	reached int64  // the log's end with them
}

// loadedSegment is a segment that was read whole, with the aborted transactions found in it.
type loadedSegment struct {
	s       *segment.Segment
	synced  bool // only its indexes did not fit
	aborted []segment.AbortedTxn
}

func (r *recovery) run() error {
	r.nowMs = nowMs()
	l := r.l
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := r.listFiles(); err != nil {
		return err
	}
	if err := r.read(); err != nil {
		return err
	}
	r.extend()
	if damage := r.judge(); damage != nil {
		r.goOffline(damage)
		return nil
	}
	if err := r.repair(); err != nil {
		return err
	}
	r.report.End = l.End()
	return nil
}

// listFiles sees what is there, and finishes or undoes what the cleaner was about to do.
func (r *recovery) listFiles() error {
	l := r.l
	names, err := l.o.FS.List(l.o.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if err := l.checkTopic(); err != nil {
		return err
	}
	l.on.exists, l.on.dirtyDir, l.on.dirtyParent = true, true, true
	d := parseDir(names)
	if r.report.Swapped, err = l.finishSwaps(&d); err != nil {
		return err
	}
	l.removeLeftovers(d)
	r.bases = d.logs
	// Segments below the start were deleted; a crash may have brought them back.
	for len(r.bases) > 1 && r.bases[1] <= r.in.Start {
		if err := segment.Restore(l.o.Files, l.o.Dir, segment.Meta{Base: r.bases[0]}, "").Remove(); err != nil {
			return err
		}
		r.bases = r.bases[1:]
	}
	return nil
}

// read goes over the segments in order, up to the first bad batch.
func (r *recovery) read() error {
	l := r.l
	if len(r.bases) == 0 {
		r.next = r.in.Start
		return nil
	}
	epochs, err := l.readEpochs()
	if err != nil {
		return err
	}
	l.epochs.Store(&epochs)
	r.needEpochs = len(epochs) == 0
	r.synced = 0
	for r.synced+1 < len(r.bases) && r.bases[r.synced+1] < r.in.RecoveryPoint {
		r.synced++
	}
	// Not a later snapshot, so that the aborted transactions of the segments that are read whole are all found again.
	r.replayed = l.loadSnapshot(r.bases[0], r.bases[r.synced], r.nowMs)
	r.next = r.bases[0]
	if l.o.Hooks.StartMoved != nil && r.next > r.in.Start {
		r.next = r.in.Start // of which segments are missing
	}
	for i, base := range r.bases {
		if base < r.next || base > r.next && base > r.gapsUpTo() {
			r.stop(i, &segment.CorruptError{File: l.path(segment.Name(base, segment.LogExt)), Offset: r.next,
				Reason: fmt.Errorf("the segment begins at offset %d where %d is next", base, r.next)})
			return nil
		}
		s, bad, err := r.readOne(base, i < r.synced)
		if err != nil {
			// What cannot be read is as good as gone, but the disk may get better: nothing is cut.
			bad = &segment.CorruptError{File: l.path(segment.Name(base, segment.LogExt)), Offset: max(base, r.next), Reason: err}
			r.unreadable = true
		}
		if s != nil {
			r.list = append(r.list, s)
			r.next = max(s.Next(), base)
		}
		if bad != nil {
			r.stop(i+1, bad)
			return nil
		}
	}
	return nil
}

// gapsUpTo is how far offsets may be missing: compaction stays below a recovery point that was durable before it began
// (Hooks.Replacing). Above it a missing offset is a lost one.
func (r *recovery) gapsUpTo() int64 {
	if r.l.on.gaps {
		return r.in.RecoveryPoint
	}
	return 0
}

// stop ends reading at the first bad batch; segments from index unread on were not looked at.
func (r *recovery) stop(unread int, bad *segment.CorruptError) {
	r.bad, r.unread = bad, r.bases[unread:]
}

// readOne reads one segment, by its indexes if it is known to be synced.
func (r *recovery) readOne(base int64, synced bool) (*segment.Segment, *segment.CorruptError, error) {
	l := r.l
	if synced {
		s, err := segment.OpenSealed(l.o.Files, l.o.Dir, base, r.nowMs, "")
		var bad *segment.CorruptError
		switch {
		case err == nil:
			return s, nil, r.replaySealed(s)
		case errors.As(err, &bad):
			return nil, bad, nil
		case !errors.Is(err, segment.ErrIndex):
			return nil, nil, err
		}
		l.o.Log.Warn("segment indexes are built again", zap.Error(err))
		r.report.Rebuilt++
	}
	k := loadedSegment{synced: synced}
	replay := l.replay(r.replayed, r.nowMs, maxOffset, func(a segment.AbortedTxn) { k.aborted = append(k.aborted, a) })
	scan := segment.Scan{CheckFrom: r.in.RecoveryPoint, Contiguous: true, GapsUpTo: r.gapsUpTo()}
	scan.Visit = func(b record.Batch, body func() (record.Batch, error)) error {
		if b.NextOffset() > r.in.RecoveryPoint {
			r.report.Checked += int64(b.Size())
		}
		if err := r.noteEpoch(b); err != nil {
			return err
		}
		return replay(b, body)
	}
	s, bad, err := segment.Load(l.o.Files, l.o.Dir, base, r.nowMs, l.cfg.Load().IndexInterval, "", scan)
	if err != nil {
		return nil, nil, err
	}
	k.s = s
	r.loaded = append(r.loaded, k)
	return s, bad, nil
}

const maxOffset = 1<<63 - 1

// noteEpoch adds the epoch of a batch. Epochs never fall, and the checksum does not cover them.
func (r *recovery) noteEpoch(b record.Batch) error {
	l := r.l
	epoch := b.LeaderEpoch()
	entries := *l.epochs.Load()
	known := int32(noEpoch)
	for i := len(entries) - 1; i >= 0; i-- {
		if entries[i].Start <= b.BaseOffset() {
			known = entries[i].Epoch
			break
		}
	}
	above := b.NextOffset() > r.in.RecoveryPoint // below it, the epoch file is right
	if epoch < known && above {
		return fmt.Errorf("leader epoch %d after %d", epoch, known)
	}
	if epoch > known && (above || r.needEpochs) {
		l.assignEpochLocked(epoch, b.BaseOffset())
	}
	return nil
}

// replaySealed reads the headers of a segment that is believed otherwise, for producers and epochs that are not known better.
func (r *recovery) replaySealed(s *segment.Segment) error {
	if s.Next() <= r.replayed && !r.needEpochs {
		return nil
	}
	from := r.replayed
	if r.needEpochs {
		from = s.Base()
	}
	replay := r.l.replay(r.replayed, r.nowMs, maxOffset, nil)
	return s.Walk(from, segment.Scan{CheckFrom: segment.NoCheck, Visit: func(b record.Batch, body func() (record.Batch, error)) error {
		if err := r.noteEpoch(b); err != nil {
			return err
		}
		return replay(b, body)
	}})
}

// readEpochs reads the epoch file; none when it is not there or broken, as they can be found in the batches.
func (l *Log) readEpochs() ([]segment.EpochEntry, error) {
	data, err := vfs.ReadFile(l.o.FS, l.path(segment.EpochFile), maxEpochFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	entries, err := segment.DecodeEpochs(data)
	if errors.Is(err, segment.ErrSideFile) {
		l.o.Log.Warn("leader epochs are read from the batches", zap.String("dir", l.o.Dir), zap.Error(err))
		l.on.dirtyEpochs = true
		return nil, nil
	}
	return entries, err
}

const maxEpochFile = 64 << 20

func (r *recovery) goOffline(d *Damage) {
	l := r.l
	l.damage, r.report.Damage, r.report.End = d, d, r.next
	l.setSegments(r.list)
	l.startAt(min(r.in.Start, r.next), r.next)
	l.o.Log.Error("partition is offline, acknowledged records are damaged", zap.String("dir", l.o.Dir), zap.String("file", d.File),
		zap.Int64("position", d.Position), zap.Int64("offset", d.Offset), zap.Int64("acknowledged", d.Promised), zap.Error(d.Reason))
}

func nowMs() int64 { return time.Now().UnixMilli() }
