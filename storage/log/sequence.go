package log

import (
	"fmt"

	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/storage/segment"
)

// The rules of idempotence (KIP-98) and of transactions as a partition sees them, as Apache Kafka 4.4 answers: a repeat of one of
// the last five batches is a duplicate; any other sequence than the next is out of order, older repeats included; an older epoch
// is refused, a new one starts at 0; of a producer that is not known any sequence is taken.

// checkProducer answers what b repeats, or why it may not be appended. It changes nothing.
func (l *Log) checkProducer(b record.Batch, origin Origin) (*segment.ProducerBatch, error) {
	if !b.HasProducerID() {
		return nil, nil
	}
	p := l.on.producers.byID[b.ProducerID()]
	if p == nil {
		return nil, nil
	}
	if origin == Client {
		if k := p.duplicate(b); k != nil {
			return k, nil
		}
	}
	if b.ProducerEpoch() < p.epoch {
		return nil, fmt.Errorf("%w: producer %d at epoch %d, it is %d", ErrInvalidProducerEpoch, p.id, b.ProducerEpoch(), p.epoch)
	}
	if b.IsControl() {
		return nil, checkMarker(p, b)
	}
	if b.BaseSequence() == record.NoSequence {
		return nil, nil // written by the broker itself
	}
	if err := p.checkSequence(b); err != nil {
		return nil, err
	}
	if p.txnStart >= 0 && !b.IsTransactional() {
		return nil, fmt.Errorf("%w: producer %d, batch outside of the transaction begun at offset %d", ErrInvalidTxnState, p.id, p.txnStart)
	}
	return nil, nil
}

func (p *producer) checkSequence(b record.Batch) error {
	first := b.BaseSequence()
	if b.ProducerEpoch() != p.epoch {
		if first != 0 {
			return fmt.Errorf("%w: producer %d begins epoch %d at sequence %d", ErrOutOfOrderSequence, p.id, b.ProducerEpoch(), first)
		}
		return nil
	}
	if want := record.IncrementSequence(p.lastSequence(), 1); first != want {
		return fmt.Errorf("%w: producer %d, sequence %d where %d is next", ErrOutOfOrderSequence, p.id, first, want)
	}
	return nil
}

func checkMarker(p *producer, b record.Batch) error {
	m, err := b.Marker()
	if err != nil {
		return nil // another kind of control record
	}
	if m.CoordinatorEpoch < p.coordEpoch {
		return fmt.Errorf("%w: producer %d, %d where it is %d", ErrCoordinatorFenced, p.id, m.CoordinatorEpoch, p.coordEpoch)
	}
	return nil
}

// applyProducer takes an appended batch into account, and answers the transaction it aborted. Its offsets are stamped. Also
// used to replay the log, where nothing is checked and marker is read by the caller; it is nil for data.
func (l *Log) applyProducer(b record.Batch, marker *record.Marker, nowMs, watermark int64) (aborted *segment.AbortedTxn) {
	if !b.HasProducerID() {
		return nil
	}
	ps := &l.on.producers
	p := ps.byID[b.ProducerID()]
	if p == nil {
		p = ps.add(b.ProducerID(), b.ProducerEpoch(), l.cfg.Load().MaxProducers)
	}
	p.setEpoch(b.ProducerEpoch())
	ps.touch(p, nowMs)
	p.lastTime = b.MaxTimestamp()
	if marker != nil {
		return l.endTxn(p, b, marker, watermark)
	}
	if b.IsControl() {
		return nil
	}
	if b.BaseSequence() != record.NoSequence {
		p.push(segment.ProducerBatch{LastSequence: b.LastSequence(), LastOffset: b.LastOffset(), Delta: b.LastOffsetDelta(), Timestamp: b.MaxTimestamp()})
	}
	if b.IsTransactional() && p.txnStart < 0 {
		p.txnStart = b.BaseOffset()
		l.txns.begin(p.txnStart)
	}
	return nil
}

func (l *Log) endTxn(p *producer, b record.Batch, m *record.Marker, watermark int64) *segment.AbortedTxn {
	p.coordEpoch = m.CoordinatorEpoch
	if p.txnStart < 0 {
		return nil
	}
	start := p.txnStart
	p.txnStart = -1
	stable := l.txns.finish(start, b.LastOffset(), watermark)
	if m.Type != record.Abort {
		return nil
	}
	return &segment.AbortedTxn{ProducerID: p.id, FirstOffset: start, LastOffset: b.LastOffset(), StableOffset: stable}
}
