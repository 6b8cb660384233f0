package share

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/coordinator/share"
	"github.com/tidemark-mq/tidemark/protocol/private"
)

// keepNothing is a state that takes all writes and reads as kept says.
type keepNothing struct{ kept share.Stored }

func (s keepNothing) Read(_ share.Key, _ int32, done func(share.Stored, error))  { done(s.kept, nil) }
func (s keepNothing) Write(_ *share.Write, done func(error))                     { done(nil) }
func (s keepNothing) Initialize(_ share.Key, _ int32, _ int64, done func(error)) { done(nil) }
func (s keepNothing) Summary(_ share.Key, done func(share.Stored, error))        { done(s.kept, nil) }

// heard keeps a call's answer.
type heard struct{ resp call.Response }

func (a *heard) Answer(r call.Response) { a.resp = r }
func (a *heard) Repeated(*call.Call)    { panic("answered twice") }

// BenchmarkLeaseAndSettle is one retrieve of one message and its acknowledgement, without the disk, while so many other messages are leased
// one by one.
func BenchmarkLeaseAndSettle(b *testing.B) {
	for _, leased := range []int{0, 100_000} {
		b.Run(fmt.Sprint("leased=", leased), func(b *testing.B) {
			w := newWorld(b)
			q := w.queue(1, queueGroup, "share.window.max.records", "100000")
			all := make([]message, 100)
			for i := range all {
				all[i] = message{value: "a message of some length, as they are"}
			}
			for range 1001 {
				w.put(q, 0, all...)
			}
			var kept share.Stored
			for i := range leased - 1 {
				kept.Batches = append(kept.Batches, share.Batch{First: int64(i), Last: int64(i), State: share.Acquired, Holder: fmt.Sprint(i), Deliveries: 1,
					Until: time.Now().Add(time.Hour).UnixMilli() + int64(i)})
			}
			w.e.o.State = keepNothing{kept}
			ask := asked(q, queueGroup, "me")
			ask.MaxRecords = 1
			do := func(handle func(*call.Call), c *call.Call) *heard {
				a := &heard{}
				c.SetSink(a)
				handle(c)
				return a
			}
			b.ReportAllocs()
			for b.Loop() {
				got := do(w.e.Lease, &call.Call{Context: b.Context(), Request: ask}).resp.Message.(*private.LeaseResponse)
				if len(got.Records) != 1 {
					b.Fatalf("%d records: %s", len(got.Records), got.ErrorMessage)
				}
				done := do(w.e.Settle, &call.Call{Context: b.Context(), Request: &private.SettleRequest{Group: queueGroup, TopicID: q.ID, Leases: []private.SettledLease{
					{Partition: 0, Holder: "me", Records: []private.SettledRecord{{Offset: got.Records[0].Offset, Delivery: got.Records[0].Deliveries, Action: private.Release}}}}}})
				if m := done.resp.Message.(*private.SettleResponse); m.ErrorCode != 0 {
					b.Fatal(m.ErrorMessage)
				}
			}
			require.EqualValues(b, max(0, leased-1), w.count(q, queueGroup).Groups[0].InFlight)
		})
	}
}

// BenchmarkOneOfManyWaiters is one message that one of ten thousand long polls is waiting for, from its produce to the answer.
func BenchmarkOneOfManyWaiters(b *testing.B) {
	w := newWorld(b)
	q := w.queue(1, queueGroup)
	w.take(q, queueGroup, "first", 1)
	w.e.o.State = keepNothing{}
	answers := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(b.Context())
	park := func() {
		ask := asked(q, queueGroup, "me")
		ask.MaxWaitMillis = 3_600_000
		c := &call.Call{Context: ctx, Request: ask}
		c.SetSink(signal(answers))
		w.e.Lease(c)
	}
	for range 10_000 {
		park()
	}
	b.ReportAllocs()
	for b.Loop() {
		w.put(q, 0, message{value: "m"})
		<-answers
		park()
	}
	b.StopTimer()
	go func() {
		for range answers {
		}
	}()
	cancel()
	require.Eventually(b, func() bool { return w.e.work.Load() == 0 }, 20*time.Second, time.Millisecond)
	close(answers)
}

// signal tells of answers.
type signal chan struct{}

func (s signal) Answer(call.Response) { s <- struct{}{} }
func (s signal) Repeated(*call.Call)  { panic("answered twice") }
