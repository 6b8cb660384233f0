package share

import (
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/tidemark-mq/tidemark/broker/share/window"
)

// fetch takes records for the session's partitions, or waits for them.
func (f *fetching) fetch() {
	if mode := f.req.ShareAcquireMode; mode != wholeBatches && mode != recordLimit {
		f.refuse(kerr.UnknownServerError) // as Kafka: the request counted, and what it acknowledged stands
		return
	}
	f.lay()
	switch {
	case f.req.MaxBytes < 0: // likewise
		for i := range f.slots {
			f.slots[i].code = kerr.UnknownServerError.Code
		}
		f.answer()
	case !f.takes() || len(f.poll.places) == 0:
		f.answer()
	default:
		f.poll.ctx, f.poll.attempt = f.ctx, f.attempt
		f.poll.until = f.c.Received.Add(time.Duration(max(f.req.MaxWaitMillis, 0)) * time.Millisecond)
		f.door.engine.start(&f.poll)
	}
}

// lay makes a slot for each of the session's partitions, and a place for each that exists.
func (f *fetching) lay() {
	image := f.door.engine.o.Image()
	f.session.mu.Lock()
	defer f.session.mu.Unlock()
	order := f.session.order
	f.slots, f.at, f.poll.places = make([]slot, len(order)), make([]int32, 0, len(order)), make([]place, 0, len(order))
	var last error // of many partitions that do not exist the error is looked up once
	var code int16
	var message string
	for i, m := range order {
		s := &f.slots[i]
		s.member, s.known = m, m.code
		_, _, err := leads(image, m.topicPartition)
		if gone := errors.Is(err, kerr.UnknownTopicID); gone && m.named {
			err = kerr.UnknownTopicOrPartition // as Kafka, which remembers the name
		} else {
			m.named = !gone
		}
		if err != nil {
			if err != last {
				s.fail(f.door.engine, err)
				last, code, message = err, s.code, s.message
			}
			s.code, s.message = code, message
			continue
		}
		f.at = append(f.at, int32(i))
		f.poll.places = append(f.poll.places, place{key: f.key.of(m.topicPartition)})
		s.place = &f.poll.places[len(f.poll.places)-1]
	}
}

func (s *slot) fail(e *Engine, err error) { s.code, s.message = e.code(err, "share fetch") }

// attempt is poll.attempt: it tries the places that are ready, and answers if there are records, something that the client does
// not know yet, or no more time.
func (f *fetching) attempt(ready []*place, final bool, finished func(over bool)) {
	f.final, f.finished = final, finished
	f.todo, f.next = f.todo[:0], 0
	f.records, f.bytes = int(f.req.MaxRecords), int(min(f.req.MaxBytes, f.door.o.MaxBytes))
	if err := f.current(); err != nil {
		f.refuse(err)
		f.end(finished, true)
		return
	}
	for _, p := range ready {
		i := f.slotOf(p)
		s := &f.slots[i]
		s.part, s.code, s.message = p.part, 0, ""
		if p.err != nil {
			s.part = nil
			s.fail(f.door.engine, p.err)
			continue
		}
		f.todo = append(f.todo, i)
	}
	if final {
		f.noteUnfound()
	}
	switch {
	case f.c.Context.Err() != nil: // its client is gone, or is to go
		f.todo = f.todo[:0]
	case f.minBytes() > 1:
		f.todo = f.todo[:0]
		if final || f.enough() {
			f.all()
		}
	}
	f.step()
}

// noteUnfound notes why partitions are not there yet, although somebody still looks for them.
func (f *fetching) noteUnfound() {
	f.poll.mu.Lock()
	defer f.poll.mu.Unlock()
	for i := range f.poll.places {
		s := &f.slots[f.at[i]]
		if p := &f.poll.places[i]; p.part == nil && p.err != nil && s.code == 0 {
			s.fail(f.door.engine, p.err)
		}
	}
}

// slotOf finds the slot of a place. The engine names places in their order, so this looks on from the last one.
func (f *fetching) slotOf(p *place) int32 {
	for range f.poll.places {
		i := f.mapped % len(f.poll.places)
		if &f.poll.places[i] == p {
			return f.at[i]
		}
		f.mapped = i + 1
	}
	return 0 // it names no others
}

// minBytes is how much is worth an answer before the time is up: more than may be sent is not worth waiting for.
func (f *fetching) minBytes() int {
	return int(min(f.req.MinBytes, f.req.MaxBytes, f.door.o.MaxBytes))
}

