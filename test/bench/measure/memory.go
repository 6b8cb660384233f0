package main

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// measureMemory produces five million records of 100 bytes into six partitions and looks at
// the process right after, and once it has been at rest.
func measureMemory(ctx context.Context) error {
	n, err := newNode()
	if err != nil {
		return err
	}
	defer n.remove()
	if _, err := n.start(); err != nil {
		return err
	}
	if err := n.create(ctx, 6, "five-million"); err != nil {
		return err
	}
	cl, err := n.client(kgo.DefaultProduceTopic("five-million"), kgo.ProducerLinger(5*time.Millisecond), kgo.MaxBufferedRecords(200_000))
	if err != nil {
		return err
	}
	defer cl.Close()
	value := make([]byte, 100)
	for range 5_000_000 {
		cl.Produce(ctx, &kgo.Record{Value: value}, nil)
	}
	if err := cl.Flush(ctx); err != nil {
		return err
	}
	for _, when := range []string{"right after", "at rest"} {
		u, err := n.usage()
		if err != nil {
			return err
		}
		say("resident "+when+" 5,000,000 records", "%.0f MiB (limit 250)", float64(u.resident)/(1<<20))
		if err := pause(ctx, time.Duration(*settle)*time.Second); err != nil {
			return err
		}
	}
	return nil
}
