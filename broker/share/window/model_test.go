package window

import (
	"maps"
	"math"
	"slices"
	"time"

	"github.com/tidemark-mq/tidemark/coordinator/share"
)

// model is the window's rules written down once more, offset by offset and without any index.
type model struct {
	start, end int64
	recs       map[int64]*rec // from start to end, all of them
	gaps       map[int64]bool // unsaid
	owed       share.Counters
}

type rec struct {
	share.Batch // without offsets
	c           *modelChange
}

type modelChange struct {
	to    map[int64]share.Batch // without offsets
	gaps  map[int64]bool
	add   share.Counters
	owed  share.Counters
	start int64
}

func (r *rec) free(now int64) bool {
	return r.c == nil && r.State == share.Available && r.Until <= now
}

func (m *model) change() *modelChange {
	c := &modelChange{to: map[int64]share.Batch{}, gaps: map[int64]bool{}, add: m.owed, owed: m.owed}
	for o := range m.gaps {
		if o >= m.start {
			c.gaps[o], c.to[o] = true, share.Batch{State: share.Archived}
		}
	}
	m.gaps, m.owed = map[int64]bool{}, share.Counters{}
	return c
}

func (m *model) reach(end int64) {
	for ; m.end < end; m.end++ {
		m.recs[m.end] = &rec{}
	}
}

func (m *model) advance() {
	for m.start < m.end && m.recs[m.start].State.Final() {
		delete(m.recs, m.start)
		m.start++
	}
}

func (m *model) shrink() {
	m.advance()
	for m.end > m.start && *m.recs[m.end-1] == (rec{}) {
		m.end--
		delete(m.recs, m.end)
	}
}

func (m *model) ripen(now int64) {
	for _, r := range m.recs {
		if r.free(now) {
			r.Until = 0
		}
	}
}

func (m *model) blocked() int64 {
	for o := m.start; o < m.end; o++ {
		r := m.recs[o]
		if r.State == share.Acquired || r.State == share.Available && (r.c != nil || r.Until > 0) {
			return o
		}
	}
	return math.MaxInt64
}

func (m *model) room(l Limits) int64 {
	if l.MaxRecords == 0 {
		return math.MaxInt64
	}
	n := m.end - m.start
	for _, r := range m.recs {
		if !l.CountSettled && r.State.Final() {
			n--
		}
	}
	return int64(l.MaxRecords) - n
}

func in(spans []Span, o int64) int {
	return slices.IndexFunc(spans, func(s Span) bool { return s.First <= o && o <= s.Last })
}

// acquire answers the fate of offsets, and the change.
func (m *model) acquire(a Acquire, l Limits) (map[int64]share.Batch, *modelChange) {
	now := a.Now.UnixMilli()
	m.ripen(now)
	stop, room, oldEnd := math.MaxInt64+int64(0), m.room(l), m.end
	if l.Ordered {
		stop = m.blocked()
	}
	fates := map[int64]fate{}
	var n, left, group int64 = 0, math.MaxInt64, -1 // group: where the run of equal free offsets began
	cur, shut, throttled := -1, false, false
	half := max(2, (l.Deliveries+1)/2)
walk:
	for o := max(a.Read.First, m.start); o <= a.Read.Last && o < stop; o++ {
		fresh := o >= oldEnd
		r := m.recs[o]
		if fresh {
			r = &rec{}
		}
		if !r.free(now) {
			group = -1
			continue
		}
		if group < 0 || fresh && group < oldEnd || !fresh && *m.recs[group] != *r {
			if throttled && n > 0 {
				break
			}
			group, left, throttled = o, math.MaxInt64, l.Deliveries > 0 && int(r.Deliveries) >= half
			if fresh {
				left = room
			}
			if throttled {
				if n > 0 {
					break
				}
				if left = 1; int(r.Deliveries) < l.Deliveries-1 {
					left = max(1, m.alike(o)>>(int(r.Deliveries)-half+1))
				}
			}
		}
		k := in(a.Batches, o)
		if k < 0 {
			fates[o] = gap
			continue
		}
		if k != cur || a.Strict {
			cur, shut = k, n >= int64(a.MaxRecords) || left <= 0
		}
		shut = shut || throttled && left <= 0
		switch {
		case in(a.Filtered, o) >= 0:
			fates[o] = filtered
		case a.Want != nil && in(a.Want, o) < 0:
			if l.Ordered {
				break walk
			}
		case shut || fresh && room <= 0:
			break walk
		default:
			fates[o] = taken
			n++
			left--
		}
	}
	return m.apply(a, l, fates)
}

