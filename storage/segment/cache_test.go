package segment

import (
	"fmt"
	"io/fs"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/storage/vfs"
)

func content(t testing.TB, f *File) string {
	t.Helper()
	file, err := f.Acquire()
	require.NoError(t, err)
	defer f.Release()
	var b [1]byte
	_, err = file.ReadAt(b[:], 0)
	require.NoError(t, err)
	return string(b[:])
}

func files(t testing.TB, c *Cache, n int) []*File {
	list := make([]*File, n)
	for i := range list {
		f, err := c.create(fmt.Sprintf("f%d", i))
		require.NoError(t, err)
		_, err = f.file.WriteAt([]byte{byte('a' + i)}, 0)
		require.NoError(t, err)
		f.Release()
		list[i] = f
	}
	return list
}

func TestCacheKeepsToItsLimit(t *testing.T) {
	c := NewCache(vfs.NewCrash(1), 2)
	list := files(t, c, 4)
	require.Equal(t, 2, c.Open())
	for i, f := range list {
		require.Equal(t, string(rune('a'+i)), content(t, f))
		require.LessOrEqual(t, c.Open(), 2)
	}
	// Files in use are not closed, however many there are.
	for _, f := range list {
		_, err := f.Acquire()
		require.NoError(t, err)
	}
	require.Equal(t, 4, c.Open())
	for _, f := range list {
		f.Release()
	}
	require.Equal(t, 2, c.Open())
	require.NotNil(t, list[3].file, "the least recently used ones go first")
	require.Nil(t, list[0].file)
	require.NoError(t, c.Close())
	require.Zero(t, c.Open())
}

func TestCacheFileOutlivesItsName(t *testing.T) {
	disk := vfs.NewCrash(1)
	c := NewCache(disk, 4)
	f := files(t, c, 1)[0]
	file, err := f.Acquire()
	require.NoError(t, err)
	require.NoError(t, f.Rename("g"))
	require.Equal(t, "g", f.Path())
	require.Equal(t, "a", content(t, f))
	require.NoError(t, disk.Remove("g"))
	f.Forget()
	require.Equal(t, "a", content(t, f))
	require.Equal(t, 1, c.Open())
	var b [1]byte
	_, err = file.ReadAt(b[:], 0)
	require.NoError(t, err)
	f.Release()
	require.Zero(t, c.Open())
	_, err = f.Acquire()
	require.ErrorIs(t, err, fs.ErrNotExist, "a file that is gone is not made again")
}

func TestCacheIsSafeForConcurrentUse(t *testing.T) {
	c := NewCache(vfs.NewCrash(1), 3)
	list := files(t, c, 8)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 500 {
				f := list[(g*3+i)%len(list)]
				file, err := f.Acquire()
				if err != nil {
					t.Error(err)
					return
				}
				var b [1]byte
				if _, err := file.ReadAt(b[:], 0); err != nil || int(b[0]) != 'a'+(g*3+i)%len(list) {
					t.Error(b, err)
				}
				f.Release()
				if i%50 == 0 {
					f.Forget()
				}
			}
		})
	}
	wg.Wait()
	require.LessOrEqual(t, c.Open(), 3)
	require.NoError(t, c.Close())
	require.Zero(t, c.Open())
}
