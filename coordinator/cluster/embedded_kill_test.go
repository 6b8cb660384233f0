package cluster

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestEmbeddedStartsAfterAKillWithManyChanges: a start replays the changes since etcd's last snapshot while it elects itself. The parent
// kills the child after some hundred changes and has another child start, which would die in raft if it dropped what is yet to be applied.
func TestEmbeddedStartsAfterAKillWithManyChanges(t *testing.T) {
	const variable = "CLUSTER_KILL_DIR"
	if dir := os.Getenv(variable); dir != "" {
		changeForever(t, dir)
	}
	rounds := 12
	if testing.Short() {
		rounds = 4
	}
	dir := filepath.Join(t.TempDir(), "etcd")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for round := range rounds {
		cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), variable+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		lines := bufio.NewScanner(out)
		for made := 0; made < 130+round*7; made++ {
			require.True(t, lines.Scan(), "round %d: the child ended after %d changes", round, made)
		}
		require.NoError(t, cmd.Process.Kill())
		require.Error(t, cmd.Wait())
	}
}

// changeForever prints a line for each change of metadata that was answered.
func changeForever(t *testing.T, dir string) {
	o := embeddedOptions(dir)
	o.Clean = false
	c, err := Start(t.Context(), o)
	require.NoError(t, err)
	for i := 0; ; i++ {
		require.NoError(t, c.AlterConfigs(t.Context(), "group", "g", func(map[string]string) (map[string]string, error) {
			return map[string]string{"n": fmt.Sprint(i)}, nil
		}))
		fmt.Println(i)
	}
}
