package log

import (
	"errors"
	"fmt"
)

// What callers branch on. A batch that breaks the rules for its content is refused with protocol/record's *RejectedError as it
// is; the rest wraps one of these with the facts. Kafka's name of the error is behind each.
var (
	ErrOutOfOrderSequence   = errors.New("log: sequence number out of order")         // OUT_OF_ORDER_SEQUENCE_NUMBER
	ErrInvalidProducerEpoch = errors.New("log: producer epoch is old")                // INVALID_PRODUCER_EPOCH
	ErrInvalidTxnState      = errors.New("log: not allowed while in a transaction")   // INVALID_TXN_STATE
	ErrCoordinatorFenced    = errors.New("log: transaction coordinator epoch is old") // TRANSACTION_COORDINATOR_FENCED
	ErrAboveSegment         = errors.New("log: batch is larger than segment.bytes")   // RECORD_LIST_TOO_LARGE
	ErrOffsetOutOfRange     = errors.New("log: offset out of range")                  // OFFSET_OUT_OF_RANGE
	ErrStaleEpoch           = errors.New("log: leader epoch is older than the log's") // FENCED_LEADER_EPOCH
	ErrUnexpectedOffset     = errors.New("log: batches do not follow the log's end")
	ErrOffline              = errors.New("log: offline") // KAFKA_STORAGE_ERROR; damage, a failed sync, a failed write
	ErrClosed               = errors.New("log: closed")
	ErrWrongTopic           = errors.New("log: directory belongs to another topic id")
	ErrState                = errors.New("log: broken clean-stop state")
)

// Damage says where a log's bytes are not what was acknowledged. As an error it wraps ErrOffline.
type Damage struct {
	File     string // path of the log file, or of the directory where files are missing
	Position int64  // byte in it
	Offset   int64  // record offset expected there
	Promised int64  // offset up to which records were acknowledged or synced
	Reason   error
}

func (d *Damage) Error() string {
	return fmt.Sprintf("log: acknowledged records are damaged: %s at byte %d, offset %d, acknowledged up to %d: %v",
		d.File, d.Position, d.Offset, d.Promised, d.Reason)
}

// Unwrap makes errors.Is true for ErrOffline and for the reason.
func (d *Damage) Unwrap() []error { return []error{ErrOffline, d.Reason} }
