package simulation

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	engine "github.com/tidemark-mq/tidemark/broker/share"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/coordinator/share"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// Options are what a test chooses of its World.
type Options struct {
	Seed    uint64       // of the disk
	Verbose bool         // the broker's log is shown with the test's
	Share   share.Config // of the share coordinator; zero values: its defaults
	// JournalSync is how long a sync of the journal takes at most while clients see a life; 0: no time. Where it takes time, clients
	// see a life when its partitions are open and not before.
	JournalSync time.Duration
	// State answers what the lease engine gets in place of the share coordinator; nil: it gets that itself.
	State func(engine.State) engine.State
}

// World is the lives of a broker, one after the other, with the disk and the metadata that outlive them. Current, Broken and Disk may
// be called from any goroutine; the rest is for the one that drives the world.
type World struct {
	Metadata *cluster.Memory // the cluster's
	Log      *zap.Logger     // the broker's, for what is put in front of it

	t       testing.TB
	options Options
	watch   *watch
	begun   *Life // what is to be stopped; nil: nothing

	mu      sync.Mutex
	disk    *vfs.Crash    // guarded by mu
	life    *Life         // guarded by mu; what clients see; nil between two lives
	changed chan struct{} // guarded by mu; closed when they see another, or never will
	ended   bool          // guarded by mu
}

// New answers a world whose first life has not begun, with an empty disk. It is to be ended.
func New(t testing.TB, o Options) *World {
	w := &World{t: t, options: o, Log: zap.NewNop(), Metadata: cluster.NewMemory(), disk: vfs.NewCrash(o.Seed), changed: make(chan struct{}),
		watch: &watch{cut: make(chan struct{}, 1), slowest: o.JournalSync}}
	if o.Verbose {
		w.Log = zaptest.NewLogger(t)
	}
	return w
}

// Start begins a life on the disk as it is, while there is none. An error is one of a disk, or a way to the metadata, that was cut;
// there is no life then.
func (w *World) Start() error {
	w.t.Helper()
	disk := w.Disk()
	l, err := begin(w.options, watched{disk, w.watch}, &cable{Store: w.Metadata, die: disk.Cut}, w.Log)
	if err != nil {
		require.NoError(w.t, l.stop(false), "work is left")
		return err
	}
	w.begun = l
	if w.options.JournalSync > 0 {
		synctest.Wait() // partitions are open
		w.watch.slow.Store(true)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.life = l
	w.wake()
	return nil
}

// wake has all look again who wait for a life. w.mu is held.
func (w *World) wake() {
	close(w.changed)
	w.changed = make(chan struct{})
}

// Current is the life under way. Between two lives it waits for the next; nil: the world has ended.
func (w *World) Current() *Life {
	for {
		w.mu.Lock()
		l, changed, ended := w.life, w.changed, w.ended
		w.mu.Unlock()
		if l != nil || ended {
			return l
		}
		<-changed
	}
}

// Broken tells whether a life is over, or its disk cut: what it answers now may be less than the whole.
func (w *World) Broken(l *Life) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.life != l || w.disk.IsCut()
}

// Disk is the disk as the life under way has it, or as the next will find it.
func (w *World) Disk() *vfs.Crash {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.disk
}

// Detach takes the life under way from its clients: Current waits for the next one. Stop and Crash do it, too.
func (w *World) Detach() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.life = nil
	w.watch.slow.Store(false)
}

// Stop ends the life in good order; the test fails if that is not possible.
func (w *World) Stop() {
	w.t.Helper()
	w.Detach()
	w.end(true)
}

// Crash ends the life as the broker's sudden death does: from now on nothing of it reaches the disk or the metadata. left answers
// what is there of the disk for the next life: vfs.Crash has methods for that, and see Remains.
func (w *World) Crash(left func(*vfs.Crash) *vfs.Crash) {
	w.t.Helper()
	w.Detach()
	disk := w.Disk()
	disk.Cut()
	next := left(disk)
	w.end(false)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.disk = next
}

// End ends the world: its life, in good order unless the disk is cut, and what waits for another.
func (w *World) End() {
	w.t.Helper()
	w.Detach()
	w.mu.Lock()
	w.ended = true
	w.wake()
	orderly := !w.disk.IsCut()
	w.mu.Unlock()
	w.end(orderly)
}

func (w *World) end(orderly bool) {
	w.t.Helper()
	l := w.begun
	if l == nil {
		return
	}
	w.begun = nil
	require.NoError(w.t, l.stop(orderly), "work is left")
}

// CutAtSync has the disk cut at the n-th sync point from now, before or after it takes effect.
func (w *World) CutAtSync(n int64, when vfs.When) {
	disk := w.Disk()
	disk.CutAt(disk.Ops()+n, when)
}

// CutAtTransaction has the broker die at the n-th transaction from now of the metadata, before it or after it and without its answer.
// The disk is cut then.
func (w *World) CutAtTransaction(n int64, when vfs.When) { w.begun.metadata.cutAt(n, when) }

// UntilCut is CutAtSync, and waits for that. False: there were not so many sync points within the limit, and the disk is not cut.
// No time passes after the cut: some of what works on a disk that has failed tries again and again at once.
func (w *World) UntilCut(n int64, when vfs.When, limit time.Duration) bool {
	select {
	case <-w.watch.cut:
	default:
	}
	w.CutAtSync(n, when)
	select {
	case <-w.watch.cut:
		return true
	case <-time.After(limit):
		disk := w.Disk()
		disk.CutAt(0, vfs.BeforeSync)
		return disk.IsCut()
	}
}
