package crash

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/storage/log"
)

// client is an idempotent producer of one topic of a machine. It outlives crashes: what was not acknowledged it sends again, in
// order, as any client library does.
type client struct {
	topic string
	id    int64
	acks  int16
	keys  int // above 0: records have keys, a few of them, and some are tombstones

	mu   sync.Mutex
	sent []*batch
	next int32 // sequence
}

// batch is one batch of the client's.
type batch struct {
	sequence int32
	values   [][]byte // nil: a tombstone
	keys     [][]byte
	offset   int64 // where the broker put it last
	acked    bool
}

// maxOpen is how many batches a client has without an answer, as the broker remembers no more.
const maxOpen = 5

func (c *client) open() (open []*batch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range c.sent {
		if !b.acked {
			open = append(open, b)
		}
	}
	return open
}

// send produces a batch of n records with values of size bytes. It waits until there are few enough without an answer.
func (c *client) send(n, size int) step {
	return func(m *machine) error {
		if len(c.open()) >= maxOpen {
			if err := settle(m); err != nil || len(c.open()) >= maxOpen {
				return errors.Join(err, errPending)
			}
		}
		b := &batch{sequence: c.next}
		for i := range n {
			seed := int(c.next) + i
			value := bytes.Repeat([]byte{byte('a' + seed%26)}, size)
			value = append(value, fmt.Sprintf(" %d/%d", c.id, seed)...)
			var key []byte
			if c.keys > 0 {
				key = fmt.Appendf(nil, "key %d", seed*7%c.keys)
				if seed%11 == 10 {
					value = nil
				}
			}
			b.values, b.keys = append(b.values, value), append(b.keys, key)
		}
		c.next += int32(n)
		c.mu.Lock()
		c.sent = append(c.sent, b)
		c.mu.Unlock()
		return c.produce(m, b)
	}
}

func (c *client) produce(m *machine, b *batch) error {
	var build record.Builder
	build.Reset(record.Spec{Producer: &record.Producer{ID: c.id, Sequence: b.sequence}})
	for i, value := range b.values {
		build.Append(time.Now().UnixMilli(), b.keys[i], value)
	}
	data, err := build.Build()
	require.NoError(m.t, err)
	p, err := m.lookup(c.topic)
	if err != nil {
		return err
	}
	done, err := p.Append(replica.Append{Batches: data, Origin: log.Client, Acks: c.acks, Epoch: -1})
	if err != nil {
		return err
	}
	c.mu.Lock()
	b.offset = done.Base
	c.mu.Unlock()
	p.WhenDurable(done.FlushEnd, done.Epoch, c.acks, func(err error) {
		if err == nil {
			c.mu.Lock()
			b.acked = true
			c.mu.Unlock()
		}
	})
	return nil
}

// retry sends again what has no answer. The broker must take it: neither a false gap nor a false duplicate.
func (c *client) retry(m *machine) {
	for _, b := range c.open() {
		require.NoError(m.t, c.produce(m, b), "batch of sequence %d sent again", b.sequence)
	}
	require.NoError(m.t, settle(m))
	require.Empty(m.t, c.open(), "batches sent again are acknowledged")
}

// verify reads the topic and compares it with what was sent: what was acknowledged is there once, in order, at the offset that
// was told, and nothing else is there but what waits for its answer.
func (c *client) verify(t *testing.T, m *machine) {
	t.Helper()
	got := m.read(c.topic)
	require.NoError(t, got.err)
	have := map[int64]record.Record{}
	for _, r := range got.records {
		_, twice := have[r.Offset]
		require.False(t, twice, "%s: offset %d a second time", c.topic, r.Offset)
		have[r.Offset] = r
	}
	for _, b := range c.sent {
		for i, value := range b.values {
			offset := b.offset + int64(i)
			r, found := have[offset]
			delete(have, offset)
			if b.acked && c.keys == 0 && offset >= got.start {
				require.True(t, found, "%s: the record acknowledged at offset %d is not there; the log is %d to %d", c.topic, offset, got.start, got.end)
			}
			if found {
				require.Equal(t, brief(value), brief(r.Value), "%s: record %d", c.topic, offset)
			}
		}
	}
	require.Empty(t, have, "%s: records that nobody sent", c.topic)
	if c.keys > 0 {
		c.verifyKeys(t, got)
	}
}

// verifyKeys compares the last value of each key. What is not acknowledged yet may already be there.
func (c *client) verifyKeys(t *testing.T, got readTopic) {
	type last struct {
		offset int64
		value  []byte
	}
	want, have := map[string]last{}, map[string]last{}
	for _, b := range c.sent {
		for i, key := range b.keys {
			if b.acked {
				want[string(key)] = last{b.offset + int64(i), b.values[i]}
			}
		}
	}
	for _, r := range got.records {
		have[string(r.Key)] = last{r.Offset, r.Value}
	}
	for key, w := range want {
		h, found := have[key]
		switch {
		case !found:
			require.Nil(t, w.value, "%s: %s, last written at offset %d, is gone; the log is %d to %d", c.topic, key, w.offset, got.start, got.end)
		case h.offset <= w.offset:
			require.Equal(t, brief(w.value), brief(h.value), "%s: %s, last written at offset %d, found at %d; the log is %d to %d", c.topic, key, w.offset, h.offset, got.start, got.end)
		}
	}
}

// brief is what tells two values apart, fit for a message.
func brief(value []byte) string {
	if value == nil {
		return "tombstone"
	}
	return fmt.Sprintf("%d bytes ending in %q", len(value), value[max(0, len(value)-10):])
}

type readTopic struct {
	start, end int64
	records    []record.Record
	err        error
}

// read reads a topic from its start to its watermark, through the partition.
func (m *machine) read(topic string) (out readTopic) {
	p := m.partition(topic)
	out.start, out.end = p.LogStart(), p.HighWatermark()
	require.Equal(m.t, p.LogEnd(), out.end, "everything is committed")
	for at := out.start; at < out.end; {
		got, err := p.Read(replica.Read{Offset: at, MaxBytes: 1 << 20, AtLeastOne: true, Epoch: -1, LastEpoch: -1})
		if err != nil {
			out.err = err
			return out
		}
		if got.Slice.Len == 0 {
			break
		}
		data, err := got.Slice.Bytes(nil)
		got.Slice.Release()
		require.NoError(m.t, err)
		for b, err := range record.Batches(data) {
			require.NoError(m.t, err)
			require.NoError(m.t, b.CheckCRC())
			out.records = append(out.records, recordsOf(m.t, b, at)...)
			at = b.NextOffset()
		}
	}
	return out
}

func recordsOf(t *testing.T, b record.Batch, from int64) (records []record.Record) {
	for rec, err := range b.All(1 << 20) {
		require.NoError(t, err)
		if rec.Offset >= from {
			rec.Key, rec.Value = bytes.Clone(rec.Key), bytes.Clone(rec.Value)
			records = append(records, rec)
		}
	}
	return records
}
