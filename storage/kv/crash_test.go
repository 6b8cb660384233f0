package kv_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/tidemark-mq/tidemark/storage/kv"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// Each batch n of these tests sets rowsOfBatch rows to n, so that what is found
// later tells which batches are there, and whether whole.
const rowsOfBatch = 5

var big = strings.Repeat("x", 200)

func commitNumber(db *kv.DB, n uint64, sync bool) error {
	b := db.NewBatch()
	for row := range byte(rowsOfBatch) {
		b.Set(rows, []byte{row}, append(binary.BigEndian.AppendUint64(nil, n), big...))
	}
	b.Set(kv.NewSpace("history"), binary.BigEndian.AppendUint64(nil, n), []byte(big))
	return b.Commit(sync)
}

// lastNumber answers the newest batch found, having checked that it is there
// whole and that none before it is missing.
func lastNumber(t *testing.T, fs vfs.FS, where string) uint64 {
	t.Helper()
	db, err := kv.Open(kv.Options{FS: fs, Dir: "kv"})
	require.NoError(t, err, where)
	defer func() { require.NoError(t, db.Close(), where) }()
	last, found := uint64(0), 0
	it, err := db.Iter(rows, nil, nil)
	require.NoError(t, err, where)
	for ok := it.First(); ok; ok = it.Next() {
		n := binary.BigEndian.Uint64(it.Value())
		require.True(t, found == 0 || n == last, "%s: a torn batch: rows of %d and %d", where, last, n)
		last, found = n, found+1
	}
	require.NoError(t, it.Close(), where)
	require.Contains(t, []int{0, rowsOfBatch}, found, where)
	it, err = db.Iter(kv.NewSpace("history"), nil, nil)
	require.NoError(t, err, where)
	next := uint64(1)
	for ok := it.First(); ok; ok = it.Next() {
		require.Equal(t, next, binary.BigEndian.Uint64(it.Key()), where)
		next++
	}
	require.NoError(t, it.Close(), where)
	require.Equal(t, last, next-1, where)
	return last
}

func TestPowerCutsKeepSyncedBatchesAndAPrefixOfTheRest(t *testing.T) {
	base := rand.Uint64()
	lost := 0
	for i := range uint64(25) {
		seed := base + i
		rng := rand.New(rand.NewPCG(seed, 0))
		fs := vfs.NewCrash(seed)
		last := uint64(0)
		for life := range 4 {
			where := fmt.Sprintf("seed %d, life %d", seed, life)
			db := openOn(t, fs)
			synced := last
			for range rng.IntN(60) {
				last++
				sync := rng.IntN(6) == 0
				require.NoError(t, commitNumber(db, last, sync), where)
				if sync {
					synced = last
				}
			}
			next := fs.PowerCut(rng.Uint64())
			require.NoError(t, db.Close())
			found := lastNumber(t, next, where)
			require.GreaterOrEqual(t, found, synced, where)
			require.LessOrEqual(t, found, last, where)
			if found < last {
				lost++
			}
			fs, last = next, found
		}
	}
	require.Positive(t, lost, "seed %d: the power cuts never lost anything", base)
}

func TestAKillLosesNothingThatReachedTheLog(t *testing.T) {
	fs := vfs.NewCrash(1)
	db := openOn(t, fs)
	require.NoError(t, commitNumber(db, 1, false))
	require.NoError(t, commitNumber(db, 2, true))
	next := fs.Kill()
	require.NoError(t, db.Close())
	require.EqualValues(t, 2, lastNumber(t, next, ""))
}

// life opens the store, commits and closes it, and stops at the first error. It
// answers the newest batch whose sync was acknowledged and the newest begun.
func life(fs vfs.FS) (synced, begun uint64, err error) {
	for range 2 {
		db, err := kv.Open(kv.Options{FS: fs, Dir: "kv"})
		if err != nil {
			return synced, begun, err
		}
		for range 4 {
			begun++
			sync := begun%2 == 0
			if err = commitNumber(db, begun, sync); err != nil {
				break
			}
			if sync {
				synced = begun
			}
		}
		if err = errors.Join(err, db.Close()); err != nil {
			return synced, begun, err
		}
	}
	return synced, begun, nil
}

