package e2e

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemark-mq/tidemark/test/harness"
)

// TestOneQueueAtBothDoors takes one queue through the command line and a Kafka client, across a kill of the broker.
func TestOneQueueAtBothDoors(t *testing.T) {
	dir := t.TempDir()
	b := harness.Start(t, harness.Options{DataDir: dir})
	queue := func(args ...string) string {
		return run(t, append(append([]string{"queue"}, args...), "--http", "http://"+b.HTTP)...)
	}

	var made struct {
		Topic  string
		Groups []struct{ ID string }
	}
	require.NoError(t, json.Unmarshal([]byte(queue("create", "jobs", "--mode", "fifo", "--max-consume-count", "1", "--group", "workers", "--json")), &made))
	require.True(t, strings.HasPrefix(made.Topic, "q-local-"), made.Topic)
	queue("send", "jobs", "over HTTP", `{"n":2}`, "--label", "eu")
	cl := b.Client(t, kgo.DefaultProduceTopic(made.Topic))
	require.NoError(t, cl.ProduceSync(t.Context(), kgo.StringRecord("not JSON"), kgo.StringRecord(`"over Kafka"`)).FirstErr())

	// What is leased stays so when the broker dies, and its handles stay good.
	out := queue("receive", "jobs", "workers", "--max", "1", "--ack-wait", "5m", "--wait", "20s")
	require.Contains(t, out, "over HTTP\n  labels eu\n")
	handle := strings.TrimSpace(out[strings.Index(out, "handle ")+len("handle "):])
	b.Kill()
	b = harness.Start(t, harness.Options{DataDir: dir})
	require.Regexp(t, `(?m)^0:0 +leased .* 1 +0$`, queue("leases", "jobs", "workers"))
	require.Equal(t, "acknowledged 1\n", queue("ack", "jobs", "workers", handle))

	// A Kafka share consumer takes what comes next.
	consumer := b.Client(t, kgo.ConsumeTopics(made.Topic), kgo.ShareGroup(made.Groups[0].ID), kgo.ShareMaxRecords(1))
	record := consumer.PollRecords(harness.Context(t), 1).Records()
	require.Len(t, record, 1)
	require.Equal(t, `{"n":2}`, string(record[0].Value))
	require.Contains(t, queue("leases", "jobs", "workers"), "0:1 ")
	record[0].Ack(kgo.AckAccept)
	require.NoError(t, consumer.FlushAcks(t.Context()))
	consumer.Close()

	// Text that is no JSON is shown in base64; a failure makes a dead letter of it, which goes round again.
	out = queue("receive", "jobs", "workers", "--max", "1", "--wait", "20s")
	require.Contains(t, out, "bm90IEpTT04=\n")
	require.Equal(t, "failed 1\n", queue("ack", "jobs", "workers", "--fail", strings.TrimSpace(out[strings.Index(out, "handle ")+len("handle "):])))
	require.Equal(t, "over Kafka\nacknowledged 1\n", queue("receive", "jobs", "workers", "--ack", "--max", "1", "--wait", "20s"))
	require.Contains(t, queue("deadletters", "jobs", "workers", "--wait", "20s", "--redrive"), "sent 1 again")
	require.Equal(t, "bm90IEpTT04=\nacknowledged 1\n", queue("receive", "jobs", "workers", "--ack", "--max", "1", "--wait", "20s"))
	require.Regexp(t, `(?m)^workers +0 +0 +5 `, queue("group", "list", "jobs"))
	require.Contains(t, refuses(t, command(t, "queue", "show", "nope", "--http", "http://"+b.HTTP)), "there is no queue nope in project local")
	require.Equal(t, "deleted jobs\n", queue("delete", "jobs"))
}
