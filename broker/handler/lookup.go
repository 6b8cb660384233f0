package handler

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
)

// partition finds a topic's partition on this broker: UNKNOWN_TOPIC_OR_PARTITION when the topic, which may be nil, has none of
// that number, NOT_LEADER_OR_FOLLOWER when another broker holds it.
func (h *handlers) partition(t *cluster.Topic, n int32) (*replica.Partition, error) {
	if t == nil || n < 0 || int(n) >= len(t.Partitions) {
		return nil, kerr.UnknownTopicOrPartition
	}
	p, err := h.Replicas.Partition(t.ID, n)
	if err != nil {
		return nil, kerr.NotLeaderForPartition
	}
	return p, nil
}

// endpoint is Endpoint.
func (h *handlers) endpoint(image *cluster.Image, id int32, listener string) (host string, port int32, rack *string, ok bool) {
	return Endpoint(image, id, listener)
}

// Endpoint is where a broker listens for clients that came in through the listener of that name, "" for its first; ok is false
// for a broker that is not registered or has no such listener.
func Endpoint(image *cluster.Image, id int32, listener string) (host string, port int32, rack *string, ok bool) {
	b := image.Broker(id)
	if b == nil {
		return "", 0, nil, false
	}
	for i := range b.Listeners {
		if l := &b.Listeners[i]; l.Name == listener || listener == "" {
			if b.Rack != "" {
				rack = &b.Rack
			}
			return l.Host, l.Port, rack, true
		}
	}
	return "", 0, nil, false
}
