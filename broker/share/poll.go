package share

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidemark-mq/tidemark/coordinator/share"
)

// poll is one request that takes records of share partitions and may wait for them. Whoever makes one sets ctx, until, the keys
// of places, and attempt, and hands it to Engine.start; the rest is the engine's.
//
// The engine finds (and loads) the partitions, calls attempt, and calls it again when one of the places may have something for
// it, until an attempt says that the poll is over. A poll that waits costs no goroutine. Of the polls that wait on a partition
// one at a time is tried, in the order in which they came.
type poll struct {
	ctx    context.Context
	until  time.Time // when it is answered with what there is
	places []place

	// attempt tries the places that are ready: those that may have something, or cannot be used. It calls finished once, perhaps
	// before it returns, and says whether the poll is over, that is, answered. Attempts of a poll do not overlap. The last one is
	// final: the time is up, or ctx has ended, and the poll is over whatever finished is given; nothing may be ready then.
	attempt func(ready []*place, final bool, finished func(over bool))

	engine  *Engine
	loading atomic.Int32 // places that are not found yet, at the start
	timer   *time.Timer
	unhook  func() bool

	mu struct {
		sync.Mutex
		state   pollState
		parked  bool // timer and unhook are set, it is counted
		expired bool
	}
}

type pollState uint8

const (
	pollTries pollState = iota // an attempt is under way
	pollSorts                  // an attempt has ended, and its places are put into their lines again
	pollWaits                  // nobody works on it
	pollOver                   // it is answered
)

// place is a poll's place at one share partition.
type place struct {
	key  share.Key
	part *partition // nil while err says why there is none
	err  error      // see Engine.code

	poll  *poll
	spot  spot
	at    placeState  // guarded by poll.mu
	tries int         // to find the partition, in a row
	timer *time.Timer // to the next one; guarded by poll.mu
}

type placeState uint8

const (
	placeOut    placeState = iota // nowhere: it is put into its line when the attempt has ended
	placeStands                   // in its partition's line
	placeReady                    // to be tried
	placeSought                   // its partition is looked for
)

// start begins a poll. With a time that is up already there is one attempt, the final one, with all places ready.
func (e *Engine) start(p *poll) {
	e.enterLate()
	p.engine = e
	p.loading.Store(int32(len(p.places)) + 1)
	for i := range p.places {
		pl := &p.places[i]
		pl.poll = p
		e.partition(pl.key, func(part *partition, err error) {
			pl.part, pl.err = part, err
			if p.loading.Add(-1) == 0 {
				e.spawn(p.begin) // this is the state's goroutine, and begin reads
			}
		})
	}
	if p.loading.Add(-1) == 0 {
		p.begin()
	}
}

// begin makes the first attempt.
func (p *poll) begin() {
	final := !time.Now().Before(p.until) || p.ctx.Err() != nil
	ready := make([]*place, 0, len(p.places))
	for i := range p.places {
		pl := &p.places[i]
		if final || pl.part != nil && !pl.part.contended() || pl.err != nil && !transient(pl.err) {
			ready = append(ready, pl)
		}
	}
	if len(ready) == 0 && !final {
		p.finished(false)
		return
	}
	p.mu.expired = final
	p.attempt(ready, final, p.finished)
}

// finished ends an attempt.
func (p *poll) finished(over bool) {
	p.mu.Lock()
	if over || p.mu.expired {
		// A final attempt answered; one that the end of time overtook did not, and is followed by the final one.
		if !over && p.mu.parked {
			p.mu.Unlock()
			p.engine.spawn(p.last)
			return
		}
		p.mu.state = pollOver
		p.mu.Unlock()
		p.done()
		return
	}
	p.mu.state = pollSorts
	park := !p.mu.parked
	p.mu.parked = true
	p.mu.Unlock()
	if park {
		p.park()
	}
	for i := range p.places {
		p.sort(&p.places[i])
	}
	p.mu.Lock()
	switch {
	case p.mu.expired:
		p.mu.state = pollTries
		p.mu.Unlock()
		p.engine.spawn(p.last)
	case p.anyReadyLocked():
		p.mu.state = pollTries
		p.mu.Unlock()
		p.engine.spawn(p.run)
	default:
		p.mu.state = pollWaits
		p.mu.Unlock()
	}
}

// park begins to wait.
func (p *poll) park() {
	p.engine.waiting.Add(1)
	p.timer = time.AfterFunc(time.Until(p.until), p.expire)
	p.unhook = context.AfterFunc(p.ctx, p.expire)
}

