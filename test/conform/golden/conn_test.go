package golden

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// answerLimit is far above what any answer here takes; a broker that is silent for that
// long says nothing.
const answerLimit = 10 * time.Second

// conn is one plain connection to the broker.
type conn struct {
	net    net.Conn
	next   int32
	closed bool
	format *kmsg.RequestFormatter
}

func dial(addr string) (*conn, error) {
	n, err := net.Dial("tcp", addr)
	return &conn{net: n, next: 1, format: kmsg.NewRequestFormatter(kmsg.FormatterClientID("golden"))}, err
}

func (c *conn) close() {
	c.closed = true
	_ = c.net.Close()
}

// request sends a request and returns its correlation id.
func (c *conn) request(req kmsg.Request) (int32, error) {
	id := c.next
	c.next++
	return id, c.write(c.format.AppendRequest(nil, req, id))
}

func (c *conn) write(b []byte) error {
	_ = c.net.SetWriteDeadline(time.Now().Add(answerLimit))
	_, err := c.net.Write(b)
	return err
}

// frame reads one answer: its correlation id and all that follows.
func (c *conn) frame(limit time.Duration) (int32, []byte, error) {
	_ = c.net.SetReadDeadline(time.Now().Add(limit))
	var head [8]byte
	if _, err := io.ReadFull(c.net, head[:]); err != nil {
		return 0, nil, err
	}
	size := int(int32(binary.BigEndian.Uint32(head[:]))) - 4
	if size < 0 || size > 64<<20 {
		return 0, nil, fmt.Errorf("an answer of %d bytes", size+4)
	}
	body := make([]byte, size)
	_, err := io.ReadFull(c.net, body)
	return int32(binary.BigEndian.Uint32(head[4:])), body, err
}

func (c *conn) answer(id int32) ([]byte, error) {
	got, body, err := c.frame(answerLimit)
	if err == nil && got != id {
		err = fmt.Errorf("the answer has correlation id %d in place of %d", got, id)
	}
	return body, err
}

// decode reads an answer, and tells where its bytes are not those of its meaning: left
// over, or encoded otherwise than Kafka does.
func decode(req kmsg.Request, body []byte) (kmsg.Response, []string, error) {
	resp := req.ResponseKind()
	if resp.IsFlexible() && req.Key() != int16(kmsg.ApiVersions) {
		if len(body) == 0 || body[0] != 0 {
			return nil, nil, errors.New("the answer's header has tagged fields, or none at all")
		}
		body = body[1:]
	}
	if err := resp.ReadFrom(body); err != nil {
		return nil, nil, fmt.Errorf("not decodable: %w", err)
	}
	if again := resp.AppendTo(nil); !bytes.Equal(again, body) {
		return resp, []string{fmt.Sprintf("  (encoded in %d bytes where %d say the same)", len(body), len(again))}, nil
	}
	return resp, nil, nil
}

// outcome is what came of a request that has no answer.
func outcome(err error) string {
	var timeout net.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return "no answer"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, new(*net.OpError)):
		return "connection closed"
	default:
		return err.Error()
	}
}
