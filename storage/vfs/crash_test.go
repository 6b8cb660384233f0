package vfs_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/storage/vfs"
)

const seeds = 400 // power cuts tried where a test asks for what can happen

func open(t testing.TB, c vfs.FS, name string) vfs.File {
	t.Helper()
	f, err := c.OpenReadWrite(name, vfs.Unspecified)
	require.NoError(t, err)
	return f
}

// file makes a file that is durable with the given content and answers it open.
func file(t testing.TB, c vfs.FS, name, content string) vfs.File {
	t.Helper()
	f := open(t, c, name)
	writeAt(t, f, content, 0)
	require.NoError(t, f.Sync())
	require.NoError(t, vfs.SyncDir(c, c.PathDir(name)))
	return f
}

func writeAt(t testing.TB, f vfs.File, s string, off int64) {
	t.Helper()
	_, err := f.WriteAt([]byte(s), off)
	require.NoError(t, err)
}

func content(t testing.TB, c vfs.FS, name string) string {
	t.Helper()
	data, err := vfs.ReadFile(c, name, 1<<20)
	require.NoError(t, err)
	return string(data)
}

// tree answers the names and contents of a flat directory.
func tree(t testing.TB, c vfs.FS) string {
	t.Helper()
	names, err := c.List("/")
	require.NoError(t, err)
	slices.Sort(names)
	for i, name := range names {
		names[i] += "=" + content(t, c, name)
	}
	return strings.Join(names, " ")
}

// outcomes answers what was found after power cuts with many seeds.
func outcomes(c *vfs.Crash, look func(*vfs.Crash) string) map[string]bool {
	found := map[string]bool{}
	for seed := uint64(0); seed < seeds; seed++ {
		found[look(c.PowerCut(seed))] = true
	}
	return found
}

func only(want ...string) map[string]bool {
	m := map[string]bool{}
	for _, w := range want {
		m[w] = true
	}
	return m
}

func TestOnlyWhatWasSyncedIsSureToSurvive(t *testing.T) {
	c := vfs.NewCrash(1)
	f := file(t, c, "f", "synced")
	writeAt(t, f, "-more", 6)
	require.Equal(t, "f=synced", tree(t, c.PowerCutAll()))
	require.Equal(t, "f=synced-more", tree(t, c.PowerCutNone()))
	require.Equal(t, "f=synced-more", tree(t, c.Kill()))
	require.NoError(t, f.SyncData())
	require.Equal(t, "f=synced-more", tree(t, c.PowerCutAll()))
}

func TestSyncToPromisesNothing(t *testing.T) {
	c := vfs.NewCrash(1)
	f := file(t, c, "f", "a")
	writeAt(t, f, "b", 0)
	full, err := f.SyncTo(1)
	require.NoError(t, err)
	require.False(t, full)
	require.Equal(t, "f=a", tree(t, c.PowerCutAll()))
}

func TestASyncedFileWithoutDirectorySyncMayLoseItsName(t *testing.T) {
	c := vfs.NewCrash(1)
	f := open(t, c, "f")
	writeAt(t, f, "x", 0)
	require.NoError(t, f.Sync())
	require.Equal(t, only("", "f=x"), outcomes(c, func(c *vfs.Crash) string { return tree(t, c) }))
	require.NoError(t, vfs.SyncDir(c, "/"))
	require.Equal(t, "f=x", tree(t, c.PowerCutAll()))
}

func TestALostDirectoryTakesSyncedFilesWithIt(t *testing.T) {
	c := vfs.NewCrash(1)
	require.NoError(t, c.MkdirAll("a/b", 0o755))
	file(t, c, "a/b/f", "x")
	_, err := c.PowerCutAll().Stat("a")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, vfs.SyncDir(c, "a"))
	require.NoError(t, vfs.SyncDir(c, "/"))
	require.Equal(t, "x", content(t, c.PowerCutAll(), "a/b/f"))
}

func TestAWriteIsTornOnlyBetweenSectors(t *testing.T) {
	c := vfs.NewCrash(1)
	f := file(t, c, "f", strings.Repeat("a", 4*512))
	writeAt(t, f, strings.Repeat("b", 4*512), 0)
	found := outcomes(c, func(c *vfs.Crash) string {
		s := content(t, c, "f")
		require.Len(t, s, 4*512)
		kinds := ""
		for i := 0; i < len(s); i += 512 {
			require.Equal(t, strings.Repeat(s[i:i+1], 512), s[i:i+512])
			kinds += s[i : i+1]
		}
		return kinds
	})
	require.Len(t, found, 16, "each sector on its own")
}

