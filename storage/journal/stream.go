package journal

import (
	"sync/atomic"
	"time"
)

// Syncer is a log as the flusher sees it.
type Syncer interface {
	// Sync makes everything below upTo durable in the log's own files. Not called twice at a time for one log. An error
	// stops the whole flusher.
	Sync(upTo int64) error
	// Flushed tells that everything below end is durable. Calls for one log do not overlap, end never falls, save after a
	// Void, and may repeat. Called with no lock of the flusher held. It should be short, other logs of the round wait behind
	// it, and must not wait for a lock that is held over a Void of the same log, which waits for it.
	Flushed(end int64)
}

// Stream is one log's end of the flusher.
type Stream struct {
	f   *Flusher
	key Key
	to  Syncer

	flushed atomic.Int64 // written under f.mu
	telling atomic.Int32 // calls of notify not yet served; who raises it from 0 serves them
	awaited atomic.Bool  // a Void waits for telling to be 0

	// Guarded by f.mu.
	end       int64  // the log's end as of the last append
	synced    int64  // the log's segments are synced up to here
	syncedSeq uint64 // what was appended after that sync began is in this round or a later one
	beginSeq  uint64 // what syncedSeq will be when the sync that runs has ended
	recorded  int64  // recovery point that is durable
	ahead     span   // durable in the journal, above a sync that has not ended

	flush   bool // flush.messages is 1
	copying bool // appends go into the journal; else an own sync is queued or running that is for them
	queued  bool // in f.own
	syncing bool // a Sync is running
	saving  bool // its recovery point is being recorded
	paused  bool // a Void is under way: nothing of the two begins
	closed  bool
	noted   bool      // in f.notes
	need    int64     // an own sync has to reach this
	fresh   int       // bytes appended since the own sync that runs began
	bulkAt  time.Time // when an append last was left to an own sync

	voids      int // so many voids so far ...
	beginVoids int // ... and when the sync that runs began

	roundNo    uint64 // the collecting round this stream last put bytes into ...
	roundPart  int    // ... the index of its part there ...
	roundBytes int    // ... and how many bytes

	dirtySeq  uint64 // while in f.dirty: the first round with entries above the recovery point
	heapIndex int    // place in f.dirty plus one; 0: not there
	aged      agedLink
	inBatch   bool   // off the lists, in the checkpointer's batch
	keepSeq   uint64 // with inBatch: the first round s still needs when the batch has been recorded
}

// span is a range of offsets.
type span struct{ base, end int64 }

// Open adds a log whose segments are synced, and recovery point recorded, up to end. It starts with flushing on.
func (f *Flusher) Open(key Key, to Syncer, end int64) *Stream {
	s := &Stream{f: f, key: key, to: to, end: end, synced: end, recorded: end, flush: true, copying: true}
	s.flushed.Store(end)
	return s
}

// FlushedEnd is the offset up to which the log is durable, in its segments or in the journal.
func (s *Stream) FlushedEnd() int64 { return s.flushed.Load() }

// Appended takes note of an append: batches, which the log holds from base up to end. Called in offset order, one call at
// a time. Offsets between the log's former end and base hold nothing. It copies what it keeps and does no I/O.
func (s *Stream) Appended(base, end int64, epoch int32, batches []byte) {
	f := s.f
	f.mu.Lock()
	defer f.mu.Unlock()
	from := min(base, s.end)
	s.end = end
	if s.closed || f.stoppedLocked() != nil {
		return
	}
	f.dirtyLocked(s)
	switch {
	case !s.flush:
	case !s.copying:
		s.need = end
		s.fresh += len(batches)
		s.bulkAt = time.Now()
	case !f.admitsLocked(s, len(batches)):
		s.copying, s.need, s.fresh, s.bulkAt = false, end, 0, time.Now()
		f.queueOwnLocked(s)
	default:
		f.appendedToRoundLocked(s)
		f.cur.add(&Entry{Kind: KindData, Key: s.key, Base: base, End: end, Flushed: s.flushed.Load(), Epoch: epoch, Batches: batches})
		f.cur.covers(s, from, end)
		f.rouseLocked()
	}
}

// admitsLocked tells whether n more bytes of s may be copied into the collecting round.
func (f *Flusher) admitsLocked(s *Stream, n int) bool {
	if s.roundNo != f.cur.no {
		s.roundNo, s.roundPart, s.roundBytes = f.cur.no, -1, 0
	}
	if s.roundBytes+n > f.opt.OwnSyncBytes || len(f.cur.buf)+entryHeaderBytes+n > f.opt.MaxRoundBytes {
		return false
	}
	s.roundBytes += n
	return true
}

// SetFlush turns flushing on (flush.messages is 1) or off (the page cache is enough). Turned on, what only the page cache
// holds is synced first: the flushed end passes it when that sync has ended.
func (s *Stream) SetFlush(on bool) {
	f := s.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.flush == on || s.closed {
		return
	}
	s.flush = on
	if on && s.end > s.flushed.Load() {
		f.dirtyLocked(s)
		s.need = s.end
		f.queueOwnLocked(s)
	}
}

