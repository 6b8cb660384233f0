package vfs_test

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/storage/vfs"
)

func TestARuleChoosesByKindPathAndCount(t *testing.T) {
	f := vfs.NewFaults(vfs.NewCrash(1))
	require.NoError(t, vfs.MkdirAllSync(f, "logs/t-0"))
	rule := f.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpSync}, Path: "t-0/*.log", Nth: 2, Err: syscall.EIO})
	log, other := open(t, f, "logs/t-0/1.log"), open(t, f, "logs/t-0/1.index")
	require.NoError(t, log.Sync())
	require.NoError(t, other.Sync())
	require.NoError(t, other.Sync())
	require.ErrorIs(t, log.SyncData(), syscall.EIO)
	require.ErrorIs(t, log.Sync(), syscall.EIO, "a rule goes on")
	require.Equal(t, 2, rule.Hits())
	rule.Remove()
	require.NoError(t, log.Sync())

	once := f.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpRename}, Path: "2.log", Once: true, Err: syscall.ENOSPC})
	require.ErrorIs(t, f.Rename("logs/t-0/1.log", "logs/t-0/2.log"), syscall.ENOSPC)
	require.NoError(t, f.Rename("logs/t-0/1.log", "logs/t-0/2.log"))
	require.Equal(t, 1, once.Hits())

	f.Add(vfs.Rule{Err: syscall.EIO, When: func(op vfs.Op, path string) bool {
		return op == vfs.OpRemove && strings.HasSuffix(path, "index")
	}})
	require.ErrorIs(t, f.Remove("logs/t-0/1.index"), syscall.EIO)
	require.NoError(t, f.Remove("logs/t-0/2.log"))
}

func TestEachKindOfOperationCanFail(t *testing.T) {
	inner := vfs.NewCrash(1)
	file(t, inner, "f", "content")
	f := vfs.NewFaults(inner)
	opened := open(t, f, "f")
	dir, err := f.OpenDir("/")
	require.NoError(t, err)
	rule := f.Add(vfs.Rule{Err: syscall.EIO})
	buf := make([]byte, 1)
	_, create := f.Create("g", vfs.Unspecified)
	_, openErr := f.Open("f")
	_, rw := f.OpenReadWrite("f", vfs.Unspecified)
	_, openDir := f.OpenDir("/")
	_, reuse := f.ReuseForWrite("f", "g", vfs.Unspecified)
	_, lock := f.Lock("l")
	_, list := f.List("/")
	_, stat := f.Stat("f")
	_, read := opened.Read(buf)
	_, readAt := opened.ReadAt(buf, 0)
	_, write := opened.Write(buf)
	_, writeAt := opened.WriteAt(buf, 0)
	all := []error{
		create, openErr, rw, openDir, reuse, lock, list, stat, read, readAt, write, writeAt,
		opened.Sync(), opened.SyncData(), opened.Preallocate(0, 1), dir.Sync(),
		f.Link("f", "g"), f.Remove("f"), f.RemoveAll("f"), f.Rename("f", "g"), f.MkdirAll("d", 0o755),
		f.Truncate("f", 0),
	}
	for i, err := range all {
		require.ErrorIs(t, err, syscall.EIO, "operation %d", i)
	}
	require.Equal(t, len(all), rule.Hits())
	require.NoError(t, opened.Close())
	require.Equal(t, "f=content", tree(t, inner), "nothing was done")
}

func TestAShortWriteLeavesItsStart(t *testing.T) {
	inner := vfs.NewCrash(1)
	f := vfs.NewFaults(inner)
	opened := open(t, f, "f")
	f.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpWrite}, Short: 3, Once: true})
	n, err := opened.Write([]byte("abcdef"))
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.Equal(t, 3, n)
	require.Equal(t, "f=abc", tree(t, inner))
	_, err = opened.Write([]byte("d"))
	require.NoError(t, err)
	require.Equal(t, "f=abcd", tree(t, inner))
}

