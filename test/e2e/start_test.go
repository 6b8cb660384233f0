package e2e

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/test/harness"
)

// command is `tidemark` with the environment of the test but for the broker's settings.
func command(t *testing.T, args ...string) *exec.Cmd {
	cmd := exec.Command(harness.Binary(t), args...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "TIDEMARK_") })
	return cmd
}

// refuses runs a command that must end by itself, soon, with exit status 1, and answers its standard error.
func refuses(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.NoError(t, cmd.Start())
	kill := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	_ = cmd.Wait()
	require.Equal(t, 1, cmd.ProcessState.ExitCode(), "exit status; standard error:\n%s", stderr.String())
	require.NotContains(t, stdout.String(), "ready")
	require.NotContains(t, stderr.String(), "goroutine ", "an error, not a panic")
	return stderr.String()
}

// serve is `tidemark serve` on free ports, unless args say otherwise.
func serve(t *testing.T, dir string, args ...string) *exec.Cmd {
	all := append([]string{"serve"}, args...)
	for flag, value := range map[string]string{"--data-dir": dir, "--listen": "127.0.0.1:0", "--admin-listen": "127.0.0.1:0", "--http-listen": "127.0.0.1:0"} {
		if !slices.Contains(args, flag) {
			all = append(all, flag, value)
		}
	}
	return command(t, all...)
}

// fingerprint is the names, sizes and contents of everything in a directory.
func fingerprint(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil || d.IsDir() {
			all[name] = "directory"
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		h := sha256.New()
		if _, err := io.Copy(h, f); err != nil {
			return err
		}
		all[name] = hex.EncodeToString(h.Sum(nil))
		return nil
	})
	require.NoError(t, err)
	return all
}

// Each wrong setting is named with its value and with what to do, whether it stands in a flag, the environment or the file; and
// the data directory is not even made.
func TestWrongSettingsAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		env  []string
		file string
		want []string
	}{
		"unknown flag":                 {args: []string{"--no-such-flag", "1"}, want: []string{"no-such-flag", "tidemark serve --help"}},
		"unknown broker setting":       {args: []string{"--set", "log.retention.minuts=5"}, want: []string{"log.retention.minuts", "5", "did you mean log.retention.minutes"}},
		"value of the wrong type":      {args: []string{"--set", "log.retention.hours=soon"}, want: []string{"log.retention.hours", "soon", "Not a number"}},
		"value out of range":           {args: []string{"--set", "socket.request.max.bytes=-3"}, want: []string{"socket.request.max.bytes", "-3", "at least 1"}},
		"a setting without a value":    {args: []string{"--set", "log.retention.hours"}, want: []string{"--set", "log.retention.hours", "name=value"}},
		"a setting that has a flag":    {args: []string{"--set", "log.dirs=/tmp/x"}, want: []string{"log.dirs", "--data-dir"}},
		"negative broker id":           {args: []string{"--broker-id", "-4"}, want: []string{"broker-id", "-4", "0 or more"}},
		"broker id that is no number":  {args: []string{"--broker-id", "seven"}, want: []string{"broker-id", "seven", "must be an integer"}},
		"log level":                    {args: []string{"--log-level", "loud"}, want: []string{"log-level", "loud", "debug"}},
		"log format":                   {args: []string{"--log-format", "xml"}, want: []string{"log-format", "xml", "json"}},
		"listener without a port":      {args: []string{"--listen", "127.0.0.1"}, want: []string{"listen", "127.0.0.1"}},
		"two listeners of one name":    {args: []string{"--listen", "127.0.0.1:0,127.0.0.1:0"}, want: []string{"listen", "NAME="}},
		"beyond loopback":              {args: []string{"--listen", "0.0.0.0:0"}, want: []string{"listen", "0.0.0.0:0", "--insecure"}},
		"advertising no listener":      {args: []string{"--advertise", "OUT=example.com:9092"}, want: []string{"advertise", "OUT"}},
		"a port that is none":          {args: []string{"--listen", "127.0.0.1:99999"}, want: []string{"listen", "127.0.0.1:99999", "0 to 65535"}},
		"admin address":                {args: []string{"--admin-listen", "nowhere"}, want: []string{"admin-listen", "nowhere", "host:port"}},
		"admin beyond loopback":        {args: []string{"--admin-listen", "0.0.0.0:0"}, want: []string{"admin-listen", "0.0.0.0:0", "--insecure"}},
		"several at once":              {args: []string{"--log-level", "loud", "--broker-id", "-4"}, want: []string{"log-level", "loud", "broker-id", "-4"}},
		"unknown variable":             {env: []string{"TIDEMARK_NO_SUCH=1"}, want: []string{"TIDEMARK_NO_SUCH=1", "tidemark serve --help"}},
		"variable of the wrong type":   {env: []string{"TIDEMARK_BROKER_ID=seven"}, want: []string{"TIDEMARK_BROKER_ID", "seven", "must be an integer"}},
		"variable without a value":     {env: []string{"TIDEMARK_BROKER_ID="}, want: []string{"TIDEMARK_BROKER_ID", "must be an integer"}},
		"wrong variable":               {env: []string{"TIDEMARK_LOG_LEVEL=loud"}, want: []string{"log-level", "loud"}},
		"setting in the environment":   {env: []string{"TIDEMARK_SET=log.retention.hours=soon"}, want: []string{"log.retention.hours", "soon"}},
		"unknown name in the file":     {file: "retention: 5\n", want: []string{"retention: 5", "tidemark.yaml", "tidemark serve --help"}},
		"wrong type in the file":       {file: "broker-id: seven\n", want: []string{"tidemark.yaml", "broker-id", "seven", "must be an integer"}},
		"a list for one value":         {file: "data-dir: [a, b]\n", want: []string{"tidemark.yaml", "data-dir", "[a b]", "one value"}},
		"wrong value in the file":      {file: "set:\n  log.retention.hours: soon\n", want: []string{"log.retention.hours", "soon"}},
		"a file that is no YAML":       {file: "set: [\n", want: []string{"tidemark.yaml"}},
		"a file that is not there":     {args: []string{"--config", "/no/such/file.yaml"}, want: []string{"--config", "/no/such/file.yaml"}},
		"an argument too many":         {args: []string{"now"}, want: []string{"now"}},
		"an etcd that is no URL":       {args: []string{"--etcd", "not a url"}, want: []string{"etcd", "not a url"}},
		"an empty data directory name": {args: []string{"--data-dir", ""}, want: []string{"data-dir"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base := t.TempDir()
			dir := filepath.Join(base, "data")
			if c.file != "" {
				path := filepath.Join(base, "tidemark.yaml")
				require.NoError(t, os.WriteFile(path, []byte(c.file), 0o600))
				c.args = append(c.args, "--config", path)
			}
			cmd := serve(t, dir, c.args...)
			cmd.Dir = base
			cmd.Env = append(cmd.Env, c.env...)
			message := refuses(t, cmd)
			for _, want := range c.want {
				require.Contains(t, message, want)
			}
			require.NoDirExists(t, dir)
		})
	}
}

