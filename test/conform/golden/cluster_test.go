package golden

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func init() {
	scenarios["api-versions"] = apiVersions
	scenarios["cluster"] = cluster
}

// underTest keeps the keys that every broker here serves; what else is served, and which
// features go with it, differs on purpose.
func underTest(r kmsg.Response) {
	resp := r.(*kmsg.ApiVersionsResponse)
	resp.ApiKeys = slices.DeleteFunc(resp.ApiKeys, func(k kmsg.ApiVersionsResponseApiKey) bool {
		_, under := served[kmsg.Key(k.ApiKey)]
		return !under
	})
	resp.SupportedFeatures, resp.FinalizedFeatures, resp.FinalizedFeaturesEpoch, resp.ZkMigrationReady = nil, nil, -1, false
}

func apiVersions(s *script) {
	ask := func(about, name, version string) {
		r := kmsg.NewPtrApiVersionsRequest()
		r.ClientSoftwareName, r.ClientSoftwareVersion = name, version
		s.ask(about, r, underTest)
	}
	ask("plain", "golden", "1.0")
	if s.at(kmsg.ApiVersions) < 3 {
		return
	}
	ask("bad client name", "-golden-", "1.0")
	ask("no client version", "golden", "")
	r := kmsg.NewPtrApiVersionsRequest()
	r.ClientSoftwareName, r.ClientSoftwareVersion, r.NodeID = "golden", "1.0", 1
	s.ask("node without cluster", r, underTest)
	r.ClusterID = ptr("of somebody else")
	s.ask("another cluster", r, underTest)
	s.ask("the connection goes on", metadata())
}

func cluster(s *script) {
	t := s.topic("t", 1)
	s.fill(t, one("k", "v"))
	describe := kmsg.NewPtrDescribeClusterRequest()
	s.ask("brokers", describe)
	describe.IncludeClusterAuthorizedOperations = true
	s.ask("brokers, and what may be done", describe)
	if s.at(kmsg.DescribeCluster) >= 1 {
		describe.EndpointType = 2
		s.ask("controllers, from a broker", describe)
		describe.EndpointType = 7
		s.ask("an unknown kind of endpoint", describe)
	}

	dirs := kmsg.NewPtrDescribeLogDirsRequest()
	dt := kmsg.NewDescribeLogDirsRequestTopic()
	dt.Topic, dt.Partitions = t.name, []int32{0}
	dirs.Topics = append(dirs.Topics, dt)
	s.ask("where a partition is", dirs)
	dirs.Topics[0].Partitions = []int32{3}
	s.ask("where an unknown partition is", dirs)
	dirs.Topics = []kmsg.DescribeLogDirsRequestTopic{}
	s.ask("where nothing is", dirs)

	quorum := kmsg.NewPtrDescribeQuorumRequest()
	qt := kmsg.NewDescribeQuorumRequestTopic()
	qt.Topic = "__cluster_metadata"
	qt.Partitions = append(qt.Partitions, kmsg.NewDescribeQuorumRequestTopicPartition())
	quorum.Topics = append(quorum.Topics, qt)
	s.ask("who decides", quorum, func(r kmsg.Response) {
		// How far the metadata is, and since when, is each cluster's own. A controller's
		// endpoints are shown only where it listens by itself.
		resp := r.(*kmsg.DescribeQuorumResponse)
		resp.Nodes = nil
		for i := range resp.Topics {
			for j := range resp.Topics[i].Partitions {
				p := &resp.Topics[i].Partitions[j]
				p.LeaderEpoch, p.HighWatermark = 0, 0
				for k := range p.CurrentVoters {
					v := kmsg.NewDescribeQuorumResponseTopicPartitionReplicaState()
					v.ReplicaID = p.CurrentVoters[k].ReplicaID
					p.CurrentVoters[k] = v
				}
			}
		}
	})
	quorum.Topics[0].Topic = "elsewhere"
	s.ask("who decides on another topic", quorum)
}
