package record

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Producer is the idempotent producer that a batch names.
type Producer struct {
	ID       int64
	Epoch    int16
	Sequence int32 // of the first record
}

// Spec is what a batch says beside its records. The zero value is a plain batch without compression, whose offsets and epoch
// are to be stamped.
type Spec struct {
	BaseOffset    int64
	LeaderEpoch   int32
	Codec         Codec
	Level         int       // as CheckLevel takes it; 0 is the codec's default
	Producer      *Producer // nil for none
	Transactional bool
	Control       bool
	// AppendTime: the records' time is AppendTimestamp, whatever they say.
	AppendTime      bool
	AppendTimestamp int64 // milliseconds
	// HasDeleteHorizon: from DeleteHorizon on, in milliseconds, tombstones may be dropped. It becomes the base timestamp.
	HasDeleteHorizon bool
	DeleteHorizon    int64
}

// specOf is the Spec that rebuilds b.
func specOf(b Batch) Spec {
	s := Spec{
		BaseOffset: b.BaseOffset(), LeaderEpoch: b.LeaderEpoch(), Codec: b.Codec(),
		Producer:      &Producer{ID: b.ProducerID(), Epoch: b.ProducerEpoch(), Sequence: b.BaseSequence()},
		Transactional: b.IsTransactional(), Control: b.IsControl(),
		AppendTime: b.IsAppendTime(), AppendTimestamp: b.MaxTimestamp(),
	}
	s.DeleteHorizon, s.HasDeleteHorizon = b.DeleteHorizon()
	return s
}

// Header is a record header to append; a nil Value is a null one.
type Header struct {
	Name  string
	Value []byte
}

// Builder makes batches, one after another in the same memory. Its zero value builds a plain batch. It is not safe for
// concurrent use.
type Builder struct {
	spec         Spec
	buf          []byte // room for the header, then the records
	out          []byte // the batch, where its records are compressed
	count        int32
	lastDelta    int32
	baseTime     int64
	maxTimestamp int64
}

// Reset begins a new batch. What Build returned before is overwritten.
func (w *Builder) Reset(s Spec) {
	if cap(w.buf) > keptBuffer {
		w.buf = nil
	}
	if cap(w.out) > keptBuffer {
		w.out = nil
	}
	w.spec, w.buf = s, w.buf[:0]
	w.count, w.lastDelta, w.baseTime, w.maxTimestamp = 0, -1, 0, NoTimestamp
}

// start makes room for the header, also in a Builder that was never reset.
func (w *Builder) start(timestamp int64) {
	if len(w.buf) == 0 {
		w.buf = append(w.buf, make([]byte, HeaderSize)...)
		w.lastDelta, w.maxTimestamp = -1, NoTimestamp
	}
	if w.baseTime = timestamp; w.spec.HasDeleteHorizon {
		w.baseTime = w.spec.DeleteHorizon
	}
}

// Append adds a record after those before it. Timestamp in milliseconds; a nil key or value is a null one.
func (w *Builder) Append(timestamp int64, key, value []byte, headers ...Header) {
	size := varintSize(int64(len(headers)))
	for _, h := range headers {
		size += varintSize(int64(len(h.Name))) + len(h.Name) + bytesSize(h.Value)
	}
	w.begin(timestamp, w.nextDelta(), key, value, size)
	w.buf = appendVarint(w.buf, int64(len(headers)))
	for _, h := range headers {
		w.buf = append(appendVarint(w.buf, int64(len(h.Name))), h.Name...)
		w.buf = appendBytes(w.buf, h.Value)
	}
}

// AppendRecord adds a copy of r at an offset delta of its own; r's offset is not looked at.
func (w *Builder) AppendRecord(r *Record, offsetDelta int32) {
	w.begin(r.Timestamp, offsetDelta, r.Key, r.Value, varintSize(int64(r.numHeaders))+len(r.headers))
	w.buf = append(appendVarint(w.buf, int64(r.numHeaders)), r.headers...)
}

