package group

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

func TestFirstShareHeartbeatHasTheAssignment(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c, w := sharing(t, Config{})
		began := time.Now()
		check(t, "2: 0a[0 1 2 3] 0b[0 1]", c.beat("g", "m", 0, "b", "a", "zz", "a"))
		require.Zero(t, time.Since(began), "the answer waits for commits only")
		require.Equal(t, []string{
			"member g/m rack=<nil> client /127.0.0.1 [a b zz]",
			fmt.Sprintf("group g epoch=2 hash=%x", uint64(topicsHash([]knownTopic{topicA, topicB}))),
			"target of g/m [0a00:[0 1 2 3] 0b00:[0 1]]",
			fmt.Sprintf("target g epoch=2 at=%d", began.UnixMilli()),
			"current of g/m epoch=2/0 [0a00:[0 1 2 3] 0b00:[0 1]]",
			"states g initializing [a 0a00:[0 1 2 3] b 0b00:[0 1]] initialized [] deleting []",
			"states g initializing [] initialized [a 0a00:[0 1 2 3] b 0b00:[0 1]] deleting []",
		}, c.log.records(t, 0))
		require.Equal(t, []string{"g/0a/0@2:-1", "g/0a/1@2:-1", "g/0a/2@2:-1", "g/0a/3@2:-1", "g/0b/0@2:-1", "g/0b/1@2:-1"}, w.kept())
		check(t, "Stable epoch=2/2 m@2[a b zz]a[0 1 2 3]b[0 1]", c.showShare("g"))

		end := c.log.End()
		check(t, "2", c.beat("g", "m", 2))
		check(t, "2: 0a[0 1 2 3] 0b[0 1]", c.beat("g", "m", 2, "a", "b", "zz"))
		check(t, "2: 0a[0 1 2 3] 0b[0 1]", c.beat("g", "m", 0, "a", "b", "zz"))
		require.Equal(t, end, c.log.End(), "nothing changed, nothing is written")
	})
}

func TestShareMembersComeAndGo(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c, _ := sharing(t, Config{})
		check(t, "2: 0a[0 1 2 3] 0b[0 1]", c.beat("g", "m1", 0, "a", "b"))
		check(t, "3: 0a[0 1 2]", c.beat("g", "m2", 0, "a"))
		check(t, "3: 0a[3] 0b[0 1]", c.beat("g", "m1", 2))
		from := c.log.End()
		check(t, "4: 0a[0 1 2]", c.beat("g", "m2", 3, "a", "b"))
		check(t, "4", c.beat("g", "m1", 3))
		require.Contains(t, c.log.records(t, from), "current of g/m1 epoch=4/3 [0a00:[3] 0b00:[0 1]]")

		from = c.log.End()
		check(t, "-1", c.beat("g", "m2", -1))
		require.Equal(t, []string{
			"14 of g/m2 gone", "13 of g/m2 gone", "10 of g/m2 gone",
			fmt.Sprintf("group g epoch=5 hash=%x", uint64(topicsHash([]knownTopic{topicA, topicB}))),
		}, c.log.records(t, from))
		check(t, "Stable epoch=5/4 m1@4[a b]a[3]b[0 1]", c.showShare("g"))
		check(t, "5: 0a[0 1 2 3] 0b[0 1]", c.beat("g", "m1", 4))

		from = c.log.End()
		check(t, "-1", c.beat("g", "m1", -1))
		require.Equal(t, []string{"14 of g/m1 gone", "13 of g/m1 gone", "10 of g/m1 gone", "group g epoch=6 hash=0", "target g epoch=6 at=0"}, c.log.records(t, from))
		check(t, "Empty epoch=6/6", c.showShare("g"))
		check(t, "25 Member m1 is not a member of group g.", c.beat("g", "m1", -1))
		check(t, "7: 0a[0 1 2 3]", c.beat("g", "m1", 0, "a"))
	})
}

func TestShareEpochs(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c, _ := sharing(t, Config{})
		c.beat("g", "m1", 0, "a")
		c.beat("g", "m2", 0, "a")
		check(t, "3: 0a[2 3]", c.beat("g", "m1", 2))
		check(t, "3: 0a[2 3]", c.beat("g", "m1", 2)) // the answer was lost: it is told again, which Kafka does not
		check(t, "3", c.beat("g", "m1", 3))
		check(t, "110 The share group member has a greater member epoch (99) than the one known by the group coordinator (3). "+
			"The member must abandon all its partitions and rejoin.", c.beat("g", "m1", 99))
		check(t, "110 The share group member has a smaller member epoch (1) than the one known by the group coordinator (3), "+
			"and it does not match the previous member epoch (2). The member must abandon all its partitions and rejoin.", c.beat("g", "m1", 1))
	})
}

