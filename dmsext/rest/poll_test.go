package rest

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/dmsext/queue"
)

// gate is a Receive that waits until it is told.
type gate struct {
	waiting chan struct{}
	give    chan []queue.Received
	ended   chan error
}

func newGate(f *fake) *gate {
	g := &gate{waiting: make(chan struct{}, 100), give: make(chan []queue.Received), ended: make(chan error, 100)}
	f.receive = func(ctx context.Context, r queue.Receive) ([]queue.Received, error) {
		g.waiting <- struct{}{}
		select {
		case m := <-g.give:
			g.ended <- nil
			return m, nil
		case <-ctx.Done():
			g.ended <- ctx.Err()
			return nil, ctx.Err()
		}
	}
	return g
}

var oneMessage = []queue.Received{{Message: queue.Message{Body: []byte(`{"a": 1}`)}, Handle: "h1"}}

const oneAnswer = `[{"message":{"body":{"a": 1},"attributes":{}},"handler":"h1"}]`

// eventually waits for a condition that other goroutines bring about.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, 10*time.Second, time.Millisecond, what)
}

func (w *world) parkedPolls() int {
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	return len(w.server.parked)
}

const poll1 = "GET " + ofGroup + "/messages?time_wait=60 HTTP/1.1\r\nHost: x\r\n\r\n"

func parkSoon(o *Options) { o.Limits.ParkAfter = time.Millisecond }

func TestParkedPollAnswersAndItsConnectionGoesOn(t *testing.T) {
	onBoth(t, parkSoon, parkedPollGoesOn)
}

func parkedPollGoesOn(t *testing.T, w *world) {
	g := newGate(w.fake)
	c := w.dial()
	defer c.Close()
	r := bufio.NewReader(c)
	for round := range 3 {
		_, err := io.WriteString(c, poll1)
		require.NoError(t, err)
		eventually(t, "parked", func() bool { return w.parkedPolls() == 1 })
		require.Equal(t, 1, w.server.LongPolls())
		g.give <- oneMessage
		a := w.answer(r, http.MethodGet)
		require.Equal(t, 200, a.status, round)
		require.Equal(t, oneAnswer, a.body)
		require.Len(t, a.header.Get("X-Request-Id"), 32)
		require.NotEmpty(t, a.header.Get("Date"))
		require.Equal(t, 1, w.server.Connections())
	}
	_, err := io.WriteString(c, "GET "+base+"/quotas/dms HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	require.Equal(t, 200, w.answer(r, http.MethodGet).status)
}

func TestParkedPollKeepsWhatTheClientSentOfItsNextRequest(t *testing.T) {
	onBoth(t, parkSoon, parkedPollKeepsBytes)
}

func parkedPollKeepsBytes(t *testing.T, w *world) {
	g := newGate(w.fake)
	next := "GET " + base + "/quotas/dms HTTP/1.1\r\nHost: x\r\n\r\n"
	for _, before := range []int{0, 1, len(next)} { // bytes sent with the poll; the others while it is parked
		c := w.dial()
		r := bufio.NewReader(c)
		_, err := io.WriteString(c, poll1+next[:before])
		require.NoError(t, err)
		eventually(t, "parked", func() bool { return w.parkedPolls() == 1 })
		_, err = io.WriteString(c, next[before:])
		require.NoError(t, err)
		g.give <- oneMessage
		require.Equal(t, oneAnswer, w.answer(r, http.MethodGet).body)
		require.Contains(t, w.answer(r, http.MethodGet).body, `"quotas"`)
		require.NoError(t, c.Close())
	}
}

func TestPollEndsWhenTheClientLeaves(t *testing.T) {
	for name, change := range map[string]func(*Options){"parked": parkSoon, "in net/http": func(o *Options) { o.Limits.ParkAfter = -1 }} {
		t.Run(name, func(t *testing.T) { onBoth(t, change, pollEndsWithClient) })
	}
}

func pollEndsWithClient(t *testing.T, w *world) {
	g := newGate(w.fake)
	for _, leave := range []func(c *net.TCPConn) error{
		func(c *net.TCPConn) error { return c.Close() },
		func(c *net.TCPConn) error { return c.CloseWrite() },
		func(c *net.TCPConn) error { return errors.Join(c.SetLinger(0), c.Close()) }, // a reset
	} {
		c, _ := w.dial().(*net.TCPConn)
		_, err := io.WriteString(c, poll1)
		require.NoError(t, err)
		<-g.waiting
		if w.server.limits.ParkAfter > 0 {
			eventually(t, "parked", func() bool { return w.parkedPolls() == 1 })
		}
		require.NoError(t, leave(c))
		require.ErrorIs(t, <-g.ended, context.Canceled)
		eventually(t, "closed", func() bool { return w.server.Connections() == 0 && w.server.LongPolls() == 0 })
		_ = c.Close() // one of them only closed its side
	}
}

func TestStopAnswersPollsWithNothing(t *testing.T) {
	for name, change := range map[string]func(*Options){"parked": parkSoon, "in net/http": func(o *Options) { o.Limits.ParkAfter = -1 }} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, change)
			g := newGate(w.fake)
			c := w.dial()
			defer c.Close()
			_, err := io.WriteString(c, poll1)
			require.NoError(t, err)
			<-g.waiting
			if name == "parked" {
				eventually(t, "parked", func() bool { return w.parkedPolls() == 1 })
			}
			stopped := make(chan error, 1)
			go func() { stopped <- w.server.Stop(t.Context()) }()
			a := w.answer(bufio.NewReader(c), http.MethodGet)
			require.Equal(t, 200, a.status)
			require.Equal(t, "[]", a.body)
			require.NoError(t, <-stopped)
		})
	}
}

