package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

func read(t *testing.T, args []string, environ ...string) (settings, error) {
	t.Helper()
	f := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	serveFlags(f)
	require.NoError(t, f.Parse(args))
	return readSettings(f, func() []string { return environ })
}

func yamlFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tidemark.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestNoArgumentIsNeeded(t *testing.T) {
	s, err := read(t, nil)
	require.NoError(t, err)
	require.Equal(t, "./tidemark-data", s.DataDir)
	require.Equal(t, []string{"127.0.0.1:9092"}, s.Listen)
	require.Equal(t, int32(1), s.BrokerID)
}

func TestFlagBeforeEnvironmentBeforeFile(t *testing.T) {
	path := yamlFile(t, "data-dir: file\nrack: file\nbroker-id: 3\nlisten: ['A=127.0.0.1:1', '127.0.0.1:2']\nset:\n  num.partitions: 3\n  log.retention.hours: 1\n")
	s, err := read(t, []string{"--config", path, "--data-dir", "flag", "--set", "num.partitions=6"},
		"TIDEMARK_DATA_DIR=env", "TIDEMARK_RACK=env", "TIDEMARK_SET=log.retention.hours=2,compression.type=zstd", "OTHER=1")
	require.NoError(t, err)
	require.Equal(t, "flag", s.DataDir)
	require.Equal(t, "env", s.Rack)
	require.Equal(t, int32(3), s.BrokerID)
	require.Equal(t, []string{"A=127.0.0.1:1", "127.0.0.1:2"}, s.Listen)
	require.Equal(t, map[string]string{"num.partitions": "6", "log.retention.hours": "2", "compression.type": "zstd"}, s.Set)
}

func TestTheFileMayBeNamedByTheEnvironment(t *testing.T) {
	s, err := read(t, nil, "TIDEMARK_CONFIG="+yamlFile(t, "rack: r1"))
	require.NoError(t, err)
	require.Equal(t, "r1", s.Rack)
}

func TestEveryProblemIsNamed(t *testing.T) {
	path := yamlFile(t, "no-such: 1\nset: 5\n")
	_, err := read(t, []string{"--config", path, "--set", "novalue", "--log-level", "loud", "--broker-id=-1"}, "TIDEMARK_COLOUR=red")
	for _, part := range []string{"no-such", "set:", `"novalue"`, "loud", "-1", "TIDEMARK_COLOUR"} {
		require.ErrorContains(t, err, part)
	}
	_, err = read(t, []string{"--config", "/no/such/file"})
	require.ErrorContains(t, err, "/no/such/file")
}