func TestLaterWritesMaySurviveEarlierOnes(t *testing.T) {
	c := vfs.NewCrash(1)
	f := file(t, c, "f", strings.Repeat(".", 2048))
	writeAt(t, f, "1", 0)
	writeAt(t, f, "2", 1024)
	writeAt(t, f, "3", 1)
	found := outcomes(c, func(c *vfs.Crash) string {
		s := content(t, c, "f")
		return s[:2] + s[1024:1025]
	})
	// Within a sector the order holds, between sectors it does not.
	require.Equal(t, only("...", "1..", "..2", "1.2", "13.", "132"), found)
}

func TestAnAppendMayLeaveLengthWithoutBytes(t *testing.T) {
	c := vfs.NewCrash(1)
	f := file(t, c, "f", "head")
	writeAt(t, f, strings.Repeat("x", 2000), 4)
	found := outcomes(c, func(c *vfs.Crash) string {
		s := content(t, c, "f")
		require.Equal(t, "head", s[:4])
		require.Empty(t, strings.Trim(s[4:], "x\x00"))
		switch {
		case len(s) == 4:
			return "lost"
		case strings.Contains(s, "\x00"):
			return "hole"
		case len(s) < 2004:
			return "part"
		}
		return "whole"
	})
	require.Equal(t, only("lost", "hole", "part", "whole"), found)
}

func TestARenameIsKeptOrLostWhole(t *testing.T) {
	c := vfs.NewCrash(1)
	file(t, c, "new", "2")
	file(t, c, "old", "1")
	require.NoError(t, c.Rename("new", "old"))
	look := func(c *vfs.Crash) string { return tree(t, c) }
	require.Equal(t, only("new=2 old=1", "old=2"), outcomes(c, look))
	require.NoError(t, vfs.SyncDir(c, "/"))
	require.Equal(t, only("old=2"), outcomes(c, look))
}

func TestARenameBetweenDirectoriesNeedsOneSyncAndOverridesWhatWasThere(t *testing.T) {
	c := vfs.NewCrash(1)
	require.NoError(t, vfs.MkdirAllSync(c, "a"))
	require.NoError(t, vfs.MkdirAllSync(c, "b"))
	file(t, c, "a/f", "new")
	open(t, c, "b/f") // its name is not synced when the rename's is
	require.NoError(t, c.Rename("a/f", "b/f"))
	require.NoError(t, vfs.SyncDir(c, "a"))
	found := outcomes(c, func(c *vfs.Crash) string {
		_, err := c.Stat("a/f")
		require.ErrorIs(t, err, fs.ErrNotExist)
		return content(t, c, "b/f")
	})
	require.Equal(t, only("new"), found)
}

func TestNameOperationsAreLostIndependently(t *testing.T) {
	c := vfs.NewCrash(1)
	file(t, c, "a", "1")
	file(t, c, "b", "2")
	require.NoError(t, c.Remove("a"))
	require.NoError(t, c.Link("b", "c"))
	found := outcomes(c, func(c *vfs.Crash) string { return tree(t, c) })
	require.Equal(t, only("a=1 b=2", "b=2", "a=1 b=2 c=2", "b=2 c=2"), found)
}

func TestBytesCutByADurableTruncationStayCut(t *testing.T) {
	c := vfs.NewCrash(1)
	f := file(t, c, "f", strings.Repeat("a", 3000))
	require.NoError(t, c.Truncate("f", 1024))
	require.Equal(t, 3000, len(content(t, c.PowerCutAll(), "f")))
	require.NoError(t, f.Sync())
	writeAt(t, f, "b", 2048)
	outcomes(c, func(c *vfs.Crash) string {
		s := content(t, c, "f")
		require.Equal(t, 1024, strings.Count(s, "a"))
		return ""
	})
}

func TestBytesWrittenAfterATruncationDoNotArriveWithoutIt(t *testing.T) {
	c := vfs.NewCrash(1)
	f := file(t, c, "f", strings.Repeat("a", 1024))
	require.NoError(t, c.Truncate("f", 0))
	writeAt(t, f, strings.Repeat("b", 1024), 0)
	found := outcomes(c, func(c *vfs.Crash) string {
		s := content(t, c, "f")
		if strings.Contains(s, "a") {
			require.Equal(t, strings.Repeat("a", 1024), s)
			return "old"
		}
		return "cut"
	})
	require.Equal(t, only("old", "cut"), found)
}

