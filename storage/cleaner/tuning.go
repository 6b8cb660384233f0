package cleaner

import (
	"context"
	"math"
	"time"

	"golang.org/x/time/rate"
)

// Tuning is what of a cleaner may change while it runs: the options of the same names. It is asked for when it matters: the map
// at the start of a run, the pace every second at most, the backoff before each pause.
type Tuning struct {
	MapBytes       int64
	BytesPerSecond float64
	Backoff        time.Duration
}

// tuning is what holds now, with defaults for what is not set.
func (c *Cleaner) tuning() Tuning {
	t := c.o.Tuned()
	if t.MapBytes <= 0 {
		t.MapBytes = 48 << 20
	}
	if t.Backoff <= 0 {
		t.Backoff = 15 * time.Second
	}
	if t.BytesPerSecond <= 0 || t.BytesPerSecond >= math.MaxInt64 {
		t.BytesPerSecond = float64(rate.Inf)
	}
	return t
}

// throttle waits until n more bytes may be read or written. It waits for no more than a second's worth at a time, so that a
// slow pace can be made a faster one.
func (c *Cleaner) throttle(ctx context.Context, n int) error {
	for n > 0 {
		pace := c.tuning().BytesPerSecond
		if now := rate.Limit(pace); c.limit.Limit() != now {
			c.limit.SetLimit(now)
		}
		part := min(n, c.limit.Burst(), max(1, int(min(pace, math.MaxInt32))))
		if err := c.limit.WaitN(ctx, part); err != nil {
			return err
		}
		n -= part
	}
	return ctx.Err()
}
