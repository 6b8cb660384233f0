package group

import (
	"fmt"
	goruntime "runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
	"github.com/tidemark-mq/tidemark/coordinator/share"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

func TestRegisteredShareGroup(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c, w := sharing(t, Config{})
		w.holding()
		p := c.register("q", topicB.id)
		require.True(t, p.open(), "its positions are not there yet")
		w.release()
		require.NoError(t, p.get())
		require.Equal(t, []string{"q/0b/0@1:-1", "q/0b/1@1:-1"}, w.kept())
		require.Equal(t, []string{
			"group q epoch=1 hash=0", "target q epoch=1 at=0",
			"states q initializing [b 0b00:[0 1]] initialized [] deleting []",
			"states q initializing [] initialized [b 0b00:[0 1]] deleting []",
		}, c.log.records(t, 0))
		check(t, "Empty epoch=1/1", c.showShare("q"))
		require.Equal(t, []string{"q share Empty share"}, c.listed())
		require.NoError(t, c.register("q", topicB.id).get(), "again")
		require.NoError(t, c.register("q", topicA.id, topicB.id).get(), "one more")
		require.Len(t, w.kept(), 6)
		check(t, "0 a/0=-1+-1 a/1=-1+-1 a/2=-1+-1 a/3=-1+-1 b/0=-1+-1 b/1=-1+-1", c.where("q", ""))
		check(t, "2: 0b[0 1]", c.beat("q", "m", 0, "b"))
		require.Equal(t, 6, w.inits)

		require.ErrorContains(t, c.register("q", uuid.ID{9}).get(), "UNKNOWN_TOPIC_ID")
		require.ErrorContains(t, c.register("", topicA.id).get(), "INVALID_GROUP_ID")
		c.settle("classic", client("x"))
		require.ErrorContains(t, c.register("classic", topicA.id).get(), "GROUP_ID_NOT_FOUND")
		require.NoError(t, c.register("nothing").get())
		check(t, "Empty epoch=1/1", c.showShare("nothing"))

		w.failing(runtime.ErrBusy)
		p = c.register("late", topicA.id)
		pass(time.Second)
		require.ErrorContains(t, p.get(), "COORDINATOR_NOT_AVAILABLE")
		w.failing(nil)
		pass(time.Second)
		require.NoError(t, c.register("late", topicA.id).get())
	})
}

func TestShareOffsetsAreDescribed(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c, w := sharing(t, Config{})
		check(t, "0 a/0=-1+-1", c.where("none", "a", 0))
		check(t, "0", c.where("none", ""))
		check(t, "24", c.where("", "a", 0))
		c.beat("g", "m", 0, "a")
		w.states[share.Key{Group: "g", Topic: topicA.id, Partition: 1}] = share.Stored{StateEpoch: 2, LeaderEpoch: 3, Start: 5, DeliveryComplete: 2}
		w.states[share.Key{Group: "g", Topic: topicA.id, Partition: 2}] = share.Stored{StateEpoch: 2, Start: 5, DeliveryComplete: -1}
		w.ends[topicA.id] = 20
		check(t, "0 a/1=5+13 a/2=5+-1 a/0=-1+-1 a/9=-1+-1 a/-1=-1+-1", c.where("g", "a", 1, 1, 2, 0, 9, -1))
		check(t, "0 a/0=-1+-1 a/1=5+13 a/2=5+-1 a/3=-1+-1", c.where("g", ""))
		check(t, "0 zz/0=-1+-1 zz/0=-1+-1", c.where("g", "zz", 0, 0))
		req := kmsg.NewPtrDescribeShareGroupOffsetsRequest()
		topic := func(name string, partitions ...int32) kmsg.DescribeShareGroupOffsetsRequestGroupTopic {
			return kmsg.DescribeShareGroupOffsetsRequestGroupTopic{Topic: name, Partitions: partitions}
		}
		req.Groups = []kmsg.DescribeShareGroupOffsetsRequestGroup{{GroupID: "g", Topics: []kmsg.DescribeShareGroupOffsetsRequestGroupTopic{
			topic("a", 1, 1), topic("zz", 0), topic("b", 0), topic("a", 2, 1), topic("zz", 0)}}}
		p := &reply1[*kmsg.DescribeShareGroupOffsetsResponse]{t: t}
		c.DescribeShareGroupOffsets(req, p.set)
		var told []string
		for _, g := range p.get().Groups[0].Topics {
			told = append(told, fmt.Sprint(g.Topic, len(g.Partitions)))
		}
		require.Equal(t, []string{"a2", "zz1", "b1", "zz1"}, told, "what exists is told once")
		w.ends[topicA.id] = 3
		check(t, "0 a/1=5+0", c.where("g", "a", 1))
		c.stopped(func() { check(t, "16", c.where("g", "a", 1)) })
	})
}

