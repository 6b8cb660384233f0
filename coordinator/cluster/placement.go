package cluster

import (
	"encoding/binary"
	"slices"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// place chooses factor replicas for partitions first, first+1, ... of a topic: the first of each list leads. Brokers take turns as leaders and as
// followers, so that load is even, and replicas of a partition lie in different racks as far as there are racks. The topic's id, which is
// random, chooses where the turns begin. factor is at least 1 and at most the number of brokers.
func place(brokers []Broker, id uuid.ID, first, count, factor int) [][]int32 {
	ring := interleaveRacks(brokers)
	offset := int(binary.BigEndian.Uint32(id[:4]) % uint32(len(ring)))
	out := make([][]int32, count)
	for i := range out {
		out[i] = placeOne(ring, offset+first+i, (first+i)/len(ring), factor)
	}
	return out
}

// placeOne starts at a place of the ring. Each time the leaders went round, followers start one place further from their leader, so that
// the partitions of one leader do not all follow on the same broker.
func placeOne(ring []Broker, start, round, factor int) []int32 {
	n := len(ring)
	leader := ring[start%n]
	replicas := []int32{leader.ID}
	racks := []string{leader.Rack}
	for _, newRackOnly := range []bool{true, false} {
		for step := range n - 1 {
			if len(replicas) == factor {
				return replicas
			}
			b := ring[(start+1+(round+step)%(n-1))%n]
			if slices.Contains(replicas, b.ID) || newRackOnly && slices.Contains(racks, b.Rack) {
				continue
			}
			replicas = append(replicas, b.ID)
			racks = append(racks, b.Rack)
		}
	}
	return replicas
}

// interleaveRacks orders brokers so that neighbours lie in different racks, as far as possible.
func interleaveRacks(brokers []Broker) []Broker {
	byRack := map[string][]Broker{}
	var racks []string
	for _, b := range brokers {
		if byRack[b.Rack] == nil {
			racks = append(racks, b.Rack)
		}
		byRack[b.Rack] = append(byRack[b.Rack], b)
	}
	slices.Sort(racks)
	ring := make([]Broker, 0, len(brokers))
	for len(ring) < len(brokers) {
		for _, rack := range racks {
			if left := byRack[rack]; len(left) > 0 {
				ring = append(ring, left[0])
				byRack[rack] = left[1:]
			}
		}
	}
	return ring
}

// checkReplicas is Kafka's check of a list of replicas that a client chose. factor is how many the partitions before it have, 0 = none are.
func checkReplicas(im *Image, replicas []int32, factor int) error {
	if len(replicas) == 0 {
		return refuse(ErrInvalidAssignment, "The manual partition assignment includes an empty replica list.")
	}
	sorted := slices.Sorted(slices.Values(replicas))
	for i, id := range sorted {
		if im.Broker(id) == nil {
			return refuse(ErrInvalidAssignment, "The manual partition assignment includes broker %d, but no such broker is registered.", id)
		}
		if i > 0 && sorted[i-1] == id {
			return refuse(ErrInvalidAssignment, "The manual partition assignment includes the broker %d more than once.", id)
		}
	}
	if factor != 0 && len(replicas) != factor {
		return refuse(ErrInvalidAssignment, "The manual partition assignment includes a partition with %d replica(s), but this is not "+
			"consistent with previous partitions, which have %d replica(s).", len(replicas), factor)
	}
	return nil
}

// checkFactor refuses a replication factor that the registered brokers cannot give.
func checkFactor(im *Image, factor int) error {
	if factor > len(im.Brokers) {
		return refuse(ErrReplicationFactor, "Unable to replicate the partition %d time(s): The target replication factor of %d cannot be "+
			"reached because only %d broker(s) are registered or some brokers have all their log directories cordoned.",
			factor, factor, len(im.Brokers))
	}
	return nil
}

// newPartition is a partition as it begins: everybody is in sync, the first leads.
func newPartition(replicas []int32) partitionRecord {
	return partitionRecord{Leader: replicas[0], Replicas: replicas, ISR: replicas}
}
