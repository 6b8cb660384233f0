package kv

import (
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/prometheus/client_golang/prometheus"
)

// stallClock adds up the time that commits waited for flushes and compactions.
type stallClock struct {
	mu    sync.Mutex
	since time.Time
	total time.Duration
}

func (c *stallClock) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.since = time.Now()
}

func (c *stallClock) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total += time.Since(c.since)
	c.since = time.Time{}
}

func (c *stallClock) seconds() float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.total
	if !c.since.IsZero() {
		d += time.Since(c.since)
	}
	return d.Seconds()
}

// gauge is one number read from Pebble when metrics are collected.
type gauge struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*pebble.Metrics) float64
}

// collector reads Pebble's own counters when it is asked, and nothing in between.
type collector struct {
	db     *pebble.DB
	gauges []gauge

	mu     sync.RWMutex // held for reading while collecting
	closed bool
}

func newCollector(db *pebble.DB, stalls *stallClock) *collector {
	c := &collector{db: db}
	add := func(name, help string, kind prometheus.ValueType, value func(*pebble.Metrics) float64) {
		desc := prometheus.NewDesc("tidemark_kv_"+name, help, nil, nil)
		c.gauges = append(c.gauges, gauge{desc, kind, value})
	}
	add("disk_bytes", "Bytes on disk.", prometheus.GaugeValue,
		func(m *pebble.Metrics) float64 { return float64(m.DiskSpaceUsage()) })
	add("memtable_bytes", "Bytes of memtables.", prometheus.GaugeValue,
		func(m *pebble.Metrics) float64 { return float64(m.MemTable.Size) })
	add("cache_bytes", "Bytes in the block cache.", prometheus.GaugeValue,
		func(m *pebble.Metrics) float64 { return float64(m.BlockCache.Size) })
	add("cache_hits_total", "Blocks found in the cache.", prometheus.CounterValue,
		func(m *pebble.Metrics) float64 { return float64(m.BlockCache.Hits) })
	add("cache_misses_total", "Blocks not found in the cache.", prometheus.CounterValue,
		func(m *pebble.Metrics) float64 { return float64(m.BlockCache.Misses) })
	add("log_written_bytes_total", "Bytes written to the write-ahead log.", prometheus.CounterValue,
		func(m *pebble.Metrics) float64 { return float64(m.WAL.BytesWritten) })
	add("flushes_total", "Memtables written out.", prometheus.CounterValue,
		func(m *pebble.Metrics) float64 { return float64(m.Flush.Count) })
	add("compactions_total", "Compactions done.", prometheus.CounterValue,
		func(m *pebble.Metrics) float64 { return float64(m.Compact.Count) })
	add("compaction_debt_bytes", "Estimated bytes that compactions still have to write.", prometheus.GaugeValue,
		func(m *pebble.Metrics) float64 { return float64(m.Compact.EstimatedDebt) })
	add("read_amplification", "Tables a read may have to look into.", prometheus.GaugeValue,
		func(m *pebble.Metrics) float64 { return float64(m.ReadAmp()) })
	add("stalled_seconds_total", "Time in which commits waited for flushes and compactions.", prometheus.CounterValue,
		func(*pebble.Metrics) float64 { return stalls.seconds() })
	return c
}

func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, g := range c.gauges {
		out <- g.desc
	}
}

func (c *collector) Collect(out chan<- prometheus.Metric) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed {
		return
	}
	m := c.db.Metrics()
	for _, g := range c.gauges {
		out <- prometheus.MustNewConstMetric(g.desc, g.kind, g.value(m))
	}
}

// register makes the store's metrics known until Close.
func (db *DB) register(r prometheus.Registerer, stalls *stallClock) error {
	if r == nil {
		return nil
	}
	c := newCollector(db.pebble, stalls)
	if err := r.Register(c); err != nil {
		return err
	}
	db.unreg = func() {
		r.Unregister(c)
		c.mu.Lock() // a collection under way ends first
		defer c.mu.Unlock()
		c.closed = true
	}
	return nil
}
