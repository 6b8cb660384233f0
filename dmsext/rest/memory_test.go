package rest

import (
	"context"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/dmsext/queue"
)

// resident is what of this process is in memory, in bytes; ok is false where the system does not say.
func resident() (n int, ok bool) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "VmRSS:" {
			kib, err := strconv.Atoi(fields[1])
			return kib << 10, err == nil
		}
	}
	return 0, false
}

// TestManyPollsAreCheap opens long polls and asserts what each of them may take of the heap and of stacks, of the client's
// side too, which is the same process here. TIDEMARK_POLLS sets how many; the figures are in the log.
func TestManyPollsAreCheap(t *testing.T) {
	polls := 500
	if n, err := strconv.Atoi(os.Getenv("TIDEMARK_POLLS")); err == nil {
		polls = n
	}
	if os.Getenv("TIDEMARK_POLLS") != "" {
		defer debug.SetGCPercent(debug.SetGCPercent(50)) // as the broker runs
	}
	w := newWorld(t, func(o *Options) {
		parkSoon(o)
		if os.Getenv("TIDEMARK_PARK") == "never" {
			o.Limits.ParkAfter = -1
		}
	})
	w.receive = func(ctx context.Context, _ queue.Receive) ([]queue.Received, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	before, rss := memory()
	for range polls {
		c := w.dial()
		defer c.Close()
		_, err := io.WriteString(c, poll1)
		require.NoError(t, err)
	}
	eventually(t, "all wait", func() bool {
		return w.server.LongPolls() == polls && (w.server.limits.ParkAfter < 0 || w.parkedPolls() == polls)
	})
	peak, ok := resident()
	after, now := memory()
	each := (after - before) / polls
	t.Logf("%d polls: %d bytes of heap and stacks each; resident %d KiB more, %d bytes each (without a collection first %d), known %v",
		polls, each, (now-rss)>>10, (now-rss)/polls, (peak-rss)/polls, ok)
	if w.server.limits.ParkAfter > 0 {
		require.Less(t, each, 12<<10)
	}
}

// memory is what is allocated and what is resident after a collection.
func memory() (used, rss int) {
	runtime.GC()
	runtime.GC()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	rss, _ = resident()
	return int(m.HeapAlloc + m.StackInuse), rss
}
