package leases

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/tidemark-mq/tidemark/broker/delay"
	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/protocol/private"
	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// world is a queue and its groups over the lives of a broker, under virtual time.
type world struct {
	t        testing.TB
	rnd      *rand.Rand // of the driver
	log      *zap.Logger
	rec      Recorder
	disk     *vfs.Crash
	metadata *cluster.Memory
	topic    *cluster.Topic
	groups   []*consumed

	mu      sync.Mutex
	life    *life         // guarded by mu; nil between two lives
	changed chan struct{} // guarded by mu; closed when there is another life
	syncs   atomic.Uint64
	busy    atomic.Bool
	cut     chan struct{} // hears that the disk was cut

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

func newWorld(t testing.TB, seed uint64) *world {
	w := &world{t: t, rnd: rand.New(rand.NewPCG(seed, 1)), log: zap.NewNop(), disk: vfs.NewCrash(seed), metadata: cluster.NewMemory(), changed: make(chan struct{}), cut: make(chan struct{}, 1)}
	if *verbose {
		w.log = zaptest.NewLogger(t)
	}
	require.NoError(t, w.start())
	return w
}

// start begins a life.
func (w *world) start() error {
	l, err := begin(watched{w.disk, w.cut, &w.syncs, &w.busy}, w.metadata, w.log)
	if err != nil {
		_ = l.stop(false)
		return err
	}
	synctest.Wait() // partitions are open
	w.busy.Store(true)
	w.mu.Lock()
	w.life = l
	close(w.changed)
	w.changed = make(chan struct{})
	w.mu.Unlock()
	return nil
}

// current is the life under way. It waits for one; nil between two lives when the world is stopped.
func (w *world) current() *life {
	for {
		w.mu.Lock()
		l, changed := w.life, w.changed
		w.mu.Unlock()
		if l != nil || w.stopped.Load() {
			return l
		}
		<-changed
	}
}

// take ends the current life for its clients.
func (w *world) takeLife() *life {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.life
	w.life = nil
	w.busy.Store(false)
	return l
}

// restart ends the life in good order and begins another.
func (w *world) restart() {
	w.t.Helper()
	l := w.takeLife()
	for _, m := range w.members {
		m.orphaned() // its connection ends, and what it holds is given back
	}
	require.NoError(w.t, l.stop(true), "an orderly stop")
	w.rec.Death(time.Now())
	require.NoError(w.t, w.start())
}

// crash ends the life now, as a kill or as a loss of power, and begins another; the power may go again soon after, while coordinators
// load and windows are read.
func (w *world) crash() {
	w.t.Helper()
	for again := true; again; {
		l := w.takeLife()
		w.disk.Cut()
		next := w.left()
		_ = l.stop(false)
		w.rec.Death(time.Now())
		w.disk = next
		require.NoError(w.t, w.start())
		again = w.rnd.IntN(2) == 0 && w.untilCut(1+w.rnd.Int64N(30), time.Duration(w.rnd.IntN(300))*time.Millisecond)
	}
}

// untilCut has the disk cut at one of its next sync points, and waits for that; false: there were not so many in that time. No time
// passes after the cut: some of what works on a disk that has failed tries again and again at once.
func (w *world) untilCut(after int64, limit time.Duration) bool {
	select {
	case <-w.cut:
	default:
	}
	w.disk.CutAt(w.disk.Ops()+after, vfs.When(w.rnd.IntN(2)))
	select {
	case <-w.cut:
		return true
	case <-time.After(limit):
		w.disk.CutAt(0, vfs.BeforeSync)
		return w.disk.IsCut()
	}
}

// left is what there is of the disk after a crash.
func (w *world) left() *vfs.Crash {
	switch w.rnd.IntN(4) {
	case 0:
		return w.disk.PowerCutAll()
	case 1:
		return w.disk.Kill()
	case 2:
		return w.disk.PowerCutNone()
	}
	return w.disk.PowerCut(w.rnd.Uint64())
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

// ask sends a request to a life.
func ask[R kmsg.Response](ctx context.Context, l *life, principal string, req kmsg.Request) (R, error) {
	var none R
	resp, err := l.handlers.Do(ctx, principal, req)
	if err != nil {
		return none, err
	}
	r, ok := resp.(R)
	if !ok {
		return none, fmt.Errorf("answered %T", resp)
	}
	return r, nil
}

// setUp makes the queue, its groups and the coordinators' topics.
func (w *world) setUp(partitions int32, groups []*consumed) {
	w.t.Helper()
	l := w.current()
	create := func(name string, partitions int32, configs map[string]string) *cluster.Topic {
		t, err := l.cluster.CreateTopic(context.Background(), cluster.TopicSpec{Name: name, Partitions: partitions, ReplicationFactor: 1, Configs: configs})
		require.NoError(w.t, err)
		return t
	}
	create(delay.Topic, 1, map[string]string{"cleanup.policy": "compact", "max.message.bytes": "16777216"})
	w.topic = create("q", partitions, map[string]string{"message.timestamp.type": "LogAppendTime", "flush.messages": "1"})
	for _, g := range groups {
		if topic := g.settings["errors.deadletterqueue.topic.name"]; topic != "" && !private.IsQueueGroup(g.Name) {
			create(topic, 1, map[string]string{"errors.deadletterqueue.group.enable": "true", "message.timestamp.type": "LogAppendTime"})
		}
		require.NoError(w.t, l.cluster.AlterConfigs(context.Background(), "group", g.Name, func(map[string]string) (map[string]string, error) { return g.settings, nil }))
		w.patiently("register a group", func() error {
			resp, err := ask[*private.RegisterGroupResponse](l.ctx, l, private.Principal, &private.RegisterGroupRequest{Group: g.Name, TopicIDs: []uuid.ID{w.topic.ID}})
			if err == nil && resp.ErrorCode != 0 {
				err = errors.New(resp.ErrorMessage)
			}
			return err
		})
		w.groups = append(w.groups, g)
		w.rec.Note(func(h *History) { h.Groups = append(h.Groups, g.Group) })
	}
}

// patiently tries for half a minute.
func (w *world) patiently(what string, try func() error) {
	w.t.Helper()
	var err error
	for range 300 {
		if err = try(); err == nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	require.NoError(w.t, err, what)
}

// count notes the counters of all groups; nobody may be at work.
func (w *world) count() *private.CountQueueResponse {
	w.t.Helper()
	l := w.current()
	req := &private.CountQueueRequest{TopicID: w.topic.ID}
	for _, g := range w.groups {
		req.Groups = append(req.Groups, g.Name)
	}
	var resp *private.CountQueueResponse
	w.patiently("count", func() (err error) {
		resp, err = ask[*private.CountQueueResponse](l.ctx, l, private.Principal, req)
		if err == nil && resp.ErrorCode != 0 {
			err = fmt.Errorf("code %d: %s", resp.ErrorCode, resp.ErrorMessage)
		}
		for i := range resp.Groups {
			if err == nil && resp.Groups[i].ErrorCode != 0 {
				err = fmt.Errorf("group %s: code %d", resp.Groups[i].Group, resp.Groups[i].ErrorCode)
			}
		}
		return err
	})
	return resp
}

// broken tells whether a life's disk is gone, or it is over.
func (w *world) broken(l *life) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.life != l || w.disk.IsCut()
}

// held is what the broker lists of a group, for people.
func (w *world) held(g *consumed) string {
	l := w.current()
	resp, err := ask[*private.ListLeasesResponse](l.ctx, l, private.Principal, &private.ListLeasesRequest{Group: g.Name, TopicID: w.topic.ID, Partition: -1})
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
				Accepted: g.Accepted, DeadLettered: g.DeadLettered, Filtered: g.Filtered, Skipped: g.Skipped})
		}
	})
}