func TestParkedPollTellsErrors(t *testing.T) {
	w := newWorld(t, parkSoon)
	fail := make(chan error)
	w.receive = func(ctx context.Context, r queue.Receive) ([]queue.Received, error) { return nil, <-fail }
	c := w.dial()
	defer c.Close()
	r := bufio.NewReader(c)
	for _, x := range []struct {
		err    error
		status int
		code   int
		after  string
	}{
		{&queue.Error{Status: 404, Code: 10240401, Message: "The queue was deleted."}, 404, 10240401, ""},
		{&queue.Error{Status: 429, Code: 10240407, Message: "Slow down.", RetryAfter: 1500 * time.Millisecond}, 429, 10240407, "2"},
		{io.ErrUnexpectedEOF, 500, queue.CodeInternal, ""},
	} {
		_, err := io.WriteString(c, poll1)
		require.NoError(t, err)
		eventually(t, "parked", func() bool { return w.parkedPolls() == 1 })
		fail <- x.err
		a := w.answer(r, http.MethodGet)
		require.Equal(t, x.status, a.status)
		require.Equal(t, x.code, a.code(t))
		require.Equal(t, x.after, a.header.Get("Retry-After"))
	}
}

func TestPollOfAConnectionThatEndsIsItsLast(t *testing.T) {
	w := newWorld(t, parkSoon)
	g := newGate(w.fake)
	c := w.dial()
	defer c.Close()
	_, err := io.WriteString(c, "GET "+ofGroup+"/messages HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	require.NoError(t, err)
	eventually(t, "parked", func() bool { return w.parkedPolls() == 1 })
	g.give <- nil
	all, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Contains(t, string(all), "\r\nConnection: close\r\n")
	require.Contains(t, string(all), "\r\n\r\n[]")
}

func TestLongPollsHaveALimit(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Limits.LongPolls = 1 })
	g := newGate(w.fake)
	c := w.dial()
	defer c.Close()
	_, err := io.WriteString(c, poll1)
	require.NoError(t, err)
	<-g.waiting
	a := w.do("GET", ofGroup+"/messages", "")
	require.Equal(t, 429, a.status)
	require.Equal(t, 10240407, a.code(t))
	require.Equal(t, "1", a.header.Get("Retry-After"))
	g.give <- oneMessage
	require.Equal(t, oneAnswer, w.answer(bufio.NewReader(c), http.MethodGet).body)
}

