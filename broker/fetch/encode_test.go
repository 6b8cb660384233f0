package fetch

import (
	"math/rand"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// Whatever there is to say, in every version it is laid out as kmsg's own encoder does.
func TestAnswersAreEncodedAsKmsgDoes(t *testing.T) {
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewSource(seed))
	content := make([]byte, 64<<10)
	r.Read(content)
	fs := vfs.NewCrash(1)
	file, err := fs.Create("records", vfs.Unspecified)
	require.NoError(t, err)
	_, err = file.Write(content)
	require.NoError(t, err)
	defer file.Close()

	rack := "r1"
	f := &Fetcher{endpoint: func(_ *cluster.Image, id int32, _ string) (string, int32, *string, bool) {
		if id%2 == 0 {
			return "even", id, &rack, true
		}
		return "odd", id, nil, id != 3
	}}
	for range 3000 {
		version := int16(4 + r.Intn(15))
		results := someResults(r, version, file)
		p := &poll{fetcher: f, req: &kmsg.FetchRequest{Version: version}, call: &call.Call{Peer: &call.Peer{}}, replicaID: -1}
		p.scope.id = int32(r.Intn(3)) * 77
		payload := p.encode(nil, results)
		got, err := payload.AppendTo(nil)
		require.NoError(t, err)
		require.EqualValues(t, len(got), payload.Size())
		require.Equal(t, asKmsg(version, p.scope.id, results, content).AppendTo(nil), got, "version %d, seed %d", version, seed)
		payload.Free()
	}
}

// someResults is what a request of that version might be answered with.
func someResults(r *rand.Rand, version int16, file vfs.File) []result {
	topics := make([]place, 1+r.Intn(3))
	for i := range topics {
		if version >= 13 {
			topics[i].id = uuid.New()
		} else {
			topics[i].topic = string(rune('a'+i)) + "topic"
		}
	}
	results := make([]result, r.Intn(8))
	for i := range results {
		at := &topics[r.Intn(len(topics))]
		x := result{place: &place{topic: at.topic, id: at.id, partition: int32(r.Intn(1000))}, leader: -1, leaderEpoch: -1}
		x.code = int16(r.Intn(3) - 1)
		x.watermark, x.stable, x.start = r.Int63()-1, r.Int63()-1, r.Int63()-1
		if r.Intn(2) == 0 {
			x.slice = replica.Slice{File: file, Pos: int64(r.Intn(1000)), Len: r.Intn(300) * r.Intn(300) / 2}
		}
		if x.listed = r.Intn(2) == 0; x.listed {
			for range r.Intn(3) {
				x.aborted = append(x.aborted, replica.Aborted{ProducerID: r.Int63(), FirstOffset: r.Int63()})
			}
		}
		if version >= 12 && r.Intn(3) == 0 {
			x.diverged, x.divergingEpoch, x.divergingEnd = true, int32(r.Intn(9)), r.Int63()
		}
		if version >= 16 && r.Intn(3) == 0 {
			x.leader, x.leaderEpoch = int32(r.Intn(5)), int32(r.Intn(9))
		}
		results[i] = x
	}
	return results
}

func asKmsg(version int16, session int32, results []result, content []byte) *kmsg.FetchResponse {
	out := kmsg.NewPtrFetchResponse()
	out.Version, out.SessionID = version, session
	var named []int32
	for i := range results {
		x := &results[i]
		p := kmsg.NewFetchResponseTopicPartition()
		p.Partition, p.ErrorCode, p.HighWatermark, p.LastStableOffset, p.LogStartOffset = x.place.partition, x.code, x.watermark, x.stable, x.start
		p.RecordBatches = append([]byte{}, content[x.slice.Pos:][:x.slice.Len]...)
		if x.listed {
			p.AbortedTransactions = []kmsg.FetchResponseTopicPartitionAbortedTransaction{}
		}
		for _, a := range x.aborted {
			p.AbortedTransactions = append(p.AbortedTransactions, kmsg.FetchResponseTopicPartitionAbortedTransaction{ProducerID: a.ProducerID, FirstOffset: a.FirstOffset})
		}
		if x.diverged {
			p.DivergingEpoch.Epoch, p.DivergingEpoch.EndOffset = x.divergingEpoch, x.divergingEnd
		}
		p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch = x.leader, x.leaderEpoch
		at := slices.IndexFunc(out.Topics, func(t kmsg.FetchResponseTopic) bool { return t.Topic == x.place.topic && t.TopicID == x.place.id })
		if at < 0 {
			at = len(out.Topics)
			topic := kmsg.NewFetchResponseTopic()
			topic.Topic, topic.TopicID = x.place.topic, x.place.id
			out.Topics = append(out.Topics, topic)
		}
		out.Topics[at].Partitions = append(out.Topics[at].Partitions, p)
		if x.leader >= 0 && x.leader != 3 && !slices.Contains(named, x.leader) {
			named = append(named, x.leader)
			b := kmsg.NewFetchResponseBroker()
			b.NodeID, b.Host, b.Port = x.leader, "odd", x.leader
			if x.leader%2 == 0 {
				rack := "r1"
				b.Host, b.Rack = "even", &rack
			}
			out.Brokers = append(out.Brokers, b)
		}
	}
	return out
}
