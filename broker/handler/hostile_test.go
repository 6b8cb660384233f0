package handler

import (
	"math"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/coordinator/cluster"
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

// A group named a few times is answered each time, as Kafka does; one named without end is not.
func TestOffsetsOfAGroupNamedAgain(t *testing.T) {
	f := newGroupsFixture(t)
	req := at(9, kmsg.NewPtrOffsetFetchRequest())
	for range mostRepeats + 2 {
		rg := kmsg.NewOffsetFetchRequestGroup()
		rg.Group = "g"
		req.Groups = append(req.Groups, rg)
	}
	groups := do[*kmsg.OffsetFetchResponse](f, req).Groups
	require.Len(t, groups, mostRepeats+2)
	for i, g := range groups {
		want := ""
		if i >= mostRepeats {
			want = "INVALID_REQUEST"
		}
		require.Equal(t, want, named(g.ErrorCode), i)
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

// No answer has a string that its length field cannot hold, however long the words it quotes.
func TestLongWordsAreNotQuotedInFull(t *testing.T) {
	f := newGroupsFixture(t)
	long := strings.Repeat("x", math.MaxInt16)
	for version := int16(2); version <= 7; version++ {
		create := at(version, kmsg.NewPtrCreateTopicsRequest())
		create.Topics = append(create.Topics, newTopicRequest(long, 1, 1), newTopicRequest("t", 1, 1, long, "1"))
		for _, topic := range do[*kmsg.CreateTopicsResponse](f, create).Topics {
			require.NotZero(t, topic.ErrorCode)
			require.LessOrEqual(t, len(*topic.ErrorMessage), math.MaxInt16)
		}
	}
	describe := at(6, kmsg.NewPtrDescribeGroupsRequest())
	describe.Groups = []string{long}
	group := do[*kmsg.DescribeGroupsResponse](f, describe).Groups[0]
	require.LessOrEqual(t, len(*group.ErrorMessage), math.MaxInt16)
}

func TestAListSettingDoesNotGrowBeyondAString(t *testing.T) {
	f := newFixture(t)
	f.topic("t", 1)
	var code int16
	for i := range 3 {
		var elements []string
		for n := range 1500 {
			elements = append(elements, strconv.Itoa(100_000*(i+1)+n)+":1")
		}
		req := at(1, kmsg.NewPtrIncrementalAlterConfigsRequest())
		rr, op := kmsg.NewIncrementalAlterConfigsRequestResource(), kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		op.Name, op.Op = "follower.replication.throttled.replicas", kmsg.IncrementalAlterConfigOpAppend
		op.Value = kmsg.StringPtr(strings.Join(elements, ","))
		rr.ResourceType, rr.ResourceName = kmsg.ConfigResourceTypeTopic, "t"
		rr.Configs = append(rr.Configs, op)
		req.Resources = append(req.Resources, rr)
		code = do[*kmsg.IncrementalAlterConfigsResponse](f, req).Resources[0].ErrorCode
	}
	require.Equal(t, "INVALID_CONFIG", named(code))
}

// A group's offsets are as large as its members made them: a request does not get them again and again.
func TestOffsetsAskedForAgainAndAgainAreNotAnsweredSoOften(t *testing.T) {
	const often = 50_000
	f := newGroupsFixture(t)
	a := f.topic("a", 1)
	commit := offsetCommit(9, []*cluster.Topic{a}, 0)
	commit.Topics[0].Partitions[0].Metadata = kmsg.StringPtr(strings.Repeat("m", 4096))
	require.Zero(t, do[*kmsg.OffsetCommitResponse](f, commit).Topics[0].Partitions[0].ErrorCode)

	groups := offsetFetch(8, a)
	for len(groups.Groups) < often {
		groups.Groups = append(groups.Groups, groups.Groups[0])
	}
	answer := do[*kmsg.OffsetFetchResponse](f, groups)
	require.Len(t, answer.Groups, often)
	require.Len(t, *answer.Groups[0].Topics[0].Partitions[0].Metadata, 4096)
	require.Equal(t, "INVALID_REQUEST", named(answer.Groups[often-1].ErrorCode))

	for _, version := range []int16{7, 8} {
		partitions := offsetFetch(version, a)
		partitions.Topics[0].Partitions = make([]int32, often)
		partitions.Groups[0].Topics[0].Partitions = make([]int32, often)
		resp := f.through("", partitions)
		require.Less(t, len(resp.AppendTo(nil)), 80<<20)
	}
}

// Nor are its members described again and again.
func TestAGroupDescribedAgainAndAgainIsNotAnsweredSoOften(t *testing.T) {
	const often = 500_000
	f := newGroupsFixture(t)
	a := f.topic("a", 1)
	require.Zero(t, do[*kmsg.OffsetCommitResponse](f, offsetCommit(9, []*cluster.Topic{a}, 0)).Topics[0].Partitions[0].ErrorCode)
	req := at(5, kmsg.NewPtrDescribeGroupsRequest())
	req.IncludeAuthorizedOperations = true
	for range often {
		req.Groups = append(req.Groups, "g")
	}
	req.Groups[1] = "other"
	groups := do[*kmsg.DescribeGroupsResponse](f, req).Groups
	require.Len(t, groups, often)
	require.Equal(t, "Dead", groups[1].State)
	for _, i := range []int{0, 2, 16} {
		require.Equal(t, "g", groups[i].Group)
		require.Equal(t, "Empty", groups[i].State)
		require.EqualValues(t, groupOperations, groups[i].AuthorizedOperations)
	}
	for _, i := range []int{17, often - 1} {
		require.Equal(t, "g", groups[i].Group)
		require.Equal(t, "INVALID_REQUEST", named(groups[i].ErrorCode))
	}
}
