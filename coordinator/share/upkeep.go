package share

import (
	"time"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
)

// renew writes the snapshot of a state whose updates outweigh it. If the log does not admit it, the updates go on, and it is
// tried again when they are twice as many.
func (m *machine) renew(v runtime.View, k Key) runtime.Outcome {
	p, err := m.find(v, k)
	if err != nil || p == nil || !p.due(m.cfg.SnapshotUpdates) {
		return runtime.Outcome{}
	}
	c := p.snapshot(v.Now())
	c.created = c.written
	return runtime.Outcome{
		Records: []runtime.Record{snapshotRecord(k, c)},
		Then:    func(*runtime.Tx) { p.snapshotted(c) },
		Refused: func(_ *runtime.Tx, err error) {
			p.held = 2 * p.updateBytes
			m.log.Warn("a share partition's snapshot was refused", zap.Stringer("key", k), zap.Int("batches", p.ranges.len()), zap.Error(err))
		},
	}
}

// Bounds of one step of upkeep.
const (
	coldStates = 500
	coldBytes  = 1 << 20
	// slack is how many records the log may hold beyond what is needed before old snapshots are renewed.
	slack = 1000
	// recordBytes is about what one record that nobody needs takes in the log.
	recordBytes = 150
)

// upkeep lets go of states that were not used for long, writes snapshots in place of the oldest in the log if it holds much
// that nobody needs, and has what lies below the first that is needed deleted.
func (m *machine) upkeep(v runtime.View) runtime.Outcome {
	m.forgetIdle(v.Now())
	if orphans := m.orphans(v); len(orphans) > 0 {
		return m.dropOrphans(v, orphans)
	}
	first, cold, err := m.coldest(v)
	if err != nil {
		m.log.Error("share state not looked after", zap.Int32("partition", m.partition), zap.Error(err))
		return runtime.Outcome{Then: m.again(m.cfg.PruneInterval)}
	}
	_, end := m.ends()
	if records, renewed := m.snapshots(v, cold, (end-first)*recordBytes); len(records) > 0 {
		return runtime.Outcome{
			Records: records,
			Then: func(tx *runtime.Tx) {
				for _, fn := range renewed {
					fn()
				}
				m.again(0)(tx)
			},
			Refused: func(tx *runtime.Tx, _ error) { m.again(m.cfg.PruneInterval)(tx) },
		}
	}
	out := runtime.Outcome{Then: m.again(m.cfg.PruneInterval)}
	if start, _ := m.ends(); m.prune != nil && first > start {
		out.Reply = func(err error) {
			if err == nil { // the snapshots that make the rest redundant are committed
				m.prune(first)
			}
		}
	}
	return out
}

func (m *machine) again(after time.Duration) func(*runtime.Tx) {
	return func(tx *runtime.Tx) { tx.Schedule(runtime.Timer{Kind: timerUpkeep}, tx.Now().Add(after)) }
}

// sweepEvery is how many steps of upkeep there are between two looks for states of topics that are gone.
const sweepEvery = 12

// orphans are states of topics that do not exist any more, as many as one step may drop: whoever was to delete them with their topic
// died in between. They are looked for some time after the load, when what this broker knows of topics is newer than any state.
func (m *machine) orphans(v runtime.View) (keys []Key) {
	if m.gone == nil {
		return nil
	}
	if m.unswept > 0 {
		m.unswept--
		return nil
	}
	err := v.Scan([]byte{rowHead}, nil, func(key, _ []byte) bool {
		r := reader{b: key[1:]}
		if k := r.key(); !r.short && m.gone(k.Topic) {
			keys = append(keys, k)
		}
		return len(keys) < coldStates
	})
	if err != nil {
		m.log.Error("share state not swept", zap.Int32("partition", m.partition), zap.Error(err))
	}
	if len(keys) == 0 {
		m.unswept = sweepEvery
	}
	return keys
}

func (m *machine) dropOrphans(v runtime.View, keys []Key) runtime.Outcome {
	m.log.Info("share state of topics that are gone is dropped", zap.Int32("partition", m.partition), zap.Int("states", len(keys)))
	out := m.drop(v, keys)
	then := out.Then
	out.Then = func(tx *runtime.Tx) {
		then(tx)
		m.again(0)(tx)
	}
	out.Refused = func(tx *runtime.Tx, _ error) { m.again(m.cfg.PruneInterval)(tx) }
	return out
}

func (m *machine) forgetIdle(now time.Time) {
	for e := m.recent.Back(); e != nil; e = m.recent.Back() {
		p := e.Value.(*sharePartition)
		if now.Sub(p.used) < m.cfg.CacheIdle {
			return
		}
		m.forget(p)
	}
}

// coldest answers the first offset that is needed, and the share partitions whose snapshots are the oldest and to be renewed so
// that the log can shrink. That pays when the log holds twice as many records as there are states; a snapshot younger than the
// interval stays.
func (m *machine) coldest(v runtime.View) (first int64, cold []Key, err error) {
	_, end := m.ends()
	first = end
	before := v.Now().Add(-m.cfg.ColdSnapshotInterval).UnixMilli()
	worth := end - 2*int64(m.keys) - slack // snapshots below are too far back
	err = eachOldest(v, func(o oldest) bool {
		first = min(first, o.offset)
		if o.offset >= worth || o.written > before || len(cold) == coldStates {
			return false
		}
		cold = append(cold, o.key)
		return true
	})
	return first, cold, err
}

// snapshots makes the records of these states, as many as one step may write, and what to do when they are written. It stops
// where they would take more than worth bytes: a large state is not written again for a few small records.
func (m *machine) snapshots(v runtime.View, keys []Key, worth int64) (records []runtime.Record, renewed []func()) {
	size := 0
	for _, k := range keys {
		p, cached := m.states[k]
		if !cached {
			var err error
			if p, err = load(v, k); err != nil || p == nil {
				m.log.Error("a share partition's state cannot be read", zap.Stringer("key", k), zap.Error(err))
				continue // it holds the log's end back, but nothing is lost
			}
		}
		if worth -= p.snapshotSize(); worth < 0 {
			break
		}
		c := p.snapshot(v.Now())
		rec := snapshotRecord(k, c)
		records = append(records, rec)
		renewed = append(renewed, func() { p.snapshotted(c) })
		if size += len(rec.Value); size >= coldBytes {
			break
		}
	}
	return records, renewed
}

// drop removes all states of keys that exist, as one step of the cleaning up after deleted topics.
func (m *machine) drop(v runtime.View, keys []Key) runtime.Outcome {
	var out runtime.Outcome
	var gone []Key
	for _, k := range keys {
		if _, ok, err := v.Get(rowKey(rowHead, k)); ok && err == nil {
			gone = append(gone, k)
			out.Records = append(out.Records, runtime.Record{Key: recordKey(typeSnapshot, k)})
		}
	}
	out.Then = func(*runtime.Tx) {
		for _, k := range gone {
			m.removed(k)
		}
	}
	return out
}
