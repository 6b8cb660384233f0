package leases

import "time"

// deliveries: the counts of deliveries and of failures are those of the history.
func (g *reading) deliveries(m *message) {
	for i := range m.takes {
		g.delivery(m, i)
		if i > 0 {
			g.backoff(m, i-1)
		}
	}
	g.failureCounts(m)
}

// delivery compares a delivery's number with the one that was told before it.
func (g *reading) delivery(m *message, i int) {
	t, k := m.takes[i], i-1
	for k >= 0 && m.takes[k].Delivery == 0 {
		k--
	}
	if t.Delivery == 0 || k < 0 {
		return
	}
	last := m.takes[k]
	for j := k; j < i; j++ {
		a, b := m.takes[j], m.takes[j+1]
		overlap := b.Request.From.Before(a.Request.To) && a.Request.From.Before(b.Request.To) && !exact(a.Granted)
		if overlap || !g.Durable && g.c.died(a.Request.From, b.Request.To) {
			return
		}
	}
	least, lost := last.Delivery+i-k, g.losses(last.Granted.From, t.Granted.To)
	if t.Delivery < least || t.Delivery > least+lost {
		g.report("deliveries", m, "delivery %d to %s at %v comes after delivery %d to %s; %d others were told and %d requests lost between them",
			t.Delivery, t.Holder, clock(t.Granted.To), last.Delivery, last.Holder, i-k-1, lost)
	}
}

// failureCounts compares the failures that are told with those of the history.
func (g *reading) failureCounts(m *message) {
	low, high, told := 0, 0, -1 // failures since they were told last
	for i, t := range m.takes {
		if i > 0 {
			last := m.takes[i-1]
			l, h := g.failures(m, i-1)
			if !g.Durable && g.c.died(last.Request.From, t.Request.To) {
				l = 0
			}
			low, high = low+l, high+h+g.losses(last.Granted.From, t.Granted.To)
		}
		if t.Failures < 0 {
			continue
		}
		switch {
		case told >= 0 && (t.Failures < told+low || t.Failures > told+high):
			g.report("deliveries", m, "delivery %d to %s at %v has %d failures; it had %d, and %d to %d are to be added", t.Delivery, t.Holder, clock(t.Granted.To), t.Failures, told, low, high)
		case told < 0 && t.Failures > high+g.losses(time.Time{}, t.Granted.To):
			g.report("deliveries", m, "delivery %d to %s at %v has %d failures; the history has %d at most", t.Delivery, t.Holder, clock(t.Granted.To), t.Failures, high)
		case g.FailureLimit > 0 && t.Failures >= g.FailureLimit:
			g.report("fate", m, "handed to %s with %d failures: the limit is %d", t.Holder, t.Failures, g.FailureLimit)
		}
		told, low, high = t.Failures, 0, 0
	}
}

func exact(s Span) bool { return s.To.Sub(s.From) <= slack }

// failures is how many failures a take came to, at least and at most.
func (g *reading) failures(m *message, i int) (low, high int) {
	t, open := m.takes[i], true
	for _, s := range m.about(i) {
		if s.Action == Renew || s.Outcome == Refused {
			continue
		}
		if s.Outcome == Done && s.Request.From.Before(m.until(i, s.Request.From).From) {
			if s.Action == Fail {
				return 1, 1
			}
			return 0, 0
		}
		open = false
	}
	if g.closed(t.Holder, t.Request.From, m.until(i, t.Until.To.Add(time.Hour)).To.Add(skewed)) {
		open = false
	}
	if open {
		return 1, 1 // it ran out
	}
	return 0, 1
}

// backoff: what has failed waits before it is handed out again.
func (g *reading) backoff(m *message, i int) {
	t, next := m.takes[i], m.takes[i+1]
	if g.Backoff == nil || t.Failures < 0 || !g.Durable && g.c.died(t.Request.From, next.Request.To) {
		return
	}
	from := time.Time{}
	low, _ := g.failures(m, i)
	if low == 0 {
		return
	}
	from = m.until(i, next.Granted.To).From
	for _, s := range m.about(i) {
		if s.Action == Fail && s.Outcome == Done && s.Request.From.Before(from) {
			from = s.Request.From
		}
	}
	if wait := g.Backoff(t.Failures + 1); next.Granted.To.Add(slack).Before(from.Add(wait)) {
		g.report("deliveries", m, "handed to %s at %v: after failure %d at %v it is to wait %v", next.Holder, clock(next.Granted.To), t.Failures+1, clock(from), wait)
	}
}

