package rest

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/tidemark-mq/tidemark/dmsext/queue"
)

// quiet does nothing, at no cost that would count.
type quiet struct {
	*fake
	sent     []queue.Sent
	received []queue.Received
}

func (q *quiet) Send(context.Context, string, string, []queue.Message) ([]queue.Sent, error) {
	return q.sent, nil
}
func (q *quiet) Receive(context.Context, string, string, string, queue.Receive) ([]queue.Received, error) {
	return q.received, nil
}
func (q *quiet) Ack(_ context.Context, _, _, _ string, _ bool, acks []queue.Ack) (queue.AckResult, error) {
	return queue.AckResult{Success: len(acks)}, nil
}

// benchmark sends one request again and again, by each client on its own connection.
func benchmark(b *testing.B, request string, n int) {
	q := &quiet{fake: newFake()}
	for range n {
		q.sent = append(q.sent, queue.Sent{ID: "0-123456"})
		q.received = append(q.received, queue.Received{Handle: strings.Repeat("h", 120),
			Message: queue.Message{Body: []byte(`"` + strings.Repeat("x", 1024) + `"`)}})
	}
	w := newWorld(b, func(o *Options) { o.Queues = q })
	b.ReportAllocs()
	b.SetBytes(int64(len(request)))
	b.RunParallel(func(pb *testing.PB) {
		c, err := net.Dial("tcp", w.address)
		if err != nil {
			b.Error(err)
			return
		}
		defer c.Close()
		raw, answer := []byte(request), []byte(nil)
		for pb.Next() {
			if _, err := c.Write(raw); err != nil {
				b.Error(err)
				return
			}
			if answer == nil {
				answer = first(b, c)
				continue
			}
			if _, err := io.ReadFull(c, answer); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// first reads an answer whole and gives a buffer of its size, which is that of all that follow: so the client costs
// nothing that would count.
func first(b *testing.B, c net.Conn) []byte {
	n := &counting{Reader: c}
	res, err := http.ReadResponse(bufio.NewReader(n), nil)
	if err != nil || res.StatusCode/100 != 2 {
		b.Errorf("%v %v", res, err)
		return []byte{}
	}
	_, _ = io.Copy(io.Discard, res.Body)
	return make([]byte, n.n)
}

type counting struct {
	io.Reader
	n int
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += n
	return n, err
}

func post(path, body string) string {
	return "POST " + path + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: " + itoa(len(body)) + "\r\n\r\n" + body
}

func list(n int, element string) string { return strings.Repeat(element+",", n-1) + element }

func BenchmarkSend1(b *testing.B)     { benchmarkSend(b, 1) }
func BenchmarkSend10(b *testing.B)    { benchmarkSend(b, 10) }
func BenchmarkReceive1(b *testing.B)  { benchmarkReceive(b, 1) }
func BenchmarkReceive10(b *testing.B) { benchmarkReceive(b, 10) }
func BenchmarkAck1(b *testing.B)      { benchmarkAck(b, 1) }
func BenchmarkAck10(b *testing.B)     { benchmarkAck(b, 10) }

func benchmarkSend(b *testing.B, n int) {
	benchmark(b, post(ofQueue+"/messages", `{"messages":[`+list(n, sized(1024))+`]}`), n)
}

func benchmarkReceive(b *testing.B, n int) {
	benchmark(b, "GET "+ofGroup+"/messages?max_msgs="+itoa(n)+"&time_wait=10 HTTP/1.1\r\nHost: x\r\n\r\n", n)
}

func benchmarkAck(b *testing.B, n int) {
	benchmark(b, post(ofGroup+"/ack", `{"message":[`+list(n, `{"handler":"`+strings.Repeat("h", 120)+`","status":"success"}`)+`]}`), n)
}

// BenchmarkScan reads the largest request that there is.
func BenchmarkScan(b *testing.B) {
	body := []byte(`{"messages":[` + sized(MessageBytes) + `]}`)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		var m sending
		if err := m.read(body); err != nil {
			b.Fatal(err)
		}
	}
}
