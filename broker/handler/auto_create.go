package handler

import (
	"context"
	"errors"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/coordinator/cluster"
)

const (
	// autoCreateBatch bounds the topics of one creation, well below the partitions that one may make.
	autoCreateBatch = 500
	// autoCreateTimeout is how long a request that only asks about topics is held up by making them.
	autoCreateTimeout = 5 * time.Second
)

// autoCreate makes topics that a client asked about and that were not there. It tells nobody whether it worked: the client
// was told that they are unknown, and asks again.
func (h *handlers) autoCreate(ctx context.Context, image *cluster.Image, names []string) {
	ctx, cancel := context.WithTimeout(ctx, autoCreateTimeout)
	defer cancel()
	for len(names) > 0 && ctx.Err() == nil {
		n := min(len(names), autoCreateBatch)
		specs := make([]cluster.TopicSpec, n)
		for i, name := range names[:n] {
			specs[i] = h.autoSpec(image, name)
		}
		names = names[n:]
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

// internalSpec is the topic that a coordinator keeps its state in, with Kafka's settings for it. The replication factor is cut
// to the brokers there are: a single broker has to be able to serve groups with the settings it starts with.
func (h *handlers) internalSpec(image *cluster.Image, name string) (spec cluster.TopicSpec, internal bool) {
	l := h.layers(image, "")
	number := func(setting string) string { return strconv.FormatInt(l.BrokerInt(setting), 10) }
	make := func(partitions, factor string, configs map[string]string) (cluster.TopicSpec, bool) {
		return cluster.TopicSpec{
			Name:              name,
			Partitions:        int32(l.BrokerInt(partitions)),
			ReplicationFactor: int16(max(1, min(l.BrokerInt(factor), int64(len(image.Brokers))))),
			Configs:           configs,
		}, true
	}
	switch name {
	case "__consumer_offsets":
		return make("offsets.topic.num.partitions", "offsets.topic.replication.factor", map[string]string{
			"cleanup.policy": "compact", "compression.type": "producer", "segment.bytes": number("offsets.topic.segment.bytes"),
		})
	case "__transaction_state":
		return make("transaction.state.log.num.partitions", "transaction.state.log.replication.factor", map[string]string{
			"cleanup.policy": "compact", "compression.type": "uncompressed", "segment.bytes": number("transaction.state.log.segment.bytes"),
			"unclean.leader.election.enable": "false",
		})
	case "__share_group_state":
		return make("share.coordinator.state.topic.num.partitions", "share.coordinator.state.topic.replication.factor", map[string]string{
			"cleanup.policy": "delete", "compression.type": "uncompressed", "retention.ms": "-1",
			"segment.bytes": number("share.coordinator.state.topic.segment.bytes"),
		})
	}
	return cluster.TopicSpec{}, false
}
