package record

import (
	"encoding/binary"
	"fmt"
)

// ControlType is what a control record says, by its key.
type ControlType int16

// The control records that a partition of a topic may hold.
const (
	Abort  ControlType = 0
	Commit ControlType = 1
)

// Marker ends a transaction in one partition. Its record:
//
//	key    int16 version 0, int16 type
//	value  int16 version 0, int32 coordinator epoch
type Marker struct {
	Type             ControlType // Abort or Commit
	CoordinatorEpoch int32
}

// ParseControlType reads a control record's key; other types than those named here are returned as they are. ErrInvalidRecord
// for a short key or a negative version. A newer version is read as version 0, as Kafka does.
func ParseControlType(key []byte) (ControlType, error) {
	if len(key) < 4 {
		return 0, fmt.Errorf("%w: control key of %d bytes", ErrInvalidRecord, len(key))
	}
	if v := int16(binary.BigEndian.Uint16(key)); v < 0 {
		return 0, fmt.Errorf("%w: control key of version %d", ErrInvalidRecord, v)
	}
	return ControlType(binary.BigEndian.Uint16(key[2:])), nil
}

// ParseMarker reads the end of a transaction from a control record. ErrInvalidRecord if it is none.
func ParseMarker(r *Record) (Marker, error) {
	t, err := ParseControlType(r.Key)
	if err != nil {
		return Marker{}, err
	}
	if t != Abort && t != Commit {
		return Marker{}, fmt.Errorf("%w: control record of type %d ends no transaction", ErrInvalidRecord, t)
	}
	if len(r.Value) < 6 || r.Value[0]&0x80 != 0 {
		return Marker{}, fmt.Errorf("%w: transaction marker of %d bytes", ErrInvalidRecord, len(r.Value))
	}
	return Marker{Type: t, CoordinatorEpoch: int32(binary.BigEndian.Uint32(r.Value[2:]))}, nil
}

// Marker reads the marker that a control batch holds. Errors as of Reader, ErrInvalidRecord if it holds none.
func (b Batch) Marker() (Marker, error) {
	if !b.IsControl() {
		return Marker{}, fmt.Errorf("%w: not a control batch", ErrInvalidRecord)
	}
	r, err := b.Records(0)
	if err != nil {
		return Marker{}, err
	}
	defer r.Close()
	rec, ok, err := r.Next()
	if err != nil {
		return Marker{}, err
	}
	if !ok {
		return Marker{}, fmt.Errorf("%w: control batch without a record", ErrInvalidRecord)
	}
	return ParseMarker(&rec)
}

// MarkerBatch is a batch that ends a producer's transaction, to be appended as it is: a control batch without a sequence.
// Timestamp in milliseconds.
func MarkerBatch(producerID int64, epoch int16, m Marker, timestamp int64) Batch {
	var key [4]byte
	var value [6]byte
	binary.BigEndian.PutUint16(key[2:], uint16(m.Type))
	binary.BigEndian.PutUint32(value[2:], uint32(m.CoordinatorEpoch))
	var w Builder
	w.Reset(Spec{
		Producer:      &Producer{ID: producerID, Epoch: epoch, Sequence: NoSequence},
		Transactional: true, Control: true,
	})
	w.Append(timestamp, key[:], value[:])
	b, _ := w.Build() // without a codec and this small it cannot fail
	return b
}
