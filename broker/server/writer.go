package server

import (
	"errors"

	"github.com/tidemark-mq/tidemark/broker/call"
)

// writer is what a connection is sending: bytes gathered from answers, then the rest of a payload whose next piece is too
// large to be gathered. It belongs to the goroutine that set conn.writing; the state outlasts it, because a full socket
// hands it to another.
type writer struct {
	buf     *buffer // gathered bytes; nil if none
	sent    int     // of them
	payload *call.Payload
	memory  int64 // bytes of the payload that do not lie in files
	piece   int   // next piece of payload
	at      int64 // bytes of that piece already sent
	end     bool  // close the connection after this
}

// turns is how many writes a goroutine does on behalf of a connection before it leaves it to one made for it.
const turns = 4

// write sends answers until none is ready. The caller has set c.writing. Unless it may wait it leaves a full socket, a
// file to be sent or a connection that keeps it busy to another goroutine.
func (c *conn) write(wait bool) {
	for n := 0; ; n++ {
		more, err := c.gather(wait)
		if err == nil && !more {
			return
		}
		if err == nil {
			err = c.flush(wait)
		}
		switch {
		case err == nil && (wait || n < turns):
		case err == nil || errors.Is(err, errWouldBlock):
			c.spawnWriter()
			return
		default:
			c.stopWriting(err)
			return
		}
	}
}

// spawnWriter goes on writing in a goroutine of its own, for which the connection's end and the server's stop wait.
func (c *conn) spawnWriter() { c.srv.goroutines.Go(func() { c.write(true) }) }

// gather puts together what is to be sent next. Without anything to send it ends the writing and gives false.
func (c *conn) gather(wait bool) (bool, error) {
	w := &c.out
	for {
		if w.buf != nil && (len(w.buf.b) >= gatherLimit || w.sent > 0) {
			return true, nil
		}
		if w.payload != nil {
			large, err := w.gatherPieces(c.stream, wait)
			if large || err != nil {
				return large, err
			}
		}
		if w.end {
			return true, nil
		}
		gathered := w.buf != nil
		q := c.takeAnswer(gathered)
		if q == nil {
			return gathered, nil // not gathered: w belongs to somebody else now
		}
		w.add(q)
	}
}

// takeAnswer removes the next answer. Where there is none, and nothing is gathered, the writing is over with it.
func (c *conn) takeAnswer(gathered bool) *request {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken && !gathered {
		c.writing = false
		c.changed.Broadcast()
		return nil
	}
	q := c.takeLocked()
	if q == nil && !gathered {
		c.writing = false
		c.active.Store(c.srv.clock.now.Load())
	}
	c.changed.Broadcast()
	return q
}

// add takes over an answer's parts.
func (w *writer) add(q *request) {
	w.end = q.last
	w.payload, w.memory, w.piece, w.at = q.payload, q.payload.Memory(), 0, 0
	q.payload = nil
	switch {
	case q.encoded == nil:
	case w.buf == nil:
		w.buf, w.sent = q.encoded, 0
	default:
		w.buf.b = append(w.buf.b, q.encoded.b...)
		q.encoded.free()
	}
	q.encoded = nil
}

// held is how many bytes of memory wait to be sent.
func (w *writer) held() int64 {
	if w.buf == nil {
		return w.memory
	}
	return w.memory + int64(cap(w.buf.b))
}

// gatherPieces copies the payload's next pieces as long as they are small. True says that a large one is next or that there
// is enough to send.
func (w *writer) gatherPieces(s stream, wait bool) (bool, error) {
	for w.piece < len(w.payload.Pieces) {
		p := &w.payload.Pieces[w.piece]
		n := p.Size()
		if n > gatherPiece || w.buf != nil && len(w.buf.b) >= gatherLimit {
			return true, nil
		}
		if w.buf == nil {
			w.buf, w.sent = newBuffer(int(n)), 0
			w.buf.b = w.buf.b[:0]
		}
		if p.File == nil {
			w.buf.b = append(w.buf.b, p.Bytes...)
		} else if err := w.gatherFile(s, p, wait); err != nil {
			return false, err
		}
		w.piece++
	}
	w.payload.Free()
	w.payload, w.memory = nil, 0
	return false, nil
}

// gatherFile appends a small piece of a file.
func (w *writer) gatherFile(s stream, p *call.Piece, wait bool) error {
	at := len(w.buf.b)
	b := append(w.buf.b, make([]byte, p.Len)...)
	if err := s.readFile(p.File, b[at:], p.Pos, wait); err != nil {
		return err
	}
	w.buf.b = b
	return nil
}

// flush sends what is gathered and the large piece after it.
func (c *conn) flush(wait bool) error {
	w := &c.out
	c.held.Store(w.held())
	if w.buf != nil {
		n, err := c.stream.write(w.buf.b[w.sent:], w.payload != nil, wait)
		c.srv.metrics.bytesOut.Add(float64(n))
		w.sent += n
		if err != nil {
			return err
		}
		w.buf.free()
		w.buf = nil
		c.held.Store(w.held())
	}
	if w.payload != nil && w.piece < len(w.payload.Pieces) {
		if err := c.flushPiece(wait); err != nil {
			return err
		}
	}
	if w.end {
		return errRefused
	}
	return nil
}

// flushPiece sends the payload's next piece, which was too large to be gathered.
func (c *conn) flushPiece(wait bool) error {
	w := &c.out
	p := &w.payload.Pieces[w.piece]
	var n int64
	var err error
	switch {
	case p.Size() <= gatherPiece: // gathered in the next round
		return nil
	case p.File == nil:
		var sent int
		sent, err = c.stream.write(p.Bytes[w.at:], w.piece+1 < len(w.payload.Pieces), wait)
		n = int64(sent)
	case !wait:
		return errWouldBlock // a file may have to come from the disk first
	default:
		n, err = c.stream.sendFile(p.File, p.Pos+w.at, p.Len-w.at, wait)
	}
	c.srv.metrics.bytesOut.Add(float64(n))
	w.at += n
	if err == nil {
		w.piece, w.at = w.piece+1, 0
	}
	return err
}

// stopWriting ends the writing for good: the connection is broken, or was to end here.
func (c *conn) stopWriting(cause error) {
	w := &c.out
	if w.buf != nil {
		w.buf.free()
	}
	if w.payload != nil {
		w.payload.Free()
	}
	*w = writer{}
	c.fail(cause)
	c.mu.Lock()
	c.writing = false
	c.changed.Broadcast()
	c.mu.Unlock()
}
