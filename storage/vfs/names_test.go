package vfs_test

import (
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/storage/vfs"
)

func TestWriteFileAtomicSurvivesACutAtEachSyncPoint(t *testing.T) {
	for _, when := range []vfs.When{vfs.BeforeSync, vfs.AfterSync} {
		for n := int64(1); ; n++ {
			c := vfs.NewCrash(1)
			require.NoError(t, vfs.MkdirAllSync(c, "d"))
			require.NoError(t, vfs.WriteFileAtomic(c, "d/f", []byte("old content")))
			before := c.Ops()
			c.CutAt(before+n, when)
			err := vfs.WriteFileAtomic(c, "d/f", []byte("new"))
			if err == nil {
				require.Equal(t, before+n-1, c.Ops())
				break
			}
			require.ErrorIs(t, err, vfs.ErrCut)
			for seed := uint64(0); seed < 50; seed++ {
				data, err := vfs.ReadFile(c.PowerCut(seed), "d/f", 100)
				require.NoError(t, err, "seed %d", seed)
				require.Contains(t, []string{"old content", "new"}, string(data), "seed %d", seed)
			}
		}
	}
}

func TestWriteFileAtomicIsDurableOnceItReturned(t *testing.T) {
	c := vfs.NewCrash(1)
	require.NoError(t, vfs.MkdirAllSync(c, "a/b/c"))
	require.NoError(t, vfs.WriteFileAtomic(c, "a/b/c/f", []byte("x")))
	data, err := vfs.ReadFile(c.PowerCutAll(), "a/b/c/f", 1)
	require.NoError(t, err)
	require.Equal(t, "x", string(data))
}

func TestWriteFileAtomicLeavesTheOldContentAndNoRestWhenTheDiskIsFull(t *testing.T) {
	f := vfs.NewFaults(vfs.NewCrash(1))
	require.NoError(t, vfs.WriteFileAtomic(f, "f", []byte("old")))
	f.FillAfter(2)
	require.Error(t, vfs.WriteFileAtomic(f, "f", []byte("larger")))
	data, err := vfs.ReadFile(f, "f", 10)
	require.NoError(t, err)
	require.Equal(t, "old", string(data))
	names, err := f.List("/")
	require.NoError(t, err)
	require.Equal(t, []string{"f"}, names)
}

func TestMkdirAllSyncWorksOnDiskAndAgain(t *testing.T) {
	d := vfs.Disk()
	dir := filepath.Join(t.TempDir(), "a", "b")
	require.NoError(t, vfs.MkdirAllSync(d, dir))
	require.NoError(t, vfs.MkdirAllSync(d, dir))
	require.NoError(t, vfs.WriteFileAtomic(d, filepath.Join(dir, "f"), []byte("1")))
	require.Error(t, vfs.MkdirAllSync(d, filepath.Join(dir, "f", "g")))
}

func TestReadFileRefusesMoreThanAllowed(t *testing.T) {
	c := vfs.NewCrash(1)
	require.NoError(t, vfs.WriteFileAtomic(c, "f", make([]byte, 11)))
	_, err := vfs.ReadFile(c, "f", 10)
	require.ErrorIs(t, err, vfs.ErrTooLarge)
	_, err = vfs.ReadFile(c, "missing", 10)
	require.ErrorIs(t, err, fs.ErrNotExist)
}
