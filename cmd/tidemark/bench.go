package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// load is one benchmark's shape.
type load struct {
	seeds      []string
	topic      string
	partitions int32
	records    int64
	size       int
	clients    int
	sync       bool
	codec      string
	out        io.Writer
}

func benchCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "bench", Short: "Measure a running broker: rate and latency percentiles"}
	l := &load{}
	bootstrapFlag(cmd, &l.seeds)
	shape := func(c *cobra.Command, topic string) {
		c.Flags().StringVar(&l.topic, "topic", "tidemark-bench", topic)
		c.Flags().Int64VarP(&l.records, "records", "n", 1_000_000, "records in all")
		c.Flags().IntVar(&l.clients, "clients", 1, "clients side by side")
	}
	produce := &cobra.Command{Use: "produce", Short: "Produce records with acks=all", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		l.out = cmd.OutOrStdout()
		return l.produce(cmd.Context())
	}}
	shape(produce, "topic to use; made when missing")
	produce.Flags().IntVar(&l.size, "size", 100, "bytes of each value")
	produce.Flags().Int32Var(&l.partitions, "partitions", 1, "partitions of a topic made for this")
	produce.Flags().BoolVar(&l.sync, "sync", false, "wait for each record before the next")
	produce.Flags().StringVar(&l.codec, "compression", "none", "none, gzip, snappy, lz4 or zstd")
	consume := &cobra.Command{Use: "consume", Short: "Consume records from the topic's start", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		l.out = cmd.OutOrStdout()
		return l.consume(cmd.Context())
	}}
	shape(consume, "topic to use")
	cmd.AddCommand(produce, consume)
	return cmd
}

func (l *load) check() error {
	if l.records < 1 || l.clients < 1 || l.size < 0 {
		return fmt.Errorf("--records %d, --clients %d, --size %d: records and clients must be 1 or more, the size not negative", l.records, l.clients, l.size)
	}
	return nil
}

var codecs = map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(),
	"snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()}

func (l *load) produce(ctx context.Context) error {
	if err := l.check(); err != nil {
		return err
	}
	codec, ok := codecs[l.codec]
	if !ok {
		return fmt.Errorf("--compression %q: must be none, gzip, snappy, lz4 or zstd", l.codec)
	}
	if err := l.makeTopic(ctx); err != nil {
		return err
	}
	value := make([]byte, l.size)
	if _, err := rand.Read(value); err != nil {
		return err
	}
	return l.run(ctx, []kgo.Opt{kgo.DefaultProduceTopic(l.topic), kgo.ProducerBatchCompression(codec), kgo.ProducerLinger(0),
		kgo.MaxBufferedRecords(100_000)}, func(ctx context.Context, cl *kgo.Client, n int64, s *score) error {
		var first atomic.Pointer[error]
		for range n {
			start := time.Now()
			done := func(_ *kgo.Record, err error) {
				if err != nil {
					first.CompareAndSwap(nil, &err)
					return
				}
				s.add(1, int64(l.size), time.Since(start))
			}
			if l.sync {
				r, err := cl.ProduceSync(ctx, &kgo.Record{Value: value}).First()
				done(r, err)
			} else {
				cl.Produce(ctx, &kgo.Record{Value: value}, done)
			}
			if first.Load() != nil {
				break
			}
		}
		if err := cl.Flush(ctx); err != nil {
			return err
		}
		if err := first.Load(); err != nil {
			return *err
		}
		return nil
	})
}

func (l *load) consume(ctx context.Context) error {
	if err := l.check(); err != nil {
		return err
	}
	if err := l.checkHeld(ctx); err != nil {
		return err
	}
	return l.run(ctx, []kgo.Opt{kgo.ConsumeTopics(l.topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())}, func(ctx context.Context, cl *kgo.Client, n int64, s *score) error {
		for got := int64(0); got < n; {
			start := time.Now()
			fetches := cl.PollFetches(ctx)
			if err := fetches.Err0(); err != nil {
				return err
			}
			var bytes, count int64
			for _, e := range fetches.Errors() {
				return fmt.Errorf("%s/%d: %w", e.Topic, e.Partition, e.Err)
			}
			fetches.EachRecord(func(r *kgo.Record) { bytes += int64(len(r.Value)); count++ })
			got += count
			s.add(count, bytes, time.Since(start))
		}
		return nil
	})
}

