package clients

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

type franz struct{ addr string }

func (franz) name() string { return "franz-go" }

func (f franz) produce(ctx context.Context, topic, codec string, recs []rec) error {
	codecs := map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()}
	cl, err := kgo.NewClient(kgo.SeedBrokers(f.addr), kgo.ProducerBatchCompression(codecs[codec]), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer cl.Close()
	for _, r := range recs {
		k := &kgo.Record{Topic: topic, Key: r.Key, Value: r.Value, Timestamp: time.UnixMilli(r.Timestamp)}
		for _, h := range r.Headers {
			k.Headers = append(k.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
		cl.Produce(ctx, k, func(_ *kgo.Record, e error) {
			if e != nil && err == nil {
				err = e
			}
		})
	}
	if e := cl.Flush(ctx); e != nil {
		return e
	}
	return err
}

func (f franz) consume(ctx context.Context, topic, group string, n int) ([]rec, error) {
	opts := []kgo.Opt{kgo.SeedBrokers(f.addr), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())}
	if group != "" {
		opts = append(opts, kgo.ConsumerGroup(group), kgo.DisableAutoCommit())
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	var out []rec
	for len(out) < n {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return out, fmt.Errorf("after %d of %d: %w", len(out), n, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			k := rec{Key: r.Key, Value: r.Value, Timestamp: r.Timestamp.UnixMilli()}
			for _, h := range r.Headers {
				k.Headers = append(k.Headers, header{h.Key, h.Value})
			}
			out = append(out, k)
		})
	}
	if group != "" {
		if err := cl.CommitUncommittedOffsets(ctx); err != nil {
			return out, err
		}
	}
	return out, nil
}
