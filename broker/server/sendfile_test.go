package server

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
)

// diskFile writes content to a file and opens it.
func diskFile(t testing.TB, content []byte) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "segment")
	require.NoError(t, os.WriteFile(path, content, 0o600))
	f, err := os.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestPayloadsArriveByteForByte(t *testing.T) {
	content := pattern(5 << 20)
	disk := diskFile(t, content)
	sizes := []int64{0, 1, 100, gatherPiece - 1, gatherPiece, gatherPiece + 1, gatherLimit, gatherLimit + 1, 1 << 20, 3<<20 + 7}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))

	calls := make(parked, 1)
	var how atomic.Pointer[func(*call.Call)]
	_, address := startServer(t, Options{}, handlers{kmsg.Fetch: func(c *call.Call) {
		if f := how.Load(); f != nil {
			(*f)(c)
			return
		}
		calls <- c
	}})
	c := dial(t, address)
	require.NoError(t, c.Conn.(*net.TCPConn).SetReadBuffer(256<<10)) // makes the server's writes partial
	for n := range 120 {
		var want []byte
		released := make(chan struct{})
		load := &call.Payload{Release: func() { close(released) }}
		for range 1 + r.IntN(4) {
			size := sizes[r.IntN(len(sizes))]
			pos := r.Int64N(int64(len(content)) - size + 1)
			part := content[pos : pos+size]
			want = append(want, part...)
			switch r.IntN(3) {
			case 0:
				load.Pieces = append(load.Pieces, call.Piece{Bytes: part})
			case 1:
				load.Pieces = append(load.Pieces, call.Piece{File: disk, Pos: pos, Len: size})
			case 2:
				load.Pieces = append(load.Pieces, call.Piece{File: memoryFile{bytes.NewReader(content)}, Pos: pos, Len: size})
			}
		}
		answer := func(c *call.Call) { c.Reply(call.Response{Payload: load}) }
		if n%2 == 0 {
			how.Store(&answer)
			c.send(fetch())
		} else {
			how.Store(nil)
			c.send(fetch())
			answer(calls.next(t))
		}
		_, body := c.receive()
		require.Equal(t, byte(0), body[0], "tags of the response header")
		require.True(t, bytes.Equal(want, body[1:]), "answer %d differs", n)
		<-released
	}
	at, err := disk.Seek(0, io.SeekCurrent)
	require.NoError(t, err)
	require.Zero(t, at, "the file's shared position moved")
}

func TestFileThatEndsEarlyEndsTheConnection(t *testing.T) {
	disk := diskFile(t, pattern(100<<10))
	for _, size := range []int64{200 << 10, 150} {
		released := make(chan struct{})
		_, address := startServer(t, Options{}, handlers{kmsg.Fetch: func(c *call.Call) {
			c.Reply(call.Response{Payload: &call.Payload{
				Pieces:  []call.Piece{{File: disk, Pos: 100<<10 - 100, Len: size}},
				Release: func() { close(released) },
			}})
		}})
		c := dial(t, address)
		c.send(fetch())
		_, _, err := c.tryReceive()
		require.Error(t, err)
		<-released
	}
}

func TestAnswersAfterAFileStayInOrder(t *testing.T) {
	content := pattern(1 << 20)
	disk := diskFile(t, content)
	calls := make(parked, 10)
	_, address := startServer(t, Options{}, handlers{
		kmsg.Produce: calls.handle,
	})
	c := dial(t, address)
	c.send(produce(nil), produce(nil), produce(nil))
	got := []*call.Call{calls.next(t), calls.next(t), calls.next(t)}
	answerEmpty(got[2])
	got[1].Reply(call.Response{Payload: &call.Payload{Pieces: []call.Piece{{File: disk, Len: 1 << 20}}}})
	answerEmpty(got[0])
	c.expect(1)
	_, body := c.receive()
	require.True(t, bytes.Equal(content, body[1:]))
	c.expect(3)
}
