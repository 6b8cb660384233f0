package handler

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/coordinator/config"
	"github.com/tidemark-mq/tidemark/coordinator/runtime"
	"github.com/tidemark-mq/tidemark/protocol/record"
)

// codes is the one mapping from the errors of the packages below to Kafka's codes. The first row that matches by errors.Is
// holds, so a special case stands above the general one it wraps. A package that gains an error gains its row here.
var codes = []struct {
	err  error
	code *kerr.Error
}{
	// What broke a partition's log may itself be an error that stands for a client's fault further below.
	{replica.ErrDiskFull, kerr.KafkaStorageError},
	{replica.ErrOffline, kerr.KafkaStorageError},
	{replica.ErrLogOffline, kerr.KafkaStorageError},

	{replica.ErrOutOfOrderSequence, kerr.OutOfOrderSequenceNumber},
	{replica.ErrInvalidProducerEpoch, kerr.InvalidProducerEpoch},
	{replica.ErrInvalidTxnState, kerr.InvalidTxnState},
	{replica.ErrCoordinatorFenced, kerr.TransactionCoordinatorFenced},
	{replica.ErrAboveSegment, kerr.RecordListTooLarge},
	{record.ErrTooLarge, kerr.MessageTooLarge},
	{record.ErrExpansion, kerr.MessageTooLarge},
	{record.ErrInvalidTimestamp, kerr.InvalidTimestamp},
	{record.ErrInvalidRecord, kerr.InvalidRecord},
	{record.ErrCorrupt, kerr.CorruptMessage},
	{record.ErrShort, kerr.CorruptMessage},
	{record.ErrUnknownCodec, kerr.UnknownServerError}, // as Kafka
	{record.ErrBrokenData, kerr.UnknownServerError},   // as Kafka

	{replica.ErrNotLeader, kerr.NotLeaderForPartition},
	{replica.ErrUnknown, kerr.UnknownTopicOrPartition},
	{replica.ErrStopped, kerr.NotLeaderForPartition},
	{replica.ErrBusy, kerr.RequestTimedOut},
	{replica.ErrNotEnough, kerr.NotEnoughReplicas},
	{replica.ErrFencedEpoch, kerr.FencedLeaderEpoch},
	{replica.ErrUnknownEpoch, kerr.UnknownLeaderEpoch},
	{replica.ErrOffsetOutOfRange, kerr.OffsetOutOfRange},
	{replica.ErrOutsideLog, kerr.OffsetOutOfRange},
	{replica.ErrPolicy, kerr.PolicyViolation},
	{replica.ErrLogClosed, kerr.NotLeaderForPartition},

	{cluster.ErrTopicExists, kerr.TopicAlreadyExists},
	{cluster.ErrUnknownTopic, kerr.UnknownTopicOrPartition},
	{cluster.ErrUnknownPartition, kerr.UnknownTopicOrPartition},
	{cluster.ErrInvalidTopicName, kerr.InvalidTopicException},
	{cluster.ErrTopicCollision, kerr.InvalidTopicException},
	{cluster.ErrInvalidRequest, kerr.InvalidRequest},
	{cluster.ErrInvalidPartitions, kerr.InvalidPartitions},
	{cluster.ErrReplicationFactor, kerr.InvalidReplicationFactor},
	{cluster.ErrInvalidAssignment, kerr.InvalidReplicaAssignment},
	{cluster.ErrTooManyPartitions, kerr.PolicyViolation},
	{cluster.ErrTooLarge, kerr.InvalidConfig},
	{cluster.ErrNotController, kerr.NotController},
	{cluster.ErrConflict, kerr.RequestTimedOut},    // others were faster again and again: clients try once more
	{cluster.ErrUnavailable, kerr.RequestTimedOut}, // nobody knows whether it happened, which is what this code says
	{cluster.ErrEtcdFailed, kerr.RequestTimedOut},  // likewise; the broker is about to stop
	// This broker stops, or is out for now: as Kafka's controllers answer what they can no longer finish. Clients ask another.
	{cluster.ErrFenced, kerr.NotController},
	{cluster.ErrClosed, kerr.NotController},

	{runtime.ErrNotCoordinator, kerr.NotCoordinator},
	{runtime.ErrLoading, kerr.CoordinatorLoadInProgress},
	{runtime.ErrTimedOut, kerr.RequestTimedOut},
	{runtime.ErrBusy, kerr.CoordinatorLoadInProgress},
	{runtime.ErrTooLarge, kerr.MessageTooLarge},
	{runtime.ErrRefused, kerr.CoordinatorNotAvailable},

	{config.ErrMalformed, kerr.InvalidRequest},
	{config.ErrInvalid, kerr.InvalidConfig},

	{context.DeadlineExceeded, kerr.RequestTimedOut},
	{context.Canceled, kerr.RequestTimedOut},
}

// refusal is what a handler itself finds wrong with a request, in words for whoever sent it.
type refusal struct {
	code   *kerr.Error
	reason string
}

func (r *refusal) Error() string { return r.reason }
func (r *refusal) Unwrap() error { return r.code }

func refuse(code *kerr.Error, format string, args ...any) error {
	return &refusal{code, fmt.Sprintf(format, args...)}
}

// codeOf is the Kafka error that stands for err, nil for nil. An error that is a *kerr.Error, or wraps one, stands for
// itself. Anything unknown becomes UNKNOWN_SERVER_ERROR; ok is false then, and the caller logs it.
func codeOf(err error) (code *kerr.Error, ok bool) {
	if err == nil {
		return nil, true
	}
	for i := range codes {
		if errors.Is(err, codes[i].err) {
			return codes[i].code, true
		}
	}
	var k *kerr.Error
	if errors.As(err, &k) {
		return k, true
	}
	return kerr.UnknownServerError, false
}

// code is what goes into an answer's error code for err: 0 for nil. An error the mapping does not know is logged here, the
// only place, with what the handler was doing.
func (h *handlers) code(err error, doing string, facts ...zap.Field) int16 {
	k, known := codeOf(err)
	if !known {
		h.Log.Error("request failed with an unexpected error", append(facts, zap.String("doing", doing), zap.Error(err))...)
	}
	if k == nil {
		return 0
	}
	return k.Code
}

// reasonOf is the text for an answer's error message: what a client can act on. It is nil for no error, for errors whose
// code says it all, and for everything that concerns only whoever runs the broker.
func reasonOf(err error) *string {
	var own *refusal
	var refused *cluster.Error
	switch {
	case errors.As(err, &own):
		return message(own.reason)
	case errors.As(err, &refused):
		return message(refused.Message)
	case errors.Is(err, config.ErrInvalid):
		return message(err.Error())
	}
	return nil
}

// message cuts a text to what a string of the protocol holds: a client's own words, which it quotes, may be that long already.
func message(text string) *string {
	if len(text) > math.MaxInt16 {
		text = strings.ToValidUTF8(text[:math.MaxInt16], "")
	}
	return &text
}
