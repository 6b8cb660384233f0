package server

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/tidemark-mq/tidemark/broker/quota"
)

// Errors of frames, each of which ends the connection without an answer.
var (
	errFrameSize   = errors.New("frame size out of bounds")
	errFrameClosed = errors.New("connection ended within a frame")
)

// headSize is what is read of a frame before anything is reserved for it: its size, the API key and the version.
const headSize = 8

// firstRoom is the least memory a frame in parts gets. Above it a frame has at most growth times the bytes that arrived, so
// that a client holds no more of the budget than it has sent for.
//
// Neither a first room nor a frame of up to smallFrame bytes all of which arrived waits for the budget: there is one for
// each connection, and whoever asks for little is served while others hold the budget with frames they do not finish.
const (
	firstRoom  = 4 << 10
	growth     = 4
	smallFrame = 16 << 10
)

// frames cuts what arrives on a stream into frames. It holds a buffer only for bytes that have arrived: an idle connection
// has none, and a frame's buffer grows with the frame, leased from the budget before it is made.
//
// One goroutine reads; the sweeper looks at the progress.
type frames struct {
	in     stream
	budget *quota.Budget
	most   int // bytes, the largest frame of all

	ahead    *buffer // bytes read beyond the last frame, from:to; nil if none
	from, to int
	head     [headSize]byte

	clock *coarseClock
	since atomic.Int64 // when the frame under way began, 0 while there is none
	got   atomic.Int64 // bytes of it that arrived
	moved atomic.Int64 // when the last of them did, 0 while it waits for memory
	held  atomic.Int64 // bytes of its buffer
}

// frameHead is what a frame says of itself first.
type frameHead struct {
	size         int // bytes after the size field
	key, version int16
}

// readHead waits for the next frame and reads its head. io.EOF says that the client closed between two frames.
func (f *frames) readHead() (frameHead, error) {
	for n := 0; n < headSize; {
		if f.from == f.to {
			if err := f.fill(); err != nil {
				return frameHead{}, midFrame(err, n)
			}
		}
		if n == 0 {
			f.got.Store(0)
			f.held.Store(0)
			f.since.Store(f.clock.now.Load())
		}
		c := copy(f.head[n:], f.ahead.b[f.from:f.to])
		n += c
		f.from += c
		if n < 4 {
			continue
		}
		if size := int32(binary.BigEndian.Uint32(f.head[:])); size < headSize-4 || int(size) > f.most {
			return frameHead{}, fmt.Errorf("%d bytes: %w", size, errFrameSize)
		}
	}
	return frameHead{
		size:    int(binary.BigEndian.Uint32(f.head[:])),
		key:     int16(binary.BigEndian.Uint16(f.head[4:])),
		version: int16(binary.BigEndian.Uint16(f.head[6:])),
	}, nil
}

// fill reads ahead; there is nothing read ahead when it is called.
func (f *frames) fill() error {
	b, n, err := f.in.readAny(f.ahead)
	f.ahead, f.from, f.to = b, 0, n
	return err
}

// midFrame names the error of a read that ended within a frame.
func midFrame(err error, got int) error {
	if got > 0 && errors.Is(err, io.EOF) {
		return errFrameClosed
	}
	return err
}

// readBody reads the frame whose head was read, into a buffer paid for by l. The frame in it is complete, from the API key on.
func (f *frames) readBody(ctx context.Context, h frameHead, l *quota.Lease) (*buffer, error) {
	f.since.Store(0) // waiting for the first memory is not the client's delay
	buf, err := f.newRoom(ctx, h, headSize-4, l)
	if err != nil {
		return nil, err
	}
	f.since.Store(f.clock.now.Load())
	got := copy(buf.b, f.head[4:])
	for {
		c := copy(buf.b[got:], f.ahead0())
		got += c
		f.from += c
		f.dropAhead()
		if got == h.size {
			f.since.Store(0)
			return buf, nil
		}
		if got == len(buf.b) {
			if buf, err = f.grow(ctx, h, got, buf, l); err != nil {
				return nil, err
			}
			continue
		}
		n, err := f.in.read(buf.b[got:])
		if err != nil {
			buf.free()
			return nil, midFrame(err, got)
		}
		got += n
		f.got.Store(int64(got))
		f.moved.Store(f.clock.now.Load())
	}
}

