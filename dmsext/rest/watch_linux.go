package rest

import (
	"errors"
	"fmt"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// watcher notices when the clients of parked polls leave: one goroutine and one epoll for all of them, where a goroutine
// for each would cost more than all else that a parked poll has.
type watcher struct {
	epoll int
	wake  int // an eventfd; written to, it ends run

	mu    sync.Mutex
	polls map[int32]*poll // by descriptor
}

func newWatcher() (*watcher, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("eventfd: %w", err), unix.Close(epoll))
	}
	w := &watcher{epoll: epoll, wake: wake, polls: map[int32]*poll{}}
	if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, wake, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(wake)}); err != nil {
		return nil, errors.Join(fmt.Errorf("epoll: %w", err), w.close())
	}
	return w, nil
}

// add begins to watch the connection of a poll; false: it has to be watched in another way.
func (w *watcher) add(p *poll) bool {
	added := false
	err := p.descriptor(func(fd int) {
		w.mu.Lock()
		defer w.mu.Unlock()
		// One event is enough: what a client sends is its next request, and it stays in the socket.
		event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLONESHOT, Fd: int32(fd)}
		if added = unix.EpollCtl(w.epoll, unix.EPOLL_CTL_ADD, fd, &event) == nil; added {
			w.polls[int32(fd)] = p
			p.fd = int32(fd)
		}
	})
	return err == nil && added
}

// remove ends the watch that add began.
func (w *watcher) remove(p *poll) {
	w.mu.Lock()
	if w.polls[p.fd] == p {
		delete(w.polls, p.fd)
	}
	w.mu.Unlock()
	_ = p.descriptor(func(fd int) { _ = unix.EpollCtl(w.epoll, unix.EPOLL_CTL_DEL, fd, nil) }) // closed: it is out of the epoll already
}

// run tells polls that their clients have left, until stop.
func (w *watcher) run() {
	events := make([]unix.EpollEvent, 128)
	for {
		n, err := unix.EpollWait(w.epoll, events, -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return // the descriptor is ours and open, so this does not happen
		}
		for _, e := range events[:max(n, 0)] {
			if e.Fd == int32(w.wake) {
				return
			}
			w.mu.Lock()
			p := w.polls[e.Fd]
			w.mu.Unlock()
			if p != nil && p.leftBy() {
				p.leave()
			}
		}
	}
}

// leftBy looks whether the client has closed its side, without taking what it may have sent.
func (p *poll) leftBy() bool {
	left := true
	err := p.descriptor(func(fd int) {
		var one [1]byte
		n, _, err := unix.Recvfrom(fd, one[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		left = n <= 0 && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR)
	})
	return err == nil && left
}

// descriptor lets f see the connection's descriptor, which stays open meanwhile.
func (p *poll) descriptor(f func(fd int)) error {
	c, ok := p.conn.Conn.(syscall.Conn)
	if !ok {
		return errors.ErrUnsupported
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(fd uintptr) { f(int(fd)) })
}

// stop ends run.
func (w *watcher) stop() {
	_, _ = unix.Write(w.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // an eventfd takes what is eight bytes long
}

// close gives the descriptors back. run has ended, and no poll is watched.
func (w *watcher) close() error { return errors.Join(unix.Close(w.epoll), unix.Close(w.wake)) }
