// Package kv is the only door to Pebble, the key-value store that holds views:
// materialised coordinator state and the small mutable facts about logs.
//
// One DB per data directory is shared by everyone who keeps rows there. Each
// user has a key space of its own (Space), and no space can reach into another.
// Rows change in batches. A batch is atomic, batches take effect in the order of
// their commits, and a crash keeps a prefix of that order which contains every
// batch committed with sync; so an unsynced batch may vanish, but never in part
// and never while a later one stays.
//
// # When the disk fails
//
// Pebble ends the process when a write it depends on fails. Here the first such
// failure is caught below it, at the file system: from then on nothing Pebble
// writes reaches the disk (a failed sync must not be followed by one that claims
// to have worked), Failed delivers the reason, and every operation answers
// ErrFailed, commits that were waiting included. The owner stops the broker in
// order, and Close works. Rows committed before the failure are there at the
// next Open if they were synced. The same happens when Pebble reports rows that
// cannot be read back. What still ends the process is a panic of Pebble's own
// assertions.
//
// The package keeps memory small: a cache of a few MiB, memtables that start at
// 256 KiB and grow to 4 MiB under load, one compaction at a time, no periodic
// work while idle. Pebble's goroutines end in Close.
package kv

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs/atomicfs"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/storage/vfs"
)

var (
	// ErrNotFound says that there is no row with the key.
	ErrNotFound = errors.New("kv: not found")
	// ErrClosed answers whatever is asked of a closed DB.
	ErrClosed = errors.New("kv: closed")
	// ErrFailed wraps the failure after which the DB answers nothing any more.
	ErrFailed = errors.New("kv: store failed")
	// ErrCorrupt is wrapped by errors of Open, of reads and of Failed when bytes on
	// disk are not what was written. The views can be dropped and rebuilt.
	ErrCorrupt = errors.New("kv: store is corrupt")
	// ErrNewer says that the directory was written by a newer format of Pebble
	// than this program knows. Nothing was touched.
	ErrNewer = errors.New("kv: store has a newer format")
)

// format is the version of Pebble's on-disk format that Open moves a store to.
// Raising it is a decision: older programs cannot open the store afterwards.
const format = pebble.FormatValueSeparation

const (
	defaultCache   = 8 << 20
	memTableSize   = 4 << 20
	memTables      = 4 // of them queued before commits wait for a flush
	manifestSize   = 4 << 20
	maxOpenTables  = 128
	flushOnClose   = 256 << 10 // bytes of log above which Close writes tables
	bloomBitsByKey = 10
)

// Options says what to open. FS and Dir are needed.
type Options struct {
	FS  vfs.FS
	Dir string // made if it is not there
	// CacheBytes is the size of the cache of blocks read from tables; 0 is 8 MiB.
	CacheBytes int64
	Log        *zap.Logger           // nil: none
	Registerer prometheus.Registerer // nil: no metrics
}

// DB is an open store. Its methods may be called from any goroutine, but none
// after Close was called.
type DB struct {
	pebble *pebble.DB
	fence  *fence
	unreg  func()

	down     atomic.Pointer[error] // why operations are refused; nil = they are not
	failOnce sync.Once
	failed   chan error

	keys sync.Pool // *[]byte
}

// Open opens the store in a directory, and makes it if there is none. The
// directory is locked until Close.
func Open(o Options) (*DB, error) {
	log := o.Log
	if log == nil {
		log = zap.NewNop()
	}
	db := &DB{failed: make(chan error, 1), unreg: func() {}}
	db.keys.New = func() any { return new([]byte) }
	db.fence = newFence(o.FS, func(err error) { db.fail(log, err) })
	if err := db.open(o, log); err != nil {
		return nil, fmt.Errorf("kv: open %s: %w", o.Dir, classify(err))
	}
	return db, nil
}

func (db *DB) open(o Options, log *zap.Logger) error {
	if err := vfs.MkdirAllSync(o.FS, o.Dir); err != nil {
		return err
	}
	if err := prepareFormat(db.fence, o.Dir); err != nil {
		return err
	}
	stalls := new(stallClock)
	compactions := newScheduler(db.fence.isTripped)
	options := db.options(o, log, stalls)
	options.Experimental.CompactionScheduler = compactions
	var err error
	if db.pebble, err = pebble.Open(o.Dir, options); err != nil {
		return err
	}
	// Behind the fence opening succeeds even if the disk failed.
	if err = db.Err(); err == nil {
		err = db.register(o.Registerer, stalls)
	}
	if err != nil {
		_ = db.pebble.Close()
		return err
	}
	compactions.start()
	return nil
}

