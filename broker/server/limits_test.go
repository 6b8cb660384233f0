package server

import (
	"encoding/binary"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
	"weak"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/broker/quota"
)

// refusedFrames are frames that Kafka closes the connection for.
func TestFramesThatEndTheConnection(t *testing.T) {
	head := func(size uint32, key, version uint16) []byte {
		b := binary.BigEndian.AppendUint32(nil, size)
		b = binary.BigEndian.AppendUint16(b, key)
		return binary.BigEndian.AppendUint16(b, version)
	}
	long := (&client{}).bytes(metadata())
	long[13] = 200 // the client id's length
	h := handlers{}
	requests := quota.NewBudget(1 << 20)
	s, address := startServer(t, Options{MaxRequestBytes: 1000, Requests: requests}, h)
	for name, frame := range map[string][]byte{
		"size 0":                        head(0, 3, 1),
		"size too small for a header":   head(3, 3, 1),
		"negative size":                 head(1<<31, 3, 1),
		"size above the limit":          head(1001, 3, 1),
		"unknown key":                   head(100, 999, 0),
		"negative key":                  head(100, 0xffff, 0),
		"key not served":                head(100, 19, 5),
		"version above":                 head(100, 3, 99),
		"negative version":              head(100, 3, 0xffff),
		"client id longer than a frame": long,
	} {
		c := dial(t, address)
		_, err := c.Write(frame)
		require.NoError(t, err)
		c.closed()
		require.Zero(t, requests.Used(), name)
	}
	eventually(t, "connections gone", func() bool { return s.Connections() == 0 })
	require.Equal(t, 4.0, testutil.ToFloat64(s.metrics.closed.WithLabelValues("frame_size")))
	require.Equal(t, 5.0, testutil.ToFloat64(s.metrics.closed.WithLabelValues("unknown_api")))
	require.Equal(t, 1.0, testutil.ToFloat64(s.metrics.closed.WithLabelValues("malformed")))
}

func TestFrameLimitOfOneAPI(t *testing.T) {
	s := newServer(t, Options{}, nil)
	s.routes[3].FrameLimit = 100
	e, err := s.Listen(t.Context(), Endpoint{Host: "127.0.0.1"})
	require.NoError(t, err)
	s.Start()
	c := dial(t, e.Address())
	c.send(apiVersions(), metadata())
	c.expect(1, 2)
	large := metadata().(*kmsg.MetadataRequest)
	for range 20 {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = kmsg.StringPtr("a-topic-name")
		large.Topics = append(large.Topics, topic)
	}
	c.send(large)
	c.closed()
}

func TestApiVersionsOfAnyVersionIsHandedOver(t *testing.T) {
	_, address := startServer(t, Options{}, nil)
	c := dial(t, address)
	b := c.bytes(apiVersions())
	binary.BigEndian.PutUint16(b[6:], 99)
	_, err := c.Write(b)
	require.NoError(t, err)
	c.expect(1)
	c.send(metadata())
	c.expect(2)
}

func TestConnectionIsNotReadWhileTheBudgetIsSpent(t *testing.T) {
	begun, goOn := make(chan []byte, 10), make(chan struct{})
	requests := quota.NewBudget(256 << 10)
	_, address := startServer(t, Options{Requests: requests}, handlers{kmsg.Produce: func(c *call.Call) {
		begun <- records(c)
		<-goOn
		answerEmpty(c)
	}})
	var clients []*client
	for n := range 3 { // two fit, the third is the one that may overdraw
		clients = append(clients, dial(t, address))
		clients[n].send(produce(pattern(100 << 10)))
		<-begun
	}
	require.EqualValues(t, 384<<10, requests.Used())
	waits := dial(t, address)
	waits.send(produce(pattern(100 << 10)))
	eventually(t, "the next connection waits", func() bool { return requests.Waiting() == 1 })
	require.Empty(t, begun)
	small := dial(t, address)
	small.send(metadata(), produce(pattern(smallFrame-100)))
	small.receive()
	require.Len(t, <-begun, smallFrame-100, "what asks for little does not wait")
	for range 4 {
		goOn <- struct{}{}
	}
	require.Equal(t, pattern(100<<10), <-begun)
	close(goOn)
	for _, c := range append(clients, waits) {
		c.expect(1)
	}
	small.expect(2)
	eventually(t, "budget free", func() bool { return requests.Used() == 0 })
}

