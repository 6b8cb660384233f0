package replica

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/protocol/record"
)

// What the disk answers must not reach clients as an unknown error: KAFKA_STORAGE_ERROR makes them try again.
func TestErrorsOfTheDiskAreOffline(t *testing.T) {
	require.NoError(t, storageError(nil))
	require.ErrorIs(t, storageError(fmt.Errorf("read 00000000000000000000.log: %w", syscall.EIO)), ErrOffline)
	for _, known := range []error{ErrOutsideLog, ErrLogOffline, ErrLogClosed, record.ErrCorrupt} {
		err := fmt.Errorf("read: %w", known)
		require.Equal(t, err, storageError(err))
	}
}
