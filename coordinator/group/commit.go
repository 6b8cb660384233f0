package group

import (
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
)

// commitNotFound is the OffsetCommit version from which on a group that is not there has a
// code of its own.
const commitNotFound = 9

// commit decides an OffsetCommit request, whose topics and partitions exist. Every
// partition gets a code: the group's, or its own.
func (s *machine) commit(v runtime.View, r *kmsg.OffsetCommitRequest, done func(*kmsg.OffsetCommitResponse)) runtime.Outcome {
	fail := func(code *kerr.Error) *kmsg.OffsetCommitResponse { return commitFailed(r, code) }
	later := func(err error) *kmsg.OffsetCommitResponse { return fail(commitCodeOf(err)) }
	g := s.groups[r.Group]
	code, err := s.mayCommit(v, g, r)
	if err != nil {
		code = codeOf(err)
	}
	if code != nil {
		return answered(done, fail(code), later)
	}
	records, answer := s.offsetRecords(v.Now(), r)
	out := answered(done, answer, later)
	out.Records = records
	if g != nil && (g.phase == stable || g.phase == preparing) {
		if m := g.byID[r.MemberID]; m != nil {
			out.Then = func(tx *runtime.Tx) { s.hear(tx, g, m, m.session) }
		}
	}
	return out
}

// mayCommit tells why a commit is not taken. A group that is not in memory has no members.
func (s *machine) mayCommit(v runtime.View, g *group, r *kmsg.OffsetCommitRequest) (*kerr.Error, error) {
	if g == nil {
		switch share, err := s.isShare(v, r.Group); {
		case err != nil:
			return nil, err
		case share:
			return kerr.GroupIDNotFound, nil
		}
		if r.Generation < 0 {
			return nil, nil // from a simple consumer or a tool, to a group without members or a new one
		}
		there, err := s.find(v, r.Group)
		switch {
		case err != nil:
			return nil, err
		case there != nil:
			return kerr.UnknownMemberID, nil
		case r.Version >= commitNotFound:
			return kerr.GroupIDNotFound, nil
		}
		return kerr.IllegalGeneration, nil
	}
	if r.Generation < 0 && g.phase == empty {
		return nil, nil
	}
	if r.Generation < 0 && r.MemberID == "" && r.InstanceID == nil {
		return kerr.UnknownMemberID, nil
	}
	if code := g.validate(r.MemberID, r.InstanceID); code != nil {
		return code, nil
	}
	switch {
	case r.Generation != g.generation:
		return kerr.IllegalGeneration, nil
	case g.phase == completing:
		return kerr.RebalanceInProgress, nil
	}
	return nil, nil
}

// offsetRecords makes the records of a commit, and the answer when they are in the log.
func (s *machine) offsetRecords(now time.Time, r *kmsg.OffsetCommitRequest) ([]runtime.Record, *kmsg.OffsetCommitResponse) {
	n := 0
	for i := range r.Topics {
		n += len(r.Topics[i].Partitions)
	}
	records := make([]runtime.Record, 0, n)
	answer := kmsg.NewPtrOffsetCommitResponse()
	answer.Topics = make([]kmsg.OffsetCommitResponseTopic, len(r.Topics))
	value := offsetValue{committed: now.UnixMilli(), expires: -1}
	if r.RetentionTimeMillis != -1 {
		value.expires = max(0, value.committed+r.RetentionTimeMillis)
	}
	for i := range r.Topics {
		topic := &r.Topics[i]
		answer.Topics[i] = kmsg.OffsetCommitResponseTopic{
			Topic: topic.Topic, TopicID: topic.TopicID,
			Partitions: make([]kmsg.OffsetCommitResponseTopicPartition, len(topic.Partitions)),
		}
		value.topic = topic.TopicID
		for j := range topic.Partitions {
			p := &topic.Partitions[j]
			told := &answer.Topics[i].Partitions[j]
			told.Partition = p.Partition
			value.metadata = ""
			if p.Metadata != nil {
				value.metadata = *p.Metadata
			}
			if javaLen(value.metadata) > s.cfg.OffsetMetadataMaxSize || len(value.metadata) > math.MaxInt16 {
				told.ErrorCode = kerr.OffsetMetadataTooLarge.Code
				continue
			}
			value.offset, value.leaderEpoch = p.Offset, p.LeaderEpoch
			records = append(records, offsetRecord(r.Group, topic.Topic, p.Partition, &value))
		}
	}
	return records, answer
}

// offsetRecord encodes key and value into one piece of memory.
func offsetRecord(group, topic string, partition int32, value *offsetValue) runtime.Record {
	b := make([]byte, 0, 2+2+len(group)+2+len(topic)+4+48+len(value.metadata))
	b = appendOffsetKey(b, group, topic, partition)
	n := len(b)
	b = value.append(b)
	return runtime.Record{Key: b[:n:n], Value: b[n:]}
}

// commitFailed is one code for all partitions of a request.
func commitFailed(r *kmsg.OffsetCommitRequest, code *kerr.Error) *kmsg.OffsetCommitResponse {
	answer := kmsg.NewPtrOffsetCommitResponse()
	for i := range r.Topics {
		topic := kmsg.NewOffsetCommitResponseTopic()
		topic.Topic, topic.TopicID = r.Topics[i].Topic, r.Topics[i].TopicID
		for j := range r.Topics[i].Partitions {
			p := kmsg.NewOffsetCommitResponseTopicPartition()
			p.Partition, p.ErrorCode = r.Topics[i].Partitions[j].Partition, code.Code
			topic.Partitions = append(topic.Partitions, p)
		}
		answer.Topics = append(answer.Topics, topic)
	}
	return answer
}
