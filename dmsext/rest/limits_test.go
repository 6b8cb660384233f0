package rest

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tidemark-mq/tidemark/dmsext/queue"
)

// sized is a message whose JSON has n bytes.
func sized(n int) string { return `{"body":"` + strings.Repeat("x", n-len(`{"body":""}`)) + `"}` }

func TestMessageSizesCountToTheByte(t *testing.T) {
	w := newWorld(t, nil)
	half := MessageBytes / 2
	for name, x := range map[string]struct {
		messages string
		told     string // "": accepted
	}{
		"one at the limit":          {sized(MessageBytes), ""},
		"one byte more":             {sized(MessageBytes + 1), "The message size is 524289, larger than the size limit 524288."},
		"two at the limit":          {sized(half) + "," + sized(half), ""},
		"two with a byte more":      {sized(half) + "," + sized(half+1), "The message size is 524289, larger than the size limit 524288."},
		"white space beside":        {strings.Repeat(" ", 20000) + sized(half) + "\n\t , \r\n" + sized(half) + strings.Repeat(" ", 20000), ""},
		"white space in a message":  {strings.Replace(sized(MessageBytes-1), ":", ": ", 1), ""},
		"one too many white spaces": {strings.Replace(sized(MessageBytes), ":", ": ", 1), "The message size is 524289, larger than the size limit 524288."},
		"many small ones":           {strings.Repeat(sized(MessageBytes/10)+",", 9) + sized(MessageBytes/10), ""},
	} {
		body := `{"messages":[` + x.messages + `]}`
		for kind, a := range map[string]reply{"counted": w.do("POST", ofQueue+"/messages", body), "chunked": w.chunked(ofQueue+"/messages", body)} {
			if x.told == "" {
				require.Equal(t, 201, a.status, "%s %s %.200s", name, kind, a.body)
				continue
			}
			require.Equal(t, 400, a.status)
			require.Equal(t, queue.CodeSize, a.code(t))
			require.Contains(t, a.body, x.told, "%s %s", name, kind)
		}
	}
}

