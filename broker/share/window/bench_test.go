package window

import (
	"fmt"
	"testing"
	"time"

	"github.com/tidemark-mq/tidemark/coordinator/share"
)

// crowded is a window of n ranges of one record, each of a lease of its own.
func crowded(n int64) *Window {
	var s share.Stored
	for o := range n {
		s.Batches = append(s.Batches, share.Batch{First: o, Last: o, State: share.Acquired, Deliveries: 1,
			Holder: fmt.Sprintf("holder-%d", o), Until: t0.UnixMilli() + 1_000_000 + o})
	}
	return New(s, 0, t0)
}

func atSizes(b *testing.B, run func(b *testing.B, w *Window, n int64)) {
	for _, n := range []int64{0, 1_000, 100_000} {
		b.Run(fmt.Sprintf("ranges=%d", n), func(b *testing.B) {
			w := crowded(n)
			b.ReportAllocs()
			b.ResetTimer()
			run(b, w, n)
		})
	}
}

// Ten new records are acquired and accepted.
func BenchmarkAcquireAccept(b *testing.B) {
	for _, l := range []Limits{{}, {Durable: true}} {
		b.Run(fmt.Sprintf("durable=%v", l.Durable), func(b *testing.B) {
			atSizes(b, func(b *testing.B, w *Window, n int64) {
				batches, actions := make([]Span, 1), make([]Action, 1)
				for b.Loop() {
					from, _ := w.Next(t0, l)
					batches[0] = Span{from, from + 9}
					g, c := w.Acquire(Acquire{Now: t0, Until: t0.Add(time.Minute), Holder: "bench", Read: batches[0], Batches: batches, MaxRecords: 10}, l)
					if c != nil {
						w.Commit(c, t0)
					}
					actions[0] = Action{First: g[0].First, Last: g[0].Last, Kind: Accept}
					c, err := w.Settle("bench", actions, t0, l)
					if err != nil {
						b.Fatal(err)
					}
					w.Commit(c, t0)
				}
			})
		})
	}
}

// A record among many is given back, and acquired again by another lease.
func BenchmarkReleaseAcquire(b *testing.B) {
	atSizes(b, func(b *testing.B, w *Window, n int64) {
		l := Limits{}
		if n == 0 {
			n, w = 1, crowded(1)
		}
		batches, actions := make([]Span, 1), make([]Action, 1)
		for i := int64(0); b.Loop(); i++ {
			o := i * 7919 % n
			actions[0] = Action{First: o, Last: o, Kind: Release, Force: true}
			c, err := w.Settle("", actions, t0, l)
			if err != nil {
				b.Fatal(err)
			}
			w.Commit(c, t0)
			from, _ := w.Next(t0, l)
			batches[0] = Span{from, from}
			w.Acquire(Acquire{Now: t0, Until: t0.Add(time.Minute), Holder: "bench", Read: batches[0], Batches: batches, MaxRecords: 1}, l)
		}
	})
}

// One lease runs out and its record is acquired again.
func BenchmarkExpireAcquire(b *testing.B) {
	atSizes(b, func(b *testing.B, w *Window, n int64) {
		l := Limits{Durable: true}
		batches := []Span{{n, n}}
		now := t0
		for b.Loop() {
			a := Acquire{Now: now, Until: now.Add(time.Millisecond), Holder: "bench", Read: batches[0], Batches: batches, MaxRecords: 1}
			if _, c := w.Acquire(a, l); c != nil {
				w.Commit(c, now)
			}
			now = w.Deadline()
			if now.UnixMilli() > t0.UnixMilli()+900_000 { // before the others end
				b.StopTimer()
				w, now = crowded(n), t0
				b.StartTimer()
				continue
			}
			if c := w.Expire(now, l); c != nil {
				b.Fatal("a change")
			}
		}
	})
}

// A window of many ranges is read back.
func BenchmarkNew(b *testing.B) {
	var s share.Stored
	for r := range crowded(100_000).Ranges(0) {
		s.Batches = append(s.Batches, r)
	}
	b.ReportAllocs()
	for b.Loop() {
		New(s, 0, t0)
	}
}
