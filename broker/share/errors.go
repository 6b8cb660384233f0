package share

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/broker/share/window"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/protocol/record"
)

// What becomes of a share partition while it is in use.
var (
	errStopped   = errors.New("share: the broker is stopping")                        // NOT_LEADER_OR_FOLLOWER
	errNotLeader = errors.New("share: this broker no longer leads the partition")     // NOT_LEADER_OR_FOLLOWER
	errDeleted   = errors.New("share: the partition's state was deleted")             // GROUP_ID_NOT_FOUND
	errForgotten = errors.New("share: the partition's state was altered or put away") // NOT_LEADER_OR_FOLLOWER: asked again, it is loaded anew
)

// codes is how errors become Kafka's codes; the first row that matches by errors.Is counts. Errors of coordinators are *kerr.Error
// and stand for themselves.
var codes = []struct {
	err  error
	code *kerr.Error
}{
	{window.ErrState, kerr.InvalidRecordState},
	{window.ErrRange, kerr.InvalidRequest},
	{errStopped, kerr.NotLeaderForPartition},
	{errNotLeader, kerr.NotLeaderForPartition},
	{errDeleted, kerr.GroupIDNotFound},
	{errForgotten, kerr.NotLeaderForPartition},
	{replica.ErrDiskFull, kerr.KafkaStorageError},
	{replica.ErrOffline, kerr.KafkaStorageError},
	{replica.ErrLogOffline, kerr.KafkaStorageError},
	{replica.ErrNotLeader, kerr.NotLeaderForPartition},
	{replica.ErrFencedEpoch, kerr.NotLeaderForPartition}, // of ours, not of the client's
	{replica.ErrUnknownEpoch, kerr.NotLeaderForPartition},
	{replica.ErrStopped, kerr.NotLeaderForPartition},
	{replica.ErrLogClosed, kerr.NotLeaderForPartition},
	{replica.ErrUnknown, kerr.UnknownTopicOrPartition},
	{replica.ErrOffsetOutOfRange, kerr.OffsetOutOfRange},
	{replica.ErrOutsideLog, kerr.OffsetOutOfRange},
	{record.ErrTooLarge, kerr.MessageTooLarge},
	{record.ErrExpansion, kerr.MessageTooLarge},
	{record.ErrCorrupt, kerr.CorruptMessage},
	{record.ErrShort, kerr.CorruptMessage},
	{record.ErrInvalidRecord, kerr.CorruptMessage},
	{record.ErrBrokenData, kerr.CorruptMessage},
	{record.ErrUnknownCodec, kerr.UnsupportedCompressionType},
	{cluster.ErrUnknownTopic, kerr.UnknownTopicOrPartition},
	{context.DeadlineExceeded, kerr.RequestTimedOut},
	{context.Canceled, kerr.RequestTimedOut},
}

// codeOf is the Kafka error that stands for err, nil for nil; false when that is a guess.
func codeOf(err error) (*kerr.Error, bool) {
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
		return shown(k), true
	}
	return kerr.UnknownServerError, false
}

// shown is what is told of an error between this broker and the share coordinator: the answers of a leader that was replaced.
func shown(k *kerr.Error) *kerr.Error {
	if k == kerr.FencedStateEpoch || k == kerr.FencedLeaderEpoch {
		return kerr.NotLeaderForPartition
	}
	return k
}

// plainCode is the Kafka error code for an error, with a message for people. An error that the mapping does not know is logged.
func (e *Engine) plainCode(err error, doing string) (code int16, message string) {
	k, known := codeOf(err)
	if k == nil {
		return 0, ""
	}
	if !known {
		e.o.Log.Error("a share partition failed with an unexpected error", zap.String("doing", doing), zap.Error(err))
		return k.Code, ""
	}
	return k.Code, err.Error()
}

// code is plainCode for share consumers, to whom Kafka says one thing of a coordinator that cannot be reached yet, is loading, or
// is elsewhere. Who fetches from what was deleted is to look again: clients know no other code for that.
func (e *Engine) code(err error, doing string) (code int16, message string) {
	code, message = e.plainCode(err, doing)
	if errors.Is(err, errDeleted) {
		code = kerr.NotLeaderForPartition.Code
	}
	if code == kerr.NotCoordinator.Code || code == kerr.CoordinatorLoadInProgress.Code {
		code = kerr.CoordinatorNotAvailable.Code
	}
	return code, message
}

// transient tells whether what failed is worth another try soon: a coordinator that is being loaded or elsewhere, a window that
// was dropped and can be loaded again.
func transient(err error) bool {
	for _, k := range []error{kerr.CoordinatorLoadInProgress, kerr.NotCoordinator, kerr.CoordinatorNotAvailable, kerr.RequestTimedOut, kerr.ConcurrentTransactions, errForgotten} {
		if errors.Is(err, k) {
			return true
		}
	}
	return false
}

// refused tells whether a write that failed certainly did not happen; of any other failure nobody knows.
func refused(err error) bool { return errors.Is(err, kerr.CoordinatorLoadInProgress) }

// unreached tells failures of the share coordinator that pass: it is elsewhere for now, or slow.
func unreached(err error) bool {
	return errors.Is(err, kerr.CoordinatorNotAvailable) || errors.Is(err, kerr.NotCoordinator) || errors.Is(err, kerr.RequestTimedOut)
}
