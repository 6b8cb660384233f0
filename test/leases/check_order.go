package leases

import (
	"slices"
	"time"
)

// order: a group with strict order gets nothing past a record that is not settled, so first deliveries come in the log's order, and
// redelivery begins at the first that is not finished.
func (g *reading) order() {
	if !g.Ordered {
		return
	}
	parts := map[int32][]*message{} // by offset
	for _, m := range g.ordered {
		if m.log != nil {
			parts[m.log.Partition] = append(parts[m.log.Partition], m)
		}
	}
	for _, t := range g.takes {
		for n := range t.Records {
			r := &t.Records[n]
			if n > 0 && t.Records[n-1].Partition == r.Partition && t.Records[n-1].Offset >= r.Offset {
				g.c.report("order", g.Name, r.Value, "handed to %s behind offset %d", t.Holder, t.Records[n-1].Offset)
			}
			for _, m := range parts[r.Partition] {
				if m.log.Offset >= r.Offset {
					break
				}
				if !m.takenWith(t) && g.openAt(m, t) {
					g.c.report("order", g.Name, r.Value, "handed to %s at %v past %s (offset %d), which is not settled", t.Holder, clock(t.Granted.To), m.value, m.log.Offset)
				}
			}
		}
	}
}

// takenWith tells whether a message may have been granted together with a take: it is in the take itself, or the same share session
// took it at the same time, since a client may hand out what one answer brought in several polls.
func (m *message) takenWith(t *Take) bool {
	for _, o := range m.takes {
		if o.Take == t || t.Door == Kafka && o.Holder == t.Holder && !o.Granted.To.Before(t.Granted.From) && !t.Granted.To.Before(o.Granted.From) {
			return true
		}
	}
	return false
}

// openAt tells whether a message was certainly not settled when a take was granted.
func (g *reading) openAt(m *message, t *Take) bool {
	for _, later := range m.takes {
		if later.Granted.From.After(t.Granted.To) {
			return true // it came again
		}
	}
	if !g.wanted(m) || m.log.At.After(t.Granted.From) {
		return false
	}
	for i, u := range m.takes {
		if !u.Granted.From.After(t.Granted.To) && g.mayHaveEnded(m, i, t.Granted.To) {
			return false
		}
	}
	return len(m.takes) > 0 || g.losses(time.Time{}, t.Granted.To) == 0
}

// mayHaveEnded tells whether a take may have led to the end of its message by a time: it was settled, or it failed at a limit.
func (g *reading) mayHaveEnded(m *message, i int, at time.Time) bool {
	limited := g.FailureLimit > 0 || g.DeliveryLimit > 0
	for _, s := range m.about(i) {
		if s.Outcome != Refused && !s.Request.From.After(at) && (s.Action.final() || limited && s.Action != Renew) {
			return true
		}
	}
	if !limited {
		return false
	}
	return !g.holds(m, i, at)
}

// counts: the counters agree with the history.
func (g *reading) counts() {
	for _, n := range g.c.h.Counts {
		if n.Group == g.Name {
			g.count(n)
		}
	}
}

func (g *reading) count(n Count) {
	var accepted, archived, copied, unwanted, held span
	for _, m := range g.ordered {
		if m.log == nil || m.log.At.After(n.At) {
			continue
		}
		certain, maybe := g.acceptedBy(m, n.At)
		dead := slices.ContainsFunc(m.copies, func(d DeadLetter) bool { return !d.At.After(n.At) })
		switch {
		case dead:
			copied.add(slices.ContainsFunc(m.copies, func(d DeadLetter) bool { return d.At.Before(n.At.Add(-slack)) }), true)
		case certain:
			accepted.add(true, true)
		default:
			accepted.add(false, maybe)
			unwanted.add(false, !g.wanted(m))
			archived.add(false, g.archivable(m))
		}
		running := false
		for i, t := range m.takes {
			running = running || !t.Request.To.After(n.At) && g.holds(m, i, n.At)
		}
		held.add(running, running || g.mayBeHeld(m, n.At))
	}
	for _, f := range []struct {
		name string
		told int64
		span span
	}{{"accepted", n.Accepted, accepted}, {"rejected", n.Rejected, archived}, {"dead-lettered", n.DeadLettered, copied}, {"filtered", n.Filtered, unwanted}, {"in flight", n.InFlight, held}, {"skipped", n.Skipped, span{}}} {
		if f.told >= 0 && (f.told < f.span.low || f.told > f.span.high) {
			g.c.report("counts", g.Name, "", "%d %s at %v; the history has %d to %d", f.told, f.name, clock(n.At), f.span.low, f.span.high)
		}
	}
	if n.Filtered < 0 || n.Records < 0 {
		return
	}
	if left := n.Records - n.Available - n.Accepted - n.Rejected - n.DeadLettered - n.Filtered - n.Skipped; left != 0 {
		g.c.report("counts", g.Name, "", "at %v there are %d records: %d available, %d accepted, %d rejected, %d dead-lettered, %d filtered, %d skipped, and %d of which nobody knows",
			clock(n.At), n.Records, n.Available, n.Accepted, n.Rejected, n.DeadLettered, n.Filtered, n.Skipped, left)
	}
}

// span is a number that is known to lie between two.
type span struct{ low, high int64 }

func (s *span) add(certain, maybe bool) {
	if certain {
		s.low++
	}
	if maybe {
		s.high++
	}
}

// acceptedBy is accepted as of a time.
func (g *reading) acceptedBy(m *message, at time.Time) (certain, maybe bool) {
	was := *m
	was.said = nil
	for _, s := range m.said {
		if !s.Request.From.After(at) {
			was.said = append(was.said, s)
		}
	}
	return g.accepted(&was)
}

// mayBeHeld tells whether some lease of the message may run at a time.
func (g *reading) mayBeHeld(m *message, at time.Time) bool {
	for _, l := range g.lost {
		if !l.Request.From.After(at) && l.Until.After(at) {
			return true
		}
	}
	for i, t := range m.takes {
		if t.Granted.From.After(at) || !m.until(i, at).To.Add(skewed).After(at) {
			continue
		}
		ended := false
		for _, s := range m.about(i) {
			ended = ended || s.Action != Renew && s.Outcome == Done && !s.Request.To.After(at)
		}
		if !ended {
			return true
		}
	}
	return false
}

// skewed is how much longer a lease may run after a restart.
const skewed = time.Second
