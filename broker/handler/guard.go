package handler

import (
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/protocol/private"
)

// Queues own their topics and groups: clients read and write them, and the queue service alone makes, deletes and configures
// them (design section 6). Clients that try get POLICY_VIOLATION.

// ofService tells whether a call comes from a part of the broker and not from a client, which cannot have such a principal.
func ofService(c *call.Call) bool { return strings.HasPrefix(c.Peer.Principal, "Service:") }

// guardTopic refuses to administer a queue's topic.
func guardTopic(c *call.Call, name string) error {
	if !private.IsQueueTopic(name) || ofService(c) {
		return nil
	}
	return refuse(kerr.PolicyViolation, "The topic '%s' belongs to a queue, or has the name of one: only the queue service administers it.", name)
}

// guardGroup refuses to administer a queue's group.
func (h *handlers) guardGroup(c *call.Call, name string) error {
	if !private.IsQueueGroup(name) || ofService(c) {
		return nil
	}
	if h.Cluster.Image().Document(private.KindQueueGroups, strings.TrimPrefix(name, "http.")) == nil {
		return nil
	}
	return refuse(kerr.PolicyViolation, "The group '%s' belongs to a queue: only the queue service administers it.", name)
}

// guardResource refuses to configure what a queue owns.
func (h *handlers) guardResource(c *call.Call, kind kmsg.ConfigResourceType, name string) error {
	switch kind {
	case kmsg.ConfigResourceTypeTopic:
		return guardTopic(c, name)
	case kmsg.ConfigResourceTypeGroupConfig:
		return h.guardGroup(c, name)
	}
	return nil
}
