package server

import (
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
)

// The figures hold both ends: the client's write and read are in the time, but allocate nothing. BenchmarkEcho is the
// floor, the same bytes back and forth without a broker.

func BenchmarkEcho(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	defer l.Close()
	request := (&client{}).bytes(produce(pattern(1024)))
	answer := make([]byte, 40)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		in := make([]byte, 64<<10)
		for {
			if _, err := io.ReadFull(c, in[:len(request)]); err != nil {
				return
			}
			if _, err := c.Write(answer); err != nil {
				return
			}
		}
	}()
	c := dial(b, l.Addr().String())
	b.ReportAllocs()
	for b.Loop() {
		roundTrip(b, c, request, answer)
	}
}

func BenchmarkRoundTripMetadata(b *testing.B) { benchmarkRoundTrip(b, nil, metadata()) }

func BenchmarkRoundTripProduce(b *testing.B) {
	benchmarkRoundTrip(b, handlers{kmsg.Produce: answerEmpty}, produce(pattern(1024)))
}

// BenchmarkRoundTripProduceParked answers from another goroutine, as a flusher does.
func BenchmarkRoundTripProduceParked(b *testing.B) {
	calls := make(chan *call.Call, 1)
	defer close(calls)
	go func() {
		for c := range calls {
			answerEmpty(c)
		}
	}()
	benchmarkRoundTrip(b, handlers{kmsg.Produce: func(c *call.Call) { calls <- c }}, produce(pattern(1024)))
}

func BenchmarkRoundTripFetchFile(b *testing.B) {
	const size = 1 << 20
	disk := diskFile(b, pattern(size))
	b.SetBytes(size)
	benchmarkRoundTrip(b, handlers{kmsg.Fetch: func(c *call.Call) {
		c.Reply(call.Response{Payload: &call.Payload{Pieces: []call.Piece{{File: disk, Len: size}}}})
	}}, fetch())
}

func benchmarkRoundTrip(b *testing.B, h handlers, r kmsg.Request) {
	_, address := startServer(b, Options{}, h)
	c := dial(b, address)
	request := c.bytes(r)
	_, err := c.Write(request)
	require.NoError(b, err)
	_, body := c.receive()
	answer := make([]byte, 8+len(body))
	b.ReportAllocs()
	for b.Loop() {
		roundTrip(b, c, request, answer)
	}
}

func roundTrip(b *testing.B, c *client, request, answer []byte) {
	if _, err := c.Conn.Write(request); err != nil {
		b.Fatal(err)
	}
	if _, err := io.ReadFull(c.Conn, answer); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkPipelinedProduce has up to 64 requests of 1 MiB or 1 KiB on their way.
func BenchmarkPipelinedProduce(b *testing.B) {
	for _, size := range []int{1 << 10, 16 << 10, 1 << 20} {
		b.Run(name("bytes", size), func(b *testing.B) {
			_, address := startServer(b, Options{}, handlers{kmsg.Produce: answerEmpty})
			c := dial(b, address)
			request := c.bytes(produce(pattern(size)))
			b.SetBytes(int64(len(request)))
			b.ReportAllocs()
			window := make(chan struct{}, 64)
			done := make(chan struct{})
			go func() {
				defer close(done)
				answer := make([]byte, 64<<10)
				for range window {
					if _, _, err := receiveInto(c, answer); err != nil {
						return
					}
				}
			}()
			for b.Loop() {
				window <- struct{}{}
				if _, err := c.Conn.Write(request); err != nil {
					b.Fatal(err)
				}
			}
			close(window)
			<-done
		})
	}
}

// receiveInto reads one answer into buf.
func receiveInto(c *client, buf []byte) (int32, []byte, error) {
	if _, err := io.ReadFull(c.Conn, buf[:4]); err != nil {
		return 0, nil, err
	}
	n := int(buf[0])<<24 | int(buf[1])<<16 | int(buf[2])<<8 | int(buf[3])
	_, err := io.ReadFull(c.Conn, buf[:n])
	return int32(buf[3]), buf[:n], err
}
