package handler

import (
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A small request must not cost what a large one may: these repeat in a frame of 1 MiB what is dear to answer.
func TestRepeatedQuestionsCostLittle(t *testing.T) {
	f := newHostFixture(t)
	f.topic("t", 1)
	configs := at(4, kmsg.NewPtrDescribeConfigsRequest())
	configs.IncludeSynonyms, configs.IncludeDocumentation = true, true
	for i := range 100_000 {
		rr := kmsg.NewDescribeConfigsRequestResource()
		rr.ResourceType, rr.ResourceName = ofBroker, []string{"1", ""}[i%2]
		configs.Resources = append(configs.Resources, rr)
	}
	producers := kmsg.NewPtrDescribeProducersRequest()
	records := at(13, kmsg.NewPtrProduceRequest())
	records.Acks = -1
	rt, pt := kmsg.NewDescribeProducersRequestTopic(), kmsg.NewProduceRequestTopic()
	rt.Topic, pt.TopicID = "t", f.cluster.Image().Topic("t").ID
	rt.Partitions = make([]int32, 250_000)
	for i := range 100_000 {
		p := kmsg.NewProduceRequestTopicPartition()
		p.Partition = int32(i)
		pt.Partitions = append(pt.Partitions, p)
	}
	producers.Topics, records.Topics = append(producers.Topics, rt), append(records.Topics, pt)
	for _, req := range []kmsg.Request{configs, producers, records} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		began := time.Now()
		resp := f.through("", req)
		took := time.Since(began)
		runtime.ReadMemStats(&after)
		require.Less(t, took, 5*time.Second, "%T", req)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(200<<20), "%T", req)
		switch r := resp.(type) {
		case *kmsg.DescribeConfigsResponse:
			require.Zero(t, r.Resources[0].ErrorCode)
			require.Len(t, r.Resources[0].Configs, 350)
			require.Equal(t, "POLICY_VIOLATION", named(r.Resources[len(r.Resources)-1].ErrorCode))
		case *kmsg.DescribeProducersResponse:
			require.Len(t, r.Topics[0].Partitions, 1)
		case *kmsg.ProduceResponse:
			require.Len(t, r.Topics[0].Partitions, 100_000)
		}
	}
}

func TestAskingAboutVeryManyTopicsMakesAFew(t *testing.T) {
	f := newFixture(t)
	names := make([]string, 3*autoCreateMost)
	for i := range names {
		names[i] = "t" + time.Duration(i).String()
	}
	do[*kmsg.MetadataResponse](f, askMetadata(12, true, names...))
	require.Equal(t, autoCreateMost, f.cluster.Image().NumTopics())
}
