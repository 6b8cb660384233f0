package logdir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/storage/journal"
	"github.com/tidemark-mq/tidemark/storage/kv"
	"github.com/tidemark-mq/tidemark/storage/log"
	"github.com/tidemark-mq/tidemark/storage/segment"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

const (
	lockFile   = ".lock"
	cleanFile  = "clean-shutdown"
	failedFile = "failed-sync"
	kvDir      = "kv"
	journalDir = "journal"
	logsDir    = "logs"
	rescueDir  = "rescue"

	smallFile = 64 << 10 // limit of what is read from the small files above
)

// Dir is an open data directory. Its methods may be called from any goroutine.
type Dir struct {
	o       Options
	fs      vfs.FS
	lock    io.Closer
	kv      *kv.DB
	files   *segment.Cache
	metrics *metrics

	// From the last stop; read only after Open.
	clean    bool // it was clean
	distrust bool // a sync failed: what the page cache holds is not believed
	after    uint64
	replayed *journal.Replayed    // after anything but a clean stop
	saved    map[journal.Key]bool // logs with journal entries in the rescue directory
	progress progress

	full      atomic.Bool
	failed    chan struct{}
	logFailed chan error // the first failed sync of a log, until it is the directory's failure; capacity 1

	activating sync.RWMutex // held by Activate, shared by OpenLog; taken before mu
	flusher    atomic.Pointer[journal.Flusher]
	stop       func() // ends the background
	background sync.WaitGroup

	settling sync.Mutex  // held over the commit of settleFacts; taken before mu
	unsure   atomic.Bool // there are facts that no sync covers yet

	points sync.Mutex // held while recovery points are recorded, I/O included, so that none overwrites a later one; before mu

	mu     sync.Mutex
	id     identity
	logs   map[journal.Key]*entry
	wanted map[journal.Key]string // directories of logs somebody asked for in this life, whether or not they could be opened
	known  map[journal.Key]*facts // of logs not opened in this life
	onFull []func(bool)
	err    error // the first failure
	closed bool
	trash  trash
}

// Open takes the directory, making it when it is not there, and reads what recovery needs. Nothing of another broker's or another
// format's directory is touched.
func Open(o Options) (*Dir, error) {
	if err := o.prepare(); err != nil {
		return nil, err
	}
	d := &Dir{o: o, fs: o.FS, failed: make(chan struct{}), logFailed: make(chan error, 1), logs: map[journal.Key]*entry{}, wanted: map[journal.Key]string{}}
	if err := d.open(); err != nil {
		if d.kv != nil {
			_ = d.kv.Close()
		}
		if d.lock != nil {
			_ = d.lock.Close()
		}
		return nil, err
	}
	return d, nil
}

func (d *Dir) open() error {
	if err := d.takeLock(); err != nil {
		return err
	}
	if err := d.identify(); err != nil {
		return err
	}
	if err := d.readLastStop(); err != nil {
		return err
	}
	began := time.Now()
	var err error
	if d.kv, err = kv.Open(kv.Options{FS: d.fs, Dir: d.path(kvDir), Log: d.o.Log.Named("kv"), Registerer: d.o.Metrics}); err != nil {
		return fmt.Errorf("logdir: %w", err)
	}
	if d.known, err = loadFacts(d.kv); err != nil {
		return err
	}
	if err := d.replay(); err != nil {
		return err
	}
	for _, dir := range []string{logsDir, rescueDir} {
		if err := d.fs.MkdirAll(d.path(dir), 0o755); err != nil {
			return fmt.Errorf("logdir: make %s: %w", d.path(dir), err)
		}
	}
	if err := vfs.SyncDir(d.fs, d.o.Dir); err != nil {
		return fmt.Errorf("logdir: %w", err)
	}
	if d.saved, err = d.listRescued(); err != nil {
		return err
	}
	d.files = segment.NewCache(d.fs, d.o.OpenFiles)
	d.progress.start(len(d.known), d.clean, d.o.Log)
	d.o.Log.Info("data directory opened", zap.String("dir", d.o.Dir), zap.Bool("clean stop", d.clean), zap.Int("logs", len(d.known)),
		zap.Duration("took", time.Since(began)))
	return nil
}

func (d *Dir) path(name string) string { return d.fs.PathJoin(d.o.Dir, name) }