func TestShareOffsetsAreAltered(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c, w := sharing(t, Config{})
		check(t, "0 a/1=0 a/7=3 zz/0=3", showAlter(c.alter("new", map[string]int64{"a/1": 3, "a/7": 1, "zz/0": 1}).get()))
		require.Equal(t, []string{"new/0a/1@1:3"}, w.kept())
		check(t, "Empty epoch=1/1", c.showShare("new"))
		check(t, "0 a/1=0 a/2=0", showAlter(c.alter("new", map[string]int64{"a/1": -9, "a/2": 4}).get()))
		require.Equal(t, []string{"new/0a/1@2:-1", "new/0a/2@2:4"}, w.kept(), "each time in a new epoch, so that older windows are fenced")
		require.Equal(t, []share.Key{
			{Group: "new", Topic: topicA.id, Partition: 1}, {Group: "new", Topic: topicA.id, Partition: 1}, {Group: "new", Topic: topicA.id, Partition: 2},
		}, w.changed)
		require.Empty(t, w.deleted, "who waits goes on")
		check(t, "0", showAlter(c.alter("new2", nil).get()))
		check(t, "69", c.showShare("new2"))
		check(t, "24", showAlter(c.alter("", map[string]int64{"a/1": 3}).get()))

		check(t, "3: 0a[0 1 2 3]", c.beat("new", "m", 0, "a"))
		require.Equal(t, []string{"new/0a/0@3:-1", "new/0a/1@2:-1", "new/0a/2@2:4", "new/0a/3@3:-1"}, w.kept(), "what is there stays")
		check(t, "68", showAlter(c.alter("new", map[string]int64{"a/1": 3}).get()))
		c.commit("classic", nil, "t", 0, 1)
		check(t, "69", showAlter(c.alter("classic", map[string]int64{"a/1": 3}).get()))

		c.beat("new", "m", -1)
		w.holding()
		first, second := c.alter("new", map[string]int64{"a/1": 10}), c.alter("new", map[string]int64{"a/1": 11})
		require.True(t, first.open() && second.open())
		w.release()
		check(t, "0 a/1=0", showAlter(first.get()))
		check(t, "0 a/1=0", showAlter(second.get()))
		require.Contains(t, w.kept(), "new/0a/1@6:11")
		w.failing(runtime.ErrNotCoordinator)
		check(t, "0 a/1=15", showAlter(c.alter("new", map[string]int64{"a/1": 12}).get()))
		w.failing(nil)
		pass(time.Second)
		require.Contains(t, w.kept(), "new/0a/1@6:11", "what was refused does not happen later")
		check(t, "0 a/1=0", showAlter(c.alter("new", map[string]int64{"a/1": 12}).get()))
	})
}

func TestShareOffsetsAreDeleted(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c, w := sharing(t, Config{})
		check(t, "69", c.deleteOffsetsOf("none", "a"))
		check(t, "24", c.deleteOffsetsOf("", "a"))
		check(t, "0", c.deleteOffsetsOf("none"))
		c.beat("g", "m", 0, "a", "b")
		check(t, "68", c.deleteOffsetsOf("g", "a"))
		c.beat("g", "m", -1)
		from := c.log.End()
		check(t, "0 zz=3 a=0", c.deleteOffsetsOf("g", "zz", "a"))
		require.Equal(t, []string{
			"group g epoch=4 hash=0", "target g epoch=4 at=0",
			"states g initializing [] initialized [b 0b00:[0 1]] deleting [a 0a00:[]]",
			"states g initializing [] initialized [b 0b00:[0 1]] deleting []",
		}, c.log.records(t, from))
		require.Equal(t, []string{"g/0b/0@2:-1", "g/0b/1@2:-1"}, w.kept())
		require.Len(t, w.changed, 4)
		require.Equal(t, w.changed, w.deleted)
		check(t, "0 a=3", c.deleteOffsetsOf("g", "a"))
		c.commit("classic", nil, "t", 0, 1)
		check(t, "69", c.deleteOffsetsOf("classic", "a"))
		check(t, "5: 0a[0 1 2 3]", c.beat("g", "m", 0, "a"))
		require.Contains(t, w.kept(), "g/0a/3@5:-1")
	})
}

