package log

import (
	"errors"
	"fmt"
)

// What callers branch on. Errors of the log wrap one of these, or of protocol/record, with the facts.
var (
	ErrInvalidRecord        = errors.New("log: invalid record")                  // INVALID_RECORD
	ErrTooLarge             = errors.New("log: batch above max.message.bytes")   // MESSAGE_TOO_LARGE
	ErrAboveSegment         = errors.New("log: batches above segment.bytes")     // RECORD_LIST_TOO_LARGE
	ErrOutOfOrderSequence   = errors.New("log: out of order sequence")           // OUT_OF_ORDER_SEQUENCE_NUMBER
	ErrInvalidProducerEpoch = errors.New("log: producer epoch is old")           // INVALID_PRODUCER_EPOCH
	ErrInvalidTxnState      = errors.New("log: not allowed in this transaction") // INVALID_TXN_STATE
	ErrCoordinatorFenced    = errors.New("log: coordinator epoch is old")        // TRANSACTION_COORDINATOR_FENCED
	ErrOffsetOutOfRange     = errors.New("log: offset out of range")             // OFFSET_OUT_OF_RANGE
	ErrUnexpectedOffset     = errors.New("log: appended offsets do not follow the log")
	ErrOffline              = errors.New("log: offline") // KAFKA_STORAGE_ERROR
	ErrClosed               = errors.New("log: closed")
	ErrWrongTopic           = errors.New("log: directory belongs to another topic id")
)

// Damage says where a log's bytes are not what was acknowledged. It is an error that wraps ErrOffline.
type Damage struct {
	File     string // path of the segment's log file
	Position int64  // byte in it
	Offset   int64  // record offset expected there
	Promised int64  // offset up to which records were acknowledged
	Reason   error
}

func (d *Damage) Error() string {
	return fmt.Sprintf("log: acknowledged records are damaged: %s at byte %d, offset %d, promised up to %d: %v",
		d.File, d.Position, d.Offset, d.Promised, d.Reason)
}

// Unwrap makes errors.Is(err, ErrOffline) true.
func (d *Damage) Unwrap() []error { return []error{ErrOffline, d.Reason} }
