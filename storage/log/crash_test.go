package log

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/storage/segment"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// crashScript is a sequence of operations that is cut at each of its sync points, and recovered from what is left.
type crashScript struct {
	name string
	cfg  func(*Config)
	run  func(s *script) error
}

// script is one run of it. History is what the log should hold, by offset; a truncation begins another one.
type script struct {
	*world
	histories [][]record.Batch
	sequence  int32
	ms        int64
}

var crashAll = flag.Bool("crash.all", false, "cut every recovery as well, not one in eight")

var errCheck = errors.New("check failed")

// crashScripts: the number is that of the durability rule that each one is about.
var crashScripts = []crashScript{
	{name: "rule 3: rolls between syncs", run: func(s *script) error {
		return s.steps(s.bulk(3), s.sync, s.bulk(14), s.sync, s.bulk(9), s.bulk(9), s.sync)
	}},
	{name: "rule 3: first sync makes the directory", run: func(s *script) error { return s.steps(s.bulk(1), s.sync) }},
	{name: "rule 1, 6: journaled appends over rolls", run: func(s *script) error {
		s.journal = true
		return s.steps(s.bulk(8), s.sync, s.bulk(20), s.sync, s.bulk(5))
	}},
	{name: "rule 6: journal goes on after synced bulk", run: func(s *script) error {
		return s.steps(s.bulk(12), s.sync, s.journaled(true), s.bulk(7), s.journaled(false), s.sync, s.bulk(2))
	}},
	{name: "rule 4: truncate within the last segment", run: func(s *script) error {
		return s.steps(s.bulk(5), s.sync, s.truncateBy(2), s.bulk(3), s.sync)
	}},
	{name: "rule 4: truncate over segments, append other records", run: func(s *script) error {
		s.journal = true
		return s.steps(s.bulk(30), s.sync, s.bulk(4), s.truncateBy(25), s.bulk(30), s.sync)
	}},
	{name: "rule 4: truncate fully and start elsewhere", run: func(s *script) error {
		return s.steps(s.bulk(15), s.sync, s.restart(40), s.bulk(3), s.sync)
	}},
	{name: "rule 4: delete records, segments go", run: func(s *script) error {
		s.journal = true
		return s.steps(s.bulk(25), s.sync, s.deleteTo(17), s.bulk(3), s.deleteTo(28), s.bulk(2), s.sync)
	}},
	{name: "rule 4: retention", cfg: func(c *Config) { c.RetentionBytes = 2 << 10 }, run: func(s *script) error {
		return s.steps(s.bulk(25), s.sync, s.retain, s.bulk(20), s.retain, s.sync)
	}},
	{name: "rule 9: segments replaced", cfg: func(c *Config) { c.Compact = true }, run: func(s *script) error {
		return s.steps(s.bulk(30), s.sync, s.replace(2, 1), s.bulk(3), s.sync, s.replace(3, 2), s.bulk(1), s.sync)
	}},
	{name: "rule 10: epochs and producers", run: func(s *script) error {
		return s.steps(s.bulk(4), s.epoch(3), s.sync, s.bulk(12), s.epoch(4), s.bulk(12), s.sync, s.truncateBy(13), s.epoch(7), s.bulk(3), s.sync)
	}},
	{name: "clean stop and start", run: func(s *script) error {
		return s.steps(s.bulk(12), s.stopAndStart, s.bulk(3), s.stopAndStart, s.bulk(10), s.sync)
	}},
}

// TestCrashAtEverySyncPoint cuts each script before and after each sync point, throws away all, none or some of what was not
// synced, and recovers; and cuts some of those recoveries at each of their sync points as well, and recovers again.
func TestCrashAtEverySyncPoint(t *testing.T) {
	for _, sc := range crashScripts {
		t.Run(sc.name, func(t *testing.T) {
			points := int64(0)
			for n := int64(1); ; n++ {
				done := true
				for _, when := range []vfs.When{vfs.BeforeSync, vfs.AfterSync} {
					done = sc.cutAt(t, n, when) && done
				}
				if done {
					break
				}
				points = n
			}
			require.Positive(t, points)
			t.Logf("%d sync points", points)
		})
	}
}

