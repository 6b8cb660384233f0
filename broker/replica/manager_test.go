package replica

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// Whoever hears of leadership finds the partition, ready: a coordinator begins to load at once.
func TestPartitionsAreReadyWhenTheirLeadershipIsTold(t *testing.T) {
	w := newWorld(t)
	var told atomic.Int32
	w.m.o.OnLeadership = func(p *Partition, leading bool, epoch int32) {
		told.Add(1)
		found, err := w.m.Partition(p.ID, p.Number)
		require.NoError(t, err)
		require.Same(t, p, found)
		require.True(t, leading)
		done, err := p.Append(Append{Batches: batch(), Epoch: epoch})
		require.NoError(t, err)
		require.Zero(t, done.Base)
	}
	tp := w.topic("t*20")
	require.EqualValues(t, 20, told.Load())
	require.EqualValues(t, 1, w.partition(tp, 19).LogEnd())
	_, err := w.m.Partition(tp.ID, 20)
	require.ErrorIs(t, err, ErrUnknown)
	_, err = w.m.Partition(tp.ID, -1)
	require.ErrorIs(t, err, ErrUnknown)
}

func TestPartitionsAdded(t *testing.T) {
	w := newWorld(t)
	tp := w.topic("t*2")
	first := w.partition(tp, 0)
	w.append(first)
	w.leadership()
	_, err := w.cluster.CreatePartitions(context.Background(), cluster.PartitionsSpec{Topic: "t", Count: 5})
	require.NoError(t, err)
	require.Equal(t, []string{"t-2 true 0", "t-3 true 0", "t-4 true 0"}, w.leadership())
	require.Same(t, first, w.partition(tp, 0))
	require.EqualValues(t, 1, first.LogEnd())
	w.append(w.partition(tp, 4))
	n := 0
	w.m.Each(func(*Partition) bool { n++; return true })
	require.Equal(t, 5, n)
	w.m.Each(func(*Partition) bool { n--; return false })
	require.Equal(t, 4, n)
}

func TestDeletedTopicsEndWhatWaitsAndAreGone(t *testing.T) {
	w := newWorld(t)
	tp := w.topic("t*40")
	var parts []*Partition
	var waits []chan error
	trap := w.holdSyncs()
	for n := range int32(40) {
		p := w.partition(tp, n)
		parts = append(parts, p)
		waits = append(waits, wait(p, w.append(p), -1))
	}
	var seen countingWatcher
	parts[0].Watch(&Watch{To: &seen})
	w.leadership()
	deleted := make(chan error, 1)
	go func() { deleted <- w.cluster.DeleteTopic(context.Background(), tp.ID) }()
	for _, ch := range waits {
		require.ErrorIs(t, soon(t, ch), ErrUnknown, "nobody waits for the disk to delete what they wrote")
	}
	trap.Release()
	require.NoError(t, soon(t, deleted))
	require.Positive(t, seen.n.Load())
	require.Len(t, w.leadership(), 40)
	_, err := w.m.Partition(tp.ID, 0)
	require.ErrorIs(t, err, ErrUnknown)
	for _, p := range parts {
		require.True(t, p.Closed())
		_, err = p.Append(Append{Batches: batch(), Epoch: -1})
		require.ErrorIs(t, err, ErrUnknown)
		_, err = p.Read(Read{Epoch: -1, LastEpoch: -1})
		require.ErrorIs(t, err, ErrUnknown)
	}
	again := w.topic("t")
	require.NotEqual(t, tp.ID, again.ID)
	require.Zero(t, w.partition(again, 0).LogEnd(), "nothing of the topic that had the name before")
	require.NoError(t, soon(t, wait(w.partition(again, 0), w.append(w.partition(again, 0)), -1)))
}

