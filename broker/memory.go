package broker

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// A burst of produce requests leaves buffers in pools and pages in the heap that the collector, which runs when the heap
// grows, would keep for minutes. So memory is given back some seconds after the broker has become quiet.
const (
	trimInterval = 5 * time.Second
	// trimAbove is the memory worth giving back, in bytes.
	trimAbove = 24 << 20
)

var memoryClasses = []string{
	"/memory/classes/heap/objects:bytes", "/memory/classes/heap/free:bytes", "/memory/classes/heap/unused:bytes",
	"/gc/heap/allocs:bytes",
}

// trimMemory gives memory back whenever nothing much was allocated for an interval and much more is held than after the
// last time.
func trimMemory(ctx context.Context) {
	samples := make([]metrics.Sample, len(memoryClasses))
	for i := range samples {
		samples[i].Name = memoryClasses[i]
	}
	read := func() (held, allocated uint64) {
		metrics.Read(samples)
		for _, s := range samples[:3] {
			held += s.Value.Uint64()
		}
		return held, samples[3].Value.Uint64()
	}
	floor, before := read()
	t := time.NewTicker(trimInterval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		held, allocated := read()
		quiet := allocated-before < trimAbove/2
		before = allocated
		if !quiet || held < floor+trimAbove {
			continue
		}
		debug.FreeOSMemory() // collects: what pools hold moves to their second place ...
		debug.FreeOSMemory() // ... and is gone
		floor, before = read()
	}
}
