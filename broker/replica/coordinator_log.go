package replica

import (
	"errors"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/storage/log"
)

// CoordinatorLog is a partition, led in one epoch, as a coordinator shard sees it; it implements runtime.Log.
type CoordinatorLog struct {
	p     *Partition
	epoch int32
}

var _ runtime.Log = CoordinatorLog{}

// CoordinatorLog is the partition's door for a shard that is loaded in that leader epoch.
func (p *Partition) CoordinatorLog(epoch int32) CoordinatorLog { return CoordinatorLog{p, epoch} }

// Append writes one batch under the epoch the shard was loaded with. runtime.ErrNotLeader
// and runtime.ErrRefused mean that nothing was written.
func (c CoordinatorLog) Append(epoch int32, batch []byte) (int64, error) {
	done, err := c.p.Append(Append{Batches: batch, Origin: log.Coordinator, Acks: -1, Epoch: epoch})
	var rejected *record.RejectedError
	switch {
	case err == nil:
		return done.Base, nil
	case over(err):
		return 0, errors.Join(runtime.ErrNotLeader, err)
	case errors.Is(err, record.ErrTooLarge), errors.Is(err, log.ErrAboveSegment):
		return 0, errors.Join(runtime.ErrTooLarge, err)
	case errors.As(err, &rejected):
		return 0, errors.Join(runtime.ErrRefused, err)
	}
	return 0, errors.Join(runtime.ErrUnknown, err)
}

// over tells whether an error ends the shard's life: this broker does not lead the partition in that epoch, or not any more.
func over(err error) bool {
	return errors.Is(err, ErrNotLeader) || errors.Is(err, ErrStopped) || errors.Is(err, ErrOffline) || errors.Is(err, ErrUnknown)
}

// WhenCommitted runs fn once: when the watermark reached end, or with the reason why it
// never will.
func (c CoordinatorLog) WhenCommitted(end int64, fn func(error)) {
	c.p.WhenDurable(end, c.epoch, -1, func(err error) {
		if err != nil && over(err) {
			err = errors.Join(runtime.ErrNotLeader, err)
		}
		fn(err)
	})
}

// Read answers whole batches from the one that holds offset from, also above the
// watermark, at most maxBytes of them but at least one; none at the log's end.
func (c CoordinatorLog) Read(from int64, maxBytes int) ([]byte, error) {
	slice, err := c.p.log.Read(from, c.p.log.End(), maxBytes, true)
	if err != nil || slice.Len == 0 {
		return nil, err
	}
	defer slice.Release()
	return slice.Bytes(nil)
}

// Start is the log's first offset.
func (c CoordinatorLog) Start() int64 { return c.p.LogStart() }

// End is the offset the next record will get.
func (c CoordinatorLog) End() int64 { return c.p.LogEnd() }

// HighWatermark is the offset below which records are committed.
func (c CoordinatorLog) HighWatermark() int64 { return c.p.HighWatermark() }