// Producers and readers go on while topics come and go under them.
func TestTopicsDeletedUnderLoad(t *testing.T) {
	w := newWorld(t)
	for range 5 {
		tp := w.topic("t*3")
		var busy sync.WaitGroup
		var waits, ends atomic.Int64
		for n := range int32(3) {
			p := w.partition(tp, n)
			busy.Go(func() {
				for {
					done, err := p.Append(Append{Batches: batch(), Acks: -1, Epoch: -1})
					if err != nil {
						assert.ErrorIs(t, err, ErrUnknown)
						return
					}
					waits.Add(1)
					p.WhenDurable(done.FlushEnd, done.Epoch, -1, func(error) { ends.Add(1) })
				}
			})
			busy.Go(func() {
				for at := int64(0); ; {
					r, err := p.Read(Read{Offset: at, MaxBytes: 1 << 16, AtLeastOne: true, Epoch: -1, LastEpoch: -1})
					if err != nil {
						assert.True(t, errors.Is(err, ErrUnknown) || errors.Is(err, ErrLogClosed), "%v", err)
						return
					}
					if r.Slice.Len > 0 {
						b, err := r.Slice.Bytes(nil)
						assert.NoError(t, err)
						assert.Len(t, b, r.Slice.Len)
						at = r.Slice.End
						r.Slice.Release()
					}
				}
			})
		}
		require.Eventually(t, func() bool { return ends.Load() > 20 }, 10*time.Second, time.Millisecond)
		require.NoError(t, w.cluster.DeleteTopic(context.Background(), tp.ID))
		busy.Wait()
		require.Equal(t, waits.Load(), ends.Load())
	}
}

func TestALogThatDoesNotOpenIsOffline(t *testing.T) {
	w := newWorld(t)
	rule := w.faults.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpStat, vfs.OpOpen, vfs.OpList}, Path: "bad-0", Err: errors.New("input/output error")})
	good, bad := w.topic("good"), w.topic("bad")
	require.Positive(t, rule.Hits())
	p := w.partition(bad, 0)
	_, err := p.Append(Append{Batches: batch(), Epoch: -1})
	require.ErrorIs(t, err, ErrOffline)
	_, err = p.Read(Read{Epoch: -1, LastEpoch: -1})
	require.ErrorIs(t, err, ErrOffline)
	_, err = p.OffsetFor(Latest, false, -1)
	require.ErrorIs(t, err, ErrOffline)
	_, _, err = p.EndOfEpoch(0, -1)
	require.ErrorIs(t, err, ErrOffline)
	_, err = p.DeleteRecords(-1)
	require.ErrorIs(t, err, ErrOffline)
	_, err = p.Producers()
	require.ErrorIs(t, err, ErrOffline)
	ch := make(chan error, 1)
	p.WhenDurable(1, -1, -1, func(err error) { ch <- err })
	require.ErrorIs(t, soon(t, ch), ErrOffline)
	require.Equal(t, []int64{-1, -1, -1, 0}, []int64{p.LogStart(), p.LogEnd(), p.StableOffset(), p.SizeBytes()})
	require.Equal(t, []string{"good-0 true 0"}, w.leadership(), "nobody is to load from it")
	require.Equal(t, 1, w.m.Offline())
	w.append(w.partition(good, 0))

	w.set("topic", "bad", "retention.ms", "1000")
	w.m.SetFenced(true)
	w.m.SetFenced(false)
	rule.Remove()
	require.NoError(t, w.cluster.DeleteTopic(context.Background(), bad.ID))
	require.Zero(t, w.m.Offline())
	w.append(w.partition(w.topic("bad"), 0))
}

// Storage that cannot be used any more ends everything, also what an image brings later, and tells why.
func TestStorageThatFails(t *testing.T) {
	w := newWorld(t)
	p := w.partition(w.topic("t"), 0)
	trap := w.holdSyncs()
	ch := wait(p, w.append(p), -1)
	<-trap.Reached()
	w.m.Fail(errors.New("the disk is broken"))
	err := soon(t, ch)
	require.ErrorIs(t, err, ErrOffline)
	require.ErrorContains(t, err, "the disk is broken")
	trap.Release()
	w.m.Close()
	_, err = p.Append(Append{Batches: batch(), Epoch: -1})
	require.ErrorIs(t, err, ErrOffline, "the first reason stands")
	later := w.topic("later")
	_, err = w.m.Partition(later.ID, 0)
	require.ErrorIs(t, err, ErrUnknown)
}

