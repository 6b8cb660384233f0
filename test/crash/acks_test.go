package crash

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker"
	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// rig is a whole broker, with sockets, over a disk whose faults a test commands.
type rig struct {
	*broker.Broker
	t       *testing.T
	options broker.Options
	disk    *vfs.Crash
	faults  *vfs.Faults
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, disk: vfs.NewCrash(1)}
	r.options = broker.Options{DataDir: filepath.Join(t.TempDir(), "data"), Listen: []string{freePort(t, newRand())}, BrokerID: 1, Settings: brokerSettings}
	r.begin()
	t.Cleanup(func() {
		if r.Broker != nil {
			r.disk.Cut()
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_ = r.Stop(ctx)
		}
	})
	return r
}

func (r *rig) begin() {
	r.t.Helper()
	r.faults = vfs.NewFaults(r.disk)
	r.options.FS = r.faults
	r.Broker = startBroker(r.t, r.options)
}

// afterPowerCut restarts the broker on what is surely durable.
func (r *rig) afterPowerCut() {
	r.t.Helper()
	r.disk.Cut()
	requireStops(r.t, r.Broker, false)
	r.disk = r.disk.PowerCutAll()
	r.begin()
}

func (r *rig) client(opts ...kgo.Opt) *kgo.Client {
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(r.options.Listen[0])}, opts...)...)
	require.NoError(r.t, err)
	r.t.Cleanup(cl.Close)
	return cl
}

func (r *rig) topic(name string) {
	ctx, cancel := context.WithTimeout(context.Background(), progressLimit)
	defer cancel()
	_, err := kadm.NewClient(r.client()).CreateTopic(ctx, 1, 1, nil, name)
	require.NoError(r.t, err)
}

// produce sends one record of size bytes through the broker's in-process front door.
func (r *rig) produce(topic string, acks int16, size int) error {
	var b record.Builder
	b.Reset(record.Spec{})
	b.Append(time.Now().UnixMilli(), nil, make([]byte, size))
	batch, err := b.Build()
	require.NoError(r.t, err)
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = 12, acks, 60_000
	part := kmsg.NewProduceRequestTopicPartition()
	part.Records = batch
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.Partitions = topic, append(t.Partitions, part)
	req.Topics = append(req.Topics, t)
	ctx, cancel := context.WithTimeout(context.Background(), progressLimit)
	defer cancel()
	resp, err := r.Do(ctx, "User:test", req)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode)
}

func (r *rig) commit(group string, offset int64) error {
	ctx, cancel := context.WithTimeout(context.Background(), progressLimit)
	defer cancel()
	var offsets kadm.Offsets
	offsets.AddOffset("t", 0, offset, -1)
	answers, err := kadm.NewClient(r.client()).CommitOffsets(ctx, group, offsets)
	if err != nil {
		return err
	}
	return answers.Error()
}

// end is the topic's high watermark.
func (r *rig) end(topic string) int64 {
	ctx, cancel := context.WithTimeout(context.Background(), progressLimit)
	defer cancel()
	listed, err := kadm.NewClient(r.client()).ListEndOffsets(ctx, topic)
	require.NoError(r.t, err)
	got, _ := listed.Lookup(topic, 0)
	require.NoError(r.t, got.Err)
	return got.Offset
}

// pending tells whether a call still waits after the broker has done other work meanwhile.
func (r *rig) pending(answer <-chan error, topic string, end int64) {
	r.t.Helper()
	for range 20 {
		require.Equal(r.t, end, r.end(topic), "the watermark waits for the sync as well")
	}
	select {
	case err := <-answer:
		r.t.Fatalf("answered (%v) while the sync was held up", err)
	case <-time.After(50 * time.Millisecond):
	}
}

// No acknowledgement leaves while the fdatasync it needs is blocked: over a socket and inside the process, small and large, of
// records and of committed offsets.
func TestNoAcknowledgementLeavesWhileItsSyncIsBlocked(t *testing.T) {
	journal := vfs.Rule{Ops: []vfs.Op{vfs.OpSync}, Path: "journal/*"}
	segments := vfs.Rule{Ops: []vfs.Op{vfs.OpSync}, Path: "t-0/*.log"}
	overSocket := func(acks kgo.Acks, size int) func(r *rig) error {
		return func(r *rig) error {
			opts := []kgo.Opt{kgo.RequiredAcks(acks), kgo.ProducerLinger(0), kgo.ProducerBatchCompression(kgo.NoCompression())}
			if acks != kgo.AllISRAcks() {
				opts = append(opts, kgo.DisableIdempotentWrite())
			}
			ctx, cancel := context.WithTimeout(context.Background(), progressLimit)
			defer cancel()
			return r.client(opts...).ProduceSync(ctx, &kgo.Record{Topic: "t", Value: make([]byte, size)}).FirstErr()
		}
	}
	for name, c := range map[string]struct {
		rule vfs.Rule
		call func(r *rig) error
		adds int64
	}{
		"acks=all, small, over a socket":      {journal, overSocket(kgo.AllISRAcks(), 100), 1},
		"acks=1, small, over a socket":        {journal, overSocket(kgo.LeaderAck(), 100), 1},
		"acks=all, large, over a socket":      {segments, overSocket(kgo.AllISRAcks(), 300<<10), 1},
		"acks=1, large, over a socket":        {segments, overSocket(kgo.LeaderAck(), 300<<10), 1},
		"acks=all, small, inside the process": {journal, func(r *rig) error { return r.produce("t", -1, 100) }, 1},
		"acks=1, large, inside the process":   {segments, func(r *rig) error { return r.produce("t", 1, 300<<10) }, 1},
		"committed offset":                    {journal, func(r *rig) error { return r.commit("g", 7) }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.topic("t")
			require.NoError(t, r.produce("t", -1, 100)) // what is made with the first record is not what is measured
			require.NoError(t, r.commit("g", 1))
			trap := vfs.NewTrap()
			c.rule.Hold = trap
			defer trap.Release()
			r.faults.Add(c.rule)
			answer := make(chan error, 1)
			go func() { answer <- c.call(r) }()
			select {
			case <-trap.Reached():
			case err := <-answer:
				t.Fatalf("answered (%v) without a sync", err)
			}
			r.pending(answer, "t", 1)
			trap.Release()
			require.NoError(t, <-answer)
			require.Equal(t, 1+c.adds, r.end("t"))
			r.afterPowerCut()
			require.Equal(t, 1+c.adds, r.end("t"), "acknowledged means durable")
		})
	}
}

