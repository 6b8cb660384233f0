package share

import (
	"fmt"
	"testing"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
)

// BenchmarkWrite is an acknowledgement of one offset in a window of so many leases, with its snapshots; the log and the disk are
// not in it.
func BenchmarkWrite(b *testing.B) {
	for _, n := range []int{0, 1000, 100_000} {
		b.Run(fmt.Sprint("ranges=", n), func(b *testing.B) {
			c := newCoord(b, Config{})
			c.log.forget = true
			c.start()
			answer := make(chan error, 1)
			done := func(err error) { answer <- err }
			c.Initialize(key, 1, 0, done)
			<-answer
			c.fill(key, n, func() {})
			w := &Write{Key: key, StateEpoch: 1, Start: -1, Batches: make([]Batch, 1), Add: Counters{Accepted: 1}}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				// In turn an offset is released and leased again: the window stays as it is.
				at := int64(i/2*7919) % int64(max(n, 1))
				if w.Batches[0] = lease(at, at, "lease-000000000000000000000000000001"); i%2 == 0 {
					w.Batches[0] = Batch{First: at, Last: at, State: Available, Deliveries: 2}
				}
				c.Write(w, done)
				if err := <-answer; err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDecide is the same write without runtime, rows and log.
func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{1, 100_000} {
		b.Run(fmt.Sprint("ranges=", n), func(b *testing.B) {
			p := window(n)
			w := &Write{Key: key, Start: -1, Batches: make([]Batch, 1), Add: Counters{Accepted: 1}}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				at := int64(i/2*7919) % int64(n)
				if w.Batches[0] = lease(at, at, "b"); i%2 == 0 {
					w.Batches[0] = Batch{First: at, Last: at, State: Available, Deliveries: 2}
				}
				c, _ := p.try(func() *change { return p.write(w) })
				_ = c.appendUpdate(make([]byte, 0, 64+40*len(c.batches)))
			}
		})
	}
}

func window(n int) *sharePartition {
	p := newPartition(key)
	p.start = 0
	for i := range int64(n) {
		p.ranges.replace(lease(i, i, fmt.Sprintf("lease-%030d", i)))
	}
	return p
}

// BenchmarkSnapshot makes the record of a full window of as many holders, and BenchmarkLoad reads it.
func BenchmarkSnapshot(b *testing.B) {
	p := window(100_000)
	b.ReportAllocs()
	for b.Loop() {
		rec := snapshotRecord(key, p.snapshot(p.used))
		b.SetBytes(int64(len(rec.Value)))
	}
}

func BenchmarkLoad(b *testing.B) {
	rows := table{}
	rec := snapshotRecord(key, window(100_000).snapshot(window(1).used))
	if err := Rows(rows, &runtime.Entry{Record: rec, ProducerID: -1}); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(rec.Value)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := load(rows, key); err != nil {
			b.Fatal(err)
		}
	}
}
