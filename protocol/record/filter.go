package record

// Retention is what a Filter keeps of a batch.
type Retention struct {
	Keep func(*Record) bool // asked once for each record, in order
	// KeepEmpty: a batch whose records all go leaves its header, because producer state or the log's end needs it.
	KeepEmpty bool
	// Horizon is the delete horizon, in milliseconds, of a batch that comes to have one here: it keeps a tombstone, or
	// EmptyTransaction, and has none yet (KIP-534).
	Horizon int64
	// EmptyTransaction: the batch is the marker of a transaction none of whose records is left.
	EmptyTransaction bool
	MaxExpansion     int64 // as the limit of Records
}

// Filter rewrites batches for the cleaner, one after another in the same memory. It is not safe for concurrent use.
type Filter struct {
	w    Builder
	kept []bool
	rec  Record // here, so that it does not escape to the heap for each call of Keep
}

// Rewrite returns what is left of b and the number of its records: b itself where nothing changes, nil where nothing is left,
// else a new batch that is good until the next call. Base offset, last offset delta, producer and epoch are b's, so that a
// producer's state can be rebuilt from it; the base timestamp is that of the first record left, or the delete horizon. The
// codec is b's, at its default level. An empty batch has no codec, no horizon and b's max timestamp. Errors as of Reader; b is
// never changed.
func (f *Filter) Rewrite(b Batch, r Retention) (out Batch, left int, err error) {
	left, tombstones, err := f.ask(b, r)
	if err != nil {
		return nil, 0, err
	}
	_, hasHorizon := b.DeleteHorizon()
	newHorizon := (tombstones || r.EmptyTransaction) && !hasHorizon
	switch {
	case left == 0 && r.KeepEmpty:
		return f.empty(b), 0, nil
	case left == 0:
		return nil, 0, nil
	case left == len(f.kept) && !newHorizon:
		return b, left, nil
	}
	spec := specOf(b)
	if newHorizon {
		spec.HasDeleteHorizon, spec.DeleteHorizon = true, r.Horizon
	}
	out, err = f.copyKept(b, spec, r.MaxExpansion)
	return out, left, err
}

// ask notes in f.kept which records stay.
func (f *Filter) ask(b Batch, r Retention) (left int, tombstones bool, err error) {
	f.kept = f.kept[:0]
	reader, err := b.Records(r.MaxExpansion)
	if err != nil {
		return 0, false, err
	}
	defer reader.Close()
	for {
		var ok bool
		if f.rec, ok, err = reader.Next(); !ok {
			return left, tombstones, err
		}
		keep := r.Keep(&f.rec)
		f.kept = append(f.kept, keep)
		if keep {
			left++
			tombstones = tombstones || f.rec.Value == nil
		}
	}
}

// copyKept builds the smaller batch in a second pass, which costs less than to hold the records.
func (f *Filter) copyKept(b Batch, spec Spec, limit int64) (Batch, error) {
	f.w.Reset(spec)
	reader, err := b.Records(limit)
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	for _, keep := range f.kept {
		rec, _, err := reader.Next()
		if err != nil {
			return nil, err
		}
		if keep {
			f.w.AppendRecord(&rec, int32(rec.Offset-b.BaseOffset()))
		}
	}
	return f.w.build(b.LastOffsetDelta())
}

func (f *Filter) empty(b Batch) Batch {
	spec := specOf(b)
	spec.Codec, spec.HasDeleteHorizon = None, false
	f.w.Reset(spec)
	f.w.start(NoTimestamp)
	return putHeader(f.w.buf, &spec, b.LastOffsetDelta(), NoTimestamp, b.MaxTimestamp(), 0)
}
