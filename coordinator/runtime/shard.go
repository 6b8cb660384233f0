package runtime

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// shard is one life of a partition's shard: from a load to the end of leadership, or to a
// failure, after which another life begins.
type shard[M Machine] struct {
	rt        *Runtime[M]
	slot      *slot[M]
	id        uuid.ID
	partition int32
	epoch     int32
	log       Log
	view      view
	attempt   int // how many lives before this one failed in a row

	state  atomic.Int32 // State; written under mu
	active time.Time    // since when it is Active; written under mu

	mu struct {
		sync.Mutex
		machine M
		delta   *delta
		tx      Tx
		timers  map[Timer]*entry
		builder record.Builder

		head    head    // of the view
		end     int64   // offset after the last record loaded or appended
		applied []Entry // records above the view, in log order
		marks   []mark  // their rows in the delta
		bytes   int     // their keys and values
		parked  []parked

		waiting   bool   // Log.WhenCommitted was called and has not called back
		advancing bool   // a goroutine moves rows to the view
		deadline  *entry // fires when the oldest parked reply has waited too long
		refresh   *entry // fires when the view's head is to be written again
	}
}

// parked is a reply that waits for the commit of everything below seen.
type parked struct {
	seen  int64
	until time.Time
	fn    func(error)
}

// answer is a reply on its way out, to be called outside the lock.
type answer struct {
	fn  func(error)
	err error
}

// send calls replies, on whatever goroutine moved the shard on. One that panics costs its request the answer, not the others
// theirs, nor the process.
func (s *shard[M]) send(answers []answer) {
	for len(answers) > 0 {
		answers = s.sendSome(answers)
	}
}