// chunked sends a body without its length.
func (w *world) chunked(path, body string) reply {
	w.t.Helper()
	r, err := http.NewRequest(http.MethodPost, "http://"+w.address+path, io.MultiReader(strings.NewReader(body)))
	require.NoError(w.t, err)
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	res, err := tr.RoundTrip(r)
	require.NoError(w.t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(w.t, err)
	return reply{res.StatusCode, res.Header, string(text)}
}

func TestBodiesPastTheLimitAreNotRead(t *testing.T) {
	w := newWorld(t, nil)
	for _, x := range []struct {
		path string
		code int
	}{{ofQueue + "/messages", queue.CodeSize}, {base + "/queues", queue.CodeFormat}, {ofGroup + "/ack", queue.CodeFormat}} {
		c := w.dial()
		// Nothing of the body is sent: the answer comes by what is announced.
		_, err := io.WriteString(c, "POST "+x.path+" HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n")
		require.NoError(t, err)
		r := bufio.NewReader(c)
		a := w.answer(r, http.MethodPost)
		require.Equal(t, 400, a.status)
		require.Equal(t, x.code, a.code(t))
		_, err = r.ReadByte()
		require.ErrorIs(t, err, io.EOF, "the connection ends")
		require.NoError(t, c.Close())

		c = w.dial() // without a length it ends where the limit is
		_, err = io.WriteString(c, "POST "+x.path+" HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
		require.NoError(t, err)
		sent := make(chan int)
		go func() {
			n := 0
			for chunk := "8000\r\n" + strings.Repeat(" ", 0x8000) + "\r\n"; n < 100<<20; n += len(chunk) {
				if _, err := io.WriteString(c, chunk); err != nil {
					break
				}
			}
			sent <- n
		}()
		a = w.answer(bufio.NewReader(c), http.MethodPost)
		require.Equal(t, x.code, a.code(t))
		require.NoError(t, c.Close())
		require.Less(t, <-sent, 50<<20)
	}
}

// TestWhatIsPastABodysLimitIsSaid: the size and the limits, for white space as for everything else.
func TestWhatIsPastABodysLimitIsSaid(t *testing.T) {
	w := newWorld(t, nil)
	for path, x := range map[string]struct {
		limit int
		told  string // what stands before and after the size
		after string
	}{
		ofQueue + "/messages": {sendBytes, "The message size is ", ", larger than the size limit 524288: this is the whole body with its white space, which may have 589824 bytes."},
		base + "/queues":      {controlBytes, "Invalid request format: the body has ", " bytes, the limit is 65536."},
		ofGroup + "/ack":      {ackBytes, "Invalid request format: the body has ", " bytes, the limit is 262144."},
	} {
		within := w.do("POST", path, strings.Repeat(" ", x.limit))
		require.Contains(t, within.body, "the body is empty, an object is wanted", path)
		blank := strings.Repeat(" ", x.limit+100)
		require.Contains(t, w.do("POST", path, blank).body, x.told+itoa(x.limit+100)+x.after)
		require.Contains(t, w.chunked(path, blank).body, x.told+itoa(x.limit+1)+" or more"+x.after)
	}
}

func TestSlowBodiesAreEnded(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Limits.BodyTime = 50 * time.Millisecond })
	c := w.dial()
	defer c.Close()
	_, err := io.WriteString(c, "POST "+ofQueue+"/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
	require.NoError(t, err)
	r := bufio.NewReader(c)
	a := w.answer(r, http.MethodPost)
	require.Equal(t, 408, a.status)
	require.Equal(t, queue.CodeFormat, a.code(t))
	_, err = r.ReadByte()
	require.ErrorIs(t, err, io.EOF)
}

func TestBodiesThatNobodyReadsAreEnded(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Limits.BodyTime = 50 * time.Millisecond })
	for path, status := range map[string]int{"/nothing": 404, "/": 405, "/v1.0/bad%20project/queues": 400, base + "/queues": 400} {
		c := w.dial()
		_, err := io.WriteString(c, "POST "+path+" HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{")
		require.NoError(t, err)
		require.Equal(t, status, w.answer(bufio.NewReader(c), http.MethodPost).status, path)
		eventually(t, "closed", func() bool { return w.server.Connections() == 0 })
		require.NoError(t, c.Close())
	}
}

func TestTheTimeForABodyEndsWithIt(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Limits.BodyTime, o.Limits.ParkAfter = 30*time.Millisecond, -1 })
	g := newGate(w.fake)
	c := w.dial()
	defer c.Close()
	_, err := io.WriteString(c, "GET "+ofGroup+"/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
	require.NoError(t, err)
	<-g.waiting
	timer := time.NewTimer(100 * time.Millisecond) // past the time for the body
	select {
	case err := <-g.ended:
		t.Fatal("the poll ended with the time for its body: ", err)
	case <-timer.C:
	}
	g.give <- oneMessage
	require.Equal(t, oneAnswer, w.answer(bufio.NewReader(c), http.MethodGet).body)
}

func TestSlowHeadersAreEnded(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Limits.HeaderTime = 50 * time.Millisecond })
	c := w.dial()
	defer c.Close()
	_, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, c)
	require.True(t, err == nil || !errors.Is(err, net.ErrClosed))
	eventually(t, "closed", func() bool { return w.server.Connections() == 0 })
}

