package leases

import (
	"fmt"
	"slices"
	"time"
)

// story is all that a history has of a message in a group, by time, for people.
func (h *History) story(group, value string) []string {
	type line struct {
		at   time.Time
		text string
	}
	var all []line
	tell := func(at time.Time, format string, args ...any) {
		all = append(all, line{at, clock(at) + " " + fmt.Sprintf(format, args...)})
	}
	for _, s := range h.Sends {
		if s.Value == value {
			tell(time.Time{}, "sent, accepted %v, due %v, labels %v", s.Accepted, clock(s.Due), s.Labels)
		}
	}
	for _, l := range h.Logged {
		if l.Value == value {
			tell(l.At, "in the log at %v", l.Place)
		}
	}
	for _, t := range h.Takes {
		for _, r := range t.Records {
			if t.Group == group && r.Value == value {
				tell(t.Granted.To, "taken by %s (%s), delivery %d, failures %d, until %v, with %d others, asked %v", t.Holder, t.Door, r.Delivery, r.Failures, clock(t.Until.From), len(t.Records)-1, clock(t.Request.From))
			}
		}
	}
	for _, s := range h.Settles {
		for _, r := range s.Records {
			if s.Group == group && r.Value == value {
				tell(s.Request.From, "%s (%s) says %v: %v at %v", s.Holder, s.Door, r.Action, s.Outcome, clock(s.Request.To))
			}
		}
	}
	for _, c := range h.Closes {
		if c.Group == group {
			tell(c.At, "session of %s ends", c.Holder)
		}
	}
	for _, d := range h.Deaths {
		tell(d, "the broker has died")
	}
	for _, l := range h.Lost {
		if l.Group == group {
			tell(l.Request.From, "a request for records, lost at %v", clock(l.Request.To))
		}
	}
	for _, d := range h.DeadLetters {
		if d.Group == group && d.Value == value {
			tell(d.At, "dead letter")
		}
	}
	slices.SortStableFunc(all, func(a, b line) int { return a.at.Compare(b.at) })
	var out []string
	for _, l := range all {
		out = append(out, l.text)
	}
	return out
}

var actions = [...]string{"nothing", "accept", "release", "reject", "renew", "fail", "bury"}

func (a Action) String() string { return actions[a] }

var outcomes = [...]string{"unknown", "done", "refused"}

func (o Outcome) String() string { return outcomes[o] }
