package cluster

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// format is the version of the layout that this code writes and the newest it reads.
const format = 1

// errMalformed says that a stored value is not what its key promises. Such a key counts as absent: a hand-edited or foreign value must not
// stop a cluster.
var errMalformed = errors.New("malformed value")

type clusterRecord struct {
	ID     string `json:"id"`
	Format int    `json:"format"`
}

type brokerRecord struct {
	Incarnation uuid.ID    `json:"incarnation"`
	Directory   uuid.ID    `json:"directory,omitzero"`
	Rack        string     `json:"rack,omitempty"`
	Listeners   []Endpoint `json:"listeners"`
}

// Endpoint is where one listener of a broker is reached.
type Endpoint struct {
	Name     string `json:"name"`     // the listener's name, e.g. PLAINTEXT
	Protocol string `json:"protocol"` // the security protocol
	Host     string `json:"host"`     // as advertised
	Port     int32  `json:"port"`
}

type controllerRecord struct {
	Broker      int32   `json:"broker"`
	Incarnation uuid.ID `json:"incarnation"`
}

type topicRecord struct {
	ID         uuid.ID `json:"id"`
	Partitions int32   `json:"partitions"`
}

type partitionRecord struct {
	Leader         int32   `json:"leader"`
	LeaderEpoch    int32   `json:"leader_epoch"`
	PartitionEpoch int32   `json:"partition_epoch"`
	Replicas       []int32 `json:"replicas"`
	ISR            []int32 `json:"isr"`
}

type producerIDsRecord struct {
	Next int64 `json:"next"`
}

// encode makes a value. The records hold nothing that JSON cannot express.
func encode(record any) []byte {
	value, err := json.Marshal(record)
	if err != nil {
		panic(fmt.Sprintf("cluster: cannot encode %T: %v", record, err)) // broken invariant: our own record types
	}
	return value
}

func decode(value []byte, record any) error {
	if err := json.Unmarshal(value, record); err != nil {
		return fmt.Errorf("%w: %w", errMalformed, err)
	}
	return nil
}

func decodeTopic(value []byte) (topicRecord, error) {
	var r topicRecord
	if err := decode(value, &r); err != nil {
		return r, err
	}
	if r.ID.IsZero() || r.Partitions < 1 {
		return r, fmt.Errorf("%w: topic id %v with %d partitions", errMalformed, r.ID, r.Partitions)
	}
	return r, nil
}

func decodePartition(value []byte) (partitionRecord, error) {
	var r partitionRecord
	if err := decode(value, &r); err != nil {
		return r, err
	}
	if len(r.Replicas) == 0 || r.Leader < NoLeader || r.LeaderEpoch < 0 || r.PartitionEpoch < 0 {
		return r, fmt.Errorf("%w: partition with %d replicas, leader %d, epochs %d and %d", errMalformed,
			len(r.Replicas), r.Leader, r.LeaderEpoch, r.PartitionEpoch)
	}
	return r, nil
}

func decodeFeatures(value []byte) (map[string]int16, error) {
	var r map[string]int16
	err := decode(value, &r)
	return r, err
}

func decodeConfigs(value []byte) (map[string]string, error) {
	var r map[string]string
	err := decode(value, &r)
	return r, err
}

func (p *Partition) record() partitionRecord {
	return partitionRecord{Leader: p.Leader, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch, Replicas: p.Replicas, ISR: p.ISR}
}
