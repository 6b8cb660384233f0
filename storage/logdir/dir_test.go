package logdir

import (
	"errors"
	"io/fs"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/storage/log"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

func put(t *testing.T, fsys vfs.FS, name, content string) {
	require.NoError(t, vfs.MkdirAllSync(fsys, fsys.PathDir(name)))
	require.NoError(t, vfs.WriteFileAtomic(fsys, name, []byte(content)))
}

func names(t *testing.T, fsys vfs.FS, dir string) []string {
	all, err := fsys.List(dir)
	require.NoError(t, err)
	return all
}

func TestADirectoryOfSomebodyElseIsRefusedUntouched(t *testing.T) {
	id := uuid.New().String()
	for name, c := range map[string]struct {
		file, content string
		want          error
		says          []string
	}{
		"another broker":  {identityFile, "kind=tidemark\nversion=1\nnode.id=7\ndirectory.id=" + id, ErrWrongBroker, []string{"data", "node.id=7", "broker 1", "--broker-id 7"}},
		"another cluster": {identityFile, "kind=tidemark\nversion=1\nnode.id=1\ncluster.id=abc\ndirectory.id=" + id, ErrWrongCluster, []string{"data", "abc", "cluster "}},
		"newer format":    {identityFile, "kind=tidemark\nversion=2\nnode.id=1\ndirectory.id=" + id, ErrNewer, []string{"data/meta.properties", "version=2", "up to 1"}},
		"Kafka's":         {identityFile, "version=1\nnode.id=1\ncluster.id=cluster\ndirectory.id=" + id, ErrForeign, []string{"Apache Kafka"}},
		"files, no name":  {"holiday.jpg", "", ErrForeign, []string{"holiday.jpg", "empty directory"}},
		"broken number":   {identityFile, "kind=tidemark\nversion=one\nnode.id=1\ndirectory.id=" + id, ErrForeign, []string{`"one"`}},
	} {
		t.Run(name, func(t *testing.T) {
			disk := vfs.NewCrash(1)
			put(t, disk, "data/"+c.file, c.content)
			before := names(t, disk, "data")
			_, err := Open(Options{FS: disk, Dir: "data", BrokerID: 1, ClusterID: "cluster"})
			require.ErrorIs(t, err, c.want)
			for _, s := range c.says {
				require.ErrorContains(t, err, s)
			}
			require.ElementsMatch(t, before, names(t, disk, "data"))
		})
	}
}

func TestADirectoryInUseIsRefused(t *testing.T) {
	w := newWorld(t, vfs.NewCrash(1), 1)
	require.NoError(t, w.begin())
	o := w.opt
	o.FS = w.fs
	_, err := Open(o)
	require.ErrorIs(t, err, ErrInUse)
	require.ErrorContains(t, err, "data is in use by another process")
	require.NoError(t, w.d.Close())
	d, err := Open(o)
	require.NoError(t, err)
	require.NoError(t, d.Close())
}

func TestADirectoryThatCannotBeWrittenIsNotSaidToBeInUse(t *testing.T) {
	w := newWorld(t, vfs.NewCrash(1), 1)
	faults := vfs.NewFaults(w.fs)
	faults.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpLock}, Err: &fs.PathError{Op: "open", Path: "data/.lock", Err: syscall.EROFS}})
	o := w.opt
	o.FS = faults
	_, err := Open(o)
	require.ErrorIs(t, err, syscall.EROFS)
	require.NotErrorIs(t, err, ErrInUse)
}

func TestIdentityStays(t *testing.T) {
	w := newWorld(t, vfs.NewCrash(1), 0)
	w.opt.ClusterID = ""
	require.NoError(t, w.begin())
	id := w.d.ID()
	require.NotZero(t, id)
	require.Empty(t, w.d.ClusterID())
	require.False(t, w.d.Clean())
	require.NoError(t, w.d.SetClusterID("first"))
	require.ErrorIs(t, w.d.SetClusterID("second"), ErrWrongCluster)
	require.NoError(t, w.d.Close())
	require.NoError(t, w.begin())
	require.Equal(t, id, w.d.ID())
	require.Equal(t, "first", w.d.ClusterID())
	require.True(t, w.d.Clean())
}

func TestWhatWasNotActivatedStaysAsItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, vfs.NewCrash(1), 1)
		require.NoError(t, w.begin())
		require.NoError(t, w.topics[0].append(100))
		synctest.Wait()
		require.NoError(t, w.d.Close())
		o := w.opt
		o.FS = w.fs
		d, err := Open(o)
		require.NoError(t, err)
		require.ErrorIs(t, d.Ready(), ErrInactive)
		_, err = d.OpenLog("topic0", w.topics[0].id, 0, w.cfg, true)
		require.NoError(t, err)
		require.NoError(t, d.Close())
		require.NoError(t, w.begin())
		require.True(t, w.d.Clean(), "the marker is still there")
		require.NoError(t, w.d.Close())
	})
}

func TestStraysAreRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewCrash(1)
		w := newWorld(t, disk, 3)
		require.NoError(t, w.begin())
		for i := range w.topics {
			require.NoError(t, w.topics[i].append(100))
		}
		synctest.Wait()
		w = reboot(w, disk, 0)
		w.topics = w.topics[:2] // the third was deleted while the broker was down
		put(t, w.fs, "data/logs/lost-3/00000000000000000000.log", "")
		put(t, w.fs, "data/logs/old-1.x-delete/file", "")
		put(t, w.fs, "data/logs/notes/readme", "")
		require.NoError(t, w.begin())
		synctest.Wait()
		require.ElementsMatch(t, []string{"topic0-0", "topic1-0", "notes"}, names(t, w.fs, "data/logs"))
		strays, err := w.d.Strays()
		require.NoError(t, err)
		require.Empty(t, strays)
	})
}

// TestALogThatDoesNotOpenIsNoStray: what cannot be read now must not be deleted for it.
func TestALogThatDoesNotOpenIsNoStray(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewCrash(1)
		w := newWorld(t, disk, 1)
		require.NoError(t, w.begin())
		require.NoError(t, w.topics[0].append(100))
		synctest.Wait()
		w = reboot(w, disk, 0)
		faults := vfs.NewFaults(w.fs)
		rule := faults.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpList}, Path: "topic0-0", Err: syscall.EIO})
		o := w.opt
		o.FS = faults
		d, err := Open(o)
		require.NoError(t, err)
		_, err = d.OpenLog("topic0", w.topics[0].id, 0, w.cfg, true)
		require.ErrorIs(t, err, syscall.EIO)
		require.NoError(t, d.Activate())
		require.NoError(t, d.RemoveStrays())
		synctest.Wait()
		require.NoError(t, d.Close())
		rule.Remove()
		require.NoError(t, w.begin(), "the model checks that the record is there")
		require.EqualValues(t, 1, w.topics[0].l.End())
	})
}

// TestAnOfflineLogKeepsWhatTheJournalHeld: acknowledged records of a log that cannot be recovered now, and the promise, outlive
// the journal, until the log can be read again.
func TestAnOfflineLogKeepsWhatTheJournalHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewCrash(1)
		w := newWorld(t, disk, 2)
		require.NoError(t, w.begin())
		require.NoError(t, w.topics[0].append(9000)) // synced by the log's own sync
		synctest.Wait()
		require.NoError(t, w.topics[0].append(100)) // in the journal
		require.NoError(t, w.topics[1].append(100))
		synctest.Wait()
		w = reboot(w, disk, 0)
		faults := vfs.NewFaults(w.fs)
		flip := faults.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpRead}, Path: "topic0-0/*.log", Corrupt: vfs.FlipBit(4000, 3)})
		o := w.opt
		o.FS = faults
		for life := range 3 {
			d, err := Open(o)
			require.NoError(t, err)
			l, err := d.OpenLog("topic0", w.topics[0].id, 0, w.cfg, true)
			var damage *log.Damage
			require.ErrorAs(t, err, &damage, "life %d", life)
			require.NotNil(t, l)
			require.EqualValues(t, 2, damage.Promised)
			other, err := d.OpenLog("topic1", w.topics[1].id, 0, w.cfg, true)
			require.NoError(t, err, "the other log is fine")
			require.EqualValues(t, 1, other.End())
			require.NoError(t, d.Activate())
			require.NoError(t, d.RemoveStrays())
			synctest.Wait()
			require.NoError(t, d.Close())
		}
		flip.Remove()
		require.NoError(t, w.begin(), "the model checks that both records are there")
		require.EqualValues(t, 2, w.topics[0].l.End())
		require.NoError(t, restart(w))
		require.EqualValues(t, 2, w.topics[0].l.End())
		require.Empty(t, names(t, w.fs, "data/rescue"))
	})
}

func TestAFailedSyncEndsTheDirectory(t *testing.T) {
	for name, path := range map[string]string{"journal": "*.journal", "segment": "topic0-0/*.log", "key-value store": "kv/*.log"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := vfs.NewCrash(1)
				faults := vfs.NewFaults(disk)
				w := newWorld(t, faults, 2)
				require.NoError(t, w.begin())
				synctest.Wait()
				require.NoError(t, w.d.Ready())
				faults.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpSync}, Path: path, Err: syscall.EIO})
				require.NoError(t, w.topics[0].append(9000))
				require.NoError(t, w.topics[1].append(100))
				w.makeTopic(true)
				_ = w.topics[2].open() // has facts to be synced
				_ = w.d.Activate()
				<-w.d.Failed()
				require.ErrorIs(t, w.d.Ready(), ErrFailed)
				require.ErrorIs(t, w.d.Ready(), syscall.EIO)
				require.ErrorIs(t, w.d.Close(), ErrFailed)
				_, err := disk.Stat("data/clean-shutdown")
				require.Error(t, err)
				_, err = disk.Stat("data/failed-sync")
				require.NoError(t, err, "the note for the next start")
				w.topics = w.topics[:2]
				w = reboot(w, disk, 3)
				require.NoError(t, w.begin())
				require.False(t, w.d.Clean())
				_, err = w.fs.Stat("data/failed-sync")
				require.Error(t, err)
				require.NoError(t, w.d.Close())
			})
		})
	}
}