// alike is how many free offsets around one are like it.
func (m *model) alike(o int64) (n int64) {
	first, last := o, o
	for r := m.recs[o]; first > m.start && *m.recs[first-1] == *r; first-- {
	}
	for r := m.recs[o]; last+1 < m.end && *m.recs[last+1] == *r; last++ {
	}
	return last - first + 1
}

func (m *model) apply(a Acquire, l Limits, fates map[int64]fate) (map[int64]share.Batch, *modelChange) {
	if len(fates) == 0 {
		m.shrink()
		return nil, nil
	}
	offsets := slices.Sorted(maps.Keys(fates))
	m.reach(offsets[len(offsets)-1] + 1)
	need := l.Durable
	some := false
	for o, f := range fates {
		switch f {
		case gap:
			m.recs[o].Batch, m.gaps[o] = share.Batch{State: share.Archived}, true
		case filtered:
			need = true
		case taken:
			some = true
		}
	}
	m.advance()
	var c *modelChange
	if need || !some {
		c = m.change()
	}
	granted := map[int64]share.Batch{}
	for o, f := range fates {
		r := m.recs[o]
		if f == filtered {
			c.add.Filtered++
			b := r.Batch
			b.State = share.Archived
			c.to[o], r.c = b, c
		}
		if f == taken {
			b := share.Batch{State: share.Acquired, Deliveries: int16(min(int(r.Deliveries)+1, 32767)), Failures: r.Failures, Holder: a.Holder, Until: a.Until.UnixMilli()}
			granted[o] = b
			if l.Durable {
				c.to[o], r.c = b, c
			} else {
				r.Batch = b
			}
		}
	}
	m.shrink()
	if c != nil {
		c.start = m.start
	}
	return granted, c
}

// become makes the change of an offset that its kind asks for.
func (m *model) become(c *modelChange, o int64, k Kind, from int64, l Limits) {
	r := m.recs[o]
	b := r.Batch
	b.Holder, b.Until = "", 0
	switch k {
	case Accept:
		b.State = share.Acknowledged
		c.add.Accepted++
	case Gap, Reject:
		b.State = share.Archived
		if k == Reject {
			c.add.Rejected++
		}
	case DeadLetter:
		b.State = share.Archiving
	case Release, Fail:
		b = expired(r.Batch, k == Fail, from, l)
		if b.State == share.Archived {
			c.add.Rejected++
		}
	}
	c.to[o], r.c = b, c
}

func expired(b share.Batch, failed bool, from int64, l Limits) share.Batch {
	b.Holder, b.Until, b.State = "", 0, share.Available
	if failed {
		b.Failures++
		b.Until = from + l.Backoff(b.Failures).Milliseconds()
		if b.Until == from {
			b.Until = 0
		}
	}
	if l.Deliveries > 0 && int(b.Deliveries) >= l.Deliveries || failed && l.Failures > 0 && int(b.Failures) >= l.Failures {
		if b.State, b.Until = share.Archived, 0; l.DeadLetter {
			b.State = share.Archiving
		}
	}
	return b
}