func TestAKilledProcessLeavesUnsyncedBytesThatAPowerCutStillTakes(t *testing.T) {
	c := vfs.NewCrash(1)
	f := file(t, c, "f", "1")
	writeAt(t, f, "2", 0)
	require.NoError(t, c.Rename("f", "g"))
	k := c.Kill()
	require.Equal(t, "g=2", tree(t, k))
	require.Equal(t, "f=1", tree(t, k.PowerCutAll()))
	// Syncing in the next life is what makes it sure.
	require.NoError(t, open(t, k, "g").Sync())
	require.NoError(t, vfs.SyncDir(k, "/"))
	require.Equal(t, "g=2", tree(t, k.PowerCutAll()))
	require.Equal(t, "f=1", tree(t, c.PowerCutAll()))
}

func TestWhatFollowsACutDoesNotReachTheCopies(t *testing.T) {
	c := vfs.NewCrash(1)
	f := file(t, c, "f", strings.Repeat("1", 5000))
	copies := []*vfs.Crash{c.Kill(), c.PowerCutNone(), c.PowerCutAll(), c.PowerCut(1)}
	writeAt(t, f, "9", 4500)
	require.NoError(t, f.Sync())
	writeAt(t, open(t, copies[0], "f"), "8", 4500)
	for i, want := range []string{"8", "1", "1", "1"} {
		require.Equal(t, want, content(t, copies[i], "f")[4500:4501])
	}
	require.Equal(t, "9", content(t, c, "f")[4500:4501])
}

func TestCutAtEndsEverythingAtThatSyncPoint(t *testing.T) {
	for _, when := range []vfs.When{vfs.BeforeSync, vfs.AfterSync} {
		c := vfs.NewCrash(1)
		f := file(t, c, "f", "1") // two sync points
		c.CutAt(4, when)
		writeAt(t, f, "2", 0)
		require.NoError(t, f.Sync())
		writeAt(t, f, "3", 0)
		require.ErrorIs(t, f.SyncData(), vfs.ErrCut)
		require.True(t, c.IsCut())
		want := map[vfs.When]string{vfs.BeforeSync: "f=2", vfs.AfterSync: "f=3"}[when]
		require.Equal(t, want, tree(t, c.PowerCutAll()))
		require.EqualValues(t, 4, c.Ops())
		requireDead(t, c, f)
	}
}

func requireDead(t *testing.T, c *vfs.Crash, f vfs.File) {
	t.Helper()
	buf := make([]byte, 1)
	_, open := c.Open("f")
	_, create := c.Create("x", vfs.Unspecified)
	_, rw := c.OpenReadWrite("f", vfs.Unspecified)
	_, reuse := c.ReuseForWrite("f", "g", vfs.Unspecified)
	_, list := c.List("/")
	_, stat := c.Stat("f")
	_, lock := c.Lock("l")
	_, usage := c.GetDiskUsage("/")
	_, read := f.Read(buf)
	_, readAt := f.ReadAt(buf, 0)
	_, write := f.Write(buf)
	_, writeAt := f.WriteAt(buf, 0)
	_, syncTo := f.SyncTo(1)
	_, fstat := f.Stat()
	for i, err := range []error{
		open, create, rw, reuse, list, stat, lock, usage, read, readAt, write, writeAt, syncTo, fstat,
		f.Sync(), f.SyncData(), f.Preallocate(0, 1), vfs.DropCache(f),
		c.Remove("f"), c.RemoveAll("f"), c.Rename("f", "g"), c.Link("f", "g"), c.MkdirAll("d", 0o755),
		c.Truncate("f", 0),
	} {
		require.ErrorIs(t, err, vfs.ErrCut, "operation %d", i)
	}
	require.NoError(t, f.Close())
}

