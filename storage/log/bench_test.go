package log

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/storage/segment"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

var batchSizes = []int{100, 1 << 10, 16 << 10, 1 << 20}

// sized builds a batch of about size bytes of records of 100 bytes.
func sized(size int, spec record.Spec) record.Batch {
	const each = 100
	return batchOf(max(1, (size-record.HeaderSize)/(each+9)), min(each, size-record.HeaderSize-9), t0.UnixMilli(), spec)
}

func benchLog(b *testing.B, keep int64) *Log {
	cfg := DefaultConfig()
	cfg.MaxMessageBytes = 2 << 20
	cfg.TimestampAfter = 1 << 62
	cfg.RetentionBytes, cfg.DeleteDelay, cfg.SegmentBytes = keep, 0, 256<<20
	fs := vfs.Disk()
	l, err := Create(Options{FS: fs, Dir: fs.PathJoin(b.TempDir(), "t-0"), ID: testTopic, Config: cfg, Files: segment.NewCache(fs, 0)})
	require.NoError(b, err)
	b.Cleanup(func() {
		_, err := l.Close()
		require.NoError(b, err)
	})
	return l
}

// BenchmarkAppend is what a produce request costs in the log: validation, stamping, one write to the page cache. The disk is kept
// from filling by retention now and then, outside of the time.
func BenchmarkAppend(b *testing.B) {
	for _, size := range batchSizes {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			l := benchLog(b, 256<<20)
			batch := sized(size, record.Spec{})
			benchAppend(b, l, batch)
		})
	}
	b.Run("1024/idempotent", func(b *testing.B) {
		l := benchLog(b, 256<<20)
		var run []record.Batch // of one epoch, made outside of the time
		epoch := int16(0)
		b.ReportAllocs()
		for b.Loop() {
			if len(run) == 0 {
				b.StopTimer()
				for seq := int32(0); seq < 4096; {
					batch := sized(1<<10, record.Spec{Producer: &record.Producer{ID: 5, Epoch: epoch, Sequence: seq}})
					run, seq = append(run, batch), seq+batch.NumRecords()
				}
				epoch++
				b.StartTimer()
			}
			benchOne(b, l, run[0])
			run = run[1:]
		}
	})
}

func benchAppend(b *testing.B, l *Log, batch record.Batch) {
	work := bytes.Clone(batch)
	b.SetBytes(int64(len(batch)))
	b.ReportAllocs()
	for b.Loop() {
		copy(work, batch[:record.HeaderSize]) // its offset was stamped
		benchOne(b, l, work)
	}
}

func benchOne(b *testing.B, l *Log, batch record.Batch) {
	done, err := l.Append(Append{Batches: batch, Now: t0})
	if err != nil || done.Duplicate {
		b.Fatal(done, err)
	}
	if l.active().Size() < 200<<20 {
		return
	}
	b.StopTimer()
	l.Flushed(l.End())
	require.NoError(b, l.Roll(t0))
	_, err = l.Retain(time.Now())
	require.NoError(b, err)
	b.StartTimer()
}

// BenchmarkRead is a fetch: the tail, where consumers that keep up read; and anywhere, 1 MiB at a time.
func BenchmarkRead(b *testing.B) {
	for _, size := range batchSizes[:3] {
		l := benchLog(b, -1)
		batch := sized(size, record.Spec{})
		for l.SizeBytes() < 32<<20 {
			_, err := l.Append(Append{Batches: bytes.Clone(batch), Now: t0})
			require.NoError(b, err)
		}
		end := l.End()
		n := int64(batch.NumRecords())
		b.Run(fmt.Sprintf("tail/%d", size), func(b *testing.B) {
			b.ReportAllocs()
			for i := int64(0); b.Loop(); i++ {
				readOne(b, l, end-n*(1+i%8), end)
			}
		})
		b.Run(fmt.Sprintf("anywhere/%d", size), func(b *testing.B) {
			b.ReportAllocs()
			from := int64(0)
			for b.Loop() {
				readOne(b, l, from, end)
				from = (from + 7919*n) % end
			}
		})
	}
}

func readOne(b *testing.B, l *Log, from, end int64) {
	slice, err := l.Read(from, end, 1<<20, true)
	if err != nil || slice.Len == 0 {
		b.Fatal(err, slice.Len)
	}
	slice.Release()
}
