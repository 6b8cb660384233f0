package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/twmb/franz-go/pkg/kgo"
)

// measureSync measures how long synchronous producers wait, in pairs: with and without
// what should not disturb them, in alternating rounds on one broker.
func measureSync(ctx context.Context) error {
	n, err := newNode()
	if err != nil {
		return err
	}
	defer n.remove()
	if _, err := n.start(); err != nil {
		return err
	}
	var hundred []string
	for i := range 100 {
		hundred = append(hundred, fmt.Sprintf("hundred-%d", i))
	}
	if err := n.create(ctx, 1, append([]string{"one", "alone", "bulk-small"}, hundred...)...); err != nil {
		return err
	}
	if err := n.create(ctx, 6, "bulk"); err != nil {
		return err
	}
	for _, p := range []struct {
		name string
		run  func(context.Context, *node, []string) error
	}{{"topics", compareTopics}, {"bulk", compareBulk}, {"checkpoint", compareCheckpoint}} {
		if wanted(p.name) {
			if err := p.run(ctx, n, hundred); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
		}
	}
	return nil
}

// waits is what some synchronous producers saw.
type waits struct {
	mu   sync.Mutex
	hist *hdrhistogram.Histogram // microseconds; guarded by mu
	rate float64                 // records a second
}

func (w *waits) p(q float64) time.Duration {
	return time.Duration(w.hist.ValueAtQuantile(q)) * time.Microsecond
}

func (w *waits) String() string {
	return fmt.Sprintf("%.0f/s p50 %s p99 %s max %s", w.rate, ms(w.p(50)), ms(w.p(99)), ms(time.Duration(w.hist.Max())*time.Microsecond))
}

// produceSync runs clients that produce one record of 1 KiB at a time, each over its topics
// in turn, until the time is over.
func (n *node) produceSync(ctx context.Context, clients int, topics []string, d time.Duration) (*waits, error) {
	return produceSync(ctx, n.Addr, clients, topics, d)
}

func produceSync(ctx context.Context, address string, clients int, topics []string, d time.Duration) (*waits, error) {
	w := &waits{hist: hdrhistogram.New(1, int64(time.Minute/time.Microsecond), 3)}
	var done atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, clients)
	var all []*kgo.Client
	for range clients {
		cl, err := clientOf(address)
		if err != nil {
			return nil, err
		}
		defer cl.Close()
		all = append(all, cl)
		for _, topic := range topics { // its metadata, connection and producer id are there when time starts
			if err := cl.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: make([]byte, 1024)}).FirstErr(); err != nil {
				return nil, err
			}
		}
	}
	began := time.Now()
	for i, cl := range all {
		wg.Go(func() {
			value := make([]byte, 1024)
			for k := i; time.Since(began) < d; k++ {
				at := time.Now()
				if errs[i] = cl.ProduceSync(ctx, &kgo.Record{Topic: topics[k%len(topics)], Value: value}).FirstErr(); errs[i] != nil {
					return
				}
				took := time.Since(at)
				done.Add(1)
				w.mu.Lock()
				_ = w.hist.RecordValue(max(1, took.Microseconds()))
				w.mu.Unlock()
			}
		})
	}
	wg.Wait()
	w.rate = float64(done.Load()) / time.Since(began).Seconds()
	return w, errors.Join(errs...)
}

// pair runs two measurements in turn and prints the medians of both, and of one quantity's ratio.
func pair(name [2]string, run [2]func() (*waits, error), limit string, ratio func(a, b *waits) float64) error {
	var ratios, rates [2][]float64
	var p99 [2][]time.Duration
	for round := range *rounds {
		var got [2]*waits
		for i := range 2 {
			side := (i + round) % 2
			w, err := run[side]()
			if err != nil {
				return err
			}
			got[side] = w
			rates[side], p99[side] = append(rates[side], w.rate), append(p99[side], w.p(99))
			say("  "+name[side], "%s", w)
		}
		ratios[0] = append(ratios[0], ratio(got[0], got[1]))
	}
	for i := range 2 {
		say(name[i], "median %.0f/s, p99 %s", median(rates[i]), ms(median(p99[i])))
	}
	say(name[1]+" over "+name[0], "%.2f (%s)", median(ratios[0]), limit)
	return nil
}

func compareTopics(ctx context.Context, n *node, hundred []string) error {
	d := time.Duration(*seconds) * time.Second
	return pair([2]string{"8 producers, 1 topic", "8 producers, 100 topics"}, [2]func() (*waits, error){
		func() (*waits, error) { return n.produceSync(ctx, 8, []string{"one"}, d) },
		func() (*waits, error) { return n.produceSync(ctx, 8, hundred, d) },
	}, "rate, limit 1.00 at least", func(a, b *waits) float64 { return b.rate / a.rate })
}

func compareBulk(ctx context.Context, n *node, _ []string) error {
	d := time.Duration(*seconds) * time.Second
	alone := func() (*waits, error) { return n.produceSync(ctx, 1, []string{"alone"}, d) }
	return pair([2]string{"1 producer alone", "1 producer beside bulk"}, [2]func() (*waits, error){
		alone,
		func() (*waits, error) {
			var w *waits
			sent, err := n.besideBulk(ctx, func() (err error) {
				w, err = alone()
				return err
			})
			if err == nil {
				say("  bulk meanwhile", "%.0f MiB a second written", sent/d.Seconds()/(1<<20))
			}
			return w, err
		},
	}, "p99, limit 5", func(a, b *waits) float64 { return float64(b.p(99)) / float64(a.p(99)) })
}

// besideBulk runs work while another process produces as fast as it is let, and answers how
// many bytes the broker took meanwhile.
func (n *node) besideBulk(ctx context.Context, work func() error) (sent float64, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	bulk := exec.CommandContext(ctx, self, "-address", n.Addr, "bulk")
	bulk.Stderr = os.Stderr
	if err := bulk.Start(); err != nil {
		return 0, err
	}
	defer func() {
		stop()
		_ = bulk.Wait() // killed
	}()
	if err := pause(ctx, time.Second); err != nil {
		return 0, err
	}
	before, err := n.usage()
	if err != nil {
		return 0, err
	}
	if err := work(); err != nil {
		return 0, err
	}
	after, err := n.usage()
	return float64(after.written - before.written), err
}

// produceBulk produces records of 1 KiB to the topic "bulk" of the broker at -address until
// it is stopped.
func produceBulk(ctx context.Context) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(*address), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(20_000),
		kgo.ProducerLinger(5*time.Millisecond), kgo.DefaultProduceTopic("bulk"))
	if err != nil {
		return err
	}
	defer cl.Close()
	value := make([]byte, 1024)
	for ctx.Err() == nil {
		cl.Produce(ctx, &kgo.Record{Value: value}, nil)
	}
	return nil
}