func TestShareHeartbeatsThatMakeNoSense(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c, _ := sharing(t, Config{ShareMaxSize: 2, ShareMaxTopics: 3})
		for _, wrong := range []struct {
			group, member string
			epoch         int32
			topics        []string
			want          string
		}{
			{"", "m", 0, []string{"a"}, "42 GroupId can't be empty."},
			{" ", "m", 0, []string{"a"}, "42 GroupId can't be empty."},
			{"g", "", 0, []string{"a"}, "42"},
			{"g", " ", 0, []string{"a"}, "42 MemberId can't be empty."},
			{"g", strings.Repeat("m", 37), 0, []string{"a"}, "42"},
			{"g", "m", 0, nil, "42 SubscribedTopicNames must be set in first request."},
			{"g", "m", 0, []string{}, "42 SubscribedTopicNames must be set in first request."},
			{"g", "m", -2, nil, "42 MemberEpoch is invalid."},
			{"g", "m", 7, nil, "69 Share group g not found."},
			{"g", "m", -1, nil, "69 Group g not found."},
			{strings.Repeat("g", 40_000), "m", 0, []string{"a"}, "42 GroupId is too long."},
			{"g", "m", 0, []string{"a", "b", "c", "d"}, "42 SubscribedTopicNames has more than 3 topics."},
			{"g", "m", 0, []string{strings.Repeat("t", 250)}, "42 SubscribedTopicNames has a name that is too long."},
		} {
			check(t, wrong.want, c.beat(wrong.group, wrong.member, wrong.epoch, wrong.topics...))
		}
		req := kmsg.NewPtrShareGroupHeartbeatRequest()
		req.GroupID, req.MemberID, req.SubscribedTopicNames, req.RackID = "g", "m", []string{"a"}, kmsg.StringPtr("")
		p := &beatReply{t: t}
		c.ShareGroupHeartbeat(Caller{}, req, p.set)
		check(t, "42 RackId can't be empty.", showBeat(p.get()))
		require.Zero(t, c.log.End())

		check(t, "2: 0a[0 1 2 3]", c.beat("g", strings.Repeat("m", 36), 0, "a"))
		check(t, "3: 0a[0 1]", c.beat("g", "m2", 0, "a"))
		check(t, "81 The share group has reached its maximum capacity of 2 members.", c.beat("g", "m3", 0, "a"))
		check(t, "25 Member m3 is not a member of group g.", c.beat("g", "m3", 3))
		check(t, "3: 0a[0 1]", c.beat("g", "m2", 0, "a"))
	})
}

func TestShareSessions(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c, w := sharing(t, Config{})
		check(t, "2: 0a[0 1 2 3]", c.beat("g", "m1", 0, "a"))
		pass(30 * time.Second)
		w.settings = ShareSettings{SessionTimeout: time.Minute, HeartbeatInterval: 7 * time.Second}
		r := c.beatLater("g", "m2", 0, "a").get()
		require.EqualValues(t, 7000, r.HeartbeatIntervalMillis)
		pass(16 * time.Second)
		check(t, "Stable epoch=4/3 m2@3[a]a[0 1]", c.showShare("g"))
		check(t, "4: 0a[0 1 2 3]", c.beat("g", "m2", 3))
		pass(59 * time.Second)
		check(t, "4", c.beat("g", "m2", 4))
		pass(61 * time.Second)
		check(t, "Empty epoch=5/5", c.showShare("g"))
		check(t, "25 Member m2 is not a member of group g.", c.beat("g", "m2", 4))
	})
}

func TestShareGroupsFollowTheTopics(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c, w := sharing(t, Config{})
		check(t, "2: 0a[0 1 2 3]", c.beat("g", "m", 0, "a", "n"))
		w.set("n", uuid.ID{0x1}, 1)
		check(t, "3: 01[0] 0a[0 1 2 3]", c.beat("g", "m", 2))
		w.set("n", uuid.ID{0x1}, 3)
		check(t, "4: 01[0 1 2] 0a[0 1 2 3]", c.beat("g", "m", 3))
		require.Contains(t, w.kept(), "g/01/2@4:-1")
		w.set("other", uuid.ID{0x2}, 3)
		check(t, "4", c.beat("g", "m", 4))
		w.set("a", topicA.id, 0)
		check(t, "5: 01[0 1 2]", c.beat("g", "m", 4))
		require.Equal(t, []string{"g/01/0@3:-1", "g/01/1@4:-1", "g/01/2@4:-1"}, w.kept())
		require.Len(t, w.changed, 4, "the windows of the deleted topic are to be forgotten")
		w.set("n", uuid.ID{0x1}, 0)
		w.set("n", uuid.ID{0x3}, 1) // made again under the same name
		check(t, "6: 03[0]", c.beat("g", "m", 5))
		require.Equal(t, []string{"g/03/0@6:-1"}, w.kept())
		check(t, "7:", c.beat("g", "m", 6, "nothing"))
		check(t, "8: 03[0]", c.beat("g", "m", 7, "n"))
		check(t, "9:", c.beat("g", "m", 8, []string{}...))
	})
}

