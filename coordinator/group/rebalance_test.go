package group

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
)

const (
	illegalGeneration  = 22
	inconsistent       = 23
	unknownMember      = 25
	rebalanceUnderWay  = 27
	groupFull          = 81
	fencedInstance     = 82
	memberIDRequired   = 79
	notCoordinator     = 16
	loadInProgress     = 14
	nonEmpty           = 68
	groupNotFound      = 69
	unstableOffset     = 88
	subscribedToTopic  = 86
	metadataTooLarge   = 12
	invalidSession     = 26
	invalidGroup       = 24
	unknownServerError = -1
)

func TestMemberAlone(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{})
		a := client("a")
		p := c.enter("g", a)
		require.Equal(t, []string{"group g gen=0 type="}, c.log.records(t, 0))
		require.True(t, p.open(), "the first rebalance waits for others")
		time.Sleep(c.InitialDelay())
		r := a.joined(p)
		require.EqualValues(t, 1, r.Generation)
		require.Equal(t, a.id, r.LeaderID)
		require.Equal(t, "range", *r.Protocol)
		require.Equal(t, []kmsg.JoinGroupResponseMember{{MemberID: a.id, ProtocolMetadata: []byte("a/range")}}, r.Members)
		require.Equal(t, "CompletingRebalance", c.describe("g").State)
		require.Zero(t, c.heartbeat("g", a))

		require.Equal(t, "a@1", string(c.sync("g", a, a).get().MemberAssignment))
		require.Equal(t, []string{"group g gen=1 type=consumer protocol=range a:a/range=a@1*"}, c.log.records(t, 1))
		require.Equal(t, "a@1", string(c.sync("g", a).get().MemberAssignment), "a repeated sync")
		d := c.describe("g")
		require.Equal(t, "Stable", d.State)
		require.Equal(t, "a/range", string(d.Members[0].ProtocolMetadata))

		require.Equal(t, []int16{0, unknownMember}, c.leave("g", a, a))
		require.Equal(t, []string{"group g gen=2 type=consumer"}, c.log.records(t, 2))
		require.Equal(t, "Empty", c.describe("g").State)
		require.EqualValues(t, unknownMember, c.heartbeat("g", a))
	})
}

func TestSecondMemberRebalances(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{})
		a, b := client("a"), client("b")
		b.protocols = []string{"sticky", "range"}
		c.settle("g", a)
		pb := c.enter("g", b)
		require.True(t, pb.open())
		require.EqualValues(t, rebalanceUnderWay, c.heartbeat("g", a))
		require.EqualValues(t, rebalanceUnderWay, c.sync("g", a).get().ErrorCode)
		ra := a.joined(c.join("g", a))
		rb := b.joined(pb)
		require.Equal(t, ra.LeaderID, rb.LeaderID)
		require.Equal(t, a.id, ra.LeaderID)
		require.Len(t, ra.Members, 2)
		require.Empty(t, rb.Members, "only the leader sees the others")
		b.protocols = []string{"range"} // what was voted
		sb := c.sync("g", b)
		require.True(t, sb.open(), "followers wait for the leader")
		require.Equal(t, "a@2", string(c.sync("g", a, a, b).get().MemberAssignment))
		require.Equal(t, "b@2", string(sb.get().MemberAssignment))
		require.Equal(t, "group g gen=2 type=consumer protocol=range a:a/range=a@2* b:b/range=b@2", c.log.records(t, 0)[2])

		require.Zero(t, c.leave("g", a)[0])
		require.EqualValues(t, rebalanceUnderWay, c.heartbeat("g", b))
		r := b.joined(c.join("g", b))
		require.Equal(t, b.id, r.LeaderID)
		require.EqualValues(t, 3, r.Generation)
	})
}

func TestFirstRebalanceWaitsWhileMembersCome(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{})
		var all []*joinReply
		for i := range 4 {
			all = append(all, c.enter("g", client(fmt.Sprint("m", i))))
			time.Sleep(2 * time.Second)
		}
		// Somebody came in each of the first two delays, nobody in the last.
		for range 4 {
			require.True(t, all[0].open())
			time.Sleep(time.Second)
		}
		for _, p := range all {
			require.EqualValues(t, 1, p.get().Generation)
		}
	})
}

