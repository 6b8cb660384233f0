package crash

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// reading checks the records of one partition, in offset order: exactly once and in order for each idempotent writer, at
// least once and in order for others, in order with gaps where the topic is compacted.
type reading struct {
	l         *load
	compacted bool
	begun     bool
	last      int64                  // offset of the last record
	next      map[uint32]int         // by writer, the number expected next
	first     map[uint32]int         // by writer, the first number seen
	met       map[uint32]map[int]int // by acks=1 writer, how many acknowledged numbers were met at the offset that was told
	values    map[string]int         // by key, as stream.last
}

func newReading(l *load, topic string) *reading {
	return &reading{l: l, compacted: topic == "keys", last: -1, next: map[uint32]int{}, first: map[uint32]int{}, met: map[uint32]map[int]int{}, values: map[string]int{}}
}

func (v *reading) take(r *kgo.Record) error {
	o, err := v.l.parse(r)
	if err != nil {
		return fmt.Errorf("%s/%d at offset %d: %w", r.Topic, r.Partition, r.Offset, err)
	}
	switch {
	case v.begun && r.Offset <= v.last:
		return fmt.Errorf("%s/%d: offset %d after %d", r.Topic, r.Partition, r.Offset, v.last)
	case v.begun && r.Offset != v.last+1 && !v.compacted:
		return fmt.Errorf("%s/%d: offset %d follows %d", r.Topic, r.Partition, r.Offset, v.last)
	}
	v.begun, v.last = true, r.Offset
	w := v.l.writers[o.writer]
	want, seen := v.next[o.writer]
	if !seen {
		v.first[o.writer] = o.number
		want = o.number
	}
	switch {
	case o.number < want && w.acks1: // sent again, because no answer came
	case o.number < want:
		return fmt.Errorf("%s/%d at offset %d: record %d of idempotent producer %d a second time, or late: %d was expected", r.Topic, r.Partition, r.Offset, o.number, o.writer, want)
	case o.number > want && !v.compacted:
		return fmt.Errorf("%s/%d at offset %d: record %d of producer %d, but %d to %d are missing", r.Topic, r.Partition, r.Offset, o.number, o.writer, want, o.number-1)
	}
	v.next[o.writer] = max(want, o.number+1)
	return v.compare(w, r, o)
}

// compare holds a record against the offset that was acknowledged for it.
func (v *reading) compare(w *writer, r *kgo.Record, o origin) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	acked := w.streams[r.Partition].acked
	if o.number >= len(acked) {
		return fmt.Errorf("%s/%d at offset %d: record %d of producer %d, which sent only %d", r.Topic, r.Partition, r.Offset, o.number, o.writer, len(acked))
	}
	told := acked[o.number]
	if !w.acks1 && told != unacked && told != r.Offset {
		return fmt.Errorf("%s/%d at offset %d: record %d of producer %d was acknowledged at offset %d", r.Topic, r.Partition, r.Offset, o.number, o.writer, told)
	}
	if w.acks1 && told == r.Offset {
		if v.met[o.writer] == nil {
			v.met[o.writer] = map[int]int{}
		}
		v.met[o.writer][o.number]++
	}
	if w.keys > 0 {
		v.values[string(r.Key)] = o.number
		if r.Value == nil {
			v.values[string(r.Key)] = -1 - o.number
		}
	}
	return nil
}

// complete checks that nothing is missing at the end, when every record was acknowledged.
func (v *reading) complete(topic string, p int32, start int64) {
	t := v.l.t
	for _, w := range v.l.writers {
		if w.topic != topic {
			continue
		}
		acked := w.sent(p)
		switch {
		case w.keys > 0:
			v.completeKeys(w, p)
			continue
		case start == 0:
			require.Equal(t, len(acked), v.next[w.id], "%s/%d: records of producer %d are missing at the end", topic, p, w.id)
			require.Zero(t, v.first[w.id], "%s/%d: first record of producer %d", topic, p, w.id)
		}
		for number, offset := range acked {
			switch {
			case offset < start:
			case w.acks1:
				require.Equal(t, 1, v.met[w.id][number], "%s/%d: record %d of producer %d is not at offset %d", topic, p, number, w.id, offset)
			default:
				require.True(t, number >= v.first[w.id] && number < v.next[w.id], "%s/%d: record %d of producer %d is not at offset %d", topic, p, number, w.id, offset)
			}
		}
	}
}

