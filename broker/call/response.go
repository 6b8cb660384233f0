package call

import (
	"errors"
	"io"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Response is the answer to a call; exactly one of its members is set.
//
// Throttling (KIP-219) will be one more member: how long the receiver leaves the connection unread after the answer.
type Response struct {
	// Message is an answer in kmsg form, with its version set (Request.ResponseKind does that).
	Message kmsg.Response
	// Payload is an answer already encoded, parts of which may lie in files.
	Payload *Payload
	// Nothing sends no answer at all: Produce with acks=0 that went well.
	Nothing bool
	// Close ends the connection once the answers before this one are sent.
	Close bool
}

// Free gives back what an unsent response holds.
func (r Response) Free() {
	if r.Payload != nil {
		r.Payload.Free()
	}
}

// Payload is an encoded response body (what follows the response header) in pieces.
type Payload struct {
	Pieces []Piece
	// Release is called exactly once, when the pieces are sent or will never be; nil if there is nothing to give back.
	Release func()
}

// Piece is a run of bytes, or, where File is set, the Len bytes of that file from Pos on.
type Piece struct {
	Bytes []byte
	File  File
	Pos   int64
	Len   int64
}

// File is an open file a piece lies in; storage's files are such. Fd is the descriptor for sendfile, or ^uintptr(0)
// where the file has none (in-memory files).
type File interface {
	io.ReaderAt
	Fd() uintptr
}

// NoFd is what File.Fd answers where there is no descriptor.
const NoFd = ^uintptr(0)

// Size is the number of bytes of the piece.
func (p *Piece) Size() int64 {
	if p.File != nil {
		return p.Len
	}
	return int64(len(p.Bytes))
}

// Size is the number of bytes of all pieces.
func (p *Payload) Size() int64 {
	var n int64
	for i := range p.Pieces {
		n += p.Pieces[i].Size()
	}
	return n
}

// Memory is the number of bytes of the pieces that do not lie in files; nil has none.
func (p *Payload) Memory() int64 {
	if p == nil {
		return 0
	}
	var n int64
	for i := range p.Pieces {
		n += int64(len(p.Pieces[i].Bytes))
	}
	return n
}

// Free calls Release; further calls do nothing.
func (p *Payload) Free() {
	if f := p.Release; f != nil {
		p.Release = nil
		f()
	}
}

// ErrShortFile says that a file ended before the piece that lies in it.
var ErrShortFile = errors.New("file ends before the bytes to be sent")

// AppendTo appends the payload's bytes to dst, reading those that lie in files. The payload stays the caller's to free.
func (p *Payload) AppendTo(dst []byte) ([]byte, error) {
	for i := range p.Pieces {
		piece := &p.Pieces[i]
		if piece.File == nil {
			dst = append(dst, piece.Bytes...)
			continue
		}
		at := len(dst)
		dst = append(dst, make([]byte, piece.Len)...)
		n, err := piece.File.ReadAt(dst[at:], piece.Pos)
		if int64(n) < piece.Len {
			if err == nil || errors.Is(err, io.EOF) {
				err = ErrShortFile
			}
			return dst[:at], err
		}
	}
	return dst, nil
}
