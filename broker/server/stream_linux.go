package server

import (
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidemark-mq/tidemark/broker/call"
)

// newStream gives the stream of a connection just accepted.
func newStream(c net.Conn, stall *stallClock) (stream, error) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return &plainStream{conn: c, stall: stall}, nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &socketStream{conn: tcp, raw: raw, stall: stall}
	s.readFn, s.writeFn = s.readReady, s.writeReady
	return s, nil
}

// socketStream is a stream on a TCP socket. The runtime's poller calls readReady and writeReady with the descriptor, first at
// once and then whenever the socket is ready; what they work on and what came of it lies beside them, so that no read or
// write allocates.
type socketStream struct {
	conn  *net.TCPConn
	raw   syscall.RawConn
	stall *stallClock

	readFn func(fd uintptr) bool
	dst    []byte // where to read; nil for ahead
	ahead  *buffer
	readN  int
	readE  error

	writeFn func(fd uintptr) bool
	out     outgoing
}

// outgoing is the write or sendfile under way: bytes, or n bytes of file from pos on.
type outgoing struct {
	bytes []byte
	file  int // -1 for bytes
	pos   int64
	n     int64
	flags int
	wait  bool
	sent  int64
	err   error
}

func (s *socketStream) readAny(ahead *buffer) (*buffer, int, error) {
	s.dst, s.ahead = nil, ahead
	err := s.raw.Read(s.readFn)
	b := s.ahead
	s.ahead = nil
	if err == nil {
		err = s.readE
	}
	if err != nil {
		if b != nil {
			b.free()
		}
		return nil, 0, err
	}
	return b, s.readN, nil
}

func (s *socketStream) read(dst []byte) (int, error) {
	s.dst = dst
	err := s.raw.Read(s.readFn)
	s.dst = nil
	if err == nil {
		err = s.readE
	}
	if err != nil {
		return 0, err
	}
	return s.readN, nil
}

func (s *socketStream) readReady(fd uintptr) bool {
	dst := s.dst
	if dst == nil {
		if s.ahead == nil {
			s.ahead = newBuffer(readAhead)
		}
		dst = s.ahead.b
	}
	for {
		n, err := unix.Read(int(fd), dst)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			if s.dst == nil {
				s.ahead.free()
				s.ahead = nil
			}
			return false
		case err != nil:
			s.readN, s.readE = 0, fmt.Errorf("read: %w", err)
		case n == 0:
			s.readN, s.readE = 0, io.EOF
		default:
			s.readN, s.readE = n, nil
		}
		return true
	}
}

func (s *socketStream) available() int {
	n := 0
	_ = s.raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	return n
}

func (s *socketStream) write(b []byte, more, wait bool) (int, error) {
	s.out = outgoing{bytes: b, file: -1, n: int64(len(b)), flags: unix.MSG_NOSIGNAL | unix.MSG_DONTWAIT, wait: wait}
	if more {
		s.out.flags |= unix.MSG_MORE
	}
	sent, err := s.send()
	return int(sent), err
}

func (s *socketStream) sendFile(f call.File, pos, n int64, wait bool) (int64, error) {
	fd := f.Fd()
	if fd == call.NoFd {
		if !wait {
			return 0, errWouldBlock
		}
		return copyFile(s, f, pos, n)
	}
	s.out = outgoing{file: int(fd), pos: pos, n: n, wait: wait}
	sent, err := s.send()
	if err != nil && wait && (errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS)) {
		rest, err := copyFile(s, f, pos+sent, n-sent)
		return sent + rest, err
	}
	return sent, err
}

// send runs s.out until all is sent, an error comes, or the socket is full and nobody waits.
func (s *socketStream) send() (int64, error) {
	err := s.raw.Write(s.writeFn)
	s.stall.end()
	sent := s.out.sent
	if err == nil {
		err = s.out.err
	}
	s.out = outgoing{}
	return sent, err
}

// writeReady answers the poller: false to be called again when the socket takes more.
func (s *socketStream) writeReady(fd uintptr) bool {
	o := &s.out
	for o.sent < o.n {
		n, err := o.step(int(fd))
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN && o.wait:
			s.stall.begin()
			return false
		case err == unix.EAGAIN:
			o.err = errWouldBlock
			return true
		case err != nil:
			o.err = fmt.Errorf("send: %w", err)
			return true
		case n == 0:
			o.err = call.ErrShortFile
			return true
		}
		o.sent += int64(n)
		s.stall.end()
	}
	return true
}

// step is one system call. The file's own position is never touched, because readers share the file.
func (o *outgoing) step(socket int) (int, error) {
	if o.file < 0 {
		return unix.SendmsgN(socket, o.bytes[o.sent:], nil, nil, o.flags)
	}
	pos := o.pos + o.sent
	return unix.Sendfile(socket, o.file, &pos, int(min(o.n-o.sent, 1<<30)))
}

// readFile reads without waiting for a disk only what the page cache holds.
func (s *socketStream) readFile(f call.File, dst []byte, pos int64, wait bool) error {
	if wait {
		return readFull(f, dst, pos)
	}
	fd := f.Fd()
	if fd == call.NoFd {
		return errWouldBlock
	}
	n, err := unix.Preadv2(int(fd), [][]byte{dst}, pos, unix.RWF_NOWAIT)
	if err != nil || n < len(dst) {
		return errWouldBlock
	}
	return nil
}

func (s *socketStream) interrupt() { _ = s.conn.SetReadDeadline(time.Unix(1, 0)) }

func (s *socketStream) linger(limit time.Duration) {
	if s.available() == 0 || s.conn.CloseWrite() != nil {
		return
	}
	_ = s.conn.SetReadDeadline(time.Now().Add(limit))
	for {
		b, _, err := s.readAny(nil)
		if err != nil {
			return
		}
		b.free()
	}
}

func (s *socketStream) close() error { return s.conn.Close() }

// peerGone asks the kernel for the connection's state: a client that has closed or reset it shows even while bytes wait
// unread.
func (s *socketStream) peerGone() bool {
	gone := false
	err := s.raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		gone = err == nil && info.State != tcpEstablished
	})
	return err != nil || gone
}

// tcpEstablished is the kernel's TCP_ESTABLISHED.
const tcpEstablished = 1
