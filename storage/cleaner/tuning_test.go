package cleaner

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Whoever slowed the cleaner down too much is heard at once when it is to be faster, also where it waits already.
func TestThePaceChangesWhileTheCleanerWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var pace atomic.Int64
		pace.Store(1024)
		c := New(Options{Tuned: func() Tuning { return Tuning{BytesPerSecond: float64(pace.Load())} }})
		require.NoError(t, c.throttle(t.Context(), 4*readChunk), "what may be saved up")
		time.AfterFunc(10*time.Second, func() { pace.Store(readChunk) })
		began := time.Now()
		require.NoError(t, c.throttle(t.Context(), 4*readChunk))
		require.InDelta(t, 14, time.Since(began).Seconds(), 2)

		pace.Store(0)
		began = time.Now()
		require.NoError(t, c.throttle(t.Context(), 1<<30))
		require.Zero(t, time.Since(began), "no limit")
	})
}
