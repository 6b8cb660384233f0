package handler

import (
	"context"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/coordinator/config"
)

// What somebody who may do everything may do to a topic and to the cluster, as bits of Kafka's operations.
var (
	topicOperations = operations(kmsg.ACLOperationRead, kmsg.ACLOperationWrite, kmsg.ACLOperationCreate, kmsg.ACLOperationDelete,
		kmsg.ACLOperationAlter, kmsg.ACLOperationDescribe, kmsg.ACLOperationDescribeConfigs, kmsg.ACLOperationAlterConfigs)
	clusterOperations = operations(kmsg.ACLOperationCreate, kmsg.ACLOperationAlter, kmsg.ACLOperationDescribe,
		kmsg.ACLOperationClusterAction, kmsg.ACLOperationDescribeConfigs, kmsg.ACLOperationAlterConfigs, kmsg.ACLOperationIdempotentWrite)
)

func operations(all ...kmsg.ACLOperation) (bits int32) {
	for _, op := range all {
		bits |= 1 << op
	}
	return bits
}

// layers is the settings that stand behind a topic, "" for none, in an image.
func (h *handlers) layers(image *cluster.Image, topic string) config.Layers {
	return replica.Layers(image, h.BrokerID, h.Start, topic)
}

// adminTimeout bounds changes whose request carries no timeout. It is what admin clients wait by default.
const adminTimeout = 30 * time.Second

// within is the time a request gives its work: until the client stops waiting, by its timeout or by going away.
func within(c *call.Call, timeoutMillis int32) (context.Context, context.CancelFunc) {
	return context.WithTimeout(c.Context, time.Duration(timeoutMillis)*time.Millisecond)
}

// unknownTopic is why a name that is no topic's is not found.
func unknownTopic(name string) error {
	if err := cluster.ValidateTopicName(name); err != nil {
		return err
	}
	return kerr.UnknownTopicOrPartition
}

// reach judges partitions for the clients of one listener: a broker without it might as well not be there for them.
type reach struct {
	listener string
	brokers  []int32 // that the clients can reach, ascending
	alive    []int32 // that are registered, ascending
}

func reachOf(image *cluster.Image, listener string) reach {
	r := reach{listener: listener}
	for i := range image.Brokers {
		id := image.Brokers[i].ID
		r.alive = append(r.alive, id)
		if _, _, _, ok := Endpoint(image, id, listener); ok {
			r.brokers = append(r.brokers, id)
		}
	}
	return r
}

func (r *reach) can(id int32) bool {
	_, ok := slices.BinarySearch(r.brokers, id)
	return ok
}

// leader is the leader to show, and why there is none. tellListener is false for versions that do not know
// LISTENER_NOT_FOUND.
func (r *reach) leader(p *cluster.Partition, tellListener bool) (id int32, code int16) {
	if r.can(p.Leader) {
		return p.Leader, 0
	}
	if _, alive := slices.BinarySearch(r.alive, p.Leader); alive && tellListener {
		return cluster.NoLeader, kerr.ListenerNotFound.Code
	}
	return cluster.NoLeader, kerr.LeaderNotAvailable.Code
}

// online keeps those of replicas that can be reached; the list itself when all can, which is the rule.
func (r *reach) online(replicas []int32) []int32 {
	if !slices.ContainsFunc(replicas, func(id int32) bool { return !r.can(id) }) {
		return replicas
	}
	return slices.DeleteFunc(slices.Clone(replicas), func(id int32) bool { return !r.can(id) })
}

// offline is those of replicas that cannot be reached, nil when all can.
func (r *reach) offline(replicas []int32) (out []int32) {
	for _, id := range replicas {
		if !r.can(id) {
			out = append(out, id)
		}
	}
	return out
}
