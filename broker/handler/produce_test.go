package handler

import (
	"context"
	"fmt"
	"math/rand"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/protocol/wire"
	"github.com/tidemark-mq/tidemark/storage/logdir"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// producing is a host fixture whose disk can be stopped.
type producing struct {
	*fixture
	disk *vfs.Faults
	dir  *logdir.Dir
	held *vfs.Applied // the rule that stops the disk
}

func newProducing(t testing.TB) *producing {
	p := &producing{disk: vfs.NewFaults(vfs.NewCrash(1))}
	var err error
	p.dir, err = logdir.Open(logdir.Options{FS: p.disk, Dir: "data", BrokerID: 1, NoCleaner: true, Reserve: -1})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.dir.Close()) })
	p.fixture = newFixture(t, func(d *Deps) {
		d.Disk = p.dir
		d.Replicas = replica.New(replica.Options{Dir: p.dir, BrokerID: 1})
	})
	p.cluster.OnChange(p.deps.Replicas.Apply)
	t.Cleanup(p.deps.Replicas.Close)
	return p
}

// stopDisk holds every sync until the trap is released.
func (p *producing) stopDisk() *vfs.Trap {
	trap := vfs.NewTrap()
	if p.held != nil {
		p.held.Remove()
	}
	p.held = p.disk.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpSync}, Hold: trap})
	p.t.Cleanup(trap.Release)
	return trap
}

// to is a request with a batch for each of a topic's partitions named.
func to(t *cluster.Topic, acks int16, partitions ...int32) *kmsg.ProduceRequest {
	r := at(13, kmsg.NewPtrProduceRequest())
	r.Acks, r.TimeoutMillis = acks, 5000
	rt := kmsg.NewProduceRequestTopic()
	rt.Topic, rt.TopicID = t.Name, t.ID
	for _, n := range partitions {
		rp := kmsg.NewProduceRequestTopicPartition()
		rp.Partition, rp.Records = n, batch(record.Spec{}, time.Now().UnixMilli())
		rt.Partitions = append(rt.Partitions, rp)
	}
	r.Topics = []kmsg.ProduceRequestTopic{rt}
	return r
}

// sent is a call on its way; answers says how often it was answered.
type sent struct {
	mu       sync.Mutex
	answers  int
	response call.Response
	done     chan struct{}
}

func (s *sent) Answer(r call.Response) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers++
	s.response = r
	close(s.done)
}

func (s *sent) Repeated(*call.Call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers++
}

// send starts a request; it is not waited for.
func (p *producing) send(r *kmsg.ProduceRequest) *sent {
	s := &sent{done: make(chan struct{})}
	c := &call.Call{Context: context.Background(), Header: wire.Header{Version: r.Version}, Request: r, Peer: &call.Peer{}, Session: &call.Session{}, Received: time.Now()}
	c.SetSink(s)
	p.registry.API(r.Key()).Handle(c)
	return s
}

func (s *sent) waits() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.answers == 0
}

// codes is partition, error and base offset of each partition answered.
func (s *sent) codes() string {
	<-s.done
	out := ""
	for _, t := range s.response.Message.(*kmsg.ProduceResponse).Topics {
		for _, rp := range t.Partitions {
			out += fmt.Sprintf("[%d %s %d]", rp.Partition, named(rp.ErrorCode), rp.BaseOffset)
		}
	}
	return out
}

func TestProduceIsAnsweredWhenTheDiskHasIt(t *testing.T) {
	p := newProducing(t)
	tp := p.topic("t", 3)
	for _, acks := range []int16{1, -1} {
		trap := p.stopDisk()
		s := p.send(to(tp, acks, 0, 1, 7))
		<-trap.Reached()
		require.True(t, s.waits())
		trap.Release()
		base := map[int16]int{1: 0, -1: 1}[acks]
		require.Equal(t, fmt.Sprintf("[0  %d][1  %d][7 UNKNOWN_TOPIC_OR_PARTITION -1]", base, base), s.codes())
	}
	none := p.send(to(tp, 1, 8, 9))
	require.Equal(t, "[8 UNKNOWN_TOPIC_OR_PARTITION -1][9 UNKNOWN_TOPIC_OR_PARTITION -1]", none.codes())
}

func TestProduceWithoutAcknowledgement(t *testing.T) {
	p := newProducing(t)
	tp := p.topic("t", 1)
	p.stopDisk()
	s := p.send(to(tp, 0, 0))
	<-s.done
	require.True(t, s.response.Nothing, "nobody waits for the disk")
	s = p.send(to(tp, 0, 0, 4))
	<-s.done
	require.True(t, s.response.Close, "a closed connection is all that tells of an error")
	part, err := p.deps.Replicas.Partition(tp.ID, 0)
	require.NoError(t, err)
	require.EqualValues(t, 2, part.LogEnd())
	require.Equal(t, "[0 INVALID_REQUIRED_ACKS -1]", p.send(to(tp, 2, 0)).codes())
	require.Equal(t, "[0 INVALID_REQUIRED_ACKS -1]", p.send(to(tp, -2, 0)).codes())
}

