package crash

import (
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/storage/log"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// The rules of "Journal and logs", where one package alone does not show them. See README.md for the others.

// Rule 1: small appends behind a large one whose own sync is still under way, and after the page cache held some.
func TestRule01NoAckOverAHole(t *testing.T) {
	for _, acks := range []int16{1, -1} {
		c := &client{topic: "t", id: 1, acks: acks}
		script(t, func(m *machine) error {
			c.sent, c.next = nil, 0
			return m.topic("t", nil)
		}, func(m *machine) error {
			return all(m, c.send(1, 12000), c.send(1, 100), settle, c.send(3, 100), c.send(2, 5000), c.send(1, 10), settle, c.send(1, 10), settle)
		}, func(m *machine) {
			c.verify(m.t, m)
			c.retry(m)
			c.verify(m.t, m)
		})
	}
}

func TestRule01FlushingTurnedOnOverThePageCache(t *testing.T) {
	c := &client{topic: "t", id: 1, acks: -1}
	var cached int
	script(t, func(m *machine) error {
		c.sent, c.next, cached = nil, 0, 0
		return m.topic("t", map[string]string{"flush.messages": "1000"})
	}, func(m *machine) error {
		if err := all(m, c.send(1, 300), c.send(2, 300), settle); err != nil {
			return err
		}
		cached = len(c.sent) // acknowledged from the page cache: a power cut may take it
		if err := m.configure("t", "flush.messages", "1"); err != nil {
			return err
		}
		return all(m, c.send(1, 100), settle, c.send(1, 100), settle)
	}, func(m *machine) {
		for _, b := range c.sent[:cached] {
			b.acked = len(c.sent) > cached && c.sent[cached].acked // what is acknowledged behind it must not be over a hole
		}
		c.verify(m.t, m)
	})
}

// Rule 2: the answer to a repeated batch waits for the sync of its original.
func TestRule02ADuplicateWaitsForItsOriginal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		faults := vfs.NewFaults(vfs.NewCrash(1))
		m := newMachine(t, faults)
		require.NoError(t, m.begin())
		require.NoError(t, m.topic("t", nil))
		trap := vfs.NewTrap()
		faults.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpSync}, Path: "journal/*", Hold: trap})
		c := &client{topic: "t", id: 1, acks: 1}
		require.NoError(t, all(m, c.send(2, 50), settle))
		<-trap.Reached()
		require.NoError(t, c.produce(m, c.sent[0]))
		require.NoError(t, c.produce(m, c.sent[0]))
		require.NoError(t, settle(m))
		require.False(t, c.sent[0].acked, "acknowledged before its sync")
		require.EqualValues(t, 2, m.partition("t").LogEnd(), "a duplicate adds nothing")
		trap.Release()
		require.NoError(t, settle(m))
		require.True(t, c.sent[0].acked)
		require.NoError(t, m.end())
	})
}

// Rule 2, and producer state over crashes: whatever is sent again is taken, once.
func TestRule02RepeatsAfterACrash(t *testing.T) {
	a, b := &client{topic: "t", id: 1, acks: -1}, &client{topic: "u", id: 1, acks: 1}
	script(t, func(m *machine) error {
		a.sent, a.next, b.sent, b.next = nil, 0, nil, 0
		if err := m.topic("t", nil); err != nil {
			return err
		}
		return m.topic("u", nil)
	}, func(m *machine) error {
		return all(m, a.send(1, 50), b.send(2, 5000), a.send(3, 50), settle, b.send(1, 20), b.send(1, 12000), a.send(1, 7000), a.send(1, 7000),
			later(30*time.Second), a.send(1, 7000), b.send(1, 20), a.send(2, 20), settle)
	}, func(m *machine) {
		for range 2 { // sent again, and again after a kill
			a.retry(m)
			b.retry(m)
			a.verify(m.t, m)
			b.verify(m.t, m)
			next := left(m.fs.(*vfs.Crash), 0)
			m.crash()
			m.fs = next
			require.NoError(m.t, m.begin())
		}
		require.NoError(m.t, all(m, a.send(1, 10), b.send(1, 10), settle))
		require.Empty(m.t, append(a.open(), b.open()...))
	})
}

