package logdir

import (
	"errors"
	"fmt"
	"strconv"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/storage/journal"
	"github.com/tidemark-mq/tidemark/storage/log"
)

// OpenLog opens the log of a partition, recovering it if need be, or makes a new one. flush is whether acknowledgements
// wait for the disk. A damaged log comes back with the error, offline.
func (d *Dir) OpenLog(topic string, id uuid.ID, partition int32, cfg log.Config, flush bool) (*log.Log, error) {
	key := journal.Key{Topic: id, Partition: partition}
	name := topic + "-" + strconv.Itoa(int(partition))
	o := log.Options{FS: d.o.FS, Dir: d.path(logsDir, name), Topic: topic, ID: id, Partition: partition, Config: cfg, Files: d.files,
		Hooks: d.hooks(key), Log: d.log}
	l, err := d.openOrCreate(key, name, o)
	if l == nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, log.ErrClosed
	}
	e := &entry{log: l, flush: flush}
	d.logs[key] = e
	if d.flusher != nil && err == nil {
		d.attach(key, e)
	}
	return l, err
}

func (d *Dir) openOrCreate(key journal.Key, name string, o log.Options) (*log.Log, error) {
	if d.dirs[name] {
		if err := d.clearForeign(name, o); err != nil {
			return nil, err
		}
	}
	d.factMu.Lock()
	_, known := d.known[key]
	d.factMu.Unlock()
	_, journaled := d.history(key)
	if !known && !journaled && !d.dirs[name] {
		return log.Create(o)
	}
	r, err := d.recovery(key)
	if err != nil {
		return nil, err
	}
	l, report, err := log.Open(o, r)
	if err != nil {
		return nil, fmt.Errorf("open log %s: %w", o.Dir, err)
	}
	if report.Damage != nil {
		return l, report.Damage
	}
	for _, cut := range report.Cut {
		d.log.Warn("unacknowledged tail cut", zap.String("file", cut.File), zap.Int64("position", cut.Position), zap.Int64("bytes", cut.Bytes), zap.Int64("offset", cut.Offset))
	}
	return l, nil
}

func (d *Dir) history(key journal.Key) (*journal.History, bool) {
	if d.replayed == nil {
		return nil, false
	}
	h, ok := d.replayed.Logs[key]
	return h, ok
}

// clearForeign moves a directory out of the way that belongs to a topic of the same name that was deleted since.
func (d *Dir) clearForeign(name string, o log.Options) error {
	owner, err := log.ReadTopicID(d.o.FS, o.Dir)
	if err != nil || owner == o.ID {
		return nil // what cannot be read is the log's to judge
	}
	d.log.Info("removing the log of a deleted topic", zap.String("dir", o.Dir), zap.Stringer("topicId", owner))
	return d.o.FS.RemoveAll(o.Dir)
}

// hooks keep facts durable that a log depends on.
func (d *Dir) hooks(key journal.Key) log.Hooks {
	return log.Hooks{
		Void: func(end int64) error {
			lower := func() error {
				return d.record([]journal.Key{key}, func(_ int, f *facts) { f.recoveryPoint = min(f.recoveryPoint, end) })
			}
			d.mu.Lock()
			e := d.logs[key]
			d.mu.Unlock()
			if e == nil || e.stream == nil {
				return lower()
			}
			return e.stream.Void(end, lower)
		},
		StartMoved: func(start int64) error {
			return d.record([]journal.Key{key}, func(_ int, f *facts) { f.start = max(f.start, start) })
		},
	}
}

// attach joins a log to the flusher. The caller holds d.mu.
func (d *Dir) attach(key journal.Key, e *entry) {
	e.stream = d.flusher.Open(key, e.log, e.log.End())
	e.stream.SetFlush(e.flush)
	e.log.Flushed(e.log.End())
	e.log.SetSink(e.stream)
}

// Configure puts a topic's settings into force for one log.
func (d *Dir) Configure(l *log.Log, cfg log.Config, flush bool) {
	l.SetConfig(cfg)
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.logs[journal.Key{Topic: l.ID(), Partition: l.Partition()}]
	if e == nil || e.flush == flush {
		return
	}
	e.flush = flush
	if e.stream != nil {
		e.stream.SetFlush(flush)
	}
}

// DeleteLog deletes a log with its records.
func (d *Dir) DeleteLog(l *log.Log) error {
	key := journal.Key{Topic: l.ID(), Partition: l.Partition()}
	d.mu.Lock()
	e := d.logs[key]
	delete(d.logs, key)
	d.mu.Unlock()
	if e != nil && e.stream != nil {
		e.stream.Close()
	}
	trash, err := l.Delete()
	if err != nil {
		return err
	}
	b := d.kv.NewBatch()
	defer b.Close()
	b.Delete(factSpace, factKey(key))
	d.factMu.Lock()
	delete(d.known, key)
	err = b.Commit(false) // a row too many does no harm: its topic id never comes back
	d.factMu.Unlock()
	if trash != "" {
		err = errors.Join(err, d.o.FS.RemoveAll(trash))
	}
	return err
}

// Activate ends recovery, once the logs that were there are open: see the package comment. Later calls do nothing.
func (d *Dir) Activate() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.flusher != nil || d.closed {
		return nil
	}
	if d.replayed != nil {
		if err := d.recordRecovered(); err != nil {
			return err
		}
	}
	o := d.o.Journal
	o.FS, o.Dir, o.After, o.Reset, o.Record = d.o.FS, d.path(journalDir), d.lastSeq, d.replayed != nil, d.recordPoints
	o.Log, o.Metrics = d.log.Named("journal"), d.o.Metrics
	f, err := journal.Start(o)
	if err != nil {
		return err
	}
	d.flusher = f
	for key, e := range d.logs {
		if e.log.Damage() == nil {
			d.attach(key, e)
		}
	}
	d.replayed = nil
	d.startBackground()
	return nil
}

// recordRecovered records the recovery points that log.Open reached for every log, so that the journal can be made void.
// The caller holds d.mu.
func (d *Dir) recordRecovered() error {
	var keys []journal.Key
	var logs []*log.Log
	for key, e := range d.logs {
		if e.log.Damage() == nil {
			keys, logs = append(keys, key), append(logs, e.log)
		}
	}
	return d.record(keys, func(i int, f *facts) {
		f.recoveryPoint, f.start, f.cleanedTo = logs[i].RecoveryPoint(), logs[i].Start(), logs[i].CleanedTo()
	})
}

// RemoveStrays removes what lies in logs/ and belongs to no open log: topics deleted while the broker was down, and
// what deletions left behind. To be called when every log of the metadata is open.
func (d *Dir) RemoveStrays() error {
	names, err := d.o.FS.List(d.path(logsDir))
	if err != nil {
		return err
	}
	open := map[string]bool{}
	for _, l := range d.Logs() {
		open[d.o.FS.PathBase(l.Dir())] = true
	}
	var failures []error
	for _, name := range names {
		if open[name] {
			continue
		}
		if !log.IsTrash(name) {
			d.log.Info("removing the log of a topic that is gone", zap.String("dir", d.path(logsDir, name)))
		}
		failures = append(failures, d.o.FS.RemoveAll(d.path(logsDir, name)))
	}
	return errors.Join(failures...)
}
