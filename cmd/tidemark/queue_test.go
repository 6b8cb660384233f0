package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/broker"
)

// newQueueConsole runs commands against a broker in the test's process, with its HTTP listener.
func newQueueConsole(t *testing.T) *console {
	t.Helper()
	s := &settings{HTTPListen: "127.0.0.1:0", Region: "local", QueueQuota: 30, GroupQuota: 3, QueuePartitions: 3}
	door, err := bindQueues(t.Context(), s)
	require.NoError(t, err)
	b, err := broker.Start(t.Context(), broker.Options{DataDir: t.TempDir(), Listen: []string{"127.0.0.1:0"}, BrokerID: 1})
	if err == nil {
		err = door.open(t.Context(), b, s, zap.NewNop())
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		require.NoError(t, door.close(ctx))
		if b != nil {
			require.NoError(t, b.Stop(ctx))
		}
	})
	require.NoError(t, err)
	return consoleAt(t, "http://"+door.address())
}

// received is what receive --json prints.
func received(t *testing.T, out string) (bodies, handles []string) {
	t.Helper()
	var answer struct{ Messages []incoming }
	require.NoError(t, json.Unmarshal([]byte(out), &answer), out)
	for _, m := range answer.Messages {
		bodies, handles = append(bodies, string(m.Message.Body)), append(handles, m.Handle)
	}
	return bodies, handles
}

const uuidText = `[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`

func TestQueueCommands(t *testing.T) {
	c := newQueueConsole(t)
	q := func(line ...string) []string { return append([]string{"queue"}, line...) }

	out := c.must(q("create", "orders", "--mode", "fifo", "--max-consume-count", "2", "--retry-backoff", "1ms,2,1s", "--description", "order events", "--group", "billing")...)
	made := regexp.MustCompile(`^created queue orders, mode FIFO, id (` + uuidText + `)\ncreated group billing, id (g-` + uuidText + `)\n$`).FindStringSubmatch(out)
	require.NotNil(t, made, out)
	id, group := made[1], made[2]
	require.Regexp(t, `^created group audit, id g-`+uuidText+`\ncreated group stats, id g-`+uuidText+`\n$`, c.must(q("group", "create", id, "audit", "stats")...))
	require.Equal(t, "deleted group stats\n", c.must(q("group", "delete", "orders", "stats")...))
	require.Regexp(t, `(?m)^orders  FIFO  0         2       \S+  `+id+`$`, c.must(q("list")...))
	out = c.must(q("show", "orders")...)
	for _, line := range []string{"partitions=1", "topic=q-local-" + id, "max-consume-count=2", "retry-backoff-ms=1,2,1000", "description=order events", "billing", "audit"} {
		require.Contains(t, out, line)
	}

	// Bodies stay as they were typed, JSON or not.
	out = c.must(q("send", "orders", `{"n": 1.50, "x":"<&>"}`, "two words", "3", "--attribute", "source=web=1", "--label", "eu")...)
	require.Regexp(t, `^(sent \S+\n){3}$`, out)
	require.Regexp(t, `^\{"sent":\["[^"]+"\]\}\n$`, c.must(q("send", "orders", "4", "--text", "--json")...))
	bodies, handles := received(t, c.must(q("receive", "orders", "billing", "--json", "--wait", "20s")...))
	require.Equal(t, []string{`{"n":1.50,"x":"<&>"}`, `"two words"`, `3`, `"4"`}, bodies)
	require.Regexp(t, `(?m)^0:0-3  leased  \S{22}  \d\d:\d\d:\d\d \(\d+s\)  1         0$`, c.must(q("leases", id, group)...))
	require.Equal(t, "acknowledged 1\n", c.must(q("ack", "orders", "billing", handles[0])...))
	c.fails("nothing is changed", q("ack", "orders", "billing", handles[0])...)
	c.fails("1 of 1 are not acknowledged: a message that came before them", q("ack", "orders", "billing", handles[3])...)

	// An operator's hand: what is released comes again, what is made a dead letter does not.
	require.Equal(t, "accepted 0:1\nmade a dead letter of 0:2\n", c.must(q("leases", "orders", "billing", "--dead-letter", "0:2", "--accept", "0:1")...))
	c.fails("--release 0:1: nobody holds it", q("leases", "orders", "billing", "--release", "0:1")...)
	c.fails("--release 0:99: nobody holds it", q("leases", "orders", "billing", "--release", "0:99")...)
	require.Equal(t, "released 0:3\n", c.must(q("leases", "orders", "billing", "--release", "0:3")...))
	bodies, handles = received(t, c.must(q("receive", "orders", group, "--json", "--wait", "20s")...))
	require.Equal(t, []string{`"4"`}, bodies)
	require.Equal(t, "failed 1\n", c.must(q("ack", "orders", "billing", handles[0], "--fail")...))
	out = c.must(q("receive", "orders", "billing", "--ack", "--wait", "20s")...)
	require.Equal(t, "4\nacknowledged 1\n", out)

	out = c.must(q("deadletters", "orders", "billing", "--wait", "20s", "--max", "1")...)
	require.Regexp(t, `^3\n  attributes \{"source":"web=1"\}\n  labels eu\n  handle \S+\n$`, out)
	handle := regexp.MustCompile(`handle (\S+)`).FindStringSubmatch(out)[1]
	c.fails("calls of their own", q("ack", "orders", "billing", handle)...)
	require.Regexp(t, `(?m)^0:0  +leased`, c.must(q("leases", "orders", "billing", "--deadletters")...))
	require.Equal(t, "released 0:0\n", c.must(q("leases", "orders", "billing", "--deadletters", "--release", "0:0")...))
	require.Contains(t, c.must(q("deadletters", "orders", "billing", "--wait", "20s", "--redrive")...), "sent 1 again\n")
	require.Empty(t, c.must(q("deadletters", "orders", "billing", "--wait", "1s", "--ack")...))
	require.Equal(t, "nothing came in 1s\n", c.stderr)
	require.Equal(t, "3\n  attributes {\"source\":\"web=1\"}\n  labels eu\nacknowledged 1\n", c.must(q("receive", "orders", "billing", "--wait", "20s", "--ack")...))

	// Delayed, and removed before it was due.
	c.must(q("send", "orders", "later", "--delay", "1h")...)
	c.fails("queue orders has 5 messages, and those that are delayed: with --yes", q("purge", "orders")...)
	require.Equal(t, "purged orders\n", c.must(q("purge", "orders", "--yes")...))
	require.Regexp(t, `(?m)^orders  FIFO  0 `, c.must(q("list")...))

	require.Equal(t, "deleted orders\n", c.must(q("delete", "orders")...))
	c.fails("there is no queue orders in project local", q("show", "orders")...)
}

