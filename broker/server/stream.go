package server

import (
	"errors"
	"io"
	"net"
	"time"

	"github.com/tidemark-mq/tidemark/broker/call"
)

// errWouldBlock says that a socket takes no more bytes now and the caller asked not to wait.
var errWouldBlock = errors.New("socket would block")

// stream is the connection's socket as its reader and its writer use it. At most one goroutine reads and one writes at a time.
//
// On plain TCP a stream waits for bytes without holding a buffer, writes without blocking, and sends files without
// copying them. On any other net.Conn it does with what that has.
type stream interface {
	// readAny waits for bytes and reads some into ahead, or into a new read-ahead buffer where ahead is nil. It holds no
	// buffer while it waits: ahead may be gone after it, and the result is nil on an error.
	readAny(ahead *buffer) (*buffer, int, error)
	// read waits for bytes and reads some into dst.
	read(dst []byte) (int, error)
	// available is how many bytes have arrived and are not read, as far as that can be known.
	available() int

	// write sends b. Unless it may wait it sends what the socket takes and gives errWouldBlock with the rest left. more
	// says that other bytes follow at once.
	write(b []byte, more, wait bool) (int, error)
	// sendFile sends n bytes of a file from pos on, as write does.
	sendFile(f call.File, pos, n int64, wait bool) (int64, error)
	// readFile fills dst from a file at pos. Unless it may wait for a disk it gives errWouldBlock.
	readFile(f call.File, dst []byte, pos int64, wait bool) error

	// interrupt makes the present and every later read fail; writes go on.
	interrupt()
	// linger ends sending and throws away what still arrives, until the client ends its side or the time is up. A socket closed
	// with bytes unread would be reset, and the client could lose answers that it has not read yet.
	linger(time.Duration)
	// close ends everything; callable at any time, from any goroutine.
	close() error
	// peerGone tells whether the client has closed its side, where that can be known without reading.
	peerGone() bool
}

// plainStream is a stream on any net.Conn.
type plainStream struct {
	conn  net.Conn
	first [1]byte
	stall *stallClock
}

func (s *plainStream) readAny(ahead *buffer) (*buffer, int, error) {
	if ahead != nil {
		ahead.free()
	}
	n, err := s.conn.Read(s.first[:])
	if n == 0 {
		return nil, 0, noProgress(err)
	}
	b := newBuffer(readAhead)
	b.b[0] = s.first[0]
	return b, 1, nil
}

func (s *plainStream) read(dst []byte) (int, error) {
	n, err := s.conn.Read(dst)
	if n > 0 {
		return n, nil
	}
	return 0, noProgress(err)
}

// noProgress is the error of a read that gave no bytes.
func noProgress(err error) error {
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

func (s *plainStream) available() int { return 0 }

func (s *plainStream) write(b []byte, _, wait bool) (int, error) {
	if !wait {
		return 0, errWouldBlock
	}
	s.stall.begin()
	defer s.stall.end()
	return s.conn.Write(b)
}

func (s *plainStream) sendFile(f call.File, pos, n int64, wait bool) (int64, error) {
	if !wait {
		return 0, errWouldBlock
	}
	return copyFile(s, f, pos, n)
}

func (s *plainStream) readFile(f call.File, dst []byte, pos int64, wait bool) error {
	if !wait {
		return errWouldBlock
	}
	return readFull(f, dst, pos)
}

func (s *plainStream) interrupt()           { _ = s.conn.SetReadDeadline(time.Unix(1, 0)) }
func (s *plainStream) linger(time.Duration) {}
func (s *plainStream) close() error         { return s.conn.Close() }
func (s *plainStream) peerGone() bool       { return false }

// copyFile sends a part of a file through a buffer, for sockets or files that sendfile does not serve. It waits.
func copyFile(s stream, f call.File, pos, n int64) (int64, error) {
	buf := newBuffer(gatherLimit)
	defer buf.free()
	var sent int64
	for sent < n {
		part := buf.b[:min(n-sent, int64(len(buf.b)))]
		if err := readFull(f, part, pos+sent); err != nil {
			return sent, err
		}
		w, err := s.write(part, sent+int64(len(part)) < n, true)
		sent += int64(w)
		if err != nil {
			return sent, err
		}
	}
	return sent, nil
}

// readFull fills dst from f at pos.
func readFull(f call.File, dst []byte, pos int64) error {
	n, err := f.ReadAt(dst, pos)
	if n == len(dst) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return call.ErrShortFile
	}
	return err
}
