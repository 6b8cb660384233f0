package share

import (
	"time"

	"github.com/tidemark-mq/tidemark/broker/replica"
)

// line is who waits for a partition, in the order in which they came. It is guarded by the partition's mu.
//
// One of them at a time is called: taken out of the line and tried. The next one is called when that has taken what it wants and
// there is more, when it is gone, or when it stands in the line again because there was nothing for it; then not before there is
// news (version).
type line struct {
	first, last *spot
	ticket      int64
	version     int64          // counts what may have made records available
	called      *place         // who is tried now
	watch       *replica.Watch // while somebody stands here
}

// spot is a place's spot in a line.
type spot struct {
	prev, next *spot
	place      *place
	ticket     int64 // when it came first; 0: never yet
	declined   int64 // the version as of when it was called, or -1
	listed     bool
}

func (l *line) empty() bool { return l.first == nil }

// add puts a spot where its ticket belongs: near the front for one that was called, at the end for a new one.
func (l *line) add(s *spot) {
	after := l.last
	if s.ticket == 0 {
		l.ticket++
		s.ticket, s.declined = l.ticket, -1
	} else if l.first == nil || s.ticket < l.first.ticket {
		after = nil
	} else if s.ticket < l.last.ticket {
		for after = l.first; after.next != nil && after.next.ticket < s.ticket; {
			after = after.next
		}
	}
	s.listed, s.prev = true, after
	if after == nil {
		s.next, l.first = l.first, s
	} else {
		s.next, after.next = after.next, s
	}
	if s.next == nil {
		l.last = s
	} else {
		s.next.prev = s
	}
}

func (l *line) remove(s *spot) {
	if s.prev == nil {
		l.first = s.next
	} else {
		s.prev.next = s.next
	}
	if s.next == nil {
		l.last = s.prev
	} else {
		s.next.prev = s.prev
	}
	s.prev, s.next, s.listed = nil, nil, false
}

// join puts a poll's place into the line; false: the partition is over.
func (p *partition) join(pl *place) bool {
	p.mu.Lock()
	if p.mu.why != nil {
		p.mu.Unlock()
		return false
	}
	if p.mu.line.called == pl {
		p.mu.line.called = nil
	}
	pl.spot.place = pl
	p.mu.line.add(&pl.spot)
	p.mu.used = p.e.now()
	p.leave()
	return true
}

// quit takes a place out of the line; whoever is next is tried in its stead.
func (p *partition) quit(pl *place) {
	p.mu.Lock()
	if p.mu.line.called == pl {
		p.mu.line.called = nil
	}
	if pl.spot.listed {
		p.mu.line.remove(&pl.spot)
	}
	p.mu.used = p.e.now()
	p.leave()
}

// triedLocked says that a place that was called has had its try.
func (p *partition) triedLocked(pl *place) {
	if pl != nil && p.mu.line.called == pl {
		p.mu.line.called = nil
	}
}

// contended tells whether others wait already.
func (p *partition) contended() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.mu.line.empty()
}

// callLocked takes the place that is to be tried next out of the line, nil for nobody.
func (p *partition) callLocked(now time.Time) *place {
	l := &p.mu.line
	p.watchLocked()
	if l.empty() || l.called != nil || p.mu.hold.After(now) || !p.mayHaveLocked(now) {
		return nil
	}
	for s := l.first; s != nil; s = s.next {
		if s.declined == l.version {
			continue
		}
		s.declined = l.version
		l.remove(s)
		l.called = s.place
		return s.place
	}
	return nil
}

// watchLocked has the log watched while somebody waits. What happened before is seen by whoever looks next, as callLocked does.
func (p *partition) watchLocked() {
	l := &p.mu.line
	switch {
	case !l.empty() && l.watch == nil:
		l.watch = &replica.Watch{To: p}
		p.part.Watch(l.watch)
	case l.empty() && l.watch != nil:
		p.part.Unwatch(l.watch)
		l.watch = nil
	}
}

// mayHaveLocked tells whether something may be acquired.
func (p *partition) mayHaveLocked(now time.Time) bool {
	if p.mu.settings == nil {
		return true
	}
	p.mu.settings = p.e.settings(p.key.Group, p.mu.settings)
	from, ok := p.mu.window.Next(now, p.mu.settings.limits)
	return ok && from < p.upTo(p.mu.settings)
}

// call tries a place that callLocked chose, or, when it cannot be, the next one.
func (p *partition) call(pl *place) {
	for pl != nil && !pl.poll.wake(pl) {
		p.mu.Lock()
		p.triedLocked(pl)
		if p.mu.why != nil || p.mu.window == nil {
			p.mu.Unlock()
			return
		}
		pl = p.callLocked(p.e.now())
		p.mu.Unlock()
	}
}

// disbandLocked empties the line of a partition that is over, and answers who stood in it.
func (p *partition) disbandLocked() (stood []*place) {
	l := &p.mu.line
	for s := l.first; s != nil; s = l.first {
		stood = append(stood, s.place)
		l.remove(s)
	}
	p.watchLocked()
	return stood
}
