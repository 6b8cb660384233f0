package runtime

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

func TestServesOnlyWhenTheEndOfLoadTimeIsCommitted(t *testing.T) {
	simulate(t, func(t *testing.T) {
		log := &memLog{}
		first := loaded(t, log, newMemStore())
		first.add("x", 1)
		first.Close()

		run := newTally(t, log, newMemStore())
		run.add("x", 1).is(t, ErrNotCoordinator)
		run.Load(run.id, 0, 0, log)
		run.add("x", 1).is(t, ErrLoading)
		require.ErrorIs(t, run.Read(0, nil), ErrLoading)
		time.Sleep(longer)
		run.add("x", 1).is(t, ErrLoading)
		log.commit(-1)
		synctest.Wait()
		require.Equal(t, "1", run.read("x"))
	})
}

// filled is a log and a store of a life that ended after n additions, all committed.
func filled(t *testing.T, n int) (*memLog, *memStore) {
	log, store := &memLog{instant: true}, newMemStore()
	run := loaded(t, log, store)
	for i := range n {
		run.add(fmt.Sprint("k", i%10), 1).is(t, nil)
	}
	run.Close()
	log.reads = nil
	return log, store
}

func TestLoadReadsWhatTheViewHasNot(t *testing.T) {
	simulate(t, func(t *testing.T) {
		log, store := filled(t, 100)
		log.instant = false
		late := loaded(t, log, store)
		require.Equal(t, []int64{99}, log.reads, "the look at the view's last record alone")
		late.add("k3", 5)
		late.Close() // the view never saw it
		log.reads = nil
		run := loaded(t, log, store)
		require.Equal(t, []int64{99, 100}, log.reads)
		require.Equal(t, replayed(t, log), run.table())
	})
}

func TestViewThatDoesNotBelongToTheLogIsMadeAgain(t *testing.T) {
	cases := map[string]func(log *memLog, store *memStore, run *tallyRun){
		"another topic": func(_ *memLog, _ *memStore, run *tallyRun) { run.id = uuid.ID{9} },
		"past the end":  func(log *memLog, _ *memStore, _ *tallyRun) { log.batches = log.batches[:50] },
		"another epoch at its place": func(log *memLog, _ *memStore, _ *tallyRun) {
			log.batches = log.batches[:50]
			log.epoch = 4
			for i := range 60 {
				_, err := log.Append(4, batchOf(t, "other", fmt.Sprint(i)))
				require.NoError(t, err)
			}
		},
		"below the start": func(log *memLog, store *memStore, _ *tallyRun) {
			log.batches = append(log.batches, batchAt(t, 100, "x", "1"), batchAt(t, 101, "y", "2"))
			log.batches, log.start = log.batches[101:], 101
			log.hw = 102
		},
		"too old": func(log *memLog, _ *memStore, _ *tallyRun) {
			log.batches = append(log.batches, batchAt(t, 100, "x", "1"))
			time.Sleep(13 * time.Hour)
		},
		"a format not known here": func(_ *memLog, store *memStore, _ *tallyRun) {
			store.rows["\x00"] = "\x02" + store.rows["\x00"][1:]
		},
	}
	for name, accident := range cases {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T) {
				log, store := filled(t, 100)
				store.rows["\x01ghost"] = "2" // what only a drop removes
				run := newTally(t, log, store)
				accident(log, store, run)
				log.commit(-1)
				run.Load(run.id, 0, log.epoch, log)
				synctest.Wait()
				require.Equal(t, replayed(t, log), run.table())
			})
		})
	}
}

func TestViewThatIsOldButCompleteIsKept(t *testing.T) {
	simulate(t, func(t *testing.T) {
		log, store := filled(t, 10)
		time.Sleep(100 * 24 * time.Hour)
		store.rows["\x01kept"] = "3"
		require.Equal(t, "3", loaded(t, log, store).table()["kept"])
	})
}

