package kcat

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/test/conform/target"
)

// runLimit is far above what any call takes here.
const runLimit = 2 * time.Minute

type site struct{ *target.Broker }

func newSite(t *testing.T) site {
	t.Helper()
	if os.Getenv("CONFORM_KCAT") == "" {
		t.Skip("kcat is run by test/conform/run, which sets CONFORM_KCAT where it is installed")
	}
	return site{target.Start(t, "group.initial.rebalance.delay.ms=0", "offsets.topic.num.partitions=5")}
}

// kcat runs the tool on input and returns what it printed to standard output.
func (s site) kcat(t *testing.T, input string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), runLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Getenv("CONFORM_KCAT"), append([]string{"-b", s.Addr}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out, fail bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &fail
	require.NoError(t, cmd.Run(), "kcat %v\n%s", args, &fail)
	return out.String()
}

// read consumes a partition's records up to its end, in a form that tells null from empty.
func (s site) read(t *testing.T, topic string, args ...string) []string {
	t.Helper()
	out := s.kcat(t, "", append([]string{"-C", "-q", "-e", "-t", topic, "-f", `%o|%K:%k|%S:%s|%h\n`}, args...)...)
	return strings.Split(strings.TrimRight(out, "\n"), "\n")
}

func TestKcat(t *testing.T) {
	s := newSite(t)
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		t.Run("codec "+codec, func(t *testing.T) { s.codec(t, codec) })
	}
	t.Run("keys, headers and nulls", s.shapes)
	t.Run("sizes", s.sizes)
	t.Run("groups", s.groups)
	t.Run("metadata", s.metadata)
	t.Run("offsets and times", s.times)
	t.Run("a topic made by producing", s.automatic)
}

func (s site) codec(t *testing.T, codec string) {
	topic := "codec-" + codec
	s.Topic(t, topic, 1)
	var in strings.Builder
	var want []string
	for i := range 1000 {
		value := fmt.Sprintf("%d %s", i, strings.Repeat("repeated ", i%20))
		fmt.Fprintf(&in, "k%d:%s\n", i, value)
		want = append(want, fmt.Sprintf("%d|%d:k%d|%d:%s|", i, len(fmt.Sprint(i))+1, i, len(value), value))
	}
	s.kcat(t, in.String(), "-P", "-t", topic, "-p", "0", "-K:", "-z", codec, "-X", "enable.idempotence=true")
	require.Equal(t, want, s.read(t, topic))
}

func (s site) shapes(t *testing.T) {
	s.Topic(t, "shapes", 1)
	put := func(input string, args ...string) {
		s.kcat(t, input, append([]string{"-P", "-t", "shapes", "-p", "0"}, args...)...)
	}
	put("plain\n")
	put("key:value\n", "-K:")
	put("fixed key\n", "-k", "the key")
	put("headers\n", "-H", "a=1", "-H", "b=", "-H", "a=2")
	put("tombstone:\n", "-K:", "-Z")
	put("bin\x01\xff\n", "-k", "\x02\xfe")
	require.Equal(t, []string{
		"0|-1:|5:plain|", "1|3:key|5:value|", "2|7:the key|9:fixed key|", "3|-1:|7:headers|a=1,b=,a=2",
		"4|9:tombstone|-1:|", "5|2:\x02\xfe|5:bin\x01\xff|",
	}, s.read(t, "shapes"))
	require.Equal(t, []string{"4|9:tombstone|-1:|", "5|2:\x02\xfe|5:bin\x01\xff|"}, s.read(t, "shapes", "-o", "4"))
	require.Equal(t, []string{"5|2:\x02\xfe|5:bin\x01\xff|"}, s.read(t, "shapes", "-o", "-1"))
}

