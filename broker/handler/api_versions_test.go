package handler

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
)

// askVersions asks for the versions and gives the answer, decoded from its bytes as the client would.
func askVersions(t *testing.T, version int16, session *call.Session, change func(*kmsg.ApiVersionsRequest)) *kmsg.ApiVersionsResponse {
	t.Helper()
	req := kmsg.NewPtrApiVersionsRequest()
	req.Version, req.ClientSoftwareName, req.ClientSoftwareVersion = version, "test-client", "1.0"
	if change != nil {
		change(req)
	}
	sent := ask(t, newRegistry(t), req, session).Message
	got := kmsg.NewPtrApiVersionsResponse()
	got.Version = sent.GetVersion()
	require.NoError(t, got.ReadFrom(sent.AppendTo(nil)))
	return got
}

func TestApiVersionsListsTheRowsAndTheFeaturesInForce(t *testing.T) {
	rows := newRegistry(t).APIs()
	for version := int16(0); version <= 5; version++ {
		session := &call.Session{}
		resp := askVersions(t, version, session, nil)
		require.Zero(t, resp.ErrorCode)
		require.Len(t, resp.ApiKeys, len(rows))
		for i, k := range resp.ApiKeys {
			require.Equal(t, []int16{rows[i].Key, rows[i].Min, rows[i].Max}, []int16{k.ApiKey, k.MinVersion, k.MaxVersion})
		}
		name, software := session.Software()
		if version < 3 {
			require.Empty(t, resp.SupportedFeatures)
			require.Empty(t, name)
			continue
		}
		require.Equal(t, []string{"test-client", "1.0"}, []string{name, software})
		require.EqualValues(t, 12, resp.FinalizedFeaturesEpoch)
		require.Len(t, resp.FinalizedFeatures, len(features))
		for i, f := range resp.FinalizedFeatures {
			require.Equal(t, features[i].name, f.Name)
			require.Equal(t, []int16{features[i].max, features[i].max}, []int16{f.MinVersionLevel, f.MaxVersionLevel})
		}
		require.Equal(t, "metadata.version", resp.SupportedFeatures[0].Name)
		for _, s := range resp.SupportedFeatures {
			require.True(t, version >= 4 || s.MinVersion > 0, "%s starts at 0 and shows before version 4", s.Name)
		}
	}
}

func TestApiVersionsOfAnotherVersionIsAnsweredInVersion0(t *testing.T) {
	for _, version := range []int16{6, 99, 32767, -1} {
		resp := askVersions(t, version, &call.Session{}, nil)
		require.Zero(t, resp.Version)
		require.Equal(t, kerr.UnsupportedVersion.Code, resp.ErrorCode)
		require.Len(t, resp.ApiKeys, 1)
		require.Equal(t, []int16{18, 0, 5}, []int16{resp.ApiKeys[0].ApiKey, resp.ApiKeys[0].MinVersion, resp.ApiKeys[0].MaxVersion})
	}
}

func TestApiVersionsChecksTheClientsNameAndVersion(t *testing.T) {
	for text, good := range map[string]bool{
		"": false, "a b": false, "-a": false, "a-": false, "a.b-c": true, "ü": false, "a_b": false, "a": true, "a\n": false, "9": true,
	} {
		want := int16(0)
		if !good {
			want = kerr.InvalidRequest.Code
		}
		session := &call.Session{}
		resp := askVersions(t, 3, session, func(r *kmsg.ApiVersionsRequest) { r.ClientSoftwareName = text })
		require.Equal(t, want, resp.ErrorCode, "name %q", text)
		resp = askVersions(t, 4, session, func(r *kmsg.ApiVersionsRequest) { r.ClientSoftwareVersion = text })
		require.Equal(t, want, resp.ErrorCode, "version %q", text)
		if !good {
			require.Empty(t, resp.ApiKeys)
		}
		require.Zero(t, askVersions(t, 2, session, func(r *kmsg.ApiVersionsRequest) { r.ClientSoftwareName = text }).ErrorCode)
	}
}

func TestApiVersionsTellsAClientThatItMeansAnotherBroker(t *testing.T) {
	for _, c := range []struct {
		cluster *string
		node    int32
		want    int16
	}{
		{nil, -1, 0},
		{kmsg.StringPtr(testCluster), testBroker, 0},
		{kmsg.StringPtr(testCluster), -1, kerr.InvalidRequest.Code},
		{nil, testBroker, kerr.InvalidRequest.Code},
		{kmsg.StringPtr(testCluster), testBroker + 1, kerr.RebootstrapRequired.Code},
		{kmsg.StringPtr("other"), testBroker, kerr.RebootstrapRequired.Code},
	} {
		resp := askVersions(t, 5, &call.Session{}, func(r *kmsg.ApiVersionsRequest) { r.ClusterID, r.NodeID = c.cluster, c.node })
		require.Equal(t, c.want, resp.ErrorCode, "%v %d", c.cluster, c.node)
	}
}
