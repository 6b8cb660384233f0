package logdir

import (
	"flag"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/tidemark-mq/tidemark/storage/vfs"
)

var (
	historySeed  = flag.Uint64("logdir.seed", 0, "run the random histories with this seed only")
	historyCount = flag.Int("logdir.histories", 30, "number of random histories")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var scripts = map[string][]step{
	"rules 1 and 5: small and large appends, acknowledged in order": {
		appendTo(0, 100), appendTo(0, 9000), appendTo(0, 50), settle, appendTo(1, 200), appendTo(0, 60), settle,
	},
	"rule 1: flushing turned on over what the page cache holds": {
		setFlush(0, false), appendTo(0, 500), appendTo(0, 600), setFlush(0, true), appendTo(0, 100), settle, appendTo(0, 100), settle,
	},
	"rule 4: a truncated log does not get back what was cut": {
		appendTo(0, 100), appendTo(0, 110), appendTo(0, 120), settle, truncate(0, 1), appendTo(0, 50), settle, appendTo(0, 60), settle,
	},
	"rule 4: a topic deleted and made again under its name": {
		appendTo(0, 100), appendTo(0, 9000), settle, drop(0), appendTo(0, 30), settle, appendTo(1, 40), drop(0), appendTo(0, 31), settle,
	},
	"rule 4: a truncation below the recorded recovery point": {
		repeat(6, appendTo(0, 3000)), settle, later(2 * time.Minute), truncate(0, 2), appendTo(0, 50), settle, appendTo(0, 60), settle,
	},
	"rule 4: a partition taken away and given back under the same id": {
		appendTo(0, 100), appendTo(0, 110), settle, giveBack(0), appendTo(0, 30), settle, appendTo(0, 31), settle, giveBack(0), settle,
	},
	"rule 6: the log start holds": {
		repeat(6, appendTo(0, 6000)), settle, deleteRecords(0, 4), appendTo(0, 10), settle, deleteRecords(0, 7), settle,
	},
	"rules 3 and 8: rolls, checkpoints, recycled journal files": {
		repeat(12, appendTo(0, 5000), appendTo(1, 3000), settle), later(time.Minute), repeat(12, appendTo(2, 6000), settle), later(2 * time.Minute),
	},
	"clean stop and start": {
		appendTo(0, 100), appendTo(1, 9000), settle, restart, appendTo(0, 101), settle, restart, appendTo(2, 7), settle,
	},
}

// TestCrashScripts cuts the power at the sync points of every script, on either side of each, in several ways, recovers, goes
// on for a bit, cuts again, and recovers again.
func TestCrashScripts(t *testing.T) {
	for name, script := range scripts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			points := countSyncPoints(t, script)
			stride := int64(1)
			if testing.Short() {
				stride = 1 + points/12
			}
			for at := int64(1); at <= points+1; at += stride {
				for _, when := range []vfs.When{vfs.BeforeSync, vfs.AfterSync} {
					seed := uint64(at)*4 + uint64(when)
					for range 2 {
						if cutAndRecover(t, script, at, when, seed); t.Failed() {
							return
						}
						seed++
					}
				}
			}
		})
	}
}

func countSyncPoints(t *testing.T, script []step) (points int64) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewCrash(1)
		w := newWorld(t, disk, 3)
		require.NoError(t, w.begin())
		for _, s := range script {
			require.NoError(t, s(w))
		}
		points = disk.Ops()
		require.NoError(t, w.d.Close())
	})
	return points
}

func cutAndRecover(t *testing.T, script []step, at int64, when vfs.When, seed uint64) {
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("cut at sync point %d, when=%d, seed %d", at, when, seed)
			}
		})
		disk := vfs.NewCrash(seed)
		w := newWorld(t, disk, 3)
		w.cut(at, when)
		err := w.begin()
		for i := 0; err == nil && i < len(script); i++ {
			err = script[i](w)
		}
		w = reboot(w, disk, seed)
		second := w.fs.(*vfs.Crash)
		require.NoError(t, w.begin())
		for _, s := range []step{appendTo(0, 100), appendTo(1, 9000), appendTo(0, 120), settle, appendTo(0, 90)} {
			require.NoError(t, s(w))
		}
		w = reboot(w, second, seed+1)
		require.NoError(t, w.begin())
		synctest.Wait()
		strays, err := w.d.Strays()
		require.NoError(t, err)
		require.Empty(t, strays)
		require.NoError(t, w.d.Close())
	})
}

// TestRandomHistories runs random appends of mixed sizes to several topics, truncations, record deletions, topics deleted and made
// again, clean restarts, time passing, and power cuts at random sync points; through several lives each.
func TestRandomHistories(t *testing.T) {
	first, n := uint64(1), *historyCount
	if testing.Short() {
		n = min(n, 6)
	}
	if *historySeed != 0 {
		first, n = *historySeed, 1
	}
	for i := range n {
		seed := first + uint64(i)
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { randomHistory(t, seed) })
		})
	}
}

func randomHistory(t *testing.T, seed uint64) {
	rng := seeded(t, seed)
	disk := vfs.NewCrash(seed)
	w := newWorld(t, disk, 1+rng.IntN(8))
	trace := func(format string, args ...any) {
		if *historySeed != 0 {
			t.Logf(format, args...)
		}
	}
	for life := range 5 {
		w.cut(disk.Ops()+1+rng.Int64N(400), vfs.When(rng.IntN(2)))
		trace("life %d, cut at %d", life, w.cutAt)
		err := w.begin()
		for n := rng.IntN(300); err == nil && n > 0; n-- {
			topic := rng.IntN(len(w.topics))
			tp := w.topics[topic]
			trace("%d: topic %d, %d to %d, flushed %d, told %d, flush %v", disk.Ops(), topic, tp.l.Start(), tp.l.End(), tp.l.FlushedEnd(), tp.told(), tp.flush)
			switch p := rng.IntN(100); {
			case p < 60:
				bytes := 1 + rng.IntN(2000)
				trace("append %d", bytes)
				err = tp.append(bytes)
			case p < 72:
				bytes := 1 + rng.IntN(12000)
				trace("append %d", bytes)
				err = tp.append(bytes)
			case p < 82:
				err = settle(w)
			case p < 84:
				on := rng.IntN(3) > 0
				trace("flush %v", on)
				err = setFlush(topic, on)(w)
			case p < 87:
				end := tp.l.Start() + rng.Int64N(1+tp.l.End()-tp.l.Start())
				trace("truncate to %d", end)
				err = tp.truncate(end)
			case p < 89:
				to := rng.Int64N(1 + tp.told())
				trace("delete records to %d", to)
				err = tp.deleteRecords(to)
			case p < 91:
				trace("drop")
				err = tp.drop(rng.IntN(3) == 0)
			case p < 93:
				trace("restart")
				err = restart(w)
			default:
				err = later(time.Duration(rng.IntN(int(20 * time.Second))))(w)
			}
		}
		how := rng.Uint64()
		trace("%d: %v, cut %d", disk.Ops(), err, how%4)
		w = reboot(w, disk, how)
		disk = w.fs.(*vfs.Crash)
		if t.Failed() {
			t.Fatalf("in life %d", life)
		}
	}
	require.NoError(t, w.begin())
	require.NoError(t, w.d.Close())
}
