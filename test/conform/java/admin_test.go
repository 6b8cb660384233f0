package java

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// One broker serves all of it, one tool after the other, each with topics of its own.
func TestAdminTools(t *testing.T) {
	s := newSite(t)
	t.Run("topics", s.topics)
	t.Run("configs", s.configs)
	t.Run("records", s.records)
	t.Run("cluster", s.cluster)
}

func (s site) topics(t *testing.T) {
	s.Run(t, "kafka-topics", "--create", "--topic", "orders", "--partitions", "3", "--config", "retention.ms=86400000")
	require.Contains(t, s.Refused(t, "kafka-topics", "--create", "--topic", "orders"), "already exists")
	s.Run(t, "kafka-topics", "--create", "--if-not-exists", "--topic", "orders")
	require.Contains(t, s.Refused(t, "kafka-topics", "--create", "--topic", "copies", "--replication-factor", "3"), "replication factor")
	require.Contains(t, strings.Fields(s.Run(t, "kafka-topics", "--list")), "orders")

	out := s.Eventually(t, "Partition: 2", "kafka-topics", "--describe", "--topic", "orders")
	require.Contains(t, out, "PartitionCount: 3")
	require.Contains(t, out, "retention.ms=86400000")
	require.Equal(t, 3, strings.Count(out, "Leader: 1\tReplicas: 1\tIsr: 1"), out)

	s.Run(t, "kafka-topics", "--alter", "--topic", "orders", "--partitions", "5")
	s.Eventually(t, "PartitionCount: 5", "kafka-topics", "--describe", "--topic", "orders")
	require.Contains(t, s.Refused(t, "kafka-topics", "--alter", "--topic", "orders", "--partitions", "2"), "InvalidPartitions")
	require.Empty(t, strings.TrimSpace(s.Run(t, "kafka-topics", "--describe", "--unavailable-partitions")))

	s.Run(t, "kafka-topics", "--delete", "--topic", "orders")
	require.Contains(t, s.Refused(t, "kafka-topics", "--describe", "--topic", "orders"), "does not exist")
}

func (s site) configs(t *testing.T) {
	s.Topic(t, "settings", 1)
	topic := []string{"--entity-type", "topics", "--entity-name", "settings"}
	configs := func(args ...string) string { return s.Run(t, "kafka-configs", append(args, topic...)...) }
	configs("--alter", "--add-config", "max.message.bytes=123456,cleanup.policy=[compact,delete]")
	s.Eventually(t, "max.message.bytes=123456", "kafka-configs", append([]string{"--describe"}, topic...)...)
	all := configs("--describe", "--all")
	require.Contains(t, all, "cleanup.policy=compact,delete")
	require.Contains(t, all, "DEFAULT_CONFIG:log.cleanup.policy=delete")
	require.Contains(t, all, "segment.bytes=1073741824")
	configs("--alter", "--delete-config", "max.message.bytes")
	require.NotContains(t, s.Eventually(t, "Dynamic configs", "kafka-configs", append([]string{"--describe"}, topic...)...), "max.message.bytes=123456")
	require.Contains(t, s.Refused(t, "kafka-configs", append([]string{"--alter", "--add-config", "segment.bytes=three"}, topic...)...), "segment.bytes")

	broker := []string{"--entity-type", "brokers", "--entity-name", "1"}
	require.Contains(t, s.Run(t, "kafka-configs", append([]string{"--describe", "--all"}, broker...)...), "num.partitions=1")
	s.Run(t, "kafka-configs", append([]string{"--alter", "--add-config", "log.cleaner.delete.retention.ms=86400001"}, broker...)...)
	s.Eventually(t, "DYNAMIC_BROKER_CONFIG:log.cleaner.delete.retention.ms=86400001", "kafka-configs", append([]string{"--describe"}, broker...)...)
	s.Run(t, "kafka-configs", append([]string{"--alter", "--delete-config", "log.cleaner.delete.retention.ms"}, broker...)...)
}

func (s site) records(t *testing.T) {
	s.Topic(t, "lines", 1)
	s.Feed(t, "one\ntwo\nthree\nfour\n", "kafka-console-producer", "--topic", "lines")
	at := func(time string) string {
		return strings.TrimSpace(s.Run(t, "kafka-get-offsets", "--topic", "lines", "--time", time))
	}
	require.Equal(t, "lines:0:4", at("latest"))
	require.Equal(t, "lines:0:0", at("earliest"))
	require.Equal(t, "lines:0:0", at("1"))

	file := filepath.Join(t.TempDir(), "offsets.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"version":1,"partitions":[{"topic":"lines","partition":0,"offset":2}]}`), 0o600))
	require.Contains(t, s.Run(t, "kafka-delete-records", "--offset-json-file", file), "low_watermark: 2")
	require.Equal(t, "lines:0:2", at("earliest"))

	out := s.Run(t, "kafka-log-dirs", "--describe", "--topic-list", "lines")
	var dirs struct {
		Brokers []struct {
			Broker  int
			LogDirs []struct {
				Error      *string
				Partitions []struct {
					Partition string
					Size      int64
				}
			}
		}
	}
	require.NoError(t, json.Unmarshal([]byte(out[strings.Index(out, "{"):]), &dirs), out)
	require.Len(t, dirs.Brokers, 1)
	require.Nil(t, dirs.Brokers[0].LogDirs[0].Error)
	require.Equal(t, "lines-0", dirs.Brokers[0].LogDirs[0].Partitions[0].Partition)
	require.Positive(t, dirs.Brokers[0].LogDirs[0].Partitions[0].Size)
}

func (s site) cluster(t *testing.T) {
	versions := s.Run(t, "kafka-broker-api-versions")
	for _, api := range []string{"Produce(0): 0 to 13", "Fetch(1): 4 to 18", "ListOffsets(2): 1 to 11", "Metadata(3): 0 to 13", "CreateTopics(19): 2 to 7", "JoinGroup(11): 0 to 9"} {
		require.Contains(t, versions, api)
	}
	require.Contains(t, s.Run(t, "kafka-cluster", "cluster-id"), "Cluster ID: ")
	require.Contains(t, s.Run(t, "kafka-cluster", "list-endpoints"), "unfenced")
	// Here --bootstrap-server stands before the command.
	for _, what := range []string{"--status", "--replication"} {
		out, err := s.Try(t, "", "kafka-metadata-quorum", "--bootstrap-server", s.Addr, "describe", what)
		require.NoError(t, err)
		require.Contains(t, out, map[string]string{"--status": "LeaderId:               1", "--replication": "Leader"}[what])
	}
	require.NotContains(t, s.Run(t, "kafka-topics", "--list", "--exclude-internal"), "__")
}
