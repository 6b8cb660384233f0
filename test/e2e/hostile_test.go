package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemark-mq/tidemark/test/harness"
)

// What hostile connections may cost: memory of the process beyond what it used before, and the wait of another client.
const (
	mib          = 1 << 20
	servedWithin = 10 * time.Second // on a machine that other tests keep busy
)

// victim is a broker with a topic of records, and a client that must be served whatever others do.
type victim struct {
	*harness.Broker
	t      *testing.T
	client *kgo.Client
	before int64 // bytes resident
}

func newVictim(t *testing.T, args ...string) *victim {
	if testing.Short() {
		t.Skip("takes a while, and thousands of sockets")
	}
	b := harness.Start(t, harness.Options{Args: args})
	createTopic(t, b, "t", 1)
	v := &victim{Broker: b, t: t, client: b.Client(t, kgo.DefaultProduceTopic("t"), kgo.ProducerLinger(0), kgo.ProducerBatchCompression(kgo.NoCompression()))}
	for range 16 {
		require.NoError(t, v.client.ProduceSync(harness.Context(t), &kgo.Record{Value: make([]byte, 900<<10)}).FirstErr())
	}
	require.NoError(t, os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", v.PID), []byte("5"), 0)) // VmHWM starts anew
	v.before = v.status("VmRSS")
	return v
}

// status is a figure of the process in bytes.
func (v *victim) status(name string) int64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", v.PID))
	require.NoError(v.t, err)
	for line := range strings.Lines(string(data)) {
		if text, ok := strings.CutPrefix(line, name+":"); ok {
			n, err := strconv.ParseInt(strings.Fields(text)[0], 10, 64)
			require.NoError(v.t, err)
			return n << 10
		}
	}
	v.t.Fatalf("no %s in the process's status", name)
	return 0
}

// serves has the other client produce and consume, and answers the longest wait.
func (v *victim) serves() (longest time.Duration) {
	v.t.Helper()
	for range 20 {
		began := time.Now()
		r, err := v.client.ProduceSync(harness.Context(v.t), &kgo.Record{Value: []byte("still here")}).First()
		require.NoError(v.t, err)
		consumer, err := kgo.NewClient(kgo.SeedBrokers(v.Addr), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"t": {0: kgo.NewOffset().At(r.Offset)}}))
		require.NoError(v.t, err)
		records := consumer.PollFetches(harness.Context(v.t)).Records()
		consumer.Close()
		require.NotEmpty(v.t, records)
		require.Equal(v.t, "still here", string(records[0].Value))
		longest = max(longest, time.Since(began))
	}
	return longest
}

// bounded checks what the hostile connections cost, while they are still there.
func (v *victim) bounded(limit int64) {
	v.t.Helper()
	longest := v.serves()
	peak := v.status("VmHWM") - v.before
	v.t.Logf("memory: %d MiB before, at most %d MiB more; another client waits %d ms at most", v.before/mib, peak/mib, longest.Milliseconds())
	require.Less(v.t, longest, servedWithin)
	require.Less(v.t, peak, limit)
}

// Clients that ask for much and read nothing.
func TestSlowReaders(t *testing.T) {
	v := newVictim(t)
	var conns []net.Conn
	for range 100 {
		c := dial(t, v.Broker)
		for id := range int32(50) { // 70 GiB of answers in all
			_, err := c.Write(fetchRequest(id, "t"))
			require.NoError(t, err)
		}
		conns = append(conns, c)
	}
	awaitStall(t, conns...)
	v.bounded(128 * mib)
}

// Frames of which only the beginning comes: their claimed size is not a reason to give memory away.
func TestHalfFrames(t *testing.T) {
	v := newVictim(t)
	for i := range 2000 {
		c := dial(t, v.Broker)
		head := binary.BigEndian.AppendUint32(nil, 100_000_000) // below socket.request.max.bytes
		switch i % 3 {
		case 0:
			head = head[:2]
		case 1:
			head = append(head, apiVersionsRequest(1)[4:]...)
		case 2:
			head = append(head, make([]byte, 3000)...)
		}
		_, err := c.Write(head)
		require.NoError(t, err)
	}
	v.bounded(128 * mib)
}

