package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemark-mq/tidemark/test/harness"
)

// run runs a tool that must succeed and answers its standard output.
func run(t *testing.T, args ...string) string {
	t.Helper()
	cmd := command(t, args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "tidemark %v:\n%s", args, stderr.String())
	return string(out)
}

func TestTopicCommands(t *testing.T) {
	b := harness.Start(t, harness.Options{})
	topic := func(args ...string) []string { return append([]string{"topic", "-b", b.Addr}, args...) }
	out := run(t, topic("create", "a", "b", "-p", "3", "-c", "retention.ms=60000")...)
	require.Regexp(t, `(?m)^created a, partitions 3, id [A-Za-z0-9_-]{22}$`, out)
	require.Regexp(t, `(?m)^created b, partitions 3, id [A-Za-z0-9_-]{22}$`, out)
	out = run(t, topic("list")...)
	require.Regexp(t, `(?m)^a\s`, out)
	require.Regexp(t, `(?m)^b\s`, out)
	out = run(t, topic("describe", "a")...)
	require.Contains(t, out, "retention.ms")
	require.Contains(t, out, "60000")
	require.Regexp(t, `topic a, id [A-Za-z0-9_-]{22}\b`, out)
	require.Contains(t, refuses(t, command(t, topic("create", "a")...)), "already exists")
	require.Contains(t, refuses(t, command(t, topic("create", "c", "-c", "retention.msec=1")...)), "retention.msec")
	require.Contains(t, refuses(t, command(t, topic("describe", "missing")...)), "missing")
	run(t, topic("delete", "a", "b")...)
	require.NotRegexp(t, `(?m)^[ab]\s`, run(t, topic("list")...))
	require.Contains(t, refuses(t, command(t, topic("delete", "a")...)), "a")
}

func TestToolsWithoutABroker(t *testing.T) {
	message := refuses(t, command(t, "topic", "list", "-b", "127.0.0.1:1"))
	require.Contains(t, message, "127.0.0.1:1")
	require.Contains(t, message, "--bootstrap-server")
}

func TestDumpReadsWhatABrokerWroteAndSeesAFlippedBit(t *testing.T) {
	b := harness.Start(t, harness.Options{})
	createTopic(t, b, "t", 1)
	cl := b.Client(t, kgo.DefaultProduceTopic("t"), kgo.ProducerLinger(0))
	for _, v := range []string{"first", "second", "third"} {
		require.NoError(t, cl.ProduceSync(t.Context(), &kgo.Record{Key: []byte("k"), Value: []byte(v)}).FirstErr())
	}
	require.NoError(t, b.Stop())
	dir := filepath.Join(b.DataDir, "logs", "t-0")
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var files []string
	for _, e := range entries {
		files = append(files, filepath.Join(dir, e.Name()))
	}
	out := run(t, append([]string{"dump", "--records"}, files...)...)
	require.Len(t, regexp.MustCompile(`(?m)^base offset \d+ .* producer \d+/0 sequence`).FindAllString(out, -1), 3)
	for _, v := range []string{`"first"`, `"second"`, `"third"`} {
		require.Contains(t, out, v)
	}
	file, err := segmentFile(b.DataDir, "t-0")
	require.NoError(t, err)
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	data[len(data)/2] ^= 1
	require.NoError(t, os.WriteFile(file, data, 0o600))
	require.Contains(t, refuses(t, command(t, "dump", file)), file)
}

func TestBenchCommands(t *testing.T) {
	b := harness.Start(t, harness.Options{})
	score := regexp.MustCompile(`(?m)^20000 records in .* records/s, .* MiB/s; wait ms p50 .* p99 .* max`)
	require.Regexp(t, score, run(t, "bench", "produce", "-b", b.Addr, "-n", "20000", "--clients", "2", "--partitions", "2", "--compression", "zstd"))
	require.Regexp(t, score, run(t, "bench", "consume", "-b", b.Addr, "-n", "20000"))
	require.Contains(t, refuses(t, command(t, "bench", "produce", "-b", b.Addr, "--compression", "brotli")), "brotli")
}

func TestHelpNamesEverySetting(t *testing.T) {
	out := run(t, "serve", "--help")
	for _, flag := range []string{"--config", "--data-dir", "--listen", "--advertise", "--admin-listen", "--http-listen", "--http-url", "--region", "--queue-quota", "--group-quota", "--queue-partitions", "--broker-id", "--rack", "--etcd", "--set", "--insecure", "--log-level", "--log-format"} {
		require.Contains(t, out, flag)
	}
	out = run(t, "--help")
	for _, sub := range []string{"serve", "topic", "queue", "project", "user", "access-key", "dump", "bench"} {
		require.Contains(t, out, sub)
	}
}