func TestActivationThatFailsIsTheEnd(t *testing.T) {
	w := newWorld(t)
	p := w.partition(w.topic("t"), 0)
	w.faults.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpSync}, Path: "kv/*", Err: errors.New("input/output error")})
	tp := w.topic("other")
	<-w.dir.Failed()
	_, err := p.Append(Append{Batches: batch(), Epoch: -1})
	require.ErrorIs(t, err, ErrOffline)
	if q, err := w.m.Partition(tp.ID, 0); err == nil {
		_, err = q.Append(Append{Batches: batch(), Epoch: -1})
		require.ErrorIs(t, err, ErrOffline)
	}
}

func TestSettingsTakeEffectWhileRunning(t *testing.T) {
	w := newWorld(t, "message.max.bytes", "2000")
	plain, own := w.partition(w.topic("plain"), 0), w.partition(w.topic("own", "max.message.bytes", "3000"), 0)
	limits := func() []int { return []int{plain.log.Config().MaxMessageBytes, own.log.Config().MaxMessageBytes} }
	require.Equal(t, []int{2000, 3000}, limits())
	w.set("broker", cluster.DefaultName, "message.max.bytes", "4000")
	require.Equal(t, []int{4000, 3000}, limits())
	w.set("broker", "1", "message.max.bytes", "5000")
	require.Equal(t, []int{5000, 3000}, limits())
	w.set("broker", "2", "message.max.bytes", "6000")
	require.Equal(t, []int{5000, 3000}, limits(), "another broker's")
	w.set("topic", "own", "max.message.bytes")
	require.Equal(t, []int{5000, 5000}, limits())
	w.set("topic", "plain", "max.message.bytes", "10")
	require.Equal(t, []int{10, 5000}, limits())
	require.Equal(t, 10, plain.Settings().MaxMessageBytes)

	require.Equal(t, 24*time.Hour, plain.log.Config().ProducerExpiry)
	w.set("broker", cluster.DefaultName, "producer.id.expiration.ms", "1000")
	require.Equal(t, time.Second, plain.log.Config().ProducerExpiry)

	later := w.partition(w.topic("later"), 0)
	require.Equal(t, 5000, later.log.Config().MaxMessageBytes, "what is made later has the same")
	require.Equal(t, time.Second, later.log.Config().ProducerExpiry)
}

func TestTopicsWithoutSettingsShareOne(t *testing.T) {
	w := newWorld(t)
	a, b, c := w.partition(w.topic("a"), 0), w.partition(w.topic("b"), 0), w.partition(w.topic("c", "retention.ms", "-1"), 0)
	w.set("broker", cluster.DefaultName, "log.retention.ms", "1234")
	require.EqualValues(t, 1234, a.Settings().RetentionMs)
	require.Same(t, a.Settings(), b.Settings())
	require.EqualValues(t, -1, c.Settings().RetentionMs)
	require.Negative(t, c.log.Config().RetentionTime)
}

func BenchmarkApplyOfManyTopics(b *testing.B) {
	for range b.N {
		b.StopTimer()
		w := newWorld(b)
		specs := make([]cluster.TopicSpec, 2000)
		for i := range specs {
			specs[i] = cluster.TopicSpec{Name: fmt.Sprintf("t%d", i), Partitions: 1, ReplicationFactor: 1}
		}
		b.StartTimer()
		for _, r := range w.cluster.CreateTopics(context.Background(), specs) {
			require.NoError(b, r.Err)
		}
	}
}