func TestShareGroupsWithoutMembersForgetDeletedTopics(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c, w := sharing(t, Config{})
		for i := range 300 {
			require.NoError(t, c.register(fmt.Sprint("g", i), topicA.id, topicB.id).get())
		}
		w.set("a", topicA.id, 0)
		c.TopicsDeleted([]Topic{{Name: "a", ID: topicA.id}})
		pass(0)
		require.Len(t, w.kept(), 600)
		check(t, "0 b/0=-1+-1 b/1=-1+-1", c.where("g7", ""))
		c.restart()
		check(t, "0 b/0=-1+-1 b/1=-1+-1", c.where("g299", ""))
	})
}

func TestShareGroupsSurviveTheirCoordinator(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c, _ := sharing(t, Config{})
		c.beat("g", "m1", 0, "a", "b")
		c.beat("g", "m2", 0, "a")
		c.beat("g", "m1", 2)
		c.beat("empty", "m", 0, "b")
		c.beat("empty", "m", -1)
		before := c.showShare("g") + c.showShare("empty")
		c.restart()
		check(t, before, c.showShare("g")+c.showShare("empty"))
		end := c.log.End()
		check(t, "3", c.beat("g", "m1", 3))
		check(t, "3", c.beat("g", "m2", 3))
		require.Equal(t, end, c.log.End())
		pass(46 * time.Second)
		check(t, "Empty epoch=5/5", c.showShare("g"))
	})
}

func TestShareCoordinatorThatMoves(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c, w := sharing(t, Config{})
		w.holding()
		p := c.beatLater("g", "m", 0, "a")
		require.True(t, p.open(), "the states are not there yet")
		c.stop()
		check(t, "16", showBeat(p.get()))
		w.release()
		require.Len(t, w.kept(), 4)
		c.start()
		pass(0)
		require.Equal(t, "states g initializing [] initialized [a 0a00:[0 1 2 3]] deleting []", last(c.log.records(t, 0)))
		require.Equal(t, 4, w.inits, "states that are there are not made again")
		check(t, "2: 0a[0 1 2 3]", c.beat("g", "m", 0, "a"))
	})
}

func TestShareAnswersDoNotWaitForEverForStates(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c, w := sharing(t, Config{})
		w.holding()
		p, q := c.beatLater("g", "m", 0, "a"), c.beatLater("g", "n", 0, "a")
		require.True(t, p.open() && q.open())
		pass(time.Second)
		check(t, "2: 0a[0 1 2 3]", showBeat(p.get()))
		check(t, "3: 0a[0 1]", showBeat(q.get()))
		p = c.beatLater("g", "m", 2)
		pass(time.Second)
		check(t, "3: 0a[2 3]", showBeat(p.get()))
		w.release()
		pass(0)
		require.Len(t, w.kept(), 4)

		w.failing(runtime.ErrBusy)
		p = c.beatLater("g", "m", 3, "a", "b")
		pass(time.Second)
		check(t, "4: 0a[3] 0b[0 1]", showBeat(p.get()))
		w.failing(nil)
		pass(time.Second)
		require.Len(t, w.kept(), 6)
	})
}

func TestShareAnswersComeSoonAfterTheStates(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c, w := sharing(t, Config{})
		w.failing(runtime.ErrLoading)
		p := c.beatLater("g", "m", 0, "a")
		pass(200 * time.Millisecond)
		require.True(t, p.open())
		w.failing(nil)
		pass(200 * time.Millisecond)
		check(t, "2: 0a[0 1 2 3]", showBeat(p.get()))
		require.Len(t, w.kept(), 4)
	})
}

func TestShareHeartbeatOnAFullDisk(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c, _ := sharing(t, Config{})
		c.beat("g", "m1", 0, "a")
		c.log.refuseAll(runtime.ErrRefused)
		check(t, "15", c.beat("g", "m2", 0, "a"))
		check(t, "2", c.beat("g", "m1", 2))
		pass(46 * time.Second)
		c.log.refuseAll(nil)
		check(t, "Stable epoch=2/2 m1@2[a]a[0 1 2 3]", c.showShare("g"))
		pass(6 * time.Second)
		check(t, "Empty epoch=3/3", c.showShare("g"))
		check(t, "4: 0a[0 1 2 3]", c.beat("g", "m2", 0, "a"))
	})
}

func last(lines []string) string { return lines[len(lines)-1] }
