package runtime

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestCrashAnywhere runs random histories and crashes at every step: the log keeps what is
// committed and some of what is not, the view goes back any number of commits. What is
// loaded then must be what the log alone makes, and nothing acknowledged may be missing.
func TestCrashAnywhere(t *testing.T) {
	for i := range 150 {
		seed := uint64(i)
		if i >= 100 {
			seed = rand.Uint64()
		}
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			simulate(t, func(t *testing.T) { crashHistory(t, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

func crashHistory(t *testing.T, rnd *rand.Rand) {
	store := newMemStore()
	store.keep = true
	run := loaded(t, &memLog{}, store)
	acked := map[string]int{}
	type addition struct {
		name string
		p    *promise
	}
	var open []addition
	harvest := func() {
		synctest.Wait()
		var rest []addition
		for _, a := range open {
			if done, err := a.p.get(); !done {
				rest = append(rest, a)
			} else if err == nil {
				acked[a.name]++
			}
		}
		open = rest
	}
	for range 60 {
		switch n := rnd.IntN(100); {
		case n < 55:
			name := fmt.Sprint("k", rnd.IntN(8))
			open = append(open, addition{name, run.add(name, 1)})
		case n < 75:
			log := run.log
			log.commit(log.HighWatermark() + rnd.Int64N(log.End()-log.HighWatermark()+1))
		case n < 80:
			if run.Shards()[0] == Active {
				run.schedule(fmt.Sprint("k", rnd.IntN(8)), time.Duration(rnd.IntN(3))*time.Second)
			}
		case n < 85:
			time.Sleep(time.Duration(rnd.IntN(3000)) * time.Millisecond)
		case n < 90:
			run.log.failNext(errDisk, rnd.IntN(2) == 0)
		case n < 92:
			run.log.failNext(ErrRefused, false)
		default:
			harvest()
			run.Close()
			hw, end := run.log.HighWatermark(), run.log.End()
			log := run.log.cut(hw + rnd.Int64N(end-hw+1))
			store = run.store.crashed(rnd.IntN(len(run.store.versions) + 1))
			store.versions = nil
			run = loaded(t, log, store)
		}
		harvest()
		check(t, run, acked)
	}
	run.log.failNext(nil, false)
	run.log.follow()
	time.Sleep(time.Minute)
	harvest()
	require.Equal(t, replayed(t, run.log), run.table())
	check(t, run, acked)
}

// check compares a serving shard with its log.
func check(t *testing.T, run *tallyRun, acked map[string]int) {
	if run.Shards()[0] != Active {
		return
	}
	rows := run.table()
	require.Equal(t, replayed(t, run.log), rows)
	for name, least := range acked {
		var n int
		_, err := fmt.Sscan(rows[name], &n)
		require.NoError(t, err)
		require.GreaterOrEqual(t, n, least, "%s lost an acknowledged addition", name)
	}
}
