package handler

import (
	"context"
	"errors"
	"maps"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/broker/delay"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/protocol/private"
)

const (
	// autoCreateMost bounds the topics that one request makes by asking about them. Who asks about more asks again.
	autoCreateMost = 500
	// autoCreateTimeout is how long a request that only asks about topics is held up by making them.
	autoCreateTimeout = 5 * time.Second
)

// autoCreate makes topics that a client asked about and that were not there. It tells nobody whether it worked: the client
// was told that they are unknown, and asks again.
func (h *handlers) autoCreate(ctx context.Context, image *cluster.Image, names []string) {
	ctx, cancel := context.WithTimeout(ctx, autoCreateTimeout)
	defer cancel()
	var specs []cluster.TopicSpec
	for _, name := range names[:min(len(names), autoCreateMost)] {
		if !private.IsQueueTopic(name) { // a queue makes its own topics; an old client must not bring back a deleted one's
			specs = append(specs, h.autoSpec(image, name))
		}
	}
	for i, r := range h.Cluster.CreateTopics(ctx, specs) {
		if r.Err == nil || errors.Is(r.Err, cluster.ErrTopicExists) {
			continue
		}
		level := zap.WarnLevel
		if reasonOf(r.Err) != nil {
			level = zap.DebugLevel // the name's own fault, and clients ask for it again and again
		}
		h.Log.Log(level, "topic not created automatically", zap.String("topic", specs[i].Name), zap.Error(r.Err))
	}
}

// autoSpec is a topic as it is made when nobody says how: by the broker's defaults, and coordinators' topics as those need
// them.
func (h *handlers) autoSpec(image *cluster.Image, name string) cluster.TopicSpec {
	if spec, internal := h.internalSpec(image, name); internal {
		return spec
	}
	l := h.layers(image, "")
	return cluster.TopicSpec{
		Name:              name,
		Partitions:        int32(l.BrokerInt("num.partitions")),
		ReplicationFactor: int16(l.BrokerInt("default.replication.factor")),
	}
}

// internalTopic says which of the broker's settings shape a coordinator's topic, and what else Kafka gives it.
type internalTopic struct {
	partitions, factor, segment string // names of settings
	minISR                      string // the same; "" where the topic has none of its own
	configs                     map[string]string
	count                       int32 // of partitions, where no setting says
}

var internalTopics = map[string]internalTopic{
	"__consumer_offsets": {"offsets.topic.num.partitions", "offsets.topic.replication.factor", "offsets.topic.segment.bytes", "",
		map[string]string{"cleanup.policy": "compact", "compression.type": "producer"}, 0},
	// Ours: what is due later. A message of the queue service has half a MiB, and several are kept together.
	delay.Topic: {"", "offsets.topic.replication.factor", "offsets.topic.segment.bytes", "",
		map[string]string{"cleanup.policy": "compact", "compression.type": "producer", "max.message.bytes": "16777216"}, 16},
	"__transaction_state": {"transaction.state.log.num.partitions", "transaction.state.log.replication.factor",
		"transaction.state.log.segment.bytes", "transaction.state.log.min.isr",
		map[string]string{"cleanup.policy": "compact", "compression.type": "uncompressed", "unclean.leader.election.enable": "false"}, 0},
	"__share_group_state": {"share.coordinator.state.topic.num.partitions", "share.coordinator.state.topic.replication.factor",
		"share.coordinator.state.topic.segment.bytes", "share.coordinator.state.topic.min.isr",
		map[string]string{"cleanup.policy": "delete", "compression.type": "producer", "retention.ms": "-1"}, 0},
}

// internalSpec is the topic that a coordinator keeps its state in. Replication factor and least in-sync set are cut to the
// brokers there are, and to what a partition may have: a single broker has to be able to serve groups with the settings it starts with.
func (h *handlers) internalSpec(image *cluster.Image, name string) (cluster.TopicSpec, bool) {
	t, internal := internalTopics[name]
	if !internal {
		return cluster.TopicSpec{}, false
	}
	l := h.layers(image, "")
	factor := max(1, min(l.BrokerInt(t.factor), int64(len(image.Brokers)), cluster.MaxReplicas))
	configs := maps.Clone(t.configs)
	configs["segment.bytes"] = l.BrokerString(t.segment)
	if t.minISR != "" {
		configs["min.insync.replicas"] = strconv.FormatInt(min(l.BrokerInt(t.minISR), factor), 10)
	}
	partitions := t.count
	if t.partitions != "" {
		partitions = int32(l.BrokerInt(t.partitions))
	}
	return cluster.TopicSpec{Name: name, Partitions: partitions, ReplicationFactor: int16(factor), Configs: configs}, true
}
