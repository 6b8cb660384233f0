package rest

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/dmsext/queue"
)

// TestAnExchangeKeepsNothingOfItsRequest: bodies with a list that a shorter one takes the place of leave the exchange as
// clean as others do, up to the capacity of what it keeps.
func TestAnExchangeKeepsNothingOfItsRequest(t *testing.T) {
	s, err := New(Options{Queues: newFake()})
	require.NoError(t, err)
	x := &exchange{server: s}
	x.in = []byte(`{"messages":[{"body":"one","tags":["a"]},{"body":"two"},{"body":"three"}],"messages":[{"body":"last"}]}`)
	m := sending{messages: x.messages[:0]}
	require.NoError(t, m.read(x.in))
	x.messages = m.messages
	require.Len(t, x.messages, 1)
	require.Equal(t, `"two"`, string(x.messages[:2][1].Body), "the first list lies beyond the length")

	x.in = []byte(`{"message":[{"handler":"one"},{"handler":"two"},{"handler":"three"}],"message":[{"handler":"last"}]}`)
	a := settling{acks: x.acks[:0]}
	require.NoError(t, a.read(x.in))
	x.acks = a.acks
	require.Len(t, x.acks, 1)

	messages, acks := x.messages[:cap(x.messages)], x.acks[:cap(x.acks)]
	x.w, x.r, x.project = httptest.NewRecorder(), httptest.NewRequest("POST", "/", strings.NewReader("")), "p"
	x.release()
	require.Equal(t, make([]queue.Message, len(messages)), messages)
	require.Equal(t, make([]queue.Ack, len(acks)), acks)
	require.Nil(t, x.w)
	require.Nil(t, x.r)
	require.Empty(t, x.project)
}
