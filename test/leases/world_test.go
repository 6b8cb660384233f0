package leases

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/broker/delay"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/coordinator/share"
	"github.com/tidemark-mq/tidemark/protocol/private"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/storage/vfs"
	"github.com/tidemark-mq/tidemark/test/simulation"
)

// world is a queue and its groups over the lives of a simulated broker.
type world struct {
	*simulation.World
	t      testing.TB
	rnd    *rand.Rand // of the driver
	rec    Recorder
	topic  *cluster.Topic
	groups []*consumed

	active  atomic.Int32 // actors in a step
	paused  atomic.Bool
	stopped atomic.Bool
	actors  sync.WaitGroup
	values  atomic.Int64
	members []*member
}

// consumed is a group and what its consumers go by.
type consumed struct {
	Group
	lock     time.Duration // of Kafka's leases
	httpOnly bool
	settings map[string]string
}

// slowest is how long a sync takes at most.
const slowest = 4 * time.Millisecond

func newWorld(t testing.TB, seed uint64) *world {
	w := &world{t: t, rnd: rand.New(rand.NewPCG(seed, 1))}
	w.World = simulation.New(t, simulation.Options{Seed: seed, Verbose: *verbose, JournalSync: slowest,
		Share: share.Config{SnapshotUpdates: 20, WriteTimeout: 15 * time.Second, PruneInterval: 2 * time.Second, ColdSnapshotInterval: 3 * time.Second}})
	require.NoError(t, w.Start())
	return w
}

// end is the world's end, also where a test has failed and actors are at work.
func (w *world) end() {
	w.t.Helper()
	defer w.actors.Wait() // time stands still when the test is over
	w.stopped.Store(true)
	w.End()
}

// restart ends the life in good order and begins another.
func (w *world) restart() {
	w.t.Helper()
	w.Detach()
	for _, m := range w.members {
		m.orphaned() // its connection ends, and what it holds is given back
	}
	w.Stop()
	w.rec.Death(time.Now())
	require.NoError(w.t, w.Start())
}

// crash ends the life now, as a kill or as a loss of power, and begins another; the power may go again soon after, while coordinators
// load and windows are read.
func (w *world) crash() {
	w.t.Helper()
	for again := true; again; {
		w.Crash(func(d *vfs.Crash) *vfs.Crash { return simulation.Remains(d, w.rnd.Uint64()) })
		w.rec.Death(time.Now())
		require.NoError(w.t, w.Start())
		again = w.rnd.IntN(2) == 0 && w.untilCut(1+w.rnd.Int64N(30), time.Duration(w.rnd.IntN(300))*time.Millisecond)
	}
}

// untilCut has the disk cut at one of its next sync points, and waits for that; false: there were not so many in that time.
func (w *world) untilCut(after int64, limit time.Duration) bool {
	return w.UntilCut(after, vfs.When(w.rnd.IntN(2)), limit)
}

// act runs an actor: step after step with random pauses, until the world stops.
func (w *world) act(seed uint64, step func(rnd *rand.Rand)) {
	rnd := rand.New(rand.NewPCG(seed, 3))
	w.actors.Go(func() {
		for !w.stopped.Load() {
			pause := time.Duration(rnd.Int64N(int64(400 * time.Millisecond)))
			if rnd.IntN(3) == 0 {
				pause = pause.Round(50 * time.Millisecond) // together with others
			}
			time.Sleep(pause + time.Microsecond)
			w.active.Add(1)
			if !w.paused.Load() {
				step(rnd)
			}
			w.active.Add(-1)
		}
	})
}

// quiet waits until no actor does anything, and keeps it so until resumed.
func (w *world) quiet() {
	w.paused.Store(true)
	for w.active.Load() > 0 {
		time.Sleep(time.Millisecond)
	}
}

func (w *world) resume() { w.paused.Store(false) }

// setUp makes the queue, its groups and the coordinators' topics.
func (w *world) setUp(partitions int32, groups []*consumed) {
	w.t.Helper()
	l := w.Current()
	create := func(name string, partitions int32, configs map[string]string) *cluster.Topic {
		t, err := l.Cluster.CreateTopic(context.Background(), cluster.TopicSpec{Name: name, Partitions: partitions, ReplicationFactor: 1, Configs: configs})
		require.NoError(w.t, err)
		return t
	}
	create(delay.Topic, 1, map[string]string{"cleanup.policy": "compact", "max.message.bytes": "16777216"})
	w.topic = create("q", partitions, map[string]string{"message.timestamp.type": "LogAppendTime", "flush.messages": "1"})
	for _, g := range groups {
		if topic := g.settings["errors.deadletterqueue.topic.name"]; topic != "" && !private.IsQueueGroup(g.Name) {
			create(topic, 1, map[string]string{"errors.deadletterqueue.group.enable": "true", "message.timestamp.type": "LogAppendTime"})
		}
		require.NoError(w.t, l.Cluster.AlterConfigs(context.Background(), "group", g.Name, func(map[string]string) (map[string]string, error) { return g.settings, nil }))
		w.Patiently(func() error {
			resp, err := simulation.Ask[*private.RegisterGroupResponse](l.Context(), l, private.Principal, &private.RegisterGroupRequest{Group: g.Name, TopicIDs: []uuid.ID{w.topic.ID}})
			if err != nil {
				return err
			}
			return simulation.Refusal(resp.ErrorCode, resp.ErrorMessage)
		})
		w.groups = append(w.groups, g)
		w.rec.Note(func(h *History) { h.Groups = append(h.Groups, g.Group) })
	}
}

// count is the counters of all groups; nobody may be at work.
func (w *world) count() *private.CountQueueResponse {
	w.t.Helper()
	var names []string
	for _, g := range w.groups {
		names = append(names, g.Name)
	}
	return w.Count(w.topic.ID, names...)
}

// held is what the broker lists of a group, for people.
func (w *world) held(g *consumed) string {
	l := w.Current()
	resp, err := simulation.Ask[*private.ListLeasesResponse](l.Context(), l, private.Principal, &private.ListLeasesRequest{Group: g.Name, TopicID: w.topic.ID, Partition: -1})
	if err != nil {
		return brief(err)
	}
	return fmt.Sprintf("%+v", resp.Leases)
}

func (w *world) noteCounts(resp *private.CountQueueResponse) {
	now := time.Now()
	w.rec.Note(func(h *History) {
		for _, g := range resp.Groups {
			h.Counts = append(h.Counts, Count{Group: g.Group, At: now, Records: resp.Records, Available: g.Available, InFlight: g.InFlight,
				Accepted: g.Accepted, Rejected: g.Rejected, DeadLettered: g.DeadLettered, Filtered: g.Filtered, Skipped: g.Skipped})
		}
	})
}

// readLogs notes what lies in the queue and in the groups' dead letters.
func (w *world) readLogs() {
	w.t.Helper()
	queue := w.Read("q")
	w.rec.Note(func(h *History) {
		for _, s := range queue {
			h.Logged = append(h.Logged, Logged{Place{s.Partition, s.Offset}, s.Value, s.At})
		}
	})
	for _, g := range w.groups {
		name := g.settings["errors.deadletterqueue.topic.name"]
		if name == "" {
			continue
		}
		for _, s := range w.Read(name) {
			require.Equal(w.t, g.Name, s.Header["__dlq.errors.group"])
			w.rec.Note(func(h *History) { h.DeadLetters = append(h.DeadLetters, DeadLetter{g.Name, s.Value, s.At}) })
		}
	}
}

// brief is an error in a line.
func brief(err error) string { return strings.ReplaceAll(fmt.Sprint(err), "\n", " ") }
