package crash

import (
	"context"
	"errors"
	"maps"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/coordinator/group"
	"github.com/tidemark-mq/tidemark/coordinator/runtime"
	"github.com/tidemark-mq/tidemark/storage/cleaner"
	"github.com/tidemark-mq/tidemark/storage/logdir"
	"github.com/tidemark-mq/tidemark/storage/vfs"
	"github.com/tidemark-mq/tidemark/test/simulation"
)

// machine is what stands between the handlers and the disk, put together as a broker does it: a data directory, partitions,
// the group coordinator, and the cluster's metadata in memory, which no power cut reaches. It runs under virtual time.
type machine struct {
	t     *testing.T
	fs    vfs.FS
	store *cluster.Memory // of all lives
	start map[string]string

	door     *door
	dir      *logdir.Dir
	cluster  *cluster.Cluster
	replicas *replica.Manager
	groups   *group.Service
}

const (
	dataDir      = "data"
	offsetsTopic = "__consumer_offsets"
)

// The journal is small, so that scripts of some kilobytes use all of it.
var smallJournal = logdir.JournalOptions{FileBytes: 64 << 10, MaxBytes: 256 << 10, OwnSyncBytes: 8 << 10, MaxRoundBytes: 32 << 10, CheckpointAge: 10 * time.Second}

func newMachine(t *testing.T, fs vfs.FS) *machine {
	m := &machine{t: t, fs: fs, store: cluster.NewMemory(), start: map[string]string{}}
	t.Cleanup(m.crash)
	return m
}

// begin starts a life. An error is that of a disk that fails.
func (m *machine) begin() error {
	d, err := logdir.Open(logdir.Options{FS: m.fs, Dir: dataDir, BrokerID: 1, Journal: smallJournal, RetentionInterval: time.Second,
		Cleaner: cleaner.Options{Backoff: 500 * time.Millisecond, MapBytes: 1 << 20}, Reserve: -1})
	if err != nil {
		return err
	}
	m.dir, m.door = d, &door{Store: m.store}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	m.cluster, err = cluster.Start(ctx, cluster.Options{BrokerID: 1, DirectoryID: d.ID(), Clean: d.Clean(), ClusterID: d.ClusterID(), Store: m.door,
		Listeners: []cluster.Endpoint{{Name: "PLAINTEXT", Protocol: "PLAINTEXT", Host: "localhost", Port: 9092}}})
	require.NoError(m.t, err)
	if err := d.SetClusterID(m.cluster.Image().ClusterID); err != nil {
		return err
	}
	m.groups, err = group.New(group.Options{KV: d.KV(), Partitions: func() int32 {
		if topic := m.cluster.Image().Topic(offsetsTopic); topic != nil {
			return int32(len(topic.Partitions))
		}
		return 0
	}})
	if err != nil {
		return err
	}
	m.replicas = replica.New(replica.Options{Dir: d, BrokerID: 1, Start: m.start, OnLeadership: m.leads, Active: m.cluster.Active})
	d.OnDiskFull(m.replicas.SetDiskFull)
	m.cluster.OnFence(m.replicas.SetFenced)
	m.cluster.OnChange(m.replicas.Apply)
	if err := d.RemoveStrays(); err != nil {
		return err
	}
	synctest.Wait()
	return d.Ready()
}

func (m *machine) leads(p *replica.Partition, leading bool, epoch int32) {
	switch {
	case p.Topic != offsetsTopic:
	case leading:
		m.groups.Load(p.ID, p.Number, epoch, p.CoordinatorLog(epoch))
	default:
		m.groups.Unload(p.Number, epoch)
	}
}

// end takes the parts down in the broker's order. The error is that of the directory, which tells whether the stop was clean.
func (m *machine) end() error {
	if m.groups != nil {
		m.groups.Close()
	}
	if m.replicas != nil {
		m.replicas.Close()
	}
	if m.cluster != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = m.cluster.Close(ctx)
	}
	var err error
	if m.dir != nil {
		err = m.dir.Close()
	}
	m.groups, m.replicas, m.cluster, m.dir = nil, nil, nil, nil
	return err
}

// crash ends a life without a farewell: the disk is gone, and the cluster hears nothing.
func (m *machine) crash() {
	if m.door != nil {
		m.door.shut.Store(true)
	}
	_ = m.end()
}

// door is the way to the cluster's store; shut, nothing gets through.
type door struct {
	cluster.Store
	shut atomic.Bool
}

func (d *door) Txn(ctx context.Context, t cluster.Txn) (cluster.TxnResult, error) {
	if d.shut.Load() {
		return cluster.TxnResult{}, cluster.ErrUnavailable
	}
	return d.Store.Txn(ctx, t)
}

func (d *door) Revoke(ctx context.Context, id cluster.LeaseID) error {
	if d.shut.Load() {
		return cluster.ErrUnavailable
	}
	return d.Store.Revoke(ctx, id)
}

func (d *door) Close() error { return nil }

