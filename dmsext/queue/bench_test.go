package queue

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/protocol/private"
)

// instant is a broker that answers the hot requests without doing anything, so that a benchmark shows what the service costs.
type instant struct {
	*fakeBroker
	record private.LeasedRecord
}

func (b *instant) Do(ctx context.Context, principal string, req kmsg.Request) (kmsg.Response, error) {
	switch r := req.(type) {
	case *private.ReadDocumentsRequest:
		if d, ok := b.docs[r.Kind+"\n"+r.Name]; ok {
			return &private.ReadDocumentsResponse{Documents: []private.Document{d}}, nil
		}
	case *kmsg.ProduceRequest:
		return &kmsg.ProduceResponse{Topics: []kmsg.ProduceResponseTopic{{Partitions: []kmsg.ProduceResponseTopicPartition{{BaseOffset: 1234}}}}}, nil
	case *private.LeaseRequest:
		resp := &private.LeaseResponse{Records: make([]private.LeasedRecord, r.MaxRecords)}
		for i := range resp.Records {
			resp.Records[i] = b.record
			resp.Records[i].Offset = int64(i)
		}
		return resp, nil
	case *private.SettleRequest:
		return &private.SettleResponse{Accepted: int32(len(r.Leases[0].Records))}, nil
	}
	return b.fakeBroker.Do(ctx, principal, req)
}

// benchBody is a kilobyte of JSON.
var benchBody = json.RawMessage(`{"orderId":42,"note":"` + strings.Repeat("x", 1000) + `"}`)

func newBench(b *testing.B) (s *Service, queue, group string) {
	broker := &instant{fakeBroker: newFake(nil), record: private.LeasedRecord{Value: benchBody, Deliveries: 1}}
	s = New(Options{Broker: broker})
	q, err := s.CreateQueue(b.Context(), project, NewQueue{Name: "orders"})
	if err != nil {
		b.Fatal(err)
	}
	g, err := s.CreateGroups(b.Context(), project, q.ID, []string{"billing"})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	return s, q.ID, g[0].ID
}

func benchmarkSend(b *testing.B, n int) {
	s, queue, _ := newBench(b)
	messages := make([]Message, n)
	for i := range messages {
		messages[i].Body = benchBody
	}
	b.SetBytes(int64(n * len(benchBody)))
	for b.Loop() {
		if _, err := s.Send(b.Context(), project, queue, messages); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSend1(b *testing.B)  { benchmarkSend(b, 1) }
func BenchmarkSend10(b *testing.B) { benchmarkSend(b, 10) }

func benchmarkReceive(b *testing.B, n int) {
	s, queue, group := newBench(b)
	r := usual()
	r.Max = n
	b.SetBytes(int64(n * len(benchBody)))
	for b.Loop() {
		if got, err := s.Receive(b.Context(), project, queue, group, r); err != nil || len(got) != n {
			b.Fatal(err)
		}
	}
}

func BenchmarkReceive1(b *testing.B)  { benchmarkReceive(b, 1) }
func BenchmarkReceive10(b *testing.B) { benchmarkReceive(b, 10) }

func benchmarkAck(b *testing.B, n int) {
	s, queue, group := newBench(b)
	r := usual()
	r.Max = n
	got, err := s.Receive(b.Context(), project, queue, group, r)
	if err != nil {
		b.Fatal(err)
	}
	acks := make([]Ack, n)
	for i := range acks {
		acks[i] = Ack{Handle: got[i].Handle, Success: true}
	}
	for b.Loop() {
		if _, err := s.Ack(b.Context(), project, queue, group, false, acks); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAck1(b *testing.B)  { benchmarkAck(b, 1) }
func BenchmarkAck10(b *testing.B) { benchmarkAck(b, 10) }

func BenchmarkIsJSON(b *testing.B) {
	b.SetBytes(int64(len(benchBody)))
	b.ReportAllocs()
	for b.Loop() {
		if !isJSON(benchBody) {
			b.Fatal()
		}
	}
}

func BenchmarkHandle(b *testing.B) {
	key := testKey(1)
	h := handle{partition: 1, offset: 1 << 30, delivery: 1}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := parseHandle(h.text("p", key), "p", func(byte) *macKey { return key }); !ok {
			b.Fatal()
		}
	}
}
