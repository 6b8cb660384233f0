package cleaner

import (
	"context"
	"fmt"
	"math/rand"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// The property the cleaner lives by: over random histories, with crashes and restarts at
// random sync points, the newest value of every key survives.
func TestNewestValuesSurviveRandomHistories(t *testing.T) {
	seed := time.Now().UnixNano()
	rounds := 60
	if testing.Short() {
		rounds = 15
	}
	for i := range rounds {
		history(t, seed+int64(i))
	}
}

func history(t *testing.T, seed int64) {
	r := rand.New(rand.NewSource(seed))
	fail := func() { t.Logf("seed %d", seed) }
	defer func() {
		if t.Failed() {
			fail()
		}
	}()
	cfg := config()
	cfg.DeleteRetention = time.Duration(r.Intn(3)) * time.Minute
	w := newWorld(t, vfs.NewCrash(uint64(seed)), cfg)
	c := New(Options{MapBytes: int64(minSlots*slotBytes) << r.Intn(3)})
	now := t0
	codecs := []record.Codec{record.None, record.Gzip, record.Snappy, record.LZ4, record.Zstd}
	for range 30 {
		now = now.Add(time.Duration(r.Intn(60)) * time.Second)
		switch r.Intn(10) {
		default:
			for range r.Intn(40) {
				var pairs []pair
				for range 1 + r.Intn(4) {
					p := pair{fmt.Sprint("k", r.Intn(50)), fmt.Sprint(r.Int63(), "...........")}
					if r.Intn(5) == 0 {
						p.value = ""
					}
					pairs = append(pairs, p)
				}
				w.append(record.Spec{Codec: codecs[r.Intn(len(codecs))]}, now, pairs...)
			}
			w.commit()
		case 0, 1, 2:
			w.clean(c, now)
			w.holdsNewest()
		case 3:
			w.crashWhileCleaning(r, c, now)
			w.holdsNewest()
		}
	}
	w.clean(c, now)
	w.holdsNewest()
}

// crashWhileCleaning cuts a run at a random sync point and goes on with what a power cut
// or a kill leaves.
func (w *world) crashWhileCleaning(r *rand.Rand, c *Cleaner, now time.Time) {
	w.t.Helper()
	crash := w.fs.(*vfs.Crash)
	when := []vfs.When{vfs.BeforeSync, vfs.AfterSync}[r.Intn(2)]
	crash.CutAt(crash.Ops()+int64(1+r.Intn(20)), when)
	_, _ = c.Clean(context.Background(), w.l, now)
	crash.Cut()
	if r.Intn(2) == 0 {
		w.fs = crash.Kill()
	} else {
		w.fs = crash.PowerCut(r.Uint64())
	}
	w.open()
}

// Every sync point of one run, before and after, with a power cut that loses all that was
// not synced, one that loses nothing, and one that loses some.
func TestARunCutAtEverySyncPoint(t *testing.T) {
	build := func() *world {
		w := newWorld(t, vfs.NewCrash(1), config())
		for i := range 150 {
			value := fmt.Sprint(i, ".......................")
			if i%10 == 9 {
				value = ""
			}
			w.append(record.Spec{}, t0, pair{fmt.Sprint("k", i%13), value})
		}
		w.commit()
		return w
	}
	w := build()
	before := w.fs.(*vfs.Crash).Ops()
	w.clean(New(Options{}), t0)
	points := w.fs.(*vfs.Crash).Ops() - before
	require.Greater(t, points, int64(5))
	for n := int64(1); n <= points; n++ {
		for _, when := range []vfs.When{vfs.BeforeSync, vfs.AfterSync} {
			for _, left := range []func(*vfs.Crash) *vfs.Crash{(*vfs.Crash).PowerCutAll, (*vfs.Crash).PowerCutNone,
				func(c *vfs.Crash) *vfs.Crash { return c.PowerCut(uint64(n)) }} {
				w := build()
				crash := w.fs.(*vfs.Crash)
				crash.CutAt(crash.Ops()+n, when)
				_, _ = New(Options{}).Clean(context.Background(), w.l, t0)
				crash.Cut()
				w.fs = left(crash)
				w.open()
				w.holdsNewest()
				w.clean(New(Options{}), t0)
				w.holdsNewest()
			}
		}
	}
}