func TestFirstRebalanceWaitsNoLongerThanTheRebalanceTimeout(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{})
		first := c.enter("g", client("first"))
		for i := range 59 {
			time.Sleep(time.Second)
			require.True(t, first.open())
			c.enter("g", client(fmt.Sprint(i)))
		}
		time.Sleep(time.Second + time.Millisecond)
		require.EqualValues(t, 1, first.get().Generation)
	})
}

func TestSilentMemberIsTakenOut(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{})
		a, b := client("a"), client("b")
		c.settle("g", a, b)
		for range 12 {
			time.Sleep(time.Second)
			if c.heartbeat("g", a) == rebalanceUnderWay {
				break
			}
		}
		require.EqualValues(t, unknownMember, c.heartbeat("g", b))
		r := a.joined(c.join("g", a))
		require.EqualValues(t, 2, r.Generation)
		require.Len(t, r.Members, 1)
	})
}

func TestCommitKeepsTheSessionAlive(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{})
		a := client("a")
		c.settle("g", a)
		for i := range 5 {
			time.Sleep(9 * time.Second)
			require.Zero(t, c.commit("g", a, "t", 0, int64(i)))
		}
		time.Sleep(11 * time.Second)
		require.EqualValues(t, unknownMember, c.commit("g", a, "t", 0, 9))
		require.Equal(t, "group g gen=2 type=consumer", c.log.records(t, 0)[7])
	})
}

func TestMemberThatDoesNotRejoinIsTakenOut(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{})
		a, b := client("a"), client("b")
		c.settle("g", a)
		p := c.enter("g", b)
		for range 70 { // it heartbeats, but it does not rejoin
			time.Sleep(time.Second)
			c.heartbeat("g", a)
		}
		r := b.joined(p)
		require.Equal(t, b.id, r.LeaderID)
		require.Len(t, r.Members, 1)
		require.EqualValues(t, unknownMember, c.heartbeat("g", a))
	})
}

func TestMemberThatDoesNotSyncIsTakenOut(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{})
		a, b := client("a"), client("b")
		pa, pb := c.enter("g", a), c.enter("g", b)
		time.Sleep(c.InitialDelay())
		a.joined(pa)
		b.joined(pb)
		sa := c.sync("g", a, a, b)
		require.Zero(t, sa.get().ErrorCode)
		for range 61 {
			time.Sleep(time.Second)
			c.heartbeat("g", a)
			c.heartbeat("g", b)
		}
		require.EqualValues(t, unknownMember, c.heartbeat("g", b))
		require.EqualValues(t, rebalanceUnderWay, c.heartbeat("g", a))
	})
}

func TestNobodySyncs(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{})
		a := client("a")
		a.session = time.Minute * 2
		p := c.enter("g", a)
		time.Sleep(c.InitialDelay())
		a.joined(p)
		time.Sleep(61 * time.Second)
		require.Equal(t, "Empty", c.describe("g").State)
		require.Equal(t, []string{"group g gen=0 type=", "group g gen=2 type=consumer"}, c.log.records(t, 0))
	})
}

func TestIDHandedOutExpires(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{})
		a, b := client("a"), client("b")
		c.settle("g", a)
		b.id = c.join("g", b).get().MemberID // and never comes back
		pa := c.join("g", a)                 // the leader wants a rebalance
		require.True(t, pa.open(), "the newcomer is waited for")
		time.Sleep(10*time.Second + time.Millisecond)
		require.EqualValues(t, 2, a.joined(pa).Generation)
		require.EqualValues(t, unknownMember, c.join("g", b).get().ErrorCode)
	})
}

