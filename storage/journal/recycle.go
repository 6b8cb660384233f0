package journal

import (
	"errors"
	"io/fs"
	"time"

	"go.uber.org/zap"
)

// write puts the round's frame into the current file, after moving to the next one where it does not fit, and syncs it.
func (fl *files) write(f *Flusher, r *round) error {
	if err := fl.turn(f, int64(len(r.buf))); err != nil {
		return err
	}
	// Not before the turn: its seal may have declared rounds unneeded, and one of them is about to be written over.
	f.mu.Lock()
	oldest := f.oldestLocked(fl.next())
	f.mu.Unlock()
	buf, err := fl.put(r.buf, oldest, r.entries)
	if err != nil {
		return err
	}
	r.buf = buf
	f.mu.Lock()
	defer f.mu.Unlock()
	fl.provenLocked(f, oldest)
	return nil
}

// turn moves to the next file when a frame of n bytes does not fit into the current one, whose last block stays free for
// a seal. While no file is free and a spare one is in the making, the current file grows instead, up to its capacity.
func (fl *files) turn(f *Flusher, n int64) error {
	n = blocks(n) + blockBytes
	for {
		if fl.pos+n <= fl.cur.size {
			return nil
		}
		f.mu.Lock()
		if len(fl.free) > 0 {
			next := fl.free[0]
			fl.free = fl.free[1:]
			f.mu.Unlock()
			if err := fl.turnTo(f, next); err != nil {
				return err
			}
			continue
		}
		if fl.pos+n <= fl.capacity {
			f.mu.Unlock()
			return nil
		}
		if oldest := f.oldestLocked(fl.next()); fl.releasable(oldest) && fl.hasRoomForSeal() {
			f.mu.Unlock()
			if err := fl.seal(f, oldest); err != nil {
				return err
			}
			continue
		}
		fl.makeSpareLocked(f)
		err := f.stoppedLocked()
		if err == nil {
			f.rouseCheckpointer()
			f.changed.Wait()
			err = f.stoppedLocked()
		}
		f.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

// releasable tells whether a file could be used again if "oldest" were durable.
func (fl *files) releasable(oldest uint64) bool {
	return len(fl.full) > 0 && fl.full[0].last < oldest
}

// hasRoomForSeal holds once in a file: turn keeps a block for it.
func (fl *files) hasRoomForSeal() bool {
	return fl.pos+blockBytes <= max(fl.cur.size, fl.capacity)
}

// seal writes an empty frame, so that "oldest" is durable before a file that it frees is written over.
func (fl *files) seal(f *Flusher, oldest uint64) error {
	if _, err := fl.put(make([]byte, frameHeaderBytes, blockBytes), oldest, 0); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	fl.provenLocked(f, oldest)
	return nil
}

// provenLocked takes in that a frame with this "oldest" is durable: files with nothing but older rounds are free. It has a
// spare made in time.
func (fl *files) provenLocked(f *Flusher, oldest uint64) {
	fl.proven, fl.written = max(fl.proven, oldest), fl.pos
	n := 0
	for fl.releasable(fl.proven) {
		fl.free = append(fl.free, fl.full[0])
		fl.full = fl.full[1:]
		n++
	}
	if n > 0 {
		fl.dropMisfitsLocked(f)
		f.changed.Broadcast()
	}
	if fl.pos > fl.cur.size/2 {
		fl.makeSpareLocked(f)
	}
}

// turnTo begins a free file.
func (fl *files) turnTo(f *Flusher, next *file) error {
	ok, err := fl.reuse(next)
	if err != nil {
		return err
	}
	if !ok {
		return fl.remove(next)
	}
	done := fl.cur
	if err := done.h.Close(); err != nil {
		_ = next.h.Close()
		return err
	}
	done.h = nil
	fl.cur, fl.pos = next, blockBytes
	f.mu.Lock()
	defer f.mu.Unlock()
	fl.written = fl.pos
	fl.full = append(fl.full, done)
	f.rouseCheckpointer()
	return nil
}

// countLocked is the number of files there are or will be in a moment.
func (fl *files) countLocked() int {
	n := 1 + len(fl.full) + len(fl.free)
	if fl.making {
		n++
	}
	return n
}

// spareRetry is how long no spare file is tried after one could not be made.
const spareRetry = 10 * time.Second

// makeSpareLocked has a new file made in the background, unless one is free or there are enough.
func (fl *files) makeSpareLocked(f *Flusher) {
	if fl.making || len(fl.free) > 0 || fl.countLocked() >= fl.limit || f.stoppedLocked() != nil || time.Now().Before(fl.notBefore) {
		return
	}
	fl.making = true
	slot := fl.slots
	fl.slots++
	f.wg.Go(func() {
		spare, err := fl.make(slot, fl.capacity)
		if err == nil {
			err = spare.h.Close()
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		defer f.changed.Broadcast()
		fl.making = false
		if err == nil {
			spare.h = nil
			fl.free = append(fl.free, spare)
			return
		}
		// Nothing of value is lost: on a full disk the files there are have to do.
		fl.notBefore = time.Now().Add(spareRetry)
		f.opt.Log.Warn("no spare journal file", zap.Error(err), zap.Duration("again in", spareRetry))
		f.wg.Go(func() { _ = fl.remove(&file{slot: slot}) })
	})
}

// dropMisfitsLocked removes free files that are too many, or too small to be worth their turn (the first of an earlier
// life). One stays free in any case.
func (fl *files) dropMisfitsLocked(f *Flusher) {
	excess := fl.countLocked() - fl.limit
	var misfits []*file
	keep := fl.free[:0]
	for i, c := range fl.free {
		last := i == len(fl.free)-1 && len(keep) == 0
		if !last && (excess > 0 || c.size < fl.capacity/2) {
			misfits = append(misfits, c)
			excess--
			continue
		}
		keep = append(keep, c)
	}
	fl.free = keep
	if len(misfits) == 0 {
		return
	}
	f.wg.Go(func() {
		for _, c := range misfits {
			if err := fl.remove(c); err != nil {
				f.opt.Log.Warn("a journal file no longer needed stays", zap.Error(err))
			}
		}
	})
}

// remove deletes a file. That need not be durable: should it come back, its rounds are below "oldest".
func (fl *files) remove(c *file) error {
	err := fl.fs.Remove(fl.path(c.slot))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// liveLocked is how many bytes of files hold rounds that are needed, and how many there may be.
func (fl *files) liveLocked(f *Flusher) (live, limit int64) {
	oldest := f.oldestLocked(noSeq)
	for _, c := range fl.full {
		if c.last >= oldest {
			live += c.size
		}
	}
	if fl.last.Load() >= oldest {
		live += fl.written
	}
	return live, int64(fl.limit) * fl.capacity
}

// batchHoldsLocked tells whether it is only the checkpointer's batch, once recorded, that keeps the oldest file from being free.
func (fl *files) batchHoldsLocked(f *Flusher) bool {
	return len(fl.full) > 0 && f.batchMin <= fl.full[0].last && f.dirty.min() > fl.full[0].last
}
