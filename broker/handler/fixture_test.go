package handler

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap/zaptest"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/storage/logdir"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// fixture is the handlers of one broker over a cluster in memory.
type fixture struct {
	t        testing.TB
	cluster  *cluster.Cluster
	deps     Deps
	registry *Registry
}

// withSettings gives the broker settings at start-up.
func withSettings(nameValue ...string) func(*Deps) {
	return func(d *Deps) {
		for i := 0; i < len(nameValue); i += 2 {
			d.Start[nameValue[i]] = nameValue[i+1]
		}
	}
}

func newFixture(t testing.TB, change ...func(*Deps)) *fixture {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := cluster.Start(ctx, cluster.Options{
		BrokerID: 1, Rack: "r1", Store: cluster.NewMemory(), Clean: true, Log: zaptest.NewLogger(t),
		Listeners: []cluster.Endpoint{{Name: "PLAINTEXT", Protocol: "PLAINTEXT", Host: "here", Port: 9092}, {Name: "OTHER", Protocol: "PLAINTEXT", Host: "there", Port: 9093}},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close(context.Background())) })
	f := &fixture{t: t, cluster: c}
	f.deps = Deps{Log: zaptest.NewLogger(t), ClusterID: c.Image().ClusterID, BrokerID: 1, Start: map[string]string{}, Cluster: c}
	for _, fn := range change {
		fn(&f.deps)
	}
	f.registry, err = New(f.deps)
	require.NoError(t, err)
	return f
}

// newHostFixture is newFixture with partitions that hold records, in a data directory in memory.
func newHostFixture(t testing.TB, change ...func(*Deps)) *fixture {
	t.Helper()
	dir, err := logdir.Open(logdir.Options{FS: vfs.NewCrash(1), Dir: "data", BrokerID: 1, NoCleaner: true, Log: zaptest.NewLogger(t)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, dir.Close()) })
	f := newFixture(t, append(change, func(d *Deps) {
		d.Disk = dir
		d.Replicas = replica.New(replica.Options{Dir: dir, BrokerID: 1, Start: d.Start, Log: d.Log})
	})...)
	f.cluster.OnFence(f.deps.Replicas.SetFenced)
	f.cluster.OnChange(f.deps.Replicas.Apply)
	t.Cleanup(f.deps.Replicas.Close)
	return f
}

// batch is a batch of records with the given times in ms, a value each.
func batch(spec record.Spec, times ...int64) []byte {
	var b record.Builder
	b.Reset(spec)
	for _, ms := range times {
		b.Append(ms, []byte("key"), []byte("value"))
	}
	built, err := b.Build()
	if err != nil {
		panic(err)
	}
	return slices.Clone(built)
}

// produce appends to partition 0 of a topic and answers the code's name and base offset.
func (f *fixture) produce(t *cluster.Topic, records []byte) (code string, base int64) {
	f.t.Helper()
	req := at(13, kmsg.NewPtrProduceRequest())
	req.Acks, req.TimeoutMillis = -1, 5000
	rt, rp := kmsg.NewProduceRequestTopic(), kmsg.NewProduceRequestTopicPartition()
	rp.Records = records
	rt.TopicID, rt.Partitions = t.ID, []kmsg.ProduceRequestTopicPartition{rp}
	req.Topics = []kmsg.ProduceRequestTopic{rt}
	p := do[*kmsg.ProduceResponse](f, req).Topics[0].Partitions[0]
	return named(p.ErrorCode), p.BaseOffset
}

// do asks through the front door.
func do[R kmsg.Response](f *fixture, req kmsg.Request) R {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	resp, err := f.registry.Do(ctx, call.Anonymous, req)
	require.NoError(f.t, err)
	body := resp.AppendTo(nil) // as it would go out
	again := req.ResponseKind()
	require.NoError(f.t, again.ReadFrom(body))
	return again.(R)
}

// at sets a request's version.
func at[R kmsg.Request](version int16, req R) R {
	req.SetVersion(version)
	return req
}

// topic makes a topic without asking a handler.
func (f *fixture) topic(name string, partitions int32, nameValue ...string) *cluster.Topic {
	f.t.Helper()
	spec := cluster.TopicSpec{Name: name, Partitions: partitions, ReplicationFactor: 1, Configs: map[string]string{}}
	for i := 0; i < len(nameValue); i += 2 {
		spec.Configs[nameValue[i]] = nameValue[i+1]
	}
	r := f.cluster.CreateTopics(context.Background(), []cluster.TopicSpec{spec})[0]
	require.NoError(f.t, r.Err)
	return r.Topic
}

// named is the code's name, "" for 0, so that tables can be read.
func named(code int16) string {
	if code == 0 {
		return ""
	}
	return kerr.ErrorForCode(code).(*kerr.Error).Message
}

func text(s *string) string {
	if s == nil {
		return "<null>"
	}
	return *s
}
