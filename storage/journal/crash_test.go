package journal

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/storage/vfs"
)

var (
	historySeed  = flag.Uint64("journal.seed", 0, "run the random histories with this seed only")
	historyCount = flag.Int("journal.histories", 40, "number of random histories")
)

// step is one thing a crash script does; an error ends the script (the power is gone).
type step func(w *world) error

// settle waits until nothing moves any more without time passing.
func settle(*world) error { synctest.Wait(); return nil }

// later lets virtual time pass, so that notes and checkpoints come due.
func later(d time.Duration) step {
	return func(*world) error {
		<-time.After(d)
		synctest.Wait()
		return nil
	}
}

func appendTo(log, bytes int) step {
	return func(w *world) error {
		_, err := w.logs[log].append(bytes)
		return err
	}
}

func setFlush(log int, on bool) step {
	return func(w *world) error { w.logs[log].s.SetFlush(on); return nil }
}

func truncate(log int, end int64) step {
	return func(w *world) error { return w.logs[log].truncate(end) }
}

// shut keeps recovery points from being recorded, so that the journal fills up; open lets them.
func shut(w *world) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gate = make(chan struct{})
	return nil
}

func open(w *world) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.gate)
	w.gate = nil
	return nil
}

func restart(w *world) error {
	if err := w.stop(); err != nil {
		return err
	}
	return w.start()
}

func repeat(n int, steps ...step) step {
	return func(w *world) error {
		for range n {
			for _, s := range steps {
				if err := s(w); err != nil {
					return err
				}
			}
		}
		return nil
	}
}

var scripts = map[string][]step{
	"a small append is in the journal when it is acknowledged": {
		appendTo(0, 100), settle, appendTo(0, 200), appendTo(1, 300), settle, appendTo(0, 50), settle,
	},
	"rule 1: no acknowledgement over a hole left by an own sync": {
		appendTo(0, 9000), appendTo(0, 100), settle, appendTo(0, 100), settle, appendTo(0, 9000), settle, appendTo(0, 10), settle,
	},
	"rule 1: what the page cache holds is synced when flushing is turned on": {
		setFlush(0, false), appendTo(0, 500), appendTo(0, 700), setFlush(0, true), appendTo(0, 100), settle, appendTo(0, 100), settle,
	},
	"rule 4: what a truncation took does not come back": {
		appendTo(0, 100), appendTo(0, 101), appendTo(0, 102), settle, truncate(0, 1), appendTo(0, 5), settle, appendTo(0, 6), settle,
	},
	"rule 4: truncated twice, with own syncs between": {
		appendTo(0, 100), appendTo(0, 9000), settle, truncate(0, 1), appendTo(0, 9001), appendTo(0, 7), settle, truncate(0, 2), appendTo(0, 8), settle,
	},
	"rule 5: own syncs are noted": {
		appendTo(0, 9000), settle, later(time.Second), appendTo(0, 9000), settle, later(time.Second), appendTo(1, 10), settle,
	},
	"rule 8: files are recycled only behind recorded recovery points": {
		repeat(30, appendTo(0, 5000), appendTo(1, 2000), settle), later(time.Second), repeat(30, appendTo(2, 5000), settle),
	},
	"rule 8: a full journal goes on behind a seal": {
		shut, repeat(18, appendTo(0, 6000), settle, appendTo(1, 6000), settle), open, settle, repeat(3, appendTo(2, 6000), settle),
	},
	"rule 12: checkpoints by age": {
		appendTo(0, 100), appendTo(1, 100), setFlush(2, false), appendTo(2, 100), settle, later(2 * time.Minute), appendTo(0, 50), settle,
		later(2 * time.Minute), appendTo(1, 50), settle,
	},
	"clean stop and start": {
		appendTo(0, 100), appendTo(1, 9000), restart, appendTo(0, 100), settle, appendTo(1, 100), settle, restart, appendTo(0, 1), settle,
	},
}

