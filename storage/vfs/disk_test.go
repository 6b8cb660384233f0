package vfs_test

import (
	"bytes"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/storage/vfs"
)

func TestWriteVWritesMoreBuffersThanOneCallTakes(t *testing.T) {
	d := vfs.Disk()
	name := filepath.Join(t.TempDir(), "f")
	f := open(t, d, name)
	defer f.Close()
	var bufs [][]byte
	var want []byte
	for i := range 3000 {
		b := bytes.Repeat([]byte{byte(i)}, i%7) // some are empty
		bufs, want = append(bufs, b), append(want, b...)
	}
	n, err := vfs.WriteV(f, bufs, 5)
	require.NoError(t, err)
	require.EqualValues(t, len(want), n)
	require.NoError(t, f.SyncData())
	require.Equal(t, "\x00\x00\x00\x00\x00"+string(want), content(t, d, name))
}

func TestPreallocateKeepsTheSize(t *testing.T) {
	for name, fs := range map[string]vfs.FS{filepath.Join(t.TempDir(), "f"): vfs.Disk(), "f": vfs.NewCrash(1)} {
		f := open(t, fs, name)
		require.NoError(t, f.Preallocate(0, 1<<20))
		info, err := f.Stat()
		require.NoError(t, err)
		require.Zero(t, info.Size())
		require.NoError(t, f.Close())
	}
}

func BenchmarkDiskWriteAt(b *testing.B) {
	f := open(b, vfs.Disk(), filepath.Join(b.TempDir(), "f"))
	defer f.Close()
	p := make([]byte, 1100)
	b.ReportAllocs()
	b.SetBytes(int64(len(p)))
	for i := 0; b.Loop(); i++ {
		if _, err := f.WriteAt(p, int64(i%1000)*1100); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDiskWriteV(b *testing.B) {
	for _, count := range []int{2, 16, 256} {
		b.Run(fmt.Sprint("buffers=", count), func(b *testing.B) {
			f := open(b, vfs.Disk(), filepath.Join(b.TempDir(), "f"))
			defer f.Close()
			bufs := make([][]byte, count)
			for i := range bufs {
				bufs[i] = make([]byte, 1100)
			}
			b.ReportAllocs()
			b.SetBytes(int64(1100 * count))
			for b.Loop() {
				if _, err := vfs.WriteV(f, bufs, 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
