package kv

import (
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// scheduler runs one compaction at a time, none before start, as opening would
// wait for its end, and none once stop answers true. Pebble's own scheduler looks
// for work ten times a second even when there is none.
//
// The store calls TrySchedule with its locks held, and is called by grant, so mu
// is never held across a call into the store; granting serialises those.
type scheduler struct {
	stop func() bool
	db   pebble.DBForCompaction

	granting sync.Mutex

	mu      sync.Mutex
	started bool
	running bool
	closed  bool
}

func newScheduler(stop func() bool) *scheduler { return &scheduler{stop: stop} }

func (s *scheduler) Register(_ int, db pebble.DBForCompaction) { s.db = db }

// start allows compactions, and begins one if one waits.
func (s *scheduler) start() {
	s.mu.Lock()
	s.started = true
	s.mu.Unlock()
	s.grant()
}

// Unregister returns when no call into the store is under way.
func (s *scheduler) Unregister() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.granting.Lock()
	defer s.granting.Unlock()
}

// TrySchedule answers whether a compaction may start now.
func (s *scheduler) TrySchedule() (bool, pebble.CompactionGrantHandle) {
	if !s.take() {
		return false, nil
	}
	return true, s
}

func (s *scheduler) take() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.started || s.running || s.closed || s.stop() {
		return false
	}
	s.running = true
	return true
}

func (s *scheduler) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = false
}

// UpdateGetAllowedWithoutPermission does nothing: what is allowed never changes.
func (s *scheduler) UpdateGetAllowedWithoutPermission() {}

// Done is told of each compaction's end and starts one that waits.
func (s *scheduler) Done() {
	s.release()
	s.grant()
}

func (s *scheduler) grant() {
	s.granting.Lock()
	defer s.granting.Unlock()
	if !s.take() {
		return
	}
	if waiting, _ := s.db.GetWaitingCompaction(); !waiting || !s.db.Schedule(s) {
		s.release()
	}
}

// Started, MeasureCPU and CumulativeStats are of no use with a fixed limit.
func (s *scheduler) Started()                                          {}
func (s *scheduler) MeasureCPU(pebble.CompactionGoroutineKind)         {}
func (s *scheduler) CumulativeStats(pebble.CompactionGrantHandleStats) {}