// What waits for the disk holds its answer and no more: the next frame of the connection finds the memory free.
func TestAFrameIsGivenBackWhenItsHandlerReturned(t *testing.T) {
	calls := make(parked, 10)
	requests := quota.NewBudget(128 << 10)
	_, address := startServer(t, Options{Requests: requests}, handlers{kmsg.Produce: calls.handle})
	c := dial(t, address)
	c.send(produce(pattern(100<<10)), produce(pattern(100<<10)), produce(pattern(100<<10)))
	all := []*call.Call{calls.next(t), calls.next(t), calls.next(t)}
	eventually(t, "budget free", func() bool { return requests.Used() == 0 })
	for _, parked := range all {
		answerEmpty(parked)
	}
	c.expect(1, 2, 3)
}

func TestHalfFramesDoNotHoldTheBudget(t *testing.T) {
	const clients = 100
	requests := quota.NewBudget(1 << 20)
	_, address := startServer(t, Options{Requests: requests}, handlers{kmsg.Produce: answerEmpty})
	whole := produce(pattern(1 << 20))
	for range clients {
		c := dial(t, address)
		_, err := c.Write(c.bytes(whole)[:50])
		require.NoError(t, err)
	}
	eventually(t, "half frames are read", func() bool { return requests.Used() == clients*firstRoom })
	c := dial(t, address)
	for range 10 {
		c.send(produce(pattern(100 << 10)))
		c.receive()
	}
	c.send(produce(pattern(2 << 20))) // larger than the whole budget
	c.receive()
	require.EqualValues(t, clients*firstRoom, requests.Used())
}

// What a request points into is not held by the answer that waits.
func TestAParkedRequestHoldsNoFrame(t *testing.T) {
	calls := make(parked, 1)
	frames := make(chan weak.Pointer[byte], 1)
	_, address := startServer(t, Options{}, handlers{kmsg.Produce: func(c *call.Call) {
		frames <- weak.Make(&c.Request.(*kmsg.ProduceRequest).Topics[0].Partitions[0].Records[0])
		calls.handle(c)
	}})
	c := dial(t, address)
	c.send(produce(pattern(1<<mostClass + 1))) // no pool has it
	waiting := calls.next(t)
	frame := <-frames
	eventually(t, "frame collected", func() bool { runtime.GC(); return frame.Value() == nil })
	answerEmpty(waiting)
	c.expect(1)
}

func TestSmallRequestsAreServedWhileOthersHoldWhatMayBeDecoded(t *testing.T) {
	calls := make(parked, 10)
	decoded := quota.NewBudget(64 << 10)
	_, address := startServer(t, Options{Decoded: decoded}, handlers{kmsg.Fetch: calls.handle})
	large := fetch().(*kmsg.FetchRequest)
	topic := kmsg.NewFetchRequestTopic()
	for range 500 {
		topic.Partitions = append(topic.Partitions, kmsg.NewFetchRequestTopicPartition())
	}
	large.Topics = append(large.Topics, topic)
	a, b, c := dial(t, address), dial(t, address), dial(t, address)
	a.send(large)
	first := calls.next(t)
	b.send(large)
	eventually(t, "the second waits", func() bool { return decoded.Waiting() == 1 })
	c.send(metadata(), metadata())
	c.expect(1, 2)
	calls.none(t)
	answerEmpty(first)
	answerEmpty(calls.next(t))
	a.expect(1)
	b.expect(1)
	eventually(t, "budget free", func() bool { return decoded.Used() == 0 })
}

func TestSlowReaderIsNotServedFurther(t *testing.T) {
	const all, size = 3000, 64 << 10
	var started atomic.Int64
	body := pattern(size)
	s, address := startServer(t, Options{}, handlers{kmsg.Fetch: func(c *call.Call) {
		started.Add(1)
		c.Reply(call.Response{Payload: &call.Payload{Pieces: []call.Piece{{Bytes: body}}}})
	}})
	slow := dial(t, address)
	require.NoError(t, slow.Conn.(*net.TCPConn).SetReadBuffer(256<<10))
	go func() {
		for range all {
			if _, err := slow.Write(slow.bytes(fetch())); err != nil {
				return
			}
		}
	}()
	eventually(t, "server stops writing", func() bool { return stalledWriters(s) == 1 })
	require.Less(t, started.Load(), int64(200), "answers held for one client")
	other := dial(t, address)
	other.send(metadata())
	other.expect(1)
	for want := int32(1); want <= all; want++ {
		slow.expect(want)
	}
}

