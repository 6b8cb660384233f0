package runtime

import (
	"fmt"

	"github.com/tidemark-mq/tidemark/protocol/record"
)

// build makes one batch of records. It is good until the builder is used again.
func build(b *record.Builder, records []Record, now int64) (record.Batch, error) {
	b.Reset(record.Spec{})
	for i := range records {
		b.Append(now, records[i].Key, records[i].Value)
	}
	batch, err := b.Build()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	return batch, nil
}

// eachEntry calls fn for the records of a batch read from the log. An entry and its bytes
// are good until fn returns.
func eachEntry(batch record.Batch, fn func(*Entry) error) error {
	if err := batch.CheckCRC(); err != nil {
		return err
	}
	e := Entry{
		ProducerID:    batch.ProducerID(),
		ProducerEpoch: batch.ProducerEpoch(),
		Transactional: batch.IsTransactional(),
	}
	records, err := batch.Records(expandLimit)
	if err != nil {
		return err
	}
	defer records.Close()
	for {
		rec, ok, err := records.Next()
		if err != nil || !ok {
			return err
		}
		e.Offset, e.Key, e.Value, e.Marker = rec.Offset, rec.Key, rec.Value, nil
		if batch.IsControl() {
			marker, err := record.ParseMarker(&rec)
			if err != nil {
				continue // a control record of another kind does not concern coordinators
			}
			e.Key, e.Value = nil, nil
			e.Marker = &Marker{Commit: marker.Type == record.Commit, CoordinatorEpoch: marker.CoordinatorEpoch}
		}
		if err := fn(&e); err != nil {
			return err
		}
	}
}
