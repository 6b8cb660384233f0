package handler

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
)

// metadataTopic is the name of Kafka's metadata log.
const metadataTopic = "__cluster_metadata"

// DescribeQuorum (key 55), versions 0 to 2: v1 adds times, v2 messages, directory ids and endpoints.
//
// There is no metadata log here: the metadata is in etcd. It is shown as if it were one, so that tools which ask who the
// controller is have their answer: the controller is the leader, the term of its election the epoch, the revision of
// the metadata the offset, and every broker, since each may become controller, a voter.
func (h *handlers) describeQuorum(c *call.Call) {
	req := c.Request.(*kmsg.DescribeQuorumRequest)
	resp := req.ResponseKind().(*kmsg.DescribeQuorumResponse)
	resp.ErrorMessage = kmsg.StringPtr("")
	image := h.Cluster.Image()
	known := isMetadataLog(req)
	for i := range req.Topics {
		out := kmsg.NewDescribeQuorumResponseTopic()
		out.Topic = req.Topics[i].Topic
		for _, rp := range req.Topics[i].Partitions {
			p := kmsg.NewDescribeQuorumResponseTopicPartition()
			p.Partition = rp.Partition
			if known {
				quorum(image, &p)
			} else {
				p.ErrorCode, p.ErrorMessage = kerr.UnknownTopicOrPartition.Code, &kerr.UnknownTopicOrPartition.Description
			}
			out.Partitions = append(out.Partitions, p)
		}
		resp.Topics = append(resp.Topics, out)
	}
	if known {
		resp.Nodes = quorumNodes(image)
	}
	c.Reply(call.Response{Message: resp})
}

// isMetadataLog tells whether the request asks for the metadata log, which has one partition, and for nothing else.
func isMetadataLog(req *kmsg.DescribeQuorumRequest) bool {
	return len(req.Topics) == 1 && req.Topics[0].Topic == metadataTopic &&
		len(req.Topics[0].Partitions) == 1 && req.Topics[0].Partitions[0].Partition == 0
}

func quorum(image *cluster.Image, out *kmsg.DescribeQuorumResponseTopicPartition) {
	out.ErrorMessage = kmsg.StringPtr("")
	out.LeaderID, out.LeaderEpoch, out.HighWatermark = image.ControllerID, int32(image.ControllerEpoch), image.Revision
	if image.ControllerID == cluster.NoLeader {
		out.ErrorCode, out.ErrorMessage = kerr.LeaderNotAvailable.Code, kmsg.StringPtr("There is no controller at the moment.")
	}
	for i := range image.Brokers {
		v := kmsg.NewDescribeQuorumResponseTopicPartitionReplicaState()
		v.ReplicaID, v.ReplicaDirectoryID, v.LogEndOffset = image.Brokers[i].ID, image.Brokers[i].Directory, image.Revision
		out.CurrentVoters = append(out.CurrentVoters, v)
	}
}

func quorumNodes(image *cluster.Image) []kmsg.DescribeQuorumResponseNode {
	nodes := make([]kmsg.DescribeQuorumResponseNode, len(image.Brokers))
	for i := range image.Brokers {
		b := &image.Brokers[i]
		nodes[i].NodeID = b.ID
		for _, l := range b.Listeners {
			out := kmsg.NewDescribeQuorumResponseNodeListener()
			out.Name, out.Host, out.Port = l.Name, l.Host, uint16(l.Port)
			nodes[i].Listeners = append(nodes[i].Listeners, out)
		}
	}
	return nodes
}
