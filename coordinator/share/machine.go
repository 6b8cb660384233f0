package share

import (
	"container/list"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// machine is the coordinator of the share partitions of one partition of __share_group_state.
type machine struct {
	cfg       *Config
	log       *zap.Logger
	partition int32
	ends      func() (start, end int64) // of its log
	prune     func(upTo int64)          // nil: nobody deletes records
	gone      func(uuid.ID) bool        // whether a topic is known not to exist; nil: it is not asked
	loaded    func()                    // called some time after a load; nil: nobody wants to know
	held      *atomic.Int64             // bytes of states in memory, of all machines

	states map[Key]*sharePartition
	recent *list.List // *sharePartition, the one used last in front
	keys   int        // how many share partitions have a state

	unswept int // steps of upkeep until the next look for states of topics that are gone
}

var _ runtime.Machine = (*machine)(nil)

// The timers.
const (
	timerSnapshot uint8 = iota + 1 // of a share partition: its updates outweigh a snapshot; Timer.Of is its key, encoded
	timerLoaded                    // of the shard: it has just been loaded
	timerUpkeep                    // of the shard: idle states leave memory, old snapshots are renewed, the log is cut
)

// Restore implements runtime.Machine. States are read when they are needed.
func (m *machine) Restore(tx *runtime.Tx) error {
	err := tx.Scan([]byte{rowHead}, nil, func([]byte, []byte) bool {
		m.keys++
		return true
	})
	tx.Schedule(runtime.Timer{Kind: timerUpkeep}, tx.Now().Add(m.cfg.PruneInterval))
	if m.loaded != nil && m.keys > 0 {
		tx.Schedule(runtime.Timer{Kind: timerLoaded}, tx.Now().Add(unfinishedAfter))
	}
	return err
}

// Abandon implements runtime.Machine.
func (m *machine) Abandon(*runtime.Tx) {
	for m.recent.Len() > 0 {
		m.forget(m.recent.Back().Value.(*sharePartition))
	}
}

// Fire implements runtime.Machine.
func (m *machine) Fire(v runtime.View, t runtime.Timer) runtime.Outcome {
	switch t.Kind {
	case timerUpkeep:
		return m.upkeep(v)
	case timerLoaded:
		return runtime.Outcome{Reply: func(error) { m.loaded() }}
	}
	r := reader{b: []byte(t.Of)}
	return m.renew(v, r.key())
}

// find is a share partition's state, from memory or from its rows; nil if it has none.
func (m *machine) find(v runtime.View, k Key) (*sharePartition, error) {
	if p := m.states[k]; p != nil {
		p.used = v.Now()
		m.recent.MoveToFront(p.place)
		return p, nil
	}
	p, err := load(v, k)
	if err != nil {
		m.log.Error("a share partition's state cannot be read", zap.Stringer("key", k), zap.Error(err))
		return nil, errUnreadable
	}
	if p != nil {
		m.keep(p, v.Now())
	}
	return p, nil
}

// keep takes a state into memory.
func (m *machine) keep(p *sharePartition, now time.Time) {
	p.used = now
	p.place = m.recent.PushFront(p)
	m.states[p.key] = p
	m.weigh(p)
}

// weigh notes a state's size and makes room for it.
func (m *machine) weigh(p *sharePartition) {
	weight := stateBytes + p.ranges.weight()
	used := m.held.Add(weight - p.weight)
	p.weight = weight
	for used > m.cfg.CacheBytes && m.recent.Len() > 1 {
		last := m.recent.Back().Value.(*sharePartition)
		if last == p {
			return
		}
		used -= last.weight
		m.forget(last)
	}
}

// stateBytes is about what a state takes in memory beside its ranges.
const stateBytes = 1024

// forget lets a state go.
func (m *machine) forget(p *sharePartition) {
	m.held.Add(-p.weight)
	p.weight = 0
	m.recent.Remove(p.place)
	delete(m.states, p.key)
}
