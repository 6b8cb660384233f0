package queue

import (
	"context"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

const (
	// topicBatch is max.message.bytes of NORMAL and FIFO queues. One call's messages are one batch. An attribute of few bytes takes
	// up to three times as many as a header, so that a call of 512 KiB stays below this, whatever it is made of.
	topicBatch = 2 << 20
	// kafkaBatch is max.message.bytes of Kafka queues: a message of 10 MB and what the batch adds (DMS reference 9.4).
	kafkaBatch = 10<<20 + 4096

	segmentTime = time.Hour // so that retention holds for slow queues too
)

type setting struct{ name, value string }

// topicSettings are the settings of a queue's topic (design, section 6).
func topicSettings(q *queue, brokers int) []setting {
	num := func(n int64) string { return strconv.FormatInt(n, 10) }
	batch, flush := int64(topicBatch), int64(1)
	if q.Mode.Kafka() {
		batch = kafkaBatch
	}
	if q.Mode == KafkaHT {
		flush = 1<<63 - 1
	}
	all := []setting{
		{"message.timestamp.type", "LogAppendTime"},
		{"retention.ms", num((time.Duration(q.Hours) * time.Hour).Milliseconds())},
		{"retention.bytes", "-1"},
		{"cleanup.policy", "delete"},
		{"segment.ms", num(segmentTime.Milliseconds())},
		{"flush.messages", num(flush)},
		{"max.message.bytes", num(batch)},
	}
	if q.Mode == KafkaHA && brokers >= kafkaReplicas {
		all = append(all, setting{"min.insync.replicas", "2"})
	}
	return all
}

// kafkaReplicas is how many copies a Kafka queue has where there are as many brokers (DMS reference 9.1).
const kafkaReplicas = 3

// createTopic makes a queue's topic, ready for use, and answers its id. One that is there already is fine.
func (s *Service) createTopic(ctx context.Context, q *queue) (uuid.ID, error) {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version, req.TimeoutMillis = 7, millis(brokerTime)
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = q.topicName, q.Partitions, -1
	brokers := 1
	if q.Mode.Kafka() {
		m, err := s.metadata(ctx)
		if err != nil {
			return uuid.ID{}, err
		}
		brokers = len(m.Brokers)
		topic.ReplicationFactor = int16(max(1, min(brokers, kafkaReplicas)))
	}
	for _, c := range topicSettings(q, brokers) {
		config := kmsg.NewCreateTopicsRequestTopicConfig()
		config.Name, config.Value = c.name, &c.value
		topic.Configs = append(topic.Configs, config)
	}
	req.Topics = append(req.Topics, topic)
	var id uuid.ID
	err := patiently(ctx, patience, func() error {
		resp, err := ask[*kmsg.CreateTopicsResponse](ctx, s, req)
		if err != nil {
			return err
		}
		if len(resp.Topics) != 1 {
			return refused("create topic", kerr.UnknownServerError.Code, "not answered")
		}
		id = resp.Topics[0].TopicID
		return refused("create topic", resp.Topics[0].ErrorCode, text(resp.Topics[0].ErrorMessage))
	})
	if isRefusal(err, kerr.TopicAlreadyExists) {
		id, err = s.topicID(ctx, q.topicName)
	}
	if err == nil && id.IsZero() {
		err = refused("create topic", kerr.UnknownTopicID.Code, "its id is not known")
	}
	return id, err
}

// text is a nullable text.
func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// metadata asks for topics by name; with none, for the brokers alone.
func (s *Service) metadata(ctx context.Context, names ...string) (*kmsg.MetadataResponse, error) {
	req := kmsg.NewPtrMetadataRequest()
	req.Version, req.AllowAutoTopicCreation = 12, false
	req.Topics = make([]kmsg.MetadataRequestTopic, 0, len(names))
	for _, name := range names {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = &name
		req.Topics = append(req.Topics, topic)
	}
	return ask[*kmsg.MetadataResponse](ctx, s, req)
}

// topicID is the id of the topic of that name, zero if there is none.
func (s *Service) topicID(ctx context.Context, name string) (uuid.ID, error) {
	m, err := s.metadata(ctx, name)
	if err != nil || len(m.Topics) != 1 {
		return uuid.ID{}, err
	}
	switch t := &m.Topics[0]; t.ErrorCode {
	case kerr.UnknownTopicOrPartition.Code:
		return uuid.ID{}, nil
	case 0, kerr.LeaderNotAvailable.Code:
		return t.TopicID, nil
	default:
		return uuid.ID{}, refused("metadata", t.ErrorCode, "")
	}
}

// deleteTopics deletes topics by name; those that are not there are fine.
func (s *Service) deleteTopics(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return nil
	}
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Version, req.TimeoutMillis = 6, millis(brokerTime)
	for _, name := range names {
		topic := kmsg.NewDeleteTopicsRequestTopic()
		topic.Topic = &name
		req.Topics = append(req.Topics, topic)
	}
	return patiently(ctx, patience, func() error {
		resp, err := ask[*kmsg.DeleteTopicsResponse](ctx, s, req)
		if err != nil {
			return err
		}
		for i := range resp.Topics {
			t := &resp.Topics[i]
			if t.ErrorCode == kerr.UnknownTopicOrPartition.Code || t.ErrorCode == kerr.UnknownTopicID.Code {
				continue
			}
			if err := refused("delete topic", t.ErrorCode, text(t.ErrorMessage)); err != nil {
				return err
			}
		}
		return nil
	})
}
