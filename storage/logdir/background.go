package logdir

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/storage/cleaner"
	"github.com/tidemark-mq/tidemark/storage/log"
)

// firstLook is when retention is first looked at after a start, if its interval is not shorter.
const firstLook = 30 * time.Second

// housekeeping has retention looked at in every log, each interval, and again in those that took segments out, when their files
// may be removed.
func (d *Dir) housekeeping(ctx context.Context) {
	next := time.Now().Add(min(firstLook, d.o.RetentionInterval))
	var due dueLogs
	for {
		wait := time.Until(next)
		if at, ok := due.first(); ok {
			wait = min(wait, time.Until(at))
		}
		select {
		case <-time.After(max(0, wait)):
		case <-ctx.Done():
			return
		}
		now := time.Now()
		logs := due.take(now)
		if !now.Before(next) {
			logs = d.Logs()
			next = now.Add(d.o.RetentionInterval)
		}
		for _, l := range logs {
			if ctx.Err() != nil {
				return
			}
			d.retain(l, &due)
		}
	}
}

func (d *Dir) retain(l *log.Log, due *dueLogs) {
	now := time.Now()
	r, err := l.Retain(now)
	if err != nil && !errors.Is(err, log.ErrClosed) && !errors.Is(err, log.ErrOffline) {
		d.o.Log.Warn("retention failed", zap.String("dir", l.Dir()), zap.Error(err))
	}
	if r.Segments > 0 {
		d.metrics.retained.Add(float64(r.Bytes))
		d.o.Log.Info("segments deleted", zap.String("dir", l.Dir()), zap.Int("segments", r.Segments), zap.Int64("bytes", r.Bytes), zap.Int64("log start", r.Start))
		due.add(l, now.Add(l.Config().DeleteDelay))
	}
}

// dueLogs are logs to be looked at again at some time. At most one entry a log and pass; retention runs out of segments.
type dueLogs struct {
	logs []*log.Log
	at   []time.Time
}

func (q *dueLogs) add(l *log.Log, at time.Time) {
	q.logs, q.at = append(q.logs, l), append(q.at, at)
}

func (q *dueLogs) first() (earliest time.Time, ok bool) {
	for i, at := range q.at {
		if i == 0 || at.Before(earliest) {
			earliest = at
		}
	}
	return earliest, len(q.at) > 0
}

// take answers the logs that are due, each once.
func (q *dueLogs) take(now time.Time) []*log.Log {
	var out []*log.Log
	seen := map[*log.Log]bool{}
	n := 0
	for i, at := range q.at {
		if at.After(now) {
			q.logs[n], q.at[n] = q.logs[i], at
			n++
			continue
		}
		if !seen[q.logs[i]] {
			seen[q.logs[i]] = true
			out = append(out, q.logs[i])
		}
	}
	clear(q.logs[n:])
	q.logs, q.at = q.logs[:n], q.at[:n]
	return out
}

// compaction runs the cleaner.
func (d *Dir) compaction(ctx context.Context) {
	o := d.o.Cleaner
	if o.Log == nil {
		o.Log = d.o.Log.Named("cleaner")
	}
	if o.Metrics == nil {
		o.Metrics = d.o.Metrics
	}
	cleaner.New(o).Run(ctx, d.Logs)
}
