package clients

import (
	"context"
	"fmt"
	"time"

	kafka "github.com/segmentio/kafka-go"
)

type segmentio struct{ addr string }

func (segmentio) name() string { return "kafka-go" }

func (s segmentio) produce(ctx context.Context, topic, codec string, recs []rec) error {
	w := &kafka.Writer{Addr: kafka.TCP(s.addr), Topic: topic, RequiredAcks: kafka.RequireAll, BatchBytes: 2 << 20, BatchTimeout: time.Millisecond,
		Compression: map[string]kafka.Compression{"none": 0, "gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd}[codec]}
	transport := &kafka.Transport{} // the shared one would remember that the topic is not there yet
	w.Transport = transport
	defer transport.CloseIdleConnections()
	defer w.Close()
	for _, r := range recs {
		m := kafka.Message{Key: r.Key, Value: r.Value, Time: time.UnixMilli(r.Timestamp)}
		for _, h := range r.Headers {
			m.Headers = append(m.Headers, kafka.Header{Key: h.Key, Value: h.Value})
		}
		if err := w.WriteMessages(ctx, m); err != nil {
			return fmt.Errorf("key %q: %w", r.Key, err)
		}
	}
	return nil
}

func (s segmentio) consume(ctx context.Context, topic, group string, n int) ([]rec, error) {
	c := kafka.ReaderConfig{Brokers: []string{s.addr}, Topic: topic, MaxBytes: 4 << 20, MaxWait: 100 * time.Millisecond}
	if group != "" {
		c.GroupID, c.StartOffset = group, kafka.FirstOffset
	}
	r := kafka.NewReader(c)
	defer r.Close()
	var out []rec
	for len(out) < n {
		m, err := r.FetchMessage(ctx)
		if err != nil {
			return out, fmt.Errorf("after %d of %d: %w", len(out), n, err)
		}
		k := rec{Key: m.Key, Value: m.Value, Timestamp: m.Time.UnixMilli()}
		for _, h := range m.Headers {
			k.Headers = append(k.Headers, header{h.Key, h.Value})
		}
		out = append(out, k)
		if group != "" && len(out) == n {
			if err := r.CommitMessages(ctx, m); err != nil {
				return out, err
			}
		}
	}
	return out, nil
}