// After a failed sync the client gets KAFKA_STORAGE_ERROR, the broker is not ready and ends, and all that was acknowledged is
// there after the restart.
func TestAFailedSyncEndsTheBroker(t *testing.T) {
	for name, c := range map[string]struct {
		path string
		size int
	}{"of the journal": {"journal/*", 100}, "of a segment": {"t-0/*.log", 300 << 10}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.topic("t")
			require.NoError(t, r.produce("t", -1, 100))
			require.NoError(t, r.Ready())
			r.faults.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpSync}, Path: c.path, Once: true, Err: syscall.EIO})
			require.ErrorIs(t, r.produce("t", -1, c.size), kerr.KafkaStorageError)
			<-r.Failed()
			require.ErrorIs(t, r.Err(), syscall.EIO)
			require.Error(t, r.Ready())
			for _, acks := range []int16{1, -1} {
				require.Error(t, r.produce("t", acks, 100), "nothing is acknowledged any more, though the disk works again")
			}
			r.afterPowerCut()
			require.NoError(t, r.Ready())
			require.Equal(t, int64(1), r.end("t"))
			require.NoError(t, r.produce("t", -1, 100))
		})
	}
}

// Below the reserve produces are refused, while offsets are committed, records deleted and topics too; with room again,
// everything goes on without a restart.
func TestBelowTheReserveOnlyProducesAreRefused(t *testing.T) {
	r := newRig(t)
	r.topic("t")
	acked := int64(0)
	produce := func() error {
		err := r.produce("t", -1, 1000)
		if err == nil {
			acked++
		}
		return err
	}
	require.NoError(t, produce())
	require.NoError(t, produce())
	require.NoError(t, r.commit("g", 1))
	r.faults.SetUsage(&vfs.DiskUsage{AvailBytes: 1 << 20, TotalBytes: 1 << 30, UsedBytes: 1<<30 - 1<<20})
	eventually(t, func() error {
		if err := produce(); !errors.Is(err, kerr.KafkaStorageError) {
			return fmt.Errorf("produce on a full disk: %v", err)
		}
		return nil
	})
	require.NoError(t, r.Ready(), "consumers are served on")
	require.NoError(t, r.commit("g", 2))
	ctx, cancel := context.WithTimeout(context.Background(), progressLimit)
	defer cancel()
	adm := kadm.NewClient(r.client())
	var upTo kadm.Offsets
	upTo.AddOffset("t", 0, 1, -1)
	deleted, err := adm.DeleteRecords(ctx, upTo)
	require.NoError(t, err)
	require.NoError(t, deleted.Error())
	r.faults.SetUsage(nil)
	eventually(t, produce)
	r.afterPowerCut()
	require.Equal(t, acked, r.end("t"))
}

// A disk that is full from one write to the next: nothing that was acknowledged is lost, nothing is acknowledged that was not
// written, whatever the file at which it happens.
func TestADiskThatFillsUpLosesNothing(t *testing.T) {
	for _, size := range []int{100, 300 << 10} {
		for _, room := range []int64{0, 1000, 40_000, 350_000} {
			t.Run(fmt.Sprintf("records of %d bytes, %d bytes left", size, room), func(t *testing.T) {
				r := newRig(t)
				r.topic("t")
				require.NoError(t, r.produce("t", -1, size))
				acked := int64(1)
				r.faults.FillAfter(room)
				var err error
				for i := 0; i < 2000 && err == nil; i++ {
					if err = r.produce("t", -1, size); err == nil {
						acked++
					}
				}
				require.ErrorIs(t, err, kerr.KafkaStorageError)
				r.afterPowerCut()
				require.GreaterOrEqual(t, r.end("t"), acked)
				require.NoError(t, r.produce("t", -1, size))
			})
		}
	}
}

// eventually waits until check answers nil.
func eventually(t *testing.T, check func() error) {
	t.Helper()
	deadline := time.After(progressLimit)
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			t.Fatal(err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
