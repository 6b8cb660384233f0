package replica

import (
	"context"
	"errors"
	"math/rand"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/coordinator/runtime"
	"github.com/tidemark-mq/tidemark/storage/log"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

func TestAcknowledgedMeansSynced(t *testing.T) {
	w := newWorld(t)
	p := w.partition(w.topic("t"), 0)
	trap := w.holdSyncs()
	done := w.append(p)
	one, all := wait(p, done, 1), wait(p, done, -1)
	<-trap.Reached()
	notYet(t, one)
	notYet(t, all)
	require.Zero(t, p.HighWatermark())
	require.EqualValues(t, 2, w.m.Waiting())
	trap.Release()
	require.NoError(t, soon(t, one))
	require.NoError(t, soon(t, all))
	require.EqualValues(t, 1, p.HighWatermark())
	require.Zero(t, w.m.Waiting())
}

func TestPageCacheIsEnoughWhereTheTopicSaysSo(t *testing.T) {
	w := newWorld(t)
	p := w.partition(w.topic("t", "flush.messages", "100"), 0)
	w.holdSyncs()
	done := w.append(p)
	require.EqualValues(t, 1, p.HighWatermark())
	require.NoError(t, soon(t, wait(p, done, 1)))
	require.NoError(t, soon(t, wait(p, done, -1)))
}

func TestInternalTopicsFlushWhateverTheSettings(t *testing.T) {
	w := newWorld(t, "log.flush.interval.messages", "1000")
	p := w.partition(w.topic("__consumer_offsets", "flush.messages", "1000"), 0)
	require.True(t, p.Internal)
	trap := w.holdSyncs()
	end := w.append(p)
	ch := wait(p, end, -1)
	<-trap.Reached()
	notYet(t, ch)
	trap.Release()
	require.NoError(t, soon(t, ch))
}

// Turned on, flushing holds for what is acknowledged from then on: new records, and repeats of those that were acknowledged
// from the page cache.
func TestFlushingTurnedOn(t *testing.T) {
	w := newWorld(t)
	tp := w.topic("t", "flush.messages", "5")
	p := w.partition(tp, 0)
	first := w.append(p, 0)
	require.NoError(t, soon(t, wait(p, first, -1)))

	trap := w.holdSyncs()
	w.set("topic", "t", "flush.messages", "1")
	<-trap.Reached() // what only the page cache holds
	again := w.append(p, 0)
	require.True(t, again.Duplicate)
	require.Equal(t, first.Base, again.Base)
	repeated := wait(p, again, -1)
	second := wait(p, w.append(p, 1), 1)
	notYet(t, repeated)
	notYet(t, second)
	require.EqualValues(t, 1, p.HighWatermark(), "it never falls")
	trap.Release()
	require.NoError(t, soon(t, repeated))
	require.NoError(t, soon(t, second))
	require.EqualValues(t, 2, p.HighWatermark())
}

func TestFlushingTurnedOffFreesWhoWaits(t *testing.T) {
	w := newWorld(t)
	p := w.partition(w.topic("t"), 0)
	trap := w.holdSyncs()
	ch := wait(p, w.append(p), -1)
	<-trap.Reached()
	w.set("topic", "t", "flush.messages", "2")
	require.NoError(t, soon(t, ch))
}

// A broker whose lease ran out acknowledges nothing, and acts as leader again when it is back, in the same epoch.
func TestFencing(t *testing.T) {
	w := newWorld(t)
	tp := w.topic("t")
	p := w.partition(tp, 0)
	require.Equal(t, []string{"t-0 true 0"}, w.leadership())
	trap := w.holdSyncs()
	done := w.append(p)
	before := wait(p, done, -1)
	<-trap.Reached()
	w.m.SetFenced(true)
	w.m.SetFenced(true)
	require.ErrorIs(t, soon(t, before), ErrNotLeader)
	require.Equal(t, []string{"t-0 false 0"}, w.leadership())
	require.ErrorIs(t, soon(t, wait(p, done, 1)), ErrNotLeader)
	_, err := p.Append(Append{Batches: batch(), Epoch: -1})
	require.ErrorIs(t, err, ErrNotLeader)
	_, err = p.Read(Read{Epoch: -1, LastEpoch: -1})
	require.ErrorIs(t, err, ErrNotLeader)

	w.m.SetFenced(false)
	require.Equal(t, []string{"t-0 true 0"}, w.leadership())
	after := wait(p, done, -1)
	trap.Release()
	require.NoError(t, soon(t, after))
	require.NoError(t, soon(t, wait(p, w.append(p), -1)))
}

// What comes while the broker is fenced is told when it is not any more, once.
func TestTopicsMadeWhileFenced(t *testing.T) {
	w := newWorld(t)
	w.m.SetFenced(true)
	p := w.partition(w.topic("t"), 0)
	require.Empty(t, w.leadership())
	_, err := p.Append(Append{Batches: batch(), Epoch: -1})
	require.ErrorIs(t, err, ErrNotLeader)
	w.m.SetFenced(false)
	require.Equal(t, []string{"t-0 true 0"}, w.leadership())
	w.append(p)
}

// A process that slept past its lease must not acknowledge in the moment before its timers fire.
func TestNothingIsAcknowledgedAfterTheLeaseEvenBeforeTheFence(t *testing.T) {
	w := newWorld(t)
	p := w.partition(w.topic("t"), 0)
	trap := w.holdSyncs()
	done := w.append(p)
	ch := wait(p, done, -1)
	<-trap.Reached()
	w.active = func() bool { return false }
	trap.Release()
	require.ErrorIs(t, soon(t, ch), ErrNotLeader)
}

func TestEndOfLeadership(t *testing.T) {
	w := newWorld(t)
	p := w.partition(w.topic("t"), 0)
	trap := w.holdSyncs()
	done := w.append(p)
	old := wait(p, done, -1)
	<-trap.Reached()

	led := cluster.Partition{Leader: 1, LeaderEpoch: 1, Replicas: []int32{1}, ISR: []int32{1}}
	p.become(led, 1)
	require.ErrorIs(t, soon(t, old), ErrNotLeader, "another may have led in between")
	require.ErrorIs(t, soon(t, wait(p, done, -1)), ErrNotLeader, "asked with the old epoch")
	_, err := p.Append(Append{Batches: batch(), Epoch: 0})
	require.ErrorIs(t, err, ErrNotLeader)

	next := w.append(p)
	require.EqualValues(t, 1, next.Epoch)
	kept := wait(p, next, -1)
	p.become(led, 1)
	notYet(t, kept)

	elsewhere := led
	elsewhere.Leader, elsewhere.LeaderEpoch = 2, 1
	p.become(elsewhere, 1)
	require.ErrorIs(t, soon(t, kept), ErrNotLeader)
	require.ErrorIs(t, soon(t, wait(p, next, 1)), ErrNotLeader)
	_, err = p.Append(Append{Batches: batch(), Epoch: -1})
	require.ErrorIs(t, err, ErrNotLeader)
	id, epoch := p.Leader()
	require.Equal(t, []int32{2, 1}, []int32{id, epoch})
}

func TestClosedForGood(t *testing.T) {
	w := newWorld(t)
	tp := w.topic("t")
	p := w.partition(tp, 0)
	trap := w.holdSyncs()
	done := w.append(p)
	ch := wait(p, done, 1)
	<-trap.Reached()
	w.m.Close()
	require.ErrorIs(t, soon(t, ch), ErrStopped)
	require.True(t, p.Closed())
	p.become(cluster.Partition{Leader: 1, LeaderEpoch: 9, Replicas: []int32{1}, ISR: []int32{1}}, 1)
	_, err := p.Append(Append{Batches: batch(), Epoch: -1})
	require.ErrorIs(t, err, ErrStopped)
	require.ErrorIs(t, soon(t, wait(p, done, 1)), ErrStopped)
	trap.Release()
	w.topic("later") // is not followed any more
	require.NotContains(t, w.leadership(), "later-0 true 0")
}

// Every append that was taken is called back exactly once, whatever happens to the partition meanwhile.
func TestEveryWaitEndsOnce(t *testing.T) {
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	w := newWorld(t)
	p := w.partition(w.topic("t"), 0)
	led := cluster.Partition{Leader: 1, Replicas: []int32{1}, ISR: []int32{1}}
	var waits, ends, lost atomic.Int64
	var producers sync.WaitGroup
	for i := range 4 {
		r := rand.New(rand.NewSource(seed + int64(i)))
		producers.Go(func() {
			for range 300 {
				done, err := p.Append(Append{Batches: batch(), Acks: -1, Epoch: -1})
				if err != nil {
					continue
				}
				waits.Add(1)
				var calls atomic.Int32
				p.WhenDurable(done.FlushEnd, done.Epoch, []int16{1, -1}[r.Intn(2)], func(err error) {
					if calls.Add(1) > 1 {
						t.Error("called back twice")
					}
					if err != nil {
						lost.Add(1)
					}
					ends.Add(1)
				})
			}
		})
	}
	stop := make(chan struct{})
	var trouble sync.WaitGroup
	trouble.Go(func() {
		r := rand.New(rand.NewSource(seed))
		for epoch := int32(0); ; {
			select {
			case <-stop:
				return
			default:
			}
			switch r.Intn(4) {
			case 0:
				w.m.SetFenced(true)
				w.m.SetFenced(false)
			case 1:
				epoch++
				away := led
				away.Leader, away.LeaderEpoch = 2, epoch
				p.become(away, 1)
			}
			epoch++
			back := led
			back.LeaderEpoch = epoch
			p.become(back, 1)
		}
	})
	producers.Wait()
	close(stop)
	trouble.Wait()
	last := w.append(p)
	require.NoError(t, soon(t, wait(p, last, -1)))
	p.close(ErrStopped)
	require.Equal(t, waits.Load(), ends.Load())
	require.Zero(t, w.m.Waiting())
	t.Logf("%d waits, %d of them in vain", waits.Load(), lost.Load())
}

func TestTooManyWaits(t *testing.T) {
	w := newWorld(t)
	p := w.partition(w.topic("t"), 0)
	w.m.waiting.Add(maxWaiting)
	_, err := p.Append(Append{Batches: batch(), Acks: 1, Epoch: -1})
	require.ErrorIs(t, err, ErrBusy)
	_, err = p.Append(Append{Batches: batch(), Acks: 0, Epoch: -1})
	require.NoError(t, err, "nobody waits for this one")
	_, err = p.Append(Append{Batches: batch(), Acks: -1, Epoch: -1, Origin: log.Coordinator})
	require.NoError(t, err, "coordinators have limits of their own")
	w.m.waiting.Add(-maxWaiting)
	w.m.SetDiskFull(true)
	_, err = p.Append(Append{Batches: batch(), Acks: 1, Epoch: -1})
	require.ErrorIs(t, err, ErrDiskFull)
	w.m.SetDiskFull(false)
	w.append(p)
}

func TestReadTellsWhetherThereIsMore(t *testing.T) {
	w := newWorld(t)
	p := w.partition(w.topic("t"), 0)
	size := len(batch())
	for range 3 {
		require.NoError(t, soon(t, wait(p, w.append(p), -1)))
	}
	for _, c := range []struct {
		r    Read
		len  int
		more bool
	}{
		{Read{Offset: 0, MaxBytes: 1 << 20}, 3 * size, false},
		{Read{Offset: 0, MaxBytes: size}, size, true},
		{Read{Offset: 1, MaxBytes: 2 * size}, 2 * size, false},
		{Read{Offset: 1, MaxBytes: 1}, 0, true},
		{Read{Offset: 1, MaxBytes: 0}, 0, true},
		{Read{Offset: 2, MaxBytes: 1, AtLeastOne: true, Committed: true}, size, false},
		{Read{Offset: 3, MaxBytes: 1 << 20, AtLeastOne: true}, 0, false},
	} {
		c.r.Epoch, c.r.LastEpoch = -1, -1
		got, err := p.Read(c.r)
		require.NoError(t, err)
		require.Equal(t, c.len, got.Slice.Len, "%+v", c.r)
		require.Equal(t, c.more, got.More, "%+v", c.r)
		require.EqualValues(t, 3, got.HighWatermark)
		if got.Slice.Len > 0 {
			got.Slice.Release()
		}
	}
}

// What no reader may see yet is no answer to a question for a time either.
func TestOffsetsForTimesAreBelowTheWatermark(t *testing.T) {
	w := newWorld(t)
	p := w.partition(w.topic("t"), 0)
	trap := w.holdSyncs()
	done := w.append(p)
	<-trap.Reached()
	for _, timestamp := range []int64{MaxTimestamp, 0} {
		found, err := p.OffsetFor(timestamp, false, -1)
		require.NoError(t, err)
		require.EqualValues(t, -1, found.Offset, "%d", timestamp)
	}
	trap.Release()
	require.NoError(t, soon(t, wait(p, done, -1)))
	for _, timestamp := range []int64{MaxTimestamp, 0} {
		found, err := p.OffsetFor(timestamp, false, -1)
		require.NoError(t, err)
		require.EqualValues(t, 0, found.Offset, "%d", timestamp)
	}
}

func TestADamagedDiskIsAStorageError(t *testing.T) {
	w := newWorld(t)
	p := w.partition(w.topic("t"), 0)
	for range 3 {
		require.NoError(t, soon(t, wait(p, w.append(p), -1)))
	}
	rule := w.faults.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpRead}, Path: "*.log", Err: errors.New("input/output error")})
	_, err := p.Read(Read{Offset: 1, MaxBytes: 100, Epoch: -1, LastEpoch: -1})
	require.ErrorIs(t, err, ErrOffline)
	_, err = p.OffsetFor(1, false, -1)
	require.ErrorIs(t, err, ErrOffline)
	rule.Remove()
}

