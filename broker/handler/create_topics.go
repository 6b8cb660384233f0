package handler

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/coordinator/config"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// CreateTopics (key 19), versions 2 to 7: v4 counts of -1 mean the broker's defaults, v5 is flexible and answers what the topic
// became with all its settings, v6 knows quotas, v7 answers the topic's id.
//
// Topics are made in one go and each succeeds or fails by itself. A topic that is answered is ready for clients. A request
// without time to wait is answered REQUEST_TIMED_OUT and makes nothing, as by Kafka's controller.
func (h *handlers) createTopics(c *call.Call) {
	req := c.Request.(*kmsg.CreateTopicsRequest)
	resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
	ctx, cancel := within(c, req.TimeoutMillis)
	defer cancel()
	l := h.layers(h.Cluster.Image(), "")
	settings := describing(config.Topic(), l)
	b := planTopics(l, req)
	for _, t := range b.topics {
		if t.refused == nil {
			t.refused = guardTopic(c, t.name)
		}
	}
	for i, r := range b.create(ctx, h.Cluster) {
		out := h.createdTopic(b.topics[i], r)
		if r.Err == nil && req.Version >= 5 {
			becomes(&out, r.Topic, settings.of(b.topics[i].own, nil))
		}
		resp.Topics = append(resp.Topics, out)
	}
	c.Reply(call.Response{Message: resp})
}

// newTopic is one topic of a request on its way.
type newTopic struct {
	name      string
	validate  bool
	spec      cluster.TopicSpec
	own       map[string]string // its settings
	refused   error             // by the request itself
	badConfig error             // told when the topic could be made but for that
}

// topicBatch is the topics of one request, in its order, each name once.
type topicBatch struct{ topics []*newTopic }

func planTopics(l config.Layers, req *kmsg.CreateTopicsRequest) topicBatch {
	byName := make(map[string]*newTopic, len(req.Topics))
	var b topicBatch
	for i := range req.Topics {
		rt := &req.Topics[i]
		if twice := byName[rt.Topic]; twice != nil {
			twice.refused = refuse(kerr.InvalidRequest, "Duplicate topic name.")
			continue
		}
		t := &newTopic{name: rt.Topic, validate: req.ValidateOnly}
		t.specify(l, rt)
		byName[rt.Topic] = t
		b.topics = append(b.topics, t)
	}
	return b
}

// specify turns what the client asks for into a spec, with defaults where it leaves the choice.
func (t *newTopic) specify(l config.Layers, rt *kmsg.CreateTopicsRequestTopic) {
	t.spec = cluster.TopicSpec{Name: rt.Topic, Partitions: rt.NumPartitions, ReplicationFactor: rt.ReplicationFactor, ValidateOnly: t.validate}
	for i := range rt.ReplicaAssignment {
		a := &rt.ReplicaAssignment[i]
		t.spec.Assignments = append(t.spec.Assignments, cluster.Assignment{Partition: a.Partition, Replicas: a.Replicas})
	}
	if t.spec.Assignments == nil {
		if rt.NumPartitions == -1 {
			t.spec.Partitions = int32(l.BrokerInt("num.partitions"))
		}
		if rt.ReplicationFactor == -1 {
			t.spec.ReplicationFactor = int16(l.BrokerInt("default.replication.factor"))
		}
	}
	t.own, t.badConfig = topicConfigs(rt.Configs, l)
	t.spec.Configs = t.own
	if t.badConfig != nil {
		t.spec.ValidateOnly = true // only to learn what else is wrong, which Kafka tells first
	}
}

// topicConfigs is the settings a topic is made with. Of a setting given twice the last counts.
func topicConfigs(given []kmsg.CreateTopicsRequestTopicConfig, l config.Layers) (map[string]string, error) {
	own := make(map[string]string, len(given))
	for i := range given {
		if given[i].Value == nil {
			return nil, refuse(kerr.InvalidConfig, "Null value not supported for topic configs: %s", given[i].Name)
		}
		own[given[i].Name] = *given[i].Value
	}
	return config.ValidateTopic(own, l)
}

// create makes the topics that the request does not rule out by itself.
func (b topicBatch) create(ctx context.Context, c Cluster) []cluster.TopicResult {
	out := make([]cluster.TopicResult, len(b.topics))
	if ctx.Err() != nil {
		for i := range out {
			out[i].Err = ctx.Err()
		}
		return out
	}
	var specs []cluster.TopicSpec
	var at []int
	for i, t := range b.topics {
		if out[i].Err = t.refused; t.refused == nil {
			specs, at = append(specs, t.spec), append(at, i)
		}
	}
	if len(specs) == 0 {
		return out
	}
	for i, r := range c.CreateTopics(ctx, specs) {
		out[at[i]] = r
		if bad := b.topics[at[i]].badConfig; bad != nil && !aboutName(r.Err) {
			out[at[i]] = cluster.TopicResult{Err: bad}
		}
	}
	return out
}

// aboutName tells whether a topic is refused for its name, or for a reason that concerns the whole request: what Kafka finds
// before it looks at the settings.
func aboutName(err error) bool {
	for _, kind := range []error{cluster.ErrInvalidTopicName, cluster.ErrTopicExists, cluster.ErrTopicCollision, cluster.ErrTooManyPartitions} {
		if errors.Is(err, kind) {
			return true
		}
	}
	var refused *cluster.Error
	return err != nil && !errors.As(err, &refused)
}

func (h *handlers) createdTopic(t *newTopic, r cluster.TopicResult) kmsg.CreateTopicsResponseTopic {
	out := kmsg.NewCreateTopicsResponseTopic()
	out.Topic, out.Configs = t.name, []kmsg.CreateTopicsResponseTopicConfig{}
	out.ErrorCode, out.ErrorMessage = h.code(r.Err, "create topic"), reasonOf(r.Err)
	switch {
	case r.Err != nil:
	case t.validate:
		out.TopicID = uuid.New() // as Kafka: the id of a topic that might have been
	default:
		out.TopicID = r.Topic.ID
	}
	return out
}

// becomes adds what a topic was made as.
func becomes(out *kmsg.CreateTopicsResponseTopic, t *cluster.Topic, settings []config.Entry) {
	out.NumPartitions, out.ReplicationFactor = int32(len(t.Partitions)), int16(len(t.Partitions[0].Replicas))
	out.Configs = make([]kmsg.CreateTopicsResponseTopicConfig, len(settings))
	for i := range settings {
		e, c := &settings[i], &out.Configs[i]
		c.Name, c.Value, c.ReadOnly, c.IsSensitive, c.Source = e.Key.Name, e.Value, e.Key.ReadOnly, e.Key.Sensitive, int8(e.Source)
	}
}