func TestManyMessagesAreSentAndReceived(t *testing.T) {
	c := newQueueConsole(t)
	c.must("queue", "create", "lines", "--partitions", "2", "--group", "all")
	var lines strings.Builder
	for i := range 25 {
		fmt.Fprintf(&lines, "line %d\n\n", i)
	}
	for range 3 { // more than a call may have
		lines.WriteString(strings.Repeat("x", 300_000) + "\n")
	}
	c.stdin = lines.String()
	require.Equal(t, "sent 28 messages\n", c.must("queue", "send", "lines", "--file", "-"))
	counts := map[string]int{}
	for range 28 {
		bodies, _ := received(t, c.must("queue", "receive", "lines", "all", "--max", "40", "--wait", "20s", "--json", "--ack"))
		for _, b := range bodies {
			counts[b]++
		}
		if len(counts) == 26 {
			break
		}
	}
	require.Len(t, counts, 26)
	require.Equal(t, 1, counts[`"line 24"`])
	require.Equal(t, 3, counts[`"`+strings.Repeat("x", 300_000)+`"`])
	require.Regexp(t, `(?m)^all +0 +0 +28 `, c.must("queue", "group", "list", "lines"))

	path := filepath.Join(t.TempDir(), "lines")
	require.NoError(t, os.WriteFile(path, []byte("short\n"+strings.Repeat("y", 600_000)+"\n"), 0o600))
	c.fails("line 2: the line is longer than the 524288 bytes that a message may have; 1 messages are sent", "queue", "send", "lines", "--file", path)
}

