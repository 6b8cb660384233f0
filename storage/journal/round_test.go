package journal

import (
	"errors"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/tidemark-mq/tidemark/storage/vfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// faulty starts a world whose file operations can be held up or made to fail.
func faulty(t *testing.T, logs int) (*world, *vfs.Faults) {
	faults := vfs.NewFaults(vfs.NewCrash(1))
	w := newWorld(t, faults, logs, small())
	require.NoError(t, w.start())
	t.Cleanup(func() { _ = w.f.Close() })
	synctest.Wait()
	return w, faults
}

func acked(l *testLog) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acked
}

func TestNothingIsFlushedWhileTheJournalsSyncIsBlocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, faults := faulty(t, 2)
		trap := vfs.NewTrap()
		t.Cleanup(trap.Release)
		rule := faults.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpSync}, Path: "*.journal", Hold: trap})
		require.NoError(t, appendTo(0, 100)(w))
		<-trap.Reached()
		require.NoError(t, appendTo(1, 100)(w))
		require.NoError(t, later(10*time.Second)(w)) // before checkpoints come due
		require.Zero(t, acked(w.logs[0]))
		require.Zero(t, w.logs[0].s.FlushedEnd())
		rule.Remove()
		trap.Release()
		synctest.Wait()
		require.EqualValues(t, 1, acked(w.logs[0]))
		require.EqualValues(t, 1, acked(w.logs[1]), "what collected meanwhile went in the next round")
	})
}

func TestNothingIsFlushedWhileItsOwnSyncIsBlocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, faults := faulty(t, 2)
		trap := vfs.NewTrap()
		t.Cleanup(trap.Release)
		rule := faults.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpSync}, Path: "log-0", Hold: trap})
		require.NoError(t, appendTo(0, 9000)(w))
		<-trap.Reached()
		require.NoError(t, appendTo(0, 10)(w))
		require.NoError(t, appendTo(1, 10)(w))
		require.NoError(t, later(10*time.Second)(w)) // before checkpoints come due
		require.Zero(t, acked(w.logs[0]), "the small append lies above the one under way")
		require.EqualValues(t, 1, acked(w.logs[1]), "other logs are not held up")
		rule.Remove()
		trap.Release()
		synctest.Wait()
		require.EqualValues(t, 2, acked(w.logs[0]))
	})
}

// TestSmallAppendsReturnToTheJournal: a log leaves its own syncs as soon as little comes in during one.
func TestSmallAppendsReturnToTheJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, faults := faulty(t, 1)
		require.NoError(t, appendTo(0, 9000)(w))
		synctest.Wait()
		own := faults.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpSync}, Path: "log-0", Err: syscall.EIO})
		for range 5 {
			require.NoError(t, appendTo(0, 100)(w))
			synctest.Wait()
		}
		require.EqualValues(t, 6, acked(w.logs[0]))
		require.Zero(t, own.Hits())
	})
}

// TestBackPressure: a round never collects more than its bound; what does not fit is synced by its own log.
func TestBackPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, faults := faulty(t, 40)
		trap := vfs.NewTrap()
		t.Cleanup(trap.Release)
		rule := faults.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpSync}, Path: "*.journal", Hold: trap})
		require.NoError(t, appendTo(0, 10)(w))
		<-trap.Reached()
		for i := range w.logs {
			require.NoError(t, appendTo(i, 4000)(w))
		}
		w.f.mu.Lock()
		collected := len(w.f.cur.buf)
		w.f.mu.Unlock()
		require.LessOrEqual(t, collected, w.f.opt.MaxRoundBytes)
		rule.Remove()
		trap.Release()
		synctest.Wait()
		for _, l := range w.logs {
			require.Equal(t, l.end(), acked(l))
		}
	})
}

// TestFullJournalWaitsForCheckpoints: with all files in need of a checkpoint, rounds wait for it, and nothing is lost or stuck.
func TestFullJournalWaitsForCheckpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, faults := faulty(t, 3)
		trap := vfs.NewTrap()
		t.Cleanup(trap.Release)
		rule := faults.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpSync}, Path: "log-*", Hold: trap})
		for range 200 {
			for i := range w.logs {
				require.NoError(t, appendTo(i, 700)(w))
			}
			synctest.Wait()
		}
		require.Less(t, acked(w.logs[0]), w.logs[0].end(), "the journal is full")
		total := int64(0)
		names, err := w.fs.List(w.opt.Dir)
		require.NoError(t, err)
		for _, name := range names {
			info, err := w.fs.Stat(w.fs.PathJoin(w.opt.Dir, name))
			require.NoError(t, err)
			total += info.Size()
		}
		require.LessOrEqual(t, total, w.opt.MaxBytes)
		rule.Remove()
		trap.Release()
		require.NoError(t, later(time.Second)(w))
		for _, l := range w.logs {
			require.Equal(t, l.end(), acked(l))
		}
	})
}

