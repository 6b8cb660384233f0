package replica

import (
	"errors"
	"fmt"

	"github.com/tidemark-mq/tidemark/storage/log"
)

// Read asks for records of a partition.
type Read struct {
	Offset     int64
	MaxBytes   int
	AtLeastOne bool  // the first batch whole even if larger than MaxBytes (KIP-74)
	Committed  bool  // read_committed: up to the stable offset, with aborted transactions
	Epoch      int32 // the client's current leader epoch; negative: none
	LastEpoch  int32 // epoch of the last record the client has; negative: none (KIP-595)
}

// Slice is a run of records in a segment file; release it exactly once.
type Slice = log.Slice

// Aborted is a transaction whose records a read_committed client must leave out.
type Aborted struct{ ProducerID, FirstOffset int64 }

// Records is what a read found. Slice must be released when Slice.Len is above 0.
type Records struct {
	Slice         log.Slice
	More          bool // there may be more to read behind Slice
	HighWatermark int64
	StableOffset  int64
	LogStart      int64
	Aborted       []Aborted // only with Committed
	Diverged      bool      // the client's log and this one part at DivergingEnd
	DivergingEnd  int64
	DivergingLast int32
}

// Read finds records. The watermark and log start are filled even with an error, when
// the partition is led here.
func (p *Partition) Read(r Read) (Records, error) {
	none := Records{HighWatermark: -1, StableOffset: -1, LogStart: -1}
	if err := p.usable(); err != nil {
		return none, err
	}
	if err := p.checkEpoch(max(r.Epoch, noEpoch)); err != nil {
		return none, err
	}
	out := Records{HighWatermark: p.HighWatermark(), LogStart: p.LogStart()}
	out.StableOffset = min(out.HighWatermark, p.log.StableOffset())
	if r.LastEpoch >= 0 {
		epoch, end := p.log.EndOffsetForEpoch(r.LastEpoch)
		if epoch < 0 || end < 0 {
			return out, fmt.Errorf("%w: epoch %d of the last fetched record is not in the log", ErrOffsetOutOfRange, r.LastEpoch)
		}
		if epoch < r.LastEpoch || end < r.Offset {
			out.Diverged, out.DivergingLast, out.DivergingEnd = true, epoch, end
			return out, nil
		}
	}
	if r.Offset < out.LogStart || r.Offset > p.log.End() {
		return out, fmt.Errorf("%w: %d is not within %d to %d", ErrOffsetOutOfRange, r.Offset, out.LogStart, p.log.End())
	}
	upTo := out.HighWatermark
	if r.Committed {
		upTo = out.StableOffset
	}
	if out.More = r.Offset < upTo; !out.More || r.MaxBytes <= 0 && !r.AtLeastOne {
		return out, nil
	}
	slice, err := p.log.Read(r.Offset, upTo, r.MaxBytes, r.AtLeastOne)
	if errors.Is(err, log.ErrOffsetOutOfRange) {
		return out, fmt.Errorf("%w: %w", ErrOffsetOutOfRange, err)
	}
	if err != nil {
		return out, storageError(err)
	}
	out.Slice, out.More = slice, slice.End < upTo
	if r.Committed && slice.Len > 0 {
		if out.Aborted, err = p.aborted(r.Offset, slice.End); err != nil {
			slice.Release()
			out.Slice, out.More = log.Slice{}, false
			return out, err
		}
	}
	return out, nil
}

func (p *Partition) aborted(from, to int64) ([]Aborted, error) {
	txns, err := p.log.AbortedTxns(from, to)
	if err != nil || len(txns) == 0 {
		return nil, storageError(err)
	}
	out := make([]Aborted, len(txns))
	for i, t := range txns {
		out[i] = Aborted{t.ProducerID, t.FirstOffset}
	}
	return out, nil
}
