package golden

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

func init() {
	scenarios["fetch"] = fetched
	scenarios["fetch-sessions"] = fetchSessions
	scenarios["list-offsets"] = listedOffsets
	scenarios["delete-records"] = deletedRecords
}

// numbered is a batch of n records with the numbers from a on.
func numbered(a, n int, b batch) []byte {
	for i := range n {
		b.records = append(b.records, rec(string(rune('a'+a+i)), "value"))
	}
	return b.bytes()
}

func fetched(s *script) {
	t := s.topic("t", 2)
	s.fill(t, numbered(0, 3, batch{}), numbered(3, 2, batch{}), numbered(5, 1, batch{attributes: 1}))
	s.ask("from the start", fetch(t, 0, 0))
	s.ask("inside a batch", fetch(t, 0, 1))
	s.ask("the end", fetch(t, 0, 6))
	s.ask("past the end", fetch(t, 0, 7))
	s.ask("negative offset", fetch(t, 0, -1))
	s.ask("empty partition", fetch(t, 1, 0))
	s.ask("unknown partition", fetch(t, 5, 0))
	s.ask("unknown topic", fetch(topic{name: s.topicName("nobody"), id: [16]byte{15: 8}}, 0, 0))
	with := func(about string, change func(*kmsg.FetchRequest, *kmsg.FetchRequestTopicPartition)) {
		r := fetch(t, 0, 0)
		change(r, &r.Topics[0].Partitions[0])
		s.ask(about, r)
	}
	with("one byte of a partition", func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { p.PartitionMaxBytes = 1 })
	with("one byte in all", func(r *kmsg.FetchRequest, _ *kmsg.FetchRequestTopicPartition) { r.MaxBytes = 1 })
	with("room for one batch and a half", func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { p.PartitionMaxBytes = 180 })
	with("committed", func(r *kmsg.FetchRequest, _ *kmsg.FetchRequestTopicPartition) { r.IsolationLevel = 1 })
	with("newer leader epoch than there is", func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { p.CurrentLeaderEpoch = 9 })
	with("last epoch ahead of the log's", func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) {
		p.FetchOffset, p.LastFetchedEpoch, p.CurrentLeaderEpoch = 6, 3, 0
	})
	with("waits for more, in vain", func(r *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) {
		r.MaxWaitMillis, r.MinBytes, p.FetchOffset = 100, 1, 6
	})
	second := fetchable(t, 1, 0).Partitions[0]
	s.fillPartition(t, 1, one("k", "other partition"))
	with("negative size of a partition", func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { p.PartitionMaxBytes = -1 })
	with("negative size in all", func(r *kmsg.FetchRequest, _ *kmsg.FetchRequestTopicPartition) {
		r.MaxBytes, r.Topics[0].Partitions = -1, append(r.Topics[0].Partitions, second)
	})
	with("one byte in all, of two partitions", func(r *kmsg.FetchRequest, _ *kmsg.FetchRequestTopicPartition) {
		r.MaxBytes, r.Topics[0].Partitions = 1, append(r.Topics[0].Partitions, second)
	})
	s.ask("no topics", func() *kmsg.FetchRequest { r := fetch(t, 0, 0); r.Topics = nil; return r }())

	waiting := fetch(t, 0, 6)
	waiting.MaxWaitMillis = 9_000
	p := s.send("waiter", "waits for a record", waiting)
	s.fill(t, one("late", "comer"))
	p.wait()
	s.ask("epoch ends", epochEnd(t, 0, 0, -1))
	s.ask("an epoch to come", epochEnd(t, 0, 5, -1))
	s.ask("epoch of an unknown partition", epochEnd(t, 9, 0, -1))
	s.ask("epoch by a client that is ahead", epochEnd(t, 0, 0, 7))
}