// begin adds a record up to its headers, which will take tail bytes.
func (w *Builder) begin(timestamp int64, offsetDelta int32, key, value []byte, tail int) {
	if w.count == 0 {
		w.start(timestamp)
	}
	timeDelta := timestamp - w.baseTime
	size := 1 + varintSize(timeDelta) + varintSize(int64(offsetDelta)) + bytesSize(key) + bytesSize(value) + tail
	p := append(appendVarint(w.buf, int64(size)), 0)
	p = appendVarint(appendVarint(p, timeDelta), int64(offsetDelta))
	w.buf = appendBytes(appendBytes(p, key), value)
	w.count++
	w.lastDelta = offsetDelta
	w.maxTimestamp = max(w.maxTimestamp, timestamp)
}

func (w *Builder) nextDelta() int32 {
	if w.count == 0 {
		return 0
	}
	return w.lastDelta + 1
}

// Len is the number of records, Size what the batch would take without compression.
func (w *Builder) Len() int { return int(w.count) }

// Size is the bytes of the batch so far, without compression.
func (w *Builder) Size() int { return max(len(w.buf), HeaderSize) }

// Build ends the batch; it is good until Reset. ErrTooLarge if its length field cannot hold it, or the codec's error. A batch
// without records is one that holds no offset at all: last offset delta -1.
func (w *Builder) Build() (Batch, error) {
	last := w.lastDelta
	if w.count == 0 {
		last = -1
	}
	return w.build(last)
}

func (w *Builder) build(lastDelta int32) (Batch, error) {
	if w.count == 0 {
		w.start(NoTimestamp)
	}
	b := w.buf
	if w.spec.Codec != None {
		var err error
		w.out = append(w.out[:0], w.buf[:HeaderSize]...)
		if w.out, err = Compress(w.out, w.spec.Codec, w.spec.Level, w.buf[HeaderSize:]); err != nil {
			return nil, fmt.Errorf("building a batch: %w", err)
		}
		b = w.out
	}
	if len(b) > math.MaxInt32 {
		return nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(b))
	}
	most := w.maxTimestamp
	if w.spec.AppendTime {
		most = w.spec.AppendTimestamp
	}
	return putHeader(b, &w.spec, lastDelta, w.baseTime, most, w.count), nil
}

// putHeader fills in the header of a batch whose records are in place.
func putHeader(b []byte, s *Spec, lastDelta int32, baseTime, maxTime int64, count int32) Batch {
	p := Producer{ID: NoProducerID, Epoch: -1, Sequence: NoSequence}
	if s.Producer != nil {
		p = *s.Producer
	}
	binary.BigEndian.PutUint64(b, uint64(s.BaseOffset))
	binary.BigEndian.PutUint32(b[lengthAt:], uint32(len(b)-lengthEnd))
	binary.BigEndian.PutUint32(b[leaderEpochAt:], uint32(s.LeaderEpoch))
	b[magicAt] = magicV2
	binary.BigEndian.PutUint16(b[attributesAt:], s.attributes())
	binary.BigEndian.PutUint32(b[lastDeltaAt:], uint32(lastDelta))
	binary.BigEndian.PutUint64(b[baseTimestampAt:], uint64(baseTime))
	binary.BigEndian.PutUint64(b[maxTimestampAt:], uint64(maxTime))
	binary.BigEndian.PutUint64(b[producerIDAt:], uint64(p.ID))
	binary.BigEndian.PutUint16(b[producerEpochAt:], uint16(p.Epoch))
	binary.BigEndian.PutUint32(b[baseSequenceAt:], uint32(p.Sequence))
	binary.BigEndian.PutUint32(b[countAt:], uint32(count))
	Batch(b).putCRC()
	return b
}

func (s *Spec) attributes() uint16 {
	a := uint16(s.Codec)
	if s.AppendTime {
		a |= appendTimeBit
	}
	if s.Transactional {
		a |= transactionalBit
	}
	if s.Control {
		a |= controlBit
	}
	if s.HasDeleteHorizon {
		a |= deleteHorizonBit
	}
	return a
}

func bytesSize(p []byte) int {
	if p == nil {
		return 1
	}
	return varintSize(int64(len(p))) + len(p)
}

func appendBytes(dst, p []byte) []byte {
	if p == nil {
		return append(dst, 1) // -1
	}
	return append(appendVarint(dst, int64(len(p))), p...)
}
