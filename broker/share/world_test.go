package share

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/coordinator/runtime"
	"github.com/tidemark-mq/tidemark/coordinator/share"
	"github.com/tidemark-mq/tidemark/protocol/private"
	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/storage/logdir"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// queueGroup is a group of the shape that queues have.
const queueGroup = "g-00000000-0000-4000-8000-000000000001"

// world is a broker as far as the engine sees it, over files that can lose power.
type world struct {
	t     testing.TB
	store cluster.Store
	fs    *vfs.Crash
	ids   atomic.Int64
	wrap  func(State) State // what the engine sees of the state
	now   func() time.Time  // the engine's clock; nil: its own

	patience time.Duration // for answers

	dir      *logdir.Dir
	cluster  *cluster.Cluster
	replicas *replica.Manager
	states   *share.Service
	e        *Engine
	log      *zap.Logger
}

func newWorld(t testing.TB) *world {
	t.Helper()
	return newWorldBy(t, nil)
}

// newWorldBy is newWorld with a clock of the engine's own.
func newWorldBy(t testing.TB, now func() time.Time) *world {
	t.Helper()
	w := &world{t: t, store: cluster.NewMemory(), fs: vfs.NewCrash(1), log: zap.NewNop(), now: now, patience: 20 * time.Second}
	if testing.Verbose() {
		w.log = zaptest.NewLogger(t)
	}
	w.ids.Store(1000)
	w.start()
	w.topic("__share_group_state", 1)
	w.loaded()
	t.Cleanup(w.stop)
	return w
}

// start is a life of the broker.
func (w *world) start() {
	w.t.Helper()
	var err error
	w.dir, err = logdir.Open(logdir.Options{FS: w.fs, Dir: "data", BrokerID: 1, NoCleaner: true, Reserve: -1, Log: w.log})
	require.NoError(w.t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	w.cluster, err = cluster.Start(ctx, cluster.Options{BrokerID: 1, Store: w.store, Clean: true, Log: w.log, Features: map[string]int16{"share.version": 2},
		Listeners: []cluster.Endpoint{{Name: "PLAINTEXT", Protocol: "PLAINTEXT", Host: "here", Port: 9092}}})
	require.NoError(w.t, err)
	w.states, err = share.New(share.Options{KV: w.dir.KV(), Log: w.log, Config: share.Config{WriteTimeout: time.Second}, Partitions: func() int32 {
		if t := w.cluster.Image().Topic("__share_group_state"); t != nil {
			return int32(len(t.Partitions))
		}
		return 0
	}})
	require.NoError(w.t, err)
	w.replicas = replica.New(replica.Options{Dir: w.dir, BrokerID: 1, Log: w.log, OnLeadership: func(p *replica.Partition, leading bool, epoch int32) {
		switch {
		case p.Topic != "__share_group_state":
		case leading:
			w.states.Load(p.ID, p.Number, epoch, p.CoordinatorLog(epoch))
		default:
			w.states.Unload(p.Number, epoch)
		}
	}})
	var state State = w.states
	if w.wrap != nil {
		state = w.wrap(state)
	}
	w.e, err = New(Options{BrokerID: 1, Replicas: w.replicas, State: state, Image: w.cluster.Image, Log: w.log,
		CreateTopic: w.cluster.CreateTopic, Now: w.now,
		ProducerIDs: func(context.Context) (int64, error) { return w.ids.Add(1), nil }})
	require.NoError(w.t, err)
	w.cluster.OnChange(w.replicas.Apply)
	w.cluster.OnChange(w.e.Apply)
}

// stop ends a life in good order.
func (w *world) stop() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	require.NoError(w.t, w.e.Close(ctx), "work is left")
	w.states.Close()
	w.replicas.Close()
	require.NoError(w.t, w.cluster.Close(context.Background()))
	_ = w.dir.Close()
}

