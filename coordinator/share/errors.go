package share

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
)

// refusal is why an operation was not done: a code of the protocol, and Kafka's words for it.
type refusal struct {
	code    *kerr.Error
	message string
}

// Error implements error.
func (r *refusal) Error() string { return r.code.Message + ": " + r.message }

// Unwrap is the *kerr.Error.
func (r *refusal) Unwrap() error { return r.code }

var (
	errNegativePartition   = &refusal{kerr.InvalidRequest, "The partition id cannot be a negative number."}
	errNegativeLeaderEpoch = &refusal{kerr.InvalidRequest, "The leader epoch cannot be a negative number."}
	errNegativeStateEpoch  = &refusal{kerr.InvalidRequest, "The state epoch cannot be a negative number."}
	errWriteUninitialized  = &refusal{kerr.InvalidRequest, "Write operation on uninitialized share partition not allowed."}
	errReadUninitialized   = &refusal{kerr.InvalidRequest, "Read operation on uninitialized share partition not allowed."}
	errFencedState         = &refusal{kerr.FencedStateEpoch, "The coordinator rejected the request because the state epoch did not match."}
	errFencedLeader        = &refusal{kerr.FencedLeaderEpoch, "The leader epoch in the request is older than the epoch on the broker."}
	errUnknownPartition    = &refusal{kerr.UnknownTopicOrPartition, "This server does not host this topic-partition."}

	// Kafka takes such batches and groups as they come.
	errBadBatch  = &refusal{kerr.InvalidRequest, "A state batch must begin at an offset that exists and not end before it."}
	errLongGroup = &refusal{kerr.InvalidRequest, "The group id is too long."}
)

// ErrUninitialized is what Write answers where no state is kept: it was deleted. Nothing was written.
var ErrUninitialized error = errWriteUninitialized

// Words for errors of the runtime.
var (
	errNotCoordinator = &refusal{kerr.NotCoordinator, "This is not the correct coordinator."}
	errLoading        = &refusal{kerr.CoordinatorLoadInProgress, "The coordinator is loading and hence can't process requests."}
	errNotAvailable   = &refusal{kerr.CoordinatorNotAvailable, "The coordinator is not available."}
	errUnreadable     = &refusal{kerr.UnknownServerError, "The share partition's state cannot be read."}
	errTooLarge       = &refusal{kerr.UnknownServerError, "The share partition's state is larger than its topic admits."}
)

// refusalOf is what is said of any error: of one of the runtime or of its view, codes that make the caller look for the
// coordinator again, or wait a little and repeat; of a caller's refusal, what it says itself.
func refusalOf(err error) *refusal {
	var r *refusal
	var code *kerr.Error
	switch {
	case errors.As(err, &r):
		return r
	case errors.Is(err, runtime.ErrNotCoordinator), errors.Is(err, runtime.ErrNotLeader):
		return errNotCoordinator
	case errors.Is(err, runtime.ErrLoading), errors.Is(err, runtime.ErrBusy):
		return errLoading
	case errors.Is(err, runtime.ErrTooLarge):
		return errTooLarge
	case errors.Is(err, runtime.ErrTimedOut), errors.Is(err, runtime.ErrRefused):
		return errNotAvailable
	case errors.As(err, &code):
		return &refusal{code, err.Error()}
	}
	// The view cannot be read: its disk failed, and the broker is about to stop.
	return errNotCoordinator
}

// told is refusalOf as an error, nil for nil.
func told(err error) error {
	if err == nil {
		return nil
	}
	return refusalOf(err)
}
