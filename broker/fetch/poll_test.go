package fetch

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// waiting gives a request a minute.
func waiting(r *kmsg.FetchRequest, minBytes int32) *kmsg.FetchRequest {
	r.MaxWaitMillis, r.MinBytes = 60_000, minBytes
	return r
}

func TestAWaitEndsWithItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.patience = time.Hour
		tp := w.topic("t", 2)
		began := time.Now()
		require.Equal(t, "0:0 1:0", shown(w.ask(waiting(asked(tp, 0, 1), 1))))
		require.Equal(t, time.Minute, time.Since(began))
		began = time.Now()
		r := waiting(asked(tp, 0), 0)
		require.Equal(t, "0:0", shown(w.ask(r)), "0 bytes are there")
		r = asked(tp, 0)
		r.MaxWaitMillis = -1
		require.Equal(t, "0:0", shown(w.ask(r)))
		require.Empty(t, shown(w.ask(waiting(asked(nil), 1))), "nothing asked")
		require.Equal(t, "5:0:UNKNOWN_TOPIC_OR_PARTITION", shown(w.ask(waiting(asked(tp, 5), 1))), "errors do not wait")
		require.Zero(t, time.Since(began))
	})
}

func TestAWaitEndsWithItsClient(t *testing.T) {
	w := newWorld(t)
	p := w.send(waiting(asked(w.topic("t", 1), 0), 1))
	require.True(t, p.waits())
	require.Equal(t, 1, w.f.Parked())
	p.cancel()
	require.Equal(t, "0:0", shown(p.answer()))
	require.NoError(t, w.f.Wait(context.Background()))
	gone := w.send(waiting(asked(nil), 1))
	gone.cancel()
	gone.answer()
}

func TestAWaitEndsWithARecord(t *testing.T) {
	w := newWorld(t)
	tp := w.topic("t", 20)
	var all []int32
	for n := range int32(20) {
		all = append(all, n)
	}
	for _, session := range []bool{false, true} {
		r := waiting(asked(tp, all...), 1)
		if session {
			id := w.ask(in(asked(tp, all...), 0, 0)).SessionID
			r = in(waiting(asked(nil), 1), id, 1)
			r.Topics = moved(tp, 13, 1).Topics
		}
		p := w.send(r)
		require.True(t, p.waits())
		w.produce(tp, 13, 100)
		got := p.answer()
		n := 0
		for _, rp := range got.Topics[0].Partitions {
			if len(rp.RecordBatches) > 0 {
				require.EqualValues(t, 13, rp.Partition)
				n++
			}
		}
		require.Equal(t, 1, n)
	}
	r := waiting(moved(tp, 0, 0), 1)
	r.IsolationLevel = 1
	p := w.send(r)
	w.produce(tp, 0, 100)
	got := p.answer().Topics[0].Partitions[0]
	require.Len(t, got.RecordBatches, len(batch(1, 100)))
	require.NotNil(t, got.AbortedTransactions, "empty for read_committed, absent otherwise")
}

// What many partitions have together counts.
func TestMinBytesCountOverAllPartitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		tp := w.topic("t", 3)
		size := int32(len(batch(1, 100)))
		w.produce(tp, 0, 100)
		p := w.send(waiting(asked(tp, 0, 1, 2), 3*size))
		w.produce(tp, 1, 100)
		require.True(t, p.waits())
		w.produce(tp, 1, 20)
		synctest.Wait()
		require.True(t, p.waits(), "answered too early")
		w.produce(tp, 2, 100)
		synctest.Wait()
		require.False(t, p.waits(), "time did not pass: the records ended the wait")
		require.Equal(t, fmt.Sprintf("0:%d 1:%d 2:%d", size, size+int32(len(batch(1, 20))), size), shown(p.answer()))
	})
}

// No answer holds more than its limit, so nobody waits for more.
func TestMinBytesAboveMaxBytes(t *testing.T) {
	w := newWorld(t)
	tp := w.topic("t", 1)
	w.produce(tp, 0, 100)
	w.produce(tp, 0, 100)
	size := len(batch(1, 100))
	r := waiting(asked(tp, 0), 1<<30)
	r.MaxBytes = int32(2 * size)
	require.Equal(t, fmt.Sprintf("0:%d", 2*size), shown(w.ask(r)))
}

