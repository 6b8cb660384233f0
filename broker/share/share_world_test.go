package share

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/coordinator/share"
	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/storage/logdir"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// doorWorld is a Door to an engine over partitions in memory.
type doorWorld struct {
	t        testing.TB
	cluster  *cluster.Cluster
	replicas *replica.Manager
	state    *doorState
	engine   *Engine
	door     *Door
}

// doorState keeps nothing: every group begins at offset 0. Writes may be held back.
type doorState struct {
	mu     sync.Mutex
	holds  bool
	held   []func(error)
	writes int
	fails  error // of reads
}

func (s *doorState) Read(k share.Key, _ int32, done func(share.Stored, error)) {
	s.mu.Lock()
	err := s.fails
	s.mu.Unlock()
	if k.Group == "" {
		err = kerr.InvalidRequest
	}
	done(share.Stored{Start: 0}, err)
}

func (s *doorState) Write(_ *share.Write, done func(error)) {
	s.mu.Lock()
	s.writes++
	if s.holds {
		s.held = append(s.held, done)
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	done(nil)
}

func (s *doorState) Initialize(_ share.Key, _ int32, _ int64, done func(error)) { done(nil) }
func (s *doorState) Summary(_ share.Key, done func(share.Stored, error)) {
	done(share.Stored{}, errors.New("not asked for"))
}

// hold keeps writes from being durable until letGo.
func (s *doorState) hold() { s.mu.Lock(); defer s.mu.Unlock(); s.holds = true }

func (s *doorState) letGo() {
	s.mu.Lock()
	held := s.held
	s.holds, s.held = false, nil
	s.mu.Unlock()
	for _, done := range held {
		done(nil)
	}
}

// doorFS counts the log files that are open.
type doorFS struct {
	vfs.FS
	open atomic.Int64
}

type doorFile struct {
	vfs.File
	open *atomic.Int64
}

func (f *doorFile) Close() error { f.open.Add(-1); return f.File.Close() }

func (c *doorFS) counted(f vfs.File, err error, name string) (vfs.File, error) {
	if err != nil || !strings.HasSuffix(name, ".log") {
		return f, err
	}
	c.open.Add(1)
	return &doorFile{f, &c.open}, nil
}

func (c *doorFS) Create(name string, category vfs.Category) (vfs.File, error) {
	f, err := c.FS.Create(name, category)
	return c.counted(f, err, name)
}

func (c *doorFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := c.FS.Open(name, opts...)
	return c.counted(f, err, name)
}

func (c *doorFS) OpenReadWrite(name string, category vfs.Category, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := c.FS.OpenReadWrite(name, category, opts...)
	return c.counted(f, err, name)
}

func newDoorWorld(t testing.TB) *doorWorld {
	t.Helper()
	files := &doorFS{FS: vfs.NewCrash(1)}
	w := &doorWorld{t: t, state: &doorState{}}
	dir, err := logdir.Open(logdir.Options{FS: files, Dir: "data", BrokerID: 1, NoCleaner: true, Reserve: -1})
	require.NoError(t, err)
	w.cluster, err = cluster.Start(t.Context(), cluster.Options{BrokerID: 1, Store: cluster.NewMemory(), Clean: true,
		Listeners: []cluster.Endpoint{{Name: "PLAINTEXT", Protocol: "PLAINTEXT", Host: "here", Port: 9092}}, Log: zap.NewNop()})
	require.NoError(t, err)
	w.replicas = replica.New(replica.Options{Dir: dir, BrokerID: 1})
	w.cluster.OnChange(w.replicas.Apply)
	w.engine, err = New(Options{BrokerID: 1, Replicas: w.replicas, State: w.state, Image: w.cluster.Image, Log: zap.NewNop()})
	require.NoError(t, err)
	w.cluster.OnChange(w.engine.Apply)
	w.door = NewDoor(DoorOptions{Engine: w.engine, MaxSessions: 10, MaxBytes: 50 << 20,
		Endpoint: func(*cluster.Image, int32, string) (string, int32, *string, bool) { return "here", 9092, nil, true }})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		require.NoError(t, w.door.Close(ctx), "sessions are left")
		require.NoError(t, w.engine.Close(ctx), "the engine has work left")
		w.replicas.Close()
		require.NoError(t, w.cluster.Close(ctx))
		require.NoError(t, dir.Close())
		require.Zero(t, files.open.Load(), "slices were not released")
	})
	return w
}

func (w *doorWorld) topic(name string, partitions int32) *cluster.Topic {
	w.t.Helper()
	t, err := w.cluster.CreateTopic(context.Background(), cluster.TopicSpec{Name: name, Partitions: partitions, ReplicationFactor: 1, Configs: map[string]string{}})
	require.NoError(w.t, err)
	return t
}

