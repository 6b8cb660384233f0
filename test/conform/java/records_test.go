package java

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestConsole(t *testing.T) {
	s := newSite(t)
	read := func(t *testing.T, topic string, n int, args ...string) []string {
		out := s.Run(t, "kafka-console-consumer", append([]string{"--topic", topic, "--max-messages", fmt.Sprint(n), "--timeout-ms", "30000",
			"--formatter-property", "print.headers=true", "--formatter-property", "print.key=true",
			"--formatter-property", "null.literal=NULL", "--formatter-property", "key.separator=|", "--formatter-property", "headers.separator=;"}, args...)...)
		return strings.Split(strings.TrimRight(out, "\n"), "\n")
	}
	// headers, key, value; NULL is a null key, value or header value.
	lines := []string{"a:1,b:2|key|value", "NULL|NULL|no headers, no key", "h:NULL|tombstone|NULL", "NULL||empty key", "NULL|empty value|"}
	want := []string{"a:1;b:2|key|value", "NO_HEADERS|NULL|no headers, no key", "h:NULL|tombstone|NULL", "NO_HEADERS||empty key", "NO_HEADERS|empty value|"}
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		t.Run(codec, func(t *testing.T) {
			topic := "console-" + codec
			s.Topic(t, topic, 1)
			s.Feed(t, strings.Join(lines, "\n")+"\n", "kafka-console-producer", "--topic", topic, "--compression-codec", codec,
				"--reader-property", "parse.headers=true", "--reader-property", "parse.key=true", "--reader-property", "null.marker=NULL",
				"--reader-property", "headers.delimiter=|", "--reader-property", "key.separator=|")
			require.Equal(t, want, read(t, topic, len(want), "--from-beginning"))
		})
	}
	t.Run("from an offset", func(t *testing.T) {
		require.Equal(t, want[3:], read(t, "console-none", 2, "--partition", "0", "--offset", "3"))
	})
	t.Run("group", func(t *testing.T) {
		in := func(n int) []string { return read(t, "console-gzip", n, "--from-beginning", "--group", "readers") }
		require.Equal(t, want[:2], in(2))
		require.Equal(t, want[2:], in(3))
		s.groups(t, "readers", "console-gzip")
	})
}

// groups looks at a group that read five records of a topic to their end.
func (s site) groups(t *testing.T, group, topic string) {
	require.Contains(t, strings.Fields(s.Run(t, "kafka-consumer-groups", "--list")), group)
	lag := func(current, end, lag int) {
		t.Helper()
		out := s.Run(t, "kafka-consumer-groups", "--describe", "--group", group)
		require.Regexp(t, fmt.Sprintf(`%s\s+%s\s+0\s+%d\s+%d\s+%d\s`, group, topic, current, end, lag), out)
	}
	lag(5, 5, 0)
	require.Regexp(t, `Empty\s+0`, s.Run(t, "kafka-consumer-groups", "--describe", "--group", group, "--state"))
	s.Run(t, "kafka-consumer-groups", "--describe", "--group", group, "--members")
	s.Run(t, "kafka-consumer-groups", "--reset-offsets", "--group", group, "--topic", topic, "--to-offset", "1", "--execute")
	lag(1, 5, 4)
	s.Run(t, "kafka-consumer-groups", "--reset-offsets", "--group", group, "--all-topics", "--to-latest", "--execute")
	lag(5, 5, 0)
}

// million is how many records the performance tools send and read.
const million = 1_000_000

func TestPerformanceToolsMoveAMillionRecords(t *testing.T) {
	s := newSite(t)
	s.Topic(t, "perf", 3)
	out := s.Run(t, "kafka-producer-perf-test", "--topic", "perf", "--num-records", fmt.Sprint(million), "--record-size", "100", "--throughput", "-1",
		"--command-property", "acks=all", "compression.type=lz4", "linger.ms=5")
	summary := regexp.MustCompile(`(?m)^1000000 records sent, .*$`).FindString(out)
	require.NotEmpty(t, summary, out)
	t.Log(summary)
	out = s.Run(t, "kafka-consumer-perf-test", "--topic", "perf", "--num-records", fmt.Sprint(million), "--timeout", "60000")
	last := out[strings.LastIndex(strings.TrimSpace(out), "\n")+1:]
	require.GreaterOrEqual(t, field(t, last, 4), float64(million), out)
	t.Log(strings.TrimSpace(last))
}

