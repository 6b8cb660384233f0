package share

import (
	"math"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
)

// refuse is the outcome that only says no.
func refuse(done func(error), err error) runtime.Outcome {
	return runtime.Outcome{Reply: func(failed error) {
		if failed != nil {
			err = failed
		}
		done(err)
	}}
}

// origin is where an operation comes from: the engine of this broker, or the wire.
type origin struct {
	wire    bool
	unknown bool // the share partition's partition does not exist, as far as this broker knows
}

// read answers a state and notes the leader's epoch, if it is a newer one. Nothing kept is no error for the engine, but one on
// the wire.
func (m *machine) read(v runtime.View, k Key, leaderEpoch int32, from origin, done func(Stored, error)) runtime.Outcome {
	fail := func(err error) { done(Stored{}, err) }
	p, err := m.find(v, k)
	switch {
	case err != nil:
		return refuse(fail, err)
	case p == nil && from.wire:
		return refuse(fail, errReadUninitialized)
	case p == nil:
		return answer(Stored{None: true, Start: -1, DeliveryComplete: -1}, done)
	case leaderEpoch < p.fence:
		return refuse(fail, errFencedLeader)
	case from.unknown:
		return refuse(fail, errUnknownPartition)
	}
	s := p.stored()
	s.Batches = p.batches()
	if leaderEpoch == p.fence {
		return answer(s, done)
	}
	s.LeaderEpoch = leaderEpoch
	return m.update(p, func() *change {
		c := &change{snapshotEpoch: p.snapshotEpoch, leaderEpoch: leaderEpoch, start: p.start, complete: p.complete}
		p.update(c)
		return c
	}, func(err error) { done(s, err) })
}

// summary answers a state without its batches.
func (m *machine) summary(v runtime.View, k Key, done func(Stored, error)) runtime.Outcome {
	p, err := m.find(v, k)
	switch {
	case err != nil:
		return refuse(func(err error) { done(Stored{}, err) }, err)
	case p == nil:
		return answer(Stored{None: true, Start: -1, DeliveryComplete: -1}, done)
	}
	return answer(p.stored(), done)
}

func answer(s Stored, done func(Stored, error)) runtime.Outcome {
	return runtime.Outcome{Reply: func(err error) {
		if err != nil {
			s = Stored{}
		}
		done(s, err)
	}}
}

// write applies a change of the engine.
func (m *machine) write(v runtime.View, w *Write, done func(error)) runtime.Outcome {
	p, err := m.writable(v, w.Key, w.StateEpoch, w.LeaderEpoch)
	if err != nil {
		return refuse(done, err)
	}
	return m.update(p, func() *change { return p.write(w) }, done)
}

// writable is a state that may be written in these epochs.
func (m *machine) writable(v runtime.View, k Key, stateEpoch, leaderEpoch int32) (*sharePartition, error) {
	p, err := m.find(v, k)
	switch {
	case err != nil:
		return nil, err
	case p == nil:
		return nil, errWriteUninitialized
	case leaderEpoch < p.fence:
		return nil, errFencedLeader
	case stateEpoch < p.stateEpoch:
		return nil, errFencedState
	}
	return p, nil
}

// replicated is a change as another broker sends it.
type replicated struct {
	Key
	stateEpoch, leaderEpoch int32
	start                   int64
	complete                int32
	batches                 []Batch
	from                    origin
}

// writeReplicated applies a change the way Kafka's coordinator does: of an offset the batch with more deliveries stands, the
// start never falls, and the count of completed deliveries is the one given for the higher start.
func (m *machine) writeReplicated(v runtime.View, w *replicated, done func(error)) runtime.Outcome {
	p, err := m.writable(v, w.Key, w.stateEpoch, w.leaderEpoch)
	if err == nil && w.from.unknown {
		err = errUnknownPartition
	}
	if err != nil {
		return refuse(done, err)
	}
	complete := w.complete
	switch {
	case w.start == p.start:
		complete = max(complete, p.complete)
	case w.start < p.start:
		complete = p.complete
	}
	c := &change{snapshotEpoch: p.snapshotEpoch, leaderEpoch: p.leaderEpoch, start: max(w.start, p.start), complete: complete}
	combined := newRanges()
	for _, b := range above(w.batches, c.start) {
		combined.merge(b)
	}
	c.batches = combined.list()
	return m.update(p, func() *change {
		p.update(c)
		return c
	}, done)
}