func TestACutAtEachSyncPointKeepsWhatWasAcknowledged(t *testing.T) {
	for _, when := range []vfs.When{vfs.BeforeSync, vfs.AfterSync} {
		for n := int64(1); ; n++ {
			fs := vfs.NewCrash(uint64(n))
			fs.CutAt(n, when)
			synced, begun, err := life(fs)
			if !fs.IsCut() {
				require.NoError(t, err)
				require.Greater(t, n, int64(20), "so many sync points were cut")
				break
			}
			// The last sync of all is Close's, of which nobody waits for more.
			for seed := range uint64(5) {
				where := fmt.Sprintf("cut at %d (%d), seed %d", n, when, seed)
				found := lastNumber(t, fs.PowerCut(seed), where)
				require.GreaterOrEqual(t, found, synced, where)
				require.LessOrEqual(t, found, begun, where)
			}
		}
	}
}

// TestAStoreThatIsCutWhileItOpensSaysSo opens what a crash has left, so that opening writes tables, and cuts that at every sync point.
func TestAStoreThatIsCutWhileItOpensSaysSo(t *testing.T) {
	const left = 40
	for _, when := range []vfs.When{vfs.BeforeSync, vfs.AfterSync} {
		for n := int64(1); ; n++ {
			fs := vfs.NewCrash(uint64(n))
			db, err := kv.Open(kv.Options{FS: fs, Dir: "kv"})
			require.NoError(t, err)
			for i := range uint64(left) {
				require.NoError(t, commitNumber(db, i+1, true))
			}
			fs.Cut()
			after := fs.PowerCut(uint64(n))
			_ = db.Close()

			after.CutAt(n, when)
			db, err = kv.Open(kv.Options{FS: after, Dir: "kv"})
			if err == nil {
				_ = db.Close()
			}
			if !after.IsCut() {
				require.NoError(t, err)
				require.Greater(t, n, int64(5), "so many sync points were cut")
				break
			}
			require.EqualValues(t, left, lastNumber(t, after.PowerCut(uint64(n)), fmt.Sprintf("cut at %d (%d)", n, when)))
		}
	}
}

// TestEachFailingOperationEndsTheStoreInOrder lets, in turn, every operation of
// each kind and all that follow fail, and looks at what the disk then has.
func TestEachFailingOperationEndsTheStoreInOrder(t *testing.T) {
	kinds := []vfs.Op{vfs.OpCreate, vfs.OpWrite, vfs.OpSync, vfs.OpSyncDir, vfs.OpRename, vfs.OpMkdir, vfs.OpRemove, vfs.OpLock}
	for _, once := range []bool{false, true} {
		for _, kind := range kinds {
			for n := 1; ; n++ {
				disk := vfs.NewCrash(1)
				faults := vfs.NewFaults(disk)
				rule := faults.Add(vfs.Rule{Ops: []vfs.Op{kind}, Nth: n, Once: once, Err: syscall.EIO})
				synced, begun, _ := life(faults)
				if rule.Hits() == 0 {
					break
				}
				where := fmt.Sprintf("%s %d failed (once: %t)", kind, n, once)
				found := lastNumber(t, disk.PowerCutAll(), where)
				require.GreaterOrEqual(t, found, synced, where)
				require.LessOrEqual(t, found, begun, where)
			}
		}
	}
}

func TestAFailedSyncFailsTheCommitAndAllThatFollows(t *testing.T) {
	disk := vfs.NewCrash(1)
	faults := vfs.NewFaults(disk)
	db := openOn(t, faults)
	require.NoError(t, commitNumber(db, 1, true))
	faults.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpSync}, Path: "*.log", Once: true, Err: syscall.EIO})
	err := commitNumber(db, 2, true)
	require.ErrorIs(t, err, kv.ErrFailed)
	require.ErrorIs(t, err, syscall.EIO)
	require.ErrorIs(t, <-db.Failed(), syscall.EIO)
	_, more := <-db.Failed()
	require.False(t, more)

	require.ErrorIs(t, commitNumber(db, 3, true), kv.ErrFailed)
	require.ErrorIs(t, commitNumber(db, 3, false), kv.ErrFailed)
	_, err = db.Get(rows, []byte{0}, nil)
	require.ErrorIs(t, err, kv.ErrFailed)
	_, err = db.Snapshot()
	require.ErrorIs(t, err, kv.ErrFailed)
	before := disk.Ops()
	require.NoError(t, db.Close())
	require.Equal(t, before, disk.Ops(), "nothing is synced after a failed sync")
	require.EqualValues(t, 1, lastNumber(t, disk.PowerCutAll(), ""))
}