// Rule 4: log starts that were answered hold, and what deleted records left does not come back.
func TestRule04DeletedRecordsStayDeleted(t *testing.T) {
	c := &client{topic: "t", id: 1, acks: -1}
	var told int64
	deleteTo := func(offset int64) step {
		return func(m *machine) error {
			start, err := m.partition("t").DeleteRecords(offset)
			if err == nil {
				told = start
			}
			return err
		}
	}
	script(t, func(m *machine) error {
		c.sent, c.next, told = nil, 0, 0
		return m.topic("t", nil)
	}, func(m *machine) error {
		return all(m, c.send(3, 4000), settle, c.send(1, 50), c.send(3, 4000), settle, deleteTo(3), c.send(1, 10), settle, deleteTo(6), later(2*time.Second), c.send(2, 100), settle, deleteTo(-1))
	}, func(m *machine) {
		require.GreaterOrEqual(m.t, m.partition("t").LogStart(), told)
		c.verify(m.t, m)
		c.retry(m)
		c.verify(m.t, m)
	})
}

// Rule 4: a topic made again under its old name holds nothing of the old one.
func TestRule04ATopicMadeAgainIsEmpty(t *testing.T) {
	first, second := &client{topic: "t", id: 1, acks: -1}, &client{topic: "t", id: 2, acks: -1}
	again := false
	script(t, func(m *machine) error {
		first.sent, first.next, second.sent, second.next, again = nil, 0, nil, 0, false
		return m.topic("t", nil)
	}, func(m *machine) error {
		if err := all(m, first.send(3, 100), first.send(1, 9000), settle, first.send(2, 5000), settle); err != nil {
			return err
		}
		require.NoError(m.t, m.cluster.DeleteTopic(m.t.Context(), m.cluster.Image().Topic("t").ID))
		if err := m.topic("t", nil); err != nil {
			return err
		}
		again = true
		return all(m, second.send(1, 50), settle, second.send(1, 9000), settle)
	}, func(m *machine) {
		if !again {
			return
		}
		second.verify(m.t, m)
		second.retry(m)
		second.verify(m.t, m)
	})
}

// Rule 6: a log whose acknowledged records are damaged is offline, uncut, in this life and in all that follow, until its bytes
// are back.
func TestRule06ADamagedLogStaysOffline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewCrash(1)
		m := newMachine(t, disk)
		require.NoError(t, m.begin())
		require.NoError(t, m.topic("t", nil))
		require.NoError(t, m.topic("sound", nil))
		c, sound := &client{topic: "t", id: 1, acks: -1}, &client{topic: "sound", id: 1, acks: -1}
		require.NoError(t, all(m, c.send(1, 9000), settle, c.send(1, 100), sound.send(1, 100), settle))
		const file = dataDir + "/logs/t-0/00000000000000000000.log"
		flip := func(fs vfs.FS) {
			f, err := fs.OpenReadWrite(file, vfs.Unspecified)
			require.NoError(t, err)
			b := make([]byte, 1)
			_, err = f.ReadAt(b, 4000)
			require.NoError(t, err)
			b[0] ^= 4
			_, err = f.WriteAt(b, 4000)
			require.NoError(t, err)
			require.NoError(t, f.Sync())
			require.NoError(t, f.Close())
		}
		for life := range 4 {
			next := left(disk, 1)
			if life%2 == 0 {
				m.crash()
			} else {
				next = disk // an orderly stop must not forget it either
				_ = m.end()
			}
			disk = next.PowerCutNone()
			if life == 0 {
				flip(disk)
			}
			if life == 3 {
				flip(disk) // the operator put the file back
			}
			m.fs = disk
			require.NoError(t, m.begin())
			sound.verify(t, m)
			if life == 3 {
				break
			}
			_, err := m.partition("t").Read(replica.Read{MaxBytes: 1, AtLeastOne: true, Epoch: -1, LastEpoch: -1})
			require.ErrorIs(t, err, replica.ErrOffline)
			require.ErrorContains(t, err, file)
			require.ErrorContains(t, err, "offset 0")
			_, err = m.partition("t").Append(replica.Append{Origin: log.Client, Epoch: -1})
			require.ErrorIs(t, err, replica.ErrOffline)
		}
		c.verify(t, m)
		require.NoError(t, m.end())
	})
}

