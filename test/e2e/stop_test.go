package e2e

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/test/harness"
)

func createTopic(t *testing.T, b *harness.Broker, name string, partitions int32) {
	t.Helper()
	_, err := kadm.NewClient(b.Client(t)).CreateTopic(harness.Context(t), partitions, 1, nil, name)
	require.NoError(t, err)
}

func brokerSetting(t *testing.T, b *harness.Broker, name string) string {
	t.Helper()
	all, err := kadm.NewClient(b.Client(t)).DescribeBrokerConfigs(harness.Context(t), 1)
	require.NoError(t, err)
	for _, c := range all[0].Configs {
		if c.Key == name && c.Value != nil {
			return *c.Value
		}
	}
	return ""
}

func ends(t *testing.T, b *harness.Broker, topic string) (sum int64) {
	t.Helper()
	listed, err := kadm.NewClient(b.Client(t)).ListEndOffsets(harness.Context(t), topic)
	require.NoError(t, err)
	require.NoError(t, listed.Error())
	listed.Each(func(o kadm.ListedOffset) { sum += o.Offset })
	return sum
}

// SIGTERM under load: the broker ends within 10 s with status 0, answers what it began, and the next start finds everything that
// was acknowledged, on the mark of a clean stop.
func TestStopUnderLoad(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) { stopUnderLoad(t, sig) })
	}
}

func stopUnderLoad(t *testing.T, sig syscall.Signal) {
	b := harness.Start(t, harness.Options{})
	createTopic(t, b, "t", 3)
	var acked atomic.Int64
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var work sync.WaitGroup
	progress := make(chan struct{})
	for i := range 4 {
		cl := b.Client(t, kgo.DefaultProduceTopic("t"), kgo.ProducerLinger(0), kgo.AllowIdempotentProduceCancellation(), kgo.AlwaysRetryEOF())
		work.Go(func() {
			for ctx.Err() == nil {
				size := 100
				if i == 0 {
					size = 200 << 10
				}
				err := cl.ProduceSync(ctx, &kgo.Record{Value: make([]byte, size)}).FirstErr()
				switch {
				case err == nil:
					if acked.Add(1) == 200 {
						close(progress)
					}
				case ctx.Err() == nil:
					t.Errorf("a stop is no reason to give a record up: %v", err)
				}
			}
		})
	}
	consumer := b.Client(t, kgo.ConsumeTopics("t"), kgo.FetchMaxWait(5*time.Second)) // long polls must not hold the stop up
	work.Go(func() {
		for ctx.Err() == nil {
			consumer.PollFetches(ctx)
		}
	})
	<-progress
	began := time.Now()
	require.NoError(t, syscall.Kill(b.PID, sig))
	select {
	case <-b.Exited():
	case <-time.After(15 * time.Second):
		t.Fatal("the broker does not stop")
	}
	took := time.Since(began)
	require.NoError(t, b.Stop(), "exit status; the last log lines:\n%s", b.Log())
	require.Less(t, took, 10*time.Second)
	cancel()
	work.Wait()
	t.Logf("stopped in %d ms", took.Milliseconds())

	next := harness.Start(t, harness.Options{DataDir: b.DataDir})
	require.GreaterOrEqual(t, ends(t, next, "t"), acked.Load(), "acknowledged records")
	require.Contains(t, next.Log(), `"clean stop":true`)
	require.NotContains(t, next.Log(), "recover", "the stop was clean")
	require.NoError(t, next.Stop())
}

