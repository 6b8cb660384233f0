package record

import (
	"fmt"
	"iter"
)

// Record is one record of a batch. Its bytes belong to the Reader or Builder they came from and are good until the next call.
type Record struct {
	Offset     int64
	Timestamp  int64  // milliseconds, NoTimestamp for none; the append's in a batch of such times
	Key, Value []byte // nil for none, which is not the same as empty

	headers    []byte // encoded, without their number
	numHeaders int32
}

// NumHeaders is the number of headers.
func (r *Record) NumHeaders() int { return int(r.numHeaders) }

// Headers yields the headers' names and values in order; a value may be nil. They share the record's bytes.
func (r *Record) Headers() iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		p, i := r.headers, 0
		for range r.numHeaders {
			var name, value []byte
			name, i = headerBytes(p, i)
			value, i = headerBytes(p, i)
			if !yield(name, value) {
				return
			}
		}
	}
}

// headerBytes reads a name or value whose bounds have been checked.
func headerBytes(p []byte, i int) ([]byte, int) {
	u, i := uvarint32(p, i)
	n := int(zigzag32(u))
	if n < 0 {
		return nil, i
	}
	return p[i : i+n : i+n], i + n
}

// Reader goes over a batch's records. It decompresses as it goes and holds a window of them, or the largest record.
type Reader struct {
	b    Batch
	s    *stream
	l    layout
	left int32
	err  error
}

// Records begins with b's first record. limit bounds the bytes that may come out of decompression, 0 is ExpansionLimit. Errors
// are ErrUnknownCodec, ErrBrokenData, ErrInvalidRecord for a negative count; the checksum is not looked at. The Reader keeps
// hold of b and must be closed.
func (b Batch) Records(limit int64) (*Reader, error) {
	n := b.NumRecords()
	if n < 0 {
		return nil, fmt.Errorf("%w: %d records", ErrInvalidRecord, n)
	}
	r := &Reader{b: b, left: n}
	if n == 0 {
		return r, nil
	}
	var err error
	if r.s, err = openStream(b, limit); err != nil {
		return nil, err
	}
	return r, nil
}

// Next is the next record; false when there are no more. Errors are ErrInvalidRecord, ErrBrokenData and ErrExpansion, and
// final; bytes that are left after the last record are one. A record's bytes are good until the next call.
func (r *Reader) Next() (Record, bool, error) {
	body, ok, err := r.advance(true)
	if !ok {
		return Record{}, false, err
	}
	l := &r.l
	rec := Record{
		Offset:     r.b.BaseOffset() + int64(l.offsetDelta),
		Timestamp:  r.timestamp(),
		numHeaders: l.headers,
	}
	if l.keySize >= 0 {
		end := l.keyAt + int(l.keySize)
		rec.Key = body[l.keyAt:end:end]
	}
	if l.valueSize >= 0 {
		end := l.valueAt + int(l.valueSize)
		rec.Value = body[l.valueAt:end:end]
	}
	if l.headers > 0 {
		rec.headers = body[l.headersAt:]
	}
	return rec, true, nil
}

// NextTime is Next without the record: it passes over the next one and tells its offset and timestamp.
func (r *Reader) NextTime() (offset, timestamp int64, ok bool, err error) {
	if _, ok, err = r.advance(false); !ok {
		return 0, 0, false, err
	}
	return r.b.BaseOffset() + int64(r.l.offsetDelta), r.timestamp(), true, nil
}

func (r *Reader) timestamp() int64 {
	if r.b.IsAppendTime() {
		return r.b.MaxTimestamp()
	}
	return r.b.BaseTimestamp() + r.l.timestampDelta
}

func (r *Reader) advance(whole bool) ([]byte, bool, error) {
	switch {
	case r.err != nil || r.s == nil:
		return nil, false, r.err
	case r.left == 0:
		if err := r.s.atEnd(); err != nil {
			r.err = recordError(err)
		}
		return nil, false, r.err
	}
	r.left--
	body, err := r.s.next(&r.l, whole)
	if err != nil {
		r.err = recordError(err)
		return nil, false, r.err
	}
	return body, true, nil
}

// Close gives the Reader's buffers back. It may be called again, records may not be used after it.
func (r *Reader) Close() {
	if r.s != nil {
		r.s.close()
		r.s = nil
	}
}

// All yields b's records in their order, as a Reader does. limit as of Records; an error is one of Records' or of Next's, and the
// last.
func (b Batch) All(limit int64) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		r, err := b.Records(limit)
		if err != nil {
			yield(Record{}, err)
			return
		}
		defer r.Close()
		for {
			rec, ok, err := r.Next()
			if err == nil && !ok || !yield(rec, err) || err != nil {
				return
			}
		}
	}
}

// OffsetForTime is the first record, in the batch's order, whose timestamp is at least ts; false if there is none. limit and
// errors as of Records.
func (b Batch) OffsetForTime(ts, limit int64) (offset, timestamp int64, ok bool, err error) {
	r, err := b.Records(limit)
	if err != nil {
		return 0, 0, false, err
	}
	defer r.Close()
	for {
		offset, timestamp, ok, err = r.NextTime()
		if !ok || timestamp >= ts {
			return offset, timestamp, ok, err
		}
	}
}

// OffsetOfMaxTimestamp is the first record with the batch's max timestamp; false if there is none, as in an empty batch. limit
// and errors as of Records.
func (b Batch) OffsetOfMaxTimestamp(limit int64) (offset int64, ok bool, err error) {
	most := b.MaxTimestamp()
	r, err := b.Records(limit)
	if err != nil {
		return 0, false, err
	}
	defer r.Close()
	for {
		offset, timestamp, ok, err := r.NextTime()
		if !ok || timestamp == most {
			return offset, ok, err
		}
	}
}