func TestAWalkDuringTheFailureIsNotTaken(t *testing.T) {
	faults := vfs.NewFaults(vfs.NewCrash(1))
	db := openOn(t, faults)
	require.NoError(t, commitNumber(db, 1, true))
	it, err := db.Iter(rows, nil, nil)
	require.NoError(t, err)
	require.True(t, it.First())
	faults.FillAfter(0)
	require.ErrorIs(t, commitNumber(db, 2, true), syscall.ENOSPC)
	require.ErrorIs(t, it.Close(), kv.ErrFailed)
	require.NoError(t, db.Close())
}

// TestADiskThatFillsUpUnderLoad fills the disk at various moments of a load with
// flushes, compactions and log rotations, from several goroutines: everyone gets
// an answer, the store closes, and what was acknowledged is there.
func TestADiskThatFillsUpUnderLoad(t *testing.T) {
	load := strings.Repeat("load", 5000)
	for _, room := range []int64{1 << 20, 5 << 20, 9<<20 + 12345, 17 << 20, 30 << 20} {
		disk := vfs.NewCrash(1)
		faults := vfs.NewFaults(disk)
		db := openOn(t, faults)
		faults.FillAfter(room)
		var wg sync.WaitGroup
		synced := make([]uint64, 4)
		for g := range synced {
			wg.Go(func() {
				space := kv.NewSpace("load", fmt.Sprint(g))
				for n := uint64(1); n < 4000; n++ {
					b := db.NewBatch()
					b.Set(space, []byte("last"), binary.BigEndian.AppendUint64(nil, n))
					b.Set(space, binary.BigEndian.AppendUint64(nil, n%300), []byte(load))
					if err := b.Commit(n%5 == 0); err != nil {
						require.ErrorIs(t, err, kv.ErrFailed)
						return
					}
					if n%5 == 0 {
						synced[g] = n
					}
				}
			})
		}
		wg.Wait()
		require.ErrorIs(t, <-db.Failed(), syscall.ENOSPC)
		require.NoError(t, db.Close())
		db = openOn(t, disk.PowerCutAll())
		for g, want := range synced {
			if want == 0 {
				continue
			}
			last, err := db.Get(kv.NewSpace("load", fmt.Sprint(g)), []byte("last"), nil)
			require.NoError(t, err)
			require.GreaterOrEqual(t, binary.BigEndian.Uint64(last), want, "room %d", room)
		}
		require.NoError(t, db.Close())
	}
}

func TestAFlippedBitIsReportedAndNotServed(t *testing.T) {
	disk := vfs.NewCrash(1)
	db := openOn(t, disk)
	require.NoError(t, commitNumber(db, 1, true))
	require.NoError(t, db.Close())
	require.EqualValues(t, 1, lastNumber(t, disk, "")) // moves the rows to a table
	faults := vfs.NewFaults(disk)
	rule := faults.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpRead}, Path: "*.sst", Corrupt: func(_ int64, p []byte) {
		if len(p) > 0 {
			p[len(p)/2] ^= 1
		}
	}})
	db, err := kv.Open(kv.Options{FS: faults, Dir: "kv"})
	if err == nil {
		_, err = db.Get(rows, []byte{0}, nil)
		require.ErrorIs(t, <-db.Failed(), kv.ErrCorrupt)
		require.NoError(t, db.Close())
	}
	require.Error(t, err)
	require.Positive(t, rule.Hits())
	rule.Remove()
	require.EqualValues(t, 1, lastNumber(t, faults, "only what was read was wrong"))
}

func TestACommitWaitsForItsSync(t *testing.T) {
	faults := vfs.NewFaults(vfs.NewCrash(1))
	db, err := kv.Open(kv.Options{FS: faults, Dir: "kv", Log: zap.NewNop()})
	require.NoError(t, err)
	trap := vfs.NewTrap()
	faults.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpSync}, Path: "*.log", Hold: trap})
	done := make(chan error, 1)
	go func() { done <- commitNumber(db, 1, true) }()
	<-trap.Reached()
	require.NoError(t, commitNumber(db, 2, false), "one without sync does not wait")
	select {
	case <-done:
		t.Fatal("answered before its sync")
	default:
	}
	trap.Release()
	select {
	case err := <-done:
		require.NoError(t, err)
	case <-time.After(10 * time.Second):
		t.Fatal("no answer after the sync")
	}
	require.NoError(t, db.Close())
}
