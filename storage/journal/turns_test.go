package journal

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// device counts the own syncs that run; each takes its time.
type device struct {
	takes time.Duration

	mu            sync.Mutex
	running, most int
	busy          time.Duration
}

// bulkLog is a Syncer on a device, appended to anew whenever it was told that it is durable.
type bulkLog struct {
	on  *device
	s   *Stream
	end int64
}

func (b *bulkLog) Sync(int64) error {
	d := b.on
	d.mu.Lock()
	d.running++
	d.most = max(d.most, d.running)
	d.busy += d.takes
	d.mu.Unlock()
	time.Sleep(d.takes)
	d.mu.Lock()
	d.running--
	d.mu.Unlock()
	return nil
}

func (b *bulkLog) Flushed(int64) { b.append() }

func (b *bulkLog) append() {
	b.end++
	b.s.Appended(b.end-1, b.end, 0, make([]byte, 1<<20))
}

// TestOwnSyncsLeaveRoomForRounds: own syncs run side by side while bulk logs are alone, one at a time with rests between
// while another log's rounds come in, and side by side again when those have ended.
func TestOwnSyncsLeaveRoomForRounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, err := Start(Options{FS: vfs.NewCrash(1), Dir: "journal", Record: func([]Point) error { return nil }})
		require.NoError(t, err)
		d := &device{takes: 2 * time.Millisecond}
		watch := func(span time.Duration, meanwhile func()) (most int, busy float64) {
			d.mu.Lock()
			d.most, d.busy = 0, 0
			d.mu.Unlock()
			for began := time.Now(); time.Since(began) < span; time.Sleep(time.Millisecond) {
				meanwhile()
			}
			d.mu.Lock()
			defer d.mu.Unlock()
			return d.most, float64(d.busy) / float64(span)
		}
		small := &callback{told: func(int64) {}}
		s := f.Open(Key{Partition: 9}, small, 0)
		for i := range int32(3) {
			b := &bulkLog{on: d}
			b.s = f.Open(Key{Partition: i}, b, 0)
			b.append()
		}
		most, busy := watch(time.Second, func() {})
		require.Equal(t, 3, most)
		require.InDelta(t, 3, busy, 0.1)

		var end int64
		appendSmall := func() {
			end++
			s.Appended(end-1, end, 0, []byte("small"))
		}
		watch(100*time.Millisecond, appendSmall)
		most, busy = watch(time.Second, appendSmall)
		require.Equal(t, 1, most)
		require.InDelta(t, 1.0/(1+restTimes), busy, 0.05)
		synctest.Wait()
		require.Equal(t, end, small.last, "rounds do not wait for bulk logs")

		watch(100*time.Millisecond, func() {})
		most, _ = watch(time.Second, func() {})
		require.Equal(t, 3, most)
		require.NoError(t, f.Close())
	})
}
