package golden

import (
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func init() {
	scenarios["commits"] = commits
	scenarios["commits-of-members"] = memberCommits
	scenarios["commits-deleted"] = deletedCommits
}

func offsetCommit(group string, t topic, partition int32, offset int64, metadata string) *kmsg.OffsetCommitRequest {
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset, p.LeaderEpoch, p.Metadata = partition, offset, -1, &metadata
	rt := kmsg.NewOffsetCommitRequestTopic()
	rt.Topic, rt.TopicID = t.name, t.id
	rt.Partitions = append(rt.Partitions, p)
	r := kmsg.NewPtrOffsetCommitRequest()
	r.Group, r.Generation, r.RetentionTimeMillis = group, -1, -1
	r.Topics = append(r.Topics, rt)
	return r
}

// offsetFetch of nil partitions asks for all there are.
func offsetFetch(group string, t topic, partitions []int32) *kmsg.OffsetFetchRequest {
	r := kmsg.NewPtrOffsetFetchRequest()
	g := kmsg.NewOffsetFetchRequestGroup()
	r.Group, g.Group, g.MemberEpoch = group, group, -1
	if partitions != nil {
		rt := kmsg.NewOffsetFetchRequestTopic()
		rt.Topic, rt.Partitions = t.name, partitions
		r.Topics = append(r.Topics, rt)
		gt := kmsg.NewOffsetFetchRequestGroupTopic()
		gt.Topic, gt.TopicID, gt.Partitions = t.name, t.id, partitions
		g.Topics = append(g.Topics, gt)
	}
	r.Groups = append(r.Groups, g)
	return r
}

func commits(s *script) {
	g, t := s.group("g"), s.topic("t", 3)
	all := func() *kmsg.OffsetFetchRequest {
		if s.at(kmsg.OffsetFetch) < 2 {
			return offsetFetch(g, t, []int32{0, 1, 2})
		}
		return offsetFetch(g, t, nil)
	}
	s.ask("nothing is committed", offsetFetch(g, t, []int32{0, 1}))
	s.ask("nothing at all", all())
	s.ask("commit", offsetCommit(g, t, 0, 7, "note"))
	epoch := offsetCommit(g, t, 1, 8, "")
	epoch.Topics[0].Partitions[0].LeaderEpoch = 0
	s.ask("commit with an epoch", epoch)
	null := offsetCommit(g, t, 2, 9, "")
	null.Topics[0].Partitions[0].Metadata = nil
	s.ask("commit with null metadata", null)
	s.ask("committed", all())
	s.ask("one of them, and one that is not there", offsetFetch(g, t, []int32{1, 17}))
	s.ask("commit again", offsetCommit(g, t, 0, 3, strings.Repeat("m", 4096)))
	s.ask("too much metadata", offsetCommit(g, t, 0, 4, strings.Repeat("m", 4097)))
	s.ask("a negative offset", offsetCommit(g, t, 0, -5, ""))
	s.ask("unknown partition", offsetCommit(g, t, 44, 1, ""))
	s.ask("unknown topic", offsetCommit(g, topic{name: s.topicName("nobody"), id: [16]byte{15: 4}}, 0, 1, ""))
	none := offsetCommit(g, t, 0, 1, "")
	none.Topics = nil
	s.ask("no topics", none)
	s.ask("after all that", offsetFetch(g, t, []int32{0}))
	s.ask("describe a group of commits only", describeGroups(g))
	unnamed := offsetCommit("", topic{name: t.name, id: t.id}, 0, 1, "")
	unnamed.Generation = 4
	s.ask("no group, but a generation", unnamed)
	s.ask("a generation of a group without members", func() *kmsg.OffsetCommitRequest {
		r := offsetCommit(g, t, 0, 1, "")
		r.Generation, r.MemberID = 1, "m"
		return r
	}())
	s.ask("a generation of a group that is not there", func() *kmsg.OffsetCommitRequest {
		r := offsetCommit(s.topicName("none"), t, 0, 1, "")
		r.Generation, r.MemberID = 1, "m"
		return r
	}())
	s.ask("of a group that is not there", offsetFetch(s.topicName("none"), t, []int32{0}))
}

func memberCommits(s *script) {
	g, t := s.group("g"), s.topic("t", 1)
	member, gen := s.enter("", g, "range")
	at := func(about, id string, generation int32) {
		r := offsetCommit(g, t, 0, 5, "")
		r.MemberID, r.Generation = id, generation
		s.ask(about, r)
	}
	at("before the assignment", member, gen)
	s.ask("assign", syncGroup(g, member, gen, member, "all"))
	at("as a member", member, gen)
	at("of another generation", member, gen+1)
	at("of an unknown member", "somebody", gen)
	at("of nobody, while there are members", "", -1)
	s.ask("committed", offsetFetch(g, t, []int32{0}))
	s.ask("leave", leave(g, member))
	at("after leaving", member, gen)
	at("of nobody, when all are gone", "", -1)
}

func deletedCommits(s *script) {
	g, t := s.group("g"), s.topic("t", 2)
	remove := func(about, group string, t topic, partitions ...int32) {
		r := kmsg.NewPtrOffsetDeleteRequest()
		r.Group = group
		rt := kmsg.NewOffsetDeleteRequestTopic()
		rt.Topic = t.name
		for _, n := range partitions {
			p := kmsg.NewOffsetDeleteRequestTopicPartition()
			p.Partition = n
			rt.Partitions = append(rt.Partitions, p)
		}
		r.Topics = append(r.Topics, rt)
		s.ask(about, r)
	}
	drop := func(about string, groups ...string) {
		r := kmsg.NewPtrDeleteGroupsRequest()
		r.Groups = groups
		s.ask(about, r)
	}
	s.ask("commit", offsetCommit(g, t, 0, 7, ""))
	s.ask("commit another", offsetCommit(g, t, 1, 8, ""))
	remove("delete one, and one that is not there", g, t, 0, 5)
	remove("delete of an unknown topic", g, topic{name: s.topicName("nobody")}, 0)
	remove("delete of an unknown group", s.topicName("none"), t, 0)
	s.ask("what is left", offsetFetch(g, t, []int32{0, 1}))
	member, _ := s.enter("", g, "range")
	drop("delete a group with a member", g)
	remove("delete offsets of a group with a member", g, t, 1)
	s.ask("leave", leave(g, member))
	drop("delete a group, and one that is not there", g, s.topicName("none"))
	drop("delete a group without a name", "")
	s.ask("nothing is left", offsetFetch(g, t, []int32{1}))
}
