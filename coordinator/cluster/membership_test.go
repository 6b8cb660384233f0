package cluster

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBrokerRegistersAndLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := NewMemory()
		c, _ := join(t, store, 1, func(o *Options) { o.Rack = "r1"; o.Features = map[string]int16{"metadata.version": 33} })
		im := c.Image()
		require.Len(t, im.ClusterID, 22)
		require.Equal(t, map[string]int16{"metadata.version": 33}, im.Features)
		require.Equal(t, int32(1), im.ControllerID)
		b := im.Broker(1)
		require.Equal(t, "r1", b.Rack)
		require.Equal(t, c.Epoch(), b.Epoch)
		require.Equal(t, []Endpoint{{Name: "PLAINTEXT", Protocol: "PLAINTEXT", Host: "127.0.0.1", Port: 9093}}, b.Listeners)
		require.True(t, c.Active())
		time.Sleep(10 * time.Minute)
		require.True(t, c.Active())
		require.Equal(t, b.Epoch, c.Image().Broker(1).Epoch, "a live broker keeps its registration")

		require.NoError(t, c.Close(t.Context()))
		require.False(t, c.Active())
		require.Empty(t, keysLeft(t, store, "brokers/"), "a clean stop leaves at once")
		require.Empty(t, keysLeft(t, store, "controller"))
		_, err := c.CreateTopic(t.Context(), topicOf(1, 1))
		require.ErrorIs(t, err, ErrClosed)

		again, _ := join(t, store, 1)
		require.Equal(t, im.ClusterID, again.Image().ClusterID)
		require.Greater(t, again.Epoch(), b.Epoch)
		require.Greater(t, again.Image().ControllerEpoch, im.ControllerEpoch)
	})
}

func TestLeadersMoveWithTheirBrokers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := NewMemory()
		c1, _ := join(t, store, 1)
		c2, line2 := join(t, store, 2)
		c3, _ := join(t, store, 3)
		require.Equal(t, int32(1), c3.Image().ControllerID)
		assigned := func(name string, replicas ...int32) TopicSpec {
			return TopicSpec{Name: name, Partitions: -1, ReplicationFactor: -1, Assignments: []Assignment{{Replicas: replicas}}}
		}
		for _, spec := range []TopicSpec{assigned("led", 2, 3), assigned("followed", 3, 2), assigned("only", 2), assigned("apart", 1)} {
			_, err := c1.CreateTopic(t.Context(), spec)
			require.NoError(t, err)
		}
		_, err := c3.CreateTopic(t.Context(), topicOf(1, 1))
		require.ErrorIs(t, err, ErrNotController)
		before := c1.Image()

		die(t, c2, line2)
		im := until(t, c1, func(im *Image) bool { return im.Topic("only").Partitions[0].Leader == NoLeader })
		require.Nil(t, im.Broker(2))
		requirePartition(t, im.Topic("led").Partitions[0], 3, 1, 1, []int32{3})
		requirePartition(t, im.Topic("followed").Partitions[0], 3, 0, 1, []int32{3})
		requirePartition(t, im.Topic("only").Partitions[0], NoLeader, 1, 1, []int32{2})
		require.Same(t, before.Topic("apart"), im.Topic("apart"))

		back, _ := join(t, store, 2, unclean)
		im = until(t, back, func(im *Image) bool { return im.Topic("only").Partitions[0].Leader == 2 })
		requirePartition(t, im.Topic("only").Partitions[0], 2, 2, 2, []int32{2})
		requirePartition(t, im.Topic("led").Partitions[0], 3, 1, 1, []int32{3})

		until(t, c3, func(c3s *Image) bool { return c3s.Revision >= im.Revision })
		p, err := c3.AlterPartition(t.Context(), im.Topic("led").ID, 0, Proposal{Revision: im.Topic("led").Partitions[0].Revision, Leader: 3, ISR: []int32{3, 2}})
		require.NoError(t, err)
		requirePartition(t, p, 3, 1, 2, []int32{3, 2})
		require.Equal(t, p, c3.Image().Topic("led").Partitions[0])
	})
}

func requirePartition(t *testing.T, p Partition, leader, leaderEpoch, partitionEpoch int32, isr []int32) {
	t.Helper()
	require.Equal(t, []int32{leader, leaderEpoch, partitionEpoch}, []int32{p.Leader, p.LeaderEpoch, p.PartitionEpoch}, "leader and epochs")
	require.Equal(t, isr, p.ISR)
}

func TestControllerIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := NewMemory()
		c1, line1 := join(t, store, 1)
		c2, _ := join(t, store, 2)
		c3, _ := join(t, store, 3)
		_, err := c1.CreateTopic(t.Context(), TopicSpec{Name: "t", Partitions: 12, ReplicationFactor: 3})
		require.NoError(t, err)
		epoch := c2.Image().ControllerEpoch

		began := time.Now()
		die(t, c1, line1)
		im := until(t, c2, func(im *Image) bool { return im.ControllerID > 1 })
		require.Greater(t, im.ControllerEpoch, epoch)
		require.GreaterOrEqual(t, time.Since(began), 6*time.Second, "not before its lease ran out")
		require.LessOrEqual(t, time.Since(began), 9*time.Second)
		synctest.Wait()
		ruling := map[int32]*Cluster{2: c2, 3: c3}[im.ControllerID]
		_, err = ruling.CreateTopic(t.Context(), TopicSpec{Name: "u", Partitions: 1, ReplicationFactor: 2})
		require.NoError(t, err)
		for _, p := range ruling.Image().Topic("t").Partitions {
			require.NotEqual(t, int32(1), p.Leader)
			require.NotContains(t, p.ISR, int32(1))
		}
	})
}

// TestSilentControllerChangesNothing: a controller that was cut off does not know yet that it was replaced; nothing it does counts.
func TestSilentControllerChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := NewMemory()
		c1, line1 := join(t, store, 1)
		c2, _ := join(t, store, 2)
		line1.cutNow()
		until(t, c2, func(im *Image) bool { return im.ControllerID == 2 })
		require.Equal(t, int32(1), c1.Image().ControllerID, "it still believes")

		line1.mend()
		_, err := c1.CreateTopic(t.Context(), topicOf(200, 1))
		require.Error(t, err)
		require.Empty(t, keysLeft(t, store, "topics/"))
		until(t, c1, func(im *Image) bool { return im.ControllerID == 2 && im.Broker(1) != nil })
		until(t, c2, func(*Image) bool { return !c2.view.hasLoose() })
		require.Empty(t, keysLeft(t, store, "partitions/"))
	})
}

func TestBrokerIsFencedByItsOwnClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := NewMemory()
		c1, _ := join(t, store, 1)
		c2, line2 := join(t, store, 2)
		var states []bool
		var fencedAt time.Time
		c2.OnFence(func(fenced bool) {
			states = append(states, fenced)
			if fenced {
				fencedAt = time.Now()
			}
		})
		registered := c2.Epoch()
		_, err := c1.CreateTopic(t.Context(), TopicSpec{Name: "t", Partitions: -1, ReplicationFactor: -1, Assignments: []Assignment{{Replicas: []int32{2, 1}}}})
		require.NoError(t, err)

		line2.cutNow()
		until(t, c1, func(im *Image) bool { return im.Topic("t").Partitions[0].Leader == 1 })
		synctest.Wait()
		require.False(t, c2.Active(), "before anybody else leads")
		require.Equal(t, []bool{false, true}, states)
		require.False(t, fencedAt.After(time.Now()))

		line2.mend()
		until(t, c1, func(im *Image) bool { return im.Broker(2) != nil })
		synctest.Wait()
		require.True(t, c2.Active())
		require.Equal(t, []bool{false, true, false}, states)
		require.Greater(t, c2.Epoch(), registered, "another registration")
		require.Equal(t, int32(1), c2.Image().Topic("t").Partitions[0].Leader, "known before it may acknowledge again")
	})
}

// TestRegistrationRemovedBeforeItsTime: a broker whose registration vanishes although its lease should live is fenced when it sees that, and
// registers again at once.
func TestRegistrationRemovedBeforeItsTime(t *testing.T) {
	for name, remove := range map[string]func(*testing.T, *Memory, *Cluster){
		"lease ended": func(t *testing.T, m *Memory, c *Cluster) {
			require.NoError(t, m.Revoke(t.Context(), LeaseID(c.session.lease.Load())))
		},
		"key deleted": func(t *testing.T, m *Memory, c *Cluster) {
			mustTxn(t, m, Op{Key: DefaultPrefix + "brokers/1", Delete: true})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := NewMemory()
				c, _ := join(t, store, 1)
				var states []bool
				c.OnFence(func(fenced bool) { states = append(states, fenced) })
				registered, began := c.Epoch(), time.Now()
				remove(t, store, c)
				synctest.Wait()
				require.Zero(t, time.Since(began))
				require.Equal(t, []bool{false, true, false}, states)
				require.Greater(t, c.Epoch(), registered)
				time.Sleep(time.Minute)
				require.True(t, c.Active())
				require.Equal(t, []bool{false, true, false}, states)
				require.Equal(t, c.Epoch(), c.Image().Broker(1).Epoch)
				require.Equal(t, int32(1), c.Image().ControllerID)
			})
		})
	}
}

func TestShortSilenceIsForgiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := NewMemory()
		c, line := join(t, store, 1)
		epoch := c.Epoch()
		for range 5 {
			line.cutNow()
			time.Sleep(4 * time.Second)
			line.mend()
			time.Sleep(10 * time.Second)
			require.True(t, c.Active())
		}
		require.Equal(t, epoch, c.Epoch())
	})
}

func TestBrokerIDIsHeldByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := NewMemory()
		c, line := join(t, store, 1)
		stranger := options(newCable(store), 1)
		stranger.DirectoryID = directory(99)
		began := time.Now()
		_, err := Start(t.Context(), stranger)
		require.ErrorIs(t, err, ErrBrokerIDInUse)
		require.LessOrEqual(t, time.Since(began), 12*time.Second)
		require.True(t, c.Active())
		require.Equal(t, c.Epoch(), c.Image().Broker(1).Epoch)

		die(t, c, line)
		began = time.Now()
		next, _ := join(t, store, 1, func(o *Options) { o.DirectoryID = directory(99) })
		require.Greater(t, time.Since(began), time.Second, "waits for the lease of the dead")
		require.True(t, next.Active())
	})
}

func TestRestartWithTheSameDirectoryDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := NewMemory()
		c, line := join(t, store, 1)
		_, err := c.CreateTopic(t.Context(), topicOf(2, 1))
		require.NoError(t, err)
		die(t, c, line)
		began := time.Now()
		next, _ := join(t, store, 1, unclean)
		require.Zero(t, time.Since(began))
		require.Equal(t, int32(1), next.Image().ControllerID)
		time.Sleep(time.Minute) // the lease of the dead process runs out, and takes nothing along
		require.True(t, next.Active())
		require.NotNil(t, next.Image().Broker(1))
		require.Equal(t, next.Epoch(), next.Image().Broker(1).Epoch)
	})
}

func TestLeaderEpochsAcrossRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := NewMemory()
		c, _ := join(t, store, 1)
		_, err := c.CreateTopic(t.Context(), topicOf(1000, 1))
		require.NoError(t, err)

		require.NoError(t, c.Close(t.Context()))
		c, line := join(t, store, 1)
		require.LessOrEqual(t, line.txns, 3, "a restart after a clean stop writes as much for 1,000 partitions as for none")
		requirePartition(t, c.Image().Topic("t").Partitions[999], 1, 0, 0, []int32{1})

		die(t, c, line)
		c, _ = join(t, store, 1, unclean)
		for _, p := range c.Image().Topic("t").Partitions {
			requirePartition(t, p, 1, 1, 1, []int32{1})
		}
		require.NoError(t, c.Close(t.Context()))

		// Cut while the epochs are raised: what was raised is raised again, and none is left out.
		line = newCable(store)
		line.cutAfter(4, true)
		o := options(line, 1)
		o.Clean = false
		_, err = Start(t.Context(), o)
		require.ErrorIs(t, err, ErrUnavailable)
		c, _ = join(t, store, 1, unclean)
		for _, p := range c.Image().Topic("t").Partitions {
			require.GreaterOrEqual(t, p.LeaderEpoch, int32(2))
			require.LessOrEqual(t, p.LeaderEpoch, int32(3))
		}
	})
}

func TestCrashLeavesInSyncSetsWithOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := NewMemory()
		c1, _ := join(t, store, 1)
		c2, line2 := join(t, store, 2)
		_, err := c1.CreateTopic(t.Context(), TopicSpec{Name: "t", Partitions: -1, ReplicationFactor: -1,
			Assignments: []Assignment{{0, []int32{2, 1}}, {1, []int32{1, 2}}}})
		require.NoError(t, err)
		die(t, c2, line2)
		c2, _ = join(t, store, 2, unclean) // at once: its lease never ran out
		parts := c2.Image().Topic("t").Partitions
		requirePartition(t, parts[0], 1, 1, 1, []int32{1})
		requirePartition(t, parts[1], 1, 0, 1, []int32{1})
	})
}

func TestIdentityIsChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := NewMemory()
		o := options(store, 1)
		o.ClusterID = "somethingthatwasbefore"
		_, err := Start(t.Context(), o)
		require.ErrorIs(t, err, ErrWrongCluster)
		require.Empty(t, keysLeft(t, store, ""), "nothing was written")

		c, _ := join(t, store, 1)
		id := c.Image().ClusterID
		_, err = Start(t.Context(), o)
		require.ErrorIs(t, err, ErrWrongCluster)
		require.ErrorContains(t, err, id)
		require.NoError(t, c.Close(t.Context()))
		_, _ = join(t, store, 1, func(o *Options) { o.ClusterID = id })

		mustTxn(t, store, Op{Key: DefaultPrefix + "cluster", Value: encode(clusterRecord{ID: id, Format: format + 1})})
		_, err = Start(t.Context(), options(store, 2))
		require.ErrorIs(t, err, ErrNewerFormat)
	})
}

func TestOptionsAreCheckedTogether(t *testing.T) {
	_, err := Start(context.Background(), Options{BrokerID: -1, Prefix: "x", SessionTimeout: time.Millisecond, PartitionsPerTopic: -1})
	for _, what := range []string{"broker id -1", "exactly one of", `prefix "x"`, "session timeout 1ms", "limit of partitions or replicas -1"} {
		require.ErrorContains(t, err, what)
	}
}