// TestCrashScripts cuts the power at every sync point of every script, on either side of it, in several ways, recovers,
// goes on for a bit, cuts again, and recovers again.
func TestCrashScripts(t *testing.T) {
	for name, script := range scripts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			points := countSyncPoints(t, script)
			stride := int64(1)
			if testing.Short() {
				stride = 1 + points/20
			}
			for at := int64(1); at <= points+1; at += stride {
				for _, when := range []vfs.When{vfs.BeforeSync, vfs.AfterSync} {
					for seed := range uint64(3) {
						cutAndRecover(t, script, at, when, seed+8*uint64(at))
						if t.Failed() {
							t.Fatalf("cut at sync point %d of %d, when=%d, seed %d", at, points, when, seed)
						}
					}
				}
			}
		})
	}
}

func countSyncPoints(t *testing.T, script []step) (points int64) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewCrash(1)
		w := newWorld(t, disk, 3, small())
		require.NoError(t, w.start())
		for _, s := range script {
			require.NoError(t, s(w))
		}
		require.NoError(t, later(10*time.Second)(w))
		w.requireAllTold()
		points = disk.Ops()
		require.NoError(t, w.f.Close())
	})
	return points
}

func cutAndRecover(t *testing.T, script []step, at int64, when vfs.When, seed uint64) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewCrash(seed)
		disk.CutAt(at, when)
		w := newWorld(t, disk, 3, small())
		err := w.start()
		for i := 0; err == nil && i < len(script); i++ {
			err = script[i](w)
		}
		w.mu.Lock()
		if w.gate != nil {
			close(w.gate)
		}
		w.mu.Unlock()
		w = reboot(t, w, disk, seed)
		second := vfs.FS(w.fs)
		require.NoError(t, w.start())
		for _, s := range []step{appendTo(0, 100), appendTo(1, 9000), appendTo(0, 120), settle, appendTo(0, 90)} {
			require.NoError(t, s(w))
		}
		w = reboot(t, w, second.(*vfs.Crash), seed+100)
		require.NoError(t, w.start())
		require.NoError(t, w.f.Close())
	})
}

// reboot ends the life of w and answers the world that the power cut leaves. Every fourth seed only kills the process.
func reboot(t *testing.T, w *world, disk *vfs.Crash, seed uint64) *world {
	disk.Cut()
	var next *vfs.Crash
	switch seed % 4 {
	case 0:
		next = disk.PowerCutAll()
	case 3:
		next = disk.Kill()
	default:
		next = disk.PowerCut(seed)
	}
	if w.f != nil {
		_ = w.f.Close()
	}
	return w.after(next)
}

// TestRandomHistories runs random appends of mixed sizes to many logs, with flushing turned on and off, truncations, clean
// restarts, time passing, and power cuts at random sync points; through several lives each.
func TestRandomHistories(t *testing.T) {
	first, n := uint64(1), *historyCount
	if testing.Short() {
		n = min(n, 8)
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
	o := small()
	o.MaxBytes -= int64(rng.IntN(2)) * o.FileBytes
	w := newWorld(t, disk, 1+rng.IntN(12), o)
	if rng.IntN(2) == 0 {
		w.slow = rand.New(rand.NewPCG(seed, 8))
	}
	for life := range 6 {
		disk.CutAt(disk.Ops()+1+rng.Int64N(300), vfs.When(rng.IntN(2)))
		err := w.start()
		for n := rng.IntN(400); err == nil && n > 0; n-- {
			log := rng.IntN(len(w.logs))
			switch p := rng.IntN(100); {
			case p < 70:
				err = appendTo(log, 1+rng.IntN(2000))(w)
			case p < 80:
				err = appendTo(log, 1+rng.IntN(20000))(w)
			case p < 88:
				err = settle(w)
			case p < 90:
				err = setFlush(log, rng.IntN(3) > 0)(w)
			case p < 92:
				err = truncate(log, rng.Int64N(1+w.logs[log].end()))(w)
			case p < 93:
				err = restart(w)
			default:
				err = later(time.Duration(rng.IntN(int(20 * time.Second))))(w)
			}
		}
		if err == nil && rng.IntN(2) == 0 && later(time.Minute)(w) == nil && !disk.IsCut() {
			w.requireAllTold()
		}
		w = reboot(t, w, disk, rng.Uint64())
		disk = w.fs.(*vfs.Crash)
		if t.Failed() {
			t.Fatalf("in life %d", life)
		}
	}
	require.NoError(t, w.start())
	require.NoError(t, w.f.Close())
}