// checkHeld refuses to wait for records that are not there.
func (l *load) checkHeld(ctx context.Context) error {
	cl, err := dial(ctx, l.seeds)
	if err != nil {
		return err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	ends, err := adm.ListEndOffsets(ctx, l.topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return fmt.Errorf("topic %s: %w", l.topic, err)
	}
	starts, err := adm.ListStartOffsets(ctx, l.topic)
	if err != nil {
		return fmt.Errorf("topic %s: %w", l.topic, err)
	}
	var held int64
	ends.Each(func(end kadm.ListedOffset) {
		start, _ := starts.Lookup(end.Topic, end.Partition)
		held += end.Offset - start.Offset
	})
	if each := l.records / int64(l.clients); held < each { // every client reads on its own
		return fmt.Errorf("topic %s holds %d records, --records asks for %d; make more with `tidemark bench produce`", l.topic, held, each)
	}
	return nil
}

func (l *load) makeTopic(ctx context.Context) error {
	cl, err := dial(ctx, l.seeds)
	if err != nil {
		return err
	}
	defer cl.Close()
	_, err = kadm.NewClient(cl).CreateTopic(ctx, l.partitions, -1, nil, l.topic)
	if errors.Is(err, kerr.TopicAlreadyExists) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("topic %s: %w", l.topic, err)
	}
	return nil
}

// run spreads the records over clients and prints progress each second, then the score.
func (l *load) run(ctx context.Context, opts []kgo.Opt, work func(context.Context, *kgo.Client, int64, *score) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := newScore()
	var wg sync.WaitGroup
	fails := make([]error, l.clients)
	for i := range l.clients {
		share := l.records / int64(l.clients)
		if int64(i) < l.records%int64(l.clients) {
			share++
		}
		cl, err := dial(ctx, l.seeds, opts...)
		if err != nil {
			return err
		}
		wg.Go(func() {
			defer cl.Close()
			fails[i] = work(ctx, cl, share, s)
		})
	}
	finished := make(chan struct{})
	go func() { wg.Wait(); close(finished) }()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-finished:
			fmt.Fprintln(l.out, s.line())
			return errors.Join(fails...)
		case <-tick.C:
			fmt.Fprintf(l.out, "%d of %d records\n", s.records.Load(), l.records)
		}
	}
}

// score counts what was done and how long each wait took, in microseconds.
type score struct {
	records, bytes atomic.Int64
	start          time.Time
	mu             sync.Mutex
	hist           *hdrhistogram.Histogram // guarded by mu
}

func newScore() *score {
	return &score{start: time.Now(), hist: hdrhistogram.New(1, int64(10*time.Minute/time.Microsecond), 3)}
}

func (s *score) add(records, bytes int64, took time.Duration) {
	s.records.Add(records)
	s.bytes.Add(bytes)
	s.mu.Lock()
	_ = s.hist.RecordValue(max(1, took.Microseconds())) // beyond ten minutes it stays out of the percentiles
	s.mu.Unlock()
}

func (s *score) line() string {
	took := time.Since(s.start).Seconds()
	s.mu.Lock()
	defer s.mu.Unlock()
	ms := func(q float64) float64 { return float64(s.hist.ValueAtQuantile(q)) / 1000 }
	return fmt.Sprintf("%d records in %.1f s: %.0f records/s, %.1f MiB/s; wait ms p50 %.2f p95 %.2f p99 %.2f p99.9 %.2f max %.2f",
		s.records.Load(), took, float64(s.records.Load())/took, float64(s.bytes.Load())/took/(1<<20),
		ms(50), ms(95), ms(99), ms(99.9), float64(s.hist.Max())/1000)
}
