package segment

import (
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// goodLog is a short log file of base 1000.
func goodLog() []byte {
	var data []byte
	for i := range int64(4) {
		data = append(data, batch(1000+2*i, 2, 5, 100*i)...)
	}
	return data
}

// FuzzLoad: whatever a log file holds, the good part of it is found, can be read, and is all that can be read.
func FuzzLoad(f *testing.F) {
	f.Add(goodLog())
	f.Add(goodLog()[:200])
	f.Add(append(goodLog(), make([]byte, 100)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, bad := loadBytes(t, data)
		m := s.Meta()
		if bad == nil {
			require.Equal(t, int64(len(data)), m.Size)
		} else {
			require.Equal(t, [2]int64{bad.Position, bad.Offset}, [2]int64{m.Size, m.Next})
		}
		rest := data[:m.Size]
		for next := int64(1000); len(rest) > 0; {
			b, more, err := record.First(rest)
			require.NoError(t, err)
			require.NoError(t, b.CheckCRC())
			require.Equal(t, next, b.BaseOffset())
			span, err := s.Range(b.LastOffset(), m.Next, 1, true)
			require.NoError(t, err)
			require.Equal(t, len(b), span.Len)
			next, rest = b.NextOffset(), more
		}
		_, _, err := s.FindTime(0, 0, 1<<20)
		require.False(t, errors.Is(err, ErrCorrupt), err)
	})
}

// FuzzIndexes: whatever index files hold beside a good log file, they are refused, or searches end in the right batch or an error.
func FuzzIndexes(f *testing.F) {
	s, _ := filled(f, NewCache(vfs.NewCrash(1), 4), 4)
	offsets := putOffsetEntry(putOffsetEntry(nil, 3, 82), 7, 246)
	times := putTimeEntry(putTimeEntry(nil, 101, 3), 301, 7)
	require.NoError(f, s.Seal())
	f.Add(offsets, times)
	f.Add([]byte{}, []byte{})
	f.Add(offsets[:8], times[:11])
	f.Fuzz(func(t *testing.T, offsets, times []byte) {
		disk := vfs.NewCrash(1)
		require.NoError(t, vfs.WriteFileAtomic(disk, Name(1000, LogExt), goodLog()))
		require.NoError(t, vfs.WriteFileAtomic(disk, Name(1000, IndexExt), offsets))
		require.NoError(t, vfs.WriteFileAtomic(disk, Name(1000, TimeExt), times))
		s, err := OpenSealed(NewCache(disk, 4), ".", 1000, 0, "")
		if err != nil {
			return
		}
		for offset := int64(1000); offset < 1008; offset++ {
			span, err := s.Range(offset, 1008, 1, true)
			if err != nil || span.Len == 0 {
				continue
			}
			b, _, err := record.First(goodLog()[span.Pos:])
			require.NoError(t, err)
			require.Len(t, b, span.Len)
		}
		_, _, _ = s.FindTime(150, 0, 1<<20)
		_, _, _ = s.FindMaxTime(1 << 20)
		if pos, next, err := s.CutPoint(1003); err == nil {
			_ = s.TruncateAt(pos, next)
		}
	})
}

func FuzzDecodeSnapshot(f *testing.F) {
	producers := sampleProducers()
	f.Add(EncodeSnapshot(3, func(yield func(*Producer) bool) {
		for i := range producers {
			yield(&producers[i])
		}
	}))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := DecodeSnapshot(data)
		if err != nil {
			require.True(t, errors.Is(err, ErrSideFile) || errors.Is(err, ErrNewerVersion))
			return
		}
		pointers := make([]*Producer, len(list))
		for i := range list {
			pointers[i] = &list[i]
		}
		again, err := DecodeSnapshot(EncodeSnapshot(len(list), slices.Values(pointers)))
		require.NoError(t, err)
		require.Equal(t, list, again)
	})
}

func FuzzDecodeEpochs(f *testing.F) {
	f.Add([]byte("0\n2\n0 0\n3 1500\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := DecodeEpochs(data)
		if err != nil {
			require.True(t, errors.Is(err, ErrSideFile) || errors.Is(err, ErrNewerVersion))
			return
		}
		again, err := DecodeEpochs(EncodeEpochs(entries))
		require.NoError(t, err)
		require.Equal(t, entries, again)
	})
}

func FuzzDecodeMetadata(f *testing.F) {
	f.Add([]byte("version: 0\ntopic_id: Slz0M0OzTcuk7o1zW1rBJQ\ngaps: true"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := DecodeMetadata(data)
		if err != nil {
			require.True(t, errors.Is(err, ErrSideFile) || errors.Is(err, ErrNewerVersion))
			return
		}
		again, err := DecodeMetadata(m.Encode())
		require.NoError(t, err)
		require.Equal(t, m, again)
	})
}

func FuzzAborted(f *testing.F) {
	f.Add(AbortedTxn{1, 2, 3, 4}.encode(nil))
	f.Add(AbortedTxn{1, 2, 3, 4}.encode(make([]byte, 34)))
	f.Fuzz(func(t *testing.T, data []byte) {
		disk := vfs.NewCrash(1)
		require.NoError(t, vfs.WriteFileAtomic(disk, Name(0, TxnExt), data))
		s := Restore(NewCache(disk, 4), ".", Meta{HasTxns: true}, "")
		n := 0
		err := s.Aborted(func(AbortedTxn) bool { n++; return true })
		require.True(t, err == nil || errors.Is(err, ErrNewerVersion), err)
		require.LessOrEqual(t, n, len(data)/34)
		if err == nil {
			require.NoError(t, s.CutAborted(3))
		}
	})
}

func FuzzParseName(f *testing.F) {
	f.Add("00000000000000001234.log.swap")
	f.Fuzz(func(t *testing.T, name string) {
		if base, ext, suffix, ok := ParseName(name); ok {
			require.Equal(t, name, Name(base, ext)+suffix)
		}
	})
}