// takeLock checks whose directory it is before anything is written to it, and locks it.
func (d *Dir) takeLock() error {
	id, found, err := readIdentity(d.fs, d.o.Dir)
	if err != nil {
		return err
	}
	if found {
		err = id.check(d.o.Dir, d.o.BrokerID, d.o.ClusterID)
	} else if err = refuseForeign(d.fs, d.o.Dir); err == nil {
		err = makeDurable(d.fs, d.o.Dir)
	}
	if err != nil {
		return err
	}
	var opening *fs.PathError
	if d.lock, err = d.fs.Lock(d.path(lockFile)); errors.As(err, &opening) {
		return fmt.Errorf("lock %s: %w", d.o.Dir, err) // read-only, or of another user: nobody need hold it
	} else if err != nil {
		return fmt.Errorf("%w: %s is in use by another process (%w); stop that one, or choose another --data-dir", ErrInUse, d.o.Dir, err)
	}
	return nil
}

// makeDurable makes dir. All names on the way to it are synced, also those that an earlier life made and was killed before it
// synced them. Directories further up that cannot be synced were not made by us.
func makeDurable(fsys vfs.FS, dir string) error {
	err := vfs.MkdirAllSync(fsys, dir)
	if err == nil {
		err = vfs.SyncDir(fsys, fsys.PathDir(dir))
	}
	if err != nil {
		return fmt.Errorf("logdir: make %s: %w", dir, err)
	}
	for at := fsys.PathDir(dir); at != fsys.PathDir(at); at = fsys.PathDir(at) {
		if vfs.SyncDir(fsys, fsys.PathDir(at)) != nil {
			return nil
		}
	}
	return nil
}

// identify reads the identity under the lock, or makes one.
func (d *Dir) identify() error {
	id, found, err := readIdentity(d.fs, d.o.Dir)
	if err != nil {
		return err
	}
	if found {
		if err := id.check(d.o.Dir, d.o.BrokerID, d.o.ClusterID); err != nil {
			return err
		}
		d.id = id
		return nil
	}
	d.id = identity{broker: d.o.BrokerID, cluster: d.o.ClusterID, directory: uuid.New()}
	return d.id.write(d.fs, d.o.Dir)
}

// cleanMark is the content of the clean-shutdown marker.
type cleanMark struct {
	Version     int    `json:"version"`
	JournalLast uint64 `json:"journal_last"` // last round written
}

// readLastStop finds out how the last life ended. The marker stays until Activate.
func (d *Dir) readLastStop() error {
	b, err := vfs.ReadFile(d.fs, d.path(cleanFile), smallFile)
	switch {
	case err == nil:
		var mark cleanMark
		if json.Unmarshal(b, &mark) == nil && mark.Version == 1 {
			d.clean, d.after = true, mark.JournalLast
		} else {
			d.o.Log.Warn("clean-shutdown marker cannot be read, recovering", zap.String("file", d.path(cleanFile)))
		}
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("logdir: read %s: %w", d.path(cleanFile), err)
	}
	reason, err := vfs.ReadFile(d.fs, d.path(failedFile), smallFile)
	if err == nil {
		d.distrust, d.clean = true, false
		d.o.Log.Warn("a write or sync failed in an earlier life; what the page cache holds is read again from the disk",
			zap.ByteString("reason", reason))
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("logdir: read %s: %w", d.path(failedFile), err)
	}
	return nil
}

// replay reads the journal after anything but a clean stop.
func (d *Dir) replay() error {
	d.replayed = &journal.Replayed{}
	if d.clean {
		return nil
	}
	if d.distrust {
		if err := d.dropCaches(d.path(journalDir)); err != nil {
			return err
		}
	}
	began := time.Now()
	r, err := journal.Replay(d.fs, d.path(journalDir))
	var damage *journal.DamageError
	if errors.As(err, &damage) {
		if !d.o.AcceptDamagedJournal {
			return fmt.Errorf("logdir: %w; acknowledged records may be gone: restore the file, or accept the loss to start", err)
		}
		d.o.Log.Error("starting with a damaged journal, as told to", zap.Error(err))
	} else if err != nil {
		return fmt.Errorf("logdir: %w", err)
	}
	d.replayed, d.after = r, r.LastSeq
	if r.Rounds > 0 {
		d.o.Log.Info("journal read", zap.Int("rounds", r.Rounds), zap.Int64("bytes", r.Bytes), zap.Int("logs", len(r.Logs)), zap.Duration("took", time.Since(began)))
	}
	return nil
}