// A batch that does not fit any more is there all the same: as in Kafka it counts up to the partition's limit.
func TestMinBytesReachedButForABatchThatDoesNotFit(t *testing.T) {
	w := newWorld(t)
	tp := w.topic("t", 1)
	w.produce(tp, 0, 600)
	w.produce(tp, 0, 600)
	r := waiting(asked(tp, 0), 1000)
	r.Topics[0].Partitions[0].PartitionMaxBytes = 1000
	require.Equal(t, fmt.Sprintf("0:%d", len(batch(1, 600))), shown(w.ask(r)))
}

// What is left of a segment is answered at once, however little: the next segment is for the next answer.
func TestNobodyWaitsAtTheEndOfASegment(t *testing.T) {
	w := newWorld(t)
	tp := w.topic("t", 1, "segment.bytes", fmt.Sprint(1<<20), "max.message.bytes", "2000000")
	w.produce(tp, 0, 1000)
	w.produce(tp, 0, 1<<20-500)
	r := waiting(asked(tp, 0), 5<<20)
	r.Topics[0].Partitions[0].PartitionMaxBytes = 3 << 20
	require.Equal(t, fmt.Sprintf("0:%d", len(batch(1, 1000))), shown(w.ask(r)))
	p := w.send(waiting(moved(tp, 0, 2), 1))
	w.produce(tp, 0, 10)
	p.answer()
}

func TestAWaitEndsWithItsTopic(t *testing.T) {
	w := newWorld(t)
	tp := w.topic("t", 3)
	for _, min := range []int32{1, 1000} {
		p := w.send(waiting(asked(tp, 0, 1, 2), min))
		w.delete(tp)
		for _, rp := range p.answer().Topics[0].Partitions {
			require.NotZero(t, rp.ErrorCode)
		}
		require.Equal(t, "0:0:UNKNOWN_TOPIC_ID", shown(w.ask(waiting(asked(tp, 0), 1))))
		tp = w.topic("t", 3)
	}
}

func TestAWaitEndsWithLeadership(t *testing.T) {
	w := newWorld(t)
	p := w.send(waiting(asked(w.topic("t", 1), 0), 1))
	w.replicas.SetFenced(true)
	require.Equal(t, "0:0:NOT_LEADER_FOR_PARTITION", shown(p.answer()))
	w.replicas.SetFenced(false)
}

func TestAWaitEndsWithTheBroker(t *testing.T) {
	w := newWorld(t)
	p := w.send(waiting(asked(w.topic("t", 1), 0), 1))
	w.replicas.Close()
	p.answer()
}

// Deleting records moves the log's start, which a reader below it has to hear of.
func TestAWaitEndsWhenItsOffsetIsDeleted(t *testing.T) {
	w := newWorld(t)
	tp := w.topic("t", 1)
	w.produce(tp, 0, 100)
	w.produce(tp, 0, 100)
	p := w.send(waiting(asked(tp, 0), 1<<20))
	require.True(t, p.waits())
	part, err := w.replicas.Partition(tp.ID, 0)
	require.NoError(t, err)
	_, err = part.DeleteRecords(1)
	require.NoError(t, err)
	require.Equal(t, "0:0:OFFSET_OUT_OF_RANGE", shown(p.answer()))
}

func TestADiskErrorEndsAWait(t *testing.T) {
	w := newWorld(t)
	tp := w.topic("t", 1)
	for range 3 {
		w.produce(tp, 0, 100)
	}
	w.faults.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpRead}, Path: "*.log", Err: errors.New("input/output error")})
	r := waiting(moved(tp, 0, 1), 1)
	r.Topics[0].Partitions[0].PartitionMaxBytes = int32(len(batch(1, 100))) // so that it has to look where the batch ends
	require.Equal(t, "0:0:KAFKA_STORAGE_ERROR", shown(w.ask(r)))
}

// A record that comes while a request is being parked is not overlooked, and many requests are each answered once.
func TestNoWakeUpIsLost(t *testing.T) {
	w := newWorld(t)
	tp := w.topic("t", 10)
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			var at [10]int64
			for total := 0; total < 10*20; {
				r := asked(tp, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9)
				for n := range r.Topics[0].Partitions {
					r.Topics[0].Partitions[n].FetchOffset = at[n]
				}
				r.MaxWaitMillis = 30_000
				began := time.Now()
				for _, p := range w.ask(r).Topics[0].Partitions {
					n := int64(len(p.RecordBatches) / len(batch(1, 10)))
					at[p.Partition] += n
					total += int(n)
				}
				if time.Since(began) > 20*time.Second {
					t.Error("slept through a record")
				}
			}
		})
	}
	for i := range 200 {
		w.produce(tp, int32(i%10), 10)
	}
	readers.Wait()
}