func TestIDsHandedOutToNobodyLeaveNothingBehind(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{MaxPendingMembers: 5})
		for i := range 7 {
			code := c.join("g", client("x")).get().ErrorCode
			if i < 5 {
				require.EqualValues(t, memberIDRequired, code)
			} else {
				require.EqualValues(t, 15, code)
			}
		}
		time.Sleep(11 * time.Second)
		require.NoError(t, c.rt.Do(0, func(m *machine, _ runtime.View) runtime.Outcome {
			require.Empty(t, m.groups)
			return runtime.Outcome{}
		}))
		require.Equal(t, "Empty", c.describe("g").State)
		time.Sleep(11 * time.Minute)
		require.Equal(t, "Dead", c.describe("g").State, "without members and offsets it expires")
		require.Equal(t, []string{"group g gen=0 type=", "group g gone"}, c.log.records(t, 0))
	})
}

func TestGroupsInMemoryAreBounded(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{MaxGroups: 2})
		require.EqualValues(t, memberIDRequired, c.join("a", client("x")).get().ErrorCode)
		require.EqualValues(t, memberIDRequired, c.join("b", client("x")).get().ErrorCode)
		require.EqualValues(t, 15, c.join("c", client("x")).get().ErrorCode)
		require.EqualValues(t, memberIDRequired, c.join("b", client("x")).get().ErrorCode)
	})
}

func TestGroupMaxSize(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{MaxSize: 2})
		a, b, d := client("a"), client("b"), client("d")
		c.settle("g", a, b)
		require.EqualValues(t, groupFull, c.join("g", d).get().ErrorCode)
		require.Zero(t, c.leave("g", b)[0])
		pd := c.enter("g", d)
		a.joined(c.join("g", a))
		d.joined(pd)
	})
}

func TestGroupThatIsTooLargeAfterAReloadShrinks(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{})
		a, b, d := client("a"), client("b"), client("d")
		c.settle("g", a, b, d)
		c.conf.MaxSize = 2
		c.restart()
		require.EqualValues(t, rebalanceUnderWay, c.heartbeat("g", a))
		pa, pb := c.join("g", a), c.join("g", b)
		require.EqualValues(t, groupFull, c.join("g", d).get().ErrorCode)
		a.joined(pa)
		b.joined(pb)
	})
}

func TestLeaderThatCannotStoreStartsOver(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{})
		a, b := client("a"), client("b")
		pa, pb := c.enter("g", a), c.enter("g", b)
		time.Sleep(c.InitialDelay())
		a.joined(pa)
		b.joined(pb)
		sb := c.sync("g", b)
		c.log.refuseAll(fmt.Errorf("assignments of 10 MB: %w", runtime.ErrTooLarge))
		require.EqualValues(t, unknownServerError, c.sync("g", a, a, b).get().ErrorCode)
		require.EqualValues(t, unknownServerError, sb.get().ErrorCode)
		require.EqualValues(t, rebalanceUnderWay, c.heartbeat("g", a))
		c.log.refuseAll(nil)
		pa, pb = c.join("g", a), c.join("g", b)
		require.EqualValues(t, 2, a.joined(pa).Generation)
		b.joined(pb)
	})
}

func TestFullDiskDoesNotLoseTheLastLeave(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{})
		a := client("a")
		c.settle("g", a)
		c.log.refuseAll(runtime.ErrRefused)
		time.Sleep(12 * time.Second) // its session ends, but nothing can be written
		require.Equal(t, "Stable", c.describe("g").State)
		c.log.refuseAll(nil)
		time.Sleep(refusedPause)
		require.Equal(t, "Empty", c.describe("g").State)
	})
}

func TestUnloadAnswersWhoWaits(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{})
		a, b := client("a"), client("b")
		c.settle("g", a)
		p := c.enter("g", b)
		d, e := client("d"), client("e")
		pd, pe := c.enter("h", d), c.enter("h", e)
		time.Sleep(c.InitialDelay())
		d.joined(pd)
		e.joined(pe)
		follower := d
		if pd.get().LeaderID == d.id {
			follower = e
		}
		s := c.sync("h", follower)
		c.Unload(0, c.life)
		require.EqualValues(t, notCoordinator, p.get().ErrorCode)
		require.EqualValues(t, notCoordinator, s.get().ErrorCode)
		require.EqualValues(t, notCoordinator, c.heartbeat("g", a))
		require.EqualValues(t, notCoordinator, c.describe("g").ErrorCode)
	})
}