// update writes what apply did to a state. If the log will not have it, the state is as before.
func (m *machine) update(p *sharePartition, apply func() *change, done func(error)) runtime.Outcome {
	c, undo := p.try(apply)
	value := c.appendUpdate(make([]byte, 0, 64+40*len(c.batches)))
	return runtime.Outcome{
		Records: []runtime.Record{{Key: recordKey(typeUpdate, p.key), Value: value}},
		Reply:   done,
		Then: func(tx *runtime.Tx) {
			p.updates++
			p.updateBytes += int64(len(value)) + updateOverhead
			m.weigh(p)
			if p.due(m.cfg.SnapshotUpdates) {
				tx.Schedule(snapshotTimer(p.key), tx.Now())
			}
		},
		Refused: func(*runtime.Tx, error) { undo() },
	}
}

func snapshotTimer(k Key) runtime.Timer {
	return runtime.Timer{Kind: timerSnapshot, Of: string(appendKey(nil, k))}
}

// initialize begins a state anew, in an epoch that is not older. For this broker's own calls what is there in the same epoch
// stays: it only repeats itself. Kafka begins anew even then.
func (m *machine) initialize(v runtime.View, k Key, stateEpoch int32, start int64, from origin, done func(error)) runtime.Outcome {
	p, err := m.find(v, k)
	switch {
	case err != nil:
		return refuse(done, err)
	case p != nil && stateEpoch < p.stateEpoch:
		return refuse(done, errFencedState)
	case from.unknown:
		return refuse(done, errUnknownPartition)
	case p != nil && stateEpoch == p.stateEpoch && !from.wire:
		return runtime.Outcome{Reply: done}
	}
	now := v.Now().UnixMilli()
	c := &change{stateEpoch: stateEpoch, start: max(start, -1), complete: -1, created: now, written: now}
	if start >= 0 {
		c.complete = 0
	}
	if p != nil {
		c.snapshotEpoch, c.fence = p.snapshotEpoch+1, p.fence
	}
	return runtime.Outcome{
		Records: []runtime.Record{snapshotRecord(k, c)},
		Reply:   done,
		Then: func(tx *runtime.Tx) {
			if p == nil {
				p = newPartition(k)
				m.keys++
				m.keep(p, tx.Now())
			}
			p.reset(c)
			m.weigh(p)
		},
	}
}

func snapshotRecord(k Key, c *change) runtime.Record {
	size := 256 + 40*len(c.batches)
	if c.all != nil {
		size += 36*c.all.len() + c.all.holders
	}
	return runtime.Record{Key: recordKey(typeSnapshot, k), Value: c.appendSnapshot(make([]byte, 0, size))}
}

// remove deletes a state; one that does not exist is fine.
func (m *machine) remove(v runtime.View, k Key, done func(error)) runtime.Outcome {
	_, ok, err := v.Get(rowKey(rowHead, k))
	if err != nil {
		return refuse(done, err)
	}
	if !ok {
		return runtime.Outcome{Reply: done}
	}
	return runtime.Outcome{
		Records: []runtime.Record{{Key: recordKey(typeSnapshot, k)}},
		Reply:   done,
		Then:    func(*runtime.Tx) { m.removed(k) },
	}
}

func (m *machine) removed(k Key) {
	m.keys--
	if p := m.states[k]; p != nil {
		m.forget(p)
	}
}

// valid tells whether a batch names offsets.
func valid(b *Batch) bool { return b.First >= 0 && b.Last >= b.First && b.Last < math.MaxInt64 }
