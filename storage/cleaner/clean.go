package cleaner

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/storage/log"
	"github.com/tidemark-mq/tidemark/storage/segment"
)

// Result is what one run did.
type Result struct {
	From, To              int64 // offsets the map covered
	BytesRead             int64
	BytesBefore           int64 // of the segments gone over
	BytesAfter            int64
	RecordsIn, RecordsOut int64
}

// Clean compacts one log once, whether or not it is due. An empty range is no error.
func (c *Cleaner) Clean(ctx context.Context, l *log.Log, now time.Time) (Result, error) {
	w := survey(l, now)
	if w.to <= w.from {
		return Result{From: w.from, To: w.from}, nil
	}
	r := &run{cleaner: c, ctx: ctx, log: l, cfg: l.Config(), now: now.UnixMilli(), result: Result{From: w.from}}
	end, err := r.buildMap(w)
	if err != nil {
		return r.result, err
	}
	r.result.To = end
	r.last = l.LastOffsets()
	if err := r.cleanBelow(end); err != nil {
		return r.result, err
	}
	l.SetCleanedTo(end)
	return r.result, nil
}

// run is one run over one log.
type run struct {
	cleaner *Cleaner
	ctx     context.Context
	log     *log.Log
	cfg     log.Config
	now     int64 // ms
	keys    *keyMap
	mapEnd  int64
	last    map[int64]log.LastOffset // of the producers that are remembered
	txns    *transactions
	filter  record.Filter
	out     []byte         // batches kept, before they are written
	markers map[int64]bool // offsets of the markers kept in the group at hand
	result  Result
}

// each calls fn for every batch from the one that holds from up to to, in order.
func (r *run) each(from, to int64, fn func(record.Batch) error) error {
	for from < to {
		slice, err := r.log.Read(from, to, readChunk, true)
		if err != nil {
			return err
		}
		if slice.Len == 0 {
			return nil
		}
		next := slice.End
		buf, err := r.cleaner.read(r.ctx, slice)
		slice.Release()
		if err != nil {
			return err
		}
		r.result.BytesRead += int64(len(buf))
		for b, err := range record.Batches(buf) {
			if err != nil {
				return fmt.Errorf("cleaner: %s offset %d: %w", r.log.Dir(), from, err)
			}
			if err := b.CheckCRC(); err != nil {
				return fmt.Errorf("cleaner: %s offset %d: %w", r.log.Dir(), b.BaseOffset(), err)
			}
			if err := fn(b); err != nil {
				return err
			}
		}
		from = next
	}
	return nil
}

var errMapFull = errors.New("cleaner: map is full")

// buildMap notes the last offset of every key of the dirty range, and answers how far it
// came: to a batch that no longer fits, or to the end.
func (r *run) buildMap(w work) (int64, error) {
	span := min(w.to-w.from, maxSpan)
	room := r.cleaner.tuning().MapBytes
	r.keys = newKeyMap(w.from, room)
	aborted, err := r.log.AbortedTxns(w.from, w.to)
	if err != nil {
		return 0, err
	}
	txns := newTransactions(aborted)
	end := w.from
	err = r.each(w.from, w.from+span, func(b record.Batch) error {
		if b.IsControl() {
			txns.marker(b)
		} else if !txns.aborted(b) {
			if err := r.noteKeys(b); err != nil {
				return err
			}
		}
		end = b.NextOffset()
		return nil
	})
	switch {
	case errors.Is(err, errMapFull) && end > w.from:
		err = nil
	case errors.Is(err, errMapFull):
		err = fmt.Errorf("cleaner: %s: the batch at offset %d alone has more keys than the map of %d bytes holds; raise log.cleaner.dedupe.buffer.size",
			r.log.Dir(), end, room)
	case err == nil:
		end = w.from + span // offsets may be missing at the end of a compacted segment
	}
	r.mapEnd = end
	return end, err
}

func (r *run) noteKeys(b record.Batch) error {
	records, err := b.Records(r.cleaner.o.MaxExpansion)
	if err != nil {
		return err
	}
	defer records.Close()
	for {
		rec, ok, err := records.Next()
		if err != nil || !ok {
			return err
		}
		if rec.Key != nil && rec.Offset >= r.keys.base && !r.keys.put(rec.Key, rec.Offset) {
			return errMapFull
		}
	}
}

