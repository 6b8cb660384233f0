package queue

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"go.uber.org/zap"
)

// The codes of the DMS service that this package answers with (DMS reference, section 10.2).
const (
	CodeLabelName         = 10240004
	CodeProject           = 10240005
	CodeName              = 10240007
	CodeBody              = 10240009
	CodeDescription       = 10240010
	CodeQueueNameLength   = 10240011
	CodeGroupNameLength   = 10240012
	CodeDescriptionLength = 10240013
	CodeMaxMessages       = 10240014
	CodeQueueID           = 10240015
	CodeGroupID           = 10240016
	CodeQueueExists       = 10240017
	CodeGroupExists       = 10240018
	CodeTooManyGroups     = 10240019
	CodeQuota             = 10240020
	CodeTimeWait          = 10240021
	CodeMaxConsumeCount   = 10240022
	CodeRetention         = 10240027
	CodeRetentionMode     = 10240028
	CodeTagKeyLength      = 10240035
	CodeTagKey            = 10240036
	CodeTagValueLength    = 10240038
	CodeTagValue          = 10240039
	CodeTagLimit          = 10240042
	CodeTagOffset         = 10240043
	CodeTooManyTags       = 10240044
	CodeTagTwice          = 10240045
	CodeQueueNotFound     = 10240401
	CodeGroupNotFound     = 10240405
	CodeFlowControl       = 10240407
	CodeTagNotFound       = 10240426
	CodeStorage           = 10250002
	CodeFateUnknown       = 10250003
	CodeInternal          = 10250004
	CodeUnavailable       = 10250005
	CodeFields            = 10540001
	CodeHandleElsewhere   = 10540004
	CodeFormat            = 10540010
	CodeSize              = 10540011
	CodeQuery             = 10540014
	CodeConsume           = 10542204
	CodeNoConsumer        = 10542205
	CodeAckWait           = 10542206
	CodeHandle            = 10542209
)

func badf(code int, format string, args ...any) *Error {
	return &Error{Status: http.StatusBadRequest, Code: code, Message: fmt.Sprintf(format, args...)}
}

func missingf(code int, format string, args ...any) *Error {
	return &Error{Status: http.StatusNotFound, Code: code, Message: fmt.Sprintf(format, args...)}
}

func noQueue(id string) *Error { return missingf(CodeQueueNotFound, "There is no queue %s.", id) }
func noGroup(id string) *Error {
	return missingf(CodeGroupNotFound, "There is no consumer group %s.", id)
}

func noHandle() *Error {
	return badf(CodeHandle, "The handler does not exist: it is not one of this service, or its message is acknowledged already, or its time is over.")
}

// refusal is an error code that the broker answered.
type refusal struct {
	api     string
	code    int16
	message string
}

func (r *refusal) Error() string {
	if r.message != "" {
		return fmt.Sprintf("%s: %s: %s", r.api, kerr.TypedErrorForCode(r.code).Message, r.message)
	}
	return fmt.Sprintf("%s: %s", r.api, kerr.TypedErrorForCode(r.code).Message)
}

// refused is nil for code 0.
func refused(api string, code int16, message string) error {
	if code == 0 {
		return nil
	}
	return &refusal{api, code, message}
}

// isRefusal tells whether err is that answer of the broker.
func isRefusal(err error, k *kerr.Error) bool {
	var r *refusal
	return errors.As(err, &r) && r.code == k.Code
}

// passing are the answers that go away by themselves, most within moments of a start or a change of leader, and that say for
// certain that nothing was done.
var passing = map[int16]bool{
	kerr.CoordinatorLoadInProgress.Code: true, kerr.CoordinatorNotAvailable.Code: true, kerr.NotCoordinator.Code: true,
	kerr.NotLeaderForPartition.Code: true, kerr.LeaderNotAvailable.Code: true, kerr.FencedLeaderEpoch.Code: true, kerr.UnknownLeaderEpoch.Code: true,
	kerr.NotController.Code: true, kerr.BrokerNotAvailable.Code: true, kerr.ReplicaNotAvailable.Code: true, kerr.NotEnoughReplicas.Code: true,
}

// isPassing tells whether it is worth asking again.
func isPassing(err error) bool {
	var r *refusal
	return errors.As(err, &r) && passing[r.code]
}

// told turns whatever went wrong into what callers are told.
func (s *Service) told(err error) error {
	var known *Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return known
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	e := s.failure(err)
	if e.Status >= http.StatusInternalServerError {
		s.log.Warn("queue service", zap.Error(err), zap.Int("code", e.Code))
	}
	return e
}

// failure is the public form of a failure of the broker.
func (s *Service) failure(err error) *Error {
	internal := func(code int, message string) *Error {
		return &Error{Status: http.StatusInternalServerError, Code: code, Message: message}
	}
	var r *refusal
	if !errors.As(err, &r) {
		return &Error{Status: http.StatusServiceUnavailable, Code: CodeUnavailable, Message: "The service is not available.", RetryAfter: time.Second}
	}
	switch {
	case passing[r.code], r.code == kerr.UnknownTopicOrPartition.Code: // of a queue that is there (missing): it is opening
		return &Error{Status: http.StatusServiceUnavailable, Code: CodeUnavailable, Message: "The service is starting or moving; try again.", RetryAfter: time.Second}
	case r.code == kerr.ThrottlingQuotaExceeded.Code:
		return &Error{Status: http.StatusTooManyRequests, Code: CodeFlowControl, Message: "Too many requests; try again later.", RetryAfter: time.Second}
	case r.code == kerr.KafkaStorageError.Code:
		return internal(CodeStorage, "The storage refused the operation.")
	case r.code == kerr.RequestTimedOut.Code, r.code == kerr.NotEnoughReplicasAfterAppend.Code:
		return internal(CodeFateUnknown, "The operation was not confirmed in time; it may have taken effect.")
	}
	return internal(CodeInternal, "Internal error: "+kerr.TypedErrorForCode(r.code).Message+".")
}