// A produce that timed out is answered once, and what it held is free although the disk has not come back.
func TestProduceThatTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProducing(t)
		tp := p.topic("t", 2)
		p.send(to(tp, -1, 0)).codes()
		trap := p.stopDisk()
		began := time.Now()
		var held []weak.Pointer[kmsg.ProduceRequest]
		var all []*sent
		for _, timeout := range []int32{5000, 0, -1} {
			r := to(tp, -1, 0, 1)
			r.TimeoutMillis = timeout
			held = append(held, weak.Make(r))
			s := p.send(r)
			require.Equal(t, "[0 REQUEST_TIMED_OUT -1][1 REQUEST_TIMED_OUT -1]", s.codes())
			want := max(flushGrace, time.Duration(timeout)*time.Millisecond)
			require.Equal(t, want, time.Since(began))
			began = time.Now()
			all = append(all, s)
		}
		require.EqualValues(t, 6, p.deps.Replicas.Waiting())
		runtime.GC()
		runtime.GC()
		for _, w := range held {
			require.Nil(t, w.Value(), "a request whose answer is out is still held")
		}
		trap.Release()
		synctest.Wait()
		require.Zero(t, p.deps.Replicas.Waiting())
		for _, s := range all {
			require.Equal(t, 1, s.answers)
		}
		require.Equal(t, "[0  4]", p.send(to(tp, -1, 0)).codes(), "what timed out is there")
	})
}

// An answer may come from the disk, the clock, or both at once.
func TestProduceIsAnsweredOnce(t *testing.T) {
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	synctest.Test(t, func(t *testing.T) {
		r := rand.New(rand.NewSource(seed))
		p := newProducing(t)
		tp := p.topic("t", 4)
		for range 40 {
			trap := p.stopDisk()
			var all []*sent
			for range 5 {
				q := to(tp, []int16{1, -1}[r.Intn(2)], int32(r.Intn(4)), int32(r.Intn(4)))
				q.TimeoutMillis = 1000
				all = append(all, p.send(q))
			}
			time.Sleep(time.Second - time.Duration(r.Intn(3)-1)*time.Nanosecond)
			trap.Release()
			for _, s := range all {
				<-s.done
			}
			synctest.Wait()
			for _, s := range all {
				require.Equal(t, 1, s.answers)
			}
		}
	})
}

func TestProduceToWhatGoesAway(t *testing.T) {
	p := newProducing(t)
	tp := p.topic("t", 1)
	trap := p.stopDisk()
	s := p.send(to(tp, 1, 0))
	<-trap.Reached()
	p.deps.Replicas.SetFenced(true)
	require.Equal(t, "[0 NOT_LEADER_FOR_PARTITION -1]", s.codes())
	require.Equal(t, "[0 NOT_LEADER_FOR_PARTITION -1]", p.send(to(tp, 1, 0)).codes())
	p.deps.Replicas.SetFenced(false)
	s = p.send(to(tp, -1, 0))
	deleted := make(chan error)
	go func() { deleted <- p.cluster.DeleteTopic(context.Background(), tp.ID) }()
	require.Equal(t, "[0 UNKNOWN_TOPIC_OR_PARTITION -1]", s.codes())
	trap.Release()
	require.NoError(t, <-deleted)
	require.Equal(t, "[0 UNKNOWN_TOPIC_ID -1]", p.send(to(tp, -1, 0)).codes())

	tp = p.topic("other", 1)
	p.deps.Replicas.SetDiskFull(true)
	require.Equal(t, "[0 KAFKA_STORAGE_ERROR -1]", p.send(to(tp, -1, 0)).codes())
	p.deps.Replicas.SetDiskFull(false)
	p.stopDisk()
	s = p.send(to(tp, -1, 0))
	p.deps.Replicas.Close()
	require.Equal(t, "[0 NOT_LEADER_FOR_PARTITION -1]", s.codes())
	require.EqualValues(t, 7, p.code(replica.ErrBusy), "clients try again")
}

func (p *producing) code(err error) int16 {
	h := &handlers{Deps: p.deps}
	return h.code(err, "test")
}

// Of a repeat the answer is the original's, and as durable.
func TestARepeatWaitsForItsOriginal(t *testing.T) {
	p := newProducing(t)
	tp := p.topic("t", 1)
	trap := p.stopDisk()
	once := func() *kmsg.ProduceRequest {
		r := to(tp, -1, 0)
		r.Topics[0].Partitions[0].Records = batch(record.Spec{Producer: &record.Producer{ID: 5}}, time.Now().UnixMilli())
		return r
	}
	first, second := p.send(once()), p.send(once())
	<-trap.Reached()
	require.True(t, first.waits())
	require.True(t, second.waits())
	trap.Release()
	require.Equal(t, "[0  0]", first.codes())
	require.Equal(t, "[0  0]", second.codes())
	part, err := p.deps.Replicas.Partition(tp.ID, 0)
	require.NoError(t, err)
	require.EqualValues(t, 1, part.LogEnd())
}

// Nothing of a request's records is looked at after its answer: the server gives the frame to another request.
func TestRecordsAreNotUsedAfterTheAnswer(t *testing.T) {
	p := newProducing(t)
	tp := p.topic("t", 1)
	r := to(tp, -1, 0)
	records := r.Topics[0].Partitions[0].Records
	kept := append([]byte{}, records...)
	trap := p.stopDisk()
	s := p.send(r)
	<-trap.Reached()
	clear(records) // as soon as the handler returned; the answer is not even out
	trap.Release()
	require.Equal(t, "[0  0]", s.codes())
	part, err := p.deps.Replicas.Partition(tp.ID, 0)
	require.NoError(t, err)
	found, err := part.Read(replica.Read{MaxBytes: 1 << 20, AtLeastOne: true, Epoch: -1, LastEpoch: -1})
	require.NoError(t, err)
	defer found.Slice.Release()
	got, err := found.Slice.Bytes(nil)
	require.NoError(t, err)
	require.Equal(t, kept[61:], got[61:])
	require.NoError(t, record.Batch(got).CheckCRC())
}

func BenchmarkProduce(b *testing.B) {
	p := newProducing(b)
	tp := p.topic("t", 1, "flush.messages", "100")
	r := to(tp, -1, 0)
	records := r.Topics[0].Partitions[0].Records
	original := append([]byte{}, records...)
	b.ReportAllocs()
	for b.Loop() {
		copy(records, original)
		<-p.send(r).done
	}
}
