package handler

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
)

// Metadata (key 3), versions 0 to 13.
//
//	v1  rack, controller, internal topics; null topics are all, none are none      v2  cluster id
//	v4  whether unknown topics may be created                                      v5  offline replicas
//	v6  LISTENER_NOT_FOUND                                                         v7  leader epoch
//	v8  authorised operations                                                      v9  flexible
//	v10 topic ids in the answer                                                    v12 topics asked for by id
//	v11 no more authorised operations of the cluster (DescribeCluster has them)    v13 an error of the whole answer
//
// A topic that is not there and may be created is created and answered as unknown, as Kafka does: clients ask again.
func (h *handlers) metadata(c *call.Call) {
	req := c.Request.(*kmsg.MetadataRequest)
	resp := req.ResponseKind().(*kmsg.MetadataResponse)
	if code := checkMetadata(req); code != nil {
		refuseMetadata(req, resp, code)
		c.Reply(call.Response{Message: resp})
		return
	}
	image := h.Cluster.Image()
	m := metadataAnswer{image: image, reach: reachOf(image, c.Peer.Listener), req: req, resp: resp}
	m.brokers()
	switch {
	case req.Topics == nil || req.Version == 0 && len(req.Topics) == 0:
		m.allTopics()
	case m.byID():
		m.topicsByID()
	default:
		missing := m.topicsByName()
		mayCreate := req.Version < 4 || req.AllowAutoTopicCreation
		if mayCreate && len(missing) > 0 && h.layers(image, "").BrokerBool("auto.create.topics.enable") {
			h.autoCreate(c.Context, image, missing)
		}
	}
	c.Reply(call.Response{Message: resp})
}

// checkMetadata finds what makes a request of no use as a whole: ids before version 12, and a topic that is not named at all.
func checkMetadata(req *kmsg.MetadataRequest) *kerr.Error {
	for i := range req.Topics {
		t := &req.Topics[i]
		switch {
		case req.Version < 12 && (t.Topic == nil || t.TopicID != [16]byte{}):
			return kerr.InvalidRequest
		case t.Topic == nil && t.TopicID == [16]byte{}:
			return kerr.UnknownServerError // as Kafka
		}
	}
	return nil
}

func refuseMetadata(req *kmsg.MetadataRequest, resp *kmsg.MetadataResponse, code *kerr.Error) {
	resp.ErrorCode = code.Code
	for i := range req.Topics {
		t := kmsg.NewMetadataResponseTopic()
		t.ErrorCode, t.Topic, t.TopicID = code.Code, req.Topics[i].Topic, req.Topics[i].TopicID
		if t.Topic == nil {
			t.Topic = kmsg.StringPtr("")
		}
		resp.Topics = append(resp.Topics, t)
	}
}

// metadataAnswer fills one answer from one image.
type metadataAnswer struct {
	image *cluster.Image
	reach reach
	req   *kmsg.MetadataRequest
	resp  *kmsg.MetadataResponse
}

func (m *metadataAnswer) brokers() {
	m.resp.ClusterID = &m.image.ClusterID
	m.resp.ControllerID = m.image.ControllerID
	if m.req.IncludeClusterAuthorizedOperations {
		m.resp.AuthorizedOperations = clusterOperations
	}
	for _, id := range m.reach.brokers {
		b := kmsg.NewMetadataResponseBroker()
		b.NodeID = id
		b.Host, b.Port, b.Rack, _ = Endpoint(m.image, id, m.reach.listener)
		m.resp.Brokers = append(m.resp.Brokers, b)
	}
}

func (m *metadataAnswer) allTopics() {
	m.resp.Topics = make([]kmsg.MetadataResponseTopic, 0, m.image.NumTopics())
	for t := range m.image.Topics() {
		m.add(t)
	}
}

// byID tells whether the request asks by id. If any topic is, those that are only named are left out, as in Kafka.
func (m *metadataAnswer) byID() bool {
	for i := range m.req.Topics {
		if m.req.Topics[i].TopicID != [16]byte{} {
			return true
		}
	}
	return false
}

func (m *metadataAnswer) topicsByID() {
	seen := make(map[[16]byte]bool, len(m.req.Topics))
	for i := range m.req.Topics {
		id := m.req.Topics[i].TopicID
		if id == [16]byte{} || seen[id] {
			continue
		}
		seen[id] = true
		if t := m.image.TopicByID(id); t != nil {
			m.add(t)
			continue
		}
		t := kmsg.NewMetadataResponseTopic()
		t.ErrorCode, t.TopicID = kerr.UnknownTopicID.Code, id
		m.resp.Topics = append(m.resp.Topics, t)
	}
}

// topicsByName answers each name once, and returns the names that could be created.
func (m *metadataAnswer) topicsByName() (missing []string) {
	seen := make(map[string]bool, len(m.req.Topics))
	for i := range m.req.Topics {
		name := *m.req.Topics[i].Topic
		if seen[name] {
			continue
		}
		seen[name] = true
		if t := m.image.Topic(name); t != nil {
			m.add(t)
			continue
		}
		t := kmsg.NewMetadataResponseTopic()
		t.Topic, t.IsInternal = &name, cluster.IsInternal(name)
		if m.req.IncludeTopicAuthorizedOperations {
			t.AuthorizedOperations = topicOperations
		}
		code, _ := codeOf(unknownTopic(name))
		t.ErrorCode = code.Code
		if code == kerr.UnknownTopicOrPartition {
			missing = append(missing, name)
		}
		m.resp.Topics = append(m.resp.Topics, t)
	}
	return missing
}

// add shows a topic that is there.
func (m *metadataAnswer) add(t *cluster.Topic) {
	out := kmsg.NewMetadataResponseTopic()
	out.Topic, out.TopicID, out.IsInternal = &t.Name, t.ID, t.Internal
	if m.req.IncludeTopicAuthorizedOperations {
		out.AuthorizedOperations = topicOperations
	}
	out.Partitions = make([]kmsg.MetadataResponseTopicPartition, len(t.Partitions))
	for n := range t.Partitions {
		m.partition(&t.Partitions[n], int32(n), &out.Partitions[n])
	}
	m.resp.Topics = append(m.resp.Topics, out)
}

// partition shows one partition. Version 0 leaves out replicas that cannot be reached and says so in the error.
func (m *metadataAnswer) partition(p *cluster.Partition, n int32, out *kmsg.MetadataResponseTopicPartition) {
	out.Partition, out.LeaderEpoch = n, p.LeaderEpoch
	out.Leader, out.ErrorCode = m.reach.leader(p, m.req.Version >= 6)
	out.Replicas, out.ISR, out.OfflineReplicas = p.Replicas, p.ISR, m.reach.offline(p.Replicas)
	if m.req.Version > 0 {
		return
	}
	out.Replicas, out.ISR = m.reach.online(p.Replicas), m.reach.online(p.ISR)
	if out.ErrorCode == 0 && len(out.Replicas) < len(p.Replicas) {
		out.ErrorCode = kerr.ReplicaNotAvailable.Code
	}
}