func stalledWriters(s *Server) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for c := range s.conns {
		if c.stall.since.Load() != 0 {
			n++
		}
	}
	return n
}

func TestPipelinedRequestsNobodyReadsStayBounded(t *testing.T) {
	const all = 100_000
	s, address := startServer(t, Options{}, nil)
	before := heap()
	slow := dial(t, address)
	require.NoError(t, slow.Conn.(*net.TCPConn).SetReadBuffer(256<<10))
	var written atomic.Bool // all of it fits the kernel's buffers
	go func() {
		defer written.Store(true)
		var b []byte
		for range all {
			b = append(b, slow.bytes(apiVersions())...)
		}
		_, _ = slow.Write(b)
	}()
	eventually(t, "all sent, or the server stops writing", func() bool { return written.Load() || stalledWriters(s) == 1 })
	other := dial(t, address)
	other.send(metadata())
	other.expect(1)
	require.Less(t, heap(), before+32<<20)
	for want := int32(1); want <= all; want++ {
		slow.expect(want)
	}
	eventually(t, "all sent", written.Load)
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestUnansweredRequestsOfAConnectionAreBounded(t *testing.T) {
	calls := make(parked, 100)
	s, address := startServer(t, Options{MaxInFlight: 10}, handlers{kmsg.Produce: calls.handle})
	c := dial(t, address)
	for range 15 {
		c.send(produce(nil))
	}
	eventually(t, "reader waits", func() bool { return readerWaits(s) })
	require.Len(t, calls, 10)
	require.Equal(t, 10, s.Parked())
	for range 15 {
		answerEmpty(calls.next(t))
	}
	for want := int32(1); want <= 15; want++ {
		c.expect(want)
	}
	require.Zero(t, s.Parked())
}

func TestConnectionLimits(t *testing.T) {
	t.Run("of all", func(t *testing.T) {
		s, address := startServer(t, Options{MaxConnections: 2}, nil)
		checkLimit(t, s, address, "max.connections")
	})
	t.Run("of one address", func(t *testing.T) {
		s, address := startServer(t, Options{MaxConnectionsPerIP: 2}, nil)
		checkLimit(t, s, address, "max.connections.per.ip")
	})
}

func checkLimit(t *testing.T, s *Server, address, limit string) {
	a, b := dial(t, address), dial(t, address)
	for _, c := range []*client{a, b} {
		c.send(metadata())
		c.expect(1)
	}
	dial(t, address).closed()
	require.Equal(t, 1.0, testutil.ToFloat64(s.metrics.refused.WithLabelValues(limit)))
	require.NoError(t, a.Close())
	eventually(t, "a place is free", func() bool { return s.Connections() == 1 })
	c := dial(t, address)
	c.send(metadata())
	c.expect(1)
}

func TestClientGoneWhileItsNextRequestWaitsIsNoticed(t *testing.T) {
	calls := make(parked, 1)
	_, address := startServer(t, Options{}, handlers{kmsg.Fetch: calls.handle})
	c := dial(t, address)
	c.send(fetch(), metadata())
	f := calls.next(t)
	require.NoError(t, c.Close())
	<-f.Context.Done()
	answerEmpty(f)
}

func TestCallThatOutlivesItsClientDoesNotKeepTheConnection(t *testing.T) {
	calls := make(parked, 1)
	s, address := startServer(t, Options{StallTimeout: 50 * time.Millisecond}, handlers{kmsg.Produce: calls.handle})
	c := dial(t, address)
	c.send(produce(nil))
	p := calls.next(t)
	require.NoError(t, c.Close())
	eventually(t, "connection gone", func() bool { return s.Connections() == 0 })
	answerEmpty(p)
	require.Zero(t, s.requests.Used())
}
