package cluster

import (
	"context"
	"fmt"
	"math"
)

// ProducerIDBlock is how many producer ids a broker gets at a time, as in Kafka.
const ProducerIDBlock = 1000

// AllocateProducerIDs gives this broker a block of producer ids, first to first+n-1, that nobody got before or will get again. What a broker
// does not use of its block is lost with the process.
func (c *Cluster) AllocateProducerIDs(ctx context.Context) (first int64, n int, err error) {
	ctx, end, err := c.enterSwap(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer end()
	for range casAttempts {
		kv, err := get(ctx, c.store, c.prefix.producerIDs())
		if err != nil {
			return 0, 0, err
		}
		var next producerIDsRecord
		if kv.ModRevision != 0 {
			if err := decode(kv.Value, &next); err != nil {
				return 0, 0, fmt.Errorf("%s: %w", kv.Key, err) // guessing could give ids out twice
			}
		}
		if next.Next < 0 || next.Next > math.MaxInt64-ProducerIDBlock {
			return 0, 0, fmt.Errorf("%w: next is %d", ErrNoMoreProducerIDs, next.Next)
		}
		res, err := c.store.Txn(ctx, Txn{
			If:   []Cond{c.session.identity, {Key: kv.Key, Revision: kv.ModRevision}},
			Then: []Op{{Key: kv.Key, Value: encode(producerIDsRecord{Next: next.Next + ProducerIDBlock})}},
		})
		if err != nil {
			return 0, 0, err
		}
		if res.Done {
			return next.Next, ProducerIDBlock, nil
		}
	}
	return 0, 0, fmt.Errorf("producer ids: %w", ErrConflict)
}