// For net/http a connection that comes back from a poll is a new one, whose first request has to come soon.
func TestAConnectionMayRestAfterAParkedPollAsAfterAnyRequest(t *testing.T) {
	onBoth(t, func(o *Options) {
		o.Limits.ParkAfter, o.Limits.HeaderTime, o.Limits.IdleTime = time.Millisecond, 50*time.Millisecond, 20*time.Second
	}, func(t *testing.T, w *world) {
		g := newGate(w.fake)
		c := w.dial()
		defer c.Close()
		r := bufio.NewReader(c)
		_, err := io.WriteString(c, poll1)
		require.NoError(t, err)
		eventually(t, "parked", func() bool { return w.parkedPolls() == 1 })
		g.give <- oneMessage
		require.Equal(t, oneAnswer, w.answer(r, http.MethodGet).body)

		require.NoError(t, c.SetReadDeadline(time.Now().Add(300*time.Millisecond)))
		_, err = r.ReadByte()
		require.ErrorIs(t, err, os.ErrDeadlineExceeded, "it stays open")
		require.NoError(t, c.SetReadDeadline(time.Now().Add(20*time.Second)))
		_, err = io.WriteString(c, "GET "+base+"/quotas/dms HTTP/1.1\r\nHost: x\r\n\r\n")
		require.NoError(t, err)
		require.Equal(t, 200, w.answer(r, http.MethodGet).status)
	})
}

func TestSlowHeadersAfterAParkedPollAreEnded(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Limits.ParkAfter, o.Limits.HeaderTime = time.Millisecond, 50*time.Millisecond })
	g := newGate(w.fake)
	for _, begun := range []string{"", "GET "} { // sent with the poll
		c := w.dial()
		r := bufio.NewReader(c)
		_, err := io.WriteString(c, poll1+begun)
		require.NoError(t, err)
		eventually(t, "parked", func() bool { return w.parkedPolls() == 1 })
		g.give <- oneMessage
		require.Equal(t, oneAnswer, w.answer(r, http.MethodGet).body)
		_, err = io.WriteString(c, "GET /v2 HT")
		require.NoError(t, err)
		_, err = io.ReadAll(r)
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "ended by the server, within the time for headers")
		require.NoError(t, c.Close())
	}
}

func TestAConnectionThatRestsAfterAParkedPollIsEnded(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Limits.ParkAfter, o.Limits.IdleTime = time.Millisecond, 50*time.Millisecond })
	g := newGate(w.fake)
	c := w.dial()
	defer c.Close()
	_, err := io.WriteString(c, poll1)
	require.NoError(t, err)
	eventually(t, "parked", func() bool { return w.parkedPolls() == 1 })
	g.give <- oneMessage
	r := bufio.NewReader(c)
	require.Equal(t, oneAnswer, w.answer(r, http.MethodGet).body)
	_, err = r.ReadByte()
	require.ErrorIs(t, err, io.EOF)
}

func TestStopDoesNotWaitForConnectionsThatRestAfterAPoll(t *testing.T) {
	onBoth(t, parkSoon, func(t *testing.T, w *world) {
		g := newGate(w.fake)
		c := w.dial()
		defer c.Close()
		r := bufio.NewReader(c)
		_, err := io.WriteString(c, poll1)
		require.NoError(t, err)
		eventually(t, "parked", func() bool { return w.parkedPolls() == 1 })
		g.give <- oneMessage
		require.Equal(t, oneAnswer, w.answer(r, http.MethodGet).body)
		eventually(t, "handed back", func() bool { return w.server.LongPolls() == 0 })
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second) // net/http itself waits for five
		defer cancel()
		require.NoError(t, w.server.Stop(ctx))
		_, err = r.ReadByte()
		require.ErrorIs(t, err, io.EOF)
	})
}