// Rule 7: bytes that an earlier life failed to sync are not believed because they are still in the page cache.
func TestRule07AFailedSyncIsNotForgotten(t *testing.T) {
	for name, path := range map[string]string{"journal": "journal/*", "segment": "t-0/*.log", "facts": "kv/*"} {
		for nth := 1; nth <= 6; nth++ {
			synctest.Test(t, func(t *testing.T) {
				disk := vfs.NewCrash(uint64(nth))
				faults := vfs.NewFaults(disk)
				m := newMachine(t, faults)
				require.NoError(t, m.begin())
				require.NoError(t, m.topic("t", nil))
				failing := faults.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpSync}, Path: path, Nth: nth, Err: syscall.EIO})
				c := &client{topic: "t", id: 1, acks: -1}
				var err error
				for i := 0; i < 12 && err == nil && failing.Hits() == 0; i++ {
					err = all(m, c.send(1, 100), settle, c.send(1, 9000), settle, c.send(1, 7000), later(20*time.Second))
				}
				if failing.Hits() > 0 {
					require.Error(t, m.dir.Ready(), "%s: the failed sync is noticed", name)
				}
				// Only the process ends. The pages that were not written are clean, and in memory.
				disk.Cut()
				m.crash()
				disk = disk.Kill()
				m.fs = disk
				require.NoError(t, m.begin())
				c.verify(t, m)
				c.retry(m)
				// Now the power goes, and takes what was never written.
				disk.Cut()
				m.crash()
				m.fs = disk.PowerCutAll()
				require.NoError(t, m.begin())
				c.verify(t, m)
				require.NoError(t, m.end())
			})
		}
	}
}

// Rules 6 and 9: in a compacted log, missing offsets are no licence for holes, and the last value of each key stays.
func TestRule09TheLastValueOfEachKeyStays(t *testing.T) {
	c := &client{topic: "t", id: 1, acks: -1, keys: 9}
	settings := map[string]string{"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01", "segment.bytes": "10000"}
	fill := func(n int) step {
		return func(m *machine) error {
			for range n {
				if err := all(m, c.send(3, 600), settle); err != nil {
					return err
				}
			}
			return nil
		}
	}
	script(t, func(m *machine) error {
		c.sent, c.next = nil, 0
		if err := m.topic("t", settings); err != nil {
			return err
		}
		// One compaction is done, so that offsets are missing from now on.
		return all(m, fill(12), later(30*time.Second))
	}, func(m *machine) error {
		return all(m, fill(12), c.send(1, 9000), fill(4), later(15*time.Second), fill(9))
	}, func(m *machine) {
		c.verify(m.t, m)
		c.retry(m)
		require.NoError(m.t, all(m, fill(12), later(time.Minute)))
		c.verify(m.t, m)
	})
}

// Rule 11: after a failed sync nothing is acknowledged any more, the partition says so, and nothing is lost.
func TestRule11AfterAFailedSyncNothingIsAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewCrash(1)
		faults := vfs.NewFaults(disk)
		m := newMachine(t, faults)
		require.NoError(t, m.begin())
		require.NoError(t, m.topic("t", nil))
		c := &client{topic: "t", id: 1, acks: -1}
		require.NoError(t, all(m, c.send(1, 100), settle))
		faults.Add(vfs.Rule{Ops: []vfs.Op{vfs.OpSync}, Path: "journal/*", Once: true, Err: syscall.EIO})
		var failed atomic.Bool
		require.NoError(t, c.send(1, 100)(m))
		m.partition("t").WhenDurable(2, -1, -1, func(err error) { failed.Store(err != nil) })
		require.NoError(t, settle(m))
		require.Error(t, m.dir.Ready())
		m.replicas.Fail(m.dir.Ready()) // as the broker does when the directory failed
		require.True(t, failed.Load(), "who waits is told")
		require.Len(t, c.open(), 1)
		for range 3 { // the disk works again, but nobody is told so
			require.Error(t, c.produce(m, c.sent[1]))
		}
		require.Error(t, m.end(), "not a clean stop")
		m.fs = disk.PowerCutAll()
		require.NoError(t, m.begin())
		c.verify(t, m)
		c.retry(m)
		require.NoError(t, m.end())
	})
}
