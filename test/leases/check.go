package leases

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"
)

// Violation is a fact that contradicts a rule.
type Violation struct {
	Rule  string // as in the package doc
	Group string
	Value string // of the message; "" for what is not about one
	Text  string
}

func (v Violation) String() string {
	return fmt.Sprintf("%s: group %s, message %s: %s", v.Rule, v.Group, v.Value, v.Text)
}

// slack is by how much times that the broker tells in milliseconds may differ from the ones that a history has.
const slack = 2 * time.Millisecond

// Check answers what contradicts the rules, in the order of groups and of messages.
func Check(h *History) []Violation {
	c := newChecker(h)
	c.sends()
	for i := range h.Groups {
		g := c.groups[h.Groups[i].Name]
		for _, m := range g.ordered {
			g.holders(m)
			g.settlements(m)
			g.returns(m)
			g.deliveries(m)
			g.fate(m)
		}
		g.order()
		g.counts()
	}
	return c.found
}

// checker is a history made ready to be asked.
type checker struct {
	h      *History
	sent   map[string]*Send
	logged map[string]*Logged
	groups map[string]*reading
	found  []Violation
}

// reading is what a history says of one group.
type reading struct {
	*Group
	c        *checker
	messages map[string]*message
	ordered  []*message // by partition and offset; those that are not in the log last
	lost     []Lost
	closes   map[string][]time.Time // by holder
	settles  []*Settle
	takes    []*Take
}

// message is what a history says of one message in one group.
type message struct {
	value  string
	log    *Logged
	sent   *Send
	takes  []taken // by when they were granted
	said   []said  // by when they left
	copies []DeadLetter
}

type taken struct {
	*Take
	Taken
}

type said struct {
	*Settle
	Said
}

func newChecker(h *History) *checker {
	c := &checker{h: h, sent: map[string]*Send{}, logged: map[string]*Logged{}, groups: map[string]*reading{}}
	for i := range h.Sends {
		c.sent[h.Sends[i].Value] = &h.Sends[i]
	}
	for i := range h.Logged {
		c.logged[h.Logged[i].Value] = &h.Logged[i]
	}
	for i := range h.Groups {
		g := &reading{Group: &h.Groups[i], c: c, messages: map[string]*message{}, closes: map[string][]time.Time{}}
		c.groups[g.Name] = g
		for v := range c.logged {
			g.of(v)
		}
	}
	for i := range h.Takes {
		t := &h.Takes[i]
		g := c.groups[t.Group]
		g.takes = append(g.takes, t)
		for _, r := range t.Records {
			m := g.of(r.Value)
			m.takes = append(m.takes, taken{t, r})
		}
	}
	for i := range h.Settles {
		s := &h.Settles[i]
		g := c.groups[s.Group]
		g.settles = append(g.settles, s)
		for _, r := range s.Records {
			m := g.of(r.Value)
			m.said = append(m.said, said{s, r})
		}
	}
	for _, d := range h.DeadLetters {
		m := c.groups[d.Group].of(d.Value)
		m.copies = append(m.copies, d)
	}
	for _, l := range h.Lost {
		c.groups[l.Group].lost = append(c.groups[l.Group].lost, l)
	}
	for _, x := range h.Closes {
		c.groups[x.Group].closes[x.Holder] = append(c.groups[x.Group].closes[x.Holder], x.At)
	}
	for _, g := range c.groups {
		g.sort()
	}
	return c
}

func (g *reading) of(value string) *message {
	m := g.messages[value]
	if m == nil {
		m = &message{value: value, log: g.c.logged[value], sent: g.c.sent[value]}
		g.messages[value] = m
		g.ordered = append(g.ordered, m)
	}
	return m
}

func (g *reading) sort() {
	for _, m := range g.ordered {
		sort.SliceStable(m.takes, func(i, j int) bool { return m.takes[i].Granted.To.Before(m.takes[j].Granted.To) })
		sort.SliceStable(m.said, func(i, j int) bool { return m.said[i].Request.From.Before(m.said[j].Request.From) })
	}
	sort.SliceStable(g.takes, func(i, j int) bool { return g.takes[i].Granted.To.Before(g.takes[j].Granted.To) })
	slices.SortFunc(g.ordered, func(a, b *message) int {
		switch {
		case a.log == nil || b.log == nil:
			if a.log == nil && b.log == nil {
				return strings.Compare(a.value, b.value)
			} else if a.log == nil {
				return 1
			}
			return -1
		case a.log.Partition != b.log.Partition:
			return int(a.log.Partition - b.log.Partition)
		}
		return int(a.log.Offset - b.log.Offset)
	})
}

func (c *checker) report(rule, group, value, text string, args ...any) {
	c.found = append(c.found, Violation{rule, group, value, fmt.Sprintf(text, args...)})
}

func (g *reading) report(rule string, m *message, text string, args ...any) {
	g.c.report(rule, g.Name, m.value, text, args...)
}

// sends checks what entered the log: what was accepted once, what is unknown once at most, and nothing before it was due.
func (c *checker) sends() {
	times := map[string]int{}
	for i := range c.h.Logged {
		l := &c.h.Logged[i]
		times[l.Value]++
		s := c.sent[l.Value]
		switch {
		case s == nil:
			c.report("fate", "", l.Value, "is in the log and was never sent")
		case times[l.Value] > 1 && s.Due.IsZero():
			c.report("fate", "", l.Value, "is in the log twice")
		case times[l.Value] > 1:
			c.report("delay", "", l.Value, "is in the log twice")
		case !s.Due.IsZero() && l.At.Before(s.Due.Truncate(time.Millisecond)):
			c.report("delay", "", l.Value, "entered %v early", s.Due.Sub(l.At))
		}
	}
	if !c.h.Drained {
		return
	}
	for i := range c.h.Sends {
		if s := &c.h.Sends[i]; s.Accepted && times[s.Value] == 0 {
			rule := "fate"
			if !s.Due.IsZero() {
				rule = "delay"
			}
			c.report(rule, "", s.Value, "was accepted and is not in the log")
		}
	}
}

// wanted tells whether the message has the labels of the group's rule.
func (g *reading) wanted(m *message) bool {
	if len(g.Labels) == 0 || m.sent == nil {
		return true
	}
	met := 0
	for _, l := range g.Labels {
		if slices.Contains(m.sent.Labels, l) {
			met++
		}
	}
	return met == len(g.Labels) || met > 0 && !g.AllLabels
}

// died tells whether a broker may have died in between.
func (c *checker) died(from, to time.Time) bool {
	return slices.ContainsFunc(c.h.Deaths, func(t time.Time) bool { return !t.Before(from) && !t.After(to) })
}

// closed tells whether the holder's session may have ended in between.
func (g *reading) closed(holder string, from, to time.Time) bool {
	return slices.ContainsFunc(g.closes[holder], func(t time.Time) bool { return t.After(from) && !t.After(to) })
}

// losses is how many requests without an answer may have taken something in between.
func (g *reading) losses(from, to time.Time) (n int) {
	if g.Unseen {
		return 1 << 20
	}
	for _, l := range g.lost {
		if !l.Request.From.After(to) && !l.Request.To.Add(afterthought).Before(from) {
			n++
		}
	}
	return n
}

// afterthought is how long after its client gave up a request may still have an effect.
const afterthought = 2 * time.Second
