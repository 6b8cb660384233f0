package handler

import (
	"maps"
	"regexp"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
)

// ApiVersions (18), versions 0-5: v1 added the throttle time, v2 nothing, v3 the client's name and version and, in the
// answer, features; v4 lets the answer show features whose lowest level is 0; v5 lets the client say which cluster
// and broker it means to talk to (KIP-1242).
//
// The answer's header never has tags, whatever the version, and a version from the future is answered in the form of
// version 0 with the range of this API alone, so that the client can come down.
func (h *handlers) apiVersions(c *call.Call) {
	req := c.Request.(*kmsg.ApiVersionsRequest)
	if !h.registry.API(c.Header.Key).Serves(req.Version) {
		c.Reply(call.Response{Message: h.registry.answer.unsupported()})
		return
	}
	if code := h.checkVersionsRequest(req); code != nil {
		resp := req.ResponseKind().(*kmsg.ApiVersionsResponse)
		resp.ErrorCode = code.Code
		c.Reply(call.Response{Message: resp})
		return
	}
	if req.Version >= 3 {
		c.Session.SetSoftware(req.ClientSoftwareName, req.ClientSoftwareVersion)
	}
	c.Reply(call.Response{Message: h.registry.answer.forVersion(req.Version, h.Cluster.Image())})
}

// software is what a client's name and version must look like (KIP-511).
var software = regexp.MustCompile(`^[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?$`)

func (h *handlers) checkVersionsRequest(req *kmsg.ApiVersionsRequest) *kerr.Error {
	if req.Version >= 3 && (!software.MatchString(req.ClientSoftwareName) || !software.MatchString(req.ClientSoftwareVersion)) {
		return kerr.InvalidRequest
	}
	if req.Version < 5 {
		return nil
	}
	switch {
	case req.ClusterID == nil && req.NodeID == -1:
		return nil
	case req.ClusterID == nil || req.NodeID == -1:
		return kerr.InvalidRequest
	case *req.ClusterID != h.ClusterID || req.NodeID != h.BrokerID:
		return kerr.RebootstrapRequired
	}
	return nil
}

// feature is a feature of the cluster with the levels this broker supports.
type feature struct {
	name     string
	min, max int16
}

// features are those of Kafka 4.4 whose whole behaviour is here. A feature that is missing tells clients to go without what
// it stands for: group.version the KIP-848 protocol, share.version share groups, transaction.version transactions v2.
var features = []feature{
	{name: "metadata.version", min: 7, max: 33}, // 33 is 4.4-IV2
	{name: "share.version", min: 0, max: 2},     // 2 has dead letters (KIP-1191)
}

// FoundingFeatures are the feature levels in force in a cluster that this version of the broker founds; one founded earlier is raised to them.
func FoundingFeatures() map[string]int16 {
	levels := map[string]int16{}
	for _, f := range features {
		levels[f.name] = f.max
	}
	return levels
}

// versionsAnswer holds the parts all answers share; they are only read.
type versionsAnswer struct {
	keys      []kmsg.ApiVersionsResponseApiKey
	self      []kmsg.ApiVersionsResponseApiKey
	supported []kmsg.ApiVersionsResponseSupportedFeature // without those whose lowest level is 0
	fromZero  []kmsg.ApiVersionsResponseSupportedFeature
}

func newVersionsAnswer(rows []call.API) versionsAnswer {
	var a versionsAnswer
	for i := range rows {
		k := kmsg.NewApiVersionsResponseApiKey()
		k.ApiKey, k.MinVersion, k.MaxVersion = rows[i].Key, rows[i].Min, rows[i].Max
		a.keys = append(a.keys, k)
		if k.ApiKey == kmsg.ApiVersions.Int16() {
			a.self = append(a.self, k)
		}
	}
	for _, f := range features {
		s := kmsg.NewApiVersionsResponseSupportedFeature()
		s.Name, s.MinVersion, s.MaxVersion = f.name, f.min, f.max
		a.fromZero = append(a.fromZero, s)
		if f.min > 0 {
			a.supported = append(a.supported, s)
		}
	}
	return a
}

// forVersion is the answer to a good request.
func (a *versionsAnswer) forVersion(version int16, image *cluster.Image) *kmsg.ApiVersionsResponse {
	resp := kmsg.NewPtrApiVersionsResponse()
	resp.Version = version
	resp.ApiKeys = a.keys
	if version < 3 {
		return resp
	}
	resp.SupportedFeatures = a.supported
	if version >= 4 {
		resp.SupportedFeatures = a.fromZero
	}
	resp.FinalizedFeatures = finalized(image.Features)
	resp.FinalizedFeaturesEpoch = image.Revision
	return resp
}

// finalized lists the features in force by name. Kafka shows a feature's level as both ends of its range, and none at level 0.
func finalized(levels map[string]int16) []kmsg.ApiVersionsResponseFinalizedFeature {
	var out []kmsg.ApiVersionsResponseFinalizedFeature
	for _, name := range slices.Sorted(maps.Keys(levels)) {
		if levels[name] > 0 {
			f := kmsg.NewApiVersionsResponseFinalizedFeature()
			f.Name, f.MinVersionLevel, f.MaxVersionLevel = name, levels[name], levels[name]
			out = append(out, f)
		}
	}
	return out
}

// unsupported is the answer to a version this broker does not know.
func (a *versionsAnswer) unsupported() *kmsg.ApiVersionsResponse {
	resp := kmsg.NewPtrApiVersionsResponse()
	resp.ErrorCode = kerr.UnsupportedVersion.Code
	resp.ApiKeys = a.self
	return resp
}
