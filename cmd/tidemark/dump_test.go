package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/protocol/record"
)

func dump(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd := dumpCommand()
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err := cmd.Execute()
	return out.String(), err
}

func TestDumpShowsBatchesAndFindsDamage(t *testing.T) {
	batch := record.MarkerBatch(7, 3, record.Marker{}, 1700000000000)
	batch.Stamp(41, 2)
	path := filepath.Join(t.TempDir(), "00000000000000000041.log")
	require.NoError(t, os.WriteFile(path, batch, 0o600))
	out, err := dump(t, "--records", path)
	require.NoError(t, err)
	require.Contains(t, out, "base offset 41 last offset 41 count 1 position 0")
	require.Contains(t, out, "epoch 2")
	require.Contains(t, out, "control")

	batch[len(batch)-1] ^= 1
	require.NoError(t, os.WriteFile(path, batch, 0o600))
	_, err = dump(t, path)
	require.ErrorContains(t, err, path)
	require.ErrorContains(t, err, "offset 41")

	require.NoError(t, os.WriteFile(path, batch[:len(batch)-1], 0o600))
	_, err = dump(t, path)
	require.ErrorContains(t, err, "at byte 0")

	other := filepath.Join(t.TempDir(), "what.txt")
	_, err = dump(t, other)
	require.EqualError(t, err, other+": no such file or directory")
	require.NoError(t, os.WriteFile(other, nil, 0o600))
	_, err = dump(t, other)
	require.ErrorContains(t, err, "not a kind of file")
}
