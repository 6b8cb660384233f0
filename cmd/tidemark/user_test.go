package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/dmsext/identity"
	"github.com/tidemark-mq/tidemark/protocol/private"
)

// documents is a broker that keeps documents and nothing else.
type documents struct {
	mu       sync.Mutex
	revision int64
	values   map[[2]string]private.Document
}

func (d *documents) Do(_ context.Context, _ string, req kmsg.Request) (kmsg.Response, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch req := req.(type) {
	case *private.ReadDocumentsRequest:
		resp := &private.ReadDocumentsResponse{}
		for key, doc := range d.values {
			if key[0] == req.Kind && (key[1] == req.Name || req.Prefix && strings.HasPrefix(key[1], req.Name) && key[1] > req.After) {
				resp.Documents = append(resp.Documents, doc)
			}
		}
		slices.SortFunc(resp.Documents, func(a, b private.Document) int { return strings.Compare(a.Name, b.Name) })
		return resp, nil
	case *private.WriteDocumentsRequest:
		for _, c := range req.If {
			if d.values[[2]string{c.Kind, c.Name}].Revision != c.Revision {
				return &private.WriteDocumentsResponse{ErrorCode: kerr.InvalidUpdateVersion.Code}, nil
			}
		}
		d.revision++
		for _, c := range req.Then {
			key := [2]string{c.Kind, c.Name}
			if delete(d.values, key); !c.Delete {
				d.values[key] = private.Document{Name: c.Name, Value: c.Value, Revision: d.revision}
			}
		}
		return &private.WriteDocumentsResponse{Revision: d.revision}, nil
	}
	return nil, errors.New("not a request about documents")
}

// console runs commands against a broker of the test.
type console struct {
	t       *testing.T
	address string
	stdin   string
	stderr  string // of the last command
}

func newConsole(t *testing.T) *console {
	s := identity.New(identity.Options{Broker: &documents{values: map[[2]string]private.Document{}}, Loopback: true})
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	return consoleAt(t, server.URL)
}

// consoleAt is a console without anything in its environment.
func consoleAt(t *testing.T, address string) *console {
	for _, name := range []string{envToken, envUser, envPassword, envNewPassword, envProject} {
		t.Setenv(name, "")
	}
	return &console{t: t, address: address}
}

func (c *console) run(line ...string) (string, error) {
	cmd := root()
	var out, stderr bytes.Buffer
	cmd.SetArgs(append(line, "--http", c.address))
	cmd.SetOut(&out)
	cmd.SetErr(&stderr)
	cmd.SetIn(strings.NewReader(c.stdin))
	err := cmd.ExecuteContext(c.t.Context())
	c.stderr = stderr.String()
	return out.String(), err
}

func (c *console) must(line ...string) string {
	c.t.Helper()
	out, err := c.run(line...)
	require.NoError(c.t, err)
	return out
}

func (c *console) fails(want string, line ...string) {
	c.t.Helper()
	out, err := c.run(line...)
	require.ErrorContains(c.t, err, want, out)
}

func TestFromAnOpenBrokerToAnAccessKey(t *testing.T) {
	c := newConsole(t)
	const id = "0123456789abcdef0123456789abcdef"
	require.Equal(t, "created project local, id "+id+"\n", c.must("project", "create", "local", "--id", id, "--description", "the first"))
	c.fails("exists already", "project", "create", "local")
	c.fails("name one project", "project", "create")

	out := c.must("user", "create", "root", "--project", "local")
	require.Regexp(t, `created user root, id [0-9a-f]{32}, roles admin\n`, out)
	password := regexp.MustCompile(`(?m)^password (\S{24})$`).FindStringSubmatch(out)
	require.NotNil(t, password, out)

	c.fails("log in with --user", "project", "list")
	c.fails("no password for user root", "project", "list", "--user", "root")
	c.fails("log in as root: the user name or password is wrong", "project", "list", "--user", "root", "--password", "wrong")
	c.fails("The token is invalid", "project", "list", "--token", "wrong")

	t.Setenv(envUser, "root")
	t.Setenv(envPassword, password[1])
	require.Contains(t, c.must("project", "list"), id)
	require.Contains(t, c.must("project", "show", "local"), "description=the first")

	file := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(file, []byte("alice's password\nmore\n"), 0o600))
	require.NotContains(t, c.must("user", "create", "alice", "--project", "local", "--new-password-file", file), "password")
	require.Contains(t, c.must("user", "list"), "alice")
	require.Contains(t, c.must("user", "show", "alice"), "roles=member")

	out = c.must("access-key", "create", "--owner", "alice", "--description", "laptop")
	key := regexp.MustCompile(`^created access key ([A-Z0-9]{20}) of alice for project ` + id + `\nsecret [A-Za-z0-9]{40}\n$`).FindStringSubmatch(out)
	require.NotNil(t, key, out)
	out = c.must("access-key", "list", "--owner", "alice")
	require.Contains(t, out, key[1])
	require.NotContains(t, out, "secret")
	c.fails("--owner", "access-key", "create")
	require.Equal(t, "deleted "+key[1]+"\n", c.must("access-key", "delete", key[1]))
	c.fails("access key "+key[1], "access-key", "delete", key[1])

	c.stdin = "another password\n"
	require.Equal(t, "changed the password of alice\n", c.must("user", "passwd", "alice", "--new-password-file", "-"))
	c.fails("role admin", "user", "list", "--user", "alice", "--password-file", "-")
	c.fails("can not both be standard input", "user", "passwd", "alice", "--user", "root", "--password-file", "-", "--new-password-file", "-", "--token", "x")

	require.Contains(t, c.must("user", "set", "alice", "--role", "admin,member", "--project", ""), "roles admin,member")
	c.fails("nothing to change", "user", "set", "alice")
	c.fails("in use", "project", "delete", "local")
	c.fails("user nobody", "user", "delete", "alice", "nobody")
	require.NotContains(t, c.must("user", "list"), "alice", "the one of them that is there is deleted")
}

