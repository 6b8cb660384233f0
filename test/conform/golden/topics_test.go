package golden

import (
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func init() {
	scenarios["topics"] = topics
	scenarios["topics-refused"] = topicsRefused
	scenarios["metadata"] = metadataOf
	scenarios["partitions"] = partitions
	scenarios["describe-topics"] = describeTopics
}

// led waits until a topic has that many partitions and all of them are led: Kafka answers
// a change before every reader sees it.
func (s *script) led(name string, partitions int) {
	prepare(s, metadata(name), func(r *kmsg.MetadataResponse) bool {
		for _, p := range r.Topics[0].Partitions {
			if p.ErrorCode != 0 || p.Leader < 0 {
				return false
			}
		}
		return len(r.Topics[0].Partitions) == partitions
	})
}

func topics(s *script) {
	a, b, c := s.topicName("a"), s.topicName("b"), s.topicName("c")
	// create leaves out what has its default, after it was shown in full once.
	create := func(about string, r *kmsg.CreateTopicsRequest) { s.ask(about, r, withoutDefaults) }
	s.ask("plain", createTopics(creatable(a, 2)))
	create("taken", createTopics(creatable(a, 1)))
	create("with settings", createTopics(creatable(b, 1, "cleanup.policy=compact", "max.message.bytes=2000", "flush.messages=1")))
	placed := creatable(c, -1)
	placed.ReplicationFactor = -1
	for p, replicas := range [][]int32{{1}, {1}, {1}} {
		as := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		as.Partition, as.Replicas = int32(p), replicas
		placed.ReplicaAssignment = append(placed.ReplicaAssignment, as)
	}
	create("placed by the client", createTopics(placed))
	s.led(c, 3)
	s.ask("as made", metadata(a, b, c))
	only := createTopics(creatable(s.topicName("d"), 1))
	only.ValidateOnly = true
	create("only checked", only)
	create("one good, one taken", createTopics(creatable(s.topicName("e"), 1), creatable(a, 1)))

	s.ask("delete", deleteTopics(a, b))
	s.ask("delete again", deleteTopics(a))
	s.ask("delete one that was only checked", deleteTopics(s.topicName("d")))
	s.ask("delete with a bad name", deleteTopics("bad name"))
	byID := deleteTopics()
	unknown := kmsg.NewDeleteTopicsRequestTopic()
	unknown.TopicID = [16]byte{15: 99}
	byID.Topics = append(byID.Topics, unknown)
	s.ask("delete by an unknown id", byID)
	s.ask("delete nothing", deleteTopics())
	s.ask("delete an internal one that is not there", deleteTopics("__share_group_state"))
	prepare(s, metadata(a), func(r *kmsg.MetadataResponse) bool { return r.Topics[0].ErrorCode != 0 })
	create("made anew", createTopics(creatable(a, 1)))
}

func withoutDefaults(r kmsg.Response) {
	topics := r.(*kmsg.CreateTopicsResponse).Topics
	for i := range topics {
		topics[i].Configs = slices.DeleteFunc(topics[i].Configs, func(c kmsg.CreateTopicsResponseTopicConfig) bool { return c.Source == 5 })
	}
}

func topicsRefused(s *script) {
	x := s.topicName("x")
	try := func(about string, t kmsg.CreateTopicsRequestTopic) { s.ask(about, createTopics(t)) }
	replicas := func(t kmsg.CreateTopicsRequestTopic, n int16) kmsg.CreateTopicsRequestTopic {
		t.ReplicationFactor = n
		return t
	}
	try("empty name", creatable("", 1))
	try("a dot", creatable(".", 1))
	try("a space in it", creatable("a b", 1))
	try("250 bytes long", creatable(strings.Repeat("n", 250), 1))
	try("no partitions", creatable(x, 0))
	try("fewer than none", creatable(x, -2))
	try("no replicas", replicas(creatable(x, 1), 0))
	try("more replicas than brokers", replicas(creatable(x, 1), 3))
	try("unknown setting", creatable(x, 1, "no.such.setting=1"))
	try("not a number", creatable(x, 1, "retention.ms=soon"))
	try("below the least", creatable(x, 1, "segment.bytes=1"))
	try("not one of the values", creatable(x, 1, "compression.type=brotli"))
	null := creatable(x, 1, "retention.ms=1")
	null.Configs[0].Value = nil
	try("null value", null)

	as := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
	as.Partition, as.Replicas = 0, []int32{1}
	both := creatable(x, 3)
	both.ReplicaAssignment = append(both.ReplicaAssignment, as)
	try("placed and counted", both)
	nobody := replicas(creatable(x, -1), -1)
	as.Replicas = []int32{77}
	nobody.ReplicaAssignment = append(nobody.ReplicaAssignment, as)
	try("placed on an unknown broker", nobody)
	twice := replicas(creatable(x, -1), -1)
	as.Replicas = []int32{1, 1}
	twice.ReplicaAssignment = append(twice.ReplicaAssignment, as)
	try("placed twice on one broker", twice)
	gap := replicas(creatable(x, -1), -1)
	as.Partition, as.Replicas = 1, []int32{1}
	gap.ReplicaAssignment = append(gap.ReplicaAssignment, as)
	try("placed with a gap", gap)
	s.ask("the same name twice", createTopics(creatable(x, 1), creatable(x, 1)))
	s.topic("like.this", 1)
	try("differs in a dot from another", creatable(s.topicName("like_this"), 1))
	s.ask("none", createTopics())
}

func metadataOf(s *script) {
	t := s.topic("t", 2)
	s.ask("by name", metadata(t.name))
	two := metadata(t.name, s.topicName("nobody"))
	two.AllowAutoTopicCreation = false
	if s.at(kmsg.Metadata) >= 4 { // before, an unknown name makes the topic
		s.ask("one is unknown", two)
	}
	if s.at(kmsg.Metadata) == 0 {
		all := metadata()
		all.Topics = nil
		s.ask("all", all, func(r kmsg.Response) { keepTopics(r.(*kmsg.MetadataResponse), t.name) })
	} else {
		s.ask("none", metadata())
	}
	s.ask("bad name", metadata("bad name"))
	made := s.topicName("automatic")
	auto := metadata(made)
	auto.AllowAutoTopicCreation = true
	s.ask("made by asking", auto)
	s.led(made, 1)
	s.ask("made by asking, later", auto)
	if s.at(kmsg.Metadata) < 10 {
		return
	}
	byID := metadata()
	known, unknown := kmsg.NewMetadataRequestTopic(), kmsg.NewMetadataRequestTopic()
	known.TopicID, unknown.TopicID = t.id, [16]byte{15: 42}
	byID.Topics = append(byID.Topics, known, unknown)
	s.ask("by id", byID)
	ops := metadata(t.name)
	ops.IncludeTopicAuthorizedOperations = true
	s.ask("with what may be done", ops)
}

// keepTopics drops the topics of other scenarios.
func keepTopics(r *kmsg.MetadataResponse, names ...string) {
	var kept []kmsg.MetadataResponseTopic
	for _, t := range r.Topics {
		for _, n := range names {
			if t.Topic != nil && *t.Topic == n {
				kept = append(kept, t)
			}
		}
	}
	r.Topics = kept
}

func partitions(s *script) {
	t := s.topic("t", 1)
	s.ask("one more", createPartitions(t.name, 2))
	s.ask("as many as there are", createPartitions(t.name, 2))
	s.ask("fewer", createPartitions(t.name, 1))
	s.ask("fewer than none", createPartitions(t.name, -1))
	s.ask("placed", createPartitions(t.name, 4, []int32{1}, []int32{1}))
	s.ask("placed, one is missing", createPartitions(t.name, 6, []int32{1}))
	s.ask("placed on an unknown broker", createPartitions(t.name, 5, []int32{9}))
	s.ask("unknown topic", createPartitions(s.topicName("nobody"), 3))
	only := createPartitions(t.name, 9)
	only.ValidateOnly = true
	s.ask("only checked", only)
	twice := createPartitions(t.name, 5)
	twice.Topics = append(twice.Topics, twice.Topics[0])
	s.ask("the same topic twice", twice)
	s.led(t.name, 4)
	s.ask("as they are", metadata(t.name))
}

func describeTopics(s *script) {
	a, b := s.topic("a", 3), s.topic("b", 2)
	req := func(limit int32, names ...string) *kmsg.DescribeTopicPartitionsRequest {
		r := kmsg.NewPtrDescribeTopicPartitionsRequest()
		r.ResponsePartitionLimit = limit
		for _, n := range names {
			t := kmsg.NewDescribeTopicPartitionsRequestTopic()
			t.Topic = n
			r.Topics = append(r.Topics, t)
		}
		return r
	}
	s.ask("two", req(2000, b.name, a.name))
	s.ask("first page", req(2, a.name, b.name))
	next := req(2, a.name, b.name)
	next.Cursor = &kmsg.DescribeTopicPartitionsRequestCursor{Topic: a.name, Partition: 2}
	s.ask("second page", next)
	s.ask("unknown", req(10, s.topicName("nobody")))
	s.ask("no limit that makes sense", req(0, a.name))
	gone := req(10, a.name, b.name)
	gone.Cursor = &kmsg.DescribeTopicPartitionsRequestCursor{Topic: a.name + "a", Partition: 1}
	s.ask("from a topic that is not there", gone)
	back := req(10, a.name)
	back.Cursor = &kmsg.DescribeTopicPartitionsRequestCursor{Topic: a.name, Partition: -1}
	s.ask("from a negative partition", back)
}