// done ends the poll: it leaves its lines.
func (p *poll) done() {
	if p.timer != nil {
		p.timer.Stop()
		p.unhook()
		p.engine.waiting.Add(-1)
	}
	for i := range p.places {
		pl := &p.places[i]
		p.mu.Lock()
		if pl.timer != nil {
			pl.timer.Stop()
		}
		p.mu.Unlock()
		if pl.part != nil {
			pl.part.quit(pl)
		}
	}
	p.engine.leave()
}

// sort puts a place that was tried into its line, or looks for its partition again.
func (p *poll) sort(pl *place) {
	p.mu.Lock()
	if p.mu.state == pollOver || pl.at != placeOut {
		p.mu.Unlock()
		return
	}
	if pl.part == nil {
		p.seekLaterLocked(pl)
		p.mu.Unlock()
		return
	}
	pl.at = placeStands
	p.mu.Unlock()
	if !pl.part.join(pl) {
		p.lost(pl)
	}
}

// anyReadyLocked tells whether a place is to be tried.
func (p *poll) anyReadyLocked() bool {
	for i := range p.places {
		if p.places[i].at == placeReady {
			return true
		}
	}
	return false
}

// unfound is an error if no place has a partition, and whether none will have one soon.
func (p *poll) unfound() (err error, forGood bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	forGood = true
	for i := range p.places {
		pl := &p.places[i]
		if pl.part != nil || pl.err == nil {
			return nil, false
		}
		if err == nil || !transient(pl.err) {
			err = pl.err
		}
		forGood = forGood && !transient(pl.err)
	}
	return err, forGood
}

// wake has a place tried that its line has called. False: not now, or not any more; if the poll goes on, the place comes back to
// its line by itself.
func (p *poll) wake(pl *place) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch p.mu.state {
	case pollOver:
		return false
	case pollTries:
		pl.at = placeOut
		return false
	}
	pl.at = placeReady
	p.rouseLocked()
	return true
}

// rouseLocked has what is ready tried, if nobody works on the poll.
func (p *poll) rouseLocked() {
	if p.mu.state == pollWaits {
		p.mu.state = pollTries
		p.engine.spawn(p.run)
	}
}

// run makes an attempt with what is ready. The caller has set pollTries.
func (p *poll) run() {
	p.mu.Lock()
	var ready []*place
	for i := range p.places {
		if pl := &p.places[i]; pl.at == placeReady {
			pl.at = placeOut
			ready = append(ready, pl)
		}
	}
	p.mu.Unlock()
	p.attempt(ready, false, p.finished)
}

// last makes the final attempt.
func (p *poll) last() {
	p.attempt(nil, true, func(bool) { p.finished(true) })
}

// expire is the end of the poll's time, or of its context.
func (p *poll) expire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.expired = true
	if p.mu.state == pollWaits {
		p.mu.state = pollTries
		p.engine.spawn(p.last)
	}
}

// lost says that the partition of a place is over: another is looked for, unless its state was deleted.
func (p *poll) lost(pl *place) {
	deleted := pl.part != nil && pl.part.deleted()
	p.mu.Lock()
	if p.mu.state == pollOver {
		p.mu.Unlock()
		return
	}
	if deleted {
		pl.part, pl.err, pl.at = nil, errDeleted, placeReady
		p.rouseLocked()
		p.mu.Unlock()
		return
	}
	pl.at = placeSought
	p.mu.Unlock()
	p.seek(pl)
}

// seek looks for a place's partition.
func (p *poll) seek(pl *place) {
	p.engine.partition(pl.key, func(part *partition, err error) { p.found(pl, part, err) })
}

// seekLaterLocked looks for it after a while.
func (p *poll) seekLaterLocked(pl *place) {
	pl.at = placeSought
	pl.timer = time.AfterFunc(retryAfter(pl.tries), func() {
		p.mu.Lock()
		over := p.mu.state == pollOver
		p.mu.Unlock()
		if !over {
			p.seek(pl)
		}
	})
	pl.tries++
}

// found is what seek found.
func (p *poll) found(pl *place, part *partition, err error) {
	p.mu.Lock()
	if p.mu.state == pollOver {
		p.mu.Unlock()
		return
	}
	pl.part, pl.err, pl.spot.ticket = part, err, 0
	switch {
	case err != nil && transient(err):
		p.seekLaterLocked(pl)
		p.mu.Unlock()
		return
	case err != nil:
		pl.at = placeReady
		p.rouseLocked()
		p.mu.Unlock()
		return
	}
	pl.at, pl.tries = placeStands, 0
	p.mu.Unlock()
	if !part.join(pl) {
		p.lost(pl)
		return
	}
	p.mu.Lock()
	over := p.mu.state == pollOver
	p.mu.Unlock()
	if over { // meanwhile, when it did not stand there yet
		part.quit(pl)
	}
}
