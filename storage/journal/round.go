package journal

import (
	"slices"
	"time"
)

// round is what one frame will hold.
type round struct {
	no      uint64 // counted in this life
	buf     []byte // frame header (still blank) and entries
	entries uint32
	parts   []part
	forced  bool // is written even if empty
	began   time.Time
}

// part is what a round makes durable of one stream.
type part struct {
	s *Stream
	span
}

// keepBytes is the largest buffer that outlives its round.
const keepBytes = 1 << 20

func newRound() *round {
	return &round{no: 1, buf: make([]byte, frameHeaderBytes, 16<<10)}
}

// reset empties the round for collecting. A buffer that grew past keepBytes and was not filled half is let go.
func (r *round) reset(no uint64) {
	if cap(r.buf) > keepBytes && len(r.buf) < cap(r.buf)/2 {
		r.buf = make([]byte, frameHeaderBytes, 16<<10)
	}
	clear(r.parts)
	*r = round{no: no, buf: r.buf[:frameHeaderBytes], parts: r.parts[:0]}
}

func (r *round) add(e *Entry) {
	r.buf = appendEntry(r.buf, e)
	r.entries++
}

// covers notes that the round makes [base, end) of s durable. What continues the stream's part in the round extends it.
func (r *round) covers(s *Stream, base, end int64) {
	if i := s.roundPart; i >= 0 && r.parts[i].end == base {
		r.parts[i].end = end
		return
	}
	s.roundPart = len(r.parts)
	r.parts = append(r.parts, part{s, span{base, end}})
}

// run is the round loop. One goroutine at a time runs it; see finish for how it changes hands.
func (f *Flusher) run() {
	for {
		r := f.collect()
		if r == nil {
			return
		}
		err := f.runPreceding()
		if err == nil {
			err = f.files.write(f, r)
		}
		if err != nil {
			if err != ErrClosed {
				f.fail(err)
			}
			return
		}
		if !f.finish(r) {
			return
		}
	}
}

// collect waits until there is something to write and takes it; nil when the flusher stops.
func (f *Flusher) collect() *round {
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		if f.stoppedLocked() != nil {
			return nil
		}
		if f.cur.entries > 0 || f.cur.forced || f.notesDue {
			break
		}
		f.asleep = true
		f.mu.Unlock()
		select {
		case <-f.wake:
		case <-f.closing:
		case <-f.failed:
		}
		f.mu.Lock()
	}
	f.addNotesLocked()
	r := f.cur
	r.began = time.Now()
	f.roundsIn++
	f.spent.reset(f.roundsIn)
	f.cur, f.spent = f.spent, nil
	f.seq = f.files.next() + 1
	return r
}

// oldestLocked is the first round that a stream depends on, at most upTo.
func (f *Flusher) oldestLocked(upTo uint64) uint64 {
	return min(upTo, f.dirty.min(), f.batchMin)
}

// addNotesLocked puts the notes of own syncs into the collecting round, as many as a file surely takes.
func (f *Flusher) addNotesLocked() {
	room := max(1, (int(f.opt.FileBytes/4*3)-len(f.cur.buf))/entryHeaderBytes)
	n := min(room, len(f.notes))
	for _, s := range f.notes[:n] {
		s.noted = false
		// A note behind a void would promise again what the void took back.
		if end := s.flushed.Load(); !s.closed && !s.paused && end > s.recorded {
			f.cur.add(&Entry{Kind: KindNote, Key: s.key, Base: end, End: end, Flushed: end})
		}
	}
	f.notes = slices.Delete(f.notes, 0, n)
	f.notesDue = len(f.notes) > 0
	f.cur.forced = true
}

// noteLocked has the flushed end of s noted in the next round, or in one of its own after noteDelay.
func (f *Flusher) noteLocked(s *Stream) {
	if s.noted || s.flushed.Load() <= s.recorded {
		return
	}
	s.noted = true
	if len(f.notes) == 0 {
		f.noteTimer.Reset(noteDelay)
	}
	f.notes = append(f.notes, s)
}

func (f *Flusher) notesAreDue() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.notes) > 0 {
		f.notesDue = true
		f.rouseLocked()
	}
}

// finish makes known what the durable round r held. Callbacks are never in the way of the disk: when there is something
// to write already, or as soon as there is, another goroutine takes over the round loop, and this one leaves it after its
// callbacks (false). A lone append, on the other hand, is told without any change of goroutines.
func (f *Flusher) finish(r *round) (still bool) {
	f.metrics.round(r)
	f.mu.Lock()
	var told []*Stream
	for _, p := range r.parts {
		if !p.s.closed && p.s.durableLocked(p.base, p.end) {
			told = append(told, p.s)
		}
	}
	f.roundsOut = r.no
	f.spent = r
	f.away = true
	if f.cur.entries > 0 || f.cur.forced || f.notesDue {
		f.rouseLocked()
	}
	f.changed.Broadcast()
	f.mu.Unlock()
	for _, s := range told {
		s.notify()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	still = f.away
	f.away = false
	return still
}

// rouseLocked sees to it that the collecting round is written.
func (f *Flusher) rouseLocked() {
	switch {
	case f.asleep:
		f.asleep = false
		f.wake <- struct{}{}
	case f.away:
		f.away = false
		f.wg.Go(f.run)
	}
}

// awaitRoundLocked has the collecting round no written and waits until it is durable.
func (f *Flusher) awaitRoundLocked(no uint64) error {
	f.rouseLocked()
	for f.roundsOut < no {
		if err := f.stoppedLocked(); err != nil {
			return err
		}
		f.changed.Wait()
	}
	return nil
}