func TestLoadAcrossWhatCompactionLeft(t *testing.T) {
	simulate(t, func(t *testing.T) {
		log := &memLog{epoch: 2, hw: 40}
		log.batches = append(log.batches, batchAt(t, 3, "a", "1", "b", "2"), batchAt(t, 17, "a", "4"), batchAt(t, 39))
		store := newMemStore()
		run := loaded(t, log, store)
		require.Equal(t, map[string]string{"a": "4", "b": "2"}, run.table())
		run.add("b", 1)
		log.commit(-1)
		run.Close()
		run = loaded(t, log, store)
		require.Equal(t, map[string]string{"a": "4", "b": "3"}, run.table())
	})
}

func TestDamagedLogIsTriedAgain(t *testing.T) {
	simulate(t, func(t *testing.T) {
		log, _ := filled(t, 10)
		good := log.batches[4]
		log.batches[4] = append(record.Batch{}, good...)
		log.batches[4][70] ^= 1
		run := newTally(t, log, newMemStore())
		run.Load(run.id, 0, 0, log)
		time.Sleep(time.Minute)
		run.add("x", 1).is(t, ErrLoading)
		log.mu.Lock()
		log.batches[4] = good
		log.mu.Unlock()
		time.Sleep(time.Minute)
		require.Equal(t, replayed(t, log), run.table())
	})
}

func TestMachineThatCannotBeRestoredIsTriedAgain(t *testing.T) {
	simulate(t, func(t *testing.T) {
		run := newTally(t, &memLog{}, newMemStore())
		run.restoreErr.Store(&errDisk)
		run.Load(run.id, 0, 0, run.log)
		synctest.Wait()
		run.add("x", 1).is(t, ErrLoading)
		run.restoreErr.Store(nil)
		time.Sleep(time.Minute)
		run.add("x", 1).open(t)
	})
}

func TestUnloadWhileLoading(t *testing.T) {
	simulate(t, func(t *testing.T) {
		log, store := filled(t, 5)
		log.hw = 0
		run := newTally(t, log, store)
		run.Load(run.id, 0, 0, log)
		run.Unload(0, 0)
		log.commit(-1)
		synctest.Wait()
		run.add("x", 1).is(t, ErrNotCoordinator)
	})
}

func TestManyShardsLoad(t *testing.T) {
	simulate(t, func(t *testing.T) {
		run := newTally(t, &memLog{}, newMemStore())
		for p := range int32(50) {
			log := &memLog{instant: true}
			_, err := log.Append(0, batchOf(t, "p", fmt.Sprint(p)))
			require.NoError(t, err)
			run.Load(run.id, p, 0, log)
		}
		synctest.Wait()
		for p := range int32(50) {
			require.NoError(t, run.Read(p, func(r Reader) error {
				value, ok, err := r.Get([]byte("p"))
				require.True(t, ok)
				require.Equal(t, fmt.Sprint(p), string(value))
				return err
			}))
		}
	})
}

// batchOf is a batch of records, keys and values in turn.
func batchOf(t *testing.T, kv ...string) record.Batch {
	var b record.Builder
	b.Reset(record.Spec{})
	for i := 0; i < len(kv); i += 2 {
		b.Append(0, []byte(kv[i]), []byte(kv[i+1]))
	}
	batch, err := b.Build()
	require.NoError(t, err)
	return batch
}

// batchAt is one that stands at an offset of the log; without records it is what
// compaction leaves of the batch of one record there.
func batchAt(t *testing.T, base int64, kv ...string) record.Batch {
	if len(kv) == 0 {
		b := batchOf(t, "gone", "1")
		b.Stamp(base, 2)
		var f record.Filter
		empty, _, err := f.Rewrite(b, record.Retention{Keep: func(*record.Record) bool { return false }, KeepEmpty: true})
		require.NoError(t, err)
		return empty
	}
	b := batchOf(t, kv...)
	b.Stamp(base, 2)
	return b
}
