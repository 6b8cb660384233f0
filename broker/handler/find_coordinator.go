package handler

import (
	"context"
	"strconv"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/coordinator/group"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// FindCoordinator (key 10), versions 0 to 6.
//
//	v1  key type (group, transaction), error message     v3  flexible
//	v4  several keys, an answer for each (KIP-699)       v5  TRANSACTION_ABORTABLE
//	v6  share partitions, as group:topicId:partition (KIP-932)
//
// A coordinator's topic is made when it is first asked for.
func (h *handlers) findCoordinator(c *call.Call) {
	req := c.Request.(*kmsg.FindCoordinatorRequest)
	resp := req.ResponseKind().(*kmsg.FindCoordinatorResponse)
	defer c.Reply(call.Response{Message: resp})
	resp.NodeID, resp.Port = -1, -1
	topic, known := coordinatorTopics[req.CoordinatorType]
	keys := req.CoordinatorKeys
	if req.Version < 4 {
		keys = []string{req.CoordinatorKey}
	}
	find := sync.OnceValues(func() (*cluster.Image, *cluster.Topic) { return h.coordinatorTopic(c.Context, topic) })
	for _, key := range keys {
		found := kmsg.NewFindCoordinatorResponseCoordinator()
		found.Key, found.NodeID, found.Port = key, -1, -1
		switch {
		case !known:
			found.ErrorCode, found.ErrorMessage = kerr.InvalidRequest.Code, kmsg.StringPtr(kerr.InvalidRequest.Description)
		case req.CoordinatorType == shareType && (req.Version < 6 || !isShareKey(key)):
			found.ErrorCode, found.ErrorMessage = kerr.InvalidRequest.Code, kmsg.StringPtr("")
		default:
			found.ErrorMessage = kmsg.StringPtr("")
			if image, t := find(); t == nil || !h.leader(image, c.Peer.Listener, t, key, &found) {
				found.ErrorCode = kerr.CoordinatorNotAvailable.Code
			}
		}
		resp.Coordinators = append(resp.Coordinators, found)
	}
	if req.Version < 4 {
		first := &resp.Coordinators[0]
		resp.ErrorCode, resp.NodeID, resp.Host, resp.Port = first.ErrorCode, first.NodeID, first.Host, first.Port
		message := "NONE" // Kafka's text for no error
		if code := kerr.TypedErrorForCode(first.ErrorCode); code != nil {
			message = code.Description
		}
		resp.ErrorMessage = &message
	}
}

const shareType = 2

// coordinatorTopics are the topics whose partitions' leaders coordinate, by key type.
var coordinatorTopics = map[int8]string{0: "__consumer_offsets", 1: "__transaction_state", shareType: "__share_group_state"}

// coordinatorTopic is a coordinator's topic, made if it is not there, and the image it is in; nil when it cannot be made.
func (h *handlers) coordinatorTopic(ctx context.Context, name string) (*cluster.Image, *cluster.Topic) {
	image := h.Cluster.Image()
	t := image.Topic(name)
	if t == nil {
		h.autoCreate(ctx, image, []string{name})
		image = h.Cluster.Image()
		t = image.Topic(name)
	}
	return image, t
}

// leader fills in who leads the key's partition; it answers false when that is not known.
func (h *handlers) leader(image *cluster.Image, listener string, t *cluster.Topic, key string, found *kmsg.FindCoordinatorResponseCoordinator) bool {
	leader := t.Partitions[group.PartitionFor(key, int32(len(t.Partitions)))].Leader
	host, port, _, ok := h.endpoint(image, leader, listener)
	if ok {
		found.NodeID, found.Host, found.Port = leader, host, port
	}
	return ok
}

// isShareKey tells whether a key is one of a share partition: group:topicId:partition.
func isShareKey(key string) bool {
	rest, number, ok := cutLast(key)
	if !ok {
		return false
	}
	name, id, ok := cutLast(rest)
	if !ok || name == "" {
		return false
	}
	if _, err := uuid.Parse(id); err != nil {
		return false
	}
	n, err := strconv.ParseInt(number, 10, 32)
	return err == nil && n >= 0
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return "", "", false
	}
	return s[:i], s[i+1:], true
}
