package leases

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/tidemark-mq/tidemark/storage/vfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scenario prepares a world, and answers what is cut anywhere and what must hold after a restart, whatever was cut. run returns when
// all that it asked for is answered, or was refused; what goes on by itself afterwards is cut as well.
type scenario func(w *world) (run, check func())

// fate is what a cut leaves of the disk, and what becomes of the restart.
type fate struct {
	name string
	left func(c *vfs.Crash, seed uint64) *vfs.Crash
	// again cuts the restart as well, at a sync point of its own.
	again bool
}

var fates = []fate{
	{name: "power", left: (*vfs.Crash).PowerCut},
	{name: "kill", left: func(c *vfs.Crash, _ uint64) *vfs.Crash { return c.Kill() }},
	{name: "all lost", left: func(c *vfs.Crash, _ uint64) *vfs.Crash { return c.PowerCutAll() }},
	{name: "restart cut", left: (*vfs.Crash).PowerCut, again: true},
}

// cutting is where one run of a scenario is cut.
type cutting struct {
	at       int64
	when     vfs.When
	metadata bool // at a transaction of the metadata, not at a sync point
	fate     fate
}

func (c cutting) String() string {
	where := "sync"
	if c.metadata {
		where = "transaction"
	}
	return fmt.Sprintf("%s=%d/%s/%s", where, c.at, map[vfs.When]string{vfs.BeforeSync: "before", vfs.AfterSync: "after"}[c.when], c.fate.name)
}

func (c cutting) seed() uint64 { return uint64(c.at)*2 + uint64(c.when) }

// cutAtSyncs cuts a scenario at every sync point, before and after it took effect, until one comes to its end. least is how many
// sync points there must have been for the script to mean anything.
func cutAtSyncs(t *testing.T, least int64, s scenario) { cutEverywhere(t, least, false, s) }

// cutAtTransactions cuts a scenario at every transaction of the metadata, before it and before its answer.
func cutAtTransactions(t *testing.T, least int64, s scenario) { cutEverywhere(t, least, true, s) }

func cutEverywhere(t *testing.T, least int64, metadata bool, s scenario) {
	step := int64(1)
	if testing.Short() {
		step = 4
	}
	for _, when := range []vfs.When{vfs.BeforeSync, vfs.AfterSync} {
		places := int64(0)
		for at, over := 1+int64(when), false; !over && !t.Failed(); at += step {
			for i, f := range fates {
				if metadata && (f.name == "all lost" || f.name == "kill") || testing.Short() && at/step%int64(len(fates)) != int64(i) {
					continue
				}
				c := cutting{at: at, when: when, metadata: metadata, fate: f}
				t.Run(c.String(), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { over = !cutOnce(t, c, s) || over }) })
			}
			places = at - 1
		}
		if places < least && !t.Failed() {
			t.Errorf("there are %d places to cut, and should be at least %d", places, least)
		}
		t.Logf("%d places to cut", places)
	}
}

// cutOnce answers whether the cut came before everything was done.
func cutOnce(t *testing.T, c cutting, s scenario) bool {
	w := newWorld(t)
	defer w.End()
	run, check := s(w)
	synctest.Wait()
	if c.metadata {
		w.CutAtTransaction(c.at, c.when)
	} else {
		w.CutAtSync(c.at, c.when)
	}
	run()
	time.Sleep(time.Second) // what goes on by itself
	cut := w.Disk().IsCut()
	w.crash(c)
	check()
	return cut
}

// crash ends the life and begins another.
func (w *world) crash(c cutting) {
	w.t.Helper()
	rnd := rand.New(rand.NewPCG(c.seed(), 7))
	w.Crash(func(d *vfs.Crash) *vfs.Crash { return c.fate.left(d, c.seed()) })
	if c.fate.again {
		w.CutAtSync(1+rnd.Int64N(8), vfs.When(rnd.IntN(2)))
		err := w.start()
		if err == nil {
			time.Sleep(time.Duration(rnd.Int64N(int64(100 * time.Millisecond))))
		} else if !w.Disk().IsCut() {
			w.t.Fatalf("a start that nothing disturbs: %v", err)
		}
		w.Crash(func(d *vfs.Crash) *vfs.Crash { return d.PowerCut(rnd.Uint64()) })
	}
	if err := w.start(); err != nil {
		w.t.Fatalf("a start that nothing disturbs: %v", err)
	}
}