func TestHostileHeads(t *testing.T) {
	w := newWorld(t, nil)
	for name, x := range map[string]struct {
		head   string
		status int
	}{
		"a large header":       {"GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 1<<20) + "\r\n\r\n", 431},
		"many headers":         {"GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X-A: b\r\n", 10000) + "\r\n", 431},
		"a long URL":           {"GET /" + strings.Repeat("a", 1<<20) + " HTTP/1.1\r\nHost: x\r\n\r\n", 431},
		"no host":              {"GET / HTTP/1.1\r\n\r\n", 400},
		"two lengths":          {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400},
		"a negative length":    {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400},
		"an unknown coding":    {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501},
		"a bad escape":         {"GET /v1.0/%zz/queues HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		"a control character":  {"GET / HTTP/1.1\r\nHost: x\r\nX-A: a\x01b\r\n\r\n", 400},
		"not HTTP":             {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400},
		"a chunk out of range": {"POST " + base + "/queues HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n", 400},
		"a wrong chunk":        {"POST " + base + "/queues HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
	} {
		c := w.dial()
		go func() { _, _ = io.WriteString(c, x.head) }() // the server need not take all of it
		require.Equal(t, x.status, w.answer(bufio.NewReader(c), http.MethodGet).status, name)
		require.NoError(t, c.Close())
	}
	eventually(t, "closed", func() bool { return w.server.Connections() == 0 })
}

func TestConnectionsHaveALimit(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Limits.Connections = 2 })
	first, second := w.dial(), w.dial()
	defer second.Close()
	eventually(t, "both are in", func() bool { return w.server.Connections() == 2 })
	third := w.dial()
	a := w.answer(bufio.NewReader(third), http.MethodGet)
	require.Equal(t, 503, a.status)
	require.JSONEq(t, `{"code":10240407,"message":"Too many connections; try again later.","error_code":"DMS.10240407","error_msg":"Too many connections; try again later."}`, a.body)
	require.Equal(t, "1", a.header.Get("Retry-After"))
	require.NoError(t, third.Close())
	require.NoError(t, first.Close())
	eventually(t, "room again", func() bool { return w.server.Connections() == 1 })
	require.Equal(t, 200, w.do("GET", ofQueue, "").status)
}

func TestMemoryForBodiesHasALimit(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Limits.BodyMemory = 600 << 10 })
	slow := w.dial()
	large := `{"messages":[` + sized(MessageBytes) + `]}`
	_, err := io.WriteString(slow, "POST "+ofQueue+"/messages HTTP/1.1\r\nHost: x\r\nContent-Length: "+itoa(len(large))+"\r\n\r\n"+large[:len(large)-1])
	require.NoError(t, err)
	eventually(t, "in memory", func() bool { return w.server.bodies.Load() > MessageBytes })
	a := w.do("POST", ofQueue+"/messages", large)
	require.Equal(t, 429, a.status)
	require.Equal(t, queue.CodeFlowControl, a.code(t))
	require.Equal(t, 200, w.do("GET", ofQueue, "").status, "what has no large body is served")
	require.NoError(t, slow.Close())
	eventually(t, "free again", func() bool { return w.server.bodies.Load() == 0 })
	require.Equal(t, 201, w.do("POST", ofQueue+"/messages", large).status)
}

func TestLimitsThatMakeNoSenseAreRefused(t *testing.T) {
	for _, l := range []Limits{{Connections: -1}, {BodyTime: -1}, {BodyMemory: 5}} {
		_, err := New(Options{Queues: newFake(), Limits: l})
		require.Error(t, err)
	}
	_, err := New(Options{})
	require.Error(t, err)
}

func TestRequestsAreCountedAndLogged(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	w := newWorld(t, func(o *Options) { o.Log = zap.New(core) })
	a := w.do("GET", ofQueue, "")
	w.do("GET", base+"/nothing", "")
	w.err = io.ErrUnexpectedEOF
	failed := w.do("GET", ofQueue, "")
	eventually(t, "logged", func() bool { return logs.FilterMessage("HTTP request").Len() == 3 })
	entry := logs.FilterMessage("HTTP request").All()[0].ContextMap()
	require.Equal(t, "showQueue", entry["call"])
	require.Equal(t, int64(200), entry["status"])
	require.Equal(t, a.header.Get("X-Request-Id"), entry["request_id"])
	why := logs.FilterMessage("HTTP request failed").All()
	require.Len(t, why, 1)
	require.Equal(t, failed.header.Get("X-Request-Id"), why[0].ContextMap()["request_id"])

	families, err := w.metrics.Gather()
	require.NoError(t, err)
	counts := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			counts[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	require.Equal(t, 1.0, counts["tidemark_http_requests_total showQueue 200"])
	require.Equal(t, 1.0, counts["tidemark_http_requests_total showQueue 500"])
	require.Equal(t, 1.0, counts["tidemark_http_requests_total none 404"])
	require.Equal(t, 2.0, counts["tidemark_http_request_seconds showQueue"])
	require.Contains(t, counts, "tidemark_http_long_polls")
}
