package handler

import (
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/coordinator/config"
)

// ListConfigResources (key 74), versions 0 to 1: v0 lists client metrics, v1 the types asked for, none meaning all (KIP-1142).
func (h *handlers) listConfigResources(c *call.Call) {
	req := c.Request.(*kmsg.ListConfigResourcesRequest)
	resp := req.ResponseKind().(*kmsg.ListConfigResourcesResponse)
	image := h.Cluster.Image()
	types := configTypes(req)
	for _, t := range types {
		if _, known := listed[t]; !known {
			resp.ErrorCode = kerr.UnsupportedVersion.Code
			c.Reply(call.Response{Message: resp})
			return
		}
	}
	done := map[kmsg.ConfigResourceType]bool{}
	for _, t := range types {
		if done[t] {
			continue
		}
		done[t] = true
		for _, name := range listed[t](image) {
			r := kmsg.NewListConfigResourcesResponseConfigResource()
			r.Name, r.Type = name, int8(t)
			resp.ConfigResources = append(resp.ConfigResources, r)
		}
	}
	c.Reply(call.Response{Message: resp})
}

func configTypes(req *kmsg.ListConfigResourcesRequest) []kmsg.ConfigResourceType {
	switch {
	case req.Version == 0:
		return []kmsg.ConfigResourceType{kmsg.ConfigResourceTypeClientMetrics}
	case len(req.ResourceTypes) == 0:
		return []kmsg.ConfigResourceType{kmsg.ConfigResourceTypeTopic, kmsg.ConfigResourceTypeBroker, kmsg.ConfigResourceTypeBrokerLogger,
			kmsg.ConfigResourceTypeClientMetrics, kmsg.ConfigResourceTypeGroupConfig}
	}
	types := make([]kmsg.ConfigResourceType, len(req.ResourceTypes))
	for i, t := range req.ResourceTypes {
		types[i] = kmsg.ConfigResourceType(t)
	}
	return types
}

// listed finds the names of each type. Topics and brokers are always listed, groups and client metrics when something is set.
var listed = map[kmsg.ConfigResourceType]func(*cluster.Image) []string{
	kmsg.ConfigResourceTypeTopic: func(image *cluster.Image) []string {
		names := make([]string, 0, image.NumTopics())
		for t := range image.Topics() {
			names = append(names, t.Name)
		}
		return names
	},
	kmsg.ConfigResourceTypeBroker:        brokerNames,
	kmsg.ConfigResourceTypeBrokerLogger:  brokerNames,
	kmsg.ConfigResourceTypeClientMetrics: func(image *cluster.Image) []string { return image.ConfigNames(config.ClientMetrics().Kind) },
	kmsg.ConfigResourceTypeGroupConfig:   func(image *cluster.Image) []string { return image.ConfigNames(config.Group().Kind) },
}

func brokerNames(image *cluster.Image) []string {
	names := make([]string, len(image.Brokers))
	for i := range image.Brokers {
		names[i] = strconv.Itoa(int(image.Brokers[i].ID))
	}
	return names
}