func TestShareGroupsAreDeleted(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c, w := sharing(t, Config{})
		c.beat("g", "m", 0, "a", "b")
		c.register("r")
		require.Equal(t, []int16{68, 69, 0}, c.deleteGroups("g", "none", "r"))
		c.beat("g", "m", -1)
		from := c.log.End()
		require.Equal(t, []int16{0}, c.deleteGroups("g"))
		require.Equal(t, []string{
			"group g epoch=4 hash=0", "target g epoch=4 at=0",
			"states g initializing [] initialized [] deleting [a 0a00:[] b 0b00:[]]",
			"12 of g/ gone", "15 of g/ gone", "11 of g/ gone",
		}, c.log.records(t, from))
		require.Empty(t, w.kept())
		require.Empty(t, c.listed())
		c.restart()
		require.Empty(t, c.listed())
		check(t, "69", c.showShare("g"))

		// It fails, is tried again by the coordinator, and then by who asked.
		require.NoError(t, c.register("g", topicA.id).get())
		w.failing(runtime.ErrBusy)
		require.Equal(t, []int16{15}, c.deleteGroups("g"))
		c.restart()
		w.failing(nil)
		pass(2 * time.Second)
		require.Empty(t, w.kept())
		require.Equal(t, []int16{0}, c.deleteGroups("g"))
		require.Empty(t, c.listed())

		// Somebody joins meanwhile.
		require.NoError(t, c.register("g", topicA.id).get())
		w.holding()
		deleted := c.deleteGroupsLater("g")
		joined := c.beatLater("g", "m", 0, "a")
		require.True(t, joined.open())
		w.release()
		require.Equal(t, []int16{68}, deleted())
		check(t, "3: 0a[0 1 2 3]", showBeat(joined.get()))
		require.Equal(t, []string{"g/0a/0@3:-1", "g/0a/1@3:-1", "g/0a/2@3:-1", "g/0a/3@3:-1"}, w.kept())
	})
}

func TestGroupsOfDifferentTypes(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c, _ := sharing(t, Config{})
		c.beat("s", "m", 0, "a")
		c.register("e", topicA.id)
		for _, group := range []string{"s", "e"} {
			require.EqualValues(t, 23, c.join(group, client("x")).get().ErrorCode)
			require.EqualValues(t, 69, c.commit(group, nil, "t", 0, 1))
			require.EqualValues(t, 25, c.heartbeat(group, client("x")))
			require.EqualValues(t, 69, c.offsetDelete(group, "t").ErrorCode)
			require.EqualValues(t, -1, c.offset(group, "t", 0))
			g := c.describe(group)
			require.EqualValues(t, 69, g.ErrorCode)
			require.Equal(t, "Dead", g.State)
			require.Equal(t, fmt.Sprintf("Group %s is not a classic group.", group), *g.ErrorMessage)
		}
		x := client("x")
		c.settle("c", x)
		c.commit("o", nil, "t", 0, 1)
		for _, group := range []string{"c", "o"} {
			check(t, fmt.Sprintf("69 Group %s is not a share group.", group), c.beat(group, "m", 0, "a"))
			g := c.describeShare(group)
			require.Equal(t, fmt.Sprintf("Group %s is not a share group.", group), *g.ErrorMessage)
			require.EqualValues(t, 69, g.ErrorCode)
		}
		require.Equal(t, []string{"c consumer Stable classic", "e share Empty share", "o  Empty classic", "s share Stable share"}, c.listed())
		require.Equal(t, []string{"e share Empty share", "s share Stable share"}, c.listed("SHARE"))
		require.Equal(t, []string{"c consumer Stable classic", "o  Empty classic"}, c.listed("classic"))
		require.Empty(t, c.listed("bogus"))
		c.restart()
		require.Len(t, c.listed("share"), 2)
		require.Equal(t, []int16{0, 0}, c.deleteGroups("e", "o"))
		require.Equal(t, []string{"c consumer Stable classic", "s share Stable share"}, c.listed())
		x.version = 9
		require.EqualValues(t, 79, c.join("e", client("y")).get().ErrorCode, "the name is free")
	})
}