// cutAt runs the script up to sync point n, and tells whether it ran to its end.
func (sc *crashScript) cutAt(t *testing.T, n int64, when vfs.When) bool {
	disk := vfs.NewCrash(uint64(n))
	cfg := testConfig()
	cfg.SegmentBytes = 1 << 10
	if sc.cfg != nil {
		sc.cfg(&cfg)
	}
	s := &script{world: newWorld(t, disk, cfg), histories: [][]record.Batch{nil}, ms: t0.UnixMilli()}
	disk.CutAt(disk.Ops()+n, when)
	err := sc.run(s)
	if err != nil && !errors.Is(err, vfs.ErrCut) {
		t.Fatalf("cut at %d: %v", n, err)
	}
	for seed := range uint64(3) {
		left := disk.PowerCut(uint64(n))
		switch seed {
		case 0:
			left = disk.PowerCutAll()
		case 1:
			left = disk.PowerCutNone()
		}
		s.recoverFrom(left, fmt.Sprintf("cut at %d (%v), seed %d", n, when, seed), *crashAll || uint64(n)%8 == seed)
	}
	return err == nil
}

// recoverFrom recovers from what is left; first, if it is to be cut as well, at each of its sync points.
func (s *script) recoverFrom(left *vfs.Crash, what string, cut bool) {
	for n := int64(1); ; n++ {
		again := left.PowerCutNone()
		if cut {
			again.CutAt(again.Ops()+n, vfs.AfterSync)
		}
		facts := *s.world
		w := facts
		w.fs = again
		err := w.open()
		if err != nil && !errors.Is(err, vfs.ErrCut) {
			s.t.Fatalf("%s, recovery cut at %d: %v", what, n, err)
		}
		if err == nil {
			again.CutAt(0, vfs.AfterSync)
			s.judge(&w, what)
			return
		}
		for _, half := range []*vfs.Crash{again.PowerCutAll(), again.PowerCut(uint64(n))} {
			w := facts
			w.fs = half
			if err := w.open(); err != nil {
				s.t.Fatalf("%s, recovery cut at %d, second one: %v", what, n, err)
			}
			s.judge(&w, fmt.Sprintf("%s, recovery cut at %d", what, n))
		}
	}
}

// judge compares a recovered log with what it may hold.
func (s *script) judge(w *world, what string) {
	t := s.t
	if w.last.Damage != nil {
		t.Fatalf("%s: %v", what, w.last.Damage)
	}
	require.GreaterOrEqual(t, w.l.End(), s.promised, "%s: acknowledged records are gone", what)
	require.GreaterOrEqual(t, w.l.Start(), s.start, what)
	require.Equal(t, w.l.End(), w.l.RecoveryPoint(), what)
	got := w.readAll()
	if !slices.ContainsFunc(s.histories, func(h []record.Batch) bool { return agrees(got, h, w.l) }) {
		t.Fatalf("%s: the log of %d to %d is none of the histories: %v", what, w.l.Start(), w.l.End(), offsets(got))
	}
	s.judgeSideFacts(w, got, what)
	state, err := w.l.Close()
	require.NoError(t, err, what)
	require.Equal(t, w.l.End(), state.End, what)
}

// agrees tells whether batches are those of a history, from the log's start to its end.
func agrees(got, history []record.Batch, l *Log) bool {
	i := slices.IndexFunc(history, func(b record.Batch) bool { return b.LastOffset() >= l.Start() })
	if i < 0 {
		return len(got) == 0
	}
	for _, b := range history[i:] {
		if b.LastOffset() >= l.End() {
			break
		}
		if len(got) == 0 || !bytes.Equal(got[0], b) {
			return false
		}
		got = got[1:]
	}
	return len(got) == 0
}

