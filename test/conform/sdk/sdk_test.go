// Package sdk holds SDKs of the DMS service, unchanged but for endpoint and keys, against a real broker's HTTP listener.
package sdk

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/test/harness"
)

// python is the interpreter of a virtual environment that has requirements.txt.
func python(t *testing.T) string {
	path := os.Getenv("CONFORM_SDK_PYTHON")
	if path == "" {
		t.Skip("CONFORM_SDK_PYTHON is not set; test/conform/run sdk makes one")
	}
	return path
}

// tidemark runs a command of the binary under test.
func tidemark(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(harness.Context(t), harness.Binary(t), args...)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "tidemark %s\n%s", strings.Join(args, " "), out)
	return string(out)
}

func run(t *testing.T, ctx context.Context, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(ctx, name, args...)
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	require.NoError(t, err)
}