// completeKeys checks that each key has the last value that was written.
func (v *reading) completeKeys(w *writer, p int32) {
	offset := func(number int) int64 {
		if number < 0 {
			number = -1 - number
		}
		return w.streams[p].acked[number]
	}
	for key, want := range w.streams[p].last {
		got, found := v.values[key]
		if !found && want < 0 {
			continue // the tombstone itself may be gone
		}
		require.True(v.l.t, found, "keys/%d: key %s, last written at offset %d, is gone; the log ends at %d", p, key, offset(want), v.last+1)
		require.Equal(v.l.t, want, got, "keys/%d: last value of key %s was written at offset %d, the one found at %d; the log ends at %d", p, key, offset(want), offset(got), v.last+1)
	}
}

// verify reads everything back and holds it against what was acknowledged. It is for after stop.
func (l *load) verify() {
	l.t.Helper()
	l.requireAllAcked()
	topics := map[string]int32{}
	for _, w := range l.writers {
		topics[w.topic] = w.partitions
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	for topic, partitions := range topics {
		starts, err := l.adm.ListStartOffsets(ctx, topic)
		require.NoError(l.t, err)
		ends, err := l.adm.ListEndOffsets(ctx, topic)
		require.NoError(l.t, err)
		for p := range partitions {
			start, _ := starts.Lookup(topic, p)
			end, _ := ends.Lookup(topic, p)
			require.NoError(l.t, start.Err)
			require.NoError(l.t, end.Err)
			v := newReading(l, topic)
			l.readTo(ctx, v, topic, p, start.Offset, end.Offset)
			v.complete(topic, p, start.Offset)
		}
	}
}

func (l *load) readTo(ctx context.Context, v *reading, topic string, p int32, start, end int64) {
	l.t.Helper()
	if start == end {
		return
	}
	cl := l.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {p: kgo.NewOffset().At(start)}}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.FetchMaxWait(100*time.Millisecond), kgo.KeepControlRecords())
	defer cl.Close()
	for at := start; at < end; {
		fetches := cl.PollFetches(ctx)
		require.NoError(l.t, fetches.Err(), "seed %d: %s/%d from %d", l.seed, topic, p, at)
		fetches.EachRecord(func(r *kgo.Record) {
			require.NoError(l.t, v.take(r), "seed %d", l.seed)
			at = r.Offset + 1
		})
	}
}

// follow reads topics as they grow, over all restarts: what a consumer saw once must never be gone or another record.
func (l *load) follow(topics ...string) {
	from := map[string]map[int32]kgo.Offset{}
	readings := map[string]*reading{}
	key := func(topic string, p int32) string { return fmt.Sprint(topic, "/", p) }
	for _, w := range l.writers {
		for _, topic := range topics {
			if w.topic != topic {
				continue
			}
			from[topic] = map[int32]kgo.Offset{}
			for p := range w.partitions {
				from[topic][p] = kgo.NewOffset().At(0)
				readings[key(topic, p)] = newReading(l, topic)
			}
		}
	}
	cl := l.client(kgo.ConsumePartitions(from), kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.FetchMaxWait(200*time.Millisecond))
	l.work.Go(func() {
		defer cl.Close()
		for l.ctx.Err() == nil {
			fetches := cl.PollFetches(l.ctx)
			for _, e := range fetches.Errors() {
				var loss *kgo.ErrDataLoss
				if !transient(e.Err) || errors.As(e.Err, &loss) {
					l.fail("consumer of %s/%d: %w", e.Topic, e.Partition, e.Err)
				}
			}
			fetches.EachRecord(func(r *kgo.Record) {
				if err := readings[key(r.Topic, r.Partition)].take(r); err != nil {
					l.fail("consumer: %w", err)
				}
			})
		}
	})
}
