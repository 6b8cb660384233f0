package cluster

import (
	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// TopicSpec is a topic to be made.
type TopicSpec struct {
	Name              string
	Partitions        int32        // how many; -1 together with Assignments
	ReplicationFactor int16        // replicas of each; -1 together with Assignments
	Assignments       []Assignment // replicas chosen by the client; empty = the controller places them
	Configs           map[string]string
	ValidateOnly      bool // check, and make nothing
}

// Assignment is the client's choice of replicas for one partition; the first is to lead.
type Assignment struct {
	Partition int32
	Replicas  []int32
}

// TopicResult answers one TopicSpec. With ValidateOnly the topic is what would have been made, without an id.
type TopicResult struct {
	Topic *Topic
	Err   error
}

// layout checks a spec by Kafka's rules, as far as they concern one topic alone, and places its replicas.
func (s *TopicSpec) layout(im *Image, id uuid.ID, limit int) ([][]int32, error) {
	if len(s.Assignments) > 0 {
		return s.assigned(im)
	}
	switch {
	case s.ReplicationFactor <= 0:
		return nil, refuse(ErrReplicationFactor, "Replication factor must be larger than 0, or -1 to use the default value.")
	case s.Partitions <= 0:
		return nil, refuse(ErrInvalidPartitions, "Number of partitions was set to an invalid non-positive value.")
	case int(s.Partitions) > limit:
		return nil, refuse(ErrTooManyPartitions, "A topic may have at most %d partitions.", limit)
	}
	if err := checkFactor(im, int(s.ReplicationFactor)); err != nil {
		return nil, err
	}
	return place(im.Brokers, id, 0, int(s.Partitions), int(s.ReplicationFactor)), nil
}

func (s *TopicSpec) assigned(im *Image) ([][]int32, error) {
	const counted = "A manual partition assignment was specified, but %s was not set to -1."
	switch {
	case s.ReplicationFactor != -1:
		return nil, refuse(ErrInvalidRequest, counted, "replication factor")
	case s.Partitions != -1:
		return nil, refuse(ErrInvalidRequest, counted, "numPartitions")
	}
	given := map[int32][]int32{}
	factor := 0
	for _, a := range s.Assignments {
		if _, twice := given[a.Partition]; twice {
			return nil, refuse(ErrInvalidAssignment, "Found multiple manual partition assignments for partition %d", a.Partition)
		}
		if err := checkReplicas(im, a.Replicas, factor); err != nil {
			return nil, err
		}
		given[a.Partition] = a.Replicas
		factor = len(a.Replicas)
	}
	out := make([][]int32, len(given))
	for n := range out {
		replicas, there := given[int32(n)]
		if !there {
			return nil, refuse(ErrInvalidAssignment, "partitions should be a consecutive 0-based integer sequence")
		}
		out[n] = replicas
	}
	return out, nil
}

// size is how many partitions the spec asks for, 0 when it is nonsense.
func (s *TopicSpec) size() int {
	if len(s.Assignments) > 0 {
		return len(s.Assignments)
	}
	return max(int(s.Partitions), 0)
}

// checkName refuses names that are malformed, taken, or too like another one.
func checkName(im *Image, name string) error {
	if err := ValidateTopicName(name); err != nil {
		return err
	}
	if name == metadataTopic {
		return refuse(ErrInvalidRequest, "Creation of internal topic %s is prohibited.", name)
	}
	if im.Topic(name) != nil {
		return errExists(name)
	}
	if other, collides := im.Collision(name); collides && foldable(name) {
		return errCollides(name, other)
	}
	return nil
}

func errExists(name string) error { return refuse(ErrTopicExists, "Topic '%s' already exists.", name) }

func errCollides(name, other string) error {
	return refuse(ErrTopicCollision, "Topic '%s' collides with existing topic: %s", name, other)
}
