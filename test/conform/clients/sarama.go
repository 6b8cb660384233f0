package clients

import (
	"context"
	"fmt"
	"time"

	"github.com/IBM/sarama"
)

type saramaClient struct{ addr string }

func (saramaClient) name() string { return "sarama" }

func saramaConfig() *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.MaxVersion
	c.Producer.Return.Successes = true
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Partitioner = sarama.NewManualPartitioner
	c.Producer.MaxMessageBytes = 1 << 21
	c.Producer.Idempotent = true
	c.Net.MaxOpenRequests = 1
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Offsets.AutoCommit.Enable = false
	return c
}

func (s saramaClient) produce(_ context.Context, topic, codec string, recs []rec) error {
	c := saramaConfig()
	c.Producer.Compression = map[string]sarama.CompressionCodec{"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP,
		"snappy": sarama.CompressionSnappy, "lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD}[codec]
	p, err := sarama.NewSyncProducer([]string{s.addr}, c)
	if err != nil {
		return err
	}
	defer p.Close()
	for _, r := range recs {
		m := &sarama.ProducerMessage{Topic: topic, Timestamp: time.UnixMilli(r.Timestamp)}
		if r.Key != nil {
			m.Key = sarama.ByteEncoder(r.Key)
		}
		if r.Value != nil {
			m.Value = sarama.ByteEncoder(r.Value)
		}
		for _, h := range r.Headers {
			m.Headers = append(m.Headers, sarama.RecordHeader{Key: []byte(h.Key), Value: h.Value})
		}
		if _, _, err := p.SendMessage(m); err != nil {
			return fmt.Errorf("key %q: %w", r.Key, err)
		}
	}
	return nil
}

func (s saramaClient) consume(ctx context.Context, topic, group string, n int) ([]rec, error) {
	if group != "" {
		return s.consumeGroup(ctx, topic, group, n)
	}
	c, err := sarama.NewConsumer([]string{s.addr}, saramaConfig())
	if err != nil {
		return nil, err
	}
	defer c.Close()
	p, err := c.ConsumePartition(topic, 0, sarama.OffsetOldest)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	var out []rec
	for len(out) < n {
		select {
		case m := <-p.Messages():
			out = append(out, fromSarama(m))
		case <-ctx.Done():
			return out, fmt.Errorf("after %d of %d: %w", len(out), n, ctx.Err())
		}
	}
	return out, nil
}

func fromSarama(m *sarama.ConsumerMessage) rec {
	r := rec{Key: m.Key, Value: m.Value, Timestamp: m.Timestamp.UnixMilli()}
	for _, h := range m.Headers {
		r.Headers = append(r.Headers, header{string(h.Key), h.Value})
	}
	return r
}

func (s saramaClient) consumeGroup(ctx context.Context, topic, group string, n int) ([]rec, error) {
	g, err := sarama.NewConsumerGroup([]string{s.addr}, group, saramaConfig())
	if err != nil {
		return nil, err
	}
	defer g.Close()
	h := &groupHandler{n: n, done: make(chan struct{})}
	for {
		if err := g.Consume(ctx, []string{topic}, h); err != nil {
			return h.out, err
		}
		select {
		case <-h.done:
			return h.out, nil
		case <-ctx.Done():
			return h.out, fmt.Errorf("after %d of %d: %w", len(h.out), n, ctx.Err())
		default:
		}
	}
}

type groupHandler struct {
	n    int
	out  []rec
	done chan struct{}
}

func (*groupHandler) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (*groupHandler) Cleanup(sarama.ConsumerGroupSession) error { return nil }
func (h *groupHandler) ConsumeClaim(s sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error {
	if c.Partition() != 0 {
		<-s.Context().Done()
		return nil
	}
	for {
		select {
		case m := <-c.Messages():
			if m == nil {
				return nil
			}
			h.out = append(h.out, fromSarama(m))
			s.MarkMessage(m, "")
			if len(h.out) == h.n {
				s.Commit()
				close(h.done)
				return nil
			}
		case <-s.Context().Done():
			return nil
		}
	}
}
