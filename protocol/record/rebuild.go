package record

import (
	"bytes"
	"sync"
)

var builders = sync.Pool{New: func() any { return new(Builder) }}

// rebuild replaces info's batch by one with the topic's codec and offsets that count up from 0, as Kafka stores it. The
// batch's records have been checked.
func rebuild(info *Info, r *Rules) error {
	b := info.Batch
	w := builders.Get().(*Builder)
	defer builders.Put(w)
	spec := specOf(b)
	spec.AppendTime, spec.AppendTimestamp = r.AppendTime, r.Now
	spec.Control, spec.DeleteHorizon, spec.HasDeleteHorizon = false, 0, false
	spec.Codec = r.Compression.target(b.Codec())
	if r.Compression.Force {
		spec.Level = r.Compression.Level
	}
	w.Reset(spec)
	reader, err := b.Records(r.MaxExpansion)
	if err != nil {
		return &RejectedError{Kind: kindOf(err), Reason: err.Error()}
	}
	defer reader.Close()
	for {
		rec, ok, err := reader.Next()
		if err != nil {
			return &RejectedError{Kind: kindOf(err), Reason: err.Error()}
		}
		if !ok {
			break
		}
		w.AppendRecord(&rec, w.nextDelta())
	}
	built, err := w.Build()
	if err != nil {
		return &RejectedError{Kind: kindOf(err), Reason: err.Error()}
	}
	if err := checkSize(len(built), r); err != nil {
		return err
	}
	info.Batch, info.Rebuilt, info.MaxTimestamp = bytes.Clone(built), true, built.MaxTimestamp()
	return nil
}