// ahead0 is what was read ahead.
func (f *frames) ahead0() []byte {
	if f.ahead == nil {
		return nil
	}
	return f.ahead.b[f.from:f.to]
}

// dropAhead gives the read-ahead buffer back if nothing is left in it.
func (f *frames) dropAhead() {
	if f.ahead != nil && f.from == f.to {
		f.ahead.free()
		f.ahead = nil
	}
}

// newRoom makes a buffer for a frame of which got bytes arrived, after leasing what it takes. Its length is what may be read
// into it.
func (f *frames) newRoom(ctx context.Context, h frameHead, got int, l *quota.Lease) (*buffer, error) {
	room := f.room(h.size, got)
	if l.Held() == 0 && !f.budget.TryTake(l, int64(roomFor(room))) {
		if room > smallFrame || f.arrived(got) < h.size {
			room = min(room, firstRoom) // the rest comes by growing, which half frames of others cannot hold up
		}
		f.budget.TakeNow(l, int64(roomFor(room)))
	}
	f.moved.Store(0)
	err := f.budget.Take(ctx, l, int64(roomFor(room))-l.Held())
	f.moved.Store(f.clock.now.Load())
	if err != nil {
		return nil, err
	}
	f.held.Store(int64(room))
	return newBuffer(room), nil
}

// arrived is how many bytes of a frame there are, got of them in its buffer.
func (f *frames) arrived(got int) int { return got + f.to - f.from + f.in.available() }

// grow moves a frame into a larger buffer.
func (f *frames) grow(ctx context.Context, h frameHead, got int, old *buffer, l *quota.Lease) (*buffer, error) {
	buf, err := f.newRoom(ctx, h, got, l)
	if err == nil {
		copy(buf.b, old.b[:got])
	}
	old.free()
	return buf, err
}

// room is how large a frame's buffer may be when got bytes of it are in hand.
func (f *frames) room(size, got int) int {
	if size <= firstRoom {
		return size
	}
	got += f.to - f.from
	if got < size {
		got += f.in.available()
	}
	if got >= size/growth {
		return size
	}
	return max(firstRoom, got*growth)
}

// close gives back what was read ahead. Called by the reader at its end.
func (f *frames) close() {
	if f.ahead != nil {
		f.ahead.free()
		f.ahead = nil
	}
	f.from, f.to = 0, 0
	f.since.Store(0)
}

// late tells whether the frame under way has had all the time it gets: grace, and a second for every slowest bytes that
// arrived.
func (f *frames) late(grace time.Duration) bool {
	since := f.since.Load()
	if since == 0 {
		return false
	}
	allowed := grace + time.Duration(f.got.Load())*time.Second/slowest
	return time.Duration(f.clock.now.Load()-since) > allowed
}

// hinders tells whether the frame under way is to go when others wait for memory: it has more than any frame gets, and either
// nothing of it came for the time of a hurry or it comes slower than hurried.
func (f *frames) hinders() bool {
	since, moved, now := f.since.Load(), f.moved.Load(), f.clock.now.Load()
	if since == 0 || f.held.Load() <= firstRoom {
		return false
	}
	allowed := hurry + time.Duration(f.got.Load())*time.Second/hurried
	return moved != 0 && time.Duration(now-moved) > hurry || time.Duration(now-since) > allowed
}

// What a frame must come up to while others wait for memory.
const (
	hurry   = 3 * time.Second
	hurried = 64 << 10 // bytes a second
)

// slowest is the rate, in bytes a second, below which a frame is taken for one that never ends.
const slowest = 16 << 10
