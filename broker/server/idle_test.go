package server

import (
	"context"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sys/unix"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/broker/quota"
)

// pipeListener is an in-memory network of one listener.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { close(l.closed); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }

func (l *pipeListener) dial(t *testing.T) *client {
	ours, theirs := net.Pipe()
	l.conns <- theirs
	return &client{t: t, Conn: ours}
}

// inBubble runs a server on an in-memory network under virtual time.
func inBubble(t *testing.T, o Options, h handlers, run func(t *testing.T, s *Server, l *pipeListener)) {
	synctest.Test(t, func(t *testing.T) {
		o.APIs = h.rows()
		s, err := New(o)
		require.NoError(t, err)
		l := newPipeListener()
		s.Serve("TEST", l)
		s.Start()
		run(t, s, l)
		require.NoError(t, s.Stop(context.Background()))
	})
}

func TestIdleConnectionIsClosedAndABusyOneIsNot(t *testing.T) {
	calls := make(chan *call.Call, 1)
	h := handlers{kmsg.Fetch: func(c *call.Call) { calls <- c }}
	inBubble(t, Options{IdleTimeout: time.Minute}, h, func(t *testing.T, s *Server, l *pipeListener) {
		calls = make(chan *call.Call, 1)
		idle, asking, polling := l.dial(t), l.dial(t), l.dial(t)
		defer polling.Close()
		polling.send(fetch())
		poll := <-calls
		for want := int32(1); want <= 10; want++ {
			asking.send(metadata())
			asking.expect(want)
			time.Sleep(20 * time.Second)
		}
		require.Equal(t, 2, s.Connections())
		idle.closed()
		time.Sleep(2 * time.Minute)
		asking.closed()
		require.Equal(t, 1, s.Connections(), "a long poll is no idleness")
		go answerEmpty(poll)
		polling.expect(1)
	})
}

func TestFrameThatStopsInTheMiddleIsCutOff(t *testing.T) {
	inBubble(t, Options{StallTimeout: 30 * time.Second}, nil, func(t *testing.T, s *Server, l *pipeListener) {
		frame := (&client{}).bytes(metadata())
		for _, n := range []int{1, 4, 7, 8, 9, len(frame) - 1} {
			c := l.dial(t)
			_, err := c.Write(frame[:n])
			require.NoError(t, err)
			begin := time.Now()
			time.Sleep(20 * time.Second)
			synctest.Wait()
			require.Equal(t, 1, s.Connections())
			time.Sleep(20 * time.Second)
			c.closed()
			require.Less(t, time.Since(begin), time.Minute)
			synctest.Wait()
			require.Zero(t, s.requests.Used())
		}
	})
}

func TestSlowFrameThatComesOnIsTaken(t *testing.T) {
	h := handlers{kmsg.Produce: answerEmpty}
	inBubble(t, Options{StallTimeout: 10 * time.Second}, h, func(t *testing.T, s *Server, l *pipeListener) {
		c := l.dial(t)
		defer c.Close()
		frame := c.bytes(produce(pattern(2 << 20)))
		for len(frame) > 0 { // 32 KiB a second: a minute in all
			n := min(32<<10, len(frame))
			_, err := c.Write(frame[:n])
			require.NoError(t, err)
			frame = frame[n:]
			time.Sleep(time.Second)
		}
		c.expect(1)
	})
}

// Clients that leave their frames half sent are given up soon when another waits for the memory; while nobody does they may take
// their time.
func TestHalfFramesThatHoldMemoryOthersWaitForAreCutOff(t *testing.T) {
	o := Options{Requests: quota.NewBudget(1 << 20)}
	inBubble(t, o, handlers{kmsg.Produce: answerEmpty}, func(t *testing.T, s *Server, l *pipeListener) {
		whole := produce(pattern(500 << 10))
		var halves []*client
		for range 3 { // the third overdraws
			c := l.dial(t)
			frame := c.bytes(whole)
			_, err := c.Write(frame[:len(frame)-1])
			require.NoError(t, err)
			halves = append(halves, c)
		}
		tiny := l.dial(t)
		_, err := tiny.Write(tiny.bytes(whole)[:100])
		require.NoError(t, err)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		require.Equal(t, 4, s.Connections())

		begin := time.Now()
		var others []*client
		for range 3 {
			c := l.dial(t)
			defer c.Close()
			go c.send(whole)
			others = append(others, c)
		}
		for _, c := range others {
			c.expect(1)
		}
		require.Less(t, time.Since(begin), 5*time.Second)
		for _, c := range halves {
			c.closed()
		}
		synctest.Wait()
		require.Equal(t, 4, s.Connections(), "one that holds next to nothing stays")
		require.NoError(t, tiny.Close())
	})
}

// idleLimit is what a connection without a request in flight may take, in bytes.
const idleLimit = 6 << 10

func TestIdleConnectionsCostLittle(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector's own memory is in the figure")
	}
	const n = 10_000
	var files unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &files))
	count := min(n, int(files.Cur)/2-100)
	s, address := startServer(t, Options{}, nil)
	sockets := make([]int, 0, count)
	defer func() {
		for _, fd := range sockets {
			_ = unix.Close(fd)
		}
	}()
	before := inUse()
	for range count {
		// With a request, so that stacks and buffers have been in use.
		sockets = append(sockets, bareClient(t, address, (&client{}).bytes(apiVersions())))
	}
	require.Equal(t, count, s.Connections())
	each := (int64(inUse()) - int64(before)) / int64(count)
	t.Logf("%d bytes for each of %d connections", each, count)
	require.Less(t, each, int64(idleLimit))
}

// bareClient connects, asks and reads the answer with system calls, so that nothing of it is on the heap. It gives the socket.
func bareClient(t *testing.T, address string, request []byte) int {
	at := netip.MustParseAddrPort(address)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	require.NoError(t, unix.Connect(fd, &unix.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())}))
	_, err = unix.Write(fd, request)
	require.NoError(t, err)
	n, err := unix.Read(fd, make([]byte, 4096))
	require.NoError(t, err)
	require.Positive(t, n)
	return fd
}

// inUse is the memory of the heap and of stacks, after they have shrunk.
func inUse() uint64 {
	for range 4 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}
