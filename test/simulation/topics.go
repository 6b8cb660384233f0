package simulation

import (
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// partitions is how many partitions a topic has; none, if there is no such topic.
func partitions(t *cluster.Topic) int32 {
	if t == nil {
		return 0
	}
	return int32(len(t.Partitions))
}

// topics is the cluster's topics as share groups see them.
type topics struct{ l *Life }

func (t topics) Revision() int64 { return t.l.Cluster.Image().Revision }

func (t topics) Topic(name string) (uuid.ID, int32, bool) {
	topic := t.l.Cluster.Image().Topic(name)
	if topic == nil {
		return uuid.ID{}, 0, false
	}
	return topic.ID, partitions(topic), true
}

func (t topics) TopicByID(id uuid.ID) (string, int32, bool) {
	topic := t.l.Cluster.Image().TopicByID(id)
	if topic == nil {
		return "", 0, false
	}
	return topic.Name, partitions(topic), true
}

func (t topics) LogEnd(id uuid.ID, partition int32, done func(int64, error)) {
	p, err := t.l.Replicas.Partition(id, partition)
	if err != nil {
		done(-1, err)
		return
	}
	done(p.HighWatermark(), nil)
}
