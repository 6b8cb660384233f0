package group

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
)

// codeOf is what a client is told of an error of the runtime or of its view: the codes make
// it look for the coordinator again, or wait a little and repeat.
func codeOf(err error) *kerr.Error {
	switch {
	case errors.Is(err, runtime.ErrNotCoordinator), errors.Is(err, runtime.ErrNotLeader):
		return kerr.NotCoordinator
	case errors.Is(err, runtime.ErrLoading), errors.Is(err, runtime.ErrBusy):
		return kerr.CoordinatorLoadInProgress
	case errors.Is(err, runtime.ErrTooLarge):
		return kerr.UnknownServerError
	case errors.Is(err, runtime.ErrTimedOut), errors.Is(err, runtime.ErrRefused):
		return kerr.CoordinatorNotAvailable
	}
	// The view cannot be read: its disk failed, and the broker is about to stop. Kafka answers this for failing disks as well.
	return kerr.NotCoordinator
}

// commitCodeOf is codeOf for committed offsets, which have a code for too much at once.
func commitCodeOf(err error) *kerr.Error {
	if errors.Is(err, runtime.ErrTooLarge) {
		return kerr.InvalidCommitOffsetSize
	}
	return codeOf(err)
}
