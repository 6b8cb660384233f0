package cluster

import (
	"context"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// cluster100k is an image of 100,000 partitions in as many topics as given, and the events that made it.
func cluster100k(topics int) (*writes, []uuid.ID) {
	w := newWrites()
	ids := make([]uuid.ID, topics)
	for i := range ids {
		binary.BigEndian.PutUint64(ids[i][:], uint64(i+1)*0x9e3779b97f4a7c15)
		w.topic(fmt.Sprintf("topic-%06d", i), ids[i], int32(100_000/topics))
	}
	return w, ids
}

func BenchmarkImageChange(b *testing.B) {
	for _, topics := range []int{100_000, 10_000, 1000, 10} {
		b.Run(fmt.Sprintf("one of 100000 partitions in %d topics", topics), func(b *testing.B) {
			w, ids := cluster100k(topics)
			value := encode(partitionRecord{Leader: 1, Replicas: []int32{1, 2, 3}, ISR: []int32{1, 2}})
			prefix := keys(DefaultPrefix)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				w.revision++
				e := Event{KV: KV{Key: prefix.partition(ids[i*7919%topics], 0), Value: value, ModRevision: w.revision}}
				_ = w.view.apply([]Event{e})
			}
		})
	}
}

func BenchmarkImageLookup(b *testing.B) {
	w, ids := cluster100k(100_000)
	im := w.view.Image()
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = im.TopicByID(id).Name
	}
	b.Run("name", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			_ = im.Topic(names[i%len(names)])
		}
	})
	b.Run("id", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			_ = im.TopicByID(ids[i%len(ids)])
		}
	})
}

func benchOptions(dir string) Options {
	o := embeddedOptions(dir)
	o.Log = zap.NewNop()
	return o
}

func mustStart(b *testing.B, o Options) *Cluster {
	c, err := Start(b.Context(), o)
	require.NoError(b, err)
	return c
}

func mustCreate(b *testing.B, c *Cluster, name string, partitions int32) *Topic {
	t, err := c.CreateTopic(b.Context(), TopicSpec{Name: name, Partitions: partitions, ReplicationFactor: 1})
	require.NoError(b, err)
	return t
}

// BenchmarkStart is what a broker waits for its metadata: from nothing to registered, elected and settled.
func BenchmarkStart(b *testing.B) {
	b.Run("fresh", func(b *testing.B) {
		base := b.TempDir()
		for i := 0; b.Loop(); i++ {
			c := mustStart(b, benchOptions(filepath.Join(base, fmt.Sprint(i))))
			b.StopTimer()
			require.NoError(b, c.Close(b.Context()))
			b.StartTimer()
		}
	})
	for _, partitions := range []int32{1, 10_000} {
		for _, clean := range []bool{true, false} {
			b.Run(fmt.Sprintf("again with %d partitions, clean %v", partitions, clean), func(b *testing.B) {
				o := benchOptions(filepath.Join(b.TempDir(), "etcd"))
				c := mustStart(b, o)
				mustCreate(b, c, "t", partitions)
				require.NoError(b, c.Close(b.Context()))
				o.Clean = clean
				for b.Loop() {
					c := mustStart(b, o)
					b.StopTimer()
					require.NoError(b, c.Close(b.Context()))
					b.StartTimer()
				}
			})
		}
	}
}

func BenchmarkCreateAndDelete(b *testing.B) {
	for _, partitions := range []int32{1, 100, 10_000} {
		c := mustStart(b, benchOptions(filepath.Join(b.TempDir(), "etcd")))
		b.Run(fmt.Sprintf("create %d", partitions), func(b *testing.B) {
			for b.Loop() {
				t := mustCreate(b, c, "t", partitions)
				b.StopTimer()
				require.NoError(b, c.DeleteTopic(b.Context(), t.ID))
				b.StartTimer()
			}
		})
		b.Run(fmt.Sprintf("delete %d", partitions), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				t := mustCreate(b, c, "t", partitions)
				b.StartTimer()
				require.NoError(b, c.DeleteTopic(b.Context(), t.ID))
			}
		})
		require.NoError(b, c.Close(context.Background()))
	}
}
