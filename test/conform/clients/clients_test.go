package clients

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemark-mq/tidemark/test/conform/target"
)

// broker is the address of the broker under test.
func broker(t *testing.T) string {
	return target.Start(t, "group.initial.rebalance.delay.ms=0", "offsets.topic.num.partitions=5").Addr
}

func all(addr string) []client {
	cs := []client{franz{addr}, saramaClient{addr}, segmentio{addr}}
	if py := os.Getenv("CONFORM_PYTHON"); py != "" {
		script, err := filepath.Abs("client.py")
		if err == nil {
			cs = append(cs, python{addr, py, script})
		}
	}
	return cs
}

func makeTopic(t *testing.T, addr string, configs map[string]string) string {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	require.NoError(t, err)
	defer cl.Close()
	name := fmt.Sprintf("conform-%d", time.Now().UnixNano())
	// The records' times lie in the past, where retention would find them.
	forever := "-1"
	set := map[string]*string{"retention.ms": &forever}
	for k, v := range configs {
		set[k] = &v
	}
	adm := kadm.NewClient(cl)
	_, err = adm.CreateTopic(t.Context(), 1, 1, set, name)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		ends, err := adm.ListEndOffsets(t.Context(), name)
		return err == nil && ends.Error() == nil
	}, 30*time.Second, 50*time.Millisecond, "the topic is led")
	return name
}

// largest is a value that just fits a batch under the clients' own default limit of about
// a million bytes, codecs that make it longer included.
const largest = 999_000

func TestWhatOneClientProducesEveryOtherConsumes(t *testing.T) {
	addr := broker(t)
	clients := all(addr)
	for _, p := range clients {
		for _, codec := range allCodecs {
			t.Run(p.name()+"/"+codec, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				defer cancel()
				topic := makeTopic(t, addr, nil)
				want := corpus(largest)
				require.NoError(t, p.produce(ctx, topic, codec, want))
				for _, c := range clients {
					got, err := c.consume(ctx, topic, "", len(want))
					require.NoError(t, err, c.name())
					same(t, c.name(), want, got)
				}
			})
		}
	}
}

func TestTheBrokersCodecIsReadByEveryClient(t *testing.T) {
	addr := broker(t)
	clients := all(addr)
	for _, codec := range []string{"gzip", "snappy", "lz4", "zstd", "uncompressed"} {
		t.Run(codec, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			topic := makeTopic(t, addr, map[string]string{"compression.type": codec})
			want := corpus(100 << 10)
			require.NoError(t, clients[0].produce(ctx, topic, "gzip", want))
			for _, c := range clients {
				got, err := c.consume(ctx, topic, "", len(want))
				require.NoError(t, err, c.name())
				same(t, c.name(), want, got)
			}
		})
	}
}

func TestGroupsConsumeAndGoOnWhereTheyCommitted(t *testing.T) {
	addr := broker(t)
	clients := all(addr)
	for _, c := range clients {
		t.Run(c.name(), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			topic := makeTopic(t, addr, nil)
			group := "g-" + topic
			want := corpus(1000)
			require.NoError(t, clients[0].produce(ctx, topic, "none", want))
			got, err := c.consume(ctx, topic, group, len(want))
			require.NoError(t, err)
			same(t, c.name(), want, got)

			more := []rec{{Key: []byte("after"), Value: []byte("the commit"), Timestamp: want[0].Timestamp}}
			require.NoError(t, clients[0].produce(ctx, topic, "none", more))
			got, err = c.consume(ctx, topic, group, 1)
			require.NoError(t, err)
			same(t, c.name(), more, got)
		})
	}
}

func same(t *testing.T, who string, want, got []rec) {
	t.Helper()
	require.Len(t, got, len(want), who)
	for i := range want {
		w, g := want[i], got[i]
		require.True(t, equal(w.Key, g.Key), "%s: record %d: key %q, want %q", who, i, g.Key, w.Key)
		require.True(t, equal(w.Value, g.Value), "%s: record %d (key %q): value of %d bytes, want %d", who, i, w.Key, len(g.Value), len(w.Value))
		require.Equal(t, w.Timestamp, g.Timestamp, "%s: record %d", who, i)
		require.Len(t, g.Headers, len(w.Headers), "%s: record %d", who, i)
		for j := range w.Headers {
			require.Equal(t, w.Headers[j].Key, g.Headers[j].Key)
			require.True(t, bytes.Equal(w.Headers[j].Value, g.Headers[j].Value), "%s: record %d header %d", who, i, j)
		}
	}
}

// equal compares bytes; some clients cannot show the difference between null and empty,
// so that difference is looked at by the wire tests and not here.
func equal(a, b []byte) bool { return bytes.Equal(a, b) }
