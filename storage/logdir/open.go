package logdir

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/storage/journal"
	"github.com/tidemark-mq/tidemark/storage/kv"
	"github.com/tidemark-mq/tidemark/storage/log"
	"github.com/tidemark-mq/tidemark/storage/segment"
)

// entry is one log of this life.
type entry struct {
	d     *Dir
	key   journal.Key
	topic string

	log    *log.Log // nil while it is being opened; set under Dir.mu
	stream atomic.Pointer[journal.Stream]

	flush   bool  // under Dir.mu
	fresh   bool  // not among the facts before this life
	mended  bool  // recovery changed it, or what was promised of it; the facts do not say so yet. Set before log
	cleaned int64 // cleaner's checkpoint as recorded; used by the checkpointer only
	point   int64 // recovery point as recorded; under Dir.points
}

// OpenLog opens a log, recovering it when the last stop was not clean, or makes one: nothing is on disk before its first append. With
// flush, what is appended is acknowledged when durable (flush.messages is 1). A log whose acknowledged records are gone is
// answered together with its *log.Damage; it is offline. Many may be opened at a time.
func (d *Dir) OpenLog(topic string, id uuid.ID, partition int32, cfg log.Config, flush bool) (*log.Log, error) {
	d.activating.RLock()
	defer d.activating.RUnlock()
	e := &entry{d: d, key: journal.Key{Topic: id, Partition: partition}, topic: topic, flush: flush}
	known, err := d.reserve(e)
	if err != nil {
		return nil, err
	}
	e.fresh = known == nil
	l, report, err := d.openOne(e, known, cfg)
	if err == nil && report.Damage == nil {
		e.mended = !report.Clean
		if err = d.enlist(e, l); err != nil {
			_, cerr := l.Close()
			err = errors.Join(err, cerr)
		}
	}
	if err != nil {
		if known == nil {
			known = &facts{topic: topic} // so that Activate sees to what the journal holds of it
		}
		d.mu.Lock()
		delete(d.logs, e.key)
		d.known[e.key] = known
		d.mu.Unlock()
		return nil, fmt.Errorf("logdir: open log %s-%d: %w", topic, partition, err)
	}
	if report.Damage != nil {
		d.mu.Lock()
		e.log = l
		d.mu.Unlock()
		return l, errors.Join(report.Damage, d.preserve(e.key, topic, report.Damage.Promised))
	}
	return l, nil
}

// reserve enters e into the table and answers what is known of its log.
func (d *Dir) reserve(e *entry) (*facts, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, ErrClosed
	}
	if d.err != nil {
		return nil, d.err
	}
	if d.logs[e.key] != nil {
		return nil, fmt.Errorf("logdir: log %s-%d is open already", e.topic, e.key.Partition)
	}
	d.logs[e.key] = e
	d.wanted[e.key] = d.fs.PathBase(d.logPath(e.topic, e.key.Partition))
	known := d.known[e.key]
	delete(d.known, e.key)
	return known, nil
}

// enlist makes an opened log one of the directory's: its existence a fact, its appends the flusher's.
func (d *Dir) enlist(e *entry, l *log.Log) error {
	if e.fresh {
		b := d.kv.NewBatch()
		b.Set(factSpace, factKey(e.key, factTopic), []byte(e.topic))
		if end := l.RecoveryPoint(); end > 0 {
			setNumber(b, e.key, factPoint, end)
		}
		if err := b.Commit(false); err != nil {
			return err
		}
	}
	d.points.Lock()
	e.point = l.RecoveryPoint() // on record since the last stop, or with Activate
	d.points.Unlock()
	fl := d.flusher.Load()
	if fl != nil && e.mended && !e.fresh { // else Activate does
		if err := d.recordMended(e.key, l); err != nil {
			return err
		}
	}
	d.mu.Lock()
	e.log = l
	d.mu.Unlock()
	if e.fresh && !d.unsure.Swap(true) && fl != nil {
		fl.Precede(d.settleFacts)
	}
	if fl != nil {
		e.join(fl)
	}
	return nil
}

// recordMended makes the recovery point of a log that was recovered after Activate a fact, and what was kept for its recovery void: a
// promise and entries of before a truncation would be believed after the next crash.
func (d *Dir) recordMended(key journal.Key, l *log.Log) error {
	b := d.kv.NewBatch()
	putRecovered(b, key, l)
	if err := commit(b); err != nil {
		return err
	}
	return d.dropRescued(key)
}

