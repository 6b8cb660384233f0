package vfs_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/storage/vfs"
)

type quiet struct{ t testing.TB }

func (quiet) Infof(string, ...any)        {}
func (quiet) Errorf(string, ...any)       {}
func (q quiet) Fatalf(f string, a ...any) { q.t.Errorf(f, a...) }

func pebbleOn(t testing.TB, fs vfs.FS) *pebble.DB {
	t.Helper()
	db, err := pebble.Open("db", &pebble.Options{
		FS: fs, Logger: quiet{t}, MemTableSize: 64 << 10,
		FormatMajorVersion: pebble.FormatNewest,
	})
	require.NoError(t, err)
	return db
}

// TestPebbleKeepsSyncedRowsThroughPowerCuts runs Pebble itself on Crash through
// several lives, with flushes and compactions, each ended by a power cut.
func TestPebbleKeepsSyncedRowsThroughPowerCuts(t *testing.T) {
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	base := rand.Uint64()
	for i := range uint64(rounds) {
		seed := base + i
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0))
			fs := vfs.NewCrash(seed)
			rows := map[string]string{} // synced
			for life := range 4 {
				db := pebbleOn(t, fs)
				for key, want := range rows {
					got, closer, err := db.Get([]byte(key))
					require.NoError(t, err, "key %s in life %d", key, life)
					require.Equal(t, want, string(got))
					require.NoError(t, closer.Close())
				}
				for range 150 {
					key := fmt.Sprintf("k%03d", rng.IntN(200))
					value := fmt.Sprintf("%d-%d-%0500d", life, rng.Uint32(), 0)
					require.NoError(t, db.Set([]byte(key), []byte(value), pebble.Sync))
					rows[key] = value
				}
				require.NoError(t, db.Set([]byte("unsynced"), []byte("x"), pebble.NoSync))
				next := fs.PowerCut(rng.Uint64())
				require.NoError(t, db.Close())
				fs = next
			}
		})
	}
}
