package cleaner

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/tidemark-mq/tidemark/storage/log"
)

// Sizes of reads and writes, in bytes; each is one buffer of the cleaner's.
const (
	readChunk  = 1 << 20
	writeChunk = 1 << 20
)

// Options of a Cleaner. Zero values stand for the defaults.
type Options struct {
	MapBytes       int64         // memory of the key map, log.cleaner.dedupe.buffer.size; default 48 MiB
	BytesPerSecond float64       // reads and writes together, log.cleaner.io.max.bytes.per.second; default no limit
	Backoff        time.Duration // between looks for work, log.cleaner.backoff.ms; default 15 s
	Tuned          func() Tuning // nil: the three above hold for good
	MaxExpansion   int64         // bytes a compressed batch may unfold to; default 1 GiB
	Log            *zap.Logger
	Metrics        prometheus.Registerer
}

// Cleaner compacts logs one at a time. Its buffers are reused, so Clean and Run must not
// overlap.
type Cleaner struct {
	o       Options
	limit   *rate.Limiter
	buf     []byte
	runs    *prometheus.CounterVec
	bytes   *prometheus.CounterVec
	records *prometheus.CounterVec
	took    prometheus.Histogram
	worst   prometheus.Gauge
}

// New makes a cleaner.
func New(o Options) *Cleaner {
	if o.Tuned == nil {
		fixed := Tuning{o.MapBytes, o.BytesPerSecond, o.Backoff}
		o.Tuned = func() Tuning { return fixed }
	}
	if o.MaxExpansion <= 0 {
		o.MaxExpansion = 1 << 30
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	c := &Cleaner{o: o, limit: rate.NewLimiter(rate.Inf, 4*readChunk)}
	c.metrics(o.Metrics)
	return c
}

func (c *Cleaner) metrics(to prometheus.Registerer) {
	c.runs = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tidemark_cleaner_runs_total", Help: "Compaction runs over a log, by outcome."}, []string{"outcome"})
	c.bytes = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tidemark_cleaner_bytes_total", Help: "Bytes of the segments compacted, before and after."}, []string{"when"})
	c.records = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tidemark_cleaner_records_total", Help: "Records gone over by compaction, and kept."}, []string{"when"})
	c.took = prometheus.NewHistogram(prometheus.HistogramOpts{Name: "tidemark_cleaner_run_seconds", Help: "Duration of a compaction run.", Buckets: prometheus.ExponentialBuckets(0.01, 4, 9)})
	c.worst = prometheus.NewGauge(prometheus.GaugeOpts{Name: "tidemark_cleaner_max_dirty_ratio", Help: "Largest share of uncompacted bytes in a compacted log, at the last look."})
	if to != nil {
		to.MustRegister(c.runs, c.bytes, c.records, c.took, c.worst)
	}
}

// Run looks for work and does it until ctx ends. logs lists the logs there are.
func (c *Cleaner) Run(ctx context.Context, logs func() []*log.Log) {
	failed := map[*log.Log]time.Time{}
	for {
		l := c.dirtiest(logs(), failed)
		if l == nil {
			select {
			case <-ctx.Done():
				return
			case <-time.After(c.tuning().Backoff):
			}
			continue
		}
		if err := c.runOne(ctx, l); err != nil {
			failed[l] = time.Now()
		} else {
			delete(failed, l)
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// retryAfter keeps a log that could not be compacted from being tried over and over.
const retryAfter = 10 * time.Minute

// dirtiest is the log most in need, nil if none is due.
func (c *Cleaner) dirtiest(logs []*log.Log, failed map[*log.Log]time.Time) *log.Log {
	now := time.Now()
	var best *log.Log
	var most work
	worst := 0.0
	for _, l := range logs {
		cfg := l.Config()
		if !cfg.Compact || l.Damage() != nil {
			continue
		}
		w := survey(l, now)
		worst = max(worst, w.ratio)
		if when, bad := failed[l]; bad && now.Sub(when) < retryAfter || !w.due(&cfg) {
			continue
		}
		if best == nil || w.overdue && !most.overdue || w.overdue == most.overdue && w.ratio > most.ratio {
			best, most = l, w
		}
	}
	for l, when := range failed {
		if now.Sub(when) >= retryAfter {
			delete(failed, l)
		}
	}
	c.worst.Set(worst)
	return best
}

func (c *Cleaner) runOne(ctx context.Context, l *log.Log) error {
	began := time.Now()
	r, err := c.Clean(ctx, l, began)
	c.took.Observe(time.Since(began).Seconds())
	facts := []zap.Field{zap.String("dir", l.Dir()), zap.Int64("from", r.From), zap.Int64("to", r.To), zap.Int64("bytesBefore", r.BytesBefore),
		zap.Int64("bytesAfter", r.BytesAfter), zap.Int64("records", r.RecordsIn), zap.Int64("kept", r.RecordsOut), zap.Duration("took", time.Since(began))}
	switch {
	case err == nil:
		c.runs.WithLabelValues("done").Inc()
		c.o.Log.Info("log compacted", facts...)
	case errors.Is(err, context.Canceled), errors.Is(err, log.ErrClosed):
		c.runs.WithLabelValues("interrupted").Inc()
	default:
		c.runs.WithLabelValues("failed").Inc()
		c.o.Log.Error("log could not be compacted", append(facts, zap.Error(err))...)
	}
	c.bytes.WithLabelValues("before").Add(float64(r.BytesBefore))
	c.bytes.WithLabelValues("after").Add(float64(r.BytesAfter))
	c.records.WithLabelValues("before").Add(float64(r.RecordsIn))
	c.records.WithLabelValues("after").Add(float64(r.RecordsOut))
	return err
}

// read fills the cleaner's buffer with a slice.
func (c *Cleaner) read(ctx context.Context, s log.Slice) ([]byte, error) {
	if err := c.throttle(ctx, s.Len); err != nil {
		return nil, err
	}
	if cap(c.buf) < s.Len {
		c.buf = make([]byte, max(s.Len, readChunk))
	}
	b := c.buf[:s.Len]
	if n, err := s.File.ReadAt(b, s.Pos); n < s.Len {
		return nil, fmt.Errorf("cleaner: read %d bytes at %d: %w", s.Len, s.Pos, err)
	}
	return b, nil
}