// join gives the log its stream. Called once, before anything is appended.
func (e *entry) join(fl *journal.Flusher) {
	s := fl.Open(e.key, e.log, e.log.End())
	if !e.flush {
		s.SetFlush(false)
	}
	e.stream.Store(s)
	e.log.SetSink(s)
}

// settleFacts makes every fact so far durable.
func (d *Dir) settleFacts() error {
	d.settling.Lock()
	defer d.settling.Unlock()
	if !d.unsure.Swap(false) {
		return nil
	}
	// A synced commit makes those before it durable as well; it only needs something to commit.
	b := d.kv.NewBatch()
	b.Set(metaSpace, []byte("settled"), []byte(strconv.FormatInt(time.Now().UnixMilli(), 10)))
	return b.Commit(true)
}

// openOne opens or recovers the log of e. A directory of another topic in its place, left by one that was deleted, is put aside.
func (d *Dir) openOne(e *entry, known *facts, cfg log.Config) (*log.Log, log.Report, error) {
	o := log.Options{
		FS: d.fs, Dir: d.logPath(e.topic, e.key.Partition), Topic: e.topic, ID: e.key.Topic, Partition: e.key.Partition,
		Config: cfg, Files: d.files, Hooks: e.hooks(), Log: d.o.Log,
	}
	if known == nil {
		if err := d.clearForeign(o.Dir, e.key.Topic); err != nil {
			return nil, log.Report{}, err
		}
	}
	r, err := d.recoveryOf(e.key, o.Dir, known)
	if err != nil {
		return nil, log.Report{}, err
	}
	if d.distrust && !r.Clean {
		if err := d.dropCaches(o.Dir); err != nil {
			return nil, log.Report{}, err
		}
	}
	l, report, err := log.Open(o, r)
	if errors.Is(err, log.ErrWrongTopic) {
		if err := d.putAside(o.Dir); err != nil {
			return nil, report, err
		}
		l, report, err = log.Open(o, r)
	}
	if err != nil {
		return nil, report, err
	}
	d.progress.opened(o.Dir, report)
	return l, report, nil
}

// clearForeign puts a directory aside that does not say it is of this topic. There is no fact about the log, so nothing of it was
// ever acknowledged, and what is there may be what a deleted topic of the same name left.
func (d *Dir) clearForeign(dir string, topic uuid.ID) error {
	if _, err := d.fs.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	id, err := log.ReadTopicID(d.fs, dir)
	if err != nil && !saysNothing(err) {
		return err
	}
	if err == nil && id == topic {
		return nil
	}
	return d.putAside(dir)
}

// saysNothing tells whether an error of log.ReadTopicID means that the directory does not tell its topic.
func saysNothing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, segment.ErrSideFile)
}

func (d *Dir) logPath(topic string, partition int32) string {
	return d.fs.PathJoin(d.o.Dir, logsDir, topic+"-"+strconv.Itoa(int(partition)))
}

// recoveryOf gathers what is known of a log from before.
func (d *Dir) recoveryOf(key journal.Key, dir string, known *facts) (log.Recovery, error) {
	var r log.Recovery
	if known != nil {
		r = log.Recovery{RecoveryPoint: known.point, Promised: known.promised, Start: known.start, CleanedTo: known.cleaned}
		if known.state != nil && (d.clean || known.closed) {
			state, err := log.ParseState(known.state)
			if err == nil {
				r.Clean, r.State = true, state
				return r, nil
			}
			d.o.Log.Warn("state of a clean stop cannot be read, recovering", zap.String("dir", dir), zap.Error(err))
		}
	} else if _, err := d.fs.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		// Neither a fact nor a file: a new log, or a deleted one of which the journal may still speak.
		r.Clean = true
		return r, nil
	}
	if h := d.replayed.Logs[key]; h != nil {
		r.Promised = max(r.Promised, h.Promised)
	}
	add := func(e journal.Entry) error {
		r.Entries = append(r.Entries, log.Entry{Base: e.Base, End: e.End, Batches: e.Batches})
		return nil
	}
	if err := d.rescued(key, add); err != nil {
		return r, err
	}
	return r, d.replayed.Entries(key, add)
}