// fate: a message that is in the log is accepted or rejected, or is a dead letter, once and for a reason, or is not wanted.
func (g *reading) fate(m *message) {
	if m.log == nil {
		if len(m.takes) > 0 && g.c.h.Drained {
			g.report("fate", m, "was handed out and is not in the log")
		}
		return
	}
	for _, t := range m.takes {
		if t.Place != m.log.Place {
			g.report("fate", m, "was handed out as %v and lies at %v", t.Place, m.log.Place)
		}
		if m.sent != nil && t.Granted.To.Before(m.sent.Due.Truncate(time.Millisecond)) {
			g.report("delay", m, "handed to %s at %v, due at %v", t.Holder, clock(t.Granted.To), clock(m.sent.Due))
		}
		if t.Door == HTTP && !g.wanted(m) {
			g.report("fate", m, "handed to %s, and does not have the labels of the group", t.Holder)
		}
	}
	accepted, _ := g.accepted(m)
	if len(m.copies) > 1 {
		g.report("fate", m, "is among the dead letters %d times", len(m.copies))
	}
	if len(m.copies) > 0 {
		if accepted {
			g.report("fate", m, "was accepted and is a dead letter")
		}
		if !g.asked(m) {
			g.report("fate", m, "is a dead letter, and nobody asked for that: delivered %d times", len(m.takes))
		}
		if !g.DeadLetters {
			g.report("fate", m, "is a dead letter of a group that has none")
		}
		return
	}
	if g.c.h.Drained && !g.gone(m) {
		if len(m.takes) == 0 {
			g.report("fate", m, "never reached the group")
		} else {
			g.report("fate", m, "is gone after %d deliveries, and nobody settled it", len(m.takes))
		}
	}
}

// accepted tells whether the message was accepted, for certain and perhaps. At Kafka's door a settlement that came too late is
// answered well if all up to the record is settled, whatever it was settled as.
func (g *reading) accepted(m *message) (certain, maybe bool) {
	for _, s := range m.said {
		i := m.meant(s)
		if s.Action != Accept || s.Outcome == Refused || i < 0 {
			continue
		}
		t := m.takes[i]
		ended := m.endedBefore(i, s) || g.closed(t.Holder, t.Request.From, s.Request.To) || !g.Durable && g.c.died(t.Request.From, s.Request.To)
		inTime := s.Door == HTTP || s.Request.To.Before(m.until(i, s.Request.From).From) && !ended
		maybe = true
		certain = certain || s.Outcome == Done && inTime
	}
	return certain, maybe
}

// gone tells whether there is a reason for the message to be settled without a dead letter.
func (g *reading) gone(m *message) bool {
	_, accepted := g.accepted(m)
	return accepted || !g.wanted(m) || g.archivable(m)
}

// archivable tells whether the message may be settled as neither accepted nor a dead letter.
func (g *reading) archivable(m *message) bool {
	for _, s := range m.said {
		if s.Action == Reject && s.Outcome != Refused && m.meant(s) >= 0 && !(g.DeadLetters && s.Door == Kafka) {
			return true
		}
	}
	return !g.DeadLetters && g.atLimit(m)
}

// asked tells whether there is a reason for a dead letter.
func (g *reading) asked(m *message) bool {
	for _, s := range m.said {
		if s.Outcome != Refused && (s.Action == Bury || s.Action == Reject && s.Door == Kafka) {
			return true
		}
	}
	return g.atLimit(m)
}

// atLimit tells whether the message may have reached a limit of the group.
func (g *reading) atLimit(m *message) bool {
	if g.DeliveryLimit > 0 {
		most := len(m.takes)
		if n := len(m.takes); n > 0 {
			most = max(most, m.takes[n-1].Delivery)
		}
		return most+len(g.lost) >= g.DeliveryLimit
	}
	if g.FailureLimit == 0 {
		return false
	}
	failed, told := 0, time.Time{}
	for i, t := range m.takes {
		if t.Failures >= 0 {
			failed, told = t.Failures, t.Granted.From
		}
		_, most := g.failures(m, i)
		failed += most
	}
	return failed+g.losses(told, time.Unix(1<<40, 0)) >= g.FailureLimit
}
