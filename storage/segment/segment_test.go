package segment

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// batch builds one of n records at an offset, the first one at time ms.
func batch(base int64, n, size int, ms int64) record.Batch {
	var b record.Builder
	b.Reset(record.Spec{BaseOffset: base})
	for i := range n {
		b.Append(ms+int64(i), []byte("k"), bytes.Repeat([]byte{'v'}, size))
	}
	out, err := b.Build()
	if err != nil {
		panic(err)
	}
	return bytes.Clone(out)
}

// filled is a segment of base 1000 with batches of two records, 10 ms apart, and those batches.
func filled(t testing.TB, c *Cache, n int) (*Segment, []record.Batch) {
	s, err := Create(c, ".", 1000, 5, "")
	require.NoError(t, err)
	var batches []record.Batch
	for i := range n {
		b := batch(1000+int64(2*i), 2, 40+i%30, int64(100+10*i))
		require.NoError(t, s.Append(b, 500))
		batches = append(batches, b)
	}
	return s, batches
}

// sameAs checks that the segment finds every batch, by offset and by time.
func sameAs(t *testing.T, s *Segment, batches []record.Batch) {
	t.Helper()
	pos := int64(0)
	end := s.Next()
	for _, b := range batches {
		for offset := b.BaseOffset(); offset <= b.LastOffset(); offset++ {
			span, err := s.Range(offset, end, 1, true)
			require.NoError(t, err)
			require.Equal(t, Span{Pos: pos, Len: len(b), Next: b.NextOffset()}, span)
			found, ok, err := s.FindTime(b.BaseTimestamp()+offset-b.BaseOffset(), 0, 0)
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, Timed{b.BaseTimestamp() + offset - b.BaseOffset(), offset}, found)
		}
		pos += int64(len(b))
	}
	require.Equal(t, pos, s.Size())
	found, ok, err := s.FindMaxTime(0)
	require.NoError(t, err)
	require.Equal(t, len(batches) > 0, ok)
	if ok {
		require.Equal(t, batches[len(batches)-1].LastOffset(), found.Offset)
	}
}

// However a segment comes to be known, it is the same one.
func TestSegmentIsFoundAgain(t *testing.T) {
	disk := vfs.NewCrash(1)
	c := NewCache(disk, 4)
	s, batches := filled(t, c, 60)
	sameAs(t, s, batches)
	require.NoError(t, s.Seal())
	sameAs(t, s, batches)
	want := s.Meta()
	require.Equal(t, int64(100+1), want.FirstTime)
	require.Greater(t, want.OffsetEntries, 8)

	sameAs(t, Restore(c, ".", want, ""), batches)
	sealed, err := OpenSealed(c, ".", 1000, 5, "")
	require.NoError(t, err)
	require.Equal(t, want, sealed.Meta())
	sameAs(t, sealed, batches)

	loaded, bad, err := Load(c, ".", 1000, 5, 500, "", Scan{Contiguous: true})
	require.NoError(t, err)
	require.Nil(t, bad)
	require.NoError(t, loaded.Seal())
	require.Equal(t, want, loaded.Meta())
	sameAs(t, loaded, batches)

	// Without its indexes, and with those of another length.
	require.NoError(t, disk.Remove(Name(1000, IndexExt)))
	_, err = OpenSealed(c, ".", 1000, 5, "")
	require.ErrorIs(t, err, ErrIndex)
	sameAs(t, Restore(c, ".", want, ""), batches)
	require.NoError(t, disk.Truncate(Name(1000, TimeExt), 13))
	_, err = OpenSealed(c, ".", 1000, 5, "")
	require.ErrorIs(t, err, ErrIndex)
	sameAs(t, Restore(c, ".", want, ""), batches)
}

// A large index goes to disk piece by piece, and what is on disk and in memory is searched as one.
func TestIndexSpills(t *testing.T) {
	c := NewCache(vfs.NewCrash(1), 4)
	s, err := Create(c, ".", 0, 0, "")
	require.NoError(t, err)
	var run []byte
	const n = spillBytes/offsetEntrySize + 500
	for i := range int64(n) {
		run = append(run, batch(i, 1, 1, i)...)
	}
	each := len(run) / n
	for at := 0; at < len(run); at += 50 * each {
		require.NoError(t, s.Append(run[at:min(len(run), at+50*each)], 1))
	}
	require.Positive(t, s.offsets.disk)
	require.Less(t, len(s.offsets.tail), spillBytes)
	for offset := int64(0); offset < n; offset += 97 {
		span, err := s.Range(offset, n, each, true)
		require.NoError(t, err)
		require.Equal(t, Span{Pos: offset * int64(each), Len: each, Next: offset + 1}, span)
	}
}

