package handler

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
)

// Endpoint types of DescribeCluster (KIP-919).
const (
	endpointBrokers     = 1
	endpointControllers = 2
)

// DescribeCluster (key 60), versions 0 to 2: v1 asks for brokers or controllers, v2 for fenced brokers as well. A fenced broker
// is one whose lease ran out, and such are not registered here, so there are none to show.
func (h *handlers) describeCluster(c *call.Call) {
	req := c.Request.(*kmsg.DescribeClusterRequest)
	resp := req.ResponseKind().(*kmsg.DescribeClusterResponse)
	var err error
	switch req.EndpointType {
	case endpointBrokers:
	case endpointControllers:
		err = refuse(kerr.MismatchedEndpointType, "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER")
	default:
		err = refuse(kerr.UnsupportedEndpointType, "Unsupported endpoint type %d", req.EndpointType)
	}
	if err != nil {
		resp.ErrorCode, resp.ErrorMessage = h.code(err, "describe cluster"), reasonOf(err)
		c.Reply(call.Response{Message: resp})
		return
	}
	image := h.Cluster.Image()
	resp.ClusterID, resp.ControllerID = image.ClusterID, image.ControllerID
	if req.IncludeClusterAuthorizedOperations {
		resp.ClusterAuthorizedOperations = clusterOperations
	}
	for i := range image.Brokers {
		b := kmsg.NewDescribeClusterResponseBroker()
		b.NodeID = image.Brokers[i].ID
		var ok bool
		if b.Host, b.Port, b.Rack, ok = Endpoint(image, b.NodeID, c.Peer.Listener); ok {
			resp.Brokers = append(resp.Brokers, b)
		}
	}
	c.Reply(call.Response{Message: resp})
}
