package group

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/coordinator/runtime"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// mostMetadata is how many bytes of metadata one answer repeats. All partitions of a large group fit; a
// request that names one partition a million times gets what fits, and errors.
const mostMetadata = 64 << 20

// fetchOffsets answers one group of an OffsetFetch request from a table: the partitions
// asked for, or all of the group's if Topics is nil. With stable, a partition whose offset
// an open transaction holds is answered with UNSTABLE_OFFSET_COMMIT (KIP-447).
func fetchOffsets(r runtime.Reader, asked *kmsg.OffsetFetchRequestGroup, stable bool) (kmsg.OffsetFetchResponseGroup, error) {
	answer := kmsg.NewOffsetFetchResponseGroup()
	answer.Group = asked.Group
	if asked.Topics == nil {
		return answer, fetchAll(r, &answer, stable)
	}
	var key []byte
	metadata := 0
	for i := range asked.Topics {
		t := &asked.Topics[i]
		topic := kmsg.NewOffsetFetchResponseGroupTopic()
		topic.Topic, topic.TopicID = t.Topic, t.TopicID
		topic.Partitions = make([]kmsg.OffsetFetchResponseGroupTopicPartition, len(t.Partitions))
		for j, partition := range t.Partitions {
			if metadata > mostMetadata {
				p, none := kmsg.NewOffsetFetchResponseGroupTopicPartition(), ""
				p.Partition, p.Offset, p.LeaderEpoch, p.Metadata, p.ErrorCode = partition, -1, -1, &none, kerr.PolicyViolation.Code
				topic.Partitions[j] = p
				continue
			}
			key = appendOffsetKey(key[:0], asked.Group, t.Topic, partition)
			value, ok, err := r.Get(key)
			if err != nil {
				return answer, err
			}
			if !ok {
				value = nil
			}
			p := &topic.Partitions[j]
			if *p, err = fetched(r, key, value, partition, t.TopicID, stable); err != nil {
				return answer, err
			}
			metadata += len(*p.Metadata)
		}
		answer.Topics = append(answer.Topics, topic)
	}
	return answer, nil
}

func fetchAll(r runtime.Reader, answer *kmsg.OffsetFetchResponseGroup, stable bool) error {
	type row struct {
		offsetKey
		key, value []byte
	}
	var rows []row
	err := r.Scan(appendOffsetPrefix(nil, answer.Group), nil, func(key, value []byte) bool {
		if k, ok := decodeOffsetKey(key); ok {
			rows = append(rows, row{k, append([]byte(nil), key...), append([]byte(nil), value...)})
		}
		return true
	})
	if err != nil {
		return err
	}
	for _, row := range rows {
		n := len(answer.Topics)
		if n == 0 || answer.Topics[n-1].Topic != row.topic {
			topic := kmsg.NewOffsetFetchResponseGroupTopic()
			topic.Topic = row.topic
			answer.Topics = append(answer.Topics, topic)
			n++
		}
		p, err := fetched(r, row.key, row.value, row.partition, uuid.ID{}, stable)
		if err != nil {
			return err
		}
		answer.Topics[n-1].Partitions = append(answer.Topics[n-1].Partitions, p)
	}
	return nil
}

// fetched is the answer for one partition: nothing committed is offset -1 and no error, as
// is an offset of a topic that has been deleted and made again.
func fetched(r runtime.Reader, key, value []byte, partition int32, topic uuid.ID, stable bool) (kmsg.OffsetFetchResponseGroupTopicPartition, error) {
	p := kmsg.NewOffsetFetchResponseGroupTopicPartition()
	none := ""
	p.Partition, p.Offset, p.LeaderEpoch, p.Metadata = partition, -1, -1, &none
	if stable {
		wait, err := held(r, key)
		if err != nil {
			return p, err
		}
		if wait {
			p.ErrorCode = kerr.UnstableOffsetCommit.Code
			return p, nil
		}
	}
	if value == nil {
		return p, nil
	}
	v, err := decodeOffsetValue(value)
	if err != nil {
		return p, err
	}
	var any uuid.ID
	if v.topic != any && topic != any && v.topic != topic {
		return p, nil
	}
	p.Offset, p.LeaderEpoch, p.Metadata = v.offset, v.leaderEpoch, &v.metadata
	return p, nil
}

// hasOffsets tells whether a group has committed offsets.
func hasOffsets(r runtime.Reader, group string) (bool, error) {
	found := false
	err := r.Scan(appendOffsetPrefix(nil, group), nil, func([]byte, []byte) bool {
		found = true
		return false
	})
	return found, err
}