func TestShareGroupsNamedTwice(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c, _ := sharing(t, Config{})
		c.beat("g", "m", 0, "a")
		req := kmsg.NewPtrShareGroupDescribeRequest()
		req.GroupIDs = []string{"g", "", "none", "g"}
		for range mostDescribed {
			req.GroupIDs = append(req.GroupIDs, "g")
		}
		p := &reply1[*kmsg.ShareGroupDescribeResponse]{t: t}
		c.ShareGroupDescribe(req, p.set)
		var codes []int16
		for _, g := range p.get().Groups {
			codes = append(codes, g.ErrorCode)
		}
		require.Equal(t, []int16{0, 24, 69, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 42, 42}, codes)
	})
}

// Very many groups are told whether they are there, and no more.
func TestVeryManyShareGroupsAreDescribedCheaply(t *testing.T) {
	simulate(t, func(t *testing.T) {
		c, _ := sharing(t, Config{})
		c.beat("g", "m", 0, "a")
		c.commit("classic", nil, "t", 0, 1)
		ask := func(more int) []kmsg.ShareGroupDescribeResponseGroup {
			req := kmsg.NewPtrShareGroupDescribeRequest()
			req.GroupIDs = []string{"classic", "g"}
			for i := range more {
				req.GroupIDs = append(req.GroupIDs, fmt.Sprint("none", i))
			}
			p := &reply1[*kmsg.ShareGroupDescribeResponse]{t: t}
			c.ShareGroupDescribe(req, p.set)
			return p.get().Groups
		}
		require.Equal(t, notShare("classic"), *ask(5)[0].ErrorMessage)
		var before, after goruntime.MemStats
		goruntime.ReadMemStats(&before)
		groups := ask(20_000)
		goruntime.ReadMemStats(&after)
		require.Equal(t, "Group classic not found.", *groups[0].ErrorMessage)
		require.Equal(t, "Stable", groups[1].GroupState)
		require.EqualValues(t, 69, groups[20_001].ErrorCode)
		if !raceDetector { // it keeps books of its own about what is allocated
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(20_000*1500), "most of it at once given back")
		}
	})
}

// stopped runs fn while no partition is coordinated here.
func (c *coord) stopped(fn func()) {
	c.Unload(0, c.life)
	fn()
}

func TestAShareCoordinatorThatComesUpIsNoNewsUnlessItTakesLong(t *testing.T) {
	for name, tc := range map[string]struct {
		fault    error
		lasts    time.Duration
		warnings int
	}{
		"it loads":             {kerr.CoordinatorLoadInProgress, time.Second, 0},
		"it is about to load":  {fmt.Errorf("initialize: %w", kerr.NotCoordinator), time.Second, 0},
		"it loads for long":    {kerr.CoordinatorLoadInProgress, 10 * time.Second, 1},
		"something else fails": {kerr.KafkaStorageError, 10 * time.Second, 1},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T) {
				core, logged := observer.New(zap.WarnLevel)
				w := newWorld(topicA)
				c := &coord{t: t, log: &memLog{}, fs: vfs.NewCrash(1), options: func(o *Options) {
					w.options(o)
					o.Log = zap.New(core)
				}}
				c.start()
				w.failing(tc.fault)
				c.register("g", topicA.id)
				pass(tc.lasts)
				w.failing(nil)
				pass(2 * time.Second)
				require.Len(t, w.kept(), 4)
				require.Equal(t, tc.warnings, logged.FilterMessageSnippet("states of a share group").Len())
			})
		})
	}
}
