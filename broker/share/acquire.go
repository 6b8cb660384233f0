package share

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/broker/share/window"
	"github.com/tidemark-mq/tidemark/coordinator/share"
)

// acquire is what is asked of a share partition.
type acquire struct {
	holder     string
	lease      time.Duration // 0: the group's share.record.lock.duration.ms
	maxRecords int           // at least 1
	maxBytes   int           // of the log; the first batch comes whole however large it is
	strict     bool          // records, not whole batches, up to maxRecords (share acquire mode 1)
	place      *place        // on whose behalf; nil: nobody's that waits

	pick *picker // of a lease: the records themselves are read, and chosen by what they are; nil: whatever there is
}

// acquired is what was granted. Without grants there was nothing.
type acquired struct {
	granted []window.Grant // by offset
	until   time.Time      // when the leases end
	// slice is the whole batches that hold what was granted, and maybe others between them. Released by whoever gets it, when
	// slice.Len is above 0. Not with pick.
	slice replica.Slice
	// batches are the offsets of the record batches in slice, by offset.
	batches []window.Span
}

// How far one acquire goes on when what it reads is not wanted, or is gone. What is behind is for the next attempt of whoever waits.
const (
	scanBytes = 4 << 20
	scanSteps = 64
)

// glance is about how many bytes of the log, up to limit, hold records that may be acquired now; nothing is acquired. Errors as
// acquire's.
func (p *partition) glance(limit int) (int, error) {
	v, ok, err := p.look(nil)
	if err != nil || !ok {
		return 0, err
	}
	found, err := p.part.Read(replica.Read{Offset: v.from, MaxBytes: limit, AtLeastOne: true, Committed: v.settings.ReadCommitted, Epoch: p.epoch, LastEpoch: -1})
	if errors.Is(err, replica.ErrOffsetOutOfRange) {
		return 0, nil // the log's start went past it
	}
	if err != nil || found.Slice.Len == 0 {
		return 0, err
	}
	found.Slice.Release()
	return found.Slice.Len, nil
}

// acquire takes records for a holder. done is called once, perhaps before it returns, when the records may leave. It reads the log,
// in the caller's goroutine.
func (p *partition) acquire(a acquire, done func(acquired, error)) {
	scanned := 0
	for range scanSteps {
		s, err := p.step(&a)
		if err != nil {
			p.tried(a.place)
			done(acquired{}, err)
			return
		}
		scanned += s.scanned
		if len(s.got.granted) > 0 {
			alone := "" // a share consumer holds other records too, by other requests
			if a.pick != nil {
				alone = a.holder
			}
			p.hand(alone, s, done)
			return
		}
		if s.c != nil { // only what was filtered, or is no record: nobody waits for that
			p.send(s.c, s.w, func(error) {})
		}
		if s.end || scanned >= scanBytes || a.pick != nil && a.pick.seen >= scanRecords {
			break
		}
	}
	p.tried(a.place)
	done(acquired{}, nil)
}

// hand gives out what was granted: when it is durable, where that is asked for. alone is the holder, if it holds nothing else.
func (p *partition) hand(alone string, s stepped, done func(acquired, error)) {
	give := func() {
		n := int64(0)
		for _, g := range s.got.granted {
			n += g.Last - g.First + 1
		}
		p.e.metrics.acquired.Add(float64(n))
		p.answered.Store(p.e.answers.Add(1))
		done(s.got, nil)
	}
	switch {
	case s.c == nil:
		give()
	case !s.durable:
		p.send(s.c, s.w, func(error) {})
		give()
	default:
		p.send(s.c, s.w, func(err error) {
			if err == nil {
				give()
				return
			}
			s.got.drop()
			failed := func() { done(acquired{}, fmt.Errorf("keeping the lease: %w", err)) }
			if alone == "" || !unreached(err) {
				failed()
				return
			}
			p.e.spawn(func() {
				p.e.giveBack(p.key, alone, s.got.granted)
				failed()
			})
		})
	}
}

