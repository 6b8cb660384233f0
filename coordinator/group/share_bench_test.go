package group

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/storage/kv"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

func shareBench(b *testing.B, topics ...knownTopic) *Service {
	b.Helper()
	db, err := kv.Open(kv.Options{FS: vfs.Disk(), Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	o := Options{KV: db, Partitions: func() int32 { return 1 }}
	newWorld(topics...).options(&o)
	s, err := New(o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		s.Close()
		db.Close()
	})
	s.Load(uuid.ID{1}, 0, 1, &memLog{})
	loaded(b, s)
	return s
}

// loaded waits until a heartbeat is not told that the coordinator loads.
func loaded(b *testing.B, s *Service) {
	for benchBeat(s, "warm", "m", 0, "none").ErrorCode != 0 {
	}
}

func benchBeat(s *Service, group, member string, epoch int32, topics ...string) *kmsg.ShareGroupHeartbeatResponse {
	req := kmsg.NewPtrShareGroupHeartbeatRequest()
	req.Version, req.GroupID, req.MemberID, req.MemberEpoch, req.SubscribedTopicNames = 1, group, member, epoch, topics
	answer := make(chan *kmsg.ShareGroupHeartbeatResponse, 1)
	s.ShareGroupHeartbeat(Caller{"client", "/127.0.0.1"}, req, func(r *kmsg.ShareGroupHeartbeatResponse) { answer <- r })
	return <-answer
}

// BenchmarkShareHeartbeat is one that changes nothing, in a group of 100.
func BenchmarkShareHeartbeat(b *testing.B) {
	s := shareBench(b, knownTopic{"t", uuid.ID{7}, 100})
	for i := range 100 {
		benchBeat(s, "g", fmt.Sprint("m", i), 0, "t")
	}
	epoch := benchBeat(s, "g", "m5", 0, "t").MemberEpoch
	b.ReportAllocs()
	for b.Loop() {
		if r := benchBeat(s, "g", "m5", epoch); r.ErrorCode != 0 {
			b.Fatal(r.ErrorCode)
		}
	}
}

// BenchmarkShareJoin is a member that joins a group of 20, with 20 partitions, and leaves it.
func BenchmarkShareJoin(b *testing.B) {
	s := shareBench(b, knownTopic{"t", uuid.ID{7}, 20})
	for i := range 20 {
		benchBeat(s, "g", fmt.Sprint("m", i), 0, "t")
	}
	b.ReportAllocs()
	for b.Loop() {
		if r := benchBeat(s, "g", "n", 0, "t"); r.Assignment == nil {
			b.Fatal(r.ErrorCode)
		}
		benchBeat(s, "g", "n", -1)
	}
}