func TestLocksEndWithTheProcess(t *testing.T) {
	c := vfs.NewCrash(1)
	l, err := c.Lock("lock")
	require.NoError(t, err)
	_, err = c.Lock("/lock")
	require.Error(t, err)
	for _, next := range []*vfs.Crash{c.Kill(), c.PowerCut(1)} {
		again, err := next.Lock("lock")
		require.NoError(t, err)
		require.NoError(t, again.Close())
	}
	require.NoError(t, l.Close())
	require.NoError(t, l.Close())
	_, err = c.Lock("lock")
	require.NoError(t, err)
}

func TestAnUnlinkedFileStaysReadableThroughItsHandle(t *testing.T) {
	c := vfs.NewCrash(1)
	f := file(t, c, "f", "still here")
	require.NoError(t, c.Remove("f"))
	buf := make([]byte, 20)
	n, _ := f.ReadAt(buf, 0)
	require.Equal(t, "still here", string(buf[:n]))
	writeAt(t, f, "S", 0)
	require.NoError(t, f.Sync())
	require.Equal(t, only("", "f=Still here"), outcomes(c, func(c *vfs.Crash) string { return tree(t, c) }))
}

func TestTheSameSeedGivesTheSameCut(t *testing.T) {
	build := func() *vfs.Crash {
		c := vfs.NewCrash(7)
		for i := range 20 {
			f := open(t, c, fmt.Sprint("f", i%7))
			writeAt(t, f, strings.Repeat(string(rune('a'+i)), 700*i), int64(100*i))
			if i%3 == 0 {
				require.NoError(t, f.Sync())
			}
			if i == 9 {
				require.NoError(t, vfs.SyncDir(c, "/"))
			}
		}
		return c
	}
	a, b := build(), build()
	different := map[string]bool{}
	for seed := uint64(0); seed < 50; seed++ {
		first := tree(t, a.PowerCut(seed))
		require.Equal(t, first, tree(t, b.PowerCut(seed)), "seed %d", seed)
		different[first] = true
	}
	require.Greater(t, len(different), 40)
}

func TestCrashUnderManyGoroutines(t *testing.T) {
	c := vfs.NewCrash(1)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			name := fmt.Sprint("f", g)
			f, err := c.Create(name, vfs.Unspecified)
			for i := int64(0); i < 100 && err == nil; i++ {
				if _, err = f.WriteAt(bytes.Repeat([]byte{byte(i)}, 300), i*300); err == nil && i%10 == 0 {
					err = f.Sync()
				}
				_, _ = f.ReadAt(make([]byte, 100), i)
				_ = vfs.SyncDir(c, "/")
			}
			require.NoError(t, err)
		})
	}
	for seed := uint64(0); seed < 30; seed++ {
		k := c.PowerCut(seed)
		_, err := k.List("/")
		require.NoError(t, err)
		_ = c.Kill().PowerCut(seed)
	}
	wg.Wait()
	require.Len(t, content(t, c, "f3"), 30000)
}

func TestAWildOffsetIsRefused(t *testing.T) {
	f := open(t, vfs.NewCrash(1), "f")
	_, err := f.WriteAt([]byte{1}, 1<<50)
	require.Error(t, err)
	_, err = f.WriteAt([]byte{1}, -1)
	require.Error(t, err)
}

func TestDiskUsageCountsBytes(t *testing.T) {
	c := vfs.NewCrash(1)
	file(t, c, "f", strings.Repeat("x", 1000))
	u, err := c.GetDiskUsage("/")
	require.NoError(t, err)
	require.EqualValues(t, 1000, u.UsedBytes)
	require.Equal(t, u.TotalBytes, u.AvailBytes+u.UsedBytes)
}

func BenchmarkCrashAppendAndSync(b *testing.B) {
	c := vfs.NewCrash(1)
	f := open(b, c, "f")
	p := make([]byte, 1000)
	b.ReportAllocs()
	b.SetBytes(int64(len(p)))
	for i := 0; b.Loop(); i++ {
		if _, err := f.WriteAt(p, int64(i%10000)*1000); err != nil {
			b.Fatal(err)
		}
		if err := f.SyncData(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCrashPowerCut(b *testing.B) {
	c := vfs.NewCrash(1)
	for i := range 20 {
		f := open(b, c, fmt.Sprint("f", i))
		for j := range 50 {
			writeAt(b, f, strings.Repeat("x", 500), int64(j)*500)
			if j == 25 {
				require.NoError(b, f.Sync())
			}
		}
	}
	require.NoError(b, vfs.SyncDir(c, "/"))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		_ = c.PowerCut(uint64(i))
	}
}
