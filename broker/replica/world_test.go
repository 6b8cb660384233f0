package replica

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"

	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/storage/logdir"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a manager over a data directory and a cluster in memory.
type world struct {
	t       testing.TB
	faults  *vfs.Faults
	dir     *logdir.Dir
	cluster *cluster.Cluster
	m       *Manager
	active  func() bool

	mu     sync.Mutex
	events []string // what OnLeadership heard
}

func newWorld(t testing.TB, start ...string) *world {
	t.Helper()
	w := &world{t: t, faults: vfs.NewFaults(vfs.NewCrash(1)), active: func() bool { return true }}
	var err error
	w.dir, err = logdir.Open(logdir.Options{FS: w.faults, Dir: "data", BrokerID: 1, NoCleaner: true, Reserve: -1, Log: zaptest.NewLogger(t)})
	require.NoError(t, err)
	w.cluster = w.join(cluster.NewMemory(), 1)
	settings := map[string]string{}
	for i := 0; i < len(start); i += 2 {
		settings[start[i]] = start[i+1]
	}
	w.m = New(Options{Dir: w.dir, BrokerID: 1, Start: settings, Active: func() bool { return w.active() }, Log: zaptest.NewLogger(t), OnLeadership: w.heard})
	w.cluster.OnChange(w.m.Apply)
	t.Cleanup(func() {
		w.m.Close()
		require.NoError(t, w.cluster.Close(context.Background()))
		_ = w.dir.Close()
	})
	return w
}

func (w *world) join(store cluster.Store, id int32) *cluster.Cluster {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := cluster.Start(ctx, cluster.Options{BrokerID: id, Store: store, Clean: true, Log: zaptest.NewLogger(w.t),
		Listeners: []cluster.Endpoint{{Name: "PLAINTEXT", Protocol: "PLAINTEXT", Host: "here", Port: 9092}}})
	require.NoError(w.t, err)
	return c
}

func (w *world) heard(p *Partition, leading bool, epoch int32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, fmt.Sprintf("%s-%d %v %d", p.Topic, p.Number, leading, epoch))
}

// leadership is what OnLeadership heard since the last call, in any order.
func (w *world) leadership() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.events
	w.events = nil
	slices.Sort(out)
	return out
}

// topic makes a topic of one partition, or as many as name ends with: "t*3".
func (w *world) topic(name string, nameValue ...string) *cluster.Topic {
	w.t.Helper()
	spec := cluster.TopicSpec{Partitions: 1, ReplicationFactor: 1, Configs: map[string]string{}}
	var many string
	if spec.Name, many, _ = strings.Cut(name, "*"); many != "" {
		_, err := fmt.Sscan(many, &spec.Partitions)
		require.NoError(w.t, err)
	}
	for i := 0; i < len(nameValue); i += 2 {
		spec.Configs[nameValue[i]] = nameValue[i+1]
	}
	t, err := w.cluster.CreateTopic(context.Background(), spec)
	require.NoError(w.t, err)
	return t
}

func (w *world) partition(t *cluster.Topic, n int32) *Partition {
	w.t.Helper()
	p, err := w.m.Partition(t.ID, n)
	require.NoError(w.t, err)
	return p
}

// set changes a setting; no value removes it.
func (w *world) set(kind, name, key string, value ...string) {
	w.t.Helper()
	require.NoError(w.t, w.cluster.AlterConfigs(context.Background(), kind, name, func(now map[string]string) (map[string]string, error) {
		next := map[string]string{}
		for k, v := range now {
			next[k] = v
		}
		delete(next, key)
		if len(value) > 0 {
			next[key] = value[0]
		}
		return next, nil
	}))
}

// holdSyncs keeps every sync from ending, from when the returned trap is reached until it is released.
func (w *world) holdSyncs() *vfs.Trap {
	trap := vfs.NewTrap()
	w.faults.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpSync}, Hold: trap})
	w.t.Cleanup(trap.Release)
	return trap
}

// batch is a batch of one record, of producer id 7 with a sequence where that is given.
func batch(sequence ...int32) []byte {
	var b record.Builder
	spec := record.Spec{}
	if len(sequence) > 0 {
		spec.Producer = &record.Producer{ID: 7, Sequence: sequence[0]}
	}
	b.Reset(spec)
	b.Append(time.Now().UnixMilli(), []byte("key"), []byte("value"))
	built, err := b.Build()
	if err != nil {
		panic(err)
	}
	return slices.Clone(built)
}

func (w *world) append(p *Partition, sequence ...int32) Appended {
	w.t.Helper()
	done, err := p.Append(Append{Batches: batch(sequence...), Acks: -1, Epoch: -1})
	require.NoError(w.t, err)
	return done
}

// wait asks for durability; what comes is in the channel.
func wait(p *Partition, done Appended, acks int16) chan error {
	ch := make(chan error, 2)
	p.WhenDurable(done.FlushEnd, done.Epoch, acks, func(err error) { ch <- err })
	return ch
}

func soon(t testing.TB, ch chan error) error {
	t.Helper()
	select {
	case err := <-ch:
		return err
	case <-time.After(10 * time.Second):
		require.Fail(t, "nobody was called back")
		return nil
	}
}

func notYet(t testing.TB, ch chan error) {
	t.Helper()
	select {
	case err := <-ch:
		require.Fail(t, "called back too early", "%v", err)
	default:
	}
}
