package share

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// settle lets timers that are due run.
func settle() {
	time.Sleep(time.Millisecond)
	synctest.Wait()
}

func TestSnapshotAfterSoManyUpdates(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{SnapshotUpdates: 3})
		require.NoError(t, c.init(key, 1, 0))
		for i := range int64(7) {
			require.NoError(t, c.write(&Write{Key: key, StateEpoch: 1, Start: -1, Batches: []Batch{done(i, i)}, Add: Counters{Accepted: 1}}))
			settle()
		}
		require.Equal(t, []string{
			"g/0 snapshot 0: state 1 leader 0 start 0 complete 0",
			"g/0 update of 0: leader 0 start 1 complete 0 counters {1 0 0 0 0}",
			"g/0 update of 0: leader 0 start 2 complete 0 counters {2 0 0 0 0}",
			"g/0 update of 0: leader 0 start 3 complete 0 counters {3 0 0 0 0}",
			"g/0 snapshot 1: state 1 leader 0 start 3 complete 0 counters {3 0 0 0 0}",
			"g/0 update of 1: leader 0 start 4 complete 0 counters {4 0 0 0 0}",
			"g/0 update of 1: leader 0 start 5 complete 0 counters {5 0 0 0 0}",
			"g/0 update of 1: leader 0 start 6 complete 0 counters {6 0 0 0 0}",
			"g/0 snapshot 2: state 1 leader 0 start 6 complete 0 counters {6 0 0 0 0}",
			"g/0 update of 2: leader 0 start 7 complete 0 counters {7 0 0 0 0}",
		}, c.log.records(t, 0))
	})
}

// TestFullWindow has 100,000 leases of as many holders in a state: every write succeeds, the log and the rows stay in proportion,
// the snapshot can be written and read, and a write is still one small record.
func TestFullWindow(t *testing.T) {
	simulate(t, func(t *testing.T) {
		const n = 100_000
		c := coordinator(t, Config{})
		require.NoError(t, c.init(key, 1, 0))
		c.fill(key, n, settle)
		settle()
		updates, snapshots, bytes := 0, 0, 0
		c.log.each(t, 0, func(rec *record.Record) {
			if typ, _, _ := decodeKey(rec.Key); typ == typeSnapshot {
				snapshots, bytes = snapshots+1, bytes+len(rec.Value)
			} else {
				updates += len(rec.Value)
			}
		})
		t.Logf("%d snapshots of %d bytes, updates of %d bytes", snapshots, bytes, updates)
		require.Greater(t, snapshots, 3)
		require.Less(t, bytes, updates, "snapshots cost no more than the updates")

		end := c.log.End()
		require.NoError(t, c.rt.Do(0, func(m *machine, v runtime.View) runtime.Outcome {
			records, renewed := m.snapshots(v, []Key{key}, 1<<40)
			return runtime.Outcome{Records: records, Then: func(*runtime.Tx) { renewed[0]() }}
		}))
		c.log.each(t, end, func(rec *record.Record) {
			t.Logf("the whole window takes %d bytes", len(rec.Value))
			require.Less(t, len(rec.Value), 16<<20)
		})

		end = c.log.End()
		require.NoError(t, c.write(&Write{Key: key, StateEpoch: 1, Start: -1, Batches: []Batch{done(50_000, 50_000)}}))
		settle()
		c.log.each(t, end, func(rec *record.Record) { require.Less(t, len(rec.Value), 100) })
		before := c.state(key)
		require.Len(t, before.Batches, n)
		c.restart()
		require.Equal(t, before, c.state(key))
		c.rebuild()
		require.Equal(t, before, c.state(key))
	})
}

// TestSnapshotRefused shows that a snapshot that the topic does not admit stops nothing.
func TestSnapshotRefused(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{})
		require.NoError(t, c.init(key, 1, 0))
		refused := 0
		c.log.refuseBy(func(batch []byte) error {
			if len(batch) > 60<<10 {
				refused++
				return runtime.ErrTooLarge
			}
			return nil
		})
		c.fill(key, 10_000, settle)
		settle()
		require.Greater(t, refused, 0)
		require.Less(t, refused, 10, "tried again when the updates have doubled")
		require.Len(t, c.state(key).Batches, 10_000)
		c.rebuild()
		require.Len(t, c.state(key).Batches, 10_000)
	})
}

// TestLogIsCut runs one busy and many idle share partitions until the log holds much that is not needed.
func TestLogIsCut(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{})
		idle := func(i int) Key { return Key{"idle", uuid.ID{1}, int32(i)} }
		for i := range 30 {
			require.NoError(t, c.init(idle(i), 1, int64(i)))
		}
		require.NoError(t, c.init(key, 1, 0))
		busy := func(from, n int64) {
			for i := range n {
				require.NoError(t, c.write(&Write{Key: key, StateEpoch: 1, Start: -1, Batches: []Batch{done(from+i, from+i)}}))
			}
		}
		busy(0, 900)
		time.Sleep(11 * time.Minute)
		require.Empty(t, c.cuts(), "not worth it")
		busy(900, 600)
		end := c.log.End()
		time.Sleep(6 * time.Minute)
		require.Len(t, c.cuts(), 1)
		require.Equal(t, c.cuts()[0], c.log.Start())
		require.Greater(t, c.log.Start(), int64(900))
		require.Contains(t, c.log.records(t, end), "idle/3 snapshot 1: state 1 leader 0 start 3 complete 0")
		require.Contains(t, c.log.records(t, end), "idle/29 snapshot 1: state 1 leader 0 start 29 complete 0")
		end = c.log.End()
		time.Sleep(time.Hour)
		require.Equal(t, end, c.log.End(), "an idle log is left alone")
		check := func() {
			require.EqualValues(t, 1500, c.state(key).Start)
			for i := range 30 {
				require.EqualValues(t, i, c.state(idle(i)).Start)
			}
		}
		check()
		c.restart()
		check()
		c.rebuild()
		check()
	})
}

