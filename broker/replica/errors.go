package replica

import "errors"

// What callers branch on; errors of the log pass through as they are.
var (
	ErrUnknown          = errors.New("replica: no such partition")                         // UNKNOWN_TOPIC_OR_PARTITION
	ErrNotLeader        = errors.New("replica: this broker does not lead the partition")   // NOT_LEADER_OR_FOLLOWER
	ErrOffline          = errors.New("replica: the partition's log cannot be used")        // KAFKA_STORAGE_ERROR
	ErrDiskFull         = errors.New("replica: the disk reserve is reached")               // KAFKA_STORAGE_ERROR
	ErrNotEnough        = errors.New("replica: too few in-sync replicas")                  // NOT_ENOUGH_REPLICAS
	ErrFencedEpoch      = errors.New("replica: the leader epoch asked for is old")         // FENCED_LEADER_EPOCH
	ErrUnknownEpoch     = errors.New("replica: the leader epoch asked for is not known")   // UNKNOWN_LEADER_EPOCH
	ErrOffsetOutOfRange = errors.New("replica: offset outside the log")                    // OFFSET_OUT_OF_RANGE
	ErrPolicy           = errors.New("replica: the topic's cleanup policy does not allow") // POLICY_VIOLATION
	ErrStopped          = errors.New("replica: the broker is stopping")
	ErrBusy             = errors.New("replica: too many acknowledgements wait for the disk") // REQUEST_TIMED_OUT
)
