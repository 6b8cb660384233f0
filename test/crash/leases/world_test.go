package leases

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/dmsext/queue"
	"github.com/tidemark-mq/tidemark/protocol/private"
	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

const project = "0123456789abcdef0123456789abcdef"

// world is the lives of a broker, one after the other, with its disk, the cluster's metadata, and the queue service on it.
type world struct {
	t        *testing.T
	log      *zap.Logger
	disk     *vfs.Crash
	metadata *cluster.Memory
	cable    *cable
	*life
	queues *queue.Service
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, log: zap.NewNop(), disk: vfs.NewCrash(1), metadata: cluster.NewMemory()}
	if testing.Verbose() && verbose {
		w.log = zaptest.NewLogger(t)
	}
	require.NoError(t, w.start())
	return w
}

// verbose has the broker's log shown under -v.
const verbose = false

func (w *world) start() (err error) {
	w.cable = &cable{Store: w.metadata, die: w.disk.Cut}
	w.life, err = begin(w.disk, w.cable, w.log)
	if err != nil {
		w.close(false)
		return err
	}
	w.queues = queue.New(queue.Options{Broker: w.handlers, Log: w.log})
	return nil
}

// close ends the life.
func (w *world) close(orderly bool) {
	w.t.Helper()
	if w.life == nil {
		return
	}
	err := w.life.stop(orderly)
	require.NoError(w.t, err, "work is left")
	w.life = nil
}

// end is the world's end.
func (w *world) end() { w.close(!w.disk.IsCut()) }

// patience is how long anything may take: virtual time.
const patience = 40 * time.Second

func (w *world) ctx() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), patience)
}

// ask sends a request through the front door.
func ask[R kmsg.Response](w *world, req kmsg.Request) (R, error) {
	ctx, cancel := w.ctx()
	defer cancel()
	resp, err := w.handlers.Do(ctx, private.Principal, req)
	r, _ := resp.(R)
	return r, err
}

// refusal is an error code.
func refusal(code int16, message string) error {
	if code == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", kerr.ErrorForCode(code), message)
}

// passing tells errors that a start of the broker brings.
func passing(err error) bool {
	for _, k := range []*kerr.Error{kerr.CoordinatorLoadInProgress, kerr.CoordinatorNotAvailable, kerr.NotCoordinator, kerr.NotLeaderForPartition} {
		if errors.Is(err, k) {
			return true
		}
	}
	return false
}

// patiently does what must succeed, through a start.
func (w *world) patiently(do func() error) {
	w.t.Helper()
	var err error
	for range 400 {
		if err = do(); err == nil || !passing(err) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	require.NoError(w.t, err)
}

// shared is a queue with a group, as tests use them.
type shared struct {
	id, group string
	topic     uuid.ID
	name      string // the topic's
}

func (s *shared) dlq() string { return s.name + "-dlq-" + s.group }

// queue makes a queue of one partition with a group.
func (w *world) queue(n queue.NewQueue) *shared {
	w.t.Helper()
	ctx, cancel := w.ctx()
	defer cancel()
	if n.Mode == "" || n.Mode == queue.Normal {
		n.Mode, n.Partitions = queue.Normal, 1
	}
	q, err := w.queues.CreateQueue(ctx, project, n)
	require.NoError(w.t, err)
	g, err := w.queues.CreateGroups(ctx, project, q.ID, []string{"billing"})
	require.NoError(w.t, err)
	return &shared{id: q.ID, group: g[0].ID, name: q.Topic, topic: w.cluster.Image().Topic(q.Topic).ID}
}

// send stores messages; an error says that some may be stored and some not.
func (w *world) send(q *shared, messages ...queue.Message) error {
	ctx, cancel := w.ctx()
	defer cancel()
	sent, err := w.queues.Send(ctx, project, q.id, messages)
	for _, s := range sent {
		if s.Err != nil {
			err = s.Err
		}
	}
	return err
}

// fill stores n messages whose bodies are their offsets.
func (w *world) fill(q *shared, n int) {
	w.t.Helper()
	for i := range n {
		require.NoError(w.t, w.send(q, text(i)))
	}
}

func text(body any) queue.Message { return queue.Message{Body: json.RawMessage(fmt.Sprint(body))} }

// count is a group's numbers.
func (w *world) count(q *shared) (n private.GroupCount) {
	w.t.Helper()
	w.patiently(func() error {
		resp, err := ask[*private.CountQueueResponse](w, &private.CountQueueRequest{TopicID: q.topic, Groups: []string{q.group}})
		if err != nil {
			return err
		}
		if err := refusal(resp.ErrorCode, resp.ErrorMessage); err != nil {
			return err
		}
		n = resp.Groups[0]
		return refusal(n.ErrorCode, n.Group)
	})
	return n
}

// entry is a record of a log.
type entry struct {
	offset int64
	value  string
	at     int64 // ms
	header map[string]string
}

// read is all that a topic's first partition holds; nothing where there is no topic.
func (w *world) read(name string) (out []entry) {
	w.t.Helper()
	topic := w.cluster.Image().Topic(name)
	if topic == nil {
		return nil
	}
	p, err := w.replicas.Partition(topic.ID, 0)
	require.NoError(w.t, err)
	for at := p.LogStart(); at < p.HighWatermark(); {
		got, err := p.Read(replica.Read{Offset: at, MaxBytes: 1 << 20, AtLeastOne: true, Epoch: -1, LastEpoch: -1})
		require.NoError(w.t, err)
		buf, err := got.Slice.Bytes(nil)
		require.NoError(w.t, err)
		at = got.Slice.End
		got.Slice.Release()
		for len(buf) > 0 {
			b, rest, err := record.First(buf)
			require.NoError(w.t, err)
			buf = rest
			r, err := b.Records(1 << 20)
			require.NoError(w.t, err)
			for rec, ok, err := r.Next(); ok; rec, ok, err = r.Next() {
				require.NoError(w.t, err)
				e := entry{offset: rec.Offset, value: string(rec.Value), at: rec.Timestamp, header: map[string]string{}}
				for name, value := range rec.Headers() {
					e.header[string(name)] = string(value)
				}
				out = append(out, e)
			}
			r.Close()
		}
	}
	return out
}

// eventually waits for something that happens by itself.
func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	for range 2000 {
		if ok() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	require.Fail(w.t, "it never comes: "+what)
}
