package journal

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// benchLog is a real segment of its own, written as a log would.
type benchLog struct {
	file vfs.File
	s    *Stream
	pos  int64
	end  int64
	told chan int64
}

func (l *benchLog) Sync(int64) error  { return l.file.SyncData() }
func (l *benchLog) Flushed(end int64) { l.told <- end }

func (l *benchLog) append(b *testing.B, batch []byte) {
	_, err := l.file.WriteAt(batch, l.pos)
	require.NoError(b, err)
	l.pos += int64(len(batch))
	l.end++
	l.s.Appended(l.end-1, l.end, 0, batch)
}

func benchFlusher(b *testing.B, logs int) (*Flusher, []*benchLog) {
	dir := b.TempDir()
	fs := vfs.Disk()
	f, err := Start(Options{FS: fs, Dir: fs.PathJoin(dir, "journal"), Record: func([]Point) error { return nil }})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, f.Close()) })
	all := make([]*benchLog, logs)
	for i := range all {
		file, err := fs.OpenReadWrite(fs.PathJoin(dir, fmt.Sprint(i)), vfs.Unspecified)
		require.NoError(b, err)
		b.Cleanup(func() { _ = file.Close() })
		all[i] = &benchLog{file: file, told: make(chan int64, 64)}
		all[i].s = f.Open(Key{Partition: int32(i)}, all[i], 0)
	}
	return f, all
}

// BenchmarkRound is one append of 1,100 bytes to each of n logs and the wait until all are durable.
func BenchmarkRound(b *testing.B) {
	batch := make([]byte, 1100)
	for _, n := range []int{1, 6, 100, 1000} {
		b.Run(fmt.Sprintf("logs=%d", n), func(b *testing.B) {
			_, logs := benchFlusher(b, n)
			b.SetBytes(int64(n * len(batch)))
			b.ReportAllocs()
			for b.Loop() {
				for _, l := range logs {
					l.append(b, batch)
				}
				for _, l := range logs {
					for <-l.told < l.end {
					}
				}
			}
		})
	}
}

// BenchmarkLone is the way of a lone append of 1 KiB from Appended to Flushed, and what of it is the write and sync themselves.
func BenchmarkLone(b *testing.B) {
	batch := make([]byte, 1024)
	b.Run("journal", func(b *testing.B) {
		_, logs := benchFlusher(b, 1)
		l := logs[0]
		b.ReportAllocs()
		for b.Loop() {
			l.end++
			l.s.Appended(l.end-1, l.end, 0, batch)
			<-l.told
		}
	})
	b.Run("bare", func(b *testing.B) {
		f, _ := benchFlusher(b, 1)
		fl, err := openFiles(f.opt, 1)
		require.NoError(b, err)
		frame := make([]byte, frameHeaderBytes+entryHeaderBytes+len(batch), 2*blockBytes)
		for b.Loop() {
			if fl.pos+blockBytes > fl.cur.size {
				fl.pos = blockBytes
			}
			if _, err := fl.put(frame, 0, 1); err != nil {
				b.Fatal(err)
			}
		}
		require.NoError(b, fl.close())
	})
}

// BenchmarkAppended is the cost of Appended itself, which the log pays under its append lock: 100 appends, then the wait for
// their round, which is not counted.
func BenchmarkAppended(b *testing.B) {
	disk := vfs.NewCrash(1)
	f, err := Start(Options{FS: disk, Dir: "journal", Record: func([]Point) error { return nil }})
	require.NoError(b, err)
	defer func() { require.NoError(b, f.Close()) }()
	told := make(chan int64, 128)
	s := f.Open(Key{}, &callback{told: func(end int64) { told <- end }}, 0)
	batch := make([]byte, 1024)
	b.SetBytes(int64(len(batch)))
	b.ReportAllocs()
	for end := int64(0); end < int64(b.N); end++ {
		s.Appended(end, end+1, 0, batch)
		if end%100 == 99 {
			b.StopTimer()
			for <-told <= end {
			}
			b.StartTimer()
		}
	}
}

// BenchmarkProducers is n synchronous producers, each on its own log: time per append.
func BenchmarkProducers(b *testing.B) {
	batch := make([]byte, 1024)
	for _, n := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("producers=%d", n), func(b *testing.B) {
			_, logs := benchFlusher(b, n)
			var wg sync.WaitGroup
			began := time.Now()
			for i, l := range logs {
				wg.Go(func() {
					for k := i; k < b.N; k += n {
						l.append(b, batch)
						for <-l.told < l.end {
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "appends/s")
		})
	}
}