// sizes sends files whole, up to what a topic takes by default.
func (s site) sizes(t *testing.T) {
	s.Topic(t, "sizes", 1)
	for i, size := range []int{1, 1000, 100_000, 1_000_000} {
		value := strings.Repeat("x", size)
		file := filepath.Join(t.TempDir(), "value")
		require.NoError(t, os.WriteFile(file, []byte(value), 0o600))
		s.kcat(t, "", "-P", "-t", "sizes", "-p", "0", "-X", "message.max.bytes=1100000", file)
		got := s.kcat(t, "", "-C", "-q", "-e", "-t", "sizes", "-p", "0", "-o", strconv.Itoa(i), "-f", "%s")
		require.True(t, got == value, "%d bytes came back as %d", size, len(got))
	}
}

func (s site) groups(t *testing.T) {
	s.Topic(t, "grouped", 3)
	var in strings.Builder
	for i := range 300 {
		fmt.Fprintf(&in, "%d:%d\n", i, i)
	}
	s.kcat(t, in.String(), "-P", "-t", "grouped", "-K:")
	read := func() int {
		return strings.Count(s.kcat(t, "", "-q", "-e", "-f", `%s\n`, "-X", "auto.offset.reset=earliest", "-G", "kcats", "grouped"), "\n")
	}
	require.Equal(t, 300, read())
	require.Zero(t, read(), "the group has read all")
	s.kcat(t, "one more\n", "-P", "-t", "grouped")
	require.Equal(t, 1, read())
}

func (s site) metadata(t *testing.T) {
	s.Topic(t, "listed", 2)
	all := s.kcat(t, "", "-L")
	require.Contains(t, all, "broker 1 at "+s.Addr+" (controller)")
	require.Contains(t, all, `topic "listed" with 2 partitions`)
	one := s.kcat(t, "", "-L", "-t", "listed")
	require.Contains(t, one, "partition 1, leader 1, replicas: 1, isrs: 1")
	require.Contains(t, s.kcat(t, "", "-L", "-J", "-t", "listed"), `"partition":0,"leader":1`)
}

func (s site) times(t *testing.T) {
	s.Topic(t, "timed", 1)
	put := func(v string) { s.kcat(t, v+"\n", "-P", "-t", "timed", "-p", "0") }
	put("first")
	put("second")
	stamps := strings.Fields(s.kcat(t, "", "-C", "-q", "-e", "-t", "timed", "-f", "%T "))
	require.Len(t, stamps, 2)
	offset := func(at string) string {
		out := s.kcat(t, "", "-Q", "-t", "timed:0:"+at)
		m := regexp.MustCompile(`offset (-?\d+)`).FindStringSubmatch(out)
		require.NotNil(t, m, out)
		return m[1]
	}
	require.Equal(t, "0", offset("1"))
	require.Equal(t, "1", offset(stamps[1]))
	require.Equal(t, "2", offset("-1"))
	require.Equal(t, "0", offset("-2"))
	require.Equal(t, []string{"1|-1:|6:second|"}, s.read(t, "timed", "-o", "s@"+stamps[1]))
	require.Equal(t, []string{"0|-1:|5:first|"}, s.read(t, "timed", "-o", "s@1", "-o", "e@"+stamps[1]))
}

func (s site) automatic(t *testing.T) {
	s.kcat(t, "hello\n", "-P", "-t", "made-by-producing")
	require.Equal(t, []string{"0|-1:|5:hello|"}, s.read(t, "made-by-producing"))
}

func TestAMillionRecordsThroughAPipe(t *testing.T) {
	s := newSite(t)
	s.Topic(t, "pipe", 1)
	var in bytes.Buffer
	for i := range 1_000_000 {
		fmt.Fprintf(&in, "record number %d of a million\n", i)
	}
	began := time.Now()
	s.kcat(t, in.String(), "-P", "-t", "pipe", "-p", "0", "-z", "lz4", "-X", "enable.idempotence=true")
	sent := time.Since(began)
	out := s.kcat(t, "", "-C", "-q", "-e", "-t", "pipe", "-p", "0", "-o", "beginning")
	t.Logf("sent in %s, read in %s", sent.Round(time.Millisecond), (time.Since(began) - sent).Round(time.Millisecond))
	require.Equal(t, sha256.Sum256(in.Bytes()), sha256.Sum256([]byte(out)), "%d bytes sent, %d read", in.Len(), len(out))
}