// crash is a loss of power: what was not synced is gone or not. Then there is another life.
func (w *world) crash(seed uint64) {
	w.t.Helper()
	w.fs.Cut()
	after := w.fs.PowerCut(seed)
	w.replicas.Fail(vfs.ErrCut)
	w.states.Close()
	w.stop()
	w.fs = after
	w.start()
	w.loaded()
}

// loaded waits until the share coordinator serves.
func (w *world) loaded() {
	w.t.Helper()
	require.Eventually(w.t, func() bool { return w.states.Shards()[0] == runtime.Active }, 10*time.Second, time.Millisecond)
}

func (w *world) topic(name string, partitions int32, nameValue ...string) *cluster.Topic {
	w.t.Helper()
	spec := cluster.TopicSpec{Name: name, Partitions: partitions, ReplicationFactor: 1, Configs: map[string]string{}}
	for i := 0; i < len(nameValue); i += 2 {
		spec.Configs[nameValue[i]] = nameValue[i+1]
	}
	t, err := w.cluster.CreateTopic(context.Background(), spec)
	require.NoError(w.t, err)
	return t
}

// set changes settings of a group.
func (w *world) set(group string, nameValue ...string) {
	w.t.Helper()
	require.NoError(w.t, w.cluster.AlterConfigs(context.Background(), "group", group, func(now map[string]string) (map[string]string, error) {
		next := map[string]string{}
		for k, v := range now {
			next[k] = v
		}
		for i := 0; i < len(nameValue); i += 2 {
			next[nameValue[i]] = nameValue[i+1]
		}
		return next, nil
	}))
}

// queue makes a topic and a group with a queue's settings.
func (w *world) queue(partitions int32, group string, nameValue ...string) *cluster.Topic {
	w.t.Helper()
	w.set(group, append([]string{"share.acquisition.durable", "true", "share.failure.count.limit", "0",
		"share.window.max.records", "100000", "share.auto.offset.reset", "earliest"}, nameValue...)...)
	return w.topic("q", partitions)
}

// message is what is produced in tests.
type message struct {
	value  string
	labels []string
}

// put appends messages as one batch, and waits until they are committed.
func (w *world) put(t *cluster.Topic, partition int32, messages ...message) {
	w.t.Helper()
	var b record.Builder
	b.Reset(record.Spec{})
	for _, m := range messages {
		headers := []record.Header{{Name: "h", Value: []byte("v")}}
		for _, l := range m.labels {
			headers = append(headers, record.Header{Name: private.LabelHeader, Value: []byte(l)})
		}
		b.Append(time.Now().UnixMilli(), []byte("k"), []byte(m.value), headers...)
	}
	built, err := b.Build()
	require.NoError(w.t, err)
	w.append(t, partition, slices.Clone(built))
}

func (w *world) append(t *cluster.Topic, partition int32, batch []byte) {
	w.t.Helper()
	p, err := w.replicas.Partition(t.ID, partition)
	require.NoError(w.t, err)
	done, err := p.Append(replica.Append{Batches: batch, Acks: -1, Epoch: -1})
	require.NoError(w.t, err)
	ch := make(chan error, 1)
	p.WhenDurable(done.FlushEnd, done.Epoch, -1, func(err error) { ch <- err })
	require.NoError(w.t, <-ch)
}

// send puts messages one by one, each in a batch of its own.
func (w *world) send(t *cluster.Topic, values ...string) {
	w.t.Helper()
	for _, v := range values {
		w.put(t, 0, message{value: v})
	}
}

// values is n messages.
func values(n int) (out []message) {
	for i := range n {
		out = append(out, message{value: fmt.Sprint(i)})
	}
	return out
}

// request is a call on its way.
type request struct {
	w      *world
	cancel context.CancelFunc
	done   chan kmsg.Response
}

func (r *request) Answer(resp call.Response) { r.done <- resp.Message }
func (r *request) Repeated(*call.Call)       { panic("answered twice") }
func (r *request) waits() bool               { return len(r.done) == 0 }

