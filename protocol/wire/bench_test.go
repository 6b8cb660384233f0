package wire

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func produceRequest(version int16, batch []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = version, -1, 30000
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic, topic.TopicID = "orders", [16]byte{1}
	part := kmsg.NewProduceRequestTopicPartition()
	part.Records = batch
	topic.Partitions = append(topic.Partitions, part)
	req.Topics = append(req.Topics, topic)
	return req
}

func fetchRequest(version int16, topics, partitions int) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MaxWaitMillis, req.MinBytes = version, 500, 1
	for i := range topics {
		topic := kmsg.NewFetchRequestTopic()
		topic.Topic, topic.TopicID = "orders", [16]byte{byte(i)}
		for p := range partitions {
			part := kmsg.NewFetchRequestTopicPartition()
			part.Partition, part.FetchOffset, part.PartitionMaxBytes = int32(p), 1000, 1<<20
			topic.Partitions = append(topic.Partitions, part)
		}
		req.Topics = append(req.Topics, topic)
	}
	return req
}

func bench(b *testing.B, key, version int16, body []byte) {
	b.Run("check", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(body)))
		for b.Loop() {
			if _, err := Check(key, version, body); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(body)))
		h := Header{Key: key, Version: version}
		for b.Loop() {
			if _, _, err := Decode(h, body); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkProduce(b *testing.B) {
	for _, v := range []int16{7, 9, 13} {
		b.Run(fmt.Sprintf("v%d", v), func(b *testing.B) {
			bench(b, 0, v, produceRequest(v, make([]byte, 16<<10)).AppendTo(nil))
		})
	}
}

func BenchmarkFetch(b *testing.B) {
	for _, v := range []int16{4, 12, 18} {
		for _, n := range []int{1, 100} {
			b.Run(fmt.Sprintf("v%d/%d partitions", v, n), func(b *testing.B) {
				bench(b, 1, v, fetchRequest(v, 1, n).AppendTo(nil))
			})
		}
	}
}

func BenchmarkParseHeader(b *testing.B) {
	req := fetchRequest(18, 1, 1)
	f := kmsg.NewRequestFormatter(kmsg.FormatterClientID("client-1")).AppendRequest(nil, req, 42)[4:]
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := ParseHeader(f); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkWorstKiB decodes 1 KiB frames made to cost as much as they can: as many of the smallest elements as fit, with an
// unknown tag in each, the same with text to repair, and one section full of tags.
func BenchmarkWorstKiB(b *testing.B) {
	for _, e := range table {
		if e == nil {
			continue
		}
		eachList(e.fields, e.Max, func(list *field) {
			strange := 0
			if e.flexible(e.Max) {
				strange = 1
			}
			body := swollen(e, e.Max, list, strange)
			b.Run(e.Name+"/"+list.name, func(b *testing.B) { bench(b, e.Key, e.Max, body) })
		})
	}
	b.Run("Metadata v1 of tiny topics", func(b *testing.B) { bench(b, 3, 1, swollen(table[3], 1, &table[3].fields[0], 0)) })
	b.Run("text to repair", func(b *testing.B) {
		req := kmsg.NewPtrDescribeGroupsRequest()
		for range 330 {
			req.Groups = append(req.Groups, "\xff")
		}
		bench(b, 15, 0, req.AppendTo(nil))
	})
	b.Run("tags", func(b *testing.B) {
		w := layoutWriter{version: 3, flexible: true, strange: 370}
		w.structure(table[keyApiVersions].fields)
		bench(b, keyApiVersions, 3, w.buf)
	})
}