// After a clean stop a start reads no log: what it reads, and so its time, does not depend on how much there is.
func TestACleanStartReadsNoLog(t *testing.T) {
	size := int64(512 << 20)
	if testing.Short() {
		size = 96 << 20
	}
	b := harness.Start(t, harness.Options{Args: []string{"--set", "log.segment.bytes=16777216"}})
	createTopic(t, b, "t", 4)
	cl := b.Client(t, kgo.DefaultProduceTopic("t"), kgo.MaxBufferedBytes(64<<20), kgo.ProducerBatchCompression(kgo.NoCompression()))
	value := make([]byte, 64<<10)
	for range size / int64(len(value)) {
		cl.Produce(t.Context(), &kgo.Record{Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Errorf("produce: %v", err)
			}
		})
	}
	require.NoError(t, cl.Flush(harness.Context(t)))
	total := ends(t, b, "t")
	require.NoError(t, b.Stop())

	began := time.Now()
	b = harness.Start(t, harness.Options{DataDir: b.DataDir})
	took := time.Since(began)
	read := readSoFar(t, b.PID)
	require.Less(t, read, int64(16<<20), "bytes read by a start on %d MiB", size>>20)
	require.Equal(t, total, ends(t, b, "t"))
	t.Logf("ready in %d ms on %d MiB, %d KiB read", took.Milliseconds(), size>>20, read>>10)
	require.NoError(t, b.Stop())
}

// readSoFar is what a process has read with system calls, page cache included.
func readSoFar(t *testing.T, pid int) int64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	require.NoError(t, err)
	for line := range strings.Lines(string(data)) {
		if text, ok := strings.CutPrefix(line, "rchar: "); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
			require.NoError(t, err)
			return n
		}
	}
	t.Fatalf("no rchar in %s", data)
	return 0
}

// heldUp answers a broker that drains for the sake of a client that does not read its answers.
func heldUp(t *testing.T) *harness.Broker {
	b := harness.Start(t, harness.Options{})
	createTopic(t, b, "t", 1)
	cl := b.Client(t, kgo.DefaultProduceTopic("t"), kgo.ProducerBatchCompression(kgo.NoCompression()))
	for range 16 {
		require.NoError(t, cl.ProduceSync(t.Context(), &kgo.Record{Value: make([]byte, 900<<10)}).FirstErr())
	}
	slow := dial(t, b)
	for id := range int32(8) { // 128 MiB of answers, none of which is read
		_, err := slow.Write(fetchRequest(id, "t"))
		require.NoError(t, err)
	}
	awaitStall(t, slow)
	require.NoError(t, syscall.Kill(b.PID, syscall.SIGTERM))
	return b
}

// A drain waits for such a client within its limit of 10 s, of which enough is left for an orderly end.
func TestADrainEndsWithinItsLimit(t *testing.T) {
	t.Parallel()
	b := heldUp(t)
	began := time.Now()
	select {
	case <-b.Exited():
	case <-time.After(30 * time.Second):
		t.Fatal("the broker does not stop")
	}
	took := time.Since(began)
	require.NoError(t, b.Stop(), "exit status; the last log lines:\n%s", b.Log())
	require.Less(t, took, 12*time.Second, "10 s, and some for a machine that is busy")
	require.Contains(t, b.Log(), "clients were cut off")
	require.NotContains(t, b.Log(), "left to run out", "the broker leaves its cluster")
	t.Logf("stopped in %d ms", took.Milliseconds())
	next := harness.Start(t, harness.Options{DataDir: b.DataDir})
	require.Contains(t, next.Log(), `"clean stop":true`)
	require.Equal(t, int64(16), ends(t, next, "t"))
}

// While it drains a broker says so, and accepts nobody; a second signal ends it at once.
func TestASecondSignalEndsTheDrain(t *testing.T) {
	t.Parallel()
	b := heldUp(t)
	require.Eventually(t, func() bool {
		status, _ := get(t, b, "/readyz")
		return status == http.StatusServiceUnavailable
	}, 5*time.Second, 10*time.Millisecond, "a broker that drains is not ready")
	status, _ := get(t, b, "/healthz")
	require.Equal(t, http.StatusOK, status, "it lives")
	require.Eventually(t, func() bool { return tryConnect(b) != nil }, 5*time.Second, 10*time.Millisecond, "while draining nobody is accepted")
	began := time.Now()
	require.Eventually(t, func() bool { // what comes as good as at once with the first is taken for the same
		_ = syscall.Kill(b.PID, syscall.SIGTERM)
		select {
		case <-b.Exited():
			return true
		default:
			return false
		}
	}, 5*time.Second, 50*time.Millisecond, "the second signal does not end the process sooner than the drain's own limit")
	var exit *exec.ExitError
	require.ErrorAs(t, b.Stop(), &exit)
	require.Equal(t, 1, exit.ExitCode())
	t.Logf("ended %d ms after the second signal", time.Since(began).Milliseconds())

	next := harness.Start(t, harness.Options{DataDir: b.DataDir}) // after what was as good as a crash
	require.Equal(t, int64(16), ends(t, next, "t"))
	require.NoError(t, next.Stop())
}