// sendSome calls replies up to one that panics and gives those after it.
func (s *shard[M]) sendSome(answers []answer) (rest []answer) {
	called := 0
	defer func() {
		if p := recover(); p != nil {
			s.rt.log.Error("reply of a coordinator operation panicked, its request stays without an answer",
				zap.Int32("partition", s.partition), zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
			rest = answers[called:]
		}
	}()
	for called < len(answers) {
		a := answers[called]
		called++
		a.fn(a.err)
	}
	return nil
}

func newShard[M Machine](r *Runtime[M], sl *slot[M], id uuid.ID, partition, epoch int32, log Log, attempt int) *shard[M] {
	s := &shard[M]{
		rt: r, slot: sl, id: id, partition: partition, epoch: epoch, log: log, attempt: attempt,
		view: view{r.opts.store(partition)},
	}
	s.mu.delta = newDelta()
	s.mu.timers = map[Timer]*entry{}
	s.mu.tx = Tx{table: live{s.mu.delta, s.view}, clock: s}
	s.mu.deadline = newEntry(s, Timer{})
	s.mu.refresh = newEntry(s, Timer{})
	return s
}

// serving tells whether the shard is active, or why not.
func (s *shard[M]) serving() error {
	switch State(s.state.Load()) {
	case Active:
		return nil
	case Loading, Failed:
		return ErrLoading
	}
	return ErrNotCoordinator
}

func (s *shard[M]) do(op func(M, View) Outcome) error {
	if err := s.serving(); err != nil {
		return err
	}
	s.mu.Lock()
	if err := s.admitLocked(); err != nil {
		s.mu.Unlock()
		return err
	}
	s.leave(s.safelyLocked(op))
	return nil
}

// safelyLocked is stepLocked for operations that may have a bug: one that panics ends the
// shard's life, whose state nobody can trust then, but not the lock or the process. Its own
// request stays without an answer.
func (s *shard[M]) safelyLocked(op func(M, View) Outcome) (answers []answer) {
	defer func() {
		if p := recover(); p != nil {
			s.rt.log.Error("coordinator operation panicked", zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
			answers = s.failLocked(fmt.Errorf("operation panicked: %v", p))
		}
	}()
	return s.stepLocked(op)
}

func (s *shard[M]) admitLocked() error {
	if err := s.serving(); err != nil {
		return err
	}
	pending := max(len(s.mu.applied), len(s.mu.parked))
	if pending >= s.rt.opts.MaxPending || s.mu.bytes >= s.rt.opts.MaxPendingBytes {
		s.rt.metrics.busy.Inc()
		return ErrBusy
	}
	return nil
}

// leave unlocks, sends the answers, and moves what is already committed to the view: a log
// whose watermark follows the append at once needs no other goroutine.
func (s *shard[M]) leave(answers []answer) {
	advance := false
	if len(s.mu.applied) > 0 && !s.mu.advancing && State(s.state.Load()) == Active {
		if s.log.HighWatermark() >= s.mu.end {
			advance, s.mu.advancing = true, true
		} else {
			s.waitLocked()
		}
	}
	s.mu.Unlock()
	s.send(answers)
	if advance {
		s.advance()
	}
}

// stepLocked runs one operation: decide, append, apply, park.
func (s *shard[M]) stepLocked(op func(M, View) Outcome) []answer {
	tx := &s.mu.tx
	tx.now = s.rt.opts.Now()
	s.rt.metrics.operations.Inc()
	out := op(s.mu.machine, tx)
	var answers []answer
	if len(out.Records) > 0 {
		err := s.appendLocked(out.Records, tx.now)
		switch {
		case err == nil:
		case refused(err):
			s.rt.log.Warn("the log refused a coordinator's write", zap.Int32("partition", s.partition), zap.Error(err))
			if out.Refused != nil {
				out.Refused(tx, err)
			}
			if out.Reply != nil {
				answers = append(answers, answer{out.Reply, err})
			}
			return s.parkLocked(answers)
		default:
			if out.Reply != nil {
				answers = append(answers, answer{out.Reply, ErrNotCoordinator})
			}
			return append(answers, s.failLocked(err)...)
		}
	}
	if out.Then != nil {
		out.Then(tx)
	}
	if out.Reply != nil {
		tx.Reply(out.Reply)
	}
	return s.parkLocked(answers)
}

// appendLocked writes records as one batch and enters their rows into the delta.
func (s *shard[M]) appendLocked(records []Record, now time.Time) error {
	batch, err := build(&s.mu.builder, records, now.UnixMilli())
	if err != nil {
		return err
	}
	base, err := s.log.Append(s.epoch, batch)
	if err != nil {
		return err
	}
	if base != s.mu.end {
		// Someone else wrote to the log: what the shard knows is not what is there.
		return errors.Join(ErrUnknown, fmt.Errorf("appended at offset %d, expected %d", base, s.mu.end))
	}
	w := deltaWriter{live: live{s.mu.delta, s.view}, marks: s.mu.marks}
	for i, rec := range records {
		e := Entry{Record: rec, Offset: base + int64(i), ProducerID: -1, ProducerEpoch: -1}
		w.offset = e.Offset
		if err := s.rt.opts.Rows(&w, &e); err != nil {
			return err
		}
		s.mu.applied = append(s.mu.applied, e)
		s.mu.bytes += len(rec.Key) + len(rec.Value)
	}
	s.mu.marks = w.marks
	s.mu.end = base + int64(len(records))
	s.rt.metrics.records.Add(float64(len(records)))
	return nil
}

// parkLocked holds back the replies that the operation gave until what it saw is
// committed, and adds those that need not wait to the answers.
func (s *shard[M]) parkLocked(answers []answer) []answer {
	tx := &s.mu.tx
	if len(tx.replies) == 0 {
		return answers
	}
	if len(s.mu.applied) == 0 {
		for _, fn := range tx.replies {
			answers = append(answers, answer{fn, nil})
		}
	} else {
		until := tx.now.Add(s.rt.opts.CommitTimeout)
		for _, fn := range tx.replies {
			s.mu.parked = append(s.mu.parked, parked{s.mu.end, until, fn})
		}
		if s.mu.deadline.due.IsZero() {
			s.rt.timers.schedule(s.mu.deadline, until)
		}
	}
	clear(tx.replies)
	tx.replies = tx.replies[:0]
	return answers
}

// scheduleLocked and cancelLocked are the machine's hand on its timers.
func (s *shard[M]) scheduleLocked(t Timer, at time.Time) {
	e := s.mu.timers[t]
	if e == nil {
		e = newEntry(s, t)
		s.mu.timers[t] = e
	}
	s.rt.timers.schedule(e, at)
}

func (s *shard[M]) cancelLocked(t Timer) {
	if e := s.mu.timers[t]; e != nil {
		delete(s.mu.timers, t)
		s.rt.timers.remove(e)
	}
}

// fire is called by the heap when e surfaces.
func (s *shard[M]) fire(e *entry) {
	s.mu.Lock()
	switch {
	case State(s.state.Load()) != Active:
		s.mu.Unlock()
		return
	case e == s.mu.deadline:
		answers := s.overdueLocked()
		s.mu.Unlock()
		s.send(answers)
		return
	case e == s.mu.refresh:
		s.refreshLocked()
		s.mu.Unlock()
		return
	case s.mu.timers[e.key] != e: // cancelled as it surfaced
		s.mu.Unlock()
		return
	}
	now := s.rt.opts.Now()
	if e.due.After(now) {
		s.rt.timers.requeue(e)
		s.mu.Unlock()
		return
	}
	if s.admitLocked() != nil {
		e.due = now.Add(busyPause)
		s.rt.timers.requeue(e)
		s.mu.Unlock()
		return
	}
	delete(s.mu.timers, e.key)
	s.leave(s.safelyLocked(func(m M, v View) Outcome { return m.Fire(v, e.key) }))
}

// busyPause is how long a due timer waits when too much is pending in its shard.
const busyPause = 100 * time.Millisecond

// overdueLocked takes out the replies that have waited too long for their commit.
func (s *shard[M]) overdueLocked() []answer {
	now := s.rt.opts.Now()
	var answers []answer
	n := 0
	for n < len(s.mu.parked) && !s.mu.parked[n].until.After(now) {
		answers = append(answers, answer{s.mu.parked[n].fn, ErrTimedOut})
		n++
	}
	s.mu.parked = dropFirst(s.mu.parked, n)
	s.rt.metrics.timeouts.Add(float64(n))
	s.mu.deadline.due, s.mu.deadline.at = time.Time{}, time.Time{}
	if len(s.mu.parked) > 0 {
		s.rt.timers.schedule(s.mu.deadline, s.mu.parked[0].until)
	}
	return answers
}
