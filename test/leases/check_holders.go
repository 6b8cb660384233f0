package leases

import "time"

// about are the words of a take's holder about the record from the take on, until the same holder took it again.
func (m *message) about(i int) []said {
	var out []said
	for _, s := range m.said {
		if s.Holder == m.takes[i].Holder && m.meant(s) == i {
			out = append(out, s)
		}
	}
	return out
}

// until is when a take's lease ends, as of a time: renewals that left before it count. At Kafka's door a renewal that comes too late
// is answered well and changes nothing, if all up to the record is settled.
func (m *message) until(i int, at time.Time) Span {
	u := m.takes[i].Until
	for _, s := range m.about(i) {
		if s.Action != Renew || s.Outcome == Refused || s.Request.From.After(at) || s.Door == Kafka && s.Request.From.After(u.To.Add(skewed)) {
			continue
		}
		if s.Outcome == Done && !s.Request.To.After(at) && (s.Door == HTTP || s.Request.To.Before(u.From)) {
			u = s.Settle.Until
			continue
		}
		u = Span{earlier(u.From, s.Settle.Until.From), later(u.To, s.Settle.Until.To)}
	}
	return u
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// holds tells whether a take's lease certainly runs at a time: nothing that may have ended it happened until then.
func (g *reading) holds(m *message, i int, at time.Time) bool {
	t := m.takes[i]
	if !g.Durable && g.c.died(t.Request.From, at) || g.closed(t.Holder, t.Request.From, at) {
		return false
	}
	for _, s := range m.about(i) {
		if s.Action != Renew && s.Outcome != Refused && !s.Request.From.After(at) {
			return false
		}
	}
	return at.Add(slack).Before(m.until(i, at).From)
}

// holders: nobody gets a record that another one holds.
func (g *reading) holders(m *message) {
	for j, t := range m.takes {
		for i := range m.takes[:j] {
			if !g.holds(m, i, t.Granted.To) {
				continue
			}
			if t.Granted.From.Before(m.takes[i].Granted.To) && g.closed(t.Holder, t.Request.From, t.Request.To) {
				continue // who knows which of both was first; the other one has ended
			}
			g.report("holders", m, "handed to %s at %v, delivery %d, while %s (delivery %d, since %v) holds it until %v",
				t.Holder, clock(t.Granted.To), t.Delivery, m.takes[i].Holder, m.takes[i].Delivery, clock(m.takes[i].Granted.From), clock(m.until(i, t.Granted.To).From))
		}
	}
}

func clock(t time.Time) string { return t.Format("15:04:05.000000") }

// settlements: who holds a lease that runs can settle, and nobody else.
func (g *reading) settlements(m *message) {
	for _, s := range m.said {
		i := m.meant(s)
		if i < 0 {
			if s.Outcome == Done && s.Door == HTTP {
				g.report("holders", m, "%s settled it and never held it", s.Holder)
			}
			continue
		}
		u := m.until(i, s.Request.From)
		if g.Durable && g.c.died(m.takes[i].Request.From, s.Request.From) {
			u.To = u.To.Add(skewed) // a restart is careful with clocks
		}
		switch {
		case s.Outcome == Done && s.Door == HTTP && s.Request.From.After(u.To.Add(slack)):
			g.report("holders", m, "%s settled it at %v, after its lease had ended at %v", s.Holder, clock(s.Request.From), clock(u.To))
		case s.Outcome == Done && s.Door == HTTP && m.endedBefore(i, s):
			g.report("holders", m, "%s settled it twice, the second time at %v", s.Holder, clock(s.Request.From))
		case s.Outcome == Refused && g.allHeld(s.Settle):
			g.report("holders", m, "%s was refused at %v and holds it until %v", s.Holder, clock(s.Request.From), clock(u.From))
		}
	}
}

// meant is the take that somebody speaks of, -1 for none. A request that settles first and takes then speaks of what was taken
// before it.
func (m *message) meant(s said) int {
	for i := len(m.takes) - 1; i >= 0; i-- {
		if t := m.takes[i]; t.Holder == s.Holder && t.Request.From.Before(s.Request.From) && !t.Request.To.After(s.Request.From) {
			return i
		}
	}
	return -1
}

// endedBefore tells whether the holder itself has ended the lease before, for certain.
func (m *message) endedBefore(i int, s said) bool {
	for _, r := range m.about(i) {
		if r.Settle != s.Settle && r.Action != Renew && r.Outcome == Done && !r.Request.To.After(s.Request.From) {
			return true
		}
	}
	return false
}

// allHeld tells whether a request was about records that were certainly held, all of them, until it was answered.
func (g *reading) allHeld(s *Settle) bool {
	for _, r := range s.Records {
		m := g.of(r.Value)
		i := m.meant(said{s, r})
		if i < 0 || !g.holds(m, i, s.Request.To) {
			return false
		}
	}
	return true
}

// returns: what was accepted, rejected or buried, and acknowledged as that, is not handed out again.
func (g *reading) returns(m *message) {
	for _, s := range m.said {
		if s.Outcome != Done || !s.Action.final() {
			continue
		}
		for _, t := range m.takes {
			if t.Granted.From.After(s.Request.To) {
				g.report("return", m, "handed to %s at %v, delivery %d, although %s had settled it (%d), acknowledged at %v",
					t.Holder, clock(t.Granted.From), t.Delivery, s.Holder, s.Action, clock(s.Request.To))
			}
		}
	}
	for _, d := range m.copies {
		for _, t := range m.takes {
			if t.Granted.From.After(d.At.Add(slack)) {
				g.report("return", m, "handed to %s at %v, although it was a dead letter at %v", t.Holder, clock(t.Granted.From), clock(d.At))
			}
		}
	}
}
