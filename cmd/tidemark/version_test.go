package main

import (
	"bytes"
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestVersionIsPrintedByCommandAndFlag(t *testing.T) {
	var printed []string
	for _, arg := range []string{"version", "--version"} {
		var out bytes.Buffer
		cmd := root()
		cmd.SetArgs([]string{arg})
		cmd.SetOut(&out)
		require.NoError(t, cmd.Execute())
		printed = append(printed, out.String())
	}
	require.Equal(t, "tidemark "+version()+"\n", printed[0])
	require.Equal(t, printed[0], printed[1])
}

func TestVersionSaysWhatTheBuildKnows(t *testing.T) {
	built := " " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH
	require.Equal(t, "development"+built, describeBuild(&debug.BuildInfo{}))
	require.Equal(t, "v1.2.3"+built, describeBuild(&debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}}))
	require.Equal(t, "development revision abc with changes of 2026-11-01T00:00:00Z"+built, describeBuild(&debug.BuildInfo{Main: debug.Module{Version: "(devel)"},
		Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.modified", Value: "true"}, {Key: "vcs.time", Value: "2026-11-01T00:00:00Z"}}}))
}
