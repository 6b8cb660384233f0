package group

import (
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
	"github.com/tidemark-mq/tidemark/coordinator/share"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// Changes of states at the share coordinator go in three steps, of which any may be the last before the coordinator moves:
//
//	a record says what is to be done       (initializing, deleting)
//	the share coordinator does it          one run a group at a time
//	a record says that it is               (initialized, or gone)
//
// A run ends with an operation of the group's shard. What it could not do is tried again after a pause, also by the next
// coordinator: the rows under rowShareWork tell it where. Nothing is initialised over a state that is there, so that doing it
// again takes nothing back from a group that has begun to read.

// stateInit is one state to be initialised.
type stateInit struct {
	share.Key
	start int64 // -1: where share.auto.offset.reset says
	fresh bool  // only if there is none
}

// stateRun is one pass of changes of a group's states.
type stateRun struct {
	group   string
	epoch   int32 // of the states
	inits   []stateInit
	deletes []share.Key
	// last deletes the group with its states.
	last bool
	// done is told when it is over, and why it failed as a whole; nil: nobody asks.
	done func(error)

	mu   sync.Mutex
	errs map[share.Key]error // what failed of it
}

// errNotEmpty says that somebody began to use a group while it was being deleted.
var errNotEmpty = errors.New("the group is in use")

const (
	// maxHold is how long answers wait for a run.
	maxHold = time.Second
	// A run that failed is tried again after a pause, which doubles: the share coordinator may just be about to come up.
	minRunPause = 25 * time.Millisecond
	maxRunPause = time.Second
	// patientRuns is how many runs, over some 2.5 s, may find the share coordinator loading before that is worth a warning.
	patientRuns = 7
	// runFanOut is how many states of one run are changed at once.
	runFanOut = 256
)

func shareSessionTimer(g *shareGroup, member string) runtime.Timer {
	return runtime.Timer{Kind: timerShareSession, Of: g.id, Who: member}
}

func shareHoldTimer(g *shareGroup) runtime.Timer {
	return runtime.Timer{Kind: timerShareHold, Of: g.id}
}

func shareStatesTimer(group string) runtime.Timer {
	return runtime.Timer{Kind: timerShareStates, Of: group}
}

// startRun begins to do what there is to be done about a group's states, unless a run is under way, when all records of it are
// committed.
func (s *machine) startRun(tx *runtime.Tx, g *shareGroup) {
	if g.run != nil || !g.states.pending() {
		return
	}
	run := &stateRun{group: g.id, epoch: g.epoch}
	run.inits, run.deletes = g.states.todo(g.id, s.partitionsOf)
	s.begin(tx, g, run)
}

func (s *machine) partitionsOf(id uuid.ID) int32 {
	_, n, _ := s.topics.TopicByID(id)
	return n
}

// begin has a run begin when what was written is committed.
func (s *machine) begin(tx *runtime.Tx, g *shareGroup, run *stateRun) {
	g.run = run
	tx.Reply(func(err error) { s.runs.begin(run, err) })
}

// begin carries a run out, on the goroutines of the share coordinator. err: its records may not be committed, so it does
// nothing.
func (s *Service) begin(run *stateRun, err error) {
	if err != nil {
		s.finish(run, err)
		return
	}
	run.errs = map[share.Key]error{}
	failed := func(k share.Key, err error) {
		run.mu.Lock()
		run.errs[k] = err
		run.mu.Unlock()
	}
	spread(len(run.deletes), runFanOut, func(i int, done func()) {
		k := run.deletes[i]
		s.share.Delete(k, func(err error) {
			s.shareStateDeleted(k) // also after an error: nobody may know whether it happened, and a window that forgets reads again
			if err != nil {
				failed(k, err)
			}
			done()
		})
	}, func() {
		spread(len(run.inits), runFanOut, func(i int, done func()) {
			s.initialize(&run.inits[i], run.epoch, func(err error) {
				if err != nil {
					failed(run.inits[i].Key, err)
				}
				done()
			})
		}, func() { s.finish(run, nil) })
	})
}

// initialize makes one state.
func (s *Service) initialize(init *stateInit, epoch int32, done func(error)) {
	s.share.Summary(init.Key, func(there share.Stored, err error) {
		switch {
		case err != nil, init.fresh && (there.StateEpoch > 0 || there.Start >= 0):
			done(err)
		case init.fresh:
			s.share.Initialize(init.Key, epoch, init.start, done)
		default:
			// Only a newer epoch replaces a state.
			s.share.Initialize(init.Key, max(epoch, there.StateEpoch+1), init.start, func(err error) {
				s.stateChanged(init.Key)
				done(err)
			})
		}
	})
}

// finish ends a run with an operation of its group's shard; failed: nothing was done.
func (s *Service) finish(run *stateRun, failed error) {
	over := func(err error) {
		if run.done != nil {
			run.done(err)
		}
	}
	s.do(run.group, func(m *machine, v runtime.View) runtime.Outcome { return m.ran(v, run, failed, over) }, over)
}

// ran decides what a run leaves of its group.
func (s *machine) ran(v runtime.View, run *stateRun, failed error, over func(error)) runtime.Outcome {
	g, err := s.findShare(v, run.group)
	if err == nil && g == nil {
		err = kerr.GroupIDNotFound
	}
	if err != nil {
		return runtime.Outcome{Reply: func(error) { over(err) }}
	}
	d := g.draft()
	if failed == nil {
		run.apply(d)
	}
	fault := errors.Join(failed, run.fault())
	if run.last && fault == nil && (len(d.members) > 0 || d.states.pending()) {
		fault = errNotEmpty
	}
	out := runtime.Outcome{Reply: func(err error) {
		if err == nil && (failed != nil || run.last) {
			err = fault
		}
		over(err)
	}}
	if run.last && fault == nil {
		out.Records = g.tombstones()
		d.states = shareStates{} // it owes nothing, so it leaves memory
	} else {
		if len(d.members) > 0 {
			s.keepStates(d, known(s.topics, d.subscribedNames()))
		}
		out.Records = d.records(g)
	}
	out.Then = func(tx *runtime.Tx) { s.settleRun(tx, d, run, fault) }
	out.Refused = func(tx *runtime.Tx, err error) { s.settleRun(tx, g, run, err) }
	return out
}

// settleRun goes on after a run.
func (s *machine) settleRun(tx *runtime.Tx, g *shareGroup, run *stateRun, fault error) {
	if g.run == run {
		g.run = nil
	}
	switch {
	case !g.states.pending():
		g.failures = 0
		tx.Cancel(shareStatesTimer(g.id))
		s.releaseShare(tx, g)
	case fault != nil && !errors.Is(fault, errNotEmpty):
		s.logFault(g, fault)
		tx.Schedule(shareStatesTimer(g.id), tx.Now().Add(min(minRunPause<<min(g.failures, 10), maxRunPause)))
		g.failures++
	default:
		s.startRun(tx, g)
	}
	s.adoptShare(g)
}

// logFault logs why a run failed, once in a row of them. That the share coordinator is just coming up, as it is when the first group
// makes its topic, is no news unless it goes on.
func (s *machine) logFault(g *shareGroup, fault error) {
	starting := errors.Is(fault, kerr.CoordinatorLoadInProgress) || errors.Is(fault, kerr.NotCoordinator)
	switch {
	case starting && g.failures == 0:
		s.log.Debug("states of a share group wait for the share coordinator", zap.String("group", g.id), zap.Error(fault))
	case !starting && g.failures == 0, starting && g.failures == patientRuns:
		s.log.Warn("states of a share group could not be changed; it is tried again", zap.String("group", g.id), zap.Error(fault))
	}
}

// await holds an answer back until the group's states are as they should be, or that takes too long.
func (s *machine) await(tx *runtime.Tx, g *shareGroup, answer func(tx *runtime.Tx, g *shareGroup)) {
	if len(g.waiting) == 0 {
		tx.Schedule(shareHoldTimer(g), tx.Now().Add(maxHold))
	}
	g.waiting = append(g.waiting, answer)
}

// releaseShare gives the answers that were held back.
func (s *machine) releaseShare(tx *runtime.Tx, g *shareGroup) {
	tx.Cancel(shareHoldTimer(g))
	waiting := g.waiting
	g.waiting = nil
	for _, fn := range waiting {
		fn(tx, g)
	}
}

// shareHoldTimeout: answers have waited long enough.
func (s *machine) shareHoldTimeout(g *shareGroup) runtime.Outcome {
	return runtime.Outcome{Then: func(tx *runtime.Tx) {
		s.releaseShare(tx, g)
		s.adoptShare(g)
	}}
}

// shareStatesTimeout: it is time to try a run again.
func (s *machine) shareStatesTimeout(g *shareGroup) runtime.Outcome {
	return runtime.Outcome{Then: func(tx *runtime.Tx) { s.startRun(tx, g) }}
}

// apply enters into a draft what a run has done.
func (run *stateRun) apply(d *shareGroup) {
	states := d.change()
	done := map[uuid.ID][]int32{}
	for _, i := range run.inits {
		if run.errs[i.Key] == nil {
			done[i.Topic] = append(done[i.Topic], i.Partition)
		}
	}
	for topic, partitions := range done {
		states.begun(topic, partitions)
	}
	gone := map[uuid.ID]bool{}
	for _, k := range run.deletes {
		gone[k.Topic] = true
	}
	for k := range run.errs {
		gone[k.Topic] = false
	}
	// Of a topic that is gone, and whose partitions nobody knows any more, there is nothing to delete here: the share
	// coordinator drops what belongs to no topic.
	for topic, t := range states {
		if t.deleting && (gone[topic] || len(t.initialized) == 0 && !run.knows(topic)) {
			states.ended(topic)
		}
	}
}

func (run *stateRun) knows(topic uuid.ID) bool {
	for _, k := range run.deletes {
		if k.Topic == topic {
			return true
		}
	}
	return false
}

// fault is one of the run's errors, nil if there is none.
func (run *stateRun) fault() error {
	for _, err := range run.errs {
		return err
	}
	return nil
}

// spread calls fn for 0 to n-1, at most so many at once, each of which calls its done once, and end when all of them have.
func spread(n, most int, fn func(i int, done func()), end func()) {
	if n == 0 {
		end()
		return
	}
	var mu sync.Mutex
	next, running, finished := 0, 0, 0
	busy := false // a caller is in the loop below, which does what others make room for
	var more func()
	more = func() {
		mu.Lock()
		if busy {
			mu.Unlock()
			return
		}
		busy = true
		for next < n && running < most {
			i := next
			next++
			running++
			mu.Unlock()
			fn(i, func() {
				mu.Lock()
				running--
				finished++
				over := finished == n
				mu.Unlock()
				if over {
					end()
					return
				}
				more()
			})
			mu.Lock()
		}
		busy = false
		mu.Unlock()
	}
	more()
}
