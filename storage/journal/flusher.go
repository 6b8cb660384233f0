package journal

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/storage/vfs"
)

var (
	// ErrFailed is what waits gets after a failed write or sync; it wraps the cause.
	ErrFailed = errors.New("journal: stopped by a failed write or sync")
	// ErrClosed answers a Void on a closed flusher or stream.
	ErrClosed = errors.New("journal: closed")
	// ErrVersion is a journal file of a format this build does not know.
	ErrVersion = errors.New("journal: unknown format version")
)

// Point is a recovery point: the segments of the log are synced up to End.
type Point struct {
	Key Key
	End int64
}

// Options of a Flusher. FS, Dir and Record are required; zero values of the others mean their defaults.
type Options struct {
	FS  vfs.FS
	Dir string // the journal's own directory; made when missing

	FileBytes     int64         // size of a journal file; default 32 MiB
	MaxBytes      int64         // of all journal files together, at least three files; default 256 MiB
	OwnSyncBytes  int           // a log with more than this in one round is synced itself; default 128 KiB
	MaxRoundBytes int           // a round collects at most this; at most half of FileBytes; default 16 MiB
	OwnSyncs      int           // own syncs at a time; default 4
	CheckpointAge time.Duration // a log is not unsynced, or its recovery point unrecorded, for longer; default 1 min

	// After is the last sequence number an earlier life may have used: Replayed.LastSeq, or what Close answered.
	After uint64
	// Reset makes Start write a frame that makes everything in the directory void, and wait until it is durable. For
	// a start after recovery: the caller has recorded recovery points for everything replayed.
	Reset bool

	// Record makes recovery points durable. Called by one goroutine at a time, with no lock held.
	Record func([]Point) error

	Log     *zap.Logger
	Metrics prometheus.Registerer
}

func (o *Options) setDefaults() {
	o.FileBytes = blocks(max(defaulted(o.FileBytes, 32<<20), minFileBytes))
	o.MaxBytes = max(defaulted(o.MaxBytes, 256<<20), minFiles*o.FileBytes)
	o.OwnSyncBytes = defaulted(o.OwnSyncBytes, 128<<10)
	o.MaxRoundBytes = min(defaulted(o.MaxRoundBytes, 16<<20), int(o.FileBytes/2))
	o.OwnSyncs = defaulted(o.OwnSyncs, 4)
	o.CheckpointAge = defaulted(o.CheckpointAge, time.Minute)
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
}

func defaulted[T int | int64 | time.Duration](v, otherwise T) T {
	if v <= 0 {
		return otherwise
	}
	return v
}

// Flusher is the journal and the rounds of one data directory. See the package comment.
type Flusher struct {
	opt     Options
	metrics *metrics
	files   *files // owned by the round loop; its lists are guarded by mu

	failed  chan struct{}  // closed by the first failure
	closing chan struct{}  // closed by Close
	wake    chan struct{}  // rouses the round loop, capacity 1; sent to only when asleep was set
	ckWake  chan struct{}  // rouses the checkpointer, capacity 1
	wg      sync.WaitGroup // every goroutine of the flusher

	preceding atomic.Bool // something in precede, or running

	mu      sync.Mutex
	changed *sync.Cond // on mu: a round or a sync ended, a file became free, a failure
	err     error      // the first failure
	closed  bool
	asleep  bool // the round loop waits on wake
	away    bool // the round loop is running callbacks, and another goroutine may take it over

	cur       *round // collecting
	spent     *round // an emptied round to collect in next
	seq       uint64 // no entry collected from now on goes into a round below this
	roundsIn  uint64 // number of the collecting round, counted in this life
	roundsOut uint64 // rounds up to this are durable

	precede    []func() error // left by Precede
	preRunning bool           // it runs

	notes     []*Stream // own syncs to be noted
	notesDue  bool
	noteTimer *time.Timer

	own     []*Stream // waiting for an own sync, first come first served; each stream once
	workers int
	turn    chan struct{} // held by the own sync whose turn it is, while they share the disk with rounds
	smallAt time.Time     // when a log that is no bulk log last was appended to

	dirty    dirtyHeap // streams with journal entries not covered by a recorded recovery point
	aged     agedList  // every stream not covered by one, longest first
	batchMin uint64    // the oldest round the streams in the checkpointer's batch need; noSeq when none
}

