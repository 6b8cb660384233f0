package kv_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/tidemark-mq/tidemark/storage/kv"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var rows = kv.NewSpace("test")

func openOn(t testing.TB, fs vfs.FS) *kv.DB {
	t.Helper()
	db, err := kv.Open(kv.Options{FS: fs, Dir: "kv"})
	require.NoError(t, err)
	return db
}

func opened(t testing.TB) *kv.DB {
	db := openOn(t, vfs.NewCrash(1))
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func set(t testing.TB, db *kv.DB, s kv.Space, pairs ...string) {
	t.Helper()
	b := db.NewBatch()
	for i := 0; i < len(pairs); i += 2 {
		b.Set(s, []byte(pairs[i]), []byte(pairs[i+1]))
	}
	require.NoError(t, b.Commit(false))
}

// all answers the rows of a range as "key=value" in order.
func all(t testing.TB, r kv.Reader, s kv.Space, lower, upper []byte) []string {
	t.Helper()
	it, err := r.Iter(s, lower, upper)
	require.NoError(t, err)
	var got []string
	for ok := it.First(); ok; ok = it.Next() {
		got = append(got, fmt.Sprintf("%s=%s", it.Key(), it.Value()))
	}
	require.NoError(t, it.Close())
	return got
}

func TestRowsAreSetReadAndDeleted(t *testing.T) {
	db := opened(t)
	set(t, db, rows, "a", "1", "b", "2", "", "empty key")
	v, err := db.Get(rows, []byte("a"), nil)
	require.NoError(t, err)
	require.Equal(t, "1", string(v))
	v, err = db.Get(rows, nil, []byte("kept:"))
	require.NoError(t, err)
	require.Equal(t, "kept:empty key", string(v))
	_, err = db.Get(rows, []byte("c"), nil)
	require.ErrorIs(t, err, kv.ErrNotFound)

	b := db.NewBatch()
	b.Delete(rows, []byte("a"))
	b.Delete(rows, []byte("never there"))
	b.Set(rows, []byte("b"), nil)
	require.Equal(t, 3, b.Count())
	require.Positive(t, b.Len())
	require.NoError(t, b.Commit(true))
	require.Equal(t, []string{"=empty key", "b="}, all(t, db, rows, nil, nil))
	require.ErrorIs(t, b.Commit(false), kv.ErrClosed, "a batch is committed once")
}

func TestAClosedBatchChangesNothing(t *testing.T) {
	db := opened(t)
	b := db.NewBatch()
	b.Set(rows, []byte("a"), []byte("1"))
	require.NoError(t, b.Close())
	require.NoError(t, b.Close())
	require.ErrorIs(t, b.Commit(true), kv.ErrClosed)
	require.Empty(t, all(t, db, rows, nil, nil))
}

func TestIterationKeepsToItsBounds(t *testing.T) {
	db := opened(t)
	set(t, db, rows, "a", "1", "b", "2", "c", "3", "\xff\xff", "4")
	require.Equal(t, []string{"b=2"}, all(t, db, rows, []byte("b"), []byte("c")))
	require.Equal(t, []string{"c=3", "\xff\xff=4"}, all(t, db, rows, []byte("bb"), nil))
	it, err := db.Iter(rows, nil, []byte("c"))
	require.NoError(t, err)
	require.True(t, it.SeekGE([]byte("aa")))
	require.Equal(t, "b", string(it.Key()))
	require.True(t, it.Prev())
	require.Equal(t, "a", string(it.Key()))
	require.False(t, it.Prev())
	require.True(t, it.Last())
	require.Equal(t, "2", string(it.Value()))
	require.False(t, it.SeekGE([]byte("c")))
	require.NoError(t, it.Close())
}

func TestASnapshotDoesNotMove(t *testing.T) {
	db := opened(t)
	set(t, db, rows, "a", "1")
	snap, err := db.Snapshot()
	require.NoError(t, err)
	set(t, db, rows, "a", "2", "b", "3")
	require.Equal(t, []string{"a=1"}, all(t, snap, rows, nil, nil))
	_, err = snap.Get(rows, []byte("b"), nil)
	require.ErrorIs(t, err, kv.ErrNotFound)
	require.Equal(t, []string{"a=2", "b=3"}, all(t, db, rows, nil, nil))
	require.NoError(t, snap.Close())
}

func TestSpacesNeverTouch(t *testing.T) {
	db := opened(t)
	spaces := []kv.Space{
		kv.NewSpace(""), kv.NewSpace("a"), kv.NewSpace("a", ""), kv.NewSpace("a", "b"), kv.NewSpace("ab"),
		kv.NewSpace("b"), kv.NewSpace("a", "b", "c"), kv.NewSpace("a", "bc"), kv.NewSpace("a\x00"),
		kv.NewSpace(string(make([]byte, 300))), kv.NewSpace(string(make([]byte, 301))),
	}
	keys := []string{"", "\x00", "\x01", "\x02b", "\xff", "b", "\x00\x01"}
	for i, s := range spaces {
		for _, k := range keys {
			set(t, db, s, k, fmt.Sprint(i))
		}
	}
	for i, s := range spaces {
		got := all(t, db, s, nil, nil)
		require.Len(t, got, len(keys))
		for _, row := range got {
			require.Equal(t, fmt.Sprint("=", i), row[len(row)-len(fmt.Sprint("=", i)):])
		}
		require.Equal(t, s, spaces[i])
	}
	for i, s := range spaces {
		require.NoError(t, db.DropPrefix(s, i%2 == 0))
		for j, other := range spaces {
			require.Equal(t, j <= i, len(all(t, db, other, nil, nil)) == 0, "after dropping %d, space %d", i, j)
		}
	}
}

func TestTheZeroSpaceIsRefused(t *testing.T) {
	db := opened(t)
	var none kv.Space
	_, err := db.Get(none, nil, nil)
	require.Error(t, err)
	_, err = db.Iter(none, nil, nil)
	require.Error(t, err)
	require.Error(t, db.DropPrefix(none, false))
}

// TestRandomOperationsEqualAMap compares with a map and sorting.
func TestRandomOperationsEqualAMap(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	fs := vfs.NewCrash(seed)
	db := openOn(t, fs)
	model := map[string]string{}
	key := func() string { return fmt.Sprintf("%c%02d", 'a'+rng.IntN(3), rng.IntN(60)) }
	for round := range 200 {
		b := db.NewBatch()
		for range 1 + rng.IntN(8) {
			switch k := key(); rng.IntN(6) {
			case 0:
				b.Delete(rows, []byte(k))
				delete(model, k)
			case 1:
				from, to := k, key()
				if from > to {
					from, to = to, from
				}
				b.DeleteRange(rows, []byte(from), []byte(to))
				for have := range model {
					if have >= from && have < to {
						delete(model, have)
					}
				}
			default:
				v := fmt.Sprint(round, "-", rng.IntN(1000))
				b.Set(rows, []byte(k), []byte(v))
				model[k] = v
			}
		}
		require.NoError(t, b.Commit(rng.IntN(10) == 0))
		if round%40 == 39 {
			require.NoError(t, db.Close())
			db = openOn(t, fs)
		}
		want := []string(nil)
		for k, v := range model {
			want = append(want, k+"="+v)
		}
		slices.Sort(want)
		require.Equal(t, want, all(t, db, rows, nil, nil), "seed %d, round %d", seed, round)
	}
	require.NoError(t, db.Close())
}

func TestADirectoryIsOpenedOnce(t *testing.T) {
	fs := vfs.NewCrash(1)
	db := openOn(t, fs)
	_, err := kv.Open(kv.Options{FS: fs, Dir: "kv"})
	require.Error(t, err)
	require.NoError(t, db.Close())
	require.NoError(t, db.Close(), "closing twice is harmless")
	require.NoError(t, openOn(t, fs).Close())
}

func TestAClosedStoreAnswersErrClosed(t *testing.T) {
	db := openOn(t, vfs.NewCrash(1))
	require.NoError(t, db.Close())
	_, err := db.Get(rows, nil, nil)
	require.ErrorIs(t, err, kv.ErrClosed)
	_, err = db.Iter(rows, nil, nil)
	require.ErrorIs(t, err, kv.ErrClosed)
	_, err = db.Snapshot()
	require.ErrorIs(t, err, kv.ErrClosed)
	b := db.NewBatch()
	b.Set(rows, nil, nil)
	require.ErrorIs(t, b.Commit(false), kv.ErrClosed)
	_, failed := <-db.Failed()
	require.False(t, failed)
}

func TestANewerFormatIsRefusedUntouched(t *testing.T) {
	fs := vfs.NewCrash(1)
	require.NoError(t, openOn(t, fs).Close())
	names, err := fs.List("kv")
	require.NoError(t, err)
	for _, name := range names {
		if len(name) > 21 && name[:21] == "marker.format-version" {
			require.NoError(t, fs.Rename("kv/"+name, "kv/"+name[:len(name)-3]+"999"))
		}
	}
	before := fs.Ops()
	_, err = kv.Open(kv.Options{FS: fs, Dir: "kv"})
	require.ErrorIs(t, err, kv.ErrNewer)
	require.Equal(t, before, fs.Ops())
}

func TestMetricsAreThereUntilClose(t *testing.T) {
	reg := prometheus.NewRegistry()
	fs := vfs.NewCrash(1)
	db, err := kv.Open(kv.Options{FS: fs, Dir: "kv", Registerer: reg})
	require.NoError(t, err)
	set(t, db, rows, "a", "1")
	count, err := testutil.GatherAndCount(reg)
	require.NoError(t, err)
	require.Equal(t, 11, count)
	_, err = kv.Open(kv.Options{FS: fs, Dir: "other", Registerer: reg})
	require.Error(t, err, "one registry takes one store")
	require.NoError(t, db.Close())
	count, err = testutil.GatherAndCount(reg)
	require.NoError(t, err)
	require.Zero(t, count)
}

func TestCompactionsKeepOverwrittenRowsFromPilingUp(t *testing.T) {
	fs := vfs.NewCrash(1)
	value := make([]byte, 10_000)
	for life := range 2 {
		reg := prometheus.NewRegistry()
		db, err := kv.Open(kv.Options{FS: fs, Dir: "kv", Registerer: reg})
		require.NoError(t, err)
		for i := range 3000 { // 30 MB of 1 MB
			for j := range value {
				value[j] = byte(i*j + i>>3)
			}
			set(t, db, rows, fmt.Sprint(i%100), string(value))
		}
		require.Eventually(t, func() bool {
			return gathered(t, reg, "tidemark_kv_compactions_total") > 2 &&
				gathered(t, reg, "tidemark_kv_read_amplification") < 8
		}, 20*time.Second, time.Millisecond, "life %d", life)
		require.NoError(t, db.Close())
	}
}

func gathered(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() == name {
			m := f.GetMetric()[0]
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

func TestTheStoreRunsUnderVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := openOn(t, vfs.NewCrash(1))
		set(t, db, rows, "a", "1")
		require.NoError(t, db.DropPrefix(rows, true))
		require.NoError(t, db.Close())
	})
}

