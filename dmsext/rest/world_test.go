package rest

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/tidemark-mq/tidemark/dmsext/queue"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	project = "0123456789abcdef0123456789abcdef"
	queueID = "5a0c7f3e-6f0e-4a53-9d0a-2f7f0f5f7a11"
	groupID = "g-02a1bb05-4e0f-4e66-9a5c-0b3c5d4e6f70"
	base    = "/v1.0/" + project
	ofQueue = base + "/queues/" + queueID
	ofGroup = ofQueue + "/groups/" + groupID
)

// fake answers as each test wants and keeps what it was asked.
type fake struct {
	mu   sync.Mutex
	err  error // of every call
	last struct {
		project, queue, group, key string
		created                    queue.NewQueue
		names                      []string
		groups                     queue.GroupsQuery
		sent                       []queue.Message
		receive                    queue.Receive
		dead                       bool
		acks                       []queue.Ack
		tag                        queue.Tag
		change                     queue.TagChange
		search                     queue.TagSearch
		settled                    queue.ForcedSettle
		limit                      int
	}
	receive func(ctx context.Context, r queue.Receive) ([]queue.Received, error)
	results []queue.Sent
	shown   queue.Queue
	listed  []queue.Queue
	groups  queue.GroupList
	leases  []queue.Lease
}

func words(s string) *string { return &s }

func newFake() *fake {
	q := queue.Queue{ID: queueID, Name: "orders", Mode: queue.FIFO, Description: words("order <events>\n"), Created: time.UnixMilli(1893456000000),
		Retention: 72 * time.Hour, MaxMessageBytes: 524288, Messages: 12, Redrive: true, MaxConsumeCount: 5, Groups: 2, Topic: "q", Partitions: 1,
		RetryBackoff: "100,2"}
	k := queue.Queue{ID: "5a0c7f3e-6f0e-4a53-9d0a-2f7f0f5f7a12", Name: "clicks", Mode: queue.KafkaHT, Created: time.UnixMilli(1893456000001),
		Retention: 36 * time.Hour, MaxMessageBytes: 524288, KafkaTopic: "k-" + project + "-x"}
	return &fake{shown: q, listed: []queue.Queue{k, q}, groups: queue.GroupList{Queue: q, Groups: []queue.Group{
		{ID: groupID, Name: "billing", Produced: 12, Consumed: 5, Available: 6, InFlight: 2, Filtered: 1, Skipped: 3, ProducedDeadLetters: 2, AvailableDeadLetters: 1},
		{ID: "g-02a1bb05-4e0f-4e66-9a5c-0b3c5d4e6f71", Name: "audit"},
		{ID: "g-02a1bb05-4e0f-4e66-9a5c-0b3c5d4e6f72", Name: "third"}}}}
}

func (f *fake) note(project, queue, group string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last.project, f.last.queue, f.last.group = project, queue, group
	return f.err
}

