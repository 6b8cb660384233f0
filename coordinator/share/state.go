package share

import (
	"fmt"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// Key names a share partition: a partition as one group reads it.
type Key struct {
	Group     string
	Topic     uuid.ID
	Partition int32
}

// String is the key as FindCoordinator v6 has it, and as it is hashed to a partition of __share_group_state.
func (k Key) String() string { return fmt.Sprintf("%s:%s:%d", k.Group, k.Topic, k.Partition) }

// State is what became of a record for a group, with the numbers of Kafka's state records.
type State int8

// The states. Acknowledged and Archived are final.
const (
	Available    State = 0
	Acquired     State = 1
	Acknowledged State = 2
	Archiving    State = 3 // on its way to the dead letters (KIP-1191)
	Archived     State = 4
)

// Final tells whether nothing can happen to such a record any more.
func (s State) Final() bool { return s == Acknowledged || s == Archived }

// Batch is a run of offsets with one state. What follows Deliveries is ours and rides in tagged fields of Kafka's record,
// absent where it is zero.
type Batch struct {
	First, Last int64
	State       State
	Deliveries  int16 // saturates at 32,767

	Failures int32  // deliveries answered as failed, or run out: what the failure limit counts
	Holder   string // Acquired: the member's id, or the lease of an HTTP retrieve
	// Until is, in ms since the epoch: of Acquired when the lease ends, of Available when it may be acquired again (its
	// back-off); 0: at once.
	Until  int64
	Intent *Intent // Archiving: the copy that is under way
}

// Intent is a dead-letter copy that was decided: the records of its batch go as one idempotent produce to a partition. It is
// repeated with the same sequence until it stands.
type Intent struct {
	Topic      uuid.ID
	Partition  int32
	ProducerID int64
	Epoch      int16
	Sequence   int32
	Cause      string // for the copy's headers
}

// Producer is the identity under which a share partition's dead letters are produced.
type Producer struct {
	ID       int64
	Epoch    int16
	Sequence int32 // of the next intent
	Topic    uuid.ID
}

// Counters count records since the group began with the partition.
type Counters struct {
	Accepted, Rejected, DeadLettered, Filtered, Skipped int64
}

// Add is the sum of both.
func (c Counters) Add(d Counters) Counters {
	return Counters{c.Accepted + d.Accepted, c.Rejected + d.Rejected, c.DeadLettered + d.DeadLettered, c.Filtered + d.Filtered, c.Skipped + d.Skipped}
}

// Stored is the state of a share partition as it is kept.
type Stored struct {
	None        bool // nothing is kept, not even an epoch
	StateEpoch  int32
	LeaderEpoch int32
	// Start is the first offset that is not settled; -1 while the group has no position. Batches, by offset, do not overlap and
	// do not lie below it; offsets above it without a batch are Available and were never delivered.
	Start            int64
	DeliveryComplete int32 // settled offsets at and above Start, -1 unknown (KIP-1226)
	Batches          []Batch
	Counters         Counters
	Producer         *Producer
}

// Write is a change of a share partition's state by the engine at its leader.
type Write struct {
	Key
	StateEpoch, LeaderEpoch int32
	// Start raises the start; -1, or one that is not above the start, leaves it. Beyond that the coordinator moves the start
	// over what is settled.
	Start int64
	// Batches replace what is kept of their offsets.
	Batches  []Batch
	Add      Counters  // to those kept
	Producer *Producer // in place of the one kept; nil leaves it
}
