package rest

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/tidemark-mq/tidemark/dmsext/queue"
)

// leastBuffer is what a buffer for a body begins with. It grows as bytes arrive, not as they are announced.
const leastBuffer = 4 << 10

// read reads the body, whatever the method and type say, into x.in. A body of more than limit bytes is refused before it
// is read if its length was announced, else when it goes past the limit.
func (x *exchange) read(limit int) error {
	x.in = x.in[:0]
	if !x.hasBody() {
		return nil
	}
	if n := x.r.ContentLength; n > int64(limit) {
		return x.tooLarge(n, limit)
	}
	for {
		if len(x.in) == cap(x.in) {
			if err := x.grow(limit); err != nil {
				return err
			}
		}
		n, err := x.r.Body.Read(x.in[len(x.in):cap(x.in)])
		x.in = x.in[:len(x.in)+n]
		if len(x.in) > limit {
			return x.tooLarge(int64(len(x.in)), limit)
		}
		if errors.Is(err, io.EOF) {
			x.deadline(time.Time{})
			return nil
		}
		if err != nil {
			return x.unread(err)
		}
	}
}

// grow doubles the buffer if the memory for bodies has room for that.
func (x *exchange) grow(limit int) error {
	size := min(max(2*cap(x.in), leastBuffer), limit+1)
	more := int64(size) - x.charged
	s := x.server
	if s.bodies.Add(more) > s.limits.BodyMemory {
		s.bodies.Add(-more)
		x.hangUp()
		return busy("Too many requests with large bodies at once; try again later.")
	}
	x.charged += more
	grown := make([]byte, len(x.in), size)
	copy(grown, x.in)
	x.in = grown
	return nil
}

func (x *exchange) hasBody() bool { return x.r.Body != nil && x.r.Body != http.NoBody }

// limitBody gives the body its time. It is lifted when the body has been read, and stays for one that is not wanted,
// since net/http reads the rest of that before it takes the next request.
func (x *exchange) limitBody() {
	if x.hasBody() {
		x.deadline(time.Now().Add(x.server.limits.BodyTime))
	}
}

// deadline limits how long reads from the client may take; the zero time lifts it.
func (x *exchange) deadline(t time.Time) {
	if x.conn != nil {
		_ = x.conn.SetReadDeadline(t)
		return
	}
	_ = http.NewResponseController(x.w).SetReadDeadline(t) // not supported by every server that a test may use
}

// hangUp ends the connection after the answer, for a body that is not read to its end.
func (x *exchange) hangUp() { x.w.Header().Set("Connection", "close") }

// tooLarge refuses a body of n bytes, or more where its length was not announced.
func (x *exchange) tooLarge(n int64, limit int) error {
	x.hangUp()
	size := strconv.FormatInt(n, 10)
	if x.r.ContentLength < 0 {
		size += " or more"
	}
	if limit == sendBytes {
		return refuse(queue.CodeSize, "The message size is %s, larger than the size limit %d: this is the whole body with its white space, "+
			"which may have %d bytes.", size, MessageBytes, limit)
	}
	return refuse(queue.CodeFormat, "Invalid request format: the body has %s bytes, the limit is %d.", size, limit)
}

// unread tells why a body could not be read.
func (x *exchange) unread(err error) error {
	x.hangUp()
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		return &queue.Error{Status: http.StatusRequestTimeout, Code: queue.CodeFormat,
			Message: "Invalid request format: the body did not arrive within " + x.server.limits.BodyTime.String() + "."}
	}
	return refuse(queue.CodeFormat, "Invalid request format: the body ended before its time or is not well encoded.")
}