func (f *fake) CreateQueue(_ context.Context, p string, q queue.NewQueue) (queue.Queue, error) {
	f.last.created = q
	made := queue.Queue{ID: queueID, Name: q.Name, Mode: q.Mode}
	if q.Mode.Kafka() {
		made.KafkaTopic = "k-" + p + "-" + queueID
	}
	return made, f.note(p, "", "")
}
func (f *fake) Queues(_ context.Context, p string) ([]queue.Queue, error) {
	return f.listed, f.note(p, "", "")
}
func (f *fake) Queue(_ context.Context, p, q string) (queue.Queue, error) {
	return f.shown, f.note(p, q, "")
}
func (f *fake) DeleteQueue(_ context.Context, p, q string) error { return f.note(p, q, "") }
func (f *fake) CreateGroups(_ context.Context, p, q string, names []string) (made []queue.Group, err error) {
	f.last.names = names
	for _, n := range names {
		made = append(made, queue.Group{ID: "g-" + n, Name: n})
	}
	return made, f.note(p, q, "")
}
func (f *fake) Groups(_ context.Context, p, q string, g queue.GroupsQuery) (queue.GroupList, error) {
	f.last.groups = g
	return f.groups, f.note(p, q, "")
}
func (f *fake) DeleteGroup(_ context.Context, p, q, g string) error { return f.note(p, q, g) }
func (f *fake) Send(_ context.Context, p, q string, messages []queue.Message) ([]queue.Sent, error) {
	f.mu.Lock()
	f.last.sent = nil
	for _, m := range messages { // what a call is given is the handler's again
		m.Body = append(json.RawMessage(nil), m.Body...)
		for i := range m.Attributes {
			m.Attributes[i].Value = append(json.RawMessage(nil), m.Attributes[i].Value...)
		}
		f.last.sent = append(f.last.sent, m)
	}
	f.mu.Unlock()
	if f.results != nil {
		return f.results, f.note(p, q, "")
	}
	sent := make([]queue.Sent, len(messages))
	for i := range sent {
		sent[i].ID = "id-" + string(rune('0'+i))
	}
	return sent, f.note(p, q, "")
}
func (f *fake) Receive(ctx context.Context, p, q, g string, r queue.Receive) ([]queue.Received, error) {
	f.mu.Lock()
	f.last.receive = r
	wait := f.receive
	f.mu.Unlock()
	if err := f.note(p, q, g); err != nil || wait == nil {
		return nil, err
	}
	return wait(ctx, r)
}
func (f *fake) Ack(_ context.Context, p, q, g string, dead bool, acks []queue.Ack) (r queue.AckResult, err error) {
	f.last.dead, f.last.acks = dead, append([]queue.Ack(nil), acks...)
	for _, a := range acks {
		if a.Success {
			r.Success++
		} else {
			r.Fail++
		}
	}
	return r, f.note(p, q, g)
}
func (f *fake) Quota(_ context.Context, p string) (queue.Quota, error) {
	return queue.Quota{Limit: 30, Used: 5, Max: 500}, f.note(p, "", "")
}
func (f *fake) PutTag(_ context.Context, p, q string, t queue.Tag) error {
	f.last.tag = t
	return f.note(p, q, "")
}
func (f *fake) ChangeTags(_ context.Context, p, q string, c queue.TagChange) error {
	f.last.change = c
	return f.note(p, q, "")
}
func (f *fake) DeleteTag(_ context.Context, p, q, key string) error {
	f.last.key = key
	return f.note(p, q, "")
}
func (f *fake) Tags(_ context.Context, p, q string) ([]queue.Tag, error) {
	return []queue.Tag{{Key: "env", Value: "prod"}, {Key: "empty"}}, f.note(p, q, "")
}
func (f *fake) ProjectTags(_ context.Context, p string) ([]queue.TagValues, error) {
	return []queue.TagValues{{Key: "env", Values: []string{"prod", "test"}}}, f.note(p, "", "")
}
func (f *fake) SearchTags(_ context.Context, p string, s queue.TagSearch) ([]queue.TagMatch, int, error) {
	f.last.search = s
	return []queue.TagMatch{{ID: queueID, Name: "orders", Tags: []queue.Tag{{Key: "env", Value: "prod"}}}}, 7, f.note(p, "", "")
}

func (f *fake) Purge(_ context.Context, p, q string) error { return f.note(p, q, "") }
func (f *fake) Leases(_ context.Context, p, q, g string, dead bool, limit int) ([]queue.Lease, bool, error) {
	f.last.dead, f.last.limit = dead, limit
	return f.leases, len(f.leases) > 0, f.note(p, q, g)
}
func (f *fake) SettleLease(_ context.Context, p, q, g string, s queue.ForcedSettle) error {
	f.last.settled = s
	return f.note(p, q, g)
}

// world is a server on loopback with a client.
type world struct {
	*fake
	t       testing.TB
	server  *Server
	address string
	metrics *prometheus.Registry
}