// TestTwoSignalsAtOnceAreOne: timeout(1) signals its child and then the group both are in.
func TestTwoSignalsAtOnceAreOne(t *testing.T) {
	t.Parallel()
	b := harness.Start(t, harness.Options{})
	for range 3 {
		require.NoError(t, syscall.Kill(b.PID, syscall.SIGTERM))
	}
	require.NoError(t, b.Stop(), "an orderly end")
	require.NotContains(t, b.Log(), "second signal")
}

// tryConnect asks for API versions on a new connection.
func tryConnect(b *harness.Broker) error {
	c, err := net.DialTimeout("tcp", b.Addr, time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	if _, err := c.Write(apiVersionsRequest(1)); err != nil {
		return err
	}
	_, err = readFrame(c)
	return err
}

// What follows speaks the protocol by hand, for connections that do what no client would.

func dial(t *testing.T, b *harness.Broker) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", b.Addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// frame is a request with its header of version 1.
func frame(req kmsg.Request, id int32) []byte {
	b := binary.BigEndian.AppendUint16(make([]byte, 4), uint16(req.Key()))
	b = binary.BigEndian.AppendUint16(b, uint16(req.GetVersion()))
	b = binary.BigEndian.AppendUint32(b, uint32(id))
	b = binary.BigEndian.AppendUint16(b, 0xffff) // no client id
	b = req.AppendTo(b)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

func apiVersionsRequest(id int32) []byte {
	req := kmsg.NewPtrApiVersionsRequest()
	req.Version = 0
	return frame(req, id)
}

// fetchRequest asks for 16 MiB of partition 0 of a topic, from its start.
func fetchRequest(id int32, topic string) []byte {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.ReplicaID, req.MaxBytes, req.MinBytes, req.MaxWaitMillis, req.SessionEpoch = 11, -1, 64<<20, 1, 0, -1
	part := kmsg.NewFetchRequestTopicPartition()
	part.PartitionMaxBytes, part.CurrentLeaderEpoch = 16<<20, -1
	tp := kmsg.NewFetchRequestTopic()
	tp.Topic, tp.Partitions = topic, append(tp.Partitions, part)
	req.Topics = append(req.Topics, tp)
	return frame(req, id)
}

func readFrame(c net.Conn) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return nil, err
	}
	body := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err := io.ReadFull(c, body)
	return body, err
}

// awaitStall waits until the answers on connections that nobody reads have filled their buffers.
func awaitStall(t *testing.T, conns ...net.Conn) {
	t.Helper()
	waiting := func() (sum int, all bool) {
		all = true
		for _, c := range conns {
			raw, err := c.(*net.TCPConn).SyscallConn()
			require.NoError(t, err)
			var n int
			require.NoError(t, raw.Control(func(fd uintptr) { n = inputQueue(fd) }))
			sum, all = sum+n, all && n > 0
		}
		return sum, all
	}
	last, still := -1, 0
	for deadline := time.Now().Add(time.Minute); still < 10; {
		require.True(t, time.Now().Before(deadline), "no answer comes")
		n, all := waiting()
		if all && n == last {
			still++
		} else {
			still = 0
		}
		last = n
		<-time.After(20 * time.Millisecond)
	}
}

var errNoFile = errors.New("not found")

// segmentFile is the first segment of a partition.
func segmentFile(dir, partition string) (string, error) {
	found, err := filepath.Glob(filepath.Join(dir, "logs", partition, "*.log"))
	if err != nil || len(found) == 0 {
		return "", errors.Join(errNoFile, err)
	}
	return found[0], nil
}
