package segment

import (
	"math/rand/v2"
	"sort"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// TestIndexSearchAgainstModel compares searches with a look at every entry, for indexes partly on disk and partly in memory.
func TestIndexSearchAgainstModel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 30 {
		c := NewCache(vfs.NewCrash(seed), 2)
		x := index{file: c.File("x", true), width: offsetEntrySize}
		var offsets []int64
		last := int64(0)
		for range rng.IntN(1500) {
			last += 1 + rng.Int64N(10)
			offsets = append(offsets, last)
			x.tail = putOffsetEntry(x.tail, int32(last), int32(last*3))
			if rng.IntN(400) == 0 {
				done, err := x.flush(c)
				require.NoError(t, err)
				x = done
			}
		}
		if len(offsets) > 0 && rng.IntN(2) == 0 {
			n := rng.IntN(len(offsets))
			x, offsets = x.cut(n), offsets[:n]
			require.NoError(t, x.truncate(c))
		}
		v := view(x)
		require.Equal(t, len(offsets), v.len())
		for range 100 {
			want := rng.Int64N(last + 20)
			count := sort.Search(len(offsets), func(i int) bool { return offsets[i] > want })
			var buf [timeEntrySize]byte
			n, e, err := v.search(&buf, func(e []byte) bool { return entryOffset(e) > want })
			require.NoError(t, err)
			require.Equal(t, count, n)
			if count == 0 {
				require.Nil(t, e)
				continue
			}
			require.Equal(t, [2]int64{offsets[count-1], offsets[count-1] * 3}, [2]int64{entryOffset(e), entryPosition(e)})
		}
	}
}

func TestIndexShorterThanBelieved(t *testing.T) {
	disk := vfs.NewCrash(1)
	c := NewCache(disk, 2)
	x := index{file: c.File("x", true), width: timeEntrySize}
	for i := range int64(5) {
		x.tail = putTimeEntry(x.tail, i, int32(i))
	}
	x, err := x.flush(c)
	require.NoError(t, err)
	require.NoError(t, disk.Truncate("x", 40))
	v := view(x)
	var buf [timeEntrySize]byte
	_, err = v.last(&buf)
	require.ErrorIs(t, err, ErrIndex)
}

func TestNames(t *testing.T) {
	require.Equal(t, "00000000000000001234.timeindex", Name(1234, TimeExt))
	for name, want := range map[string]struct {
		base        int64
		ext, suffix string
		ok          bool
	}{
		"00000000000000001234.log":              {1234, LogExt, "", true},
		"09223372036854775807.snapshot.deleted": {1<<63 - 1, SnapshotExt, DeletedSuffix, true},
		"00000000000000000000.index.swap":       {0, IndexExt, SwapSuffix, true},
		"99999999999999999999.log":              {},
		"0000000000000000000.log":               {},
		"00000000000000001234":                  {},
		"00000000000000001234.log.other":        {},
		"00000000000000001234.exe":              {},
		"0000000000000000-234.log":              {},
		"leader-epoch-checkpoint":               {},
	} {
		base, ext, suffix, ok := ParseName(name)
		require.Equal(t, want.ok, ok, name)
		if ok {
			require.Equal(t, want.base, base, name)
			require.Equal(t, [2]string{want.ext, want.suffix}, [2]string{ext, suffix}, name)
		}
	}
}
