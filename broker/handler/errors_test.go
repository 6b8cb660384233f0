package handler

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/coordinator/config"
	"github.com/tidemark-mq/tidemark/protocol/record"
)

func TestEachErrorHasItsCodeAndItsWords(t *testing.T) {
	for _, c := range []struct {
		err  error
		code string
		text string
	}{
		{nil, "", "<null>"},
		{kerr.UnknownTopicID, "UNKNOWN_TOPIC_ID", "<null>"},
		{refuse(kerr.InvalidRequest, "because %d", 1), "INVALID_REQUEST", "because 1"},
		{&cluster.Error{Kind: cluster.ErrTopicExists, Message: "it is there"}, "TOPIC_ALREADY_EXISTS", "it is there"},
		{&record.RejectedError{Kind: record.ErrInvalidRecord, Reason: "no key"}, "INVALID_RECORD", "<null>"},
		{fmt.Errorf("append: %w", record.ErrCorrupt), "CORRUPT_MESSAGE", "<null>"},
		{fmt.Errorf("%w: %w", replica.ErrOffline, record.ErrCorrupt), "KAFKA_STORAGE_ERROR", "<null>"},
		{fmt.Errorf("%w: %w", replica.ErrLogOffline, record.ErrCorrupt), "KAFKA_STORAGE_ERROR", "<null>"},
		{context.DeadlineExceeded, "REQUEST_TIMED_OUT", "<null>"},
		{fmt.Errorf("etcd: %w", cluster.ErrUnavailable), "REQUEST_TIMED_OUT", "<null>"},
		{fmt.Errorf("%w: disk gone", cluster.ErrEtcdFailed), "REQUEST_TIMED_OUT", "<null>"},
		{fmt.Errorf("create: %w", cluster.ErrClosed), "NOT_CONTROLLER", "<null>"},
		{cluster.ErrFenced, "NOT_CONTROLLER", "<null>"},
		{fmt.Errorf("%w: x", config.ErrInvalid), "INVALID_CONFIG", config.ErrInvalid.Error() + ": x"},
	} {
		seen, logs := observer.New(zap.DebugLevel)
		h := handlers{Deps: Deps{Log: zap.New(seen)}}
		require.Equal(t, c.code, named(h.code(c.err, "test")), "%v", c.err)
		require.Equal(t, c.text, text(reasonOf(c.err)), "%v", c.err)
		require.Zero(t, logs.Len())
	}
	seen, logs := observer.New(zap.DebugLevel)
	h := handlers{Deps: Deps{Log: zap.New(seen)}}
	require.Equal(t, "UNKNOWN_SERVER_ERROR", named(h.code(errors.New("secret detail"), "test")))
	require.Nil(t, reasonOf(errors.New("secret detail")), "what is not for clients stays in the log")
	require.Equal(t, 1, logs.Len())
}
