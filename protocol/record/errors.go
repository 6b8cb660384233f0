package record

import "errors"

// What callers branch on. Each is returned wrapped with facts, those of Validate and Single inside a *RejectedError.
var (
	// ErrShort: the bytes end before the batch does; more of them may complete it.
	ErrShort = errors.New("record batch is cut short")
	// ErrCorrupt: not a batch of this format, or its checksum does not match. Kafka's CORRUPT_MESSAGE (2).
	ErrCorrupt = errors.New("record batch is corrupt")
	// ErrInvalidRecord: an intact batch that says what no producer may say. Kafka's INVALID_RECORD (87).
	ErrInvalidRecord = errors.New("invalid record batch")
	// ErrInvalidTimestamp: a record's time is outside what the topic allows. Kafka's INVALID_TIMESTAMP (32).
	ErrInvalidTimestamp = errors.New("invalid record timestamp")
	// ErrTooLarge: more bytes than the topic's max.message.bytes. Kafka's MESSAGE_TOO_LARGE (10).
	ErrTooLarge = errors.New("record batch is too large")
	// ErrExpansion: decompresses to more than the limit. Kafka knows no such limit; MESSAGE_TOO_LARGE (10) makes clients
	// split the batch.
	ErrExpansion = errors.New("compressed records expand beyond the limit")
	// ErrUnknownCodec: the attributes name no known codec. Kafka answers UNKNOWN_SERVER_ERROR (-1).
	ErrUnknownCodec = errors.New("unknown compression codec")
	// ErrBrokenData: the records are not what their codec writes. Kafka answers UNKNOWN_SERVER_ERROR (-1).
	ErrBrokenData = errors.New("broken compressed records")
)

// RecordError is one record that had its batch refused.
type RecordError struct {
	Index   int32  // place in the batch, from 0: the answer's batch_index
	Message string // the answer's batch_index_error_message
}

// RejectedError is a produced batch that may not be appended. errors.Is tells its kind, which decides the error code.
type RejectedError struct {
	Kind   error // one of this package's errors
	Reason string
	// Records holds the records at fault, at most MaxRecordErrors of them; nil where the batch as a whole is at fault.
	// Kafka fills the answer's error_message only where there are some.
	Records []RecordError
}

// MaxRecordErrors bounds the records that a RejectedError lists.
const MaxRecordErrors = 1000

func (e *RejectedError) Error() string { return e.Kind.Error() + ": " + e.Reason }

func (e *RejectedError) Unwrap() error { return e.Kind }

func rejected(kind error, reason string) error { return &RejectedError{Kind: kind, Reason: reason} }

// kindOf is the kind of an error that the walk over records ended with.
func kindOf(err error) error {
	for _, kind := range []error{ErrBrokenData, ErrExpansion, ErrUnknownCodec, ErrTooLarge} {
		if errors.Is(err, kind) {
			return kind
		}
	}
	return ErrInvalidRecord
}
