package handler

import (
	"regexp"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
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
	c.Reply(call.Response{Message: h.registry.answer.forVersion(req.Version)})
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

// feature is a feature this broker implements, with the levels it supports and the level in force.
type feature struct {
	name       string
	min, max   int16
	finalized  int16
	finalFloor int16
}

// features are those of Kafka 4.4 whose whole behaviour is here. Kafka shows no level that is not in force.
var features = []feature{
	{name: "metadata.version", min: 7, max: 33, finalized: 33, finalFloor: 33},
}

// versionsAnswer holds the parts all answers share; they are only read.
type versionsAnswer struct {
	keys      []kmsg.ApiVersionsResponseApiKey
	self      []kmsg.ApiVersionsResponseApiKey
	supported []kmsg.ApiVersionsResponseSupportedFeature
	fromZero  []kmsg.ApiVersionsResponseSupportedFeature // supported, with those whose lowest level is 0
	finalized []kmsg.ApiVersionsResponseFinalizedFeature
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
		if f.finalized > 0 {
			fin := kmsg.NewApiVersionsResponseFinalizedFeature()
			fin.Name, fin.MinVersionLevel, fin.MaxVersionLevel = f.name, f.finalFloor, f.finalized
			a.finalized = append(a.finalized, fin)
		}
	}
	return a
}

// forVersion is the answer to a good request.
func (a *versionsAnswer) forVersion(version int16) *kmsg.ApiVersionsResponse {
	resp := kmsg.NewPtrApiVersionsResponse()
	resp.Version = version
	resp.ApiKeys = a.keys
	if version >= 3 {
		resp.SupportedFeatures = a.supported
		if version >= 4 {
			resp.SupportedFeatures = a.fromZero
		}
		resp.FinalizedFeatures = a.finalized
		resp.FinalizedFeaturesEpoch = 1
	}
	return resp
}

// unsupported is the answer to a version this broker does not know.
func (a *versionsAnswer) unsupported() *kmsg.ApiVersionsResponse {
	resp := kmsg.NewPtrApiVersionsResponse()
	resp.ErrorCode = kerr.UnsupportedVersion.Code
	resp.ApiKeys = a.self
	return resp
}