func TestAFailedSyncEndsEverything(t *testing.T) {
	for name, path := range map[string]string{"of the journal": "*.journal", "of a log": "log-0"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, faults := faulty(t, 2)
				rule := faults.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpSync}, Path: path, Err: syscall.EIO, Once: true})
				require.NoError(t, appendTo(0, 9000)(w))
				require.NoError(t, appendTo(1, 10)(w))
				<-w.f.Failed()
				synctest.Wait()
				require.ErrorIs(t, w.f.Err(), ErrFailed)
				require.ErrorIs(t, w.f.Err(), syscall.EIO)
				require.Equal(t, 1, rule.Hits(), "the failed sync is not tried again")
				before := []int64{acked(w.logs[0]), acked(w.logs[1])}
				require.NoError(t, appendTo(0, 10)(w))
				require.NoError(t, appendTo(1, 10)(w))
				require.NoError(t, later(time.Minute)(w))
				require.Equal(t, before, []int64{acked(w.logs[0]), acked(w.logs[1])})
				require.ErrorIs(t, w.logs[1].s.Void(0, func() error { return nil }), ErrFailed)
			})
		})
	}
}

func TestPrecedingWorkComesBeforeTheAcknowledgement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := faulty(t, 2)
		ran, hold := 0, make(chan struct{})
		w.f.Precede(func() error { ran++; <-hold; return nil })
		require.NoError(t, appendTo(0, 10)(w))
		require.NoError(t, appendTo(1, 9000)(w))
		synctest.Wait()
		require.Equal(t, 1, ran)
		require.Zero(t, acked(w.logs[0]))
		require.Zero(t, acked(w.logs[1]))
		close(hold)
		synctest.Wait()
		require.EqualValues(t, 1, acked(w.logs[0]))
		require.EqualValues(t, 1, acked(w.logs[1]))
		require.Equal(t, 1, ran)

		broken := errors.New("broken")
		w.f.Precede(func() error { return broken })
		require.NoError(t, appendTo(0, 10)(w))
		require.NoError(t, appendTo(1, 9000)(w))
		<-w.f.Failed()
		synctest.Wait()
		require.ErrorIs(t, w.f.Err(), broken)
		require.EqualValues(t, 1, acked(w.logs[1]))
	})
}

// TestPageCacheLogs: without flushing nothing is journaled, and the flushed end follows the checkpoints.
func TestPageCacheLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, faults := faulty(t, 1)
		written := faults.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpWrite}, Path: "*.journal", Err: syscall.EIO})
		w.logs[0].s.SetFlush(false)
		for range 10 {
			require.NoError(t, appendTo(0, 100)(w))
		}
		require.NoError(t, later(time.Second)(w))
		require.Zero(t, acked(w.logs[0]))
		require.NoError(t, later(2*time.Minute)(w))
		require.EqualValues(t, 10, acked(w.logs[0]))
		require.EqualValues(t, 10, w.points["data/log-0"])
		require.Zero(t, written.Hits())
	})
}

// TestCallbacksDoNotHoldUpTheDisk: while one log's callback takes its time, other logs are written and told.
func TestCallbacksDoNotHoldUpTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewCrash(1)
		f, err := Start(Options{FS: disk, Dir: "journal", Record: func([]Point) error { return nil }})
		require.NoError(t, err)
		hold := make(chan struct{})
		slow, quick := &callback{told: func(int64) { <-hold }}, &callback{told: func(int64) {}}
		a, b := f.Open(Key{Partition: 0}, slow, 0), f.Open(Key{Partition: 1}, quick, 0)
		a.Appended(0, 1, 0, []byte("one"))
		synctest.Wait()
		for i := range int64(3) {
			b.Appended(i, i+1, 0, []byte("two"))
			a.Appended(i+1, i+2, 0, []byte("more"))
			synctest.Wait()
			require.Equal(t, i+1, quick.last)
		}
		require.Zero(t, slow.calls, "still in its first call")
		close(hold)
		synctest.Wait()
		require.EqualValues(t, 4, slow.last)
		require.NoError(t, f.Close())
	})
}

// callback is a Syncer without files.
type callback struct {
	told  func(end int64)
	last  int64
	calls int
}

func (c *callback) Sync(int64) error { return nil }
func (c *callback) Flushed(end int64) {
	c.told(end)
	c.last = end
	c.calls++
}
