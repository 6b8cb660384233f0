package journal

import (
	"sync"
	"time"
)

const (
	// calmFill and fullFill are the parts of the journal's limit between which checkpointing becomes urgent: below the
	// first only age makes it work, from the second on it works without pause and several at a time.
	calmFill = 0.25
	fullFill = 0.75
	// calmDuty is the share of time the checkpointer may keep the disk busy while nothing is urgent.
	calmDuty = 0.1

	batchStreams = 64                     // recovery points recorded together
	batchTime    = 500 * time.Millisecond // no recovery point waits longer for others while the journal is in need
	urgentSyncs  = 4                      // syncs at a time when urgent
	maxPause     = 100 * time.Millisecond
)

// batch is what is synced but not yet recorded.
type batch struct {
	streams []*Stream
	began   time.Time
}

// task is what the checkpointer does next.
type task struct {
	streams []*Stream     // to sync, all at a time
	record  bool          // the batch is to be recorded afterwards
	fill    float64       // of the journal
	idle    time.Duration // without streams and without record: sleep so long; negative: until roused
}

// checkpointer syncs dirty segments little by little and records recovery points, which frees journal files.
func (f *Flusher) checkpointer() {
	var b batch
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		t := f.nextTask(&b)
		pause := t.idle
		if len(t.streams) > 0 || t.record {
			began := time.Now()
			if !f.runTask(t, &b) {
				return
			}
			pause = pauseAfter(time.Since(began), t.fill)
		}
		if !f.sleep(timer, pause, len(t.streams) == 0 && !t.record) {
			return
		}
	}
}

// sleep waits; when idle it can be roused before the time. False: the flusher stops.
func (f *Flusher) sleep(timer *time.Timer, d time.Duration, idle bool) bool {
	var rouse chan struct{}
	if idle {
		rouse = f.ckWake
	}
	var expired <-chan time.Time
	if d >= 0 {
		timer.Reset(d)
		expired = timer.C
	}
	select {
	case <-expired:
	case <-rouse:
	case <-f.closing:
		return false
	case <-f.failed:
		return false
	}
	return true
}

// pauseAfter is how long to leave the disk alone after work of length d. Without urgency the work may take calmDuty of the
// time, with urgency all of it.
func pauseAfter(d time.Duration, fill float64) time.Duration {
	urgency := min(1, max(0, (fill-calmFill)/(fullFill-calmFill)))
	duty := calmDuty + (1-calmDuty)*urgency
	return min(maxPause, time.Duration(float64(d)*(1-duty)/duty))
}

// nextTask picks the streams to sync next: those that hold the oldest journal file when the journal fills up, otherwise the
// one that is dirty for longest, once it is due.
func (f *Flusher) nextTask(b *batch) task {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stoppedLocked() != nil {
		return task{idle: -1}
	}
	live, limit := f.files.liveLocked(f)
	t := task{fill: float64(live) / float64(limit)}
	n := 1
	if t.fill >= fullFill {
		n = urgentSyncs
	}
	for len(t.streams) < n {
		s := f.nextDirtyLocked(t.fill)
		if s == nil {
			break
		}
		t.streams = append(t.streams, s)
	}
	full := len(b.streams)+len(t.streams) >= batchStreams
	late := len(b.streams) > 0 && time.Since(b.began) >= batchTime
	t.record = full || late || len(b.streams) > 0 && (len(t.streams) == 0 || f.files.batchHoldsLocked(f))
	if len(t.streams) == 0 && !t.record {
		t.idle = f.untilDueLocked()
	}
	return t
}

// nextDirtyLocked takes one stream off the lists. The rounds it needs stay needed until its recovery point is recorded.
func (f *Flusher) nextDirtyLocked(fill float64) *Stream {
	var s *Stream
	switch {
	case fill > calmFill && len(f.dirty.streams) > 0:
		s = f.dirty.streams[0]
	case f.aged.first != nil && time.Since(f.aged.first.aged.since) >= f.opt.CheckpointAge:
		s = f.aged.first
	default:
		return nil
	}
	since := f.seq
	if s.heapIndex != 0 {
		since = s.dirtySeq
		f.batchMin = min(f.batchMin, since)
	}
	if s.inBatch { // for the second time
		since = min(since, s.keepSeq)
	}
	s.inBatch, s.keepSeq = true, since
	f.forgetLocked(s)
	return s
}

// untilDueLocked is how long the stream dirty for longest is not due yet; negative without one.
func (f *Flusher) untilDueLocked() time.Duration {
	if f.aged.first == nil {
		return -1
	}
	return max(0, f.opt.CheckpointAge-time.Since(f.aged.first.aged.since))
}

// runTask syncs the task's streams and records the batch when that is due. False: something failed.
func (f *Flusher) runTask(t task, b *batch) bool {
	if len(b.streams) == 0 {
		b.began = time.Now()
	}
	if len(t.streams) == 1 {
		f.checkpoint(t.streams[0])
	} else if len(t.streams) > 1 {
		var wg sync.WaitGroup
		for _, s := range t.streams {
			wg.Go(func() { f.checkpoint(s) })
		}
		wg.Wait()
	}
	b.streams = append(b.streams, t.streams...)
	if f.Err() != nil {
		return false
	}
	return !t.record || f.record(b)
}

// checkpoint syncs one stream unless its own syncs have done that. One in the middle of a Void is left alone.
func (f *Flusher) checkpoint(s *Stream) {
	f.mu.Lock()
	for s.syncing && !s.closed && f.stoppedLocked() == nil {
		f.changed.Wait()
	}
	ownSynced := s.synced == s.end || !s.copying && s.synced > s.recorded
	if s.closed || s.paused || f.stoppedLocked() != nil || ownSynced {
		f.mu.Unlock()
		return
	}
	s.beginLocked()
	target := s.end
	f.mu.Unlock()
	f.metrics.checkpoints.Inc()
	if _, moved := f.syncStream(s, target); moved {
		// Not here: the callback may wait for a lock whose holder waits for the journal, which waits for checkpoints.
		f.wg.Go(s.notify)
	}
}

// record has the recovery points of the batch made durable. After that the journal is not needed for what they cover.
func (f *Flusher) record(b *batch) bool {
	points, saved := f.beginRecord(b)
	var err error
	if len(points) > 0 {
		err = f.opt.Record(points)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, s := range saved {
		s.saving = false
		if err == nil {
			s.recorded = points[i].End
		}
	}
	f.changed.Broadcast()
	if err != nil {
		f.failLocked(err)
		return false
	}
	for _, s := range b.streams {
		if !s.closed && s.end > s.recorded {
			f.dirtySinceLocked(s, s.keepSeq)
		}
		s.inBatch = false
	}
	clear(b.streams)
	b.streams = b.streams[:0]
	f.batchMin = noSeq
	return true
}

// beginRecord answers the recovery points to record and whose they are. Streams in the middle of a Void sit this out.
func (f *Flusher) beginRecord(b *batch) (points []Point, saved []*Stream) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range b.streams {
		if s.closed || s.paused || s.saving || s.synced <= s.recorded {
			continue
		}
		s.saving, s.keepSeq = true, s.syncedSeq
		points = append(points, Point{Key: s.key, End: s.synced})
		saved = append(saved, s)
	}
	return points, saved
}
