package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestRandomHistories lets four brokers come, go, crash and lose their store while topics are made, grown and removed, and checks every change
// of every partition, and in the end that everything stands.
func TestRandomHistories(t *testing.T) {
	seed := rand.Uint64()
	for i := range 20 {
		t.Run(fmt.Sprintf("seed %d", seed+uint64(i)), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				(&simulation{t: t, store: NewMemory(), rng: rand.New(rand.NewPCG(seed+uint64(i), 0))}).run()
			})
		})
	}
}

const simBrokers = 4

type simulation struct {
	t       *testing.T
	store   *Memory
	rng     *rand.Rand
	brokers [simBrokers]*Cluster
	lines   [simBrokers]*cable
	crashed [simBrokers]bool
	last    map[string]partitionRecord
}

func (s *simulation) run() {
	s.last = map[string]partitionRecord{}
	ctx, cancel := context.WithCancel(context.Background())
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		_ = s.store.Watch(ctx, DefaultPrefix+partitionsDir, 1, s.checkChanges)
	}()
	for i := range s.brokers {
		s.begin(i)
	}
	for range 60 {
		s.event(s.rng.IntN(simBrokers))
		time.Sleep(time.Duration(s.rng.IntN(8_000)) * time.Millisecond)
		synctest.Wait()
		s.checkLeaders()
	}
	for i := range s.brokers {
		if s.brokers[i] == nil {
			s.begin(i)
		}
		s.lines[i].mend()
	}
	time.Sleep(time.Minute)
	synctest.Wait()
	s.checkSettled()
	cancel()
	<-watching
	for _, c := range s.brokers {
		require.NoError(s.t, c.Close(context.Background()))
	}
}

func (s *simulation) begin(i int) {
	s.lines[i] = newCable(s.store)
	o := options(s.lines[i], int32(i+1))
	o.Clean = !s.crashed[i]
	c, err := Start(context.Background(), o)
	require.NoError(s.t, err)
	s.brokers[i], s.crashed[i] = c, false
}

func (s *simulation) event(i int) {
	c := s.brokers[i]
	switch what := s.rng.IntN(8); {
	case c == nil:
		s.begin(i)
	case what == 0:
		s.lines[i].cutAfter(s.rng.IntN(4), s.rng.IntN(2) == 0)
	case what == 1:
		s.lines[i].cutNow()
	case what == 2:
		s.lines[i].mend()
	case what == 3:
		s.crashed[i] = s.rng.IntN(2) == 0
		if s.crashed[i] {
			s.lines[i].cutNow()
		}
		require.NoError(s.t, c.Close(context.Background()))
		s.brokers[i] = nil
	default:
		s.change(i, c, what)
	}
}

// change asks a broker, which may not be the controller, for a change of topics. How it ends is of no interest here.
func (s *simulation) change(i int, c *Cluster, what int) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	name := fmt.Sprintf("t%d", s.rng.IntN(6))
	topic := c.Image().Topic(name)
	factor := int16(1 + s.rng.IntN(max(len(c.Image().Brokers), 1)))
	switch {
	case topic == nil:
		_, _ = c.CreateTopic(ctx, TopicSpec{Name: name, Partitions: 1 + s.rng.Int32N(300), ReplicationFactor: factor})
	case what == 4:
		_ = c.DeleteTopic(ctx, topic.ID)
	case what == 5:
		_, _ = c.CreatePartitions(ctx, PartitionsSpec{Topic: name, Count: int32(len(topic.Partitions) + 1 + s.rng.IntN(200))})
	default: // followers come back into sync
		for n, p := range topic.Partitions[:min(len(topic.Partitions), 20)] {
			if p.Leader == int32(i+1) && len(p.ISR) < len(p.Replicas) {
				isr := slices.DeleteFunc(slices.Clone(p.Replicas), func(id int32) bool { return c.Image().Broker(id) == nil })
				_, _ = c.AlterPartition(ctx, topic.ID, int32(n), Proposal{Revision: p.Revision, Leader: p.Leader, ISR: isr})
			}
		}
	}
}

// checkChanges holds each change of a partition key against the one before it.
func (s *simulation) checkChanges(events []Event) error {
	for _, e := range events {
		if e.Deleted {
			delete(s.last, e.Key)
			continue
		}
		is, err := decodePartition(e.Value)
		require.NoError(s.t, err)
		require.NotEmpty(s.t, is.ISR)
		for _, id := range is.ISR {
			require.Contains(s.t, is.Replicas, id)
		}
		if is.Leader != NoLeader {
			require.Contains(s.t, is.ISR, is.Leader)
		}
		if was, known := s.last[e.Key]; known && is.PartitionEpoch > 0 {
			require.Equal(s.t, was.PartitionEpoch+1, is.PartitionEpoch)
			if is.Leader != was.Leader {
				require.Equal(s.t, was.LeaderEpoch+1, is.LeaderEpoch)
			}
			require.GreaterOrEqual(s.t, is.LeaderEpoch, was.LeaderEpoch)
			if is.Leader != NoLeader {
				require.Contains(s.t, was.ISR, is.Leader, "no leader from outside the in-sync set")
			}
		}
		s.last[e.Key] = is
	}
	return nil
}

// checkLeaders: whoever believes to lead a partition and may acknowledge is the only one who does so.
func (s *simulation) checkLeaders() {
	leads := map[string]int{}
	for i, c := range s.brokers {
		if c == nil || !c.Active() {
			continue
		}
		for t := range c.Image().Topics() {
			for n := range t.Partitions {
				if t.Partitions[n].Leader == int32(i+1) {
					key := fmt.Sprint(t.ID, n)
					other, taken := leads[key]
					require.False(s.t, taken, "%s is led by %d and %d", key, other, i+1)
					leads[key] = i + 1
				}
			}
		}
	}
}

// checkSettled: all brokers are back, so every partition has a leader, all images show the same, and nothing lies about.
func (s *simulation) checkSettled() {
	first := s.brokers[0].Image()
	require.Len(s.t, first.Brokers, simBrokers)
	for _, c := range s.brokers {
		require.True(s.t, c.Active())
		require.Equal(s.t, describe(first), describe(c.Image()))
	}
	for t := range first.Topics() {
		for n, p := range t.Partitions {
			require.NotEqual(s.t, NoLeader, p.Leader, "%s-%d", t.Name, n)
		}
	}
	require.Len(s.t, keysLeft(s.t, s.store, partitionsDir), first.NumPartitions())
	for _, name := range keysLeft(s.t, s.store, topicsDir) {
		require.NotNil(s.t, first.Topic(strings.TrimPrefix(name, topicsDir)))
	}
}
