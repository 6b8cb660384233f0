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

// A value that its flag would not take is refused wherever it stands, with its place, its name and what is wanted; an empty
// variable is no broker id 0.
func TestAValueMustFitItsFlagWhereverItStands(t *testing.T) {
	for variable, want := range map[string]string{
		"TIDEMARK_BROKER_ID=seven":       `TIDEMARK_BROKER_ID: "seven" must be an integer`,
		"TIDEMARK_BROKER_ID=":            `TIDEMARK_BROKER_ID: "" must be an integer`,
		"TIDEMARK_BROKER_ID=99999999999": `TIDEMARK_BROKER_ID: "99999999999" `,
		"TIDEMARK_INSECURE=maybe":        `TIDEMARK_INSECURE: "maybe" must be true or false`,
		"TIDEMARK_COLOUR=red":            "TIDEMARK_COLOUR=red",
	} {
		_, err := read(t, nil, variable)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "decoding")
	}
	for text, want := range map[string]string{
		"broker-id: seven":                        `tidemark.yaml: broker-id: "seven" must be an integer`,
		"broker-id: 1.5":                          `broker-id: "1.5" must be an integer`,
		"broker-id:":                              "broker-id: want one value",
		"insecure: maybe":                         `insecure: "maybe" must be true or false`,
		"data-dir: [a, b]":                        "data-dir: want one value, not [a b]",
		"log-level: {a: b}":                       "log-level: want one value, not map[a:b]",
		"listen: [{a: b}]":                        "listen: want one value, not map[a:b]",
		"colour: red":                             "colour: red",
		"set: {log.retention.hours: }":            "set: log.retention.hours: want one value",
		"set: {log: {retention: {hours: 24}}}":    "set: log: want one value",
		"set: {log.cleanup.policy: [a, compact]}": "set: log.cleanup.policy: want one value, not [a compact]",
	} {
		_, err := read(t, []string{"--config", yamlFile(t, text)})
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "decoding")
	}
	s, err := read(t, []string{"--config", yamlFile(t, "broker-id: 3\nlisten: 127.0.0.1:1\ninsecure: true\nrack: 5\nset: {num.partitions: 2}")}, "TIDEMARK_INSECURE=false")
	require.NoError(t, err)
	require.Equal(t, int32(3), s.BrokerID)
	require.Equal(t, []string{"127.0.0.1:1"}, s.Listen)
	require.False(t, s.Insecure)
	require.Equal(t, "5", s.Rack)
}
