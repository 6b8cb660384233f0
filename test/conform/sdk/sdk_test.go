// Package sdk holds SDKs of the DMS service, unchanged but for endpoint and keys, against a real broker's HTTP listener.
package sdk

import (
	"context"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/test/harness"
)

const project = "0123456789abcdef0123456789abcdef"

// account is a user of the broker under test and an access key of theirs.
type account struct {
	url            string
	user, password string
	access, secret string
}

// newAccount starts a broker with a project, a user and an access key, made with the command line.
func newAccount(t *testing.T) account {
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

// python is the interpreter of a virtual environment that has requirements.txt.
func python(t *testing.T) string {
	path := os.Getenv("CONFORM_SDK_PYTHON")
	if path == "" {
		t.Skip("CONFORM_SDK_PYTHON is not set; test/conform/run sdk makes the environment")
	}
	return path
}

func script(t *testing.T, ctx context.Context, name string, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	t.Logf("%s", out)
	require.NoError(t, err)
}

// TestHuaweiCloudSDKDms runs every operation of PyPI's huaweicloudsdkdms, signed with an access key.
func TestHuaweiCloudSDKDms(t *testing.T) {
	py := python(t)
	a := newAccount(t)
	script(t, harness.Context(t), py, "dms.py", a.url, a.access, a.secret, project)
}