func TestLimitsOfAnAnswer(t *testing.T) {
	w := newWorld(t)
	tp := w.topic("t", 2)
	for n := range int32(2) {
		for range 3 {
			w.produce(tp, n, 1000)
		}
	}
	size := len(batch(1, 1000))
	for _, c := range []struct {
		max, perPartition int32
		want              [2]int
	}{
		{50 << 20, 1 << 20, [2]int{3, 3}},
		{1<<31 - 1, 1<<31 - 1, [2]int{3, 3}},
		{50 << 20, int32(2*size) + 1, [2]int{2, 2}},
		{50 << 20, 1, [2]int{1, 0}},              // the first batch of the first partition that has any, whole
		{1, 1 << 20, [2]int{1, 0}},               // however small the limit
		{0, 0, [2]int{1, 0}},                     //
		{int32(4 * size), 1 << 20, [2]int{3, 1}}, // what is left of the answer's limit
		{int32(4*size) - 1, 1 << 20, [2]int{3, 0}},
	} {
		r := asked(tp, 0, 1)
		r.MaxBytes = c.max
		for i := range r.Topics[0].Partitions {
			r.Topics[0].Partitions[i].PartitionMaxBytes = c.perPartition
		}
		require.Equal(t, fmt.Sprintf("0:%d 1:%d", c.want[0]*size, c.want[1]*size), shown(w.ask(r)), "%+v", c)
	}
	w.f.o.MaxBytes = int32(size)
	require.Equal(t, fmt.Sprintf("0:%d 1:0", size), shown(w.ask(asked(tp, 0, 1))), "fetch.max.bytes")
}

func TestAPartitionNamedTwiceIsReadOnce(t *testing.T) {
	w := newWorld(t)
	tp := w.topic("t", 2)
	w.produce(tp, 0, 10)
	r := asked(tp, 0, 1, 0)
	r.Topics[0].Partitions[2].FetchOffset = 1
	require.Equal(t, "0:0 1:0", shown(w.ask(r)), "as it was asked last, where it stood first")
}

// benchWorld is a session over n partitions.
func benchWorld(b *testing.B, n int32) (w *world, tp *cluster.Topic, id int32) {
	w = newWorld(b)
	tp = w.topic("t", n)
	all := make([]int32, n)
	for i := range all {
		all[i] = int32(i)
	}
	return w, tp, w.ask(in(asked(tp, all...), 0, 0)).SessionID
}

func BenchmarkSessionOf10000Quiet(b *testing.B) {
	w, _, id := benchWorld(b, 10_000)
	epoch := int32(0)
	b.ReportAllocs()
	for b.Loop() {
		epoch++
		w.ask(in(asked(nil), id, epoch))
	}
}

func BenchmarkSessionOf10000Parked(b *testing.B) {
	w, _, id := benchWorld(b, 10_000)
	epoch := int32(0)
	b.ReportAllocs()
	for b.Loop() {
		epoch++
		p := w.send(waiting(in(asked(nil), id, epoch), 1))
		p.cancel()
		p.answer()
	}
}

func BenchmarkFetchOnePartition(b *testing.B) {
	w := newWorld(b)
	tp := w.topic("t", 1)
	w.produce(tp, 0, 1000)
	b.ReportAllocs()
	for b.Loop() {
		r := <-w.send(asked(tp, 0)).done
		r.Free()
	}
}

// BenchmarkWakeOfMany is one record for a thousand that wait for it.
func BenchmarkWakeOfMany(b *testing.B) {
	w := newWorld(b)
	tp := w.topic("t", 1)
	var at int64
	b.ReportAllocs()
	for b.Loop() {
		all := make([]*pending, 1000)
		for i := range all {
			all[i] = w.send(waiting(moved(tp, 0, at), 1))
		}
		w.produce(tp, 0, 10)
		at++
		for _, p := range all {
			r := <-p.done
			r.Free()
			p.cancel()
		}
	}
}
