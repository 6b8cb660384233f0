package java

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/test/conform/target"
)

// toolLimit is far above what any tool takes here, on a busy machine too.
const toolLimit = 3 * time.Minute

// site is a broker and the tools that are pointed at it.
type site struct {
	*target.Broker
	script string
}

func newSite(t *testing.T, settings ...string) site {
	t.Helper()
	if os.Getenv("CONFORM_JAVA") == "" {
		t.Skip("Apache Kafka's tools are run by test/conform/run, which sets CONFORM_JAVA where java and mvn are there")
	}
	settings = append([]string{"group.initial.rebalance.delay.ms=0", "offsets.topic.num.partitions=5"}, settings...)
	return site{target.Start(t, settings...), target.Script(t, "kafka")}
}

// command is a tool with the broker's address, in a process group that the test ends.
func (s site) command(t *testing.T, name string, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(t.Context(), toolLimit)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, s.script, append([]string{name}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// try runs a tool and returns what it printed, and its error with what it complained of.
func (s site) try(t *testing.T, stdin, name string, args ...string) (string, error) {
	t.Helper()
	cmd := s.command(t, name, args...)
	var out, fail bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &fail
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w\n%s%s", name, strings.Join(args, " "), err, out.String(), fail.String())
	}
	return out.String(), nil
}

// run is try for a tool that must succeed; --bootstrap-server is added.
func (s site) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	return s.feed(t, "", name, args...)
}

func (s site) feed(t *testing.T, stdin, name string, args ...string) string {
	t.Helper()
	out, err := s.try(t, stdin, name, append(args, "--bootstrap-server", s.Addr)...)
	require.NoError(t, err)
	return out
}

// refused is run for a tool that must fail, and returns why.
func (s site) refused(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := s.try(t, "", name, append(args, "--bootstrap-server", s.Addr)...)
	require.Error(t, err, out)
	return err.Error()
}

// eventually repeats a tool until its output has the text: Kafka itself shows some
// changes a moment after it confirmed them.
func (s site) eventually(t *testing.T, text, name string, args ...string) string {
	t.Helper()
	var out string
	for limit := time.Now().Add(20 * time.Second); ; {
		if out = s.run(t, name, args...); strings.Contains(out, text) {
			return out
		}
		require.True(t, time.Now().Before(limit), "%s %v never said %q:\n%s", name, args, text, out)
	}
}
