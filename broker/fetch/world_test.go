package fetch

import (
	"context"
	"errors"
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

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/storage/logdir"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a Fetcher over partitions in memory.
type world struct {
	t        testing.TB
	faults   *vfs.Faults
	cluster  *cluster.Cluster
	replicas *replica.Manager
	f        *Fetcher
	patience time.Duration // for answers that are to come at once
}

// countingFS counts the log files that are open.
type countingFS struct {
	vfs.FS
	open atomic.Int64
}

type countedFile struct {
	vfs.File
	open *atomic.Int64
}

func (c *countingFS) counted(f vfs.File, err error, name string) (vfs.File, error) {
	if err != nil || !strings.HasSuffix(name, ".log") {
		return f, err
	}
	c.open.Add(1)
	return &countedFile{f, &c.open}, nil
}

func (f *countedFile) Close() error { f.open.Add(-1); return f.File.Close() }

func (c *countingFS) Create(name string, category vfs.Category) (vfs.File, error) {
	f, err := c.FS.Create(name, category)
	return c.counted(f, err, name)
}

func (c *countingFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := c.FS.Open(name, opts...)
	return c.counted(f, err, name)
}

func (c *countingFS) OpenReadWrite(name string, category vfs.Category, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := c.FS.OpenReadWrite(name, category, opts...)
	return c.counted(f, err, name)
}

func newWorld(t testing.TB) *world {
	t.Helper()
	files := &countingFS{FS: vfs.NewCrash(1)}
	w := &world{t: t, faults: vfs.NewFaults(files), patience: 20 * time.Second}
	dir, err := logdir.Open(logdir.Options{FS: w.faults, Dir: "data", BrokerID: 1, NoCleaner: true, Reserve: -1})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	w.cluster, err = cluster.Start(ctx, cluster.Options{BrokerID: 1, Store: cluster.NewMemory(), Clean: true,
		Listeners: []cluster.Endpoint{{Name: "PLAINTEXT", Protocol: "PLAINTEXT", Host: "here", Port: 9092}}, Log: zap.NewNop()})
	require.NoError(t, err)
	w.replicas = replica.New(replica.Options{Dir: dir, BrokerID: 1})
	w.cluster.OnChange(w.replicas.Apply)
	w.f = w.fetcher(1000)
	t.Cleanup(func() {
		patience, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		require.NoError(t, w.f.Wait(patience), "requests are left parked")
		w.replicas.Close()
		require.NoError(t, w.cluster.Close(context.Background()))
		require.NoError(t, dir.Close())
		require.Zero(t, files.open.Load(), "slices were not released")
	})
	return w
}

func (w *world) fetcher(slots int) *Fetcher {
	f := New(Options{Replicas: w.replicas, Image: w.cluster.Image, Sessions: NewSessions(slots), MaxBytes: 50 << 20})
	f.Answer(codeOf, func(*cluster.Image, int32, string) (string, int32, *string, bool) { return "here", 9092, nil, true })
	return f
}

// codeOf is as much of the handlers' mapping as is needed here.
func codeOf(err error, _ string) int16 {
	for is, code := range map[error]*kerr.Error{replica.ErrNotLeader: kerr.NotLeaderForPartition, replica.ErrUnknown: kerr.UnknownTopicOrPartition,
		replica.ErrOffsetOutOfRange: kerr.OffsetOutOfRange, replica.ErrOffline: kerr.KafkaStorageError, replica.ErrUnknownEpoch: kerr.UnknownLeaderEpoch} {
		if errors.Is(err, is) {
			return code.Code
		}
	}
	return kerr.UnknownServerError.Code
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

func (w *world) delete(t *cluster.Topic) {
	w.t.Helper()
	require.NoError(w.t, w.cluster.DeleteTopic(context.Background(), t.ID))
}

// batch is a batch of n records with values of size bytes.
func batch(n, size int) []byte {
	var b record.Builder
	b.Reset(record.Spec{})
	for range n {
		b.Append(time.Now().UnixMilli(), nil, make([]byte, size))
	}
	built, err := b.Build()
	if err != nil {
		panic(err)
	}
	return slices.Clone(built)
}

// produce appends a batch of one record of size bytes, and waits until it is committed.
func (w *world) produce(t *cluster.Topic, n int32, size int) {
	w.t.Helper()
	p, err := w.replicas.Partition(t.ID, n)
	require.NoError(w.t, err)
	done, err := p.Append(replica.Append{Batches: batch(1, size), Acks: -1, Epoch: -1})
	require.NoError(w.t, err)
	ch := make(chan error, 1)
	p.WhenDurable(done.FlushEnd, done.Epoch, -1, func(err error) { ch <- err })
	require.NoError(w.t, <-ch)
}

// asked is a request for partitions of a topic from offset 0 on, without a session; change it before it is sent.
func asked(t *cluster.Topic, partitions ...int32) *kmsg.FetchRequest {
	r := kmsg.NewPtrFetchRequest()
	r.Version, r.ReplicaID, r.MaxWaitMillis, r.MinBytes, r.MaxBytes, r.SessionEpoch = 16, -1, 0, 1, 50<<20, -1
	if t != nil {
		r.Topics = []kmsg.FetchRequestTopic{ofTopic(t, partitions...)}
	}
	return r
}

func ofTopic(t *cluster.Topic, partitions ...int32) kmsg.FetchRequestTopic {
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic, rt.TopicID = t.Name, t.ID
	for _, n := range partitions {
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.CurrentLeaderEpoch, p.LastFetchedEpoch, p.PartitionMaxBytes = n, -1, -1, 1<<20
		rt.Partitions = append(rt.Partitions, p)
	}
	return rt
}

// pending is a request on its way.
type pending struct {
	w      *world
	req    *kmsg.FetchRequest
	cancel context.CancelFunc
	done   chan call.Response
}

func (p *pending) Answer(r call.Response)           { p.done <- r }
func (p *pending) Repeated(*call.Call)              { panic("answered twice") }
func (w *world) send(r *kmsg.FetchRequest) *pending { return w.sendTo(w.f, r) }

func (w *world) sendTo(f *Fetcher, r *kmsg.FetchRequest) *pending {
	p := &pending{w: w, req: r, done: make(chan call.Response, 1)}
	c := &call.Call{Request: r, Peer: &call.Peer{}, Session: &call.Session{}, Received: time.Now()}
	c.Context, p.cancel = context.WithCancel(context.Background())
	c.SetSink(p)
	f.Serve(c)
	return p
}

func (p *pending) waits() bool { return len(p.done) == 0 }

// answer is what came, within reason.
func (p *pending) answer() *kmsg.FetchResponse {
	p.w.t.Helper()
	select {
	case r := <-p.done:
		p.cancel()
		return p.decode(r)
	case <-time.After(p.w.patience):
		require.Fail(p.w.t, "no answer")
		return nil
	}
}

func (p *pending) decode(r call.Response) *kmsg.FetchResponse {
	p.w.t.Helper()
	defer r.Free()
	if r.Message != nil {
		return r.Message.(*kmsg.FetchResponse)
	}
	body, err := r.Payload.AppendTo(nil)
	require.NoError(p.w.t, err)
	require.EqualValues(p.w.t, len(body), r.Payload.Size())
	out := p.req.ResponseKind().(*kmsg.FetchResponse)
	require.NoError(p.w.t, out.ReadFrom(body))
	return out
}

func (w *world) ask(r *kmsg.FetchRequest) *kmsg.FetchResponse {
	w.t.Helper()
	return w.send(r).answer()
}

// shown is a response in short: error and session's presence, then for each partition its number, bytes of records and error.
func shown(r *kmsg.FetchResponse) string {
	out := ""
	if r.ErrorCode != 0 {
		out = kerr.TypedErrorForCode(r.ErrorCode).Message
	}
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			out += fmt.Sprintf(" %d:%d", p.Partition, len(p.RecordBatches))
			if p.ErrorCode != 0 {
				out += ":" + kerr.TypedErrorForCode(p.ErrorCode).Message
			}
		}
	}
	return strings.TrimSpace(out)
}
