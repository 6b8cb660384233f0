package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// measurePartitions fills a broker with partitions and looks at it at rest: as made, after
// a stop and a start, after a kill and a start.
func measurePartitions(ctx context.Context) error {
	n, err := newNode()
	if err != nil {
		return err
	}
	defer n.remove()
	if _, err := n.start(); err != nil {
		return err
	}
	var names []string
	for i := range *topics {
		names = append(names, fmt.Sprintf("many-%d", i))
	}
	began := time.Now()
	if err := n.create(ctx, *partitions / *topics, names...); err != nil {
		return err
	}
	say("partitions made", "%d in %.1f s", *partitions, time.Since(began).Seconds())
	if *records > 0 {
		began = time.Now()
		if err := n.fill(ctx, names, *partitions / *topics, *records); err != nil {
			return err
		}
		say("records", "%d in each, in %.1f s", *records, time.Since(began).Seconds())
	}
	if err := n.rest(ctx, "as made"); err != nil {
		return err
	}
	for _, kind := range []string{"stop", "kill"} {
		began := time.Now()
		if kind == "kill" {
			n.Kill()
		} else if err := n.Stop(); err != nil {
			return err
		}
		stopped := time.Since(began)
		took, err := n.start()
		if err != nil {
			return err
		}
		say("start after a "+kind, "%.2f s (limit 3); the %s took %.2f s", took.Seconds(), kind, stopped.Seconds())
		if err := n.rest(ctx, "after a "+kind); err != nil {
			return err
		}
	}
	return nil
}

// rest prints what the broker needs while nobody asks anything of it.
func (n *node) rest(ctx context.Context, when string) error {
	if err := pause(ctx, time.Duration(*settle)*time.Second); err != nil {
		return err
	}
	before, err := n.usage()
	if err != nil {
		return err
	}
	window := time.Duration(*idle) * time.Second
	if err := pause(ctx, window); err != nil {
		return err
	}
	after, err := n.usage()
	if err != nil {
		return err
	}
	say("at rest "+when, "%.2f %% of a core (limit 2), %.0f MiB resident (limit 400), %d open files (limit 4096)",
		100*(after.cpu-before.cpu).Seconds()/window.Seconds(), float64(after.resident)/(1<<20), after.files)
	return nil
}

// fill puts records into every partition of topics.
func (n *node) fill(ctx context.Context, topics []string, each, records int) error {
	cl, err := n.client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxBufferedRecords(100_000))
	if err != nil {
		return err
	}
	defer cl.Close()
	failed := make(chan error, 1)
	for range records {
		for _, topic := range topics {
			for p := range each {
				cl.Produce(ctx, &kgo.Record{Topic: topic, Partition: int32(p), Value: []byte("a record of some bytes")}, func(_ *kgo.Record, err error) {
					if err != nil {
						select {
						case failed <- err:
						default:
						}
					}
				})
			}
		}
	}
	if err := cl.Flush(ctx); err != nil {
		return err
	}
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}
