package journal

import "time"

// queueOwnLocked has the segments of s synced by the pool. Nothing to do when it is queued, or syncing: then it is queued
// again when that has ended.
func (f *Flusher) queueOwnLocked(s *Stream) {
	if s.queued || s.syncing || s.paused || s.closed {
		return
	}
	s.queued = true
	f.own = append(f.own, s)
	if f.workers < f.opt.OwnSyncs && f.stoppedLocked() == nil {
		f.workers++
		f.wg.Go(f.ownWorker)
	}
}

// ownWorker syncs queued streams until there are none.
func (f *Flusher) ownWorker() {
	for f.syncNext() {
	}
}

// syncNext syncs the next queued stream. False: there is none, or something failed.
func (f *Flusher) syncNext() bool {
	sharing := f.sharing()
	if sharing {
		f.turn <- struct{}{}
		defer func() { <-f.turn }()
	}
	s, target := f.nextOwn()
	if s == nil {
		return false
	}
	began := time.Now()
	ok, moved := f.syncStream(s, target)
	took := time.Since(began)
	if moved {
		s.notify()
	}
	if ok && sharing {
		f.rest(took)
	}
	return ok
}

// nextOwn takes the first queued stream that wants a sync and begins it. Without one, the worker is counted off.
func (f *Flusher) nextOwn() (*Stream, int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.own) > 0 && f.stoppedLocked() == nil {
		s := f.own[0]
		f.own[0] = nil
		f.own = f.own[1:]
		s.queued = false
		if s.paused || s.closed || s.syncing || s.need <= s.synced {
			continue
		}
		s.beginLocked()
		return s, s.end
	}
	f.workers--
	return nil, 0
}

// beginLocked marks a sync of everything appended so far as running.
func (s *Stream) beginLocked() {
	s.syncing = true
	s.fresh = 0
	s.beginSeq, s.beginVoids = s.f.seq, s.voids
}

// syncStream runs the sync that beginLocked announced, up to target. moved: the log is to be told its new flushed end. Not
// ok: something failed.
func (f *Flusher) syncStream(s *Stream, target int64) (ok, moved bool) {
	began := time.Now()
	err := f.runPreceding()
	if err == nil {
		err = s.to.Sync(target)
	}
	f.metrics.ownSync(time.Since(began))
	f.mu.Lock()
	defer f.mu.Unlock()
	s.syncing = false
	f.changed.Broadcast()
	if err != nil {
		f.failLocked(err)
	}
	if f.err != nil {
		return false, false
	}
	if s.voids != s.beginVoids {
		// What was synced has been cut back since, and written anew.
		if s.need > s.synced {
			f.queueOwnLocked(s)
		}
		return true, false
	}
	s.syncedSeq = s.beginSeq
	return true, s.syncedLocked(target)
}

// syncedLocked takes in that the segments of s are durable up to end, and decides how s goes on: under bulk load with the
// next own sync, otherwise with the journal. What came in while the sync ran was not copied, so it takes one more sync;
// what comes in from now on is copied if that was little. It tells whether the flushed end moved.
func (s *Stream) syncedLocked(end int64) (moved bool) {
	f := s.f
	s.synced = max(s.synced, end)
	moved = s.durableLocked(0, s.synced)
	if s.flush {
		f.noteLocked(s)
	}
	if s.need > s.synced {
		s.copying = s.copying || s.fresh < f.opt.OwnSyncBytes
		f.queueOwnLocked(s)
	} else {
		s.copying = true
	}
	return moved
}