// enough tells whether there are as many bytes as the client waits for, or an error to tell.
func (f *fetching) enough() bool {
	sum := 0
	for i := range f.slots {
		s := &f.slots[i]
		if s.part == nil {
			continue
		}
		n, err := s.part.glance(f.bytes)
		if sum += n; err != nil || sum >= f.minBytes() {
			return true
		}
	}
	return false
}

// all makes every partition that is there one to acquire from.
func (f *fetching) all() {
	for i := range f.slots {
		if f.slots[i].part != nil {
			f.todo = append(f.todo, int32(i))
		}
	}
}

// step acquires from one partition after the other while there is room in the answer.
func (f *fetching) step() {
	if f.onAcquired == nil {
		f.onAcquired = f.acquired
	}
	for f.next < len(f.todo) && f.records > 0 && f.bytes > 0 {
		f.trying = &f.slots[f.todo[f.next]]
		f.next++
		f.met.Store(false)
		f.trying.part.acquire(f.asks(f.trying), f.onAcquired)
		if !f.met.Swap(true) {
			return
		}
	}
	f.decide()
}

// acquired takes what an acquire came to. Of this and the return of the call that began it, the second goes on.
func (f *fetching) acquired(got acquired, err error) {
	f.take(f.trying, got, err)
	if f.met.Swap(true) {
		f.door.engine.spawn(f.step) // this may be the state's goroutine
	}
}

func (f *fetching) asks(s *slot) acquire {
	return acquire{holder: f.key.member, maxRecords: f.records, maxBytes: f.bytes, strict: f.req.ShareAcquireMode == recordLimit, place: s.place}
}

// take notes what a partition gave.
func (f *fetching) take(s *slot, got acquired, err error) {
	if err != nil {
		s.part = nil
		s.fail(f.door.engine, err)
		return
	}
	if len(got.granted) == 0 {
		if got.slice.Len > 0 {
			got.slice.Release()
		}
		return
	}
	s.got = got
	for _, g := range got.granted {
		f.records -= int(min(g.Last-g.First+1, int64(f.records)))
	}
	f.bytes -= got.slice.Len
}

// decide ends the attempt.
func (f *fetching) decide() {
	over := f.final
	for i := range f.slots {
		s := &f.slots[i]
		over = over || len(s.got.granted) > 0 || s.code != 0 && s.code != s.known
	}
	finished := f.finished
	if over {
		f.answer()
	}
	f.end(finished, over)
}

// end ends an attempt, and with the last one what interrupts the poll.
func (f *fetching) end(finished func(bool), over bool) {
	finished(over)
	if over {
		f.cancel(nil)
	}
}

// answer says what there is of all slots that are news to the client. Records that it cannot have any more are given back.
func (f *fetching) answer() {
	x := f.session
	gone := f.c.Context.Err() != nil
	x.mu.Lock()
	err := f.currentLocked()
	var news []*slot
	if err == nil && !gone {
		news = f.tellLocked()
	}
	x.mu.Unlock()
	if err == nil && !gone {
		f.reply(news)
		return
	}
	for i := range f.slots {
		f.slots[i].giveBack(f.key.member)
	}
	if err != nil {
		f.refuse(err)
		return
	}
	f.reply(nil)
}

// tellLocked notes in the session what its client is told.
func (f *fetching) tellLocked() (news []*slot) {
	x := f.session
	var served []*member
	for i := range f.slots {
		s := &f.slots[i]
		m := s.member
		if len(s.got.granted) > 0 {
			x.held[m.topicPartition] = struct{}{}
			served = append(served, m)
		}
		if !m.told || s.code != 0 || len(s.got.granted) > 0 {
			news = append(news, s)
		}
		m.told, m.code = true, s.code
	}
	x.rotateLocked(served)
	return news
}

// giveBack releases what was acquired for nobody. The delivery says which one it was, should it be over already.
func (s *slot) giveBack(holder string) {
	if len(s.got.granted) == 0 {
		return
	}
	if s.got.slice.Len > 0 {
		s.got.slice.Release()
	}
	actions := make([]window.Action, 0, len(s.got.granted))
	for _, g := range s.got.granted {
		actions = append(actions, window.Action{First: g.First, Last: g.Last, Kind: window.Release, Delivery: int32(g.Deliveries)})
	}
	s.got = acquired{}
	s.part.settle(holder, actions, func(error) {}) // if it fails, the lease runs out
}