func newWorld(t testing.TB, change func(*Options)) *world {
	t.Helper()
	return newWorldOn(t, change, func(l net.Listener) net.Listener { return l })
}

// opaque is a listener whose connections have no descriptor that one could watch.
type opaque struct{ net.Listener }

func (o opaque) Accept() (net.Conn, error) {
	c, err := o.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return struct{ net.Conn }{c}, nil
}

// onBoth runs a test with connections that can be watched by their descriptors, and with others.
func onBoth(t *testing.T, change func(*Options), test func(t *testing.T, w *world)) {
	t.Run("descriptors", func(t *testing.T) { test(t, newWorld(t, change)) })
	t.Run("none", func(t *testing.T) {
		test(t, newWorldOn(t, change, func(l net.Listener) net.Listener { return opaque{l} }))
	})
}

func newWorldOn(t testing.TB, change func(*Options), wrap func(net.Listener) net.Listener) *world {
	t.Helper()
	w := &world{fake: newFake(), t: t, metrics: prometheus.NewRegistry()}
	o := Options{Queues: w.fake, Metrics: w.metrics}
	if change != nil {
		change(&o)
	}
	var err error
	w.server, err = New(o)
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w.address = l.Addr().String()
	l = wrap(l)
	served := make(chan error, 1)
	go func() { served <- w.server.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		require.NoError(t, w.server.Stop(ctx))
		require.NoError(t, <-served)
		require.Zero(t, w.server.Connections(), "connections after the stop")
		require.Zero(t, w.server.LongPolls(), "long polls after the stop")
		require.Zero(t, w.server.bodies.Load(), "memory for bodies after the stop")
	})
	return w
}

// reply is an answer as it was received.
type reply struct {
	status int
	header http.Header
	body   string
}

// do sends a request on a connection of its own.
func (w *world) do(method, path, body string, headers ...string) reply {
	w.t.Helper()
	var b strings.Builder
	b.WriteString(method + " " + path + " HTTP/1.1\r\nHost: test\r\n")
	if body != "" {
		b.WriteString("Content-Length: " + itoa(len(body)) + "\r\n")
	}
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	c := w.dial()
	defer c.Close()
	_, err := io.WriteString(c, b.String()+"\r\n"+body)
	require.NoError(w.t, err)
	return w.answer(bufio.NewReader(c), method)
}

func (w *world) dial() net.Conn {
	w.t.Helper()
	c, err := net.Dial("tcp", w.address)
	require.NoError(w.t, err)
	require.NoError(w.t, c.SetDeadline(time.Now().Add(20*time.Second)))
	return c
}

func (w *world) answer(r *bufio.Reader, method string) reply {
	w.t.Helper()
	res, err := http.ReadResponse(r, &http.Request{Method: method})
	require.NoError(w.t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(w.t, err)
	return reply{status: res.StatusCode, header: res.Header, body: string(body)}
}

func itoa(n int) string { b, _ := json.Marshal(n); return string(b) }

// code is the number of an error answer, whose parts have to agree.
func (r reply) code(t testing.TB) int {
	t.Helper()
	var e struct {
		Code      int    `json:"code"`
		Message   string `json:"message"`
		ErrorCode string `json:"error_code"`
		ErrorMsg  string `json:"error_msg"`
		RequestID string `json:"request_id"`
	}
	require.NoError(t, json.Unmarshal([]byte(r.body), &e), r.body)
	require.NotEmpty(t, e.Message)
	require.Equal(t, e.Message, e.ErrorMsg)
	digits := itoa(e.Code)
	require.Equal(t, "DMS."+strings.Repeat("0", 8-len(digits))+digits, e.ErrorCode)
	require.Equal(t, r.header.Get("X-Request-Id"), e.RequestID)
	require.Equal(t, "application/json", r.header.Get("Content-Type"))
	return e.Code
}
