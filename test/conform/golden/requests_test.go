package golden

import (
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// The requests of the scenarios, with everything in them that any version reads: names
// beside ids, one group beside a list of them.

func ptr[T any](v T) *T { return &v }

// creatable is a topic to make; configs are "name=value".
func creatable(name string, partitions int32, configs ...string) kmsg.CreateTopicsRequestTopic {
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, 1
	for _, c := range configs {
		one := kmsg.NewCreateTopicsRequestTopicConfig()
		k, v, _ := strings.Cut(c, "=")
		one.Name, one.Value = k, &v
		t.Configs = append(t.Configs, one)
	}
	return t
}

func createTopics(topics ...kmsg.CreateTopicsRequestTopic) *kmsg.CreateTopicsRequest {
	r := kmsg.NewPtrCreateTopicsRequest()
	r.TimeoutMillis, r.Topics = 10_000, topics
	return r
}

func deleteTopics(names ...string) *kmsg.DeleteTopicsRequest {
	r := kmsg.NewPtrDeleteTopicsRequest()
	r.TimeoutMillis, r.TopicNames = 10_000, names
	for _, n := range names {
		t := kmsg.NewDeleteTopicsRequestTopic()
		t.Topic = &n
		r.Topics = append(r.Topics, t)
	}
	return r
}

func createPartitions(name string, count int32, replicas ...[]int32) *kmsg.CreatePartitionsRequest {
	t := kmsg.NewCreatePartitionsRequestTopic()
	t.Topic, t.Count = name, count
	for _, ids := range replicas {
		a := kmsg.NewCreatePartitionsRequestTopicAssignment()
		a.Replicas = ids
		t.Assignment = append(t.Assignment, a)
	}
	r := kmsg.NewPtrCreatePartitionsRequest()
	r.TimeoutMillis = 10_000
	r.Topics = append(r.Topics, t)
	return r
}

func metadata(names ...string) *kmsg.MetadataRequest {
	r := kmsg.NewPtrMetadataRequest()
	r.Topics = []kmsg.MetadataRequestTopic{}
	for _, n := range names {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = &n
		r.Topics = append(r.Topics, t)
	}
	return r
}

// produce sends raw record bytes to partition 0, one request topic partition for each.
func produce(t topic, acks int16, raw ...[]byte) *kmsg.ProduceRequest {
	r := kmsg.NewPtrProduceRequest()
	r.Acks, r.TimeoutMillis = acks, 10_000
	rt := kmsg.NewProduceRequestTopic()
	rt.Topic, rt.TopicID = t.name, t.id
	for _, b := range raw {
		p := kmsg.NewProduceRequestTopicPartition()
		p.Records = b
		rt.Partitions = append(rt.Partitions, p)
	}
	r.Topics = append(r.Topics, rt)
	return r
}

// fetch asks one partition without a session, and does not wait.
func fetch(t topic, partition int32, offset int64) *kmsg.FetchRequest {
	r := kmsg.NewPtrFetchRequest()
	r.MaxWaitMillis, r.MinBytes, r.MaxBytes = 0, 1, 1<<20
	r.SessionID, r.SessionEpoch = 0, -1
	r.Topics = append(r.Topics, fetchable(t, partition, offset))
	return r
}

func fetchable(t topic, partition int32, offset int64) kmsg.FetchRequestTopic {
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic, rt.TopicID = t.name, t.id
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch = partition, offset, 1<<20, -1
	p.LastFetchedEpoch = -1
	rt.Partitions = append(rt.Partitions, p)
	return rt
}

func offsetsOf(partition int32, time int64) kmsg.ListOffsetsRequestTopicPartition {
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Partition, p.Timestamp, p.CurrentLeaderEpoch = partition, time, -1
	return p
}

func listOffsets(t topic, partition int32, time int64) *kmsg.ListOffsetsRequest {
	rt := kmsg.NewListOffsetsRequestTopic()
	rt.Topic = t.name
	rt.Partitions = append(rt.Partitions, offsetsOf(partition, time))
	r := kmsg.NewPtrListOffsetsRequest()
	r.ReplicaID = -1
	r.Topics = append(r.Topics, rt)
	return r
}

func epochEnd(t topic, partition, epoch, current int32) *kmsg.OffsetForLeaderEpochRequest {
	p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
	p.Partition, p.LeaderEpoch, p.CurrentLeaderEpoch = partition, epoch, current
	rt := kmsg.NewOffsetForLeaderEpochRequestTopic()
	rt.Topic = t.name
	rt.Partitions = append(rt.Partitions, p)
	r := kmsg.NewPtrOffsetForLeaderEpochRequest()
	r.ReplicaID = -1
	r.Topics = append(r.Topics, rt)
	return r
}

func deleteRecords(name string, partition int32, before int64) *kmsg.DeleteRecordsRequest {
	p := kmsg.NewDeleteRecordsRequestTopicPartition()
	p.Partition, p.Offset = partition, before
	rt := kmsg.NewDeleteRecordsRequestTopic()
	rt.Topic = name
	rt.Partitions = append(rt.Partitions, p)
	r := kmsg.NewPtrDeleteRecordsRequest()
	r.TimeoutMillis = 10_000
	r.Topics = append(r.Topics, rt)
	return r
}

// describeConfigs with no names asks for all of them.
func describeConfigs(kind kmsg.ConfigResourceType, resource string, names ...string) *kmsg.DescribeConfigsRequest {
	res := kmsg.NewDescribeConfigsRequestResource()
	res.ResourceType, res.ResourceName, res.ConfigNames = kind, resource, names
	r := kmsg.NewPtrDescribeConfigsRequest()
	r.IncludeSynonyms = true
	r.Resources = append(r.Resources, res)
	return r
}

// alterConfigs sets "name=value" and drops all else; a name alone has a null value.
func alterConfigs(kind kmsg.ConfigResourceType, resource string, configs ...string) *kmsg.AlterConfigsRequest {
	res := kmsg.NewAlterConfigsRequestResource()
	res.ResourceType, res.ResourceName = kind, resource
	for _, c := range configs {
		one := kmsg.NewAlterConfigsRequestResourceConfig()
		one.Name, one.Value = assignment(c)
		res.Configs = append(res.Configs, one)
	}
	r := kmsg.NewPtrAlterConfigsRequest()
	r.Resources = append(r.Resources, res)
	return r
}

// change is one step of an incremental alteration.
type change struct {
	op     kmsg.IncrementalAlterConfigOp
	config string // "name=value", or a name with a null value
}

func incremental(kind kmsg.ConfigResourceType, resource string, changes ...change) *kmsg.IncrementalAlterConfigsRequest {
	res := kmsg.NewIncrementalAlterConfigsRequestResource()
	res.ResourceType, res.ResourceName = kind, resource
	for _, c := range changes {
		one := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		one.Op = c.op
		one.Name, one.Value = assignment(c.config)
		res.Configs = append(res.Configs, one)
	}
	r := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r.Resources = append(r.Resources, res)
	return r
}

func assignment(c string) (string, *string) {
	name, value, given := strings.Cut(c, "=")
	if !given {
		return name, nil
	}
	return name, &value
}
