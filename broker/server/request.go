package server

import (
	"time"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/broker/quota"
	"github.com/tidemark-mq/tidemark/protocol/wire"
)

// request is one request of a connection, from its frame to its last answered byte. It is the sink of its own call.
type request struct {
	call.Call
	conn *conn
	api  *route
	next *request // in the connection's order

	frame       *buffer // what Call.Request aliases, nil for most; with frameLease the reader's own
	frameLease  quota.Lease
	decodeLease quota.Lease

	// Guarded by conn.mu.
	running bool // its handler has not returned
	parked  bool // its handler returned without an answer
	ready   bool // the answer below is there

	// The answer. Written by Answer before ready, then the writer's.
	encoded *buffer       // size, header and, for a message, the body
	payload *call.Payload // what follows encoded
	size    int64         // bytes of both
	last    bool          // the connection ends instead of this answer
}

// memory is what a request of that decoded size is counted as until it is answered, in bytes.
func (q *request) memory(decoded int64) int64 {
	if q.api.Cost == nil {
		return decoded
	}
	return decoded + q.api.Cost(decoded)
}

// Answer takes the handler's answer: encodes it, gives back what the decoded request was counted as and sends what is next
// in order. The frame is the reader's to give back, when the handler has returned.
func (q *request) Answer(r call.Response) {
	q.api.observe(time.Since(q.Received))
	q.encode(r)
	q.decodeLease.Release()
	q.conn.answered(q)
}

// Repeated reports a handler that answered twice.
func (q *request) Repeated(c *call.Call) {
	q.conn.srv.log.DPanic("request answered twice", zap.String("api", q.api.Name), zap.Int16("version", c.Header.Version),
		zap.String("client", c.Header.ClientID))
}

// encode turns the response into bytes. An answer that does not fit a frame ends the connection.
func (q *request) encode(r call.Response) {
	var err error
	switch {
	case r.Message != nil:
		q.encoded = newBuffer(int(q.api.usual.Load()))
		q.encoded.b, err = wire.AppendResponse(q.encoded.b[:0], q.Header.CorrelationID, r.Message)
		q.api.sized(len(q.encoded.b))
	case r.Payload != nil:
		q.payload = r.Payload
		size := r.Payload.Size()
		room := usualMessage
		if size < gatherLimit {
			room += int(size) // all of it will be gathered behind the header
		}
		q.encoded = newBuffer(room)
		q.encoded.b, err = wire.AppendFrame(q.encoded.b[:0], q.Header.Key, q.Header.Version, q.Header.CorrelationID, int(size))
		q.size = size
	case !r.Nothing:
		q.last = true
	}
	if q.encoded != nil {
		q.size += int64(len(q.encoded.b))
	}
	if err != nil {
		q.conn.srv.log.Error("answer cannot be sent", zap.String("api", q.api.Name), zap.Error(err))
		q.releaseAnswer()
		q.last = true
	}
}

// answerMemory is how many bytes of memory the answer takes; what lies in files takes none.
func (q *request) answerMemory() int64 {
	n := q.payload.Memory()
	if q.encoded != nil {
		n += int64(cap(q.encoded.b))
	}
	return n
}

// releaseFrame gives back the frame and its lease.
func (q *request) releaseFrame() {
	if q.frame != nil {
		q.frame.free()
		q.frame = nil
	}
	q.frameLease.Release()
}

// letGo gives back the frame of a request whose handler has returned, and with it a request that points into it: a parked call
// would hold on to memory that nobody counts any more.
func (q *request) letGo() {
	if q.frame != nil {
		q.Request = nil
	}
	q.releaseFrame()
}

// releaseRequest gives back the frame and both leases, of a request that no handler saw.
func (q *request) releaseRequest() {
	q.releaseFrame()
	q.decodeLease.Release()
}

// releaseAnswer gives back an answer that will not be sent.
func (q *request) releaseAnswer() {
	if q.encoded != nil {
		q.encoded.free()
		q.encoded = nil
	}
	if q.payload != nil {
		q.payload.Free()
		q.payload = nil
	}
}
