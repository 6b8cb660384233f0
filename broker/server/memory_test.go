package server

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/broker/call"
)

// A request is counted with what handling it takes.
func TestWhatHandlingTakesIsCounted(t *testing.T) {
	q := &request{api: &route{}}
	require.EqualValues(t, 7, q.memory(7))
	q.api.API = call.API{Cost: func(decoded int64) int64 { return 10 * decoded }}
	require.EqualValues(t, 77, q.memory(7))
}