func fetchSessions(s *script) {
	if s.at(kmsg.Fetch) < 7 {
		return // no sessions yet
	}
	a, b := s.topic("a", 1), s.topic("b", 1)
	s.fill(a, one("k", "a0"))
	session := func(about string, id, epoch int32, topics ...kmsg.FetchRequestTopic) *kmsg.FetchResponse {
		r := fetch(a, 0, 0)
		r.SessionID, r.SessionEpoch, r.Topics = id, epoch, topics
		return as[kmsg.FetchResponse](s.ask(about, r))
	}
	id := session("opened with two", 0, 0, fetchable(a, 0, 0), fetchable(b, 0, 0)).SessionID
	session("nothing new asked: all that is there again", id, 1)
	session("moved past the record", id, 2, fetchable(a, 0, 1))
	session("nothing new at all", id, 3)
	s.fill(b, one("k", "b0"))
	session("one has news", id, 4)
	forget := fetch(a, 0, 0)
	forget.SessionID, forget.SessionEpoch, forget.Topics = id, 5, nil
	ft := kmsg.NewFetchRequestForgottenTopic()
	ft.Topic, ft.TopicID, ft.Partitions = b.name, b.id, []int32{0}
	forget.ForgottenTopics = append(forget.ForgottenTopics, ft)
	s.ask("without the second", forget)
	session("an epoch was left out", id, 9)
	session("an unknown session", id+12345, 1)
	session("out of range in a session", id, 6, fetchable(a, 0, 77))
	session("still out of range", id, 7)
	session("an unknown topic in a session", id, 8, fetchable(topic{name: s.topicName("nobody"), id: [16]byte{15: 9}}, 0, 0))
	session("closed, with a last fetch", id, -1, fetchable(a, 0, 0))
	session("closed is closed", id, 9)
	session("epoch 0 of none opens", 0, 0, fetchable(a, 0, 1))
	session("epoch 1 of none", 0, 1, fetchable(a, 0, 0))
}

func listedOffsets(s *script) {
	t := s.topic("t", 1)
	s.ask("empty, latest", listOffsets(t, 0, -1))
	s.ask("empty, earliest", listOffsets(t, 0, -2))
	s.ask("empty, by time", listOffsets(t, 0, stamp))
	s.ask("empty, largest time", listOffsets(t, 0, -3))
	s.fill(t, numbered(0, 3, batch{}), numbered(3, 3, batch{first: stamp + 100}), numbered(6, 3, batch{first: stamp + 50, attributes: 1}))
	for _, q := range []struct {
		about string
		time  int64
	}{
		{"latest", -1}, {"earliest", -2}, {"largest time", -3}, {"earliest local", -4}, {"latest tiered", -5}, {"earliest to be tiered", -6}, {"unknown", -7},
		{"before all", 1}, {"the first", stamp}, {"inside a batch", stamp + 1}, {"between batches", stamp + 60}, {"the largest", stamp + 102}, {"after all", stamp + 103},
	} {
		s.ask(q.about, listOffsets(t, 0, q.time))
	}
	committed := listOffsets(t, 0, -1)
	committed.IsolationLevel = 1
	s.ask("latest, committed", committed)
	s.ask("unknown partition", listOffsets(t, 3, -1))
	s.ask("unknown topic", listOffsets(topic{name: s.topicName("nobody")}, 0, -1))
	ahead := listOffsets(t, 0, -1)
	ahead.Topics[0].Partitions[0].CurrentLeaderEpoch = 5
	s.ask("newer leader epoch than there is", ahead)
	twice := listOffsets(t, 0, -1)
	twice.Topics[0].Partitions = append(twice.Topics[0].Partitions, offsetsOf(0, -2))
	s.ask("the same partition twice", twice)
}

func deletedRecords(s *script) {
	t := s.topic("t", 1)
	s.fill(t, numbered(0, 4, batch{}), numbered(4, 4, batch{}))
	s.ask("inside a batch", deleteRecords(t.name, 0, 2))
	s.ask("read below", fetch(t, 0, 1))
	s.ask("read from there", fetch(t, 0, 2))
	s.ask("back", deleteRecords(t.name, 0, 1))
	s.ask("beyond the end", deleteRecords(t.name, 0, 9))
	s.ask("negative", deleteRecords(t.name, 0, -2))
	s.ask("all", deleteRecords(t.name, 0, -1))
	s.ask("earliest now", listOffsets(t, 0, -2))
	s.ask("nothing left", fetch(t, 0, 8))
	s.ask("unknown partition", deleteRecords(t.name, 4, 0))
	s.ask("unknown topic", deleteRecords(s.topicName("nobody"), 0, 0))
	kept := s.topic("kept", 1, "cleanup.policy=compact")
	s.fill(kept, one("k", "v"))
	s.ask("compacted topic", deleteRecords(kept.name, 0, 1))
}
