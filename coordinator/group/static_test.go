package group

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestStaticMemberKeepsItsPlace(t *testing.T) {
	for _, version := range []int16{5, 8, 9} {
		t.Run(fmt.Sprint("v", version), func(t *testing.T) {
			simulate(t, func(t *testing.T) {
				c := coordinator(t, Config{})
				a, b := static("a"), static("b")
				c.settle("g", a, b)
				end := c.log.End()
				again := static("a")
				again.version = version
				r := again.joined(c.join("g", again))
				require.EqualValues(t, 1, r.Generation)
				require.NotEqual(t, a.id, again.id)
				if version >= 9 {
					require.Equal(t, again.id, r.LeaderID)
					require.True(t, r.SkipAssignment)
					require.Len(t, r.Members, 2)
				} else {
					require.Equal(t, a.id, r.LeaderID)
					require.Empty(t, r.Members)
				}
				require.Equal(t, []string{"group g gen=1 type=consumer protocol=range a:a/range=a@1* b:b/range=b@1"}, c.log.records(t, end))
				require.Equal(t, "a@1", string(c.sync("g", again).get().MemberAssignment))
				require.EqualValues(t, fencedInstance, c.heartbeat("g", a))
				require.EqualValues(t, fencedInstance, c.join("g", a).get().ErrorCode)
				require.EqualValues(t, fencedInstance, c.sync("g", a).get().ErrorCode)
				require.Zero(t, c.heartbeat("g", b), "the others notice nothing")
				c.restart()
				require.Zero(t, c.heartbeat("g", again))
				require.EqualValues(t, fencedInstance, c.heartbeat("g", a))
			})
		})
	}
}

func TestStaticMemberThatChangesTheVoteRebalances(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{})
		a := static("a")
		a.protocols = []string{"range", "sticky"}
		c.settle("g", a)
		again := static("a")
		again.protocols = []string{"sticky", "range"}
		r := again.joined(c.join("g", again))
		require.EqualValues(t, 2, r.Generation)
		require.Equal(t, "sticky", *r.Protocol)
	})
}

func TestStaticMemberFencesItsWaitingSelf(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{})
		a, b := client("a"), static("b")
		c.settle("g", a)
		first := c.join("g", b)
		second := c.join("g", b)
		require.EqualValues(t, fencedInstance, first.get().ErrorCode)
		a.joined(c.join("g", a))
		b.joined(second)
		waiting := c.sync("g", b)
		third := c.join("g", static("b"))
		require.EqualValues(t, fencedInstance, waiting.get().ErrorCode)
		require.True(t, third.open())
	})
}

func TestStaticMembersAreWaitedForUntilTheirSessionsEnd(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c := coordinator(t, Config{})
		a, b := static("a"), static("b")
		a.session, b.session = 3*time.Minute, 3*time.Minute
		c.settle("g", a, b)
		d := client("d")
		d.session = 5 * time.Minute
		p := c.enter("g", d)
		time.Sleep(61 * time.Second) // the rebalance timeout
		r := d.joined(p)
		require.Len(t, r.Members, 3, "they keep their place")
		require.Equal(t, d.id, r.LeaderID, "but do not lead")
	})
}
