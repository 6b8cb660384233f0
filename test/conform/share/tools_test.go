package share

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemark-mq/tidemark/test/conform/target"
)

const (
	tool  = "kafka-share-groups"
	topic = "--topic"
)

// One broker serves all of it, one tool after the other.
func TestShareTools(t *testing.T) {
	needed(t)
	t.Parallel()
	s := site{target.StartTools(t, "group.initial.rebalance.delay.ms=0", "offsets.topic.num.partitions=5")}
	s.Topic(t, "orders", 2)
	t.Run("settings", s.settings)
	t.Run("console", s.console)
	t.Run("offsets", s.offsets)
	t.Run("verifiable", s.verifiable)
	t.Run("performance", s.performance)
	t.Run("listings", s.listings)
}

// site is a broker and the tools that are pointed at it.
type site struct{ target.Tools }

func (s site) settings(t *testing.T) {
	group := []string{"--entity-type", "groups", "--entity-name", "pickers"}
	configs := func(args ...string) string { return s.Run(t, "kafka-configs", append(args, group...)...) }
	configs("--alter", "--add-config", "share.auto.offset.reset=earliest,share.record.lock.duration.ms=20000")
	all := s.Eventually(t, "share.record.lock.duration.ms=20000", "kafka-configs", append([]string{"--describe", "--all"}, group...)...)
	require.Contains(t, all, "DYNAMIC_GROUP_CONFIG:share.auto.offset.reset=earliest")
	for _, d := range []string{"delivery.count.limit=5", "heartbeat.interval.ms=5000", "session.timeout.ms=45000"} {
		require.Contains(t, all, "DEFAULT_CONFIG:group.share."+d)
	}
	configs("--alter", "--delete-config", "share.record.lock.duration.ms")
	bad := append([]string{"--alter", "--add-config", "share.record.lock.duration.ms=14999"}, group...)
	require.Contains(t, s.Refused(t, "kafka-configs", bad...), "share.record.lock.duration.ms")
}

// send produces to partition 0 of a topic, with key k.
func (s site) send(t *testing.T, to string, values ...string) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.Addr), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	require.NoError(t, err)
	defer cl.Close()
	for _, v := range values {
		cl.Produce(t.Context(), &kgo.Record{Topic: to, Key: []byte("k"), Value: []byte(v)}, func(_ *kgo.Record, err error) {
			assert.NoError(t, err)
		})
	}
	require.NoError(t, cl.Flush(t.Context()))
}

// read is what the console's share consumer shows of records, sorted.
func (s site) read(t *testing.T, n int, args ...string) []string {
	t.Helper()
	out := s.Run(t, "kafka-console-share-consumer", append([]string{topic, "orders", "--group", "pickers", "--timeout-ms", "60000",
		"--max-messages", strconv.Itoa(n), "--formatter-property", "print.offset=true", "--formatter-property", "print.delivery=true",
		"--formatter-property", "print.key=true"}, args...)...)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	slices.Sort(lines)
	return lines
}

func (s site) console(t *testing.T) {
	s.send(t, "orders", "one", "two", "three")
	shown := func(delivery int) []string {
		return []string{fmt.Sprintf("Offset:0\tDelivery:%d\tk\tone", delivery), fmt.Sprintf("Offset:1\tDelivery:%d\tk\ttwo", delivery),
			fmt.Sprintf("Offset:2\tDelivery:%d\tk\tthree", delivery)}
	}
	require.Equal(t, shown(1), s.read(t, 3, "--release"))
	require.Equal(t, shown(2), s.read(t, 3))
	s.send(t, "orders", "bad")
	require.Equal(t, []string{"Offset:3\tDelivery:1\tk\tbad"}, s.read(t, 1, "--reject"))
	s.send(t, "orders", "last")
	require.Equal(t, []string{"Offset:4\tDelivery:1\tk\tlast"}, s.read(t, 1), "neither accepted nor rejected records come back")
}

// starts are the start offsets of a group in each partition of a topic, as the tool tells them.
func (s site) starts(t *testing.T, group, of string) []int {
	t.Helper()
	return column(t, s.Run(t, tool, "--describe", "--group", group, "--offsets"), of, 3)
}

// column is a cell of each of a topic's lines, -1 for "-", by partition.
func column(t *testing.T, out, topic string, n int) []int {
	t.Helper()
	cells := map[int]int{}
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) <= n || f[1] != topic {
			continue
		}
		p, err := strconv.Atoi(f[2])
		require.NoError(t, err, out)
		v, err := strconv.Atoi(f[n])
		if f[n] == "-" {
			v, err = -1, nil
		}
		require.NoError(t, err, out)
		cells[p] = v
	}
	all := make([]int, len(cells))
	for p, v := range cells {
		require.Less(t, p, len(all), out)
		all[p] = v
	}
	return all
}

