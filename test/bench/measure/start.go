package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// measureStart measures starts in a new directory, after a stop and after a kill: until the
// ready line, and until a record in a topic (made on the way, in a new directory) is
// acknowledged.
func measureStart(ctx context.Context) error {
	ready, acked := map[string][]time.Duration{}, map[string][]time.Duration{}
	var resident []int64
	for range *rounds {
		n, err := newNode()
		if err != nil {
			return err
		}
		defer n.remove()
		for _, kind := range []string{"new directory", "after a stop", "after a kill"} {
			began := time.Now()
			r, err := n.start()
			if err != nil {
				return err
			}
			if err := n.first(ctx, kind == "new directory"); err != nil {
				return err
			}
			ready[kind], acked[kind] = append(ready[kind], r), append(acked[kind], time.Since(began))
			if kind == "new directory" {
				if err := pause(ctx, time.Duration(*settle)*time.Second); err != nil {
					return err
				}
				u, err := n.usage()
				if err != nil {
					return err
				}
				resident = append(resident, u.resident)
			}
			if kind == "new directory" {
				err = n.Stop()
			} else {
				n.Kill()
			}
			if err != nil {
				return fmt.Errorf("stop: %w", err)
			}
		}
		n.remove()
	}
	for _, kind := range []string{"new directory", "after a stop", "after a kill"} {
		say("start, "+kind, "ready %s, first record acknowledged %s, at most %s (limit 300 ms)", ms(median(ready[kind])), ms(median(acked[kind])), ms(slices.Max(acked[kind])))
	}
	say("resident at rest", "%.0f MiB (limit 70)", float64(median(resident))/(1<<20))
	return nil
}

// first produces one record, to a topic that it makes where there is none. (A topic made by being asked for costs this client
// 250 ms more, which it waits before it asks again.)
func (n *node) first(ctx context.Context, create bool) error {
	cl, err := n.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	if create {
		if _, err := kadm.NewClient(cl).CreateTopic(ctx, 1, 1, nil, "first"); err != nil {
			return err
		}
	}
	return cl.ProduceSync(ctx, &kgo.Record{Topic: "first", Value: []byte("v")}).FirstErr()
}

func median[T int64 | float64 | time.Duration](of []T) T {
	s := slices.Sorted(slices.Values(of))
	if len(s) == 0 {
		return 0
	}
	return s[len(s)/2]
}
