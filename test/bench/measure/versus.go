package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// side is one of two brokers that do the same work.
type side struct {
	name    string
	address string
	pid     int
	rates   []float64       // records a second, one a round
	cpu     []float64       // seconds per million records
	p99     []time.Duration // of synchronous work
}

// work is one line of the comparison.
type work struct {
	name       string
	size       int
	partitions int
	records    int // bulk
	clients    int // synchronous producers; 0 is bulk
}

// bulkRecords is how many records of a size a round moves: a second or two of work.
var bulkRecords = map[int]int{100: 3_000_000, 1024: 800_000}

// measureVersus runs the same work against another broker with Kafka's protocol, which runs already (-peer, -peer-pid), and
// one of ours, in alternating rounds, and prints ratios, ours over the other's.
func measureVersus(ctx context.Context) error {
	if *peer == "" || *peerPID == 0 {
		return errors.New("versus needs -peer host:port and -peer-pid, of a broker that runs on this machine")
	}
	n, err := newNode()
	if err != nil {
		return err
	}
	defer n.remove()
	if _, err := n.start(); err != nil {
		return err
	}
	for _, size := range []int{100, 1024} {
		for _, partitions := range []int{1, 6} {
			w := work{size: size, partitions: partitions, records: bulkRecords[size]}
			w.name = fmt.Sprintf("%d B, %d partitions", size, partitions)
			if err := n.versusBulk(ctx, w); err != nil {
				return err
			}
		}
	}
	for _, clients := range []int{1, 8} {
		w := work{name: fmt.Sprintf("%d synchronous producers", clients), size: 1024, partitions: 6, clients: clients}
		if err := n.versusSync(ctx, w); err != nil {
			return err
		}
	}
	return nil
}

func (n *node) sides() [2]*side {
	return [2]*side{{name: "peer", address: *peer, pid: *peerPID}, {name: "tidemark", address: n.Addr, pid: n.PID}}
}

// versusBulk produces and then consumes, in topics that are made for the round and removed after it.
func (n *node) versusBulk(ctx context.Context, w work) error {
	if !wanted("bulk") {
		return nil
	}
	produced, consumed := n.sides(), n.sides()
	for round := range *rounds {
		for i := range 2 {
			k := (i + round) % 2
			topic := fmt.Sprintf("versus-%d-%d", time.Now().UnixNano(), k)
			if err := on(ctx, produced[k].address, topic, w.partitions, func(cl *kgo.Client) error {
				if err := produced[k].timed(w.records, func() error { return produceAll(ctx, cl, topic, w) }); err != nil {
					return err
				}
				return consumed[k].timed(w.records, func() error { return consumeAll(ctx, consumed[k].address, topic, w.records) })
			}); err != nil {
				return fmt.Errorf("%s, %s: %w", w.name, produced[k].name, err)
			}
		}
	}
	compare("produce "+w.name, produced)
	compare("consume "+w.name, consumed)
	return nil
}

func (n *node) versusSync(ctx context.Context, w work) error {
	if !wanted("sync") {
		return nil
	}
	sides := n.sides()
	for round := range *rounds {
		for i := range 2 {
			s := sides[(i+round)%2]
			topic := fmt.Sprintf("versus-%d", time.Now().UnixNano())
			if err := on(ctx, s.address, topic, w.partitions, func(*kgo.Client) error {
				before, err := usageOf(s.pid)
				if err != nil {
					return err
				}
				got, err := produceSync(ctx, s.address, w.clients, []string{topic}, time.Duration(*seconds)*time.Second)
				if err != nil {
					return err
				}
				after, err := usageOf(s.pid)
				s.rates, s.p99 = append(s.rates, got.rate), append(s.p99, got.p(99))
				s.cpu = append(s.cpu, (after.cpu-before.cpu).Seconds()/float64(got.hist.TotalCount())*1e6)
				return err
			}); err != nil {
				return fmt.Errorf("%s, %s: %w", w.name, s.name, err)
			}
		}
	}
	compare(w.name, sides)
	say("  p99", "peer %s, tidemark %s", ms(median(sides[0].p99)), ms(median(sides[1].p99)))
	return nil
}

func compare(name string, s [2]*side) {
	a, b := median(s[0].rates), median(s[1].rates)
	ca, cb := median(s[0].cpu), median(s[1].cpu)
	say(name, "peer %.0f/s, tidemark %.0f/s, ratio %.2f; CPU s per million %.2f, %.2f, ratio %.2f", a, b, b/a, ca, cb, cb/ca)
}

// timed runs work on so many records and notes what it took.
func (s *side) timed(records int, run func() error) error {
	before, err := usageOf(s.pid)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := run(); err != nil {
		return err
	}
	s.rates = append(s.rates, float64(records)/time.Since(began).Seconds())
	after, err := usageOf(s.pid)
	s.cpu = append(s.cpu, (after.cpu-before.cpu).Seconds()/float64(records)*1e6)
	return err
}

// on makes a topic, runs work on it and removes it.
func on(ctx context.Context, address, topic string, partitions int, run func(*kgo.Client) error) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ProducerLinger(5*time.Millisecond), kgo.MaxBufferedRecords(100_000))
	if err != nil {
		return err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	if _, err := adm.CreateTopic(ctx, int32(partitions), 1, nil, topic); err != nil {
		return err
	}
	if err := run(cl); err != nil {
		return err
	}
	_, err = adm.DeleteTopics(ctx, topic)
	return err
}

func produceAll(ctx context.Context, cl *kgo.Client, topic string, w work) error {
	value := []byte(strings.Repeat("v", w.size))
	var failed error
	for range w.records {
		cl.Produce(ctx, &kgo.Record{Topic: topic, Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				failed = err // promises run one at a time
			}
		})
	}
	return errors.Join(cl.Flush(ctx), failed)
}

func consumeAll(ctx context.Context, address, topic string, records int) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer cl.Close()
	for records > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		records -= fetches.NumRecords()
	}
	return nil
}
