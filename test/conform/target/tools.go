package target

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// toolLimit is far above what any tool takes here, on a busy machine too.
const toolLimit = 3 * time.Minute

// Tools are Apache Kafka's command-line tools, pointed at a broker. They need java and
// the jars that test/conform/kafka fetches.
type Tools struct {
	*Broker

	script string
}

// StartTools is Start, with the tools.
func StartTools(t *testing.T, settings ...string) Tools {
	t.Helper()
	return Tools{Start(t, settings...), Script(t, "kafka")}
}

// Command is a tool, given no address, in a process that ends with the test.
func (s Tools) Command(t *testing.T, name string, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(t.Context(), toolLimit)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, s.script, append([]string{name}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// Try runs a tool and returns what it printed, and its error with what it complained of.
func (s Tools) Try(t *testing.T, stdin, name string, args ...string) (string, error) {
	t.Helper()
	cmd := s.Command(t, name, args...)
	var out, fail bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &fail
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w\n%s%s", name, strings.Join(args, " "), err, out.String(), fail.String())
	}
	return out.String(), nil
}

// Run is Try for a tool that must succeed; --bootstrap-server is added.
func (s Tools) Run(t *testing.T, name string, args ...string) string {
	t.Helper()
	return s.Feed(t, "", name, args...)
}

// Feed is Run with standard input.
func (s Tools) Feed(t *testing.T, stdin, name string, args ...string) string {
	t.Helper()
	out, err := s.Try(t, stdin, name, append(args, "--bootstrap-server", s.Addr)...)
	require.NoError(t, err)
	return out
}

// Refused is Run for a tool that must fail, and returns why.
func (s Tools) Refused(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := s.Try(t, "", name, append(args, "--bootstrap-server", s.Addr)...)
	require.Error(t, err, out)
	return err.Error()
}

// Eventually repeats a tool until its output has the text: Kafka itself shows some
// changes a moment after it confirmed them.
func (s Tools) Eventually(t *testing.T, text, name string, args ...string) string {
	t.Helper()
	var out string
	for limit := time.Now().Add(20 * time.Second); ; {
		if out = s.Run(t, name, args...); strings.Contains(out, text) {
			return out
		}
		require.True(t, time.Now().Before(limit), "%s %v never said %q:\n%s", name, args, text, out)
	}
}
