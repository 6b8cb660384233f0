package share

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
	"github.com/tidemark-mq/tidemark/protocol/record"
)

// FuzzRecord has any bytes as a record: they are refused or read, and what was read can be written and is the same then.
func FuzzRecord(f *testing.F) {
	for _, rec := range ours() {
		f.Add(rec.Key, rec.Value)
	}
	for _, name := range []string{"testdata/kafka-4.4.log", "testdata/tidemark.log"} {
		segment, err := os.ReadFile(name)
		require.NoError(f, err)
		eachOf(f, segment, func(rec *record.Record) { f.Add(bytes.Clone(rec.Key), bytes.Clone(rec.Value)) })
	}
	f.Fuzz(func(t *testing.T, k, value []byte) {
		if typ, name, ok := decodeKey(k); ok {
			require.Equal(t, k, recordKey(typ, name))
		}
		if c, err := decodeSnapshot(value); err == nil {
			again, err := decodeSnapshot(c.appendSnapshot(nil))
			require.NoError(t, err)
			require.Equal(t, c, again)
			p := newPartition(key)
			p.reset(c)
			checkRanges(t, p.ranges)
		}
		if c, err := decodeUpdate(value); err == nil {
			again, err := decodeUpdate(c.appendUpdate(nil))
			require.NoError(t, err)
			require.Equal(t, c, again)
			p := newPartition(key)
			p.ranges.replace(lease(3, 9, "a"))
			p.update(c)
			checkRanges(t, p.ranges)
		}
		_ = writtenAt(value)
	})
}

func checkRanges(t *testing.T, r *ranges) {
	var settled int64
	last := int64(-1)
	for _, b := range r.list() {
		require.True(t, valid(&b))
		require.Greater(t, b.First, last)
		last = b.Last
		if b.State.Final() {
			settled += b.Last - b.First + 1
		}
	}
	require.Equal(t, settled, r.settled)
}

// FuzzRows has any records in a log: the shard loads, and its states can be read or are said to be unreadable.
func FuzzRows(f *testing.F) {
	for _, rec := range ours() {
		f.Add(rec.Key, rec.Value, rec.Key, rec.Value)
	}
	f.Fuzz(func(t *testing.T, k1, v1, k2, v2 []byte) {
		w := table{}
		for i, rec := range []runtime.Record{{Key: k1, Value: v1}, {Key: k2, Value: v2}, {Key: k1}, {Key: k2, Value: v1}} {
			require.NoError(t, Rows(w, &runtime.Entry{Record: rec, Offset: int64(i), ProducerID: -1}))
		}
		if _, k, ok := decodeKey(k2); ok {
			_, _ = load(w, k)
		}
		require.NoError(t, eachOldest(w, func(o oldest) bool { return o.offset >= 0 }))
	})
}