// set changes settings of a group.
func (w *doorWorld) set(group string, nameValue ...string) {
	w.t.Helper()
	require.NoError(w.t, w.cluster.AlterConfigs(context.Background(), "group", group, func(have map[string]string) (map[string]string, error) {
		now := maps.Clone(have)
		if now == nil {
			now = map[string]string{}
		}
		for i := 0; i < len(nameValue); i += 2 {
			now[nameValue[i]] = nameValue[i+1]
		}
		return now, nil
	}))
}

// produce appends batches of so many records each, one after the other.
func (w *doorWorld) produce(t *cluster.Topic, n int32, batches ...int) {
	w.t.Helper()
	p, err := w.replicas.Partition(t.ID, n)
	require.NoError(w.t, err)
	for _, records := range batches {
		var b record.Builder
		b.Reset(record.Spec{})
		for range records {
			b.Append(time.Now().UnixMilli(), nil, make([]byte, 100))
		}
		built, err := b.Build()
		require.NoError(w.t, err)
		done, err := p.Append(replica.Append{Batches: slices.Clone(built), Acks: -1, Epoch: -1})
		require.NoError(w.t, err)
		durable := make(chan error, 1)
		p.WhenDurable(done.FlushEnd, done.Epoch, -1, func(err error) { durable <- err })
		require.NoError(w.t, <-durable)
	}
}

// sharer is a member of a group with a connection of its own.
type sharer struct {
	w             *doorWorld
	group, member string
	ctx           context.Context
	hangUp        context.CancelFunc
	epoch         int32 // of its next request
}

func (w *doorWorld) sharer(group, member string) *sharer {
	c := &sharer{w: w, group: group, member: member}
	c.connect()
	return c
}

// connect gives the sharer a new connection.
func (c *sharer) connect() {
	c.ctx, c.hangUp = context.WithCancel(context.Background())
	c.w.t.Cleanup(c.hangUp)
	c.epoch = 0
}

// asking is a fetch that does not wait, of the next epoch, with partitions added; change it before it is sent.
func (c *sharer) asking(topics ...kmsg.ShareFetchRequestTopic) *kmsg.ShareFetchRequest {
	r := kmsg.NewPtrShareFetchRequest()
	r.Version, r.GroupID, r.MemberID, r.ShareSessionEpoch = 2, &c.group, &c.member, c.epoch
	r.MinBytes, r.MaxBytes, r.MaxRecords, r.BatchSize, r.Topics = 1, 50<<20, 500, 500, topics
	return r
}

// named names a partition to fetch, with what is acknowledged of it.
func named(t *cluster.Topic, n int32, batches ...fetchBatch) kmsg.ShareFetchRequestTopic {
	return namedID(t.ID, n, batches...)
}

func namedID(id uuid.ID, n int32, batches ...fetchBatch) kmsg.ShareFetchRequestTopic {
	return kmsg.ShareFetchRequestTopic{TopicID: id, Partitions: []kmsg.ShareFetchRequestTopicPartition{{Partition: n, AcknowledgementBatches: batches}}}
}

func patient(r *kmsg.ShareFetchRequest) *kmsg.ShareFetchRequest {
	r.MaxWaitMillis = 60_000
	return r
}

// inquiry is a request on its way.
type inquiry struct {
	t    testing.TB
	req  kmsg.Request
	done chan call.Response
}

func (p *inquiry) Answer(r call.Response) { p.done <- r }
func (p *inquiry) Repeated(*call.Call)    { panic("answered twice") }
func (p *inquiry) parked() bool           { return len(p.done) == 0 }

// send sends a request over the sharer's connection.
func (c *sharer) send(req kmsg.Request) *inquiry {
	p := &inquiry{t: c.w.t, req: req, done: make(chan call.Response, 1)}
	k := &call.Call{Context: c.ctx, Request: req, Peer: &call.Peer{}, Session: &call.Session{}, Received: time.Now()}
	k.SetSink(p)
	switch r := req.(type) {
	case *kmsg.ShareFetchRequest:
		c.epoch = max(r.ShareSessionEpoch+1, 0)
		c.w.door.ShareFetch(k)
	case *kmsg.ShareAcknowledgeRequest:
		c.epoch = max(r.ShareSessionEpoch+1, 0)
		c.w.door.ShareAcknowledge(k)
	}
	return p
}