func (m *model) settle(holder string, actions []Action, now time.Time, l Limits) (c *modelChange, err error) {
	seen := map[int64]bool{}
	for _, a := range actions {
		if a.First > a.Last || a.Last >= m.end || a.Kind < Gap || a.Kind > DeadLetter {
			return nil, ErrRange
		}
		for o := a.First; o <= a.Last; o++ {
			if seen[o] {
				return nil, ErrState
			}
			seen[o] = true
			if o < m.start {
				continue
			}
			r := m.recs[o]
			if r.c != nil || r.State != share.Acquired || !a.Force && (r.Holder != holder || r.Until <= now.UnixMilli()) ||
				a.Delivery != 0 && a.Delivery != int32(r.Deliveries) {
				return nil, ErrState
			}
		}
	}
	for _, a := range actions {
		for o := max(a.First, m.start); o <= a.Last; o++ {
			r := m.recs[o]
			if a.Kind == Renew && !l.Durable {
				r.Until = a.Until.UnixMilli()
				continue
			}
			if c == nil {
				c = m.change()
			}
			if a.Kind == Renew {
				b := r.Batch
				b.Until = a.Until.UnixMilli()
				c.to[o], r.c = b, c
				continue
			}
			m.become(c, o, a.Kind, now.UnixMilli(), l)
		}
	}
	return m.sealed(c), nil
}

func (m *model) sealed(c *modelChange) *modelChange {
	if c != nil {
		c.start = m.start
	}
	return c
}

// each makes a change of the offsets that pass, if any does.
func (m *model) each(pass func(int64, *rec) bool, do func(*modelChange, int64)) (c *modelChange) {
	for o := m.start; o < m.end; o++ {
		if r := m.recs[o]; r.c == nil && pass(o, r) {
			if c == nil {
				c = m.change()
			}
			do(c, o)
		}
	}
	return m.sealed(c)
}

func (m *model) expire(now time.Time, l Limits) *modelChange {
	at := now.UnixMilli()
	c := m.each(func(_ int64, r *rec) bool {
		if r.State != share.Acquired || r.Until > at {
			return false
		}
		b := expired(r.Batch, true, r.Until, l)
		if l.Durable && b.State == share.Available {
			r.Batch = b
			return false
		}
		return true
	}, func(c *modelChange, o int64) { m.become(c, o, Fail, m.recs[o].Until, l) })
	m.ripen(at)
	return c
}

func (m *model) archive(s Span, counter func(*share.Counters) *int64) (*modelChange, error) {
	for o := max(s.First, m.start); o <= s.Last; o++ {
		if r := m.recs[o]; r == nil || r.c != nil || r.State != share.Archiving {
			return nil, ErrState
		}
	}
	return m.each(func(o int64, _ *rec) bool { return s.First <= o && o <= s.Last }, func(c *modelChange, o int64) {
		r := m.recs[o]
		b := r.Batch
		b.State, b.Intent = share.Archived, nil
		*counter(&c.add)++
		c.to[o], r.c = b, c
	}), nil
}

func (m *model) intend(s Span, in *share.Intent) *modelChange {
	return m.each(func(o int64, _ *rec) bool { return s.First <= o && o <= s.Last }, func(c *modelChange, o int64) {
		r := m.recs[o]
		b := r.Batch
		b.Intent = in
		c.to[o], r.c = b, c
	})
}

func (m *model) commit(c *modelChange, now time.Time) {
	for o, b := range c.to {
		r := m.recs[o]
		switch {
		case r != nil && r.c == c:
			if b.State == share.Available && b.Until <= now.UnixMilli() {
				b.Until = 0
			}
			*r = rec{Batch: b}
		case r == nil && !b.State.Final():
			m.owed.Skipped++
		}
	}
	m.shrink()
}

func (m *model) rollback(c *modelChange) {
	m.owed = m.owed.Add(c.owed)
	for o := range c.to {
		r := m.recs[o]
		switch {
		case c.gaps[o]:
			m.gaps[o] = true
		case r == nil:
			m.owed.Skipped++
		default:
			r.c = nil
		}
	}
	m.shrink()
}

func (m *model) advanceStart(to int64) *modelChange {
	if to <= m.start {
		return nil
	}
	m.reach(to)
	for ; m.start < to; m.start++ {
		if r := m.recs[m.start]; r.c == nil && !r.State.Final() {
			m.owed.Skipped++
		}
		delete(m.recs, m.start)
	}
	m.shrink()
	return m.sealed(m.change())
}
