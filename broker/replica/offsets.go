package replica

import (
	"fmt"

	"github.com/tidemark-mq/tidemark/storage/log"
)

// The timestamps of ListOffsets that are no time (KIP-79, KIP-734, KIP-405, KIP-1005, KIP-1023).
const (
	Latest                = -1
	Earliest              = -2
	MaxTimestamp          = -3
	EarliestLocal         = -4
	LatestTiered          = -5
	EarliestPendingUpload = -6
)

// OffsetFor answers ListOffsets: the record a timestamp or special value stands for. epoch is the client's leader epoch, -1
// for none. Offset -1 means there is none.
func (p *Partition) OffsetFor(timestamp int64, committed bool, epoch int32) (log.TimedOffset, error) {
	none := log.TimedOffset{Offset: -1, Timestamp: -1, LeaderEpoch: -1}
	if err := p.usable(); err != nil {
		return none, err
	}
	if err := p.checkEpoch(epoch); err != nil {
		return none, err
	}
	upTo := p.HighWatermark()
	if committed {
		upTo = p.StableOffset()
	}
	switch timestamp {
	case Latest:
		return log.TimedOffset{Offset: upTo, Timestamp: -1, LeaderEpoch: p.Epoch()}, nil
	case Earliest, EarliestLocal:
		start := p.LogStart()
		return log.TimedOffset{Offset: start, Timestamp: -1, LeaderEpoch: p.log.EpochOf(start)}, nil
	case LatestTiered, EarliestPendingUpload:
		return none, nil // there is no tiered storage, so nothing is in it
	case MaxTimestamp:
		found, err := p.log.OffsetOfMaxTime()
		if err != nil {
			return none, storageError(err)
		}
		if found.Offset < 0 || found.Offset >= upTo {
			return none, nil // as Kafka: no look is taken for the next one
		}
		found.LeaderEpoch = p.log.LatestEpoch() // Kafka's answer, whatever the record's own
		return found, nil
	}
	found, err := p.log.OffsetForTime(timestamp)
	if err != nil {
		return none, storageError(err)
	}
	if found.Offset >= upTo {
		return none, nil
	}
	return found, nil
}

// EndOfEpoch answers OffsetForLeaderEpoch: the largest epoch not above the one asked
// for and its end offset, -1 and -1 when the log has none. current is the client's leader epoch, -1 for none.
func (p *Partition) EndOfEpoch(epoch, current int32) (int32, int64, error) {
	if err := p.usable(); err != nil {
		return -1, -1, err
	}
	if err := p.checkEpoch(current); err != nil {
		return -1, -1, err
	}
	if own := p.Epoch(); epoch == own {
		return own, p.log.End(), nil
	}
	found, end := p.log.EndOffsetForEpoch(epoch)
	return found, end, nil
}

// DeleteRecords moves the log start to offset, or to the watermark for -1, and answers
// the new start.
func (p *Partition) DeleteRecords(offset int64) (int64, error) {
	if err := p.usable(); err != nil {
		return -1, err
	}
	if s := p.conf.Load(); s.Compact && !s.Delete {
		return -1, fmt.Errorf("%w: deleting records of a topic that is only compacted", ErrPolicy)
	}
	hw := p.HighWatermark()
	if offset == -1 {
		offset = hw
	}
	if offset < 0 || offset > hw {
		return -1, fmt.Errorf("%w: deleting up to %d, the watermark is %d", ErrOffsetOutOfRange, offset, hw)
	}
	start, err := p.log.DeleteRecordsTo(offset)
	if err != nil {
		return -1, storageError(err)
	}
	p.watchers.wake(p)
	return start, nil
}

// Producers is what DescribeProducers shows.
func (p *Partition) Producers() ([]log.ProducerState, error) {
	if err := p.usable(); err != nil {
		return nil, err
	}
	return p.log.Producers(), nil
}