// send hands a request to its handler.
func (w *world) do(handle func(*call.Call), req kmsg.Request) *request {
	r := &request{w: w, done: make(chan kmsg.Response, 1)}
	c := &call.Call{Request: req, Peer: &call.Peer{}, Session: &call.Session{}, Received: time.Now()}
	c.Context, r.cancel = context.WithCancel(context.Background())
	c.SetSink(r)
	handle(c)
	return r
}

func (r *request) answer() kmsg.Response {
	r.w.t.Helper()
	select {
	case resp := <-r.done:
		r.cancel()
		return resp
	case <-time.After(r.w.patience):
		require.Fail(r.w.t, "no answer")
		return nil
	}
}

// asked is a lease of up to ten records; change it before it is sent.
func asked(t *cluster.Topic, group, holder string) *private.LeaseRequest {
	return &private.LeaseRequest{Group: group, TopicID: t.ID, Partition: -1, Holder: holder, MaxRecords: 10, MaxBytes: 1 << 20, LeaseMillis: 30_000}
}

func (w *world) lease(req *private.LeaseRequest) *private.LeaseResponse {
	w.t.Helper()
	return w.do(w.e.Lease, req).answer().(*private.LeaseResponse)
}

// take leases up to n records and answers their values.
func (w *world) take(t *cluster.Topic, group, holder string, n int32) string {
	w.t.Helper()
	req := asked(t, group, holder)
	req.MaxRecords = n
	resp := w.lease(req)
	require.Zero(w.t, resp.ErrorCode, "%v", resp.ErrorMessage)
	return brief(resp)
}

// brief is a lease in short: its error, or its records' values, with failures after a slash.
func brief(resp *private.LeaseResponse) string {
	if resp.ErrorCode != 0 {
		return kerr.ErrorForCode(resp.ErrorCode).(*kerr.Error).Message
	}
	var out []string
	for _, r := range resp.Records {
		v := string(r.Value)
		if r.Failures > 0 {
			v += fmt.Sprintf("/%d", r.Failures)
		}
		out = append(out, v)
	}
	return strings.Join(out, " ")
}

// settle says one thing of a holder's records; the answer is in short: accepted, others, or an error.
func (w *world) settle(t *cluster.Topic, group, holder string, action private.Action, offsets ...int64) string {
	w.t.Helper()
	l := private.SettledLease{Holder: holder}
	for _, o := range offsets {
		l.Records = append(l.Records, private.SettledRecord{Offset: o, Action: action})
	}
	return w.settleAll(&private.SettleRequest{Group: group, TopicID: t.ID, Leases: []private.SettledLease{l}})
}

func (w *world) settleAll(req *private.SettleRequest) string {
	w.t.Helper()
	resp := w.do(w.e.Settle, req).answer().(*private.SettleResponse)
	if resp.ErrorCode != 0 {
		return kerr.ErrorForCode(resp.ErrorCode).(*kerr.Error).Message
	}
	return fmt.Sprintf("%d+%d", resp.Accepted, resp.Others)
}

// count is a group's numbers.
func (w *world) count(t *cluster.Topic, groups ...string) *private.CountQueueResponse {
	w.t.Helper()
	resp := w.do(w.e.CountQueue, &private.CountQueueRequest{TopicID: t.ID, Groups: groups}).answer().(*private.CountQueueResponse)
	require.Zero(w.t, resp.ErrorCode, "%v", resp.ErrorMessage)
	return resp
}

// listed is what is held, waits or is on its way, in short.
func (w *world) listed(t *cluster.Topic, group string) (out []string) {
	w.t.Helper()
	resp := w.do(w.e.ListLeases, &private.ListLeasesRequest{Group: group, TopicID: t.ID, Partition: -1}).answer().(*private.ListLeasesResponse)
	require.Zero(w.t, resp.ErrorCode, "%v", resp.ErrorMessage)
	for _, h := range resp.Leases {
		out = append(out, fmt.Sprintf("%d:%d-%d %d %s", h.Partition, h.First, h.Last, h.State, h.Holder))
	}
	return out
}