// object runs a command with --json: it writes one line, which is an object.
func (c *console) object(line ...string) map[string]any {
	c.t.Helper()
	return objectOf(c.t, c.must(append(line, "--json")...))
}

func objectOf(t *testing.T, out string) (object map[string]any) {
	t.Helper()
	require.Equal(t, 1, strings.Count(out, "\n"), out)
	require.NoError(t, json.Unmarshal([]byte(out), &object), out)
	return object
}

func TestIdentityCommandsAnswerProgramsWithOneObject(t *testing.T) {
	c := newConsole(t)
	require.Equal(t, map[string]any{"projects": []any{}}, c.object("project", "list"))
	project := c.object("project", "create", "local")
	c.object("project", "create", "other")
	require.Len(t, project["id"], 32)
	root := c.object("user", "create", "root", "--project", "local")
	require.Equal(t, []any{"admin"}, root["roles"])
	t.Setenv(envUser, "root")
	t.Setenv(envPassword, root["password"].(string))

	require.Len(t, c.object("project", "list")["projects"], 2)
	require.Equal(t, project, c.object("project", "show", "local", "other")["projects"].([]any)[0])
	t.Setenv(envNewPassword, "given by somebody")
	alice := c.object("user", "create", "alice", "--project", "local")
	require.NotContains(t, alice, "password", "whoever gave it knows it")
	require.Equal(t, alice["id"], c.object("user", "passwd", "alice")["id"])
	t.Setenv(envNewPassword, "")
	require.Len(t, c.object("user", "passwd", "alice")["password"], 24)
	require.Equal(t, []any{"member", "admin"}, c.object("user", "set", "alice", "--role", "member,admin")["roles"])
	require.Len(t, c.object("user", "list")["users"], 2)
	require.Len(t, c.object("user", "show", "alice", "root")["users"], 2)

	require.Equal(t, map[string]any{"access_keys": []any{}}, c.object("access-key", "list"))
	key := c.object("access-key", "create", "--owner", "alice")
	require.Len(t, key["secret"], 40)
	require.Equal(t, key["access"], c.object("access-key", "list")["access_keys"].([]any)[0].(map[string]any)["access"])
	require.Equal(t, map[string]any{"deleted": []any{map[string]any{"access": key["access"]}}, "failed": []any{}}, c.object("access-key", "delete", key["access"].(string)))

	out, err := c.run("user", "delete", "nobody", "alice", "--json")
	require.ErrorContains(t, err, "user nobody")
	said := objectOf(t, out)
	require.Equal(t, []any{map[string]any{"name": "alice"}}, said["deleted"])
	require.Equal(t, "nobody", said["failed"].([]any)[0].(map[string]any)["name"])
	require.Equal(t, []any{map[string]any{"name": "other"}}, c.object("project", "delete", "other")["deleted"])
}

func TestAWrongAddressIsNamed(t *testing.T) {
	c := newConsole(t)
	c.address = "127.0.0.1:9080"
	c.fails("want a URL", "user", "list")
	c.address = "http://127.0.0.1:1"
	c.fails("no broker answers at http://127.0.0.1:1", "user", "list")
}