// TestQueueCommandsAnswerProgramsWithOneObject: what was done is on standard output with --json, what was not is there too.
func TestQueueCommandsAnswerProgramsWithOneObject(t *testing.T) {
	c := newQueueConsole(t)
	made := c.object("queue", "create", "a", "--mode", "fifo", "--max-consume-count", "1", "--group", "g")
	id := made["id"].(string)
	group := made["groups"].([]any)[0].(map[string]any)["id"].(string)
	c.object("queue", "create", "b")
	names := c.object("queue", "group", "create", "a", "h")["groups"].([]any)
	require.Equal(t, "h", names[0].(map[string]any)["name"])
	require.Equal(t, 2.0, c.object("queue", "list")["total"])
	require.Len(t, c.object("queue", "group", "list", "a")["groups"], 2)

	shown := c.object("queue", "show", "a", "b")["queues"].([]any)
	require.Len(t, shown, 2)
	require.Equal(t, id, shown[0].(map[string]any)["queue"].(map[string]any)["id"])
	require.Len(t, shown[0].(map[string]any)["groups"].(map[string]any)["groups"], 2)

	require.Len(t, c.object("queue", "send", "a", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12")["sent"], 12, "of two calls")
	c.stdin = "\n\n"
	require.Equal(t, map[string]any{"sent": []any{}}, c.object("queue", "send", "a", "--file", "-"))
	got := c.object("queue", "receive", "a", "g", "--wait", "20s", "--max", "4")
	require.Len(t, got["messages"], 4)
	require.Equal(t, 0.0, got["acknowledged"])
	require.Len(t, c.object("queue", "leases", "a", "g")["leases"], 1)

	out, err := c.run("queue", "leases", "a", "g", "--json", "--accept", "0:0", "--accept", "0:1", "--dead-letter", "0:2", "--release", "0:3", "--release", "0:77", "--release", "x")
	require.ErrorContains(t, err, "--release 0:77: nobody holds it")
	require.JSONEq(t, `{"settled":[{"action":"release","partition":0,"offset":3},{"action":"accept","partition":0,"offset":0},{"action":"accept","partition":0,"offset":1},
		{"action":"dead-letter","partition":0,"offset":2}],"failed":[
		{"action":"release","place":"0:77","error":"--release 0:77: nobody holds it; `+"`tidemark queue leases`"+` shows what is held"},
		{"action":"release","place":"x","error":"--release x: want partition:offset as `+"`tidemark queue leases`"+` shows them, 0:17 for instance"}]}`, out)

	_, handles := received(t, c.must("queue", "receive", "a", "g", "--json", "--wait", "20s", "--max", "1"))
	require.Equal(t, map[string]any{"success": 1.0, "fail": 0.0}, c.object("queue", "ack", "a", "g", handles[0]))
	got = c.object("queue", "receive", "a", "g", "--wait", "20s", "--max", "30", "--ack")
	require.Len(t, got["messages"], 8)
	require.Equal(t, 8.0, got["acknowledged"])
	require.Equal(t, map[string]any{"messages": []any{}, "acknowledged": 0.0}, c.object("queue", "receive", "b", c.group("b"), "--wait", "1s"))
	got = c.object("queue", "deadletters", "a", "g", "--wait", "20s", "--max", "1", "--redrive")
	require.Len(t, got["messages"], 1)
	require.Equal(t, []any{1.0, 1.0}, []any{got["acknowledged"], got["sent_again"]})

	c.fails("with --yes", "queue", "purge", "a", "--json")
	require.Equal(t, map[string]any{"purged": map[string]any{"id": id, "name": "a", "messages": 13.0}}, c.object("queue", "purge", "a", "--yes"))

	out, err = c.run("queue", "group", "delete", "a", "g", "nope", "--json")
	require.ErrorContains(t, err, "queue a has no group nope")
	require.Equal(t, []any{map[string]any{"id": group, "name": "g"}}, objectOf(t, out)["deleted"])
	out, err = c.run("queue", "delete", "nope", "a", "--json")
	require.ErrorContains(t, err, "there is no queue nope")
	failed := objectOf(t, out)["failed"].([]any)
	require.Len(t, failed, 1)
	require.Contains(t, failed[0].(map[string]any)["error"], "there is no queue nope")
	require.Equal(t, []any{map[string]any{"id": id, "name": "a"}}, objectOf(t, out)["deleted"])

	out, err = c.run("queue", "create", "y", "--json", "--group", "a", "--group", "b", "--group", "c", "--group", "d")
	require.ErrorContains(t, err, "is created, id")
	require.Equal(t, "y", objectOf(t, out)["name"], "the queue is there without its groups")
}

// group makes a group and answers its id.
func (c *console) group(queue string) string {
	return c.object("queue", "group", "create", queue, "made")["groups"].([]any)[0].(map[string]any)["id"].(string)
}

func TestQueueCommandsSayWhatToDo(t *testing.T) {
	c := newQueueConsole(t)
	c.must("queue", "create", "orders", "--group", "billing")
	for _, x := range []struct{ want, line string }{
		{"there is no queue nope in project local; `tidemark queue list`", "show nope"},
		{"queue orders has no group nope; `tidemark queue group list orders`", "receive orders nope"},
		{"queue orders: A queue named orders exists already.", "create orders"},
		{"queue_mode must be NORMAL, FIFO, KAFKA_HA or KAFKA_HT", "create x --mode lifo"},
		{"retention_hours is for the queue modes", "create x --retention-hours 5"},
		{"max_consume_count must be an integer from 1 to 100", "create x --max-consume-count 0"},
		{"--retry-backoff 5: want a time as 500ms", "create x --retry-backoff 5"},
		{"the retry back-off must be", "create x --retry-backoff 5ms,0.1"},
		{"is created, id", "create y --group a --group b --group c --group d"},
		{"name one queue, as in `tidemark queue create NAME", "create"},
		{"name a queue, as in `tidemark queue send QUEUE", "send"},
		{"Give a body after the queue, or a --file", "send orders"},
		{"and not both", "send orders x --file y"},
		{`--attribute "x": want name=value`, "send orders x --attribute x"},
		{"delayTime must be", "send orders x --delay 169h"},
		{"The tag name is invalid", "send orders x --label a=b"},
		{"no such file", "send orders --file /nowhere/at/all"},
		{"--wait 1m1s: want 1s to 1m0s", "receive orders billing --wait 61s"},
		{"--ack-wait 1s: want 15s to 5m0s", "receive orders billing --ack-wait 1s"},
		{"--max 0: want 1 or more", "receive orders billing --max 0"},
		{"The handler does not exist", "ack orders billing AQforged"},
		{"want partition:offset", "leases orders billing --release 17"},
		{"dead letters are of messages of a queue whose redrive_policy is enabled", "leases orders billing --dead-letter 0:1"},
		{"limit must be an integer from 1 to 1000", "leases orders billing --limit 0"},
		{"with --yes", "purge orders"},
		{"`tidemark queue list --help` lists the flags", "list --frob"},
	} {
		_, err := c.run(append([]string{"queue"}, strings.Fields(x.line)...)...)
		require.ErrorContains(t, err, x.want, x.line)
	}
}

func TestTheProjectIsThatOfTheLogin(t *testing.T) {
	c := newQueueConsole(t)
	c.must("project", "create", "alpha")
	c.must("project", "create", "beta")
	c.must("queue", "create", "a", "--project", "alpha")
	t.Setenv(envProject, "beta")
	c.must("queue", "create", "b")
	t.Setenv(envProject, "")
	c.must("queue", "create", "open")
	require.NotRegexp(t, `(?m)^[ab] `, c.must("queue", "list"))

	t.Setenv(envNewPassword, "correct horse battery")
	c.must("user", "create", "root", "--project", "alpha", "--project", "beta")
	c.fails("log in with --user", "queue", "list")
	t.Setenv(envUser, "root")
	t.Setenv(envPassword, "correct horse battery")
	c.must("user", "create", "nobody")
	require.Regexp(t, `(?m)^a `, c.must("queue", "list"), "the first project of the user")
	require.Regexp(t, `(?m)^b `, c.must("queue", "list", "--project", "beta"))
	c.fails("may not use the project", "queue", "list", "--project", "gamma")
	c.fails("the login is for no project: name one with --project", "queue", "list", "--user", "nobody")

	h := &httpClient{address: c.address, user: "root", scope: "beta", getenv: func(string) string { return "" }}
	require.NoError(t, h.logIn(t.Context(), "correct horse battery"))
	require.Regexp(t, `(?m)^b `, c.must("queue", "list", "--token", h.token), "the project of the token")
	require.Regexp(t, `(?m)^a `, c.must("queue", "list", "--token", h.token, "--project", "alpha"))
	c.fails("the token: ", "queue", "list", "--token", "wrong")
}

func TestWhatIsReadableIsShownAsItIs(t *testing.T) {
	for body, want := range map[string]string{`"plain é"`: "plain é", `"a\u001b[2J"`: `"a\u001b[2J"`, `"two\nlines"`: `"two\nlines"`, `{"a": 1}`: `{"a": 1}`, `1.50`: `1.50`} {
		require.Equal(t, want, readable(json.RawMessage(body)))
	}
	for typed, want := range map[string]string{`{"a": "<"}`: `{"a": "<"}`, `<a>`: `"<a>"`, `null`: `"null"`, ``: `""`, ` 7 `: ` 7 `, `07`: `"07"`} {
		body, err := bodyOf(typed, false)
		require.NoError(t, err)
		require.Equal(t, want, string(body))
	}
}