func TestAFullDiskTakesWhatFitsAndRecovers(t *testing.T) {
	inner := vfs.NewCrash(1)
	f := vfs.NewFaults(inner)
	opened := open(t, f, "f")
	f.FillAfter(5)
	writeAt(t, opened, "abc", 0)
	n, err := opened.WriteAt([]byte("def"), 3)
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.Equal(t, 2, n)
	_, err = opened.WriteAt([]byte("x"), 0)
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NoError(t, opened.Sync(), "what fitted can be synced")
	f.FillAfter(-1)
	writeAt(t, opened, "f", 5)
	require.Equal(t, "f=abcdef", tree(t, inner))
}

func TestAFlippedBitIsOnlyInWhatIsRead(t *testing.T) {
	inner := vfs.NewCrash(1)
	file(t, inner, "f", "aaaa")
	f := vfs.NewFaults(inner)
	f.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpRead}, Corrupt: vfs.FlipBit(2, 1)})
	require.Equal(t, "aaca", content(t, f, "f"))
	opened := open(t, f, "f")
	buf := make([]byte, 2)
	_, err := opened.Read(buf)
	require.NoError(t, err)
	require.Equal(t, "aa", string(buf))
	_, err = opened.Read(buf)
	require.NoError(t, err)
	require.Equal(t, "ca", string(buf))
	require.Equal(t, "aaaa", content(t, inner, "f"))
}

func TestAFailedSyncLosesItsBytesForGood(t *testing.T) {
	inner := vfs.NewCrash(1)
	file(t, inner, "f", "1111")
	f := vfs.NewFaults(inner)
	opened := open(t, f, "f")
	writeAt(t, opened, "22", 0)
	f.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpSync}, Once: true, Err: syscall.EIO})
	require.ErrorIs(t, opened.Sync(), syscall.EIO)
	writeAt(t, opened, "3", 3)
	require.NoError(t, opened.Sync())
	// The cache shows what the disk does not have.
	require.Equal(t, "2213", content(t, f, "f"))
	require.Equal(t, "f=1113", tree(t, inner.PowerCutAll()))
	// The next life reads it the same way until it drops the cache.
	k := inner.Kill()
	again := open(t, k, "f")
	require.Equal(t, "2213", content(t, k, "f"))
	require.NoError(t, vfs.DropCache(again))
	require.Equal(t, "1113", content(t, k, "f"))
}

func TestATrapHoldsAnOperationUntilReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := vfs.NewCrash(1)
		f := vfs.NewFaults(inner)
		opened := open(t, f, "f")
		require.NoError(t, vfs.SyncDir(f, "/"))
		writeAt(t, opened, "x", 0)
		trap := vfs.NewTrap()
		f.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpSync}, Hold: trap})
		var result error
		done := make(chan struct{})
		go func() {
			defer close(done)
			result = opened.SyncData()
		}()
		<-trap.Reached()
		synctest.Wait()
		select {
		case <-done:
			t.Fatal("the sync passed the trap")
		default:
		}
		require.Equal(t, "f=", tree(t, inner.PowerCutAll()))
		trap.Release()
		<-done
		require.NoError(t, result)
		require.Equal(t, "f=x", tree(t, inner.PowerCutAll()))
		require.NoError(t, opened.Sync(), "later ones pass")
	})
}

func TestDiskUsageCanBeMadeUp(t *testing.T) {
	f := vfs.NewFaults(vfs.NewCrash(1))
	f.SetUsage(&vfs.DiskUsage{AvailBytes: 1, TotalBytes: 3, UsedBytes: 2})
	u, err := f.GetDiskUsage("/")
	require.NoError(t, err)
	require.EqualValues(t, 1, u.AvailBytes)
	f.SetUsage(nil)
	u, err = f.GetDiskUsage("/")
	require.NoError(t, err)
	require.Greater(t, u.AvailBytes, uint64(1000))
}

func TestFilesUnderRulesHaveNoDescriptor(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	plain := open(t, vfs.Disk(), name)
	defer plain.Close()
	_, ok := vfs.Fd(plain)
	require.True(t, ok)
	ruled := open(t, vfs.NewFaults(vfs.Disk()), name)
	defer ruled.Close()
	_, ok = vfs.Fd(ruled)
	require.False(t, ok)
}