func (s site) offsets(t *testing.T) {
	group := []string{"--group", "pickers"}
	run := func(args ...string) string { return s.Run(t, tool, append(args, group...)...) }
	require.Regexp(t, `(?m)^pickers\s+\S+\s+\(1\)\s+Empty\s+0\s*$`, run("--describe", "--state"))
	end := "5"
	if target.IsKafka() {
		end = "[45]" // its start offset is one acknowledgement behind
	}
	require.Regexp(t, `(?m)^pickers\s+orders\s+0\s+\d+\s+`+end+`\s+0\s*$`, run("--describe", "--offsets", "--verbose"))
	before := s.starts(t, "pickers", "orders")

	dry := run("--reset-offsets", "--all-topics", "--to-earliest", "--dry-run")
	require.Equal(t, []int{0, 0}, column(t, dry, "orders", 3))
	require.Equal(t, before, s.starts(t, "pickers", "orders"), "a dry run changes nothing")
	run("--reset-offsets", topic, "orders", "--to-earliest", "--execute")
	require.Len(t, s.read(t, 5), 5, "all are there again")
	run("--reset-offsets", topic, "orders", "--to-latest", "--execute")
	require.Equal(t, []int{5, 0}, s.starts(t, "pickers", "orders"))
	require.Contains(t, run("--delete-offsets", topic, "orders"), "Successful")
	require.Empty(t, s.starts(t, "pickers", "orders"))
}

// event is one line of a verifiable client.
type event struct {
	Name       string
	Acked      int
	Count      int
	Error      string
	Partitions []struct {
		Topic     string
		Partition int
		Count     int
		Offsets   []int64
	}
}

func (s site) verifiable(t *testing.T) {
	const total = 2000
	s.Topic(t, "verified", 4)
	out := s.Run(t, "kafka-verifiable-producer", topic, "verified", "--max-messages", strconv.Itoa(total), "--acks", "-1", "--repeating-keys", "100")
	require.Contains(t, out, fmt.Sprintf(`"acked":%d`, total))
	out = s.Run(t, "kafka-verifiable-share-consumer", topic, "verified", "--group-id", "verifiers", "--max-messages", strconv.Itoa(total),
		"--acknowledgement-mode", "sync", "--offset-reset-strategy", "earliest")
	received, acknowledged, seen := 0, 0, map[string]bool{}
	for line := range strings.Lines(out) {
		var e event
		require.NoError(t, json.Unmarshal([]byte(line), &e), line)
		switch e.Name {
		case "records_consumed":
			received += e.Count
		case "offsets_acknowledged":
			require.Empty(t, e.Error, line)
			acknowledged += e.Count
			for _, p := range e.Partitions {
				for _, o := range p.Offsets {
					at := fmt.Sprint(p.Partition, " ", o)
					require.False(t, seen[at], "acknowledged twice: %s", at)
					seen[at] = true
				}
			}
		}
	}
	require.GreaterOrEqual(t, received, total)
	require.GreaterOrEqual(t, acknowledged, total)
}

func (s site) performance(t *testing.T) {
	const total = 100_000
	s.Topic(t, "perf", 3)
	s.send(t, "perf", slices.Repeat([]string{strings.Repeat("x", 100)}, total)...)
	out := s.Run(t, "kafka-share-consumer-perf-test", topic, "perf", "--group", "pickers", "--num-records", strconv.Itoa(total), "--threads", "2", "--timeout", "60000")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	cells := strings.Split(lines[len(lines)-1], ",")
	require.Greater(t, len(cells), 6, out)
	n, err := strconv.ParseFloat(strings.TrimSpace(cells[5]), 64)
	require.NoError(t, err, out)
	require.GreaterOrEqual(t, n, float64(total), out)
	t.Log(strings.Join(lines[max(0, len(lines)-2):], "\n"))
}

func (s site) listings(t *testing.T) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.Addr))
	require.NoError(t, err)
	defer cl.Close()
	at := kadm.Offsets{}
	at.AddOffset("orders", 0, 1, -1)
	require.NoError(t, kadm.NewClient(cl).CommitAllOffsets(t.Context(), "readers", at))

	names := strings.Fields(s.Run(t, tool, "--list"))
	slices.Sort(names)
	require.Equal(t, []string{"pickers", "verifiers"}, names, "groups of other types are not listed")
	require.Regexp(t, `(?m)^pickers\s+Empty\s*$`, s.Run(t, tool, "--list", "--state", "Empty"))
	types := s.Run(t, "kafka-groups", "--list")
	require.Regexp(t, `(?m)^pickers\s+Share\s+share\s*$`, types)
	require.Regexp(t, `(?m)^readers\s+Classic\s`, types)

	members := s.living(t, "pickers")
	require.Regexp(t, `(?m)^pickers\s+\S+\s+/127\.0\.0\.1\s+console-share-consumer\s+3\s+perf:0,1,2\s*$`, members)

	require.Contains(t, s.Run(t, tool, "--delete", "--group", "verifiers"), "successful")
	require.Contains(t, s.Run(t, tool, "--delete", "--group", "readers"), "not a share group")
}

// living describes the members of a group that has one, which may not be deleted meanwhile.
func (s site) living(t *testing.T, group string) string {
	t.Helper()
	cmd := s.Command(t, "kafka-console-share-consumer", topic, "perf", "--group", group, "--bootstrap-server", s.Addr)
	require.NoError(t, cmd.Start())
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	out := s.Eventually(t, "perf:", tool, "--describe", "--group", group, "--members")
	require.Contains(t, s.Run(t, tool, "--delete", "--group", group), "not EMPTY")
	return out
}