// hooks are how the log makes its own facts durable.
func (e *entry) hooks() log.Hooks {
	return log.Hooks{
		Void: func(end int64) error {
			lower := func() error { return e.putPoint(func(int64) int64 { return end }) }
			if s := e.stream.Load(); s != nil {
				return s.Void(end, lower)
			}
			return lower()
		},
		StartMoved: func(start int64) error { return e.put(factStart, start) },
		Replacing: func(upTo int64) error {
			return e.putPoint(func(recorded int64) int64 { return max(recorded, upTo) })
		},
		SyncFailed: e.syncFailed,
	}
}

// putPoint makes another recovery point durable, made from the one recorded. A truncation alone
// lowers it: where segments were replaced, recovery relies on what was recorded before.
func (e *entry) putPoint(next func(recorded int64) int64) error {
	e.d.points.Lock()
	defer e.d.points.Unlock()
	n := next(e.point)
	if err := e.put(factPoint, n); err != nil {
		return err
	}
	e.point = n
	return nil
}

// put makes one fact durable.
func (e *entry) put(fact byte, n int64) error {
	b := e.d.kv.NewBatch()
	setNumber(b, e.key, fact, n)
	return b.Commit(true)
}

// record makes recovery points durable, for the journal.
func (d *Dir) record(points []journal.Point) error {
	d.points.Lock()
	defer d.points.Unlock()
	b := d.kv.NewBatch()
	d.mu.Lock()
	for _, p := range points {
		e := d.logs[p.Key]
		if e == nil || e.log == nil {
			continue
		}
		if p.End > e.point {
			e.point = p.End
			setNumber(b, p.Key, factPoint, p.End)
		}
		if c := e.log.CleanedTo(); c != e.cleaned {
			setNumber(b, p.Key, factCleaned, c)
			e.cleaned = c
		}
	}
	d.mu.Unlock()
	return commit(b)
}

func commit(b *kv.Batch) error {
	if b.Count() == 0 {
		return b.Close()
	}
	return b.Commit(true)
}

// Configure puts a log's settings into force.
func (d *Dir) Configure(l *log.Log, cfg log.Config, flush bool) {
	l.SetConfig(cfg)
	e := d.entryOf(l)
	if e == nil {
		return
	}
	d.mu.Lock()
	e.flush = flush
	s := e.stream.Load()
	d.mu.Unlock()
	if s != nil {
		s.SetFlush(flush)
	}
}

func (d *Dir) entryOf(l *log.Log) *entry {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.logs[journal.Key{Topic: l.ID(), Partition: l.Partition()}]
	if e == nil || e.log != l {
		return nil
	}
	return e
}

// progress says now and then how far recovery is.
type progress struct {
	log   *zap.Logger
	total int
	began time.Time

	mu       sync.Mutex
	quiet    bool // after a clean stop, or when it is over
	done     int
	replayed int
	checked  int64
	said     time.Time
}

const progressEvery = 2 * time.Second

func (p *progress) start(total int, quiet bool, l *zap.Logger) {
	p.total, p.quiet, p.log, p.began, p.said = total, quiet, l, time.Now(), time.Now()
}

func (p *progress) opened(dir string, r log.Report) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range r.Cut {
		p.log.Warn("unacknowledged tail removed", zap.String("file", c.File), zap.Int64("position", c.Position), zap.Int64("bytes", c.Bytes),
			zap.Int64("offset", c.Offset), zap.Error(c.Reason))
	}
	if r.Damage != nil {
		p.log.Error("partition is offline: acknowledged records are damaged", zap.String("dir", dir), zap.Error(r.Damage))
	}
	if p.quiet {
		return
	}
	p.done++
	p.replayed += r.Replayed
	p.checked += r.Checked
	if time.Since(p.said) >= progressEvery {
		p.said = time.Now()
		p.log.Info("recovering", p.fields()...)
	}
}

func (p *progress) over() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.quiet && p.done > 0 {
		p.log.Info("recovered", p.fields()...)
	}
	p.quiet = true
}

func (p *progress) fields() []zap.Field {
	return []zap.Field{zap.Int("logs", p.done), zap.Int("of", max(p.done, p.total)), zap.Int("journal entries", p.replayed),
		zap.Int64("bytes checked", p.checked), zap.Duration("took", time.Since(p.began))}
}
