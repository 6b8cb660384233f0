package sdk

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/test/harness"
)

// project is the id of the project "acme" that an account is of.
const project = "0123456789abcdef0123456789abcdef"

// scriptLimit bounds one program of an SDK.
const scriptLimit = 100 * time.Second

// ran are the SDKs whose tests passed.
var ran struct {
	sync.Mutex
	names []string
}

func TestMain(m *testing.M) {
	code := m.Run()
	slices.Sort(ran.names)
	fmt.Printf("SDKs that ran: %s\n", strings.Join(ran.names, "; "))
	os.Exit(code)
}

// passed notes at the end of a test that an SDK did all it should.
func passed(t *testing.T, sdk string) {
	if !t.Failed() {
		ran.Lock()
		defer ran.Unlock()
		ran.names = append(ran.names, sdk)
	}
}

// account is a user of a broker and an access key of theirs.
type account struct {
	url            string
	user, password string
	access, secret string
}

// newAccount starts a broker with a project, a user and an access key, made with the command line. Tests that have one
// run side by side: they wait most of the time.
func newAccount(t *testing.T) account {
	t.Parallel()
	b := harness.Start(t, harness.Options{})
	a := account{url: "http://" + b.HTTP, user: "alice", password: "a-password-of-alice"}
	a.run(t, "project", "create", "acme", "--id", project)
	a.run(t, "user", "create", a.user, "--project", "acme", "--role", "admin")
	said := a.run(t, "access-key", "create", "--owner", a.user)
	found := regexp.MustCompile(`(?s)access key (\S+).*secret (\S+)`).FindStringSubmatch(said)
	require.NotNil(t, found, said)
	a.access, a.secret = found[1], found[2]
	return a
}

// run runs a command of the binary under test, as the user once there is one.
func (a account) run(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(harness.Context(t), harness.Binary(t), append(args, "--http", a.url)...)
	cmd.Env = append(os.Environ(), "DMS_NEW_PASSWORD="+a.password)
	if args[0] != "project" && args[0] != "user" {
		cmd.Env = append(cmd.Env, "DMS_USER="+a.user, "DMS_PASSWORD="+a.password)
	}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "tidemark %s\n%s", strings.Join(args, " "), out)
	return string(out)
}

// tool is what an environment variable names, and the test is skipped without it.
func tool(t *testing.T, variable string) string {
	path := os.Getenv(variable)
	if path == "" {
		t.Skip(variable + " is not set; test/conform/run sdk makes what it names")
	}
	return path
}

// script runs a program of this directory in a directory of its own, with environment variables and arguments.
func script(t *testing.T, env []string, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), scriptLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = 5 * time.Second
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), append(env, "HOME="+cmd.Dir)...)
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	require.NoError(t, err)
}

// here is the path of a file of this directory.
func here(t *testing.T, name string) string {
	path, err := filepath.Abs(name)
	require.NoError(t, err)
	return path
}