// scanned is a record of a log.
type scanned struct {
	Place
	value  string
	at     time.Time
	header map[string]string
}

// scan reads all that is committed of a topic; one that is not there has nothing.
func (w *world) scan(name string) (out []scanned) {
	w.t.Helper()
	l := w.current()
	topic := l.cluster.Image().Topic(name)
	if topic == nil {
		return nil
	}
	for n := range topic.Partitions {
		p, err := l.replicas.Partition(topic.ID, int32(n))
		require.NoError(w.t, err)
		for at := p.LogStart(); at < p.HighWatermark(); {
			got, err := p.Read(replica.Read{Offset: at, MaxBytes: 1 << 20, AtLeastOne: true, Epoch: -1, LastEpoch: -1})
			require.NoError(w.t, err)
			buf, err := got.Slice.Bytes(nil)
			require.NoError(w.t, err)
			at = got.Slice.End
			got.Slice.Release()
			eachRecord(w.t, buf, func(r *record.Record) {
				s := scanned{Place: Place{int32(n), r.Offset}, value: string(r.Value), at: time.UnixMilli(r.Timestamp), header: map[string]string{}}
				for name, value := range r.Headers() {
					s.header[string(name)] = string(value)
				}
				out = append(out, s)
			})
		}
	}
	return out
}

// eachRecord goes over the records of batches.
func eachRecord(t testing.TB, buf []byte, do func(*record.Record)) {
	for len(buf) > 0 {
		b, rest, err := record.First(buf)
		require.NoError(t, err)
		buf = rest
		if b.Attributes()&0x20 != 0 { // control
			continue
		}
		r, err := b.Records(1 << 20)
		require.NoError(t, err)
		for {
			rec, ok, err := r.Next()
			require.NoError(t, err)
			if !ok {
				break
			}
			do(&rec)
		}
		r.Close()
	}
}

// readLogs notes what lies in the queue and in the groups' dead letters.
func (w *world) readLogs() {
	w.t.Helper()
	queue := w.scan("q")
	w.rec.Note(func(h *History) {
		for _, s := range queue {
			h.Logged = append(h.Logged, Logged{s.Place, s.value, s.at})
		}
	})
	for _, g := range w.groups {
		name := g.settings["errors.deadletterqueue.topic.name"]
		if name == "" {
			continue
		}
		for _, s := range w.scan(name) {
			require.Equal(w.t, g.Name, s.header["__dlq.errors.group"])
			w.rec.Note(func(h *History) { h.DeadLetters = append(h.DeadLetters, DeadLetter{g.Name, s.value, s.at}) })
		}
	}
}

// brief is an error in a line.
func brief(err error) string { return strings.ReplaceAll(fmt.Sprint(err), "\n", " ") }
