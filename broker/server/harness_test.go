package server

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/protocol/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for something that should happen at once.
const patience = 10 * time.Second

type handlers map[kmsg.Key]func(*call.Call)

// rows is a tiny registry. ApiVersions and Metadata answer at once unless the test brings its own.
func (h handlers) rows() []call.API {
	all := handlers{
		kmsg.ApiVersions: func(c *call.Call) {
			resp := kmsg.NewPtrApiVersionsResponse()
			if v := c.Header.Version; v <= 5 && v >= 0 {
				resp.Version = v
			}
			c.Reply(call.Response{Message: resp})
		},
		kmsg.Metadata: answerEmpty,
	}
	for k, f := range h {
		all[k] = f
	}
	var rows []call.API
	for k, f := range all {
		api, _ := wire.Lookup(k.Int16())
		rows = append(rows, call.API{
			Key: api.Key, Name: api.Name, Min: api.Min, Max: api.Max, Handle: f,
			Overlap: k == kmsg.Produce, Aliases: k == kmsg.Produce, AnyVersion: k == kmsg.ApiVersions,
		})
	}
	return rows
}

func answerEmpty(c *call.Call) {
	resp := kmsg.ResponseForKey(c.Header.Key) // a parked produce request is gone
	resp.SetVersion(c.Header.Version)
	c.Reply(call.Response{Message: resp})
}

// parked collects calls that the test answers.
type parked chan *call.Call

func (p parked) handle(c *call.Call) { p <- c }

func (p parked) next(t testing.TB) *call.Call {
	t.Helper()
	select {
	case c := <-p:
		return c
	case <-time.After(patience):
		require.Fail(t, "no call came")
		return nil
	}
}

func (p parked) none(t testing.TB) {
	t.Helper()
	select {
	case c := <-p:
		require.Fail(t, "a call started too early", "correlation id %d", c.Header.CorrelationID)
	default:
	}
}

// startServer serves h on a loopback port until the test ends.
func startServer(t testing.TB, o Options, h handlers) (*Server, string) {
	t.Helper()
	s := newServer(t, o, h)
	e, err := s.Listen(t.Context(), Endpoint{Name: "TEST", Host: "127.0.0.1"})
	require.NoError(t, err)
	s.Start()
	return s, e.Address()
}

func newServer(t testing.TB, o Options, h handlers) *Server {
	t.Helper()
	o.APIs = h.rows()
	if o.Log == nil {
		o.Log = zap.Must(zap.Config{Level: zap.NewAtomicLevelAt(zap.DPanicLevel), Development: true, Encoding: "console"}.Build())
	}
	s, err := New(o)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = s.Stop(ctx)
	})
	return s
}

// client is a raw Kafka client.
type client struct {
	t testing.TB
	net.Conn
	next int32
}

func dial(t testing.TB, address string) *client {
	t.Helper()
	nc, err := net.Dial("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = nc.Close() })
	return &client{t: t, Conn: nc}
}

var formatter = kmsg.NewRequestFormatter(kmsg.FormatterClientID("test"))

// bytes encodes a request with the next correlation id.
func (c *client) bytes(r kmsg.Request) []byte {
	c.next++
	return formatter.AppendRequest(nil, r, c.next)
}

func (c *client) send(rs ...kmsg.Request) {
	c.t.Helper()
	var b []byte
	for _, r := range rs {
		b = append(b, c.bytes(r)...)
	}
	_, err := c.Write(b)
	require.NoError(c.t, err)
}

// receive reads one answer: its correlation id and the rest.
func (c *client) receive() (int32, []byte) {
	c.t.Helper()
	id, body, err := c.tryReceive()
	require.NoError(c.t, err)
	return id, body
}

func (c *client) tryReceive() (int32, []byte, error) {
	_ = c.SetReadDeadline(time.Now().Add(patience))
	var head [8]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return 0, nil, err
	}
	body := make([]byte, binary.BigEndian.Uint32(head[:])-4)
	_, err := io.ReadFull(c, body)
	return int32(binary.BigEndian.Uint32(head[4:])), body, err
}

// expect receives answers with exactly these correlation ids.
func (c *client) expect(ids ...int32) {
	c.t.Helper()
	for _, want := range ids {
		got, _ := c.receive()
		require.Equal(c.t, want, got)
	}
}

// closed waits until the server has closed the connection, without another answer.
func (c *client) closed() {
	c.t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	n, err := c.Read(make([]byte, 1))
	require.Error(c.t, err)
	require.Zero(c.t, n)
	require.NotErrorIs(c.t, err, os.ErrDeadlineExceeded)
}

func metadata() kmsg.Request {
	r := kmsg.NewPtrMetadataRequest()
	r.Version = 12
	return r
}

func apiVersions() kmsg.Request {
	r := kmsg.NewPtrApiVersionsRequest()
	r.Version = 3
	r.ClientSoftwareName, r.ClientSoftwareVersion = "test", "1"
	return r
}

func produce(records []byte) kmsg.Request {
	r := kmsg.NewPtrProduceRequest()
	r.Version, r.Acks, r.TimeoutMillis = 9, -1, 1000
	p := kmsg.NewProduceRequestTopicPartition()
	p.Records = records
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic, topic.Partitions = "t", []kmsg.ProduceRequestTopicPartition{p}
	r.Topics = append(r.Topics, topic)
	return r
}

func fetch() kmsg.Request {
	r := kmsg.NewPtrFetchRequest()
	r.Version = 12
	return r
}

func records(c *call.Call) []byte {
	return bytes.Clone(c.Request.(*kmsg.ProduceRequest).Topics[0].Partitions[0].Records) // the frame is not the handler's to keep
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, patience, time.Millisecond, what)
}

// pattern is n bytes that differ from place to place.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8*13 + i>>16*29)
	}
	return b
}

// memoryFile is a call.File without a descriptor.
type memoryFile struct{ *bytes.Reader }

func (memoryFile) Fd() uintptr { return call.NoFd }

func name(prefix string, n int) string { return fmt.Sprintf("%s %d", prefix, n) }