func TestTruncateSegment(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 40 {
		c := NewCache(vfs.NewCrash(1), 4)
		s, batches := filled(t, c, 60)
		if rng.IntN(2) == 0 {
			require.NoError(t, s.Seal())
		}
		to := 1000 + rng.Int64N(122)
		pos, next, err := s.CutPoint(to)
		require.NoError(t, err)
		require.NoError(t, s.TruncateAt(pos, next))
		keep := int(to-1000) / 2
		batches = batches[:keep]
		require.Equal(t, min(to, 1000+int64(2*keep)), s.Next())
		sameAs(t, s, batches)
		for i := range 20 {
			b := batch(s.Next(), 2, 10, int64(5000+10*i))
			require.NoError(t, s.Append(b, 500))
			batches = append(batches, b)
		}
		require.NoError(t, s.Seal())
		sameAs(t, s, batches)
		sealed, err := OpenSealed(c, ".", 1000, 5, "")
		require.NoError(t, err)
		require.Equal(t, s.Meta(), sealed.Meta())
	}
}

// Load ends at the batch in which a bit is flipped, wherever it is, save in the leader epoch, which nothing here can judge.
func TestLoadFindsEveryFlippedBit(t *testing.T) {
	disk := vfs.NewCrash(1)
	c := NewCache(disk, 4)
	_, batches := filled(t, c, 4)
	data, err := vfs.ReadFile(disk, Name(1000, LogExt), 1<<20)
	require.NoError(t, err)
	end := int64(0)
	for i, b := range batches {
		for at := end; at < end+int64(len(b)); at++ {
			if in := at - end; in >= 12 && in < 16 {
				continue
			}
			for _, bit := range []byte{1, 128} {
				bent := bytes.Clone(data)
				bent[at] ^= bit
				_, bad := loadBytes(t, bent)
				require.NotNil(t, bad, "byte %d", at)
				require.Equal(t, [2]int64{end, 1000 + int64(2*i)}, [2]int64{bad.Position, bad.Offset}, "byte %d: %v", at, bad)
			}
		}
		end += int64(len(b))
	}
}

// loadBytes loads a log file of base 1000 with that content.
func loadBytes(t testing.TB, data []byte) (*Segment, *CorruptError) {
	disk := vfs.NewCrash(1)
	require.NoError(t, vfs.WriteFileAtomic(disk, Name(1000, LogExt), data))
	s, bad, err := Load(NewCache(disk, 4), ".", 1000, 0, 100, "", Scan{Contiguous: true})
	require.NoError(t, err)
	return s, bad
}

func TestRenameAndRemove(t *testing.T) {
	disk := vfs.NewCrash(1)
	c := NewCache(disk, 4)
	s, batches := filled(t, c, 20)
	require.NoError(t, s.Seal())
	require.NoError(t, s.AppendAborted(AbortedTxn{LastOffset: 1001}))
	for _, suffix := range []string{SwapSuffix, "", DeletedSuffix} {
		require.NoError(t, s.Rename(suffix))
		names, err := disk.List(".")
		require.NoError(t, err)
		want := []string{}
		for _, ext := range []string{LogExt, IndexExt, TimeExt, TxnExt} {
			want = append(want, Name(1000, ext)+suffix)
		}
		require.ElementsMatch(t, want, names)
		sameAs(t, s, batches)
		require.NoError(t, s.Aborted(func(a AbortedTxn) bool { require.Equal(t, int64(1001), a.LastOffset); return true }))
	}
	require.NoError(t, s.Remove())
	names, err := disk.List(".")
	require.NoError(t, err)
	require.Empty(t, names)
	require.NoError(t, s.Remove(), "again, as after a crash")
}

// The index of aborted transactions is found while the segment is being renamed: compaction does so under readers.
func TestAbortedDuringARename(t *testing.T) {
	faults := vfs.NewFaults(vfs.NewCrash(1))
	s, _ := filled(t, NewCache(faults, 4), 3)
	require.NoError(t, s.AppendAborted(AbortedTxn{LastOffset: 1001}))
	trap := vfs.NewTrap()
	faults.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpRename}, Path: "*.log", Hold: trap})
	done := make(chan error)
	go func() { done <- s.Rename(SwapSuffix) }()
	<-trap.Reached()
	found := 0
	err := s.Aborted(func(AbortedTxn) bool { found++; return true })
	trap.Release()
	require.NoError(t, <-done)
	require.NoError(t, err)
	require.Equal(t, 1, found)
}

func BenchmarkRange(b *testing.B) {
	c := NewCache(vfs.Disk(), 4)
	s, err := Create(c, b.TempDir(), 0, 0, "")
	require.NoError(b, err)
	var run []byte
	for i := range int64(100_000) {
		run = append(run, batch(i, 1, 100, i)...)
		if len(run) > 1<<20 {
			require.NoError(b, s.Append(run, 4096))
			run = run[:0]
		}
	}
	require.NoError(b, s.Seal())
	for _, maxBytes := range []int{1, 1 << 20} {
		b.Run(fmt.Sprint(maxBytes), func(b *testing.B) {
			b.ReportAllocs()
			for i := int64(0); b.Loop(); i++ {
				if span, err := s.Range(i*7919%90_000, s.Next(), maxBytes, true); err != nil || span.Len == 0 {
					b.Fatal(span, err)
				}
			}
		})
	}
}