// topic makes a topic of one partition with small segments.
func (m *machine) topic(name string, settings map[string]string) error {
	configs := map[string]string{"segment.bytes": "16384", "index.interval.bytes": "512", "file.delete.delay.ms": "0"}
	for k, v := range settings {
		configs[k] = v
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := m.cluster.CreateTopic(ctx, cluster.TopicSpec{Name: name, Partitions: 1, ReplicationFactor: 1, Configs: configs})
	return err
}

func (m *machine) partition(topic string) *replica.Partition {
	p, err := m.lookup(topic)
	require.NoError(m.t, err)
	return p
}

func (m *machine) lookup(topic string) (*replica.Partition, error) {
	found := m.cluster.Image().Topic(topic)
	require.NotNil(m.t, found, "topic %s", topic)
	return m.replicas.Partition(found.ID, 0)
}

// commit commits an offset for a group and answers what came of it, nil while nothing did.
func (m *machine) commit(name string, offset int64) func() error {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.Generation = 8, name, -1
	part := kmsg.NewOffsetCommitRequestTopicPartition()
	part.Offset = offset
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic, topic.Partitions = "t", append(topic.Partitions, part)
	req.Topics = append(req.Topics, topic)
	var answer atomic.Pointer[error]
	m.groups.OffsetCommit(req, func(resp *kmsg.OffsetCommitResponse) {
		err := kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
		answer.Store(&err)
	})
	return func() error {
		if err := answer.Load(); err != nil {
			return *err
		}
		return errPending
	}
}

var errPending = errors.New("no answer yet")

// committed is the offset a group has committed; -1 for none.
func (m *machine) committed(name string) int64 {
	got := make(chan kmsg.OffsetFetchResponseGroup, 1)
	asked := kmsg.NewOffsetFetchRequestGroup()
	asked.Group = name
	part := kmsg.NewOffsetFetchRequestGroupTopic()
	part.Topic, part.Partitions = "t", []int32{0}
	asked.Topics = append(asked.Topics, part)
	m.groups.OffsetFetch(&asked, false, func(r kmsg.OffsetFetchResponseGroup) { got <- r })
	r := <-got
	require.NoError(m.t, kerr.ErrorForCode(r.ErrorCode))
	return r.Topics[0].Partitions[0].Offset
}

// loaded waits until the coordinator serves.
func (m *machine) loaded() {
	for state := range 100 {
		ready := true
		for _, s := range m.groups.Shards() {
			ready = ready && s == runtime.Active
		}
		if ready && len(m.groups.Shards()) > 0 {
			return
		}
		require.Less(m.t, state, 99, "the coordinator does not load")
		<-time.After(100 * time.Millisecond)
	}
}

// step is one thing a script does; an error ends the script, because the power is gone.
type step func(m *machine) error

// settle waits until nothing moves any more without time passing.
func settle(*machine) error { synctest.Wait(); return nil }

// later lets virtual time pass: checkpoints, retention and the cleaner get their turn.
func later(d time.Duration) step {
	return func(*machine) error {
		<-time.After(d)
		synctest.Wait()
		return nil
	}
}

// left cuts a disk, and is what that leaves.
func left(disk *vfs.Crash, seed uint64) *vfs.Crash {
	disk.Cut()
	return simulation.Remains(disk, seed)
}

// script runs steps on a machine whose disk is cut at each of its sync points in turn (in short runs at a few of them), on
// either side, and hands what is left to recovered, on a machine that has begun its next life.
func script(t *testing.T, prepare func(m *machine) error, steps func(m *machine) error, recovered func(m *machine)) {
	t.Helper()
	run := func(t *testing.T, at int64, when vfs.When, seed uint64) (points int64) {
		synctest.Test(t, func(t *testing.T) {
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("cut at sync point %d, when=%d, seed %d", at, when, seed)
				}
			})
			disk := vfs.NewCrash(seed)
			m := newMachine(t, disk)
			require.NoError(t, m.begin())
			require.NoError(t, prepare(m))
			before := disk.Ops()
			if at > 0 {
				disk.CutAt(before+at, when)
			}
			err := steps(m)
			points = disk.Ops() - before
			require.True(t, err == nil || disk.IsCut(), "the script fails without a cut: %v", err)
			next := left(disk, seed)
			m.crash()
			m.fs = next
			require.NoError(t, m.begin())
			recovered(m)
			require.NoError(t, m.end(), "an orderly stop")
		})
		return points
	}
	points := run(t, 0, vfs.BeforeSync, 2)
	stride := int64(1)
	if testing.Short() {
		stride = 1 + points/8
	}
	for at := int64(1); at <= points+1; at += stride {
		for _, when := range []vfs.When{vfs.BeforeSync, vfs.AfterSync} {
			for n := range uint64(2) {
				seed := uint64(at)*4 + uint64(when)*2 + n
				if run(t, at, when, seed); t.Failed() {
					return
				}
			}
		}
	}
	t.Logf("%d sync points", points)
}

func all(m *machine, steps ...step) error {
	for _, s := range steps {
		if err := s(m); err != nil {
			return err
		}
	}
	return nil
}

// configure changes one setting of a topic.
func (m *machine) configure(topic, name, value string) error {
	return m.cluster.AlterConfigs(m.t.Context(), cluster.KindTopic, topic, func(now map[string]string) (map[string]string, error) {
		changed := maps.Clone(now)
		changed[name] = value
		return changed, nil
	})
}
