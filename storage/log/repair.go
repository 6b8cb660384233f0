package log

import (
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/storage/segment"
)

// extend sees how far the journal's entries continue what is good. Where the log ends below its start even so, everything below
// is deleted anyway, and they may go on from the start.
func (r *recovery) extend() {
	r.tail, r.reached = r.follow(r.next, len(r.list) == 0)
	if r.reached < r.in.Start {
		r.restart, r.reached = r.follow(r.in.Start, true)
	}
}

// follow collects the batches that continue at next, and where they end. In an empty log the first one may begin before it.
func (r *recovery) follow(next int64, empty bool) (batches []byte, end int64) {
	for _, e := range r.in.Entries {
		for rest := e.Batches; len(rest) > 0; {
			var b record.Batch
			var err error
			if b, rest, err = record.First(rest); err != nil || b.CheckCRC() != nil {
				return batches, next
			}
			if b.NextOffset() <= next {
				continue
			}
			if b.BaseOffset() != next && (!empty || len(batches) > 0 || b.BaseOffset() > next) {
				return batches, next
			}
			batches, next = append(batches, b...), b.NextOffset()
			r.report.Replayed++
		}
	}
	return batches, next
}

// judge answers what of the acknowledged records is gone, nil when nothing is.
func (r *recovery) judge() *Damage {
	promised := max(r.in.Promised, r.in.RecoveryPoint)
	lost := r.reached < r.in.Promised || r.next < r.in.RecoveryPoint
	if !r.unreadable && (!lost || r.in.Start >= promised) {
		return nil
	}
	d := &Damage{File: r.l.o.Dir, Offset: r.next, Promised: promised, Reason: errors.New("the log ends here")}
	switch n := len(r.list); {
	case r.bad != nil:
		d.File, d.Position, d.Offset, d.Reason = r.bad.File, r.bad.Position, r.bad.Offset, r.bad.Reason
	case n > 0:
		d.File, d.Position = r.list[n-1].Path(), r.list[n-1].Size()
	}
	return d
}

// repair changes the log so that it is what can be believed, and makes that durable.
func (r *recovery) repair() error {
	l := r.l
	if err := r.cut(); err != nil {
		return err
	}
	sink := l.on.sink
	l.on.sink = nil // what is replayed is durable when Open returns
	defer func() { l.on.sink = sink }()

	l.setSegments(r.list)
	l.end.Store(r.next)
	if err := r.rebuildTxns(); err != nil {
		return err
	}
	l.cutEpochsLocked(r.next)
	if err := r.append(r.tail); err != nil {
		return err
	}
	if l.end.Load() < r.in.Start {
		if err := r.restartAt(r.in.Start); err != nil {
			return err
		}
	}
	start := r.in.Start
	if list := l.list(); len(list) > 0 {
		start = max(start, list[0].Base())
	}
	end := l.end.Load()
	l.start.Store(start)
	l.raiseEpochsLocked(start)
	strays := l.strays()
	if err := l.dropSnapshots(func(offset int64) bool { return offset > end || strays(offset) }); err != nil {
		return err
	}
	r.sealLoaded()
	l.recovered.Store(unset) // all that was read or written is to be synced
	if err := l.syncLocked(); err != nil {
		return err
	}
	l.startAt(start, end)
	return nil
}

// cut removes what lies beyond the last good batch, the last segment first, for good before the next one.
func (r *recovery) cut() error {
	l := r.l
	if r.bad == nil {
		return nil
	}
	for i := len(r.unread) - 1; i >= 0; i-- {
		s := segment.Restore(l.o.Files, l.o.Dir, segment.Meta{Base: r.unread[i]}, "")
		r.noteCut(s.Path(), 0, r.unread[i], r.bad)
		if err := errors.Join(s.Remove(), l.syncDir()); err != nil {
			return err
		}
	}
	if len(r.loaded) == 0 || len(r.list) == 0 || r.loaded[len(r.loaded)-1].s != r.list[len(r.list)-1] {
		return nil
	}
	s := r.list[len(r.list)-1]
	if r.noteCut(s.Path(), s.Size(), r.next, r.bad) == 0 {
		return nil
	}
	if err := errors.Join(s.TruncateAt(s.Size(), s.Next()), s.SyncLog()); err != nil {
		return fmt.Errorf("cut the tail: %w", err)
	}
	return nil
}

func (r *recovery) noteCut(path string, pos, offset int64, why error) int64 {
	info, err := r.l.o.FS.Stat(path)
	if err != nil || info.Size() <= pos {
		return 0
	}
	c := Cut{File: path, Position: pos, Bytes: info.Size() - pos, Offset: offset, Reason: why}
	r.report.Cut = append(r.report.Cut, c)
	r.l.o.Log.Info("unacknowledged tail removed", zap.String("file", path), zap.Int64("position", pos), zap.Int64("bytes", c.Bytes),
		zap.Int64("offset", offset), zap.Error(why))
	return c.Bytes
}

// rebuildTxns writes the indexes of aborted transactions again of the segments that were read whole: of those that were not
// synced, nothing in them can be believed.
func (r *recovery) rebuildTxns() error {
	for _, k := range r.loaded {
		if k.synced {
			continue
		}
		if err := k.s.ResetAborted(); err != nil {
			return err
		}
		for _, a := range k.aborted {
			if err := k.s.AppendAborted(a); err != nil {
				return err
			}
		}
	}
	return nil
}

// restartAt begins the log anew at its start, below which all is deleted. What is known of the producers ends before it, so that it is
// better forgotten: of an unknown producer any sequence is taken.
func (r *recovery) restartAt(start int64) error {
	l := r.l
	list := l.list()
	l.setSegments([]*segment.Segment{})
	if err := l.removeFromEnd(list); err != nil {
		return err
	}
	r.loaded = nil
	l.end.Store(start)
	l.on.producers.init()
	l.txns.reset(&l.on.producers)
	l.setEpochsLocked([]segment.EpochEntry{})
	return r.append(r.restart)
}

// append appends batches of the journal.
func (r *recovery) append(batches []byte) error {
	if len(batches) > 0 && len(r.l.list()) == 0 {
		r.l.end.Store(record.Batch(batches).BaseOffset())
	}
	return r.l.appendRunsLocked(batches, r.nowMs)
}

// sealLoaded leaves the segments whose indexes were built again, save the active one, to the next sync.
func (r *recovery) sealLoaded() {
	active := r.l.active()
	for _, k := range r.loaded {
		if k.s != active {
			r.l.on.sealed = append(r.l.on.sealed, k.s)
		}
	}
}