func (db *DB) options(o Options, log *zap.Logger, stalls *stallClock) *pebble.Options {
	po := &pebble.Options{
		FS:                          db.fence,
		FormatMajorVersion:          format,
		CacheSize:                   o.CacheBytes,
		MemTableSize:                memTableSize,
		MemTableStopWritesThreshold: memTables,
		MaxManifestFileSize:         manifestSize,
		MaxOpenFiles:                maxOpenTables,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 1 },
		Logger:                      bridge{log, db.fence},
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) { db.fence.trip(classify(err)) },
			DataCorruption: func(info pebble.DataCorruptionInfo) {
				db.fence.trip(fmt.Errorf("%w: %s", ErrCorrupt, info))
			},
			WriteStallBegin: func(pebble.WriteStallBeginInfo) { stalls.begin() },
			WriteStallEnd:   stalls.end,
		},
	}
	if po.CacheSize == 0 {
		po.CacheSize = defaultCache
	}
	for i := range po.Levels {
		po.Levels[i].FilterPolicy = bloom.FilterPolicy(bloomBitsByKey)
	}
	po.Experimental.FileCacheShards = 1
	po.Experimental.ReadSamplingMultiplier = -1 // no compactions because of reads
	return po
}

// Names under which Pebble notes, in marker files, a store's format and its
// current manifest.
const (
	formatMarker   = "format-version"
	manifestMarker = "manifest"
)

// prepareFormat refuses a store of a format that this program does not know. For
// a new one it notes the format beforehand: Pebble would begin with its oldest
// and move on version by version, each with a directory sync.
func prepareFormat(fs *fence, dir string) error {
	marker, value, err := atomicfs.LocateMarker(fs, dir, formatMarker)
	if err != nil {
		return err
	}
	defer marker.Close()
	if value != "" {
		return checkFormat(value)
	}
	manifest, err := atomicfs.ReadMarker(fs, dir, manifestMarker)
	if err != nil || manifest != "" {
		return err
	}
	if err := marker.Move(format.String()); err != nil {
		return err
	}
	return fs.cause() // which Move is not told
}

func checkFormat(value string) error {
	have, err := strconv.ParseUint(value, 10, 64)
	if err != nil {
		return fmt.Errorf("%w: format version %q is no number", ErrCorrupt, value)
	}
	if have > uint64(format) {
		return fmt.Errorf("%w: version %d, this program knows up to %d", ErrNewer, have, format)
	}
	return nil
}

// Failed delivers the failure that ended the store, once, to one receiver, and
// is closed after it or by Close.
func (db *DB) Failed() <-chan error { return db.failed }

// Err answers nil while the store works, and then ErrFailed with its reason or
// ErrClosed.
func (db *DB) Err() error {
	if err := db.down.Load(); err != nil {
		return *err
	}
	return nil
}

// fail takes the store out of service. It may be called by Pebble with its locks
// held.
func (db *DB) fail(log *zap.Logger, cause error) {
	err := fmt.Errorf("%w: %w", ErrFailed, cause)
	if !db.down.CompareAndSwap(nil, &err) {
		return
	}
	log.Error("key-value store failed", zap.Error(cause))
	db.failOnce.Do(func() {
		db.failed <- err
		close(db.failed)
	})
}

// Close makes every row durable and ends the store; what the next Open would
// spend long on to replay it writes out. Iterators and snapshots must be closed
// before. It answers nothing about a failure that Failed has delivered.
func (db *DB) Close() error {
	closed := ErrClosed
	working := db.down.CompareAndSwap(nil, &closed)
	if !working && errors.Is(db.Err(), ErrClosed) {
		return nil
	}
	db.unreg()
	var err error
	if working && db.pebble.Metrics().WAL.Size > flushOnClose {
		err = db.pebble.Flush()
	}
	err = errors.Join(err, db.pebble.Close())
	db.failOnce.Do(func() { close(db.failed) })
	if !working {
		db.down.Store(&closed)
		return nil
	}
	if cause := db.fence.cause(); cause != nil {
		return fmt.Errorf("kv: close: %w", cause)
	}
	return err
}

// classify marks Pebble's errors that callers branch on.
func classify(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, pebble.ErrNotFound):
		return ErrNotFound
	case pebble.IsCorruptionError(err):
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}

// bridge hands Pebble's messages to zap. What Pebble calls fatal (a broken
// invariant, as failed writes do not get that far) fails the store.
type bridge struct {
	log   *zap.Logger
	fence *fence
}

func (b bridge) Infof(format string, args ...any) {
	if ce := b.log.Check(zap.DebugLevel, "pebble"); ce != nil {
		ce.Write(zap.String("detail", fmt.Sprintf(format, args...)))
	}
}

func (b bridge) Errorf(format string, args ...any) {
	if !b.fence.isTripped() { // what follows a failure says nothing new
		b.log.Warn("pebble", zap.String("detail", fmt.Sprintf(format, args...)))
	}
}

func (b bridge) Fatalf(format string, args ...any) {
	b.fence.trip(fmt.Errorf("pebble gave up: "+format, args...))
}
