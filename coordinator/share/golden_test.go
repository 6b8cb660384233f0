package share

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

var update = flag.Bool("update", false, "write testdata/tidemark.log again; what kafka-dump-log says of it goes to testdata/tidemark.txt by hand")

// eachOf calls fn for the records of a segment file.
func eachOf(t testing.TB, segment []byte, fn func(*record.Record)) {
	for batch, err := range record.Batches(segment) {
		require.NoError(t, err)
		for rec, err := range batch.All(0) {
			require.NoError(t, err)
			fn(&rec)
		}
	}
}

// dumped is a record as kafka-dump-log --share-group-state-decoder prints it: what is ours it does not know.
func dumped(t *testing.T, key, value []byte) string {
	typ, k, ok := decodeKey(key)
	require.True(t, ok)
	s := fmt.Sprintf(`key: {"type":"%d","data":{"groupId":"%s","topicId":"%s","partition":%d}} payload: `, typ, k.Group, k.Topic, k.Partition)
	if value == nil {
		return s + "<DELETE>"
	}
	type batch struct {
		First      int64 `json:"firstOffset"`
		Last       int64 `json:"lastOffset"`
		State      State `json:"deliveryState"`
		Deliveries int16 `json:"deliveryCount"`
	}
	type payload struct {
		SnapshotEpoch int32   `json:"snapshotEpoch"`
		StateEpoch    *int32  `json:"stateEpoch,omitempty"`
		LeaderEpoch   int32   `json:"leaderEpoch"`
		Start         int64   `json:"startOffset"`
		Complete      *int32  `json:"deliveryCompleteCount,omitempty"`
		Created       int64   `json:"createTimestamp,omitempty"`
		Written       int64   `json:"writeTimestamp,omitempty"`
		Batches       []batch `json:"stateBatches"`
	}
	var c *change
	var err error
	if typ == typeSnapshot {
		c, err = decodeSnapshot(value)
	} else {
		c, err = decodeUpdate(value)
	}
	require.NoError(t, err)
	p := payload{SnapshotEpoch: c.snapshotEpoch, LeaderEpoch: c.leaderEpoch, Start: c.start, Created: c.created, Written: c.written, Batches: []batch{}}
	if typ == typeSnapshot {
		p.StateEpoch = &c.stateEpoch
	}
	if c.complete != -1 {
		p.Complete = &c.complete
	}
	for _, b := range c.batches {
		p.Batches = append(p.Batches, batch{b.First, b.Last, b.State, b.Deliveries})
	}
	data, err := json.Marshal(p)
	require.NoError(t, err)
	return s + fmt.Sprintf(`{"version":"0","data":%s}`, data)
}

// TestGolden reads records that Kafka 4.4 wrote, and ones of ours, as Kafka's own decoder does, and writes them again byte for
// byte.
func TestGolden(t *testing.T) {
	if *update {
		require.NoError(t, os.WriteFile("testdata/tidemark.log", segmentOf(t, ours()), 0o644))
	}
	for _, name := range []string{"kafka-4.4", "tidemark"} {
		t.Run(name, func(t *testing.T) {
			segment, err := os.ReadFile("testdata/" + name + ".log")
			require.NoError(t, err)
			said, err := os.ReadFile("testdata/" + name + ".txt")
			require.NoError(t, err)
			var lines []string
			eachOf(t, segment, func(rec *record.Record) {
				lines = append(lines, dumped(t, rec.Key, rec.Value))
				key, value := rewritten(t, rec.Key, rec.Value)
				require.Equal(t, rec.Key, key)
				require.Equal(t, rec.Value, value)
			})
			require.Equal(t, strings.Split(strings.TrimSpace(string(said)), "\n"), lines)
		})
	}
}

func rewritten(t *testing.T, key, value []byte) ([]byte, []byte) {
	typ, k, ok := decodeKey(key)
	require.True(t, ok)
	key = recordKey(typ, k)
	if value == nil {
		return key, nil
	}
	if typ == typeSnapshot {
		c, err := decodeSnapshot(value)
		require.NoError(t, err)
		return key, c.appendSnapshot(nil)
	}
	c, err := decodeUpdate(value)
	require.NoError(t, err)
	return key, c.appendUpdate(nil)
}

// TestOurRecordsStay compares what is written today with the records that brokers have on disk.
func TestOurRecordsStay(t *testing.T) {
	segment, err := os.ReadFile("testdata/tidemark.log")
	require.NoError(t, err)
	require.Equal(t, segment, segmentOf(t, ours()))
}

func segmentOf(t *testing.T, records []runtime.Record) []byte {
	var segment []byte
	for i, rec := range records {
		var b record.Builder
		b.Reset(record.Spec{})
		b.Append(1_800_000_000_000, rec.Key, rec.Value)
		batch, err := b.Build()
		require.NoError(t, err)
		batch.Stamp(int64(i), 0)
		segment = append(segment, batch...)
	}
	return segment
}

// ours are records with all that Kafka's do not have.
func ours() []runtime.Record {
	k := Key{"gruppe-ä", uuid.ID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, 2}
	intent := &Intent{Topic: uuid.ID{9}, Partition: 1, ProducerID: 4000, Epoch: 2, Sequence: 77, Cause: "delivery limit"}
	producer := &Producer{ID: 4000, Epoch: 2, Sequence: 78, Topic: uuid.ID{9}}
	batches := []Batch{
		{First: 100, Last: 100, State: Acquired, Deliveries: 1, Holder: "first", Until: 1_800_000_030_000},
		{First: 101, Last: 110, State: Acquired, Deliveries: 32767, Failures: 1 << 30, Holder: "second", Until: 1_800_000_030_001},
		{First: 111, Last: 111, State: Acquired, Deliveries: 2, Holder: "first", Until: 1_800_000_030_000},
		{First: 112, Last: 112, State: Acknowledged, Deliveries: 1},
		{First: 113, Last: 113, State: Available, Deliveries: 1, Failures: 1, Until: 1_800_000_030_000},
		{First: 114, Last: 115, State: Archiving, Deliveries: 3, Failures: 3, Intent: intent},
		{First: 116, Last: 116, State: Archived, Deliveries: 3},
	}
	for i := range 20 {
		b := lease(int64(200+i), int64(200+i), fmt.Sprint("holder", i))
		b.Until = 1
		batches = append(batches, b)
	}
	snapshot := &change{
		snapshotEpoch: 4, stateEpoch: 5, leaderEpoch: 6, fence: 7, start: 100, complete: 2, created: 1_800_000_000_000, written: 1_800_000_000_001,
		batches: batches, counters: &Counters{1, 200, 30_000, 4, 1 << 40}, producer: producer,
	}
	write := &change{
		snapshotEpoch: 4, leaderEpoch: 6, start: 100, complete: 2, batches: batches[:6],
		counters: &Counters{Accepted: 1}, producer: producer, replaces: true,
	}
	last := &change{snapshotEpoch: 4, leaderEpoch: -1, start: -1, complete: -1, replaces: true}
	return []runtime.Record{
		snapshotRecord(k, snapshot),
		{Key: recordKey(typeUpdate, k), Value: write.appendUpdate(nil)},
		{Key: recordKey(typeUpdate, k), Value: last.appendUpdate(nil)},
		{Key: recordKey(typeSnapshot, k)},
	}
}
