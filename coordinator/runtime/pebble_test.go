package runtime

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/storage/kv"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// onPebble is a runtime whose views are in Pebble on a file system that can be cut.
func onPebble(t *testing.T, log *memLog, fs vfs.FS) (*tallyRun, *kv.DB) {
	db, err := kv.Open(kv.Options{FS: fs, Dir: "/kv"})
	require.NoError(t, err)
	run := loaded(t, log, nil, func(o *Options[*tally]) {
		o.store, o.KV = nil, db
	})
	return run, db
}

// TestPowerCutsAnywhere is TestCrashAnywhere on the real store: its files are cut with what
// was never synced, the log keeps what was committed.
func TestPowerCutsAnywhere(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for i := range uint64(25) {
		simulate(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, i))
			fs, log := vfs.NewCrash(seed+i), &memLog{}
			for range 6 {
				run, db := onPebble(t, log, fs)
				for range rnd.IntN(40) {
					run.add(fmt.Sprint("k", rnd.IntN(8)), 1)
					if rnd.IntN(3) == 0 {
						log.commit(log.HighWatermark() + rnd.Int64N(log.End()-log.HighWatermark()+1))
					}
					if rnd.IntN(8) == 0 {
						synctest.Wait()
					}
				}
				synctest.Wait()
				require.Equal(t, replayed(t, log), run.table())
				cut := fs.PowerCut(rnd.Uint64())
				if rnd.IntN(3) == 0 {
					cut = fs.Kill()
				}
				run.Close()
				require.NoError(t, db.Close())
				fs = cut
				hw, end := log.HighWatermark(), log.End()
				log = log.cut(hw + rnd.Int64N(end-hw+1))
			}
			run, db := onPebble(t, log, fs)
			require.Equal(t, replayed(t, log), run.table())
			run.Close()
			require.NoError(t, db.Close())
		})
	}
}

func TestReadersOnPebble(t *testing.T) {
	simulate(t, func(t *testing.T) {
		run, db := onPebble(t, &memLog{instant: true}, vfs.NewCrash(1))
		for i := range 5 {
			run.add(fmt.Sprint("k", i), i).is(t, nil)
		}
		require.Equal(t, "3", run.read("k3"))
		for _, look := range []func(int32, func(Reader) error) error{run.Read, run.Survey} {
			var keys []string
			require.NoError(t, look(0, func(r Reader) error {
				value, ok, err := r.Get([]byte("k4"))
				require.True(t, ok)
				require.Equal(t, "4", string(value))
				return errors.Join(err, r.Scan([]byte("k"), []byte("k2"), func(key, _ []byte) bool {
					keys = append(keys, string(key))
					return len(keys) < 2
				}))
			}))
			require.Equal(t, []string{"k2", "k3"}, keys)
			require.ErrorIs(t, look(9, nil), ErrNotCoordinator)
		}
		run.Close()
		require.NoError(t, db.Close())
	})
}

func TestMetrics(t *testing.T) {
	simulate(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		run := loaded(t, &memLog{}, newMemStore(), func(o *Options[*tally]) { o.Metrics = reg })
		run.add("x", 1)
		synctest.Wait()
		const want = `
# HELP tidemark_coordinator_parked_replies Replies that wait for a commit.
# TYPE tidemark_coordinator_parked_replies gauge
tidemark_coordinator_parked_replies{coordinator="tally"} 1
# HELP tidemark_coordinator_shards Partitions of the coordinator's topic by state.
# TYPE tidemark_coordinator_shards gauge
tidemark_coordinator_shards{coordinator="tally",state="active"} 1
tidemark_coordinator_shards{coordinator="tally",state="failed"} 0
tidemark_coordinator_shards{coordinator="tally",state="loading"} 0
tidemark_coordinator_shards{coordinator="tally",state="unloaded"} 0
`
		require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(want), "tidemark_coordinator_parked_replies", "tidemark_coordinator_shards"))
		run.Close()
		families, err := reg.Gather()
		require.NoError(t, err)
		require.Empty(t, families)
		time.Sleep(time.Second)
	})
}
