package share

import (
	"container/list"
	"math"
	"slices"
	"time"
)

// sharePartition is a share partition's state in memory: what its rows say, merged. It can be dropped and read again at any time.
type sharePartition struct {
	key Key
	head
	ranges *ranges

	// Of the machine's cache.
	place  *list.Element
	used   time.Time
	weight int64
}

// head is all of a state but the ranges.
type head struct {
	snapshotEpoch, stateEpoch, leaderEpoch int32
	// fence is the newest leader epoch that spoke; older ones are refused. Kafka sets leaderEpoch back when it initialises.
	fence            int32
	start            int64
	complete         int32
	created, written int64
	counters         Counters
	producer         *Producer

	updates     int   // since the last snapshot
	updateBytes int64 // of them
	held        int64 // no snapshot before updateBytes are as many: the log refused one
}

func newPartition(k Key) *sharePartition {
	return &sharePartition{key: k, head: head{start: -1, complete: -1}, ranges: newRanges()}
}

// reset makes a snapshot the state.
func (p *sharePartition) reset(c *change) {
	p.head = head{
		snapshotEpoch: c.snapshotEpoch, stateEpoch: c.stateEpoch, leaderEpoch: c.leaderEpoch, fence: max(c.fence, c.leaderEpoch),
		start: c.start, complete: c.complete, created: c.created, written: c.written, producer: c.producer,
	}
	if c.counters != nil {
		p.counters = *c.counters
	}
	p.ranges = newRanges()
	p.ranges.fill(c.batches)
}

// update applies an update: as the record says, and nothing beyond.
func (p *sharePartition) update(c *change) {
	if c.leaderEpoch != -1 {
		p.leaderEpoch = c.leaderEpoch
		p.fence = max(p.fence, c.leaderEpoch)
	}
	if c.start != -1 {
		p.start = c.start
	}
	p.complete = c.complete
	if c.counters != nil {
		p.counters = *c.counters
	}
	if c.producer != nil {
		p.producer = c.producer
	}
	for _, b := range above(c.batches, p.start) {
		if c.replaces {
			p.ranges.replace(b)
		} else {
			p.ranges.merge(b)
		}
	}
	p.ranges.dropBelow(p.start)
}

// above is the part of batches that does not lie below start.
func above(batches []Batch, start int64) []Batch {
	var all []Batch
	for i, b := range batches {
		if b.First >= start {
			if all != nil {
				all = append(all, b)
			}
			continue
		}
		if all == nil {
			all = append(make([]Batch, 0, len(batches)), batches[:i]...)
		}
		if b.Last >= start {
			all = append(all, cut(b, start, b.Last))
		}
	}
	if all == nil {
		return batches
	}
	return all
}

// write applies a change of the engine and answers the update that says the same.
func (p *sharePartition) write(w *Write) *change {
	p.leaderEpoch = max(p.leaderEpoch, w.LeaderEpoch)
	p.fence = max(p.fence, w.LeaderEpoch)
	p.start = max(p.start, w.Start)
	batches := make([]Batch, 0, len(w.Batches))
	for _, b := range w.Batches {
		batches = append(batches, plain(b))
	}
	for _, b := range above(batches, p.start) {
		p.ranges.replace(b)
	}
	p.ranges.dropBelow(p.start)
	if p.complete = -1; p.start >= 0 {
		p.start = p.ranges.settledPrefix(p.start)
		p.ranges.dropBelow(p.start)
		p.complete = int32(min(p.ranges.settled, math.MaxInt32))
	}
	c := &change{
		snapshotEpoch: p.snapshotEpoch, leaderEpoch: p.leaderEpoch, start: p.start, complete: p.complete,
		batches: above(batches, p.start), replaces: true,
	}
	if w.Add != (Counters{}) {
		p.counters = p.counters.Add(w.Add)
		sum := p.counters
		c.counters = &sum
	}
	if w.Producer != nil {
		copied := *w.Producer
		p.producer, c.producer = &copied, &copied
	}
	return c
}

// plain is a batch as it is kept: what has no meaning in its state is not, nor anything that the caller may change.
func plain(b Batch) Batch {
	switch {
	case b.State.Final():
		b.Failures, b.Holder, b.Until, b.Intent = 0, "", 0, nil
	case b.State == Archiving:
		b.Holder, b.Until = "", 0
		if b.Intent != nil {
			copied := *b.Intent
			b.Intent = &copied
		}
	default:
		b.Intent = nil
		if b.State == Available {
			b.Holder = ""
		}
	}
	return b
}

// snapshot is the state as a record has it, under the next snapshot epoch.
func (p *sharePartition) snapshot(now time.Time) *change {
	c := &change{
		snapshotEpoch: p.snapshotEpoch + 1, stateEpoch: p.stateEpoch, leaderEpoch: p.leaderEpoch, fence: p.fence,
		start: p.start, complete: p.complete, created: p.created, written: now.UnixMilli(), producer: p.producer, all: p.ranges,
	}
	if p.counters != (Counters{}) {
		sum := p.counters
		c.counters = &sum
	}
	return c
}

// snapshotted notes that a snapshot of the state was written.
func (p *sharePartition) snapshotted(c *change) {
	p.snapshotEpoch, p.created, p.written = c.snapshotEpoch, c.created, c.written
	p.updates, p.updateBytes, p.held = 0, 0, 0
}

// snapshotSize is about how large a snapshot would be, in bytes.
func (p *sharePartition) snapshotSize() int64 {
	return 128 + int64(p.ranges.len())*36 + int64(p.ranges.holders)/2
}

// updateOverhead is what an update costs in the log and as a row beside its value, in bytes, about.
const updateOverhead = 100

// muchUpdate is how many bytes of updates are enough for a snapshot however few they are.
const muchUpdate = 64 << 10

// due tells whether a snapshot is worth its while: the updates outweigh it, and are many or large.
func (p *sharePartition) due(updates int) bool {
	return p.updates > 0 && p.updateBytes >= max(p.snapshotSize(), p.held) && (p.updates >= updates || p.updateBytes >= muchUpdate)
}

// stored is the state as others see it.
func (p *sharePartition) stored() Stored {
	s := Stored{
		StateEpoch: p.stateEpoch, LeaderEpoch: p.leaderEpoch, Start: p.start, DeliveryComplete: p.complete, Counters: p.counters,
	}
	if p.producer != nil {
		copied := *p.producer
		s.Producer = &copied
	}
	return s
}

// batches is a copy of the ranges that the caller may keep and change.
func (p *sharePartition) batches() []Batch {
	all := p.ranges.list()
	for i := range all {
		if all[i].Intent != nil {
			copied := *all[i].Intent
			all[i].Intent = &copied
		}
	}
	return slices.Clip(all)
}

// try applies something to the state and answers how to take it back.
func (p *sharePartition) try(apply func() *change) (c *change, undo func()) {
	before := p.head
	j := &journal{}
	p.ranges.journal = j
	c = apply()
	p.ranges.journal = nil
	return c, func() {
		p.head = before
		p.ranges.journal = j
		p.ranges.undo()
	}
}
