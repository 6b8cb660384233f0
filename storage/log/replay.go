package log

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/storage/segment"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// Producer snapshots. There is one for each segment but the first, of the producers as they were at the segment's base, and one of
// the log's end when it was closed. They go with their segments: one that is older than the first segment is of no use, because
// the batches between are gone.

// writeSnapshotLocked writes the producers as they are at the log's end; the next sync makes them durable. It is advice: without
// it recovery reads more.
func (l *Log) writeSnapshotLocked(end int64) {
	if err := l.writeFile(segment.Name(end, segment.SnapshotExt), l.on.producers.encode()); err != nil {
		l.o.Log.Warn("producer snapshot not written", zap.String("dir", l.o.Dir), zap.Error(err))
		return
	}
	l.on.snapshots = append(l.on.snapshots, end)
	l.on.snapshotAt, l.on.dirtyDir = end, true
}

// dropSnapshots removes the producer snapshots for which unwanted is true.
func (l *Log) dropSnapshots(unwanted func(offset int64) bool) error {
	offsets, err := l.snapshotsOnDisk()
	if err != nil {
		return err
	}
	for _, offset := range offsets {
		if !unwanted(offset) {
			continue
		}
		if err := l.o.FS.Remove(l.path(segment.Name(offset, segment.SnapshotExt))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("log: %w", err)
		}
	}
	return nil
}

// snapshotsOnDisk lists the offsets of producer snapshots, rising.
func (l *Log) snapshotsOnDisk() ([]int64, error) {
	names, err := l.o.FS.List(l.o.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	var offsets []int64
	for _, name := range names {
		if offset, ext, suffix, ok := segment.ParseName(name); ok && ext == segment.SnapshotExt && suffix == "" {
			offsets = append(offsets, offset)
		}
	}
	slices.Sort(offsets)
	return offsets, nil
}

// loadSnapshot replaces the producers by those of the newest good snapshot from first to limit, and answers its offset, from
// which batches have to be replayed. Without one there are no producers, and all batches are to be replayed.
func (l *Log) loadSnapshot(first, limit, nowMs int64) (from int64) {
	l.on.producers.init()
	defer func() { l.txns.reset(&l.on.producers) }()
	offsets, err := l.snapshotsOnDisk()
	if err != nil {
		l.o.Log.Warn("producer snapshots not listed", zap.String("dir", l.o.Dir), zap.Error(err))
	}
	for _, offset := range slices.Backward(offsets) {
		if offset < first || offset > limit {
			continue
		}
		if err := l.readSnapshot(offset, nowMs); err != nil {
			l.o.Log.Warn("producer snapshot passed over", zap.String("dir", l.o.Dir), zap.Int64("offset", offset), zap.Error(err))
			continue
		}
		l.on.snapshotAt = offset
		return offset
	}
	return first
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

// strays tells of a snapshot that belongs to no segment and is not the newest one: of an earlier stop.
func (l *Log) strays() func(offset int64) bool {
	bases := map[int64]bool{}
	for _, s := range l.list() {
		bases[s.Base()] = true
	}
	newest := l.on.snapshotAt
	return func(offset int64) bool { return !bases[offset] && offset != newest }
}
