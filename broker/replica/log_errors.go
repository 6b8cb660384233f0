package replica

import (
	"errors"
	"fmt"

	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/storage/log"
)

// Errors of the log that reach callers of Append and of reads, under names of this package, so that callers need not know the
// log.
var (
	ErrOutOfOrderSequence   = log.ErrOutOfOrderSequence   // OUT_OF_ORDER_SEQUENCE_NUMBER
	ErrInvalidProducerEpoch = log.ErrInvalidProducerEpoch // INVALID_PRODUCER_EPOCH
	ErrInvalidTxnState      = log.ErrInvalidTxnState      // INVALID_TXN_STATE
	ErrCoordinatorFenced    = log.ErrCoordinatorFenced    // TRANSACTION_COORDINATOR_FENCED
	ErrAboveSegment         = log.ErrAboveSegment         // RECORD_LIST_TOO_LARGE
	ErrOutsideLog           = log.ErrOffsetOutOfRange     // OFFSET_OUT_OF_RANGE
	ErrLogOffline           = log.ErrOffline              // KAFKA_STORAGE_ERROR
	ErrLogClosed            = log.ErrClosed               // NOT_LEADER_OR_FOLLOWER: deleted, or the broker stops
)

// storageError makes an error of the log that callers cannot know, one of the disk, into ErrOffline.
func storageError(err error) error {
	for _, known := range []error{nil, ErrOutsideLog, ErrLogOffline, ErrLogClosed, record.ErrCorrupt} {
		if errors.Is(err, known) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", ErrOffline, err)
}
