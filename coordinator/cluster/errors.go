package cluster

import (
	"errors"
	"fmt"
)

// What a client can cause. They reach callers inside an [*Error], whose Message is worded as Kafka words it.
var (
	ErrTopicExists       = errors.New("topic exists")
	ErrUnknownTopic      = errors.New("unknown topic")
	ErrInvalidTopicName  = errors.New("invalid topic name")
	ErrTopicCollision    = errors.New("topic name collides") // differs from an existing one only in '.' and '_'
	ErrInvalidRequest    = errors.New("invalid request")     // counts and an assignment together; a topic that may not be made
	ErrInvalidPartitions = errors.New("invalid partition count")
	ErrReplicationFactor = errors.New("invalid replication factor")
	ErrInvalidAssignment = errors.New("invalid replica assignment")
	ErrTooManyPartitions = errors.New("too many partitions") // of a request, a topic or the cluster; Kafka's POLICY_VIOLATION
	ErrTooLarge          = errors.New("value too large for the metadata store")
	ErrUnknownPartition  = errors.New("unknown partition")
	ErrStalePartition    = errors.New("partition changed meanwhile") // the proposal was made on an old revision
	ErrNoMoreProducerIDs = errors.New("producer ids exhausted")
	ErrConflict          = errors.New("changed by others too often") // a compare-and-swap lost again and again
)

// What the state of this broker or of etcd causes.
var (
	ErrNotController = errors.New("not the controller")
	ErrFenced        = errors.New("broker is fenced: its lease ran out")
	ErrUnavailable   = errors.New("metadata store unavailable") // a change may or may not have happened
	ErrClosed        = errors.New("cluster closed")
	ErrCompacted     = errors.New("revision compacted")
	ErrLeaseGone     = errors.New("lease gone")

	ErrBrokerIDInUse = errors.New("broker id in use by another broker")
	ErrWrongCluster  = errors.New("metadata of another cluster")
	ErrNewerFormat   = errors.New("metadata of a newer format")
	ErrLocked        = errors.New("metadata directory in use by another process")
	ErrEtcdFailed    = errors.New("embedded etcd failed")
)

// Error is a refusal that a client sees: Kind is one of the sentinels, Message the text as Kafka words it.
type Error struct {
	Kind    error
	Message string
}

func (e *Error) Error() string { return e.Message }
func (e *Error) Unwrap() error { return e.Kind }

func refuse(kind error, format string, args ...any) error {
	if len(args) == 0 {
		return &Error{Kind: kind, Message: format}
	}
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}