// cleanBelow rewrites the segments that begin below the end of the map.
func (r *run) cleanBelow(end int64) error {
	all := groups(r.log.Segments(), end, &r.cfg)
	if len(all) == 0 {
		return nil
	}
	aborted, err := r.log.AbortedTxns(all[0].from, all[len(all)-1].to)
	if err != nil {
		return err
	}
	r.txns = newTransactions(append([]segment.AbortedTxn(nil), aborted...))
	for _, g := range all {
		if err := r.cleanGroup(g, aborted); err != nil {
			return err
		}
	}
	return nil
}

// cleanGroup writes what stays of a group to a new segment and puts that in place.
func (r *run) cleanGroup(g group, aborted []segment.AbortedTxn) error {
	into, err := r.log.CreateCleaned(g.from)
	if err != nil {
		return err
	}
	changed := false
	r.out, r.markers = r.out[:0], map[int64]bool{}
	err = r.each(max(g.from, r.log.Start()), g.to, func(b record.Batch) error {
		kept, err := r.keep(b)
		if err != nil {
			return err
		}
		changed = changed || len(kept) != len(b) || &kept[0] != &b[0]
		r.out = append(r.out, kept...)
		if len(r.out) >= writeChunk {
			return r.write(into)
		}
		return nil
	})
	if err == nil {
		err = r.write(into)
	}
	if err == nil && !changed && len(g.bases) == 1 {
		r.result.BytesBefore += g.bytes
		r.result.BytesAfter += g.bytes
		return into.Remove()
	}
	if err == nil {
		err = r.complete(into, aborted)
	}
	if err != nil {
		return errors.Join(err, into.Remove())
	}
	if err := r.log.ReplaceSegments(g.bases, []*segment.Segment{into}); err != nil {
		return err
	}
	r.result.BytesBefore += g.bytes
	r.result.BytesAfter += into.Size()
	return nil
}

func (r *run) write(into *segment.Segment) error {
	if len(r.out) == 0 {
		return nil
	}
	if err := r.cleaner.throttle(r.ctx, len(r.out)); err != nil {
		return err
	}
	err := into.Append(r.out, r.cfg.IndexInterval)
	r.out = r.out[:0]
	return err
}

// complete writes the indexes of a new segment. Of the aborted transactions those stay whose markers do: a consumer, or the next run,
// that knew of one and met no marker would take the producer's next transaction for aborted.
func (r *run) complete(into *segment.Segment, aborted []segment.AbortedTxn) error {
	for _, a := range aborted {
		if r.markers[a.LastOffset] {
			if err := into.AppendAborted(a); err != nil {
				return err
			}
		}
	}
	return into.Seal()
}

// keep is what is left of a batch.
func (r *run) keep(b record.Batch) (record.Batch, error) {
	horizon, hasHorizon := b.DeleteHorizon()
	passed := hasHorizon && r.now >= horizon
	rule := record.Retention{KeepEmpty: r.lastOfProducer(b), Horizon: r.now + r.cfg.DeleteRetention.Milliseconds(), MaxExpansion: r.cleaner.o.MaxExpansion}
	switch {
	case b.IsControl():
		rule.EmptyTransaction = r.txns.marker(b)
		rule.Keep = func(*record.Record) bool { return !rule.EmptyTransaction || !passed }
	case r.txns.aborted(b):
		rule.Keep = func(*record.Record) bool { return false }
	default:
		rule.Keep = func(rec *record.Record) bool { return r.newest(rec) && (rec.Value != nil || !passed) }
	}
	out, left, err := r.filter.Rewrite(b, rule)
	if err != nil {
		return nil, err
	}
	switch {
	case left > 0 && b.IsControl():
		r.markers[b.LastOffset()] = true
	case left > 0:
		r.txns.kept(b)
	}
	r.result.RecordsIn += int64(b.NumRecords())
	r.result.RecordsOut += int64(left)
	return out, nil
}

// newest tells whether no later record of the same key is known.
func (r *run) newest(rec *record.Record) bool {
	if rec.Offset >= r.mapEnd {
		return true
	}
	if rec.Key == nil {
		return false // written before the topic was compacted: nothing can ever replace it
	}
	last, ok := r.keys.last(rec.Key)
	return !ok || rec.Offset >= last
}

// lastOfProducer tells whether producer state is read back from this batch.
func (r *run) lastOfProducer(b record.Batch) bool {
	if !b.HasProducerID() {
		return false
	}
	last, ok := r.last[b.ProducerID()]
	if !ok || last.Epoch != b.ProducerEpoch() {
		return false
	}
	if last.Offset < 0 { // it has only markers
		return b.IsControl()
	}
	return last.Offset == b.LastOffset()
}