func TestAPortInUseIsRefusedBeforeAnythingIsTouched(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	for _, flag := range []string{"listen", "admin-listen"} {
		dir := filepath.Join(t.TempDir(), "data")
		message := refuses(t, serve(t, dir, "--"+flag, l.Addr().String()))
		require.Contains(t, message, flag)
		require.Contains(t, message, l.Addr().String())
		require.Contains(t, message, "another port")
		require.NoDirExists(t, dir)
	}
}

// directory makes a data directory that a broker has used and left in order.
func directory(t *testing.T) string {
	b := harness.Start(t, harness.Options{})
	require.NoError(t, b.Stop())
	return b.DataDir
}

func TestADataDirectoryInUseIsRefused(t *testing.T) {
	b := harness.Start(t, harness.Options{})
	message := refuses(t, serve(t, b.DataDir))
	require.Contains(t, message, b.DataDir)
	require.Contains(t, message, "in use")
	require.Contains(t, message, "--data-dir")
	require.NoError(t, b.Client(t).Ping(t.Context()), "the one that has it goes on")
	require.NoError(t, b.Stop())
}

// A data directory of somebody else's is refused with what it says, and left as it is.
func TestAnothersDataDirectoryIsRefusedUntouched(t *testing.T) {
	dir := directory(t)
	properties := filepath.Join(dir, "meta.properties")
	own, err := os.ReadFile(properties)
	require.NoError(t, err)
	replaced := func(pattern, by string) string {
		out := regexp.MustCompile(pattern).ReplaceAllString(string(own), by)
		require.NotEqual(t, string(own), out)
		return out
	}
	for name, c := range map[string]struct {
		properties string
		args       []string
		want       []string
	}{
		"another broker":   {string(own), []string{"--broker-id", "2"}, []string{"--broker-id 1", "broker 2", dir}},
		"another cluster":  {replaced(`(?m)^cluster\.id=.*$`, "cluster.id=AAAAAAAAAAAAAAAAAAAAAA"), nil, []string{"AAAAAAAAAAAAAAAAAAAAAA"}},
		"a newer format":   {replaced(`(?m)^version=.*$`, "version=99"), nil, []string{"99", "newer", properties}},
		"a broken version": {replaced(`(?m)^version=.*$`, "version=one"), nil, []string{"one", properties}},
		"a broken file":    {"\x00\x01", nil, []string{properties}},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, os.WriteFile(properties, []byte(c.properties), 0o600))
			before := fingerprint(t, dir)
			message := refuses(t, serve(t, dir, c.args...))
			for _, want := range c.want {
				require.Contains(t, message, want)
			}
			after := fingerprint(t, dir)
			if name == "another cluster" {
				// Which cluster it is, only the stores say, and a store that is opened writes its files anew.
				for _, all := range []map[string]string{before, after} {
					maps.DeleteFunc(all, func(file, _ string) bool { return strings.HasPrefix(file, "etcd/") || strings.HasPrefix(file, "kv/") })
				}
			}
			require.Equal(t, before, after, "nothing is touched")
		})
	}
	require.NoError(t, os.WriteFile(properties, own, 0o600))
	b := harness.Start(t, harness.Options{DataDir: dir})
	require.NoError(t, b.Stop())
}