// Ten thousand connections that were used once and stay.
func TestIdleConnections(t *testing.T) {
	const connections = 10_000
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	if limit.Max < connections+1000 {
		t.Skipf("the limit of open files is %d", limit.Max)
	}
	v := newVictim(t)
	began := time.Now()
	var all sync.WaitGroup
	errs := make(chan error, 20)
	conns := make([]net.Conn, connections)
	t.Cleanup(func() {
		for _, c := range conns {
			if c != nil {
				_ = c.Close()
			}
		}
	})
	for w := range 20 {
		all.Go(func() {
			for i := w; i < connections; i += 20 {
				c, err := net.Dial("tcp", v.Addr)
				if err == nil {
					conns[i] = c
					if _, err = c.Write(apiVersionsRequest(int32(i))); err == nil {
						_, err = readFrame(c)
					}
				}
				if err != nil {
					errs <- err
					return
				}
			}
		})
	}
	all.Wait()
	select {
	case err := <-errs:
		t.Fatal(err)
	default:
	}
	t.Logf("%d connections in %d ms", connections, time.Since(began).Milliseconds())
	v.bounded(256 * mib)
	_, err := conns[connections/2].Write(apiVersionsRequest(7))
	require.NoError(t, err)
	_, err = readFrame(conns[connections/2])
	require.NoError(t, err, "an idle connection is served when it speaks")
}

// A hundred thousand requests on one connection whose answers are never read: the broker stops reading, and what it read is bounded.
// Read at last, the answers come all, in order.
func TestPipelinedRequestsUnread(t *testing.T) {
	const requests = 100_000
	v := newVictim(t)
	c := dial(t, v.Broker)
	written := make(chan error, 1)
	go func() {
		var err error
		for chunk := range slices.Chunk(ids(requests), 1000) {
			var b []byte
			for _, id := range chunk {
				b = append(b, apiVersionsRequest(id)...)
			}
			if _, err = c.Write(b); err != nil {
				break
			}
		}
		written <- err
	}()
	awaitStall(t, c)
	select {
	case err := <-written:
		require.NoError(t, err, "small requests may all fit into the sockets' buffers")
		written <- nil
	default:
	}
	v.bounded(64 * mib)
	require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Minute)))
	for want := range int32(requests) {
		answer, err := readFrame(c)
		require.NoError(t, err, "answer %d", want)
		require.Equal(t, uint32(want), binary.BigEndian.Uint32(answer), "answers come in the order of the requests")
	}
	require.NoError(t, <-written)
}

func ids(n int32) []int32 {
	all := make([]int32, n)
	for i := range all {
		all[i] = int32(i)
	}
	return all
}

// Bytes that are no Kafka request close their own connection and nothing else.
func TestGarbage(t *testing.T) {
	v := newVictim(t)
	for _, garbage := range [][]byte{
		[]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		{0xff, 0xff, 0xff, 0xff, 0, 0},
		{0x7f, 0xff, 0xff, 0xff, 0, 0},
		{0, 0, 0, 0},
		{0, 0, 0, 10, 0x7f, 0x7f, 0, 0, 0, 0, 0, 1, 0xff, 0xff},
		{0, 0, 0, 10, 0, 3, 0x7f, 0, 0, 0, 0, 1, 0xff, 0xff},
	} {
		c := dial(t, v.Broker)
		_, err := c.Write(garbage)
		require.NoError(t, err)
		require.NoError(t, c.SetReadDeadline(time.Now().Add(10*time.Second)))
		_, err = c.Read(make([]byte, 1))
		require.Error(t, err)
		var timeout net.Error
		require.False(t, errors.As(err, &timeout) && timeout.Timeout(), "%x: the connection stays open", garbage)
	}
	v.bounded(32 * mib)
}