func (p *inquiry) answer() string {
	p.t.Helper()
	r := <-p.done
	defer r.Free()
	resp := r.Message
	if resp == nil {
		body, err := r.Payload.AppendTo(nil)
		require.NoError(p.t, err)
		require.EqualValues(p.t, len(body), r.Payload.Size())
		resp = p.req.ResponseKind()
		require.NoError(p.t, resp.ReadFrom(body))
	}
	switch resp := resp.(type) {
	case *kmsg.ShareFetchResponse:
		return shownFetch(p.t, resp)
	case *kmsg.ShareAcknowledgeResponse:
		return shownAcknowledge(resp)
	}
	return "no answer"
}

// fetch sends a fetch and shows its answer.
func (c *sharer) fetch(r *kmsg.ShareFetchRequest) string {
	c.w.t.Helper()
	return c.send(r).answer()
}

// opens opens a session and acquires nothing.
func (c *sharer) opens(topics ...kmsg.ShareFetchRequestTopic) *sharer {
	c.w.t.Helper()
	r := c.asking(topics...)
	r.MaxBytes = 0
	require.NotContains(c.w.t, c.fetch(r), "error")
	return c
}

// acknowledging is an acknowledgement of the next epoch.
func (c *sharer) acknowledging(topics ...kmsg.ShareFetchRequestTopic) *kmsg.ShareAcknowledgeRequest {
	r := kmsg.NewPtrShareAcknowledgeRequest()
	r.Version, r.GroupID, r.MemberID, r.ShareSessionEpoch = 2, &c.group, &c.member, c.epoch
	for _, t := range topics {
		rt := kmsg.ShareAcknowledgeRequestTopic{TopicID: t.TopicID}
		for _, p := range t.Partitions {
			rp := kmsg.ShareAcknowledgeRequestTopicPartition{Partition: p.Partition}
			for _, b := range p.AcknowledgementBatches {
				rp.AcknowledgementBatches = append(rp.AcknowledgementBatches, kmsg.ShareAcknowledgeRequestTopicPartitionAcknowledgementBatch(b))
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		r.Topics = append(r.Topics, rt)
	}
	return r
}

func (c *sharer) acknowledge(topics ...kmsg.ShareFetchRequestTopic) string {
	c.w.t.Helper()
	return c.send(c.acknowledging(topics...)).answer()
}

func (c *sharer) close(topics ...kmsg.ShareFetchRequestTopic) string {
	c.w.t.Helper()
	r := c.asking(topics...)
	r.ShareSessionEpoch = closingEpoch
	return c.fetch(r)
}

func errorName(code int16) string {
	if e := kerr.TypedErrorForCode(code); e != nil {
		return e.Message
	}
	return ""
}

// shownFetch is an answer in short: its error, or for each partition its number, what was acquired (with the delivery where it is
// not the first), the first and last offsets of the batches that came, and errors of the fetch and the acknowledgement.
func shownFetch(t testing.TB, r *kmsg.ShareFetchResponse) string {
	if r.ErrorCode != 0 {
		require.Zero(t, r.AcquisitionLockTimeoutMillis)
		return "error " + errorName(r.ErrorCode)
	}
	require.NotZero(t, r.AcquisitionLockTimeoutMillis)
	var out []string
	for _, topic := range r.Topics {
		for _, p := range topic.Partitions {
			require.NotNil(t, p.Records, "records are empty, not null")
			s := fmt.Sprintf("%d:", p.Partition)
			for _, a := range p.AcquiredRecords {
				s += fmt.Sprintf(" %d-%d", a.FirstOffset, a.LastOffset)
				if a.DeliveryCount != 1 {
					s += fmt.Sprintf("x%d", a.DeliveryCount)
				}
			}
			for rest := p.Records; len(rest) > 0; {
				b := record.Batch(rest)
				s += fmt.Sprintf(" [%d-%d]", b.BaseOffset(), b.LastOffset())
				rest = rest[b.Size():]
			}
			if p.ErrorCode != 0 {
				s += " " + errorName(p.ErrorCode)
			}
			if p.AcknowledgeErrorCode != 0 {
				s += " ack " + errorName(p.AcknowledgeErrorCode)
			}
			out = append(out, s)
		}
	}
	return strings.Join(out, ", ")
}

// shownAcknowledge is an answer in short: its error, or each partition with its error.
func shownAcknowledge(r *kmsg.ShareAcknowledgeResponse) string {
	if r.ErrorCode != 0 {
		return "error " + errorName(r.ErrorCode)
	}
	var out []string
	for _, topic := range r.Topics {
		for _, p := range topic.Partitions {
			out = append(out, strings.TrimSpace(fmt.Sprintf("%d: %s", p.Partition, errorName(p.ErrorCode))))
		}
	}
	return strings.Join(out, ", ")
}
