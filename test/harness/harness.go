// Package harness runs the real tidemark binary for tests: it builds it once, starts it
// on free loopback ports in a temporary directory, waits for its ready line, and stops
// it by its own process id when the test ends.
package harness

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// startLimit bounds how long a broker may take to become ready on a busy machine.
const startLimit = 60 * time.Second

var build = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("TIDEMARK_TEST_BINARY"); path != "" {
		return path, nil
	}
	dir, err := os.MkdirTemp("", "tidemark-bin-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "tidemark")
	cmd := exec.Command("go", "build", "-o", path, "github.com/tidemark-mq/tidemark/cmd/tidemark")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	if built, err = os.Open(path); err != nil {
		return "", err
	}
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), built.Fd()), nil
})

// built holds the binary's only link: it is gone with the test process, however that ends.
var built *os.File

// Binary is the path of the tidemark binary under test: TIDEMARK_TEST_BINARY, or one
// built from this tree.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := build()
	require.NoError(t, err)
	return path
}

// Broker is one running process.
type Broker struct {
	Addr    string // Kafka listener, host:port
	Admin   string // admin listener, host:port
	HTTP    string // queue service, host:port
	DataDir string
	PID     int

	cmd    *exec.Cmd
	exited chan struct{}
	err    error // of Wait; valid after exited
	log    *tail
}

// Options change how a broker is started.
type Options struct {
	DataDir string   // "" means a new temporary one
	Addr    string   // "" means a free port
	Args    []string // further flags of `tidemark serve`
	Env     []string
}

var readyLine = regexp.MustCompile(`^tidemark ready: kafka (\S+) admin (\S+) .* http (\S+)`)

// Start runs a broker and returns when it is ready. It is stopped when the test ends.
func Start(t testing.TB, o Options) *Broker {
	t.Helper()
	b, err := Launch(Binary(t), o, t.TempDir)
	require.NoError(t, err)
	t.Cleanup(func() {
		b.Kill()
		if t.Failed() {
			t.Logf("the broker's last log lines:\n%s", b.log.String())
		}
	})
	return b
}

// Launch is Start without a test, for programs that measure. tempDir makes the data
// directory when none is given.
func Launch(binary string, o Options, tempDir func() string) (*Broker, error) {
	if o.DataDir == "" {
		o.DataDir = filepath.Join(tempDir(), "data")
	}
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	args := append([]string{"serve", "--data-dir", o.DataDir, "--listen", o.Addr, "--admin-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"}, o.Args...)
	b := &Broker{DataDir: o.DataDir, cmd: exec.Command(binary, args...), exited: make(chan struct{}), log: &tail{}}
	b.cmd.Env = append(ownEnviron(), o.Env...)
	b.cmd.Stderr = b.log
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	started := make(chan error, 1)
	ready := make(chan []string, 1)
	go b.own(started, out, ready)
	if err := <-started; err != nil {
		return nil, err
	}
	b.PID = b.cmd.Process.Pid
	select {
	case m := <-ready:
		b.Addr, b.Admin, b.HTTP = m[1], m[2], m[3]
		return b, nil
	case <-b.exited:
		return nil, fmt.Errorf("the broker ended before it was ready: %v\n%s", b.err, b.log)
	case <-time.After(startLimit):
		b.Kill()
		return nil, fmt.Errorf("the broker was not ready within %s\n%s", startLimit, b.log)
	}
}

// ownEnviron is the environment without settings of the broker, which the test alone
// decides on.
func ownEnviron() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "TIDEMARK_") })
}

// own starts the process and waits for its end on one locked thread: the kernel kills
// the broker when the thread that started it dies, which is wanted for a test process
// that crashes, and not when a Go thread merely retires.
func (b *Broker) own(started chan<- error, out io.Reader, ready chan<- []string) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := b.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	s := bufio.NewScanner(out)
	for s.Scan() {
		if m := readyLine.FindStringSubmatch(s.Text()); m != nil {
			ready <- m
		}
		fmt.Fprintln(b.log, s.Text())
	}
	_, _ = io.Copy(io.Discard, out)
	b.err = b.cmd.Wait()
	close(b.exited)
}

// Stop asks the broker to drain and end (SIGTERM) and answers how it exited.
func (b *Broker) Stop() error {
	_ = b.cmd.Process.Signal(syscall.SIGTERM)
	<-b.exited
	return b.err
}

// Kill ends the broker at once (SIGKILL), as a crash of the process would.
func (b *Broker) Kill() {
	_ = b.cmd.Process.Kill()
	<-b.exited
}

// Exited is closed when the process has ended.
func (b *Broker) Exited() <-chan struct{} { return b.exited }

// Log is the last lines the broker printed.
func (b *Broker) Log() string { return b.log.String() }

// Client is a Kafka client of the broker, closed when the test ends.
func (b *Broker) Client(t testing.TB, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(b.Addr)}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(cl.Close)
	return cl
}

// Context ends with the test, and after a minute at the latest.
func Context(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// tail keeps the last 64 KiB written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte // guarded by mu
}

func (l *tail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf = append(l.buf, p...)
	if over := len(l.buf) - 64<<10; over > 0 {
		l.buf = append(l.buf[:0], l.buf[over:]...)
	}
	return len(p), nil
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.TrimSpace(string(l.buf))
}