// durableLocked joins [base, end) to the durable prefix, and tells whether that moved the flushed end. A range that does
// not touch the prefix yet waits for the sync below it. There is one such range at most: what follows it in the journal
// extends it, and anything else between is covered by an own sync still to come.
func (s *Stream) durableLocked(base, end int64) bool {
	flushed := s.flushed.Load()
	if base > flushed {
		if s.ahead.end == base {
			s.ahead.end = end
		} else if end > s.ahead.end {
			s.ahead = span{base, end}
		}
		return false
	}
	end = max(end, flushed)
	if s.ahead.base <= end {
		end = max(end, s.ahead.end)
		s.ahead = span{}
	}
	s.flushed.Store(end)
	return end > flushed
}

// notify tells the log its flushed end. Concurrent calls are folded into one that runs, so that calls to the log neither
// overlap nor go back.
func (s *Stream) notify() {
	if s.telling.Add(1) > 1 {
		return
	}
	for {
		n := s.telling.Load()
		s.to.Flushed(s.flushed.Load())
		if s.telling.CompareAndSwap(n, 0) {
			break
		}
	}
	if s.awaited.Load() {
		s.f.mu.Lock()
		s.f.changed.Broadcast()
		s.f.mu.Unlock()
	}
}

// Void makes the journal's entries for this log void, durably, before the log is cut back to end (or deleted: end 0). The
// caller sees to it that nothing is appended meanwhile, and has synced the log. lower is called before the entry is written;
// when it returns, a recovery point of at most end is durable; no other one of this log is recorded meanwhile. Void waits for
// a call of Flushed under way and for one round; not for a sync, which may be waiting for a lock of the caller's, and whose
// outcome no longer counts. What is below end and was not told as flushed yet will be.
func (s *Stream) Void(end int64, lower func() error) error {
	f := s.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := s.pauseLocked(); err != nil {
		return err
	}
	defer func() {
		s.paused = false
		if s.need > s.synced {
			f.queueOwnLocked(s)
		}
		f.changed.Broadcast()
	}()
	f.mu.Unlock()
	err := lower()
	f.mu.Lock()
	if err != nil {
		return err
	}
	if err := f.stoppedLocked(); err != nil {
		return err
	}
	// The log is synced, so no round is kept for it; the one below may be waiting for just that.
	f.forgetLocked(s)
	s.keepSeq = f.seq
	no := f.cur.no
	f.cur.add(&Entry{Kind: KindVoid, Key: s.key, Base: end, End: end, Flushed: end})
	if err := f.awaitRoundLocked(no); err != nil {
		return err
	}
	s.cutLocked(end)
	s.awaited.Store(true)
	for s.telling.Load() > 0 {
		f.changed.Wait()
	}
	s.awaited.Store(false)
	return nil
}

// cutLocked is the state after a void. What the journal held of the log below end is synced, as the rest is.
func (s *Stream) cutLocked(end int64) {
	f := s.f
	s.voids++
	s.end, s.synced, s.recorded = min(s.end, end), min(s.synced, end), min(s.recorded, end)
	s.need, s.ahead, s.copying = 0, span{}, true
	s.flushed.Store(min(s.flushed.Load(), end))
	if s.end > s.recorded {
		f.dirtyLocked(s)
	}
	if s.flush && s.end > s.flushed.Load() {
		s.need = s.end
	}
}

// pauseLocked waits for a recording of s under way, and keeps the next and any sync from beginning until paused is reset.
func (s *Stream) pauseLocked() error {
	f := s.f
	for (s.paused || s.saving) && !s.closed && f.stoppedLocked() == nil {
		f.changed.Wait()
	}
	if err := f.stoppedLocked(); err != nil {
		return err
	}
	if s.closed {
		return ErrClosed
	}
	s.paused = true
	return nil
}

// Close takes the log out of the flusher. It waits for a sync of it under way; Flushed is not called any more for what is
// not yet durable.
func (s *Stream) Close() {
	f := s.f
	f.mu.Lock()
	defer f.mu.Unlock()
	s.closed = true
	for s.syncing || s.saving {
		f.changed.Wait()
	}
	f.forgetLocked(s)
	f.changed.Broadcast()
}

// dirtyLocked notes that s holds something its recovery point does not cover.
func (f *Flusher) dirtyLocked(s *Stream) {
	if !s.aged.listed {
		if f.aged.push(s, time.Now()) {
			f.rouseCheckpointer()
		}
	}
	if s.flush && s.heapIndex == 0 {
		s.dirtySeq = f.seq
		f.dirty.push(s)
	}
}

// dirtySinceLocked is dirtyLocked for a stream that needs the rounds from seq on.
func (f *Flusher) dirtySinceLocked(s *Stream, seq uint64) {
	f.dirtyLocked(s)
	if s.heapIndex != 0 && seq < s.dirtySeq {
		s.dirtySeq = seq
		f.dirty.fix(s)
	}
}

// forgetLocked takes s off the lists: no file has to be kept for it any more.
func (f *Flusher) forgetLocked(s *Stream) {
	f.dirty.remove(s)
	f.aged.remove(s)
}
