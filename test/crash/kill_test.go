package crash

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/test/harness"
)

var (
	rounds = flag.Int("rounds", 3, "how often the broker is killed; `make crash` runs 50")
	seed   = flag.Uint64("seed", 0, "seed of the kill and power-cut tests; 0 draws one")
)

// roundsPerDirectory bounds how long one data directory lives, so that a long run stays within a disk.
const roundsPerDirectory = 50

func drawSeed(t *testing.T) uint64 {
	s := *seed
	if s == 0 {
		s = rand.Uint64N(1 << 40)
	}
	t.Logf("seed %d (-args -seed %d repeats what clients send, not how the machine schedules them)", s, s)
	return s
}

// newRand is for what needs not be repeated.
func newRand() *rand.Rand { return rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())) }

// TestKillUnderLoad kills a real broker under load again and again, some of the times while it starts or stops, and restarts it
// on the same directory and port. What it acknowledged in any of its lives is there at the end.
func TestKillUnderLoad(t *testing.T) {
	n := *rounds
	if testing.Short() {
		n = min(n, 1)
	}
	first := drawSeed(t)
	for series := uint64(0); n > 0; series++ {
		k := min(n, roundsPerDirectory)
		n -= k
		t.Run(fmt.Sprint(series), func(t *testing.T) { killSeries(t, first+series, k) })
	}
}

func killSeries(t *testing.T, seed uint64, rounds int) {
	rng := rand.New(rand.NewPCG(seed, 0))
	s := &service{t: t, options: harness.Options{DataDir: filepath.Join(t.TempDir(), "data"), Addr: freePort(t, rng)}}
	for name, value := range brokerSettings {
		s.options.Args = append(s.options.Args, "--set", name+"="+value)
	}
	s.start()
	l := newLoad(t, s.Addr, seed, shape{cached: true})
	for round := range rounds {
		l.progress(time.Duration(rng.IntN(1500)) * time.Millisecond)
		if rng.IntN(5) == 0 {
			s.stopAndKill(time.Duration(rng.IntN(150)) * time.Millisecond)
		} else {
			s.Kill()
		}
		requireExpected(t, s.Log())
		for rng.IntN(4) == 0 {
			s.startAndKill(time.Duration(rng.IntN(400)) * time.Millisecond)
		}
		took := s.start()
		l.commits.check()
		l.trims.check()
		l.churn.check()
		t.Logf("round %d: restarted in %d ms, %d records acknowledged so far", round+1, took.Milliseconds(), l.acknowledged())
	}
	l.progress(0)
	l.stop()
	s.Kill()
	s.start()
	l.verify()
	l.commits.check()
	l.trims.check()
	l.churn.verify()
	t.Log(l.summary())
	slices.Sort(s.starts)
	t.Logf("restart: median %d ms, slowest %d ms of %d", s.starts[len(s.starts)/2].Milliseconds(), s.starts[len(s.starts)-1].Milliseconds(), len(s.starts))

	require.NoError(t, s.Stop(), "an orderly stop exits with 0; the last log lines:\n%s", s.Log())
	requireSoundFiles(t, s.options.DataDir)
}

// requireExpected looks through a broker's log: whatever is cut off, each request meets an error that has a code of its own.
func requireExpected(t *testing.T, log string) {
	t.Helper()
	for _, message := range []string{"unexpected error", "panic"} {
		require.NotContains(t, log, message)
	}
}

// service is a broker with one address and one data directory over its restarts.
type service struct {
	*harness.Broker
	t       *testing.T
	options harness.Options
	starts  []time.Duration
}

func (s *service) start() time.Duration {
	s.t.Helper()
	began := time.Now()
	b, err := harness.Launch(harness.Binary(s.t), s.options, nil)
	require.NoError(s.t, err)
	s.t.Cleanup(func() {
		b.Kill()
		if s.t.Failed() && b == s.Broker {
			s.t.Logf("the broker's last log lines:\n%s", b.Log())
		}
	})
	s.Broker = b
	took := time.Since(began)
	s.starts = append(s.starts, took)
	return took
}

// stopAndKill kills the broker at some point of an orderly stop, if that takes so long.
func (s *service) stopAndKill(after time.Duration) {
	require.NoError(s.t, syscall.Kill(s.PID, syscall.SIGTERM))
	select {
	case <-s.Exited():
		require.NoError(s.t, s.Stop(), "an orderly stop exits with 0; the last log lines:\n%s", s.Log())
	case <-time.After(after):
		s.Kill()
	}
}

// startAndKill starts the broker and kills it at some point of its start.
func (s *service) startAndKill(after time.Duration) {
	s.t.Helper()
	args := append([]string{"serve", "--data-dir", s.options.DataDir, "--listen", s.options.Addr, "--admin-listen", "", "--http-listen", ""}, s.options.Args...)
	cmd := exec.Command(harness.Binary(s.t), args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "TIDEMARK_") })
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	require.NoError(s.t, cmd.Start())
	time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
	err := cmd.Wait()
	var exit *exec.ExitError
	require.ErrorAs(s.t, err, &exit)
	require.True(s.t, exit.Sys().(syscall.WaitStatus).Signaled(), "the broker did not start: %v\n%s", err, stderr.String())
}

// freePort is an address that stays free while the broker is down: outside the range from which the clients' own ports come.
func freePort(t *testing.T, rng *rand.Rand) string {
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 20000+rng.IntN(12000))
		l, err := net.Listen("tcp", addr)
		if err == nil {
			require.NoError(t, l.Close())
			return addr
		}
	}
	t.Fatal("no free port")
	return ""
}

// requireSoundFiles reads every segment and side file with `tidemark dump`, which compares all checksums.
func requireSoundFiles(t *testing.T, dir string) {
	t.Helper()
	var files []string
	err := filepath.WalkDir(filepath.Join(dir, "logs"), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if ext := filepath.Ext(path); !d.IsDir() && slices.Contains([]string{".log", ".index", ".timeindex", ".txnindex", ".snapshot"}, ext) {
			files = append(files, path)
		}
		return nil
	})
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for chunk := range slices.Chunk(files, 100) {
		cmd := exec.Command(harness.Binary(t), append([]string{"dump"}, chunk...)...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Run(); err != nil {
			var exit *exec.ExitError
			require.True(t, errors.As(err, &exit))
			t.Fatalf("tidemark dump: %v\n%s", err, stderr.String())
		}
	}
	t.Logf("%d files are sound", len(files))
}
