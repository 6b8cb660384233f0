package log

import (
	"errors"
	"slices"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/storage/segment"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// loadSnapshot replaces the producers by those of the newest good snapshot that is not above limit, and answers its offset, from
// which batches have to be replayed. Without one there are no producers, and all of the log is to be replayed.
func (l *Log) loadSnapshot(limit, nowMs int64) (from int64) {
	l.on.producers.init()
	defer func() { l.txns.reset(&l.on.producers) }()
	offsets, err := l.snapshotsOnDisk()
	if err != nil {
		l.o.Log.Warn("producer snapshots not listed", zap.String("dir", l.o.Dir), zap.Error(err))
	}
	for _, offset := range slices.Backward(offsets) {
		if offset > limit {
			continue
		}
		if err := l.readSnapshot(offset, nowMs); err != nil {
			l.o.Log.Warn("producer snapshot passed over", zap.String("dir", l.o.Dir), zap.Int64("offset", offset), zap.Error(err))
			continue
		}
		l.on.snapshotAt = offset
		return offset
	}
	return 0
}

func (l *Log) readSnapshot(offset, nowMs int64) error {
	data, err := vfs.ReadFile(l.o.FS, l.path(segment.Name(offset, segment.SnapshotExt)), segment.MaxSnapshot)
	if err != nil {
		return err
	}
	list, err := segment.DecodeSnapshot(data)
	if err != nil {
		return err
	}
	for i := range list {
		if p := &list[i]; p.NumBatches > 0 && p.Batches[p.NumBatches-1].LastOffset >= offset || p.TxnStart >= offset {
			return errors.New("it holds a batch above its own offset")
		}
	}
	l.on.producers.load(list, nowMs)
	return nil
}

// replay makes a Visit that takes the batches from offset from on into account, as an append did. Transactions it finds aborted are
// passed to aborted, which may be nil.
func (l *Log) replay(from, nowMs, watermark int64, aborted func(segment.AbortedTxn)) func(record.Batch, func() (record.Batch, error)) error {
	return func(b record.Batch, body func() (record.Batch, error)) error {
		if b.BaseOffset() < from || !b.HasProducerID() {
			return nil
		}
		var marker *record.Marker
		if b.IsControl() {
			whole, err := body()
			if err != nil {
				return err
			}
			marker = markerOf(whole)
		}
		if a := l.applyProducer(b, marker, nowMs, watermark); a != nil && aborted != nil {
			aborted(*a)
		}
		return nil
	}
}
