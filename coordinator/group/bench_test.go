package group

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/storage/kv"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// nullLog takes appends and forgets them. What it takes is committed at once or, as by a
// flusher, every so often.
type nullLog struct {
	mu      sync.Mutex
	end, hw int64
	lag     bool
	waiting []func(error)
	ends    []int64
}

func (l *nullLog) Append(_ int32, batch []byte) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	base := l.end
	l.end += int64(uint32(batch[57])<<24 | uint32(batch[58])<<16 | uint32(batch[59])<<8 | uint32(batch[60]))
	if !l.lag {
		l.hw = l.end
	}
	return base, nil
}

func (l *nullLog) WhenCommitted(end int64, fn func(error)) {
	l.mu.Lock()
	if end > l.hw {
		l.waiting, l.ends = append(l.waiting, fn), append(l.ends, end)
		fn = nil
	}
	l.mu.Unlock()
	if fn != nil {
		fn(nil)
	}
}

func (l *nullLog) flush() {
	l.mu.Lock()
	l.hw = l.end
	due := l.waiting
	l.waiting, l.ends = nil, nil
	l.mu.Unlock()
	for _, fn := range due {
		fn(nil)
	}
}

func (l *nullLog) Read(int64, int) ([]byte, error) { return nil, nil }
func (l *nullLog) Start() int64                    { return 0 }
func (l *nullLog) End() int64                      { l.mu.Lock(); defer l.mu.Unlock(); return l.end }
func (l *nullLog) HighWatermark() int64            { l.mu.Lock(); defer l.mu.Unlock(); return l.hw }

func benchService(b *testing.B, logs ...runtime.Log) *Service {
	db, err := kv.Open(kv.Options{FS: vfs.Disk(), Dir: b.TempDir()})
	require.NoError(b, err)
	s, err := New(Options{KV: db, Partitions: func() int32 { return int32(len(logs)) }})
	require.NoError(b, err)
	b.Cleanup(func() {
		s.Close()
		require.NoError(b, db.Close())
	})
	for i, log := range logs {
		s.Load(uuid.ID{1}, int32(i), 0, log)
	}
	for len(s.Shards()) != len(logs) || !allActive(s) {
		time.Sleep(time.Millisecond)
	}
	return s
}

func allActive(s *Service) bool {
	for _, state := range s.Shards() {
		if state != runtime.Active {
			return false
		}
	}
	return true
}

// BenchmarkOffsetCommit commits one offset at a time from each of so many clients, of
// groups of their own in one partition. Flush is a log that commits every 200 us.
func BenchmarkOffsetCommit(b *testing.B) {
	for _, clients := range []int{1, 64, 1000} {
		for _, lag := range []bool{false, true} {
			name := fmt.Sprintf("clients=%d/log=instant", clients)
			if lag {
				name = fmt.Sprintf("clients=%d/log=flush", clients)
			}
			b.Run(name, func(b *testing.B) {
				log := &nullLog{lag: lag}
				s := benchService(b, log)
				stop := make(chan struct{})
				var flusher sync.WaitGroup
				if lag {
					flusher.Go(func() {
						for {
							select {
							case <-stop:
								log.flush()
								return
							case <-time.After(200 * time.Microsecond):
								log.flush()
							}
						}
					})
				}
				b.ReportAllocs()
				commitAll(b, s, clients)
				close(stop)
				flusher.Wait()
			})
		}
	}
}

func commitAll(b *testing.B, s *Service, clients int) {
	var next atomic.Int64
	var all sync.WaitGroup
	b.ResetTimer()
	for i := range clients {
		all.Go(func() {
			req := commitOf(fmt.Sprint("group-", i), "t", 0, 1)
			answered := make(chan *kmsg.OffsetCommitResponse, 1)
			done := func(r *kmsg.OffsetCommitResponse) { answered <- r }
			for next.Add(1) <= int64(b.N) {
				req.Topics[0].Partitions[0].Offset++
				s.OffsetCommit(req, done)
				if r := <-answered; r.Topics[0].Partitions[0].ErrorCode != 0 {
					b.Error("commit failed", r.Topics[0].Partitions[0].ErrorCode)
					return
				}
			}
		})
	}
	all.Wait()
	b.StopTimer()
}

func BenchmarkOffsetFetch(b *testing.B) {
	s := benchService(b, &nullLog{})
	for i := range 1000 {
		done := make(chan struct{})
		s.OffsetCommit(commitOf(fmt.Sprint("group-", i), "t", 0, 10), func(*kmsg.OffsetCommitResponse) { close(done) })
		<-done
	}
	asked := kmsg.NewOffsetFetchRequestGroup()
	asked.Group = "group-500"
	asked.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: "t", Partitions: []int32{3}}}
	b.ReportAllocs()
	for b.Loop() {
		s.OffsetFetch(&asked, false, func(r kmsg.OffsetFetchResponseGroup) {
			if r.Topics[0].Partitions[0].Offset != 1 {
				b.Fatal("not found")
			}
		})
	}
}

func BenchmarkHeartbeat(b *testing.B) {
	s := benchService(b, &nullLog{})
	join := kmsg.NewPtrJoinGroupRequest()
	join.Version, join.Group, join.ProtocolType = 3, "g", "consumer"
	join.SessionTimeoutMillis, join.RebalanceTimeoutMillis = 60_000, 60_000
	join.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range"}}
	joined := make(chan *kmsg.JoinGroupResponse, 1)
	s.JoinGroup(Caller{}, join, func(r *kmsg.JoinGroupResponse) { joined <- r })
	r := <-joined
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.Generation = "g", r.MemberID, r.Generation
	b.ReportAllocs()
	for b.Loop() {
		s.Heartbeat(req, func(r *kmsg.HeartbeatResponse) {
			if r.ErrorCode != 0 {
				b.Fatal(r.ErrorCode)
			}
		})
	}
}

// BenchmarkLoad loads a shard whose view has all but the last record of a million offsets.
func BenchmarkLoad(b *testing.B) {
	fs := vfs.Disk()
	dir := b.TempDir()
	db, err := kv.Open(kv.Options{FS: fs, Dir: dir})
	require.NoError(b, err)
	defer func() { require.NoError(b, db.Close()) }()
	log := &memLog{}
	load := func() *Service {
		s, err := New(Options{KV: db, Partitions: func() int32 { return 1 }})
		require.NoError(b, err)
		s.Load(uuid.ID{1}, 0, 1, log)
		for !allActive(s) {
			time.Sleep(100 * time.Microsecond)
		}
		return s
	}
	s := load()
	for i := range 10_000 {
		done := make(chan struct{})
		s.OffsetCommit(commitOf(fmt.Sprint("group-", i), "t", 0, 100), func(*kmsg.OffsetCommitResponse) { close(done) })
		<-done
	}
	s.Close()
	log.mu.Lock()
	log.batches = log.batches[len(log.batches)-1:]
	log.mu.Unlock()
	b.ReportAllocs()
	for b.Loop() {
		load().Close()
	}
}