// field is one number of a line of comma-separated values.
func field(t *testing.T, line string, n int) (f float64) {
	cells := strings.Split(line, ",")
	require.Greater(t, len(cells), n, line)
	_, err := fmt.Sscan(strings.TrimSpace(cells[n]), &f)
	require.NoError(t, err, line)
	return f
}

// event is one line of a verifiable client.
type event struct {
	Name       string
	Value      string
	Sent       int64
	Acked      int64
	Count      int
	Offset     int64
	Partition  int
	Partitions []struct {
		Topic                string
		Partition            int
		MinOffset, MaxOffset int64
	}
	Success *bool
}

func TestVerifiableClients(t *testing.T) {
	s := newSite(t)
	const total, partitions = 20_000, 4
	s.Topic(t, "verified", partitions)
	acked := map[string]bool{}
	for line := range strings.Lines(s.Run(t, "kafka-verifiable-producer", "--topic", "verified", "--max-messages", fmt.Sprint(total), "--acks", "-1", "--repeating-keys", "100")) {
		e := parse(t, line)
		switch e.Name {
		case "producer_send_success":
			require.False(t, acked[e.Value], "acknowledged twice: %s", e.Value)
			acked[e.Value] = true
		case "producer_send_error":
			t.Fatal(line)
		case "tool_data":
			require.EqualValues(t, total, e.Acked)
		}
	}
	require.Len(t, acked, total)

	// Two members share the partitions. When one leaves, the other gets what it had.
	first, second := s.member(t), s.member(t)
	first.until(func(e event) bool { return e.Name == "partitions_assigned" && len(e.Partitions) == partitions/2 })
	second.until(func(e event) bool { return e.Name == "partitions_assigned" && len(e.Partitions) == partitions/2 })
	second.stop()
	first.until(func(e event) bool { return e.Name == "partitions_assigned" && len(e.Partitions) == partitions })
	if first.read+second.read < total {
		first.until(func(event) bool { return first.read+second.read >= total })
	}
	first.stop()
	require.Regexp(t, `(?s)(verified\s+\d\s+\d+\s+\d+\s+0\s.*){4}`, s.Run(t, "kafka-consumer-groups", "--describe", "--group", "verifiers"))
}

// member is a verifiable consumer that runs.
type member struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines *bufio.Scanner
	read  int64 // records so far
	log   []string
}

func (s site) member(t *testing.T) *member {
	cmd := s.Command(t, "kafka-verifiable-consumer", "--bootstrap-server", s.Addr, "--topic", "verified", "--group-id", "verifiers", "--enable-autocommit")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	m := &member{t: t, cmd: cmd, lines: bufio.NewScanner(out)}
	m.lines.Buffer(nil, 1<<20)
	return m
}

// until reads events up to the one that fits.
func (m *member) until(fits func(event) bool) {
	m.t.Helper()
	for m.lines.Scan() {
		if m.see(m.lines.Text(), fits) {
			return
		}
	}
	m.t.Fatalf("the consumer ended early:\n%s", strings.Join(m.log, "\n"))
}

func (m *member) see(line string, fits func(event) bool) bool {
	e := parse(m.t, line)
	if len(m.log) < 200 {
		m.log = append(m.log, line)
	}
	if e.Name == "records_consumed" {
		m.read += int64(e.Count)
	}
	return fits(e)
}

// stop lets it leave its group and reads what it still says.
func (m *member) stop() {
	require.NoError(m.t, m.cmd.Process.Signal(syscall.SIGTERM))
	for m.lines.Scan() {
		m.see(m.lines.Text(), func(event) bool { return false })
	}
	_ = m.cmd.Wait()
}

func parse(t *testing.T, line string) event {
	t.Helper()
	var e event
	require.NoError(t, json.Unmarshal([]byte(line), &e), line)
	return e
}
