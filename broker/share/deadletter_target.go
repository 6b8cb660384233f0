package share

import (
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/protocol/private"
)

// destination is where dead letters go.
type destination struct {
	part    *replica.Partition // nil: nowhere
	nowhere string             // why
}

// deadLetterTopic is what a dead letter topic has of its own: the time it was written, so that it is kept for three days from then
// on, whatever the record says, and that share groups may write to it (KIP-1191).
var deadLetterTopic = map[string]string{
	"cleanup.policy":                      "delete",
	"message.timestamp.type":              "LogAppendTime",
	"errors.deadletterqueue.group.enable": "true",
}

// What the dead letter topics of queues have besides.
const (
	deadLetterRetention = "259200000" // ms: 72 h
	deadLetterSegment   = "3600000"   // ms
	deadLetterHeaders   = 64 << 10    // bytes that a copy may be larger than its source
)

// target finds, or makes, the topic and the partition that dead letters go to now. An error: not now, but later.
func (p *partition) target(s *settings) (destination, error) {
	image := p.e.o.Image()
	name := s.DeadLetterTopic
	if name == "" || name == p.part.Topic {
		return destination{nowhere: "the group has no dead letter topic"}, nil
	}
	if !private.IsQueueGroup(p.key.Group) && !p.deadLetterName(image, name) {
		return destination{nowhere: "its name is not one of dead letter topics"}, nil
	}
	t := image.Topic(name)
	if t == nil {
		spec, why := p.deadLetterSpec(image, name)
		if why != "" {
			return destination{nowhere: why}, nil
		}
		made, err := p.e.o.CreateTopic(p.e.ctx, spec)
		if err != nil && !errors.Is(err, cluster.ErrTopicExists) {
			return destination{}, fmt.Errorf("making the dead letter topic %s: %w", name, err)
		}
		if image = p.e.o.Image(); made == nil {
			if made = image.Topic(name); made == nil {
				return destination{}, fmt.Errorf("dead letter topic %s: %w", name, cluster.ErrUnknownTopic)
			}
		}
		t = made
	}
	if image.Config("topic", name)["errors.deadletterqueue.group.enable"] != "true" {
		return destination{nowhere: "the topic does not take dead letters"}, nil
	}
	// As in Kafka by the source's number; but while brokers do not speak to each other, one that is led here.
	for i := range t.Partitions {
		n := (int(p.key.Partition) + i) % len(t.Partitions)
		if t.Partitions[n].Leader == p.e.o.BrokerID {
			part, err := p.e.o.Replicas.Partition(t.ID, int32(n))
			return destination{part: part}, err
		}
	}
	return destination{}, fmt.Errorf("dead letter topic %s: %w", name, replica.ErrNotLeader)
}

// deadLetterSpec is the topic to be made, or why none is made.
func (p *partition) deadLetterSpec(image *cluster.Image, name string) (spec cluster.TopicSpec, why string) {
	spec = cluster.TopicSpec{Name: name, Configs: maps.Clone(deadLetterTopic)}
	source := image.TopicByID(p.key.Topic)
	if private.IsQueueGroup(p.key.Group) && source != nil {
		spec.Partitions, spec.ReplicationFactor = 1, int16(len(source.Partitions[0].Replicas))
		spec.Configs["retention.ms"], spec.Configs["segment.ms"] = deadLetterRetention, deadLetterSegment
		spec.Configs["max.message.bytes"] = strconv.Itoa(p.part.Settings().MaxMessageBytes + deadLetterHeaders)
		return spec, ""
	}
	l := replica.Layers(image, p.e.o.BrokerID, p.e.o.Start, "")
	if !l.BrokerBool("errors.deadletterqueue.auto.create.topics.enable") {
		return spec, "it does not exist"
	}
	spec.Partitions = int32(l.BrokerInt("num.partitions"))
	spec.ReplicationFactor = int16(max(1, min(l.BrokerInt("default.replication.factor"), int64(len(image.Brokers)))))
	return spec, ""
}

// deadLetterName tells whether a share group's dead letters may go to a topic of that name, there or not, as in Kafka.
func (p *partition) deadLetterName(image *cluster.Image, name string) bool {
	prefix := replica.Layers(image, p.e.o.BrokerID, p.e.o.Start, "").BrokerString("errors.deadletterqueue.topic.name.prefix")
	return strings.HasPrefix(name, prefix) && !strings.HasPrefix(name, "__")
}