func (a *acquired) drop() {
	if a.slice.Len > 0 {
		a.slice.Release()
		a.slice = replica.Slice{}
	}
}

// tried says that a place that was called has had its try.
func (p *partition) tried(pl *place) {
	if pl == nil {
		return
	}
	p.mu.Lock()
	p.triedLocked(pl)
	p.leave()
}

// view is what one step of an acquire goes by.
type view struct {
	from, upTo int64
	settings   *settings
	free       []window.Span // what may be acquired, the first of it
}

// look finds where there is something; false: nowhere. free is memory for view.free.
func (p *partition) look(free []window.Span) (v view, ok bool, err error) {
	now, err := p.enter()
	if err != nil {
		return view{}, false, err
	}
	p.catchUpLocked(now)
	s := p.mu.settings
	v = view{settings: s, upTo: p.upTo(s)}
	if v.from, ok = p.mu.window.Next(now, s.limits); ok && v.from < v.upTo {
		for span := range p.mu.window.Free(v.from, now, s.limits) {
			if v.free = append(free, span); len(v.free) >= maxFree {
				break
			}
			free = v.free
		}
	} else {
		ok = false
	}
	p.leave()
	return v, ok, nil
}

// maxFree bounds how many runs of free records one step looks for.
const maxFree = 64

// stepped is what one step of an acquire came to.
type stepped struct {
	got     acquired
	c       *window.Change // to be persisted by w; nil: nothing
	w       *share.Write
	durable bool // before got leaves
	scanned int  // bytes
	end     bool // there is nothing more to look at
}

// step looks, reads and acquires once.
func (p *partition) step(a *acquire) (stepped, error) {
	m := scratches.Get().(*scratch)
	defer scratches.Put(m)
	v, ok, err := p.look(m.free[:0])
	m.free = v.free
	if err != nil || !ok {
		return stepped{end: true}, err
	}
	var r found
	if a.pick != nil {
		r, err = p.readRecords(v, a, m)
	} else {
		r, err = p.readSpans(v, a, m)
	}
	if errors.Is(err, replica.ErrOffsetOutOfRange) {
		return stepped{end: p.part.LogStart() <= v.from}, nil // retention was faster: look again
	}
	if err != nil {
		return stepped{}, err
	}
	if r.read.Last < r.read.First {
		return stepped{end: true}, nil
	}
	s, err := p.take(v, a, r)
	if len(s.got.granted) == 0 || err != nil {
		s.got.slice = r.slice
		s.got.drop()
		return s, err
	}
	if r.slice.Len > 0 {
		s.got.slice, s.got.batches = r.trim(s.got.granted)
	}
	return s, nil
}

// take acquires of what was read.
func (p *partition) take(v view, a *acquire, r found) (s stepped, err error) {
	now, err := p.enter()
	if err != nil {
		return stepped{}, err
	}
	limits := p.mu.settings.limits
	if next, ok := p.mu.window.Next(now, limits); !ok || next < r.read.First {
		p.leave() // something before it is free again
		return stepped{}, nil
	}
	lease := a.lease
	if lease <= 0 {
		lease = p.mu.settings.LockDuration
	}
	s.got.until = now.Add(lease)
	want := window.Acquire{Now: now, Until: s.got.until, Holder: a.holder, Read: r.read, Batches: r.spans, MaxRecords: a.maxRecords, Strict: a.strict}
	if a.pick != nil {
		want.Want, want.Filtered, want.Strict = a.pick.want, a.pick.filtered, true
	}
	s.got.granted, s.c = p.mu.window.Acquire(want, limits)
	if s.c != nil {
		s.w = p.writeLocked(s.c)
	}
	s.durable, s.scanned = limits.Durable, r.bytes
	p.triedLocked(a.place)
	p.leave()
	return s, nil
}

// scratch is memory that steps use again.
type scratch struct {
	free  []window.Span
	spans []window.Span
	ats   []batchAt
	buf   []byte
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}