func TestNothingIsToldBeforeTheLogsFactsAreDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		faults := vfs.NewFaults(vfs.NewCrash(1))
		w := newWorld(t, faults, 1)
		require.NoError(t, w.begin())
		tp := w.makeTopic(true)
		trap := vfs.NewTrap()
		rule := faults.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpSync}, Path: "kv/*.log", Hold: trap})
		require.NoError(t, tp.open())
		require.NoError(t, tp.append(100)) // before Activate
		<-trap.Reached()
		require.NoError(t, later(10*time.Second)(w))
		require.Zero(t, tp.told())
		rule.Remove()
		trap.Release()
		synctest.Wait()
		require.EqualValues(t, 1, tp.told())
	})
}

func TestDiskReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		faults := vfs.NewFaults(vfs.NewCrash(1))
		w := newWorld(t, faults, 1)
		w.opt.Reserve = 0
		require.NoError(t, w.begin())
		var heard []bool
		w.d.OnDiskFull(func(full bool) { heard = append(heard, full) })
		look := func(free uint64) {
			faults.SetUsage(&vfs.DiskUsage{TotalBytes: 10 << 30, AvailBytes: free})
			require.NoError(t, later(3*time.Second)(w))
		}
		look(1 << 30)
		require.False(t, w.d.Full())
		look(511 << 20) // a twentieth is 512 MiB
		require.True(t, w.d.Full())
		require.NoError(t, w.topics[0].append(100), "the broker's own appends go on")
		look(520 << 20)
		require.True(t, w.d.Full(), "no flapping")
		look(600 << 20)
		require.False(t, w.d.Full())
		require.Equal(t, []bool{false, true, false}, heard)
		require.NoError(t, w.d.Ready())
	})
}

func TestRetentionRunsAndRemovesFilesLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, vfs.NewCrash(1), 1)
		w.cfg.RetentionTime, w.cfg.DeleteDelay = time.Hour, time.Minute
		require.NoError(t, w.begin())
		for range 5 {
			require.NoError(t, w.topics[0].append(10000))
			synctest.Wait()
		}
		files := func() (n int) {
			for _, name := range names(t, w.fs, "data/logs/topic0-0") {
				if len(name) >= 24 && name[20:24] == ".log" {
					n++
				}
			}
			return n
		}
		require.Equal(t, 5, files())
		require.NoError(t, later(65*time.Minute)(w))
		require.EqualValues(t, 5, w.topics[0].l.Start())
		require.NoError(t, later(2*time.Minute)(w))
		require.Equal(t, 1, files(), "removed a minute after, not with the next look")
		require.NoError(t, w.d.Close())
	})
}

func TestDeletionIsDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewCrash(1)
		w := newWorld(t, disk, 2)
		require.NoError(t, w.begin())
		require.NoError(t, w.topics[0].append(100))
		synctest.Wait()
		require.NoError(t, w.d.DeleteLog(w.topics[0].l))
		require.ErrorIs(t, w.d.DeleteLog(w.topics[0].l), log.ErrClosed)
		w.topics = w.topics[1:]
		w = reboot(w, disk, 0)
		require.NoError(t, w.begin())
		synctest.Wait()
		for _, name := range names(t, w.fs, "data/logs") {
			require.NotContains(t, name, "topic0")
		}
	})
}

func TestADamagedJournalIsNotPassedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewCrash(1)
		w := newWorld(t, disk, 1)
		require.NoError(t, w.begin())
		for range 4 {
			require.NoError(t, w.topics[0].append(100))
			synctest.Wait()
		}
		w = reboot(w, disk, 3)
		f, err := w.fs.OpenReadWrite("data/journal/0000.journal", vfs.Unspecified)
		require.NoError(t, err)
		_, err = f.WriteAt([]byte{1, 2, 3}, 3*4096+20)
		require.NoError(t, errors.Join(err, f.Close()))
		require.ErrorContains(t, w.begin(), "0000.journal is damaged at byte 12288")
		w.opt.AcceptDamagedJournal = true
		require.NoError(t, w.begin())
		require.NoError(t, w.d.Close())
	})
}

func FuzzIdentity(f *testing.F) {
	good := identity{broker: 1, cluster: "c", directory: uuid.New()}
	disk := vfs.NewCrash(1)
	if err := errors.Join(vfs.MkdirAllSync(disk, "data"), good.write(disk, "data")); err != nil {
		f.Fatal(err)
	}
	b, err := vfs.ReadFile(disk, "data/"+identityFile, identityLimit)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte("kind=tidemark\nversion=99"))
	f.Add([]byte("# comment\nversion=1\nbroker.id=0"))
	f.Fuzz(func(t *testing.T, b []byte) {
		id, err := parseIdentity("meta.properties", b)
		if err != nil {
			require.True(t, errors.Is(err, ErrForeign) || errors.Is(err, ErrNewer), "%v", err)
			return
		}
		require.GreaterOrEqual(t, id.broker, int32(0))
	})
}
