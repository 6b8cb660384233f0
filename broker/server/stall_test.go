package server

import (
	"bytes"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
)

// answerWith answers with a piece between two small ones.
func answerWith(middle call.Piece) func(*call.Call) {
	return func(c *call.Call) {
		edge := call.Piece{Bytes: []byte("edge")}
		c.Reply(call.Response{Payload: &call.Payload{Pieces: []call.Piece{edge, middle, edge}}})
	}
}

func TestReaderThatPausesInAFileIsLeftAsLongAsAnIdleOne(t *testing.T) {
	content := pattern(1 << 20)
	h := handlers{kmsg.Fetch: answerWith(call.Piece{File: memoryFile{bytes.NewReader(content)}, Len: 1 << 20})}
	inBubble(t, Options{}, h, func(t *testing.T, s *Server, l *pipeListener) {
		c := l.dial(t)
		c.send(fetch())
		half := make([]byte, 300<<10)
		for at := 0; at < len(half); {
			n, err := c.Read(half[at:])
			require.NoError(t, err)
			at += n
		}
		time.Sleep(9 * time.Minute)
		synctest.Wait()
		require.Equal(t, 1, s.Connections())
		rest := make([]byte, 8+1+4+len(content)+4-len(half))
		for at := 0; at < len(rest); {
			n, err := c.Read(rest[at:])
			require.NoError(t, err)
			at += n
		}
		want := append(append([]byte("edge"), content...), "edge"...)
		require.True(t, bytes.Equal(want, append(half[9:], rest...)))

		c.send(fetch())
		time.Sleep(11 * time.Minute)
		c.closed()
		require.Equal(t, 1.0, testutil.ToFloat64(s.metrics.closed.WithLabelValues("stalled")))
	})
}

func TestReaderThatPausesInASmallAnswerIsLeftAsLongAsAnIdleOne(t *testing.T) {
	inBubble(t, Options{}, nil, func(t *testing.T, s *Server, l *pipeListener) {
		c := l.dial(t)
		defer c.Close()
		c.send(metadata())
		time.Sleep(9 * time.Minute)
		c.expect(1)
	})
}

func TestReaderThatPausesIsNotLeftWithMemory(t *testing.T) {
	file := call.Piece{File: memoryFile{bytes.NewReader(pattern(1 << 20))}, Len: 1 << 20}
	fromFile := fetch().(*kmsg.FetchRequest)
	fromFile.MaxBytes = 1
	for name, requests := range map[string][]kmsg.Request{
		"in bytes":                   {fetch()},
		"in a file before bytes":     {fromFile, fetch()},
		"in a file before a request": {fromFile, fromFile, produce(pattern(1 << 20))},
	} {
		t.Run(name, func(t *testing.T) {
			calls := make(chan *call.Call, 10)
			h := handlers{kmsg.Produce: answerEmpty, kmsg.Fetch: func(c *call.Call) { calls <- c }}
			inBubble(t, Options{}, h, func(t *testing.T, s *Server, l *pipeListener) {
				calls = make(chan *call.Call, 10)
				c := l.dial(t)
				go c.send(requests...)
				synctest.Wait()
				for len(calls) > 0 { // parked, so that the reader goes on to the next request
					if f := <-calls; f.Request.(*kmsg.FetchRequest).MaxBytes == 1 {
						answerWith(file)(f)
					} else {
						answerWith(call.Piece{Bytes: pattern(1 << 20)})(f)
					}
					synctest.Wait()
				}
				time.Sleep(20 * time.Second)
				synctest.Wait()
				require.Equal(t, 1, s.Connections())
				time.Sleep(20 * time.Second)
				synctest.Wait()
				require.Zero(t, s.Connections())
				require.Zero(t, s.requests.Used())
			})
		})
	}
}

func TestReaderThatNeverReadsIsCutOff(t *testing.T) {
	body := pattern(1 << 20)
	s, address := startServer(t, Options{StallTimeout: 50 * time.Millisecond}, handlers{kmsg.Fetch: func(c *call.Call) {
		c.Reply(call.Response{Payload: &call.Payload{Pieces: []call.Piece{{Bytes: body}}}})
	}})
	c := dial(t, address)
	require.NoError(t, c.Conn.(*net.TCPConn).SetReadBuffer(256<<10))
	for range 20 {
		c.send(fetch())
	}
	eventually(t, "cut off", func() bool { return testutil.ToFloat64(s.metrics.closed.WithLabelValues("stalled")) == 1 })
	eventually(t, "gone", func() bool { return s.Connections() == 0 })
}

// On a real socket the file goes by sendfile, and behind other answers.
func TestReaderThatPausesInASentFileIsLeftAlone(t *testing.T) {
	content := pattern(16 << 20)
	disk := diskFile(t, content)
	s, address := startServer(t, Options{StallTimeout: 20 * time.Millisecond}, handlers{
		kmsg.Fetch: answerWith(call.Piece{File: disk, Len: int64(len(content))}),
	})
	c := dial(t, address)
	require.NoError(t, c.Conn.(*net.TCPConn).SetReadBuffer(64<<10))
	c.send(metadata(), fetch(), fetch())
	eventually(t, "stands still", func() bool { return stalledWriters(s) == 1 })
	began := time.Unix(0, s.clock.now.Load())
	eventually(t, "several sweeps past the limit", func() bool {
		return time.Unix(0, s.clock.now.Load()).Sub(began) > 10*s.stall
	})
	c.expect(1)
	for range 2 {
		_, body := c.receive()
		require.True(t, bytes.Equal(content, body[1+len("edge"):len(body)-len("edge")]))
	}
}