// A coordinator shard learns that its life is over, and only then, by runtime.ErrNotLeader.
func TestCoordinatorLog(t *testing.T) {
	w := newWorld(t)
	tp := w.topic("__consumer_offsets")
	p := w.partition(tp, 0)
	l := p.CoordinatorLog(0)
	base, err := l.Append(0, batch())
	require.NoError(t, err)
	require.Zero(t, base)
	ch := make(chan error, 1)
	l.WhenCommitted(1, func(err error) { ch <- err })
	require.NoError(t, soon(t, ch))
	got, err := l.Read(0, 1)
	require.NoError(t, err)
	require.Len(t, got, len(batch()))
	require.Equal(t, []int64{0, 1, 1}, []int64{l.Start(), l.End(), l.HighWatermark()})

	_, err = l.Append(7, batch())
	require.ErrorIs(t, err, runtime.ErrNotLeader)
	_, err = l.Append(0, batch()[:70])
	require.ErrorIs(t, err, runtime.ErrRefused)
	require.NotErrorIs(t, err, runtime.ErrUnknown)

	trap := w.holdSyncs()
	_, err = l.Append(0, batch())
	require.NoError(t, err)
	l.WhenCommitted(2, func(err error) { ch <- err })
	<-trap.Reached()
	p.become(cluster.Partition{Leader: 1, LeaderEpoch: 1, Replicas: []int32{1}, ISR: []int32{1}}, 1)
	require.ErrorIs(t, soon(t, ch), runtime.ErrNotLeader)
	l.WhenCommitted(2, func(err error) { ch <- err })
	require.ErrorIs(t, soon(t, ch), runtime.ErrNotLeader, "its epoch is over")
	next := p.CoordinatorLog(1)
	next.WhenCommitted(2, func(err error) { ch <- err })
	trap.Release()
	require.NoError(t, soon(t, ch))
	require.NoError(t, w.cluster.DeleteTopic(context.Background(), tp.ID))
	next.WhenCommitted(9, func(err error) { ch <- err })
	require.ErrorIs(t, soon(t, ch), runtime.ErrNotLeader)
}
