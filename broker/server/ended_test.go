package server

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whoever works for a call sees its end, for whatever reason, as the cancellation that it is, and not as an error nobody knows.
func TestTheEndOfAConnectionIsACancellation(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errStopping)
	require.ErrorIs(t, context.Cause(ctx), context.Canceled)
	require.ErrorIs(t, context.Cause(ctx), errStopping)
	require.False(t, errors.Is(context.Cause(ctx), errPeerGone))
}