// TestLargeStateIsNotRenewedForLittle has an idle state that is larger than what its snapshot keeps in the log.
func TestLargeStateIsNotRenewedForLittle(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{})
		large := Key{"large", uuid.ID{1}, 0}
		require.NoError(t, c.init(large, 1, 0))
		c.fill(large, 10_000, settle)
		require.NoError(t, c.init(key, 1, 0))
		next := int64(0)
		busy := func(n int64) {
			for range n {
				require.NoError(t, c.write(&Write{Key: key, StateEpoch: 1, Start: -1, Batches: []Batch{done(next, next)}}))
				next++
			}
			time.Sleep(10 * time.Minute)
		}
		busy(2000)
		require.Less(t, c.log.Start(), int64(100))
		busy(3000)
		require.Greater(t, c.log.Start(), int64(2000))
		require.Len(t, c.state(large).Batches, 10_000)
		c.rebuild()
		require.Len(t, c.state(large).Batches, 10_000)
		require.Equal(t, next, c.state(key).Start)
	})
}

// TestNoCutBeforeCommit keeps the renewed snapshots from being committed: nothing may be deleted yet.
func TestNoCutBeforeCommit(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{SnapshotUpdates: 100, WriteTimeout: time.Hour})
		require.NoError(t, c.init(key, 1, 0))
		for i := range int64(150) {
			require.NoError(t, c.write(&Write{Key: key, StateEpoch: 1, Start: -1, Batches: []Batch{done(i, i)}}))
			if i == 90 {
				c.log.hold()
			}
			if i >= 90 {
				break
			}
		}
		for i := int64(91); i < 150; i++ {
			c.Write(&Write{Key: key, StateEpoch: 1, Start: -1, Batches: []Batch{done(i, i)}}, func(error) {})
			settle()
		}
		time.Sleep(6 * time.Minute)
		require.Empty(t, c.cuts())
		c.log.release()
		synctest.Wait()
		require.Len(t, c.cuts(), 1)
	})
}

// TestMemoryIsBounded has more states than may be in memory.
func TestMemoryIsBounded(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{CacheBytes: 100 << 10})
		for i := range 50 {
			k := Key{"g", uuid.ID{1}, int32(i)}
			require.NoError(t, c.init(k, 1, 0))
			c.fill(k, 100, settle)
		}
		require.LessOrEqual(t, c.held.Load(), int64(100<<10))
		for i := range 50 {
			require.Len(t, c.state(Key{"g", uuid.ID{1}, int32(i)}).Batches, 100)
		}
		require.LessOrEqual(t, c.held.Load(), int64(100<<10))
		require.Greater(t, c.held.Load(), int64(50<<10))
		time.Sleep(16 * time.Minute)
		require.Zero(t, c.held.Load(), "idle states leave memory")
		require.Len(t, c.state(key).Batches, 0)
		c.Unload(0, c.life)
		require.Zero(t, c.held.Load())
	})
}

func TestTopicsDeleted(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{})
		gone, kept := Key{"g", uuid.ID{1}, 0}, Key{"g", uuid.ID{2}, 0}
		for _, k := range []Key{gone, kept} {
			require.NoError(t, c.init(k, 1, 5))
		}
		synctest.Wait()
		end := c.log.End()
		c.TopicsDeleted([]uuid.ID{gone.Topic})
		synctest.Wait()
		require.Equal(t, []string{"g/0 gone"}, c.log.records(t, end))
		require.EqualValues(t, -1, c.state(gone).Start)
		require.EqualValues(t, 5, c.state(kept).Start)
	})
}

// TestReplyWaitsForCommit shows that no answer leaves before what it says is committed.
func TestReplyWaitsForCommit(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{})
		require.NoError(t, c.init(key, 1, 0))
		c.log.hold()
		var write, read, summary pending
		c.Write(&Write{Key: key, StateEpoch: 1, Batches: []Batch{done(0, 4)}}, write.ack)
		c.Read(key, 0, read.set)
		c.Summary(key, summary.set)
		require.True(t, write.open())
		require.True(t, read.open())
		require.True(t, summary.open())
		c.log.release()
		_, err := write.get(t)
		require.NoError(t, err)
		s, err := summary.get(t)
		require.NoError(t, err)
		require.EqualValues(t, 5, s.Start)
		s, err = read.get(t)
		require.NoError(t, err)
		require.EqualValues(t, 5, s.Start)
	})
}
