package delay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/coordinator/runtime"
	"github.com/tidemark-mq/tidemark/protocol/private"
	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/storage/logdir"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is one life of a broker as far as delays go; disk and metadata outlive it.
type world struct {
	t        testing.TB
	fs       *vfs.Crash
	store    *cluster.Memory
	dir      *logdir.Dir
	cluster  *cluster.Cluster
	replicas *replica.Manager
	s        *Service
	ids      *atomic.Int64
	now      func() time.Time // the service's clock; nil: its own
}

func newWorld(t testing.TB) *world { return newWorldBy(t, nil) }

func newWorldBy(t testing.TB, now func() time.Time) *world {
	w := &world{t: t, fs: vfs.NewCrash(1), store: cluster.NewMemory(), ids: &atomic.Int64{}, now: now}
	require.NoError(t, w.start())
	w.topic(Topic, 2, "cleanup.policy", "compact")
	return w
}

// start begins a life; errors are those of a disk that was cut.
func (w *world) start() error {
	dir, err := logdir.Open(logdir.Options{FS: w.fs, Dir: "data", BrokerID: 1, NoCleaner: true, Reserve: -1})
	if err != nil {
		return err
	}
	w.dir = dir
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	w.cluster, err = cluster.Start(ctx, cluster.Options{BrokerID: 1, Store: unclosed{w.store}, Clean: true,
		Listeners: []cluster.Endpoint{{Name: "PLAINTEXT", Protocol: "PLAINTEXT", Host: "here", Port: 9092}}, Log: zap.NewNop()})
	require.NoError(w.t, err)
	w.s, err = New(Options{KV: dir.KV(), Now: w.now, Image: w.cluster.Image, ProducerID: func(context.Context) (int64, error) { return w.ids.Add(1), nil }})
	require.NoError(w.t, err)
	w.replicas = replica.New(replica.Options{Dir: dir, BrokerID: 1, OnLeadership: func(p *replica.Partition, leading bool, epoch int32) {
		if p.Topic != Topic {
			return
		}
		if leading {
			w.s.Load(p.ID, p.Number, epoch, p.CoordinatorLog(epoch))
		} else {
			w.s.Unload(p.Number, epoch)
		}
	}})
	w.s.o.Replicas = w.replicas
	w.cluster.OnChange(w.replicas.Apply)
	return nil
}

// unclosed lets metadata outlive a broker.
type unclosed struct{ cluster.Store }

func (unclosed) Close() error { return nil }

// stop ends a life; what the disk says about it does not matter after a cut.
func (w *world) stop() {
	w.s.Close()
	w.replicas.Close()
	_ = w.cluster.Close(context.Background())
	_ = w.dir.Close()
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

// delay hands over messages with these values and waits for the answer.
func (w *world) delay(t Target, due time.Time, values ...string) error {
	var messages []private.DelayedMessage
	for _, v := range values {
		messages = append(messages, private.DelayedMessage{DueMillis: due.UnixMilli(), Value: []byte(v), Headers: []private.Header{{Key: "h", Value: []byte(v)}}})
	}
	return w.hand(t, messages)
}

func (w *world) hand(t Target, messages []private.DelayedMessage) error {
	for range 1000 {
		done := make(chan error, 1)
		w.s.Delay(t, messages, func(_ []int64, err error) { done <- err })
		err := <-done
		if !errors.Is(err, runtime.ErrLoading) {
			return err
		}
		time.Sleep(time.Millisecond) // virtual
	}
	return runtime.ErrLoading
}

// entered is a record that a target holds: its value, when it was due and when it came.
type entered struct {
	value    string
	due, log int64
}

// records reads all that a target holds.
func (w *world) records(t Target) []entered {
	w.t.Helper()
	p, err := w.replicas.Partition(t.Topic, t.Partition)
	require.NoError(w.t, err)
	var all []entered
	log := p.CoordinatorLog(p.Epoch())
	for at := log.Start(); at < log.End(); {
		chunk, err := log.Read(at, 1<<20)
		require.NoError(w.t, err)
		for b, err := range record.Batches(chunk) {
			require.NoError(w.t, err)
			at = b.NextOffset()
			for rec, err := range b.All(1 << 20) {
				require.NoError(w.t, err)
				e := entered{value: string(rec.Value), log: rec.Timestamp}
				for name, value := range rec.Headers() {
					switch string(name) {
					case private.DueHeader:
						e.due, err = strconv.ParseInt(string(value), 10, 64)
						require.NoError(w.t, err)
					case "h":
						require.Equal(w.t, e.value, string(value))
					}
				}
				all = append(all, e)
			}
		}
	}
	return all
}

func values(all []entered) []string {
	var out []string
	for _, e := range all {
		out = append(out, e.value)
	}
	return out
}

// settle waits until nothing waits for the target.
func (w *world) settle(topic *cluster.Topic) {
	w.t.Helper()
	for range 100_000 {
		n, err := w.s.Count(topic.ID, int32(len(topic.Partitions)))
		if err == nil && n == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond) // virtual
	}
	require.Fail(w.t, "messages are still waiting")
}

// checkOnce says what is wrong with what entered a target: everything once, never early, and before whatever was due later, if it
// was answered before that was due.
func checkOnce(got []entered, want, answered map[string]int64) error {
	seen := map[string]bool{}
	latest := int64(0) // due time of what came so far
	for _, e := range got {
		switch due, known := want[e.value]; {
		case !known:
			return fmt.Errorf("%q was never delayed", e.value)
		case seen[e.value]:
			return fmt.Errorf("%q entered twice", e.value)
		case e.due != due:
			return fmt.Errorf("%q says that it was due at %d, not %d", e.value, e.due, due)
		case e.log < due:
			return fmt.Errorf("%q entered %d ms early", e.value, due-e.log)
		}
		if at, ok := answered[e.value]; ok && e.due < latest && at < latest {
			return fmt.Errorf("%q, due at %d and answered at %d, stands behind what was due at %d", e.value, e.due, at, latest)
		}
		latest = max(latest, e.due)
		seen[e.value] = true
	}
	return nil
}

func missing(got []entered, want map[string]int64) (out []string) {
	for v := range want {
		if !slices.Contains(values(got), v) {
			out = append(out, v)
		}
	}
	return out
}