func BenchmarkOpen(b *testing.B) {
	for _, existing := range []bool{false, true} {
		b.Run(fmt.Sprint("existing=", existing), func(b *testing.B) {
			dir := b.TempDir()
			o := kv.Options{FS: vfs.Disk(), Dir: filepath.Join(dir, "kv")}
			for i := 0; b.Loop(); i++ {
				if !existing {
					o.Dir = filepath.Join(dir, fmt.Sprint(i))
				}
				db, err := kv.Open(o)
				require.NoError(b, err)
				b.StopTimer()
				if existing && i == 0 {
					for j := range 1000 {
						set(b, db, rows, fmt.Sprint("key", j), "some value of a row")
					}
				}
				require.NoError(b, db.Close())
				b.StartTimer()
			}
		})
	}
}

func BenchmarkCommit(b *testing.B) {
	for _, sync := range []bool{false, true} {
		b.Run(fmt.Sprint("sync=", sync), func(b *testing.B) {
			db, err := kv.Open(kv.Options{FS: vfs.Disk(), Dir: filepath.Join(b.TempDir(), "kv")})
			require.NoError(b, err)
			defer db.Close()
			key, value := make([]byte, 16), make([]byte, 100)
			b.ReportAllocs()
			b.SetBytes(3 * 116)
			for i := 0; b.Loop(); i++ {
				batch := db.NewBatch()
				for j := range byte(3) {
					key[0], key[1], key[2], key[15] = byte(i), byte(i>>8), byte(i>>16), j
					batch.Set(rows, key, value)
				}
				if err := batch.Commit(sync); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkGet(b *testing.B) {
	db := openOn(b, vfs.NewCrash(1))
	defer db.Close()
	for i := range 1000 {
		set(b, db, rows, fmt.Sprint("key", i), "some value of a row")
	}
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if dst, err = db.Get(rows, []byte("key500"), dst[:0]); err != nil {
			b.Fatal(err)
		}
	}
}
