package runtime

import (
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/protocol/record"
)

// expandLimit bounds what one batch of a coordinator's log may decompress to, in bytes.
const expandLimit = 128 << 20

var errEnded = errors.New("the shard's life ended while it was loading")

// begin starts to load: as soon as the log's end of now is committed. Serving before that
// would decide without records that may still become part of the truth.
func (s *shard[M]) begin() {
	end := s.log.End()
	s.log.WhenCommitted(end, func(err error) {
		s.rt.start(func() { s.load(end, err) })
	})
}

func (s *shard[M]) load(end int64, err error) {
	s.rt.loads <- struct{}{}
	defer func() { <-s.rt.loads }()
	began := time.Now()
	var replayed int
	var h head
	if err == nil {
		h, replayed, err = s.replay(end)
	}
	if err == nil {
		err = s.activate(h, end)
	}
	if err == nil {
		took := time.Since(began)
		s.rt.metrics.loadSeconds.Observe(took.Seconds())
		level := zap.InfoLevel
		if replayed == 0 {
			level = zap.DebugLevel // the view had it all
		}
		s.rt.log.Log(level, "coordinator shard loaded", zap.Int32("partition", s.partition), zap.Int32("epoch", s.epoch),
			zap.Int64("end", end), zap.Int("batches", replayed), zap.Duration("took", took))
		return
	}
	if errors.Is(err, errEnded) {
		return
	}
	s.mu.Lock()
	answers := s.failLocked(fmt.Errorf("loading: %w", err))
	s.mu.Unlock()
	s.send(answers)
}

// replay brings the view up to end, from where it stands or, if it does not belong to this
// log, from nothing. It answers the view's head and how many batches that took.
func (s *shard[M]) replay(end int64) (head, int, error) {
	s.slot.view.Lock()
	defer s.slot.view.Unlock()
	if State(s.state.Load()) != Loading {
		return head{}, 0, errEnded
	}
	h, ok, err := s.view.head()
	if err != nil {
		return h, 0, err
	}
	why := "there is none"
	if ok {
		why, err = h.agrees(s.log, end, s.id, s.rt.opts.DeleteRetention, time.Now())
	}
	if err != nil {
		return h, 0, err
	}
	if why != "" {
		if ok {
			s.rt.log.Info("coordinator view is made again", zap.Int32("partition", s.partition), zap.String("reason", why))
		}
		h = head{topic: s.id, applied: s.log.Start(), epoch: -1}
		if err := s.view.drop(); err != nil {
			return h, 0, err
		}
	}
	replayed, err := s.catchUp(&h, end)
	return h, replayed, err
}

// catchUp applies the records between h and end to the view.
func (s *shard[M]) catchUp(h *head, end int64) (int, error) {
	replayed := 0
	for h.applied < end {
		if State(s.state.Load()) != Loading {
			return replayed, errEnded
		}
		chunk, err := s.log.Read(h.applied, readChunk)
		if err != nil {
			return replayed, fmt.Errorf("read at offset %d: %w", h.applied, err)
		}
		if len(chunk) == 0 {
			break // compaction left nothing between here and the end
		}
		b := s.view.batch()
		n, err := s.applyChunk(b, chunk, h, end)
		if err == nil {
			h.asOf = time.Now()
			err = b.commit(*h)
		}
		if err != nil {
			return replayed, err
		}
		if n == 0 {
			break
		}
		replayed += n
	}
	h.asOf = time.Now()
	return replayed, s.view.batch().commit(*h) // refreshes "as of": nothing below the end is unseen
}

// applyChunk writes the rows of whole batches below end and moves h after them. It answers
// how many batches there were.
func (s *shard[M]) applyChunk(w *viewBatch, chunk []byte, h *head, end int64) (int, error) {
	n := 0
	for len(chunk) > 0 {
		batch, rest, err := record.First(chunk)
		if errors.Is(err, record.ErrShort) && n > 0 {
			break
		}
		if err != nil {
			return n, fmt.Errorf("batch after offset %d: %w", h.applied, err)
		}
		if batch.BaseOffset() >= end {
			break
		}
		chunk = rest
		if batch.LastOffset() < h.applied {
			n++
			continue
		}
		if err := eachEntry(batch, func(e *Entry) error {
			if e.Offset < h.applied {
				return nil
			}
			w.offset = e.Offset
			return s.rt.opts.Rows(w, e)
		}); err != nil {
			return n, fmt.Errorf("batch at offset %d: %w", batch.BaseOffset(), err)
		}
		h.applied, h.epoch = batch.NextOffset(), batch.LeaderEpoch()
		n++
	}
	return n, nil
}

// activate builds the machine from the view and begins to serve.
func (s *shard[M]) activate(h head, end int64) error {
	machine := s.rt.opts.New(s.partition, s.epoch)
	s.mu.Lock()
	if State(s.state.Load()) != Loading {
		s.mu.Unlock()
		return errEnded
	}
	tx := &s.mu.tx
	tx.now = s.rt.opts.Now()
	if err := machine.Restore(tx); err != nil {
		s.mu.Unlock()
		return fmt.Errorf("restore: %w", err)
	}
	s.mu.machine, s.mu.head, s.mu.end = machine, h, end
	s.active = time.Now()
	s.state.Store(int32(Active))
	s.rt.timers.schedule(s.mu.refresh, tx.now.Add(s.rt.opts.DeleteRetention/8))
	answers := s.parkLocked(nil)
	s.mu.Unlock()
	s.send(answers)
	return nil
}
