package runtime

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

func TestReplyWaitsForCommit(t *testing.T) {
	simulate(t, func(t *testing.T) {
		run := loaded(t, &memLog{}, newMemStore())
		a, b := run.add("x", 1), run.add("x", 2)
		a.open(t)
		run.log.commit(1)
		a.is(t, nil)
		b.open(t)
		run.log.commit(2)
		b.is(t, nil)
	})
}

func TestReplyWithoutRecordsWaitsForWhatItSaw(t *testing.T) {
	simulate(t, func(t *testing.T) {
		run := loaded(t, &memLog{}, newMemStore())
		_, before := run.peek("x")
		before.is(t, nil)
		run.add("x", 5)
		seen, after := run.peek("x")
		require.Equal(t, "5", seen, "decisions see what is appended")
		after.open(t)
		require.Equal(t, "", run.read("x"), "readers do not")
		run.log.commit(-1)
		after.is(t, nil)
		require.Equal(t, "5", run.read("x"))
	})
}

func TestOneCommitServesMany(t *testing.T) {
	simulate(t, func(t *testing.T) {
		run := loaded(t, &memLog{}, newMemStore())
		waits := run.log.waits
		var all []*promise
		for i := range 1000 {
			all = append(all, run.add(fmt.Sprint(i%7), 1))
		}
		run.log.commit(-1)
		for _, p := range all {
			p.is(t, nil)
		}
		require.Equal(t, 1, run.log.waits-waits)
		require.Equal(t, replayed(t, run.log), run.table())
	})
}

func TestRefusedAppendFailsAlone(t *testing.T) {
	simulate(t, func(t *testing.T) {
		run := loaded(t, &memLog{}, newMemStore())
		before := run.add("x", 1)
		for _, why := range []error{ErrRefused, ErrTooLarge} {
			run.log.failNext(fmt.Errorf("no: %w", why), false)
			told := false
			p := &promise{}
			require.NoError(t, run.Do(0, func(m *tally, v View) Outcome {
				out := m.add(v, "x", 10)
				out.Reply = p.fulfil
				out.Refused = func(_ *Tx, err error) { told = true; require.ErrorIs(t, err, why) }
				return out
			}))
			p.is(t, why)
			require.True(t, told)
		}
		after := run.add("x", 1)
		run.log.commit(-1)
		before.is(t, nil)
		after.is(t, nil)
		require.Equal(t, "2", run.read("x"))
		require.Equal(t, replayed(t, run.log), run.table())
	})
}

func TestAppendOfUnknownFateReloads(t *testing.T) {
	for _, written := range []bool{false, true} {
		t.Run(fmt.Sprintf("written=%v", written), func(t *testing.T) {
			simulate(t, func(t *testing.T) {
				run := loaded(t, &memLog{}, newMemStore())
				earlier := run.add("x", 1)
				run.log.failNext(errDisk, written)
				run.add("x", 10).is(t, ErrNotCoordinator)
				earlier.is(t, ErrNotCoordinator)
				// The old record may still commit: nothing is decided before it is known.
				run.add("x", 1).is(t, ErrLoading)
				run.log.commit(1)
				if written {
					run.add("x", 1).is(t, ErrLoading)
					run.log.commit(2)
				}
				synctest.Wait()
				run.add("y", 1)
				run.log.commit(-1)
				synctest.Wait()
				require.Equal(t, replayed(t, run.log), run.table())
			})
		})
	}
}

func TestAppendAtAnotherOffsetReloads(t *testing.T) {
	simulate(t, func(t *testing.T) {
		run := loaded(t, &memLog{}, newMemStore())
		other := loaded(t, run.log, newMemStore()) // somebody else writes to the same log
		other.add("z", 4)
		run.add("x", 1).is(t, ErrNotCoordinator)
		run.log.commit(-1)
		synctest.Wait()
		require.Equal(t, map[string]string{"z": "4", "x": "1"}, run.table())
	})
}

func TestLostLeadershipUnloads(t *testing.T) {
	simulate(t, func(t *testing.T) {
		run := loaded(t, &memLog{}, newMemStore())
		parked := run.add("x", 1)
		held := &promise{}
		require.NoError(t, run.Do(0, func(m *tally, _ View) Outcome {
			return Outcome{Then: func(*Tx) { m.held = append(m.held, held.fulfil) }}
		}))
		run.log.resign(1)
		parked.is(t, ErrNotCoordinator)
		held.is(t, ErrNotCoordinator)
		run.add("x", 1).is(t, ErrNotCoordinator)
		require.Equal(t, Unloaded, run.Shards()[0])

		run.Load(run.id, 0, 1, run.log)
		run.log.commit(-1)
		synctest.Wait()
		require.Equal(t, "1", run.read("x"))
	})
}

func TestFencedAppendUnloads(t *testing.T) {
	simulate(t, func(t *testing.T) {
		run := loaded(t, &memLog{}, newMemStore())
		run.log.epoch = 3
		run.add("x", 1).is(t, ErrNotCoordinator)
		require.Equal(t, Unloaded, run.Shards()[0])
		require.Zero(t, run.log.End())
	})
}

