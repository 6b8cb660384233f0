package logdir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/storage/cleaner"
	"github.com/tidemark-mq/tidemark/storage/journal"
	"github.com/tidemark-mq/tidemark/storage/kv"
	"github.com/tidemark-mq/tidemark/storage/log"
	"github.com/tidemark-mq/tidemark/storage/segment"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// Options of a data directory. FS and Dir are required; zero values of the others mean their defaults.
type Options struct {
	FS       vfs.FS
	Dir      string
	BrokerID int32

	OpenFiles         int             // segment files open at a time; default 1024
	RetentionInterval time.Duration   // between passes of retention; default 5 min
	Reserve           int64           // free bytes below which clients' appends are refused; default 256 MiB, at most 5 % of the disk
	Cleaner           cleaner.Options // its Log and Metrics are filled in here
	NoCleaner         bool            // log.cleaner.enable is false
	Journal           journal.Options // sizes and ages only

	Log     *zap.Logger
	Metrics prometheus.Registerer
}

// Dir is an open data directory.
type Dir struct {
	o        Options
	log      *zap.Logger
	lock     interface{ Close() error }
	identity identity
	kv       *kv.DB
	files    *segment.Cache
	clean    bool              // the last life ended in order, or there was none
	replayed *journal.Replayed // what it left in the journal; nil when clean, and after Activate
	lastSeq  uint64

	dirs map[string]bool // names found in logs/ at start; only read after Open

	factMu sync.Mutex
	known  map[journal.Key]facts

	mu      sync.Mutex
	logs    map[journal.Key]*entry
	flusher *journal.Flusher // nil before Activate
	closed  bool

	failOnce sync.Once
	failed   chan struct{}
	failure  error // valid after failed is closed

	diskFull   atomic.Bool
	onDiskFull atomic.Pointer[func(bool)]

	cancel     context.CancelFunc
	background sync.WaitGroup
}

// entry is one log with its end of the flusher.
type entry struct {
	log    *log.Log
	flush  bool
	stream *journal.Stream // nil before Activate, and for a log that is offline
}

const (
	lockFile   = ".lock"
	cleanFile  = "clean"
	viewsDir   = "views"
	journalDir = "journal"
	logsDir    = "logs"
)

func (d *Dir) path(parts ...string) string {
	return d.o.FS.PathJoin(append([]string{d.o.Dir}, parts...)...)
}

// Open locks a data directory and prepares it; see the package comment. Errors the user can act on are this package's.
func Open(o Options) (*Dir, error) {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.OpenFiles <= 0 {
		o.OpenFiles = 1024
	}
	if o.RetentionInterval <= 0 {
		o.RetentionInterval = 5 * time.Minute
	}
	d := &Dir{o: o, log: o.Log, known: map[journal.Key]facts{}, logs: map[journal.Key]*entry{}, dirs: map[string]bool{}, failed: make(chan struct{})}
	if err := d.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("data directory %s: %w", o.Dir, err), d.abandon())
	}
	return d, nil
}

func (d *Dir) open() error {
	if err := vfs.MkdirAllSync(d.o.FS, d.o.Dir); err != nil {
		return fmt.Errorf("%w; name another with --data-dir", err)
	}
	lock, err := d.o.FS.Lock(d.path(lockFile))
	if err != nil {
		return fmt.Errorf("%w by another process: stop it, or name another with --data-dir (%w)", ErrInUse, err)
	}
	d.lock = lock
	if err := d.identify(); err != nil {
		return err
	}
	for _, sub := range []string{viewsDir, journalDir, logsDir} {
		if err := vfs.MkdirAllSync(d.o.FS, d.path(sub)); err != nil {
			return err
		}
	}
	if d.kv, err = kv.Open(kv.Options{FS: d.o.FS, Dir: d.path(viewsDir), Log: d.log.Named("views"), Registerer: d.o.Metrics}); err != nil {
		return err
	}
	d.files = segment.NewCache(d.o.FS, d.o.OpenFiles)
	if err := d.loadFacts(); err != nil {
		return err
	}
	names, err := d.o.FS.List(d.path(logsDir))
	if err != nil {
		return err
	}
	for _, name := range names {
		d.dirs[name] = true
	}
	return d.learnLastStop()
}

// learnLastStop reads the clean mark or the journal, and removes the mark.
func (d *Dir) learnLastStop() error {
	mark, err := vfs.ReadFile(d.o.FS, d.path(cleanFile), 64)
	switch {
	case err == nil:
		seq, bad := strconv.ParseUint(strings.TrimSpace(string(mark)), 10, 64)
		if bad == nil {
			d.clean, d.lastSeq = true, seq
		}
		if err := errors.Join(d.o.FS.Remove(d.path(cleanFile)), vfs.SyncDir(d.o.FS, d.o.Dir)); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if d.clean {
		return nil
	}
	began := time.Now()
	if d.replayed, err = journal.Replay(d.o.FS, d.path(journalDir)); err != nil {
		return fmt.Errorf("%w; acknowledged records may be gone: restore the directory from a copy, or, to go on with what the segments hold, remove %s",
			err, d.path(journalDir))
	}
	d.lastSeq = d.replayed.LastSeq
	if fresh := d.replayed.Rounds == 0 && len(d.known) == 0 && len(d.dirs) == 0; fresh {
		d.clean = true
		d.replayed = nil
		return nil
	}
	d.log.Info("the last stop was not in order: recovering", zap.Int("logs", len(d.dirs)), zap.Int("journalRounds", d.replayed.Rounds),
		zap.Int64("journalBytes", d.replayed.Bytes), zap.Duration("read", time.Since(began)))
	return nil
}

// Clean tells whether the last life on this directory ended in order, or there was none.
func (d *Dir) Clean() bool { return d.clean }

// KV is the store of views in this directory.
func (d *Dir) KV() *kv.DB { return d.kv }

// Path is the directory.
func (d *Dir) Path() string { return d.o.Dir }

// Space is the size of the directory's file system and what of it can still be used, in bytes.
func (d *Dir) Space() (total, usable int64, err error) {
	u, err := d.o.FS.GetDiskUsage(d.o.Dir)
	return int64(u.TotalBytes), int64(u.AvailBytes), err
}

func (d *Dir) find(k journal.Key) *log.Log {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e := d.logs[k]; e != nil {
		return e.log
	}
	return nil
}

// Logs lists the open logs.
func (d *Dir) Logs() []*log.Log {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]*log.Log, 0, len(d.logs))
	for _, e := range d.logs {
		out = append(out, e.log)
	}
	return out
}

// Failed is closed when storage failed; Ready then says why.
func (d *Dir) Failed() <-chan struct{} { return d.failed }

func (d *Dir) fail(why error) {
	d.failOnce.Do(func() {
		d.failure = why
		d.log.Error("storage failed, nothing is acknowledged any more", zap.Error(why))
		close(d.failed)
	})
}

// Ready answers why the directory should take no more work, nil if it should.
func (d *Dir) Ready() error {
	select {
	case <-d.failed:
		return d.failure
	default:
	}
	if d.diskFull.Load() {
		return errors.New("the disk reserve is reached: produces are refused until space is freed")
	}
	return nil
}
