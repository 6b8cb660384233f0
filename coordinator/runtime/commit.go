package runtime

import (
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// waitLocked asks the log to call back when the oldest record above the view is
// committed, unless it was asked already.
func (s *shard[M]) waitLocked() {
	if s.mu.waiting || len(s.mu.applied) == 0 {
		return
	}
	s.mu.waiting = true
	s.log.WhenCommitted(s.mu.applied[0].Offset+1, func(err error) {
		// The log calls from where it must not be held up, perhaps before this returns.
		s.rt.start(func() { s.committed(err) })
	})
}

// committed is called after the high watermark has passed the oldest record above the
// view, or will not.
func (s *shard[M]) committed(err error) {
	s.mu.Lock()
	s.mu.waiting = false
	if State(s.state.Load()) != Active {
		s.mu.Unlock()
		return
	}
	if err != nil {
		answers := s.failLocked(err)
		s.mu.Unlock()
		s.send(answers)
		return
	}
	if s.mu.advancing {
		s.mu.Unlock() // that goroutine looks once more before it ends
		return
	}
	s.mu.advancing = true
	s.mu.Unlock()
	s.advance()
}

// advance moves rows that are committed from the delta to the view and answers what waited
// for them, until there are none. One goroutine at a time does; mu.advancing is its mark.
func (s *shard[M]) advance() {
	for {
		s.mu.Lock()
		ready := s.readyLocked()
		if len(ready) == 0 {
			s.mu.advancing = false
			if State(s.state.Load()) == Active {
				s.waitLocked()
			}
			s.mu.Unlock()
			return
		}
		h := head{topic: s.id, applied: ready[len(ready)-1].Offset + 1, epoch: s.epoch}
		var early []answer
		if s.rt.opts.EarlyReplies {
			early = s.unparkLocked(h.applied)
		}
		s.mu.Unlock()
		s.send(early)
		err := s.project(ready, h)
		s.mu.Lock()
		if State(s.state.Load()) != Active {
			s.mu.advancing = false
			s.mu.Unlock()
			return
		}
		var answers []answer
		if err != nil {
			s.mu.advancing = false
			answers = s.failLocked(fmt.Errorf("view: %w", err))
			s.mu.Unlock()
			s.send(answers)
			return
		}
		s.mu.head = h
		answers = s.settleLocked(ready)
		s.mu.Unlock()
		s.send(answers)
	}
}

// readyLocked is the run of records above the view that are committed.
func (s *shard[M]) readyLocked() []Entry {
	if State(s.state.Load()) != Active || len(s.mu.applied) == 0 {
		return nil
	}
	upTo := s.log.HighWatermark()
	n := 0
	for n < len(s.mu.applied) && s.mu.applied[n].Offset < upTo {
		n++
	}
	return s.mu.applied[:n:n]
}

// project writes the rows of committed entries to the view, and the head that goes with
// them.
func (s *shard[M]) project(entries []Entry, h head) error {
	s.slot.view.Lock()
	defer s.slot.view.Unlock()
	if err := s.serving(); err != nil {
		return err // another life may own the view by now
	}
	b := s.view.batch()
	for i := range entries {
		b.offset = entries[i].Offset
		if err := s.rt.opts.Rows(b, &entries[i]); err != nil {
			return err
		}
	}
	h.asOf = time.Now()
	return b.commit(h)
}

// refreshLocked writes the head of a view that has all there is again, so that it does not
// look old only because nothing happened.
func (s *shard[M]) refreshLocked() {
	s.mu.refresh.at = time.Time{}
	s.rt.timers.schedule(s.mu.refresh, s.rt.opts.Now().Add(s.rt.opts.DeleteRetention/8))
	if len(s.mu.applied) > 0 || s.mu.advancing {
		return // what is pending will write it
	}
	s.mu.advancing = true
	h := s.mu.head
	s.rt.start(func() {
		if err := s.project(nil, h); err != nil {
			s.rt.log.Error("coordinator view not refreshed", zap.Int32("partition", s.partition), zap.Error(err))
		}
		s.advance()
	})
}

// settleLocked takes entries that are in the view now out of the delta and answers the
// replies that waited for nothing more.
func (s *shard[M]) settleLocked(entries []Entry) []answer {
	upTo := entries[len(entries)-1].Offset + 1
	s.mu.marks = s.mu.delta.forget(s.mu.marks, upTo)
	for i := range entries {
		s.mu.bytes -= len(entries[i].Key) + len(entries[i].Value)
	}
	s.mu.applied = dropFirst(s.mu.applied, len(entries))
	return s.unparkLocked(upTo)
}

// unparkLocked takes out the replies that wait for nothing at or above upTo.
func (s *shard[M]) unparkLocked(upTo int64) []answer {
	n := 0
	for n < len(s.mu.parked) && s.mu.parked[n].seen <= upTo {
		n++
	}
	answers := make([]answer, n)
	for i := range answers {
		answers[i].fn = s.mu.parked[i].fn
	}
	s.mu.parked = dropFirst(s.mu.parked, n)
	return answers
}

// end ends the shard's life from outside.
func (s *shard[M]) end(to State, why error) {
	s.mu.Lock()
	answers := s.endLocked(to, why)
	s.mu.Unlock()
	s.send(answers)
}

// failLocked ends the shard's life because of the log or the view, and arranges the next
// one unless leadership is over.
func (s *shard[M]) failLocked(why error) []answer {
	if errors.Is(why, ErrNotLeader) {
		return s.endLocked(Unloaded, why)
	}
	answers := s.endLocked(Failed, why)
	if State(s.state.Load()) == Failed {
		s.rt.metrics.failures.Inc()
		if !s.active.IsZero() && time.Since(s.active) > maxReloadPause {
			s.attempt = 0
		}
		var pause time.Duration
		if s.attempt > 0 {
			pause = min(reloadPause<<min(s.attempt, 10), maxReloadPause)
		}
		s.rt.timers.schedule(newEntry(reloader(func() { s.rt.reload(s) }), Timer{}), s.rt.opts.Now().Add(pause))
	}
	return answers
}

// A failed shard loads again at once, and after that with pauses that double.
const (
	reloadPause    = 50 * time.Millisecond
	maxReloadPause = 15 * time.Second
)

type reloader func()

func (r reloader) fire(*entry) { r() }

// endLocked answers everything that waits with ErrNotCoordinator and lets go of the state.
func (s *shard[M]) endLocked(to State, why error) []answer {
	from := State(s.state.Load())
	if from == Failed || from == Unloaded {
		if to == Unloaded {
			s.state.Store(int32(to))
		}
		return nil
	}
	s.state.Store(int32(to))
	level := zap.InfoLevel
	switch {
	case to == Failed:
		level = zap.ErrorLevel
	case errors.Is(why, errStopping):
		level = zap.DebugLevel
	}
	s.rt.log.Log(level, "coordinator shard ended", zap.Int32("partition", s.partition), zap.Int32("epoch", s.epoch),
		zap.Stringer("was", from), zap.Stringer("now", to), zap.Error(why))
	var answers []answer
	for _, p := range s.mu.parked {
		answers = append(answers, answer{p.fn, ErrNotCoordinator})
	}
	if from == Active {
		tx := &s.mu.tx
		s.mu.machine.Abandon(tx)
		for _, fn := range tx.replies {
			answers = append(answers, answer{fn, ErrNotCoordinator})
		}
		tx.replies = nil
	}
	for _, e := range s.mu.timers {
		s.rt.timers.remove(e)
	}
	s.rt.timers.remove(s.mu.deadline)
	s.rt.timers.remove(s.mu.refresh)
	var none M
	s.mu.machine, s.mu.timers = none, nil
	s.mu.parked, s.mu.applied, s.mu.marks, s.mu.bytes = nil, nil, nil, 0
	s.mu.delta.clear()
	return answers
}
