// Package target gives a conformance suite the broker it is held against: a tidemark
// process of this tree, or, so that the suites themselves can be trusted, Apache Kafka.
//
//	CONFORM_TARGET=kafka          a new Apache Kafka, from test/conform/kafka (java and mvn)
//	CONFORM_BOOTSTRAP=HOST:PORT   a broker that runs already
//
// Without either it is Tidemark. The package owns the processes it starts: they end with
// the test.
package target

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemark-mq/tidemark/test/harness"
)

// startLimit bounds how long Apache Kafka may take to listen; stopLimit how long any
// broker may take to stop cleanly.
const (
	startLimit = 60 * time.Second
	stopLimit  = 30 * time.Second
)

// Broker is a running broker.
type Broker struct {
	Addr string // host:port
	Data string // the directory that holds everything it writes; "" when it is not ours

	stop func(testing.TB)
}

// Start gives the broker that the environment names, with broker settings of Kafka's
// names ("name=value"), which a broker that runs already does not get.
func Start(t testing.TB, settings ...string) *Broker {
	t.Helper()
	if addr := os.Getenv("CONFORM_BOOTSTRAP"); addr != "" {
		return &Broker{Addr: addr}
	}
	switch name := os.Getenv("CONFORM_TARGET"); name {
	case "", "tidemark":
		return tidemark(t, settings)
	case "kafka":
		return Kafka(t, settings...)
	default:
		require.FailNow(t, "CONFORM_TARGET is neither tidemark nor kafka", name)
		return nil
	}
}

// IsKafka tells that the broker under test is an Apache Kafka which Start started.
func IsKafka() bool {
	return os.Getenv("CONFORM_BOOTSTRAP") == "" && os.Getenv("CONFORM_TARGET") == "kafka"
}

// Stop ends the broker cleanly, so that its files can be looked at; a test that needs
// that is skipped against a broker which is not ours to stop.
func (b *Broker) Stop(t testing.TB) {
	t.Helper()
	if b.stop == nil {
		t.Skip("needs a broker that the test may stop; CONFORM_BOOTSTRAP names one that it may not")
	}
	b.stop(t)
}

// PartitionDir finds the directory of a partition's log below the broker's data. A
// partition that was never written to may have none.
func (b *Broker) PartitionDir(t testing.TB, topic string, partition int) (dir string, ok bool) {
	t.Helper()
	want := fmt.Sprintf("%s-%d", topic, partition)
	err := filepath.WalkDir(b.Data, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // files come and go while a broker runs
			return nil
		}
		if err == nil && d.IsDir() && d.Name() == want {
			dir, ok = path, true
			return fs.SkipAll
		}
		return err
	})
	require.NoError(t, err)
	return dir, ok
}

func tidemark(t testing.TB, settings []string) *Broker {
	t.Helper()
	var args []string
	for _, s := range settings {
		args = append(args, "--set", s)
	}
	b := harness.Start(t, harness.Options{Args: args})
	return &Broker{Addr: b.Addr, Data: b.DataDir, stop: func(t testing.TB) {
		require.NoError(t, b.Stop(), "the broker stops cleanly")
	}}
}

// Kafka starts an Apache Kafka whatever the environment says, for recordings.
func Kafka(t testing.TB, settings ...string) *Broker {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command(Script(t, "kafka"), append([]string{"broker", dir}, settings...)...)
	// The read end outlives no test: it is closed when the process ends.
	out, in, err := os.Pipe()
	require.NoError(t, err)
	cmd.Stdout, cmd.Stderr = in, in
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, cmd.Start())
	require.NoError(t, in.Close())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	end := sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(stopLimit):
			t.Errorf("Apache Kafka did not stop within %s", stopLimit)
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			<-ended
		}
	})
	t.Cleanup(end)
	b := &Broker{Data: filepath.Join(dir, "logs"), stop: func(testing.TB) { end() }}
	b.Addr = readyAddr(t, out)
	Ready(t, b.Addr)
	return b
}

// readyAddr reads up to the line that tells the address.
func readyAddr(t testing.TB, out *os.File) string {
	t.Helper()
	defer out.Close()
	require.NoError(t, out.SetReadDeadline(time.Now().Add(startLimit)))
	var said []string
	for s := bufio.NewScanner(io.LimitReader(out, 1<<20)); s.Scan(); {
		if addr, ok := strings.CutPrefix(s.Text(), "kafka ready: kafka "); ok {
			return addr
		}
		said = append(said, s.Text())
	}
	require.FailNow(t, "Apache Kafka did not start", strings.Join(said, "\n"))
	return ""
}

// Ready waits until the broker answers with itself in the cluster.
func Ready(t testing.TB, addr string) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	require.NoError(t, err)
	defer cl.Close()
	adm := kadm.NewClient(cl)
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		brokers, err := adm.ListBrokers(ctx)
		return err == nil && len(brokers) == 1
	}, startLimit, 100*time.Millisecond, "a broker at %s answers", addr)
}

// Script is the path of a file of test/conform.
func Script(t testing.TB, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	require.NoError(t, err)
	for {
		path := filepath.Join(dir, "test", "conform", name)
		if _, err := os.Stat(path); err == nil {
			return path
		}
		up := filepath.Dir(dir)
		require.NotEqual(t, dir, up, "test/conform/%s is not above the test's directory", name)
		dir = up
	}
}

// Topic makes a topic and waits until it is led. configs are "name=value".
func (b *Broker) Topic(t testing.TB, name string, partitions int32, configs ...string) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr))
	require.NoError(t, err)
	defer cl.Close()
	adm, set := kadm.NewClient(cl), map[string]*string{}
	for _, c := range configs {
		k, v, _ := strings.Cut(c, "=")
		set[k] = &v
	}
	_, err = adm.CreateTopic(t.Context(), partitions, 1, set, name)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		ends, err := adm.ListEndOffsets(t.Context(), name)
		return err == nil && ends.Error() == nil
	}, startLimit, 20*time.Millisecond, "topic %s is led", name)
}