// judgeSideFacts compares epochs and producers with those of the batches.
func (s *script) judgeSideFacts(w *world, got []record.Batch, what string) {
	seen, last := map[int64]int32{}, int32(-1)
	for _, b := range got {
		seen[b.ProducerID()] = b.LastSequence()
		require.Equal(s.t, b.LeaderEpoch(), w.l.EpochOf(max(b.BaseOffset(), w.l.Start())), "%s: epoch of %d", what, b.BaseOffset())
		last = b.LeaderEpoch()
	}
	if len(got) > 0 {
		require.Equal(s.t, last, w.l.LatestEpoch(), what)
	}
	for _, p := range w.l.Producers() {
		if want, ok := seen[p.ID]; ok {
			require.Equal(s.t, want, p.LastSequence, "%s: producer %d", what, p.ID)
			delete(seen, p.ID)
		}
	}
	require.Empty(s.t, seen, "%s: producers are forgotten", what)
}

func (s *script) steps(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// bulk appends n batches of some 150 bytes of one producer.
func (s *script) bulk(n int) func() error {
	return func() error {
		for range n {
			s.ms++
			b := batchOf(1, 60, s.ms, record.Spec{Producer: &record.Producer{ID: 9, Sequence: s.sequence}})
			if _, err := s.l.Append(Append{Batches: b, LeaderEpoch: max(0, s.l.LatestEpoch()), Now: t0}); err != nil {
				return err
			}
			s.sequence++
			h := &s.histories[len(s.histories)-1]
			*h = append(*h, b)
		}
		return nil
	}
}

func (s *script) sync() error { return s.world.sync() }

func (s *script) journaled(on bool) func() error {
	return func() error { s.journal = on; return nil }
}

func (s *script) epoch(e int32) func() error {
	return func() error { s.l.AssignEpoch(e); return nil }
}

func (s *script) truncateBy(n int64) func() error {
	return func() error {
		old := s.histories[len(s.histories)-1]
		to := s.l.End() - n
		i := slices.IndexFunc(old, func(b record.Batch) bool { return b.LastOffset() >= to })
		s.histories = append(s.histories, slices.Clone(old[:i]))
		s.sequence = old[i].BaseSequence()
		return s.l.TruncateTo(to)
	}
}

func (s *script) restart(offset int64) func() error {
	return func() error {
		s.histories = append(s.histories, nil)
		s.sequence = 0
		return s.l.TruncateFullyAndStartAt(offset)
	}
}

func (s *script) deleteTo(offset int64) func() error {
	return func() error {
		_, err := s.l.DeleteRecordsTo(offset)
		return err
	}
}

func (s *script) retain() error {
	_, err := s.l.Retain(t0)
	return err
}

func (s *script) stopAndStart() error {
	state, err := s.l.Close()
	if err != nil {
		return err
	}
	// What Close promises is kept durably by the owner from here on, until the log is open again.
	s.clean, s.state, s.promised, s.recoveryPoint, s.entries = true, state, state.End, state.End, nil
	if err := s.world.open(); err != nil {
		return err
	}
	if !s.last.Clean {
		return fmt.Errorf("%w: a clean stop was not believed", errCheck)
	}
	return nil
}

// replace puts one or two new segments in the place of the first n: without the even offsets, as a cleaner would drop records.
func (s *script) replace(n, into int) func() error {
	return func() error {
		infos := s.l.Segments()[:n]
		old := make([]int64, n)
		for i := range infos {
			old[i] = infos[i].Base
		}
		var cleaned []*segment.Segment
		begin := func(base int64) error {
			c, err := segment.Create(s.l.o.Files, testDir, base, s.ms, segment.CleanedSuffix)
			cleaned = append(cleaned, c)
			return err
		}
		if err := begin(old[0]); err != nil {
			return err
		}
		var history []record.Batch
		for _, b := range s.histories[len(s.histories)-1] {
			inside := b.LastOffset() < infos[n-1].End
			if inside && b.BaseOffset()%2 == 0 && b.LastOffset()+1 < infos[n-1].End {
				continue
			}
			history = append(history, b)
			if !inside {
				continue
			}
			if into > len(cleaned) && b.BaseOffset() >= old[n/2] {
				if err := begin(b.BaseOffset()); err != nil {
					return err
				}
			}
			if err := cleaned[len(cleaned)-1].Append(b, 100); err != nil {
				return err
			}
		}
		s.histories = append(s.histories, history)
		for _, c := range cleaned {
			if err := c.Seal(); err != nil {
				return err
			}
		}
		return s.l.ReplaceSegments(old, cleaned)
	}
}