func TestADirectoryThatIsNoneIsRefused(t *testing.T) {
	base := t.TempDir()
	file := filepath.Join(base, "file")
	require.NoError(t, os.WriteFile(file, []byte("x"), 0o600))
	message := refuses(t, serve(t, file))
	require.Contains(t, message, "data-dir "+file)
	require.Contains(t, message, "--data-dir must name a directory")
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "x", string(content), "nothing is touched")

	// A directory with other things in it, such as somebody's home.
	foreign := filepath.Join(base, "foreign")
	require.NoError(t, os.MkdirAll(foreign, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(foreign, "letters.txt"), []byte("x"), 0o600))
	before := fingerprint(t, foreign)
	message = refuses(t, serve(t, foreign))
	require.Contains(t, message, foreign)
	require.Contains(t, message, "--data-dir")
	require.Equal(t, before, fingerprint(t, foreign), "nothing is touched")
}

// The ready line names every address, and is the only line on standard output until the end.
func TestTheReadyLine(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	cmd := serve(t, dir, "--listen", "127.0.0.1:0,INSIDE=127.0.0.1:0", "--broker-id", "7")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := bufio.NewReader(out)
	line, err := lines.ReadString('\n')
	require.NoError(t, err)
	line = strings.TrimSpace(line)
	m := regexp.MustCompile(`^tidemark ready: kafka (127\.0\.0\.1:\d+),INSIDE=(127\.0\.0\.1:\d+) admin (127\.0\.0\.1:\d+) data (\S+) cluster (\S{22}) broker 7 http (127\.0\.0\.1:\d+) in (\d+) ms$`).FindStringSubmatch(line)
	require.NotNil(t, m, "ready line: %s", line)
	require.Equal(t, dir, m[4])
	for _, addr := range []string{m[1], m[2], m[3], m[6]} {
		c, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		require.NoError(t, c.Close())
	}
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	rest, err := io.ReadAll(lines)
	require.NoError(t, err)
	require.Empty(t, string(rest))
}

// A start that waits for something, here an etcd that does not answer, is given up at the first signal.
func TestASignalEndsAStart(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	cmd := serve(t, filepath.Join(t.TempDir(), "data"), "--etcd", "http://"+silent.Addr().String())
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	require.NoError(t, cmd.Start())
	kill := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	asked, err := silent.Accept()
	require.NoError(t, err)
	defer asked.Close()
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	_ = cmd.Wait()
	require.Equal(t, 1, cmd.ProcessState.ExitCode(), "exit status; standard error:\n%s", stderr.String())
	require.Contains(t, stderr.String(), "stopped by signal terminated before the broker was ready")
}

func get(t *testing.T, b *harness.Broker, path string) (int, string) {
	t.Helper()
	resp, err := http.Get("http://" + b.Admin + path)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(body)
}

func TestTheAdminListener(t *testing.T) {
	b := harness.Start(t, harness.Options{})
	require.NoError(t, b.Client(t).Ping(t.Context()))
	for _, path := range []string{"/healthz", "/readyz", "/debug/pprof/", "/debug/pprof/goroutine?debug=1"} {
		status, body := get(t, b, path)
		require.Equal(t, http.StatusOK, status, "%s: %s", path, body)
	}
	status, body := get(t, b, "/metrics")
	require.Equal(t, http.StatusOK, status)
	for _, metric := range []string{"tidemark_request_seconds_bucket", "tidemark_network_received_bytes_total", "tidemark_connections", "tidemark_network_sent_bytes_total", "tidemark_logdir_log_bytes",
		"tidemark_journal_round_seconds_bucket", "tidemark_requests_parked", "tidemark_partitions_offline 0", "tidemark_acknowledgements_waiting 0", "tidemark_fetch_sessions", "go_goroutines", "process_resident_memory_bytes"} {
		require.Contains(t, body, metric)
	}
	status, _ = get(t, b, "/nothing")
	require.Equal(t, http.StatusNotFound, status)
}

// One setting given in all three places: a flag wins over the environment, the environment over the file.
func TestSettingsWinInOrder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tidemark.yaml")
	require.NoError(t, os.WriteFile(path, []byte("rack: file\nset:\n  num.partitions: 2\n  log.retention.hours: 5\n"), 0o600))
	b := harness.Start(t, harness.Options{Args: []string{"--config", path, "--set", "num.partitions=4"}, Env: []string{"TIDEMARK_SET=num.partitions=3,log.retention.minutes=7"}})
	for name, want := range map[string]string{"num.partitions": "4", "log.retention.minutes": "7", "log.retention.hours": "5"} {
		require.Equal(t, want, brokerSetting(t, b, name), fmt.Sprint(name))
	}
}
