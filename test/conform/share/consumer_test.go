package share

import (
	"bytes"
	"context"
	"flag"
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

var record = flag.Bool("record", false, "write the transcript from a new Apache Kafka instead of comparing with it")

// programLimit is far above what the cases take together, on a busy machine too.
const programLimit = 5 * time.Minute

const transcript = "testdata/transcript.txt"

// needed skips a test where nobody has seen to it that java is there.
func needed(t *testing.T) {
	t.Helper()
	if os.Getenv("CONFORM_SHARE") == "" {
		t.Skip("Apache Kafka's share consumers are run by test/conform/run, which sets CONFORM_SHARE where java, javac and mvn are there")
	}
}

func TestShareConsumerDoesAsWithKafka(t *testing.T) {
	if *record {
		got, _ := run(t, target.Kafka(t).Addr)
		require.NoError(t, os.WriteFile(transcript, []byte(got), 0o644))
		return
	}
	needed(t)
	t.Parallel()
	got, notes := run(t, target.Start(t, "offsets.topic.num.partitions=5").Addr)
	want, err := os.ReadFile(transcript)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
	if !target.IsKafka() {
		begunAtOnce(t, notes)
	}
}

// run compiles the program and runs it against a broker. It answers what the cases said,
// and the notes they made.
func run(t *testing.T, addr string) (said, notes string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), programLimit)
	t.Cleanup(cancel)
	out, err := exec.CommandContext(ctx, target.Script(t, "kafka"), "classpath").Output()
	require.NoError(t, err, "the jars' class path")
	jars, classes := strings.TrimSpace(string(out)), t.TempDir()
	sources, err := filepath.Glob("client/*.java")
	require.NoError(t, err)
	out, err = exec.CommandContext(ctx, "javac", append([]string{"-proc:none", "-d", classes, "-cp", jars}, sources...)...).CombinedOutput()
	require.NoError(t, err, string(out))

	cmd := exec.CommandContext(ctx, "java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-Dlog4j2.configurationFile="+target.Script(t, "jars/log4j2.properties"), "-cp", classes+":"+jars, "Main", addr)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var fail bytes.Buffer
	cmd.Stderr = &fail
	out, err = cmd.Output()
	require.NoError(t, err, "%s%s", out, fail.String())
	for line := range strings.Lines(fail.String()) {
		if strings.HasPrefix(line, "# ") {
			t.Log(strings.TrimSpace(line))
		}
	}
	return string(out), fail.String()
}

var beats = regexp.MustCompile(`# first-poll: heartbeats until then: (\d+)`)

// begunAtOnce sees to it that a new member has its first records without waiting for
// another heartbeat: one joins, one tells what it was given. Kafka assigns a second after
// the first, so that the client learns of it by its next one, five seconds on.
func begunAtOnce(t *testing.T, notes string) {
	t.Helper()
	m := beats.FindStringSubmatch(notes)
	require.NotNil(t, m, notes)
	n, err := strconv.Atoi(m[1])
	require.NoError(t, err)
	require.LessOrEqual(t, n, 2)
}
