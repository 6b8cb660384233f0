package log

import (
	"cmp"
	"slices"

	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/storage/segment"
)

// producer is what the log remembers of one idempotent producer: about 100 bytes with one batch, 200 with five.
type producer struct {
	id         int64
	epoch      int16
	coordEpoch int32 // of the last marker's transaction coordinator, -1: none
	txnStart   int64 // first offset of the open transaction, -1: none
	lastTime   int64 // ms, of the last batch or marker
	seen       int64 // ms by the broker's clock, when it last appended
	batches    []segment.ProducerBatch

	newer, older *producer // in order of seen
}

// producers is all of a log's producers. The zero value needs init.
type producers struct {
	byID map[int64]*producer
	ends producer // head of the ring: ends.newer is the longest idle one
}

func (ps *producers) init() {
	ps.byID = nil // made when the first one comes: most logs have none
	ps.ends.newer, ps.ends.older = &ps.ends, &ps.ends
}

func (ps *producers) len() int { return len(ps.byID) }

// evictAttempts is how many idle producers are looked at to find one without an open transaction, which must not be forgotten.
const evictAttempts = 64

// add makes a producer; beyond limit it takes the place of the longest idle one. 0 is no limit.
func (ps *producers) add(id int64, epoch int16, limit int) *producer {
	if ps.byID == nil {
		ps.byID = make(map[int64]*producer)
	}
	p := ps.ends.newer
	for i := 0; i < evictAttempts && limit > 0 && len(ps.byID) >= limit && p != &ps.ends; i++ {
		next := p.newer
		if p.txnStart < 0 {
			ps.remove(p)
		}
		p = next
	}
	p = &producer{id: id, epoch: epoch, coordEpoch: -1, txnStart: -1, lastTime: record.NoTimestamp}
	ps.byID[id] = p
	ps.link(p)
	return p
}

func (ps *producers) link(p *producer) {
	p.older, p.newer = ps.ends.older, &ps.ends
	p.older.newer, ps.ends.older = p, p
}

func (ps *producers) unlink(p *producer) {
	p.older.newer, p.newer.older = p.newer, p.older
}

func (ps *producers) remove(p *producer) {
	ps.unlink(p)
	delete(ps.byID, p.id)
}

// touch makes p the one seen last.
func (ps *producers) touch(p *producer, nowMs int64) {
	p.seen = nowMs
	if p.newer != &ps.ends {
		ps.unlink(p)
		ps.link(p)
	}
}

// expire forgets producers without an open transaction that were not seen since before (ms), and answers how many.
func (ps *producers) expire(before int64) int {
	n := 0
	for p := ps.ends.newer; p != &ps.ends && p.seen < before; {
		next := p.newer
		if p.txnStart < 0 {
			ps.remove(p)
			n++
		}
		p = next
	}
	if len(ps.byID) == 0 {
		ps.byID = nil
	}
	return n
}

// duplicate finds the batch that b repeats: same epoch, same first and last sequence.
func (p *producer) duplicate(b record.Batch) *segment.ProducerBatch {
	if b.ProducerEpoch() != p.epoch {
		return nil
	}
	first, last := b.BaseSequence(), b.LastSequence()
	for i := range p.batches {
		if k := &p.batches[i]; k.LastSequence == last && record.DecrementSequence(k.LastSequence, k.Delta) == first {
			return k
		}
	}
	return nil
}

// lastSequence is the sequence of the last record under the current epoch, -1 for none.
func (p *producer) lastSequence() int32 {
	if len(p.batches) == 0 {
		return record.NoSequence
	}
	return p.batches[len(p.batches)-1].LastSequence
}

// setEpoch begins a new epoch, to which earlier batches mean nothing.
func (p *producer) setEpoch(epoch int16) {
	if p.epoch != epoch {
		p.epoch, p.batches = epoch, p.batches[:0]
	}
}

// push remembers a batch, and forgets the oldest of more than five.
func (p *producer) push(k segment.ProducerBatch) {
	switch n := len(p.batches); {
	case n == segment.ProducerBatches:
		copy(p.batches, p.batches[1:])
		p.batches[n-1] = k
	case n == cap(p.batches):
		// One, three, five: most producers of short life send one batch.
		grown := make([]segment.ProducerBatch, n, min(max(1, n+2), segment.ProducerBatches))
		copy(grown, p.batches)
		p.batches = append(grown, k)
	default:
		p.batches = append(p.batches, k)
	}
}

// encode is a snapshot of all producers, longest idle first.
func (ps *producers) encode() []byte {
	return segment.EncodeSnapshot(len(ps.byID), func(yield func(*segment.Producer) bool) {
		for p := ps.ends.newer; p != &ps.ends; p = p.newer {
			out := segment.Producer{ID: p.id, Epoch: p.epoch, CoordinatorEpoch: p.coordEpoch, TxnStart: p.txnStart, LastTime: p.lastTime}
			out.NumBatches = copy(out.Batches[:], p.batches)
			if !yield(&out) {
				return
			}
		}
	})
}

// load replaces all producers by those of a snapshot, as if they had been seen now.
func (ps *producers) load(list []segment.Producer, nowMs int64) {
	ps.init()
	for i := range list {
		in := &list[i]
		p := ps.add(in.ID, in.Epoch, 0)
		p.coordEpoch, p.txnStart, p.lastTime, p.seen = in.CoordinatorEpoch, in.TxnStart, in.LastTime, nowMs
		p.batches = slices.Clone(in.Batches[:in.NumBatches])
	}
}

// ProducerState is what DescribeProducers shows of a producer.
type ProducerState struct {
	ID               int64
	Epoch            int16
	LastSequence     int32 // -1: none
	LastTimestamp    int64 // ms
	CoordinatorEpoch int32 // -1: none
	CurrentTxnStart  int64 // first offset of the open transaction, -1: none
}

// Producers lists the producers remembered, by id.
func (l *Log) Producers() []ProducerState {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]ProducerState, 0, l.on.producers.len())
	for _, p := range l.on.producers.byID {
		list = append(list, ProducerState{ID: p.id, Epoch: p.epoch, LastSequence: p.lastSequence(), LastTimestamp: p.lastTime,
			CoordinatorEpoch: p.coordEpoch, CurrentTxnStart: p.txnStart})
	}
	slices.SortFunc(list, func(a, b ProducerState) int { return cmp.Compare(a.ID, b.ID) })
	return list
}
