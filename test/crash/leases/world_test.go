package leases

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	engine "github.com/tidemark-mq/tidemark/broker/share"
	"github.com/tidemark-mq/tidemark/coordinator/share"
	"github.com/tidemark-mq/tidemark/dmsext/queue"
	"github.com/tidemark-mq/tidemark/protocol/private"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/test/simulation"
)

const project = "0123456789abcdef0123456789abcdef"

var verbose = flag.Bool("log", false, "print the brokers' logs")

// shareConfig has snapshots written often, and what they replace dropped soon.
var shareConfig = share.Config{SnapshotUpdates: 3, WriteTimeout: 15 * time.Second, PruneInterval: 200 * time.Millisecond, ColdSnapshotInterval: time.Millisecond}

// world is a simulated broker, over all its lives, with the queue service on the current one.
type world struct {
	*simulation.World
	*simulation.Life // the current one
	t                *testing.T
	queues           *queue.Service

	slow atomic.Bool // see slowIntents
}

func newWorld(t *testing.T) *world {
	w := &world{t: t}
	w.World = simulation.New(t, simulation.Options{Seed: 1, Verbose: *verbose, Share: shareConfig,
		State: func(s engine.State) engine.State { return slowIntents{s, &w.slow} }})
	require.NoError(t, w.start())
	return w
}

// start begins a life; an error is one of World.Start.
func (w *world) start() error {
	w.t.Helper()
	if err := w.World.Start(); err != nil {
		return err
	}
	w.Life = w.Current()
	w.queues = queue.New(queue.Options{Broker: w.Life, Now: w.Now, Log: w.Log})
	return nil
}

func (w *world) ctx() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), simulation.Patience)
}

// ask sends a request through the front door.
func ask[R kmsg.Response](w *world, req kmsg.Request) (R, error) {
	ctx, cancel := w.ctx()
	defer cancel()
	return simulation.Ask[R](ctx, w.Life, private.Principal, req)
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
	return &shared{id: q.ID, group: g[0].ID, name: q.Topic, topic: w.Cluster.Image().Topic(q.Topic).ID}
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
func (w *world) count(q *shared) private.GroupCount {
	w.t.Helper()
	return w.Count(q.topic, q.group).Groups[0]
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