// dropCaches makes the files in a directory be read from the disk. A directory that is not there has none.
func (d *Dir) dropCaches(dir string) error {
	names, err := d.fs.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("logdir: list %s: %w", dir, err)
	}
	for _, name := range names {
		path := d.fs.PathJoin(dir, name)
		f, err := d.fs.Open(path)
		if err != nil {
			return fmt.Errorf("logdir: open %s: %w", path, err)
		}
		if err := errors.Join(vfs.DropCache(f), f.Close()); err != nil {
			return fmt.Errorf("logdir: %s: %w", path, err)
		}
	}
	return nil
}

// ID is the directory's own id.
func (d *Dir) ID() uuid.ID { return d.id.directory }

// Clean tells whether the last life ended with a clean stop. A new directory had none.
func (d *Dir) Clean() bool { return d.clean }

// ClusterID is the cluster this directory belongs to, "" when it has met none yet.
func (d *Dir) ClusterID() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.id.cluster
}

// SetClusterID notes, durably, the cluster this directory belongs to. ErrWrongCluster when it belongs to another.
func (d *Dir) SetClusterID(cluster string) error {
	d.mu.Lock()
	id := d.id
	d.mu.Unlock()
	if err := id.check(d.o.Dir, d.o.BrokerID, cluster); err != nil {
		return err
	}
	if id.cluster == cluster {
		return nil
	}
	id.cluster = cluster
	if err := id.write(d.fs, d.o.Dir); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.id.cluster = cluster
	return nil
}

// KV is the directory's key-value store.
func (d *Dir) KV() *kv.DB { return d.kv }

// Path is the directory, absolute where the process knows how.
func (d *Dir) Path() string {
	if abs, err := filepath.Abs(d.o.Dir); err == nil {
		return abs
	}
	return d.o.Dir
}

// Space is the size of the file system the directory is on, and what of it can still be used, in bytes.
func (d *Dir) Space() (total, usable int64, err error) {
	u, err := d.fs.GetDiskUsage(d.o.Dir)
	if err != nil {
		return 0, 0, fmt.Errorf("logdir: free space of %s: %w", d.o.Dir, err)
	}
	return int64(u.TotalBytes), int64(u.AvailBytes), nil
}

// Logs answers the open logs, ordered by directory name.
func (d *Dir) Logs() []*log.Log {
	d.mu.Lock()
	all := make([]*log.Log, 0, len(d.logs))
	for _, e := range d.logs {
		if e.log != nil {
			all = append(all, e.log)
		}
	}
	d.mu.Unlock()
	slices.SortFunc(all, func(a, b *log.Log) int { return strings.Compare(a.Dir(), b.Dir()) })
	return all
}

// Usage is the size of all open logs, in bytes.
func (d *Dir) Usage() int64 {
	var n int64
	for _, l := range d.Logs() {
		n += l.SizeBytes()
	}
	return n
}

// Failed is closed by the first failed write or sync that durability depends on. Ready then tells the reason; the process
// should stop.
func (d *Dir) Failed() <-chan struct{} { return d.failed }

// Ready is nil while the directory can be used, otherwise the reason why not: ErrInactive, ErrFailed or ErrClosed.
func (d *Dir) Ready() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.err != nil:
		return d.err
	case d.closed:
		return ErrClosed
	case d.flusher.Load() == nil:
		return ErrInactive
	}
	return nil
}

// fail makes err the reason why the directory cannot be used any more, and leaves a note for the next start.
func (d *Dir) fail(err error) {
	d.mu.Lock()
	first := d.err == nil && !d.closed
	if first {
		d.err = fmt.Errorf("%w: %w", ErrFailed, err)
	}
	d.mu.Unlock()
	if !first {
		return
	}
	d.o.Log.Error("storage failed", zap.String("dir", d.o.Dir), zap.Error(err))
	if err := vfs.WriteFileAtomic(d.fs, d.path(failedFile), []byte(err.Error()+"\n")); err != nil {
		d.o.Log.Warn("the note about it could not be written", zap.Error(err))
	}
	close(d.failed)
}
