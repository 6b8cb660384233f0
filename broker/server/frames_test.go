package server

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/broker/quota"
)

// script is a stream that delivers bytes in pieces of scripted sizes and then ends.
type script struct {
	stream // what frames does not use
	rest   []byte
	sizes  []byte // of the pieces, round and round; 0 counts as 256
	n      int
}

func (s *script) take(dst []byte) (int, error) {
	if len(s.rest) == 0 {
		return 0, io.EOF
	}
	size := len(s.rest)
	if len(s.sizes) > 0 {
		size = int(s.sizes[s.n%len(s.sizes)]-1) + 1
		s.n++
	}
	n := copy(dst, s.rest[:min(size, len(s.rest))])
	s.rest = s.rest[n:]
	return n, nil
}

func (s *script) readAny(ahead *buffer) (*buffer, int, error) {
	if ahead == nil {
		ahead = newBuffer(readAhead)
	}
	n, err := s.take(ahead.b)
	if err != nil {
		ahead.free()
		return nil, 0, err
	}
	return ahead, n, nil
}

func (s *script) read(dst []byte) (int, error) { return s.take(dst) }
func (s *script) available() int               { return min(len(s.rest), 100) }

const scriptLimit = 1 << 20

func newFrames(s *script) *frames {
	return &frames{in: s, budget: quota.NewBudget(2 * scriptLimit), most: scriptLimit, clock: &coarseClock{}}
}

// checkFrames cuts data into frames and compares with cutting it in memory.
func checkFrames(t *testing.T, data, sizes []byte) {
	f := newFrames(&script{rest: data, sizes: sizes})
	defer f.close()
	for rest := data; ; {
		var lease quota.Lease
		head, err := f.readHead()
		if err != nil {
			switch {
			case len(rest) == 0:
				require.ErrorIs(t, err, io.EOF)
			case len(rest) >= 4 && !sizeFits(rest):
				require.ErrorIs(t, err, errFrameSize)
			default:
				require.Less(t, len(rest), headSize)
				require.ErrorIs(t, err, errFrameClosed)
			}
			return
		}
		require.Equal(t, int(binary.BigEndian.Uint32(rest)), head.size)
		buf, err := f.readBody(context.Background(), head, &lease)
		whole := len(rest) >= 4+head.size
		arrived := min(len(rest), 4+head.size)
		require.LessOrEqual(t, lease.Held(), int64(2*max(firstRoom, growth*(arrived+100))), "leased for bytes that did not come")
		if !whole {
			require.ErrorIs(t, err, errFrameClosed)
			return
		}
		require.NoError(t, err)
		require.True(t, bytes.Equal(rest[4:4+head.size], buf.b))
		buf.free()
		lease.Release()
		rest = rest[4+head.size:]
	}
}

func sizeFits(b []byte) bool {
	n := int32(binary.BigEndian.Uint32(b))
	return n >= 4 && n <= scriptLimit
}

func TestFramesInPiecesOfAnySize(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 300 {
		var data []byte
		for range 1 + r.IntN(8) {
			size := 4 + r.IntN(1<<r.IntN(18))
			data = binary.BigEndian.AppendUint32(data, uint32(size))
			data = append(data, pattern(size)...)
		}
		data = data[:len(data)-r.IntN(2)*r.IntN(len(data))]
		sizes := make([]byte, r.IntN(6))
		for i := range sizes {
			sizes[i] = byte(r.Uint32())
		}
		checkFrames(t, data, sizes)
	}
}

func FuzzFrames(f *testing.F) {
	c := &client{}
	f.Add(append(c.bytes(metadata()), c.bytes(apiVersions())...), []byte{1, 200, 3})
	f.Add(c.bytes(produce(pattern(10_000))), []byte{0})
	f.Add(c.bytes(produce(pattern(100)))[:60], []byte{})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1, 2}, []byte{2})
	f.Fuzz(func(t *testing.T, data, sizes []byte) { checkFrames(t, data, sizes) })
}

// FuzzConnection sends bytes to a server: whatever they are, every answer is a whole frame, the connection ends and nothing stays
// leased.
func FuzzConnection(f *testing.F) {
	s, l := newServer(f, Options{}, handlers{
		kmsg.Produce: answerEmpty, kmsg.Fetch: answerEmpty, kmsg.CreateTopics: answerEmpty, kmsg.JoinGroup: answerEmpty,
		kmsg.ShareFetch: answerEmpty, kmsg.DescribeConfigs: func(c *call.Call) { c.Reply(call.Response{Close: true}) },
	}), newPipeListener()
	s.Serve("TEST", l)
	s.Start()
	c := &client{}
	f.Add(append(c.bytes(metadata()), c.bytes(apiVersions())...))
	f.Add(append(c.bytes(produce(pattern(100))), c.bytes(fetch())...))
	f.Add(c.bytes(metadata())[:20])
	f.Add(binary.BigEndian.AppendUint32(nil, 100<<20+1))
	f.Fuzz(func(t *testing.T, data []byte) {
		ours, theirs := net.Pipe()
		l.conns <- theirs
		go func() {
			_ = ours.SetWriteDeadline(time.Now().Add(patience))
			_, _ = ours.Write(data)
			_ = ours.(interface{ Close() error }).Close()
		}()
		for {
			if _, _, err := (&client{Conn: ours}).tryReceive(); err != nil {
				require.NotErrorIs(t, err, context.DeadlineExceeded)
				break
			}
		}
		eventually(t, "connection gone", func() bool { return s.Connections() == 0 })
		require.Zero(t, s.requests.Used())
		require.Zero(t, s.decoded.Used())
	})
}