// noteDelay bounds how long the note of an own sync may wait for a round to ride with.
const noteDelay = 50 * time.Millisecond

// noSeq is "needs no round".
const noSeq = ^uint64(0)

// seqGap is left between the sequence numbers of two lives, so that a frame an earlier life never finished writing can
// not be taken for one of this life.
const seqGap = 1 << 20

// Start opens the journal for writing and starts the rounds. What the directory held before must have been replayed.
func Start(o Options) (*Flusher, error) {
	o.setDefaults()
	if o.Record == nil {
		return nil, errors.New("journal: Options.Record is required")
	}
	f := &Flusher{
		opt:     o,
		failed:  make(chan struct{}),
		closing: make(chan struct{}),
		wake:    make(chan struct{}, 1),
		ckWake:  make(chan struct{}, 1),
		turn:    make(chan struct{}, 1),
		cur:     newRound(), spent: newRound(),
		seq: o.After + seqGap, roundsIn: 1,
		batchMin: noSeq,
	}
	f.changed = sync.NewCond(&f.mu)
	f.noteTimer = time.AfterFunc(time.Hour, f.notesAreDue)
	f.noteTimer.Stop()
	var err error
	if f.files, err = openFiles(o, f.seq); err != nil {
		return nil, err
	}
	f.metrics = newMetrics(f, o.Metrics)
	f.wg.Go(f.run)
	f.wg.Go(f.checkpointer)
	if o.Reset {
		if err := f.reset(); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return f, nil
}

// reset writes an empty round, whose "oldest" is itself.
func (f *Flusher) reset() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cur.forced = true
	return f.awaitRoundLocked(f.roundsIn)
}

// Precede has fn run before anything that is appended after this call is made durable and told. For facts that an
// acknowledgement depends on but that many logs can share one sync for. An error of fn is a failure of the flusher.
func (f *Flusher) Precede(fn func() error) {
	f.mu.Lock()
	f.precede = append(f.precede, fn)
	f.preceding.Store(true)
	f.mu.Unlock()
}

// runPreceding runs what Precede left. It returns when everything registered before the call has run.
func (f *Flusher) runPreceding() error {
	if !f.preceding.Load() {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.preRunning {
		f.changed.Wait()
	}
	todo := f.precede
	f.precede, f.preRunning = nil, true
	f.mu.Unlock()
	var err error
	for i := 0; i < len(todo) && err == nil; i++ {
		err = todo[i]()
	}
	f.mu.Lock()
	f.preRunning = false
	f.preceding.Store(len(f.precede) > 0)
	if err != nil {
		f.failLocked(err)
	}
	f.changed.Broadcast()
	return f.err
}

// Failed is closed by the first failed write or sync; Err tells which.
func (f *Flusher) Failed() <-chan struct{} { return f.failed }

// Err is nil until Failed is closed; it wraps ErrFailed.
func (f *Flusher) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// fail stops the flusher: nothing is written or told any more, and whoever waits is answered.
func (f *Flusher) fail(cause error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failLocked(cause)
}

func (f *Flusher) failLocked(cause error) {
	if f.err != nil {
		return
	}
	f.err = fmt.Errorf("%w: %w", ErrFailed, cause)
	close(f.failed)
	f.changed.Broadcast()
	f.opt.Log.Error("a write or sync failed; nothing is acknowledged any more", zap.Error(cause))
}

// stoppedLocked is the reason why nothing more happens, or nil.
func (f *Flusher) stoppedLocked() error {
	if f.err == nil && f.closed {
		return ErrClosed
	}
	return f.err
}

// Close stops the rounds after the one under way and waits for all of the flusher's goroutines. Appends not told by then
// never are.
func (f *Flusher) Close() error {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return nil
	}
	f.closed = true
	close(f.closing)
	f.changed.Broadcast()
	f.mu.Unlock()
	f.wg.Wait()
	f.noteTimer.Stop()
	f.metrics.unregister()
	return f.files.close()
}

// LastSeq is the number of the last round written: after Close, the Options.After of the next start.
func (f *Flusher) LastSeq() uint64 { return f.files.last.Load() }

func (f *Flusher) rouseCheckpointer() {
	select {
	case f.ckWake <- struct{}{}:
	default:
	}
}