func TestEpochsDecideWhichLoadHolds(t *testing.T) {
	simulate(t, func(t *testing.T) {
		run := loaded(t, &memLog{epoch: 5}, newMemStore())
		run.Load(run.id, 0, 4, run.log) // late news
		run.Unload(0, 4)
		require.Equal(t, Active, run.Shards()[0])
		parked := run.add("x", 1)
		run.log.resign(6)
		run.Load(run.id, 0, 6, run.log)
		parked.is(t, ErrNotCoordinator)
		run.log.commit(-1)
		synctest.Wait()
		require.Equal(t, "1", run.read("x"))
		run.Unload(0, 6)
		require.Empty(t, run.Shards())
		run.add("x", 1).is(t, ErrNotCoordinator)
		require.ErrorIs(t, run.Read(0, nil), ErrNotCoordinator)
	})
}

func TestTopicMadeAgainStartsEmpty(t *testing.T) {
	simulate(t, func(t *testing.T) {
		store := newMemStore()
		run := loaded(t, &memLog{instant: true}, store)
		run.add("x", 1).is(t, nil)
		again := &memLog{}
		run.Load(uuid.ID{2}, 0, 0, again)
		synctest.Wait()
		require.Empty(t, run.table())
	})
}

func TestCommitThatTakesTooLong(t *testing.T) {
	simulate(t, func(t *testing.T) {
		run := loaded(t, &memLog{}, newMemStore(), func(o *Options[*tally]) { o.CommitTimeout = 5 * time.Second })
		a := run.add("x", 1)
		time.Sleep(3 * time.Second)
		b := run.add("x", 1)
		time.Sleep(2 * time.Second)
		a.is(t, ErrTimedOut)
		b.open(t)
		run.log.commit(-1)
		b.is(t, nil)
		require.Equal(t, "2", run.read("x"), "what was given up on is still in the log")
		run.add("x", 1)
		time.Sleep(longer)
		require.Equal(t, "3", run.table()["x"])
	})
}

func TestPendingIsBounded(t *testing.T) {
	simulate(t, func(t *testing.T) {
		run := loaded(t, &memLog{}, newMemStore(), func(o *Options[*tally]) { o.MaxPending = 3 })
		for range 3 {
			run.add("x", 1).open(t)
		}
		run.add("x", 1).is(t, ErrBusy)
		run.log.commit(-1)
		synctest.Wait()
		run.add("x", 1).open(t)

		bytes := loaded(t, &memLog{}, newMemStore(), func(o *Options[*tally]) { o.MaxPendingBytes = 3 })
		bytes.add("x", 1).open(t)
		bytes.add("x", 1).open(t)
		bytes.add("x", 1).is(t, ErrBusy)
	})
}

func TestViewThatCannotBeWrittenFailsTheShard(t *testing.T) {
	simulate(t, func(t *testing.T) {
		run := loaded(t, &memLog{}, newMemStore())
		p := run.add("x", 1)
		run.store.mu.Lock()
		run.store.fail = errDisk
		run.store.mu.Unlock()
		run.log.commit(-1)
		p.is(t, ErrNotCoordinator)
		run.add("x", 1).is(t, ErrLoading)
		run.store.mu.Lock()
		run.store.fail = nil
		run.store.mu.Unlock()
		time.Sleep(maxReloadPause)
		synctest.Wait()
		require.Equal(t, "1", run.table()["x"])
	})
}

func TestOperationThatPanicsEndsTheLife(t *testing.T) {
	simulate(t, func(t *testing.T) {
		run := loaded(t, &memLog{}, newMemStore())
		parked := run.add("x", 1)
		require.NoError(t, run.Do(0, func(*tally, View) Outcome {
			return Outcome{Then: func(*Tx) { panic("a bug") }}
		}))
		parked.is(t, ErrNotCoordinator)
		run.log.commit(-1)
		synctest.Wait()
		require.Equal(t, map[string]string{"x": "1"}, run.table())
	})
}

func TestReplyThatPanicsCostsItsRequestAlone(t *testing.T) {
	simulate(t, func(t *testing.T) {
		run := loaded(t, &memLog{}, newMemStore())
		before := run.add("x", 1)
		require.NoError(t, run.Do(0, func(*tally, View) Outcome { return Outcome{Reply: func(error) { panic("a bug") }} }))
		after := run.add("x", 1)
		run.log.commit(-1)
		before.is(t, nil)
		after.is(t, nil)
		last := run.add("x", 1)
		run.log.commit(-1)
		last.is(t, nil)
		require.Equal(t, "3", run.table()["x"], "the shard goes on")
	})
}

func TestCloseAnswersEverything(t *testing.T) {
	simulate(t, func(t *testing.T) {
		run := loaded(t, &memLog{}, newMemStore())
		p := run.add("x", 1)
		run.Close()
		p.is(t, ErrNotCoordinator)
		run.add("x", 1).is(t, ErrNotCoordinator)
		run.Load(run.id, 1, 1, run.log)
		require.Empty(t, run.Shards())
		run.log.commit(-1)
		synctest.Wait()
	})
}