func TestAnswersWaitForTheLog(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{})
		a := client("a")
		p := c.enter("g", a)
		time.Sleep(c.InitialDelay())
		a.joined(p)
		c.log.hold()
		s := c.sync("g", a, a)
		hb := &reply1[*kmsg.HeartbeatResponse]{t: t}
		req := kmsg.NewPtrHeartbeatRequest()
		req.Group, req.MemberID, req.Generation = "g", a.id, a.gen
		c.Heartbeat(req, hb.set)
		require.True(t, s.open())
		require.True(t, hb.open(), "it has seen the generation that is not committed yet")
		c.log.release()
		require.Zero(t, s.get().ErrorCode)
		require.Zero(t, hb.get().ErrorCode)
	})
}

func TestReloadContinuesGenerations(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{})
		a, b := client("a"), client("b")
		c.settle("g", a, b)
		c.restart()
		require.Zero(t, c.heartbeat("g", a))
		require.Equal(t, "b@1", string(c.sync("g", b).get().MemberAssignment))
		time.Sleep(9 * time.Second)
		require.Zero(t, c.heartbeat("g", a))
		time.Sleep(2 * time.Second)
		require.EqualValues(t, unknownMember, c.heartbeat("g", b), "sessions went on from the reload")
		require.Zero(t, c.leave("g", a)[0])
		c.restart()
		d := client("d")
		p := c.enter("g", d)
		time.Sleep(c.InitialDelay())
		require.EqualValues(t, 3, d.joined(p).Generation)
	})
}

func TestRequestsOfTheWrongKind(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{})
		code := func(group string, change func(*who)) int16 {
			w := client("x")
			change(w)
			return c.join(group, w).get().ErrorCode
		}
		require.EqualValues(t, invalidGroup, code("", func(*who) {}))
		require.EqualValues(t, invalidSession, code("g", func(w *who) { w.session = 5999 * time.Millisecond }))
		require.EqualValues(t, invalidSession, code("g", func(w *who) { w.session = 31 * time.Minute }))
		require.EqualValues(t, unknownMember, code("g", func(w *who) { w.id = "nobody" }))
		require.Equal(t, "Dead", c.describe("g").State)
		require.EqualValues(t, inconsistent, code("g", func(w *who) { w.protocols = nil }))
		require.EqualValues(t, inconsistent, code("g", func(w *who) { w.typ = "" }))
		require.Equal(t, "Empty", c.describe("g").State, "as in Kafka the group is there now")
		a := client("a")
		c.settle("g", a)
		require.EqualValues(t, inconsistent, code("g", func(w *who) { w.typ = "connect" }))
		require.EqualValues(t, inconsistent, code("g", func(w *who) { w.protocols = []string{"other"} }))
		a.gen--
		require.EqualValues(t, illegalGeneration, c.heartbeat("g", a))
		require.EqualValues(t, illegalGeneration, c.sync("g", a).get().ErrorCode)
		a.gen++
		a.protocols = []string{"other"}
		require.EqualValues(t, inconsistent, c.sync("g", a).get().ErrorCode)
	})
}

func TestOlderVersionsJoinAtOnce(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{})
		a := client("a")
		a.version = 3
		p := c.join("g", a)
		require.True(t, p.open())
		time.Sleep(c.InitialDelay())
		r := a.joined(p)
		require.EqualValues(t, 3, r.Version)
		require.Equal(t, "a", alias(r.MemberID))
	})
}

func TestVote(t *testing.T) {
	g := newGroup("g", time.Time{})
	g.phase = stable
	for i, protocols := range [][]string{{"range", "sticky", "x"}, {"sticky", "range"}, {"sticky", "range", "x"}} {
		m := &member{id: fmt.Sprint(i)}
		for _, p := range protocols {
			m.protocols = append(m.protocols, protocol{name: p})
		}
		g.add(m)
	}
	require.Equal(t, "sticky", g.vote())
	g.remove("2")
	require.Equal(t, "sticky", g.vote(), "of two equals Kafka's hash map has this one first")
	require.False(t, g.supports("consumer", []protocol{{name: "x"}}))
}
