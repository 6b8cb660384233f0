package handler

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
)

// only is a registry with one row.
func only(key kmsg.Key, handle func(*call.Call)) *Registry {
	a := call.API{Key: key.Int16(), Max: 18, Handle: handle}
	r := &Registry{rows: []call.API{a}, byKey: make([]*call.API, key.Int16()+1)}
	r.byKey[key.Int16()] = &r.rows[0]
	return r
}

func fetchRequest() *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version = 12
	return req
}

// fileOf is a file in memory.
type fileOf struct{ *bytes.Reader }

func (fileOf) Fd() uintptr { return call.NoFd }

func TestDoGivesTheHandlersMessage(t *testing.T) {
	resp, err := newRegistry(t).Do(t.Context(), "User:alice", func() kmsg.Request {
		r := kmsg.NewPtrSASLHandshakeRequest()
		r.Version = 1
		return r
	}())
	require.NoError(t, err)
	require.IsType(t, &kmsg.SASLHandshakeResponse{}, resp)
}

func TestDoDecodesAPayloadThatLiesInFiles(t *testing.T) {
	want := kmsg.NewPtrFetchResponse()
	want.Version, want.SessionID = 12, 4711
	topic := kmsg.NewFetchResponseTopic()
	topic.Topic = "t"
	part := kmsg.NewFetchResponseTopicPartition()
	part.RecordBatches = []byte("batches")
	topic.Partitions = append(topic.Partitions, part)
	want.Topics = append(want.Topics, topic)
	body := want.AppendTo(nil)
	at := int64(bytes.Index(body, []byte("batches")))

	released := 0
	r := only(kmsg.Fetch, func(c *call.Call) {
		require.Equal(t, "User:alice", c.Peer.Principal)
		go c.Reply(call.Response{Payload: &call.Payload{
			Pieces: []call.Piece{
				{Bytes: body[:at]}, {File: fileOf{bytes.NewReader(append([]byte("xxx"), body...))}, Pos: 3 + at, Len: 7}, {Bytes: body[at+7:]},
			},
			Release: func() { released++ },
		}})
	})
	got, err := r.Do(t.Context(), "User:alice", fetchRequest())
	require.NoError(t, err)
	require.Equal(t, body, got.AppendTo(nil))
	require.Equal(t, 1, released)
}

func TestDoSaysWhyThereIsNoAnswer(t *testing.T) {
	r := only(kmsg.Fetch, func(c *call.Call) { c.Reply(call.Response{Close: true}) })
	_, err := r.Do(t.Context(), "User:alice", fetchRequest())
	require.ErrorIs(t, err, ErrClosed)

	r = only(kmsg.Fetch, func(c *call.Call) { c.Reply(call.Response{Nothing: true}) })
	resp, err := r.Do(t.Context(), "User:alice", fetchRequest())
	require.NoError(t, err)
	require.Nil(t, resp)

	short := &call.Payload{Pieces: []call.Piece{{File: fileOf{bytes.NewReader(nil)}, Len: 7}}}
	r = only(kmsg.Fetch, func(c *call.Call) { c.Reply(call.Response{Payload: short}) })
	_, err = r.Do(t.Context(), "User:alice", fetchRequest())
	require.ErrorIs(t, err, call.ErrShortFile)

	old := fetchRequest()
	old.Version = 99
	_, err = r.Do(t.Context(), "User:alice", old)
	require.ErrorIs(t, err, ErrNotServed)
	_, err = r.Do(t.Context(), "User:alice", kmsg.NewPtrMetadataRequest())
	require.ErrorIs(t, err, ErrNotServed)
}

func TestDoGivesUpAtTheEndOfItsContextAndFreesALateAnswer(t *testing.T) {
	var late *call.Call
	r := only(kmsg.Fetch, func(c *call.Call) { late = c })
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("caller gone")
	cancel(gone)
	_, err := r.Do(ctx, "User:alice", fetchRequest())
	require.ErrorIs(t, err, gone)
	released := 0
	late.Reply(call.Response{Payload: &call.Payload{Release: func() { released++ }}})
	require.Equal(t, 1, released)
}
