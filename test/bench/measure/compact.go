package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// compacted is how much the compaction run goes over, in bytes.
const compacted = 1 << 30

// measureCompact fills a topic with 1 GiB of records of 1 KiB with 200,000 keys, has it compacted, and prints the rate in
// bytes gone over per second of the broker's CPU, and the most memory it took beyond what the broker held before.
func measureCompact(ctx context.Context) error {
	if *settings == "" {
		*settings = "log.flush.offset.checkpoint.interval.ms=1000,log.cleaner.backoff.ms=500"
	}
	n, err := newNode()
	if err != nil {
		return err
	}
	defer n.remove()
	if _, err := n.start(); err != nil {
		return err
	}
	cl, err := n.client(kgo.DefaultProduceTopic("keyed"), kgo.ProducerLinger(5*time.Millisecond), kgo.MaxBufferedRecords(20_000))
	if err != nil {
		return err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	small := "67108864"
	if _, err := adm.CreateTopic(ctx, 1, 1, map[string]*string{"segment.bytes": &small}, "keyed"); err != nil {
		return err
	}
	r := rand.New(rand.NewSource(1))
	value := make([]byte, 1024)
	for range compacted / 1100 { // with key and overhead
		cl.Produce(ctx, &kgo.Record{Key: fmt.Appendf(nil, "key-%08d", r.Intn(200_000)), Value: value}, nil)
	}
	if err := cl.Flush(ctx); err != nil {
		return err
	}
	if err := pause(ctx, time.Duration(*settle)*time.Second); err != nil { // recovery points and memory
		return err
	}
	before, err := n.usage()
	if err != nil {
		return err
	}
	changes := []kadm.AlterConfig{{Name: "cleanup.policy", Value: kadm.StringPtr("compact")}, {Name: "min.cleanable.dirty.ratio", Value: kadm.StringPtr("0.01")}}
	if answers, err := adm.AlterTopicConfigs(ctx, changes, "keyed"); err != nil || answers[0].Err != nil {
		return errors.Join(err, answers[0].Err)
	}
	peak := before.resident
	for limit := time.Now().Add(5 * time.Minute); ; {
		u, err := n.usage()
		if err != nil {
			return err
		}
		peak = max(peak, u.resident)
		gone, err := n.metric(ctx, `tidemark_cleaner_bytes_total{when="before"}`)
		if err == nil && gone > compacted*0.9 {
			took, err := n.metric(ctx, "tidemark_cleaner_run_seconds_sum")
			if err != nil {
				return err
			}
			cpu := (u.cpu - before.cpu).Seconds()
			say("compaction", "%.0f MiB in %.1f s, %.0f MiB per second of CPU (limit 100), at most %.0f MiB more memory (limit 64)",
				gone/(1<<20), took, gone/(1<<20)/cpu, float64(peak-before.resident)/(1<<20))
			return nil
		}
		if time.Now().After(limit) {
			return fmt.Errorf("the topic is not compacted after 5 minutes (%.0f bytes gone over)", gone)
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}
