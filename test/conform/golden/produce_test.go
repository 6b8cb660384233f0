package golden

import (
	"bytes"
	"encoding/binary"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func init() {
	scenarios["produce"] = produced
	scenarios["produce-refused"] = produceRefused
	scenarios["produce-idempotent"] = idempotent
	scenarios["produce-epochs"] = producerEpochs
	scenarios["produce-settings"] = produceSettings
}

func recs(r ...kmsg.Record) []kmsg.Record { return r }

func produced(s *script) {
	t := s.topic("t", 2)
	s.ask("acks all", produce(t, -1, one("k", "all")))
	s.ask("acks 1", produce(t, 1, batch{records: recs(rec("a", "1"), keyless("2"), rec("c", ""))}.bytes()))
	null := rec("tombstone", "")
	null.Value = nil
	headed := rec("h", "headers")
	headed.Headers = []kmsg.Header{{Key: "x", Value: []byte("1")}, {Key: "x", Value: nil}}
	s.ask("null value, headers", produce(t, -1, batch{records: recs(null, headed)}.bytes()))
	s.ask("gzip", produce(t, -1, batch{attributes: 1, records: recs(rec("g", "gzip"), rec("g", "gzip"))}.bytes()))
	s.ask("zstd", produce(t, -1, batch{attributes: 4, records: recs(rec("z", "zstd"))}.bytes()))
	s.ask("the other partition as well", func() *kmsg.ProduceRequest {
		r := produce(t, -1, one("p0", "v"), one("p1", "v"))
		r.Topics[0].Partitions[1].Partition = 1
		return r
	}())
	s.ask("no topics", func() *kmsg.ProduceRequest { r := produce(t, -1); r.Topics = nil; return r }())
	s.ask("no partitions", produce(t, -1))
	s.silent("acks 0", produce(t, 0, one("k", "none")))
	// Nobody promised when it is there.
	end := int64(9)
	if s.edition == highest {
		end = 10
	}
	prepare(s, listOffsets(t, 0, -1), func(r *kmsg.ListOffsetsResponse) bool { return r.Topics[0].Partitions[0].Offset > end })
	s.ask("read back", fetch(t, 0, 0))
	s.ask("the other partition", fetch(t, 1, 0))
}

// silent sends what has no answer, and sees whether the connection goes on.
func (s *script) silent(about string, req kmsg.Request) {
	s.send("", about, req)
	api := kmsg.NewPtrApiVersionsRequest()
	c := s.conn("")
	id, err := c.request(api)
	if err == nil {
		_, err = c.answer(id)
	}
	what := "no answer, and the next request has one"
	if err != nil {
		c.close()
		what = outcome(err)
	}
	s.note(title(req.Key(), req.GetVersion(), about), "%s", what)
}

func produceRefused(s *script) {
	t := s.topic("t", 1)
	good := batch{records: recs(rec("a", "1"), rec("b", "2"))}
	try := func(about string, raw []byte) { s.ask(about, produce(t, -1, raw)) }
	with := func(change func(*kmsg.RecordBatch)) []byte {
		b := good
		b.spoil = change
		return b.bytes()
	}
	after := func(change func([]byte) []byte) []byte {
		b := good
		b.rework = change
		return b.bytes()
	}
	at := func(pos int, v byte) []byte {
		return after(func(b []byte) []byte { b[pos] = v; return b })
	}
	try("no bytes", []byte{})
	try("one byte", []byte{0})
	try("cut in the header", good.bytes()[:40])
	try("cut in the records", good.bytes()[:len(good.bytes())-1])
	try("checksum", at(20, 0xaa))
	try("length too small", at(11, 20))
	try("length too large", at(10, 9))
	try("magic 3", with(func(b *kmsg.RecordBatch) { b.Magic = 3 }))
	try("magic 1", with(func(b *kmsg.RecordBatch) { b.Magic = 1 }))
	try("two batches", append(good.bytes(), good.bytes()...))
	try("no records", batch{}.bytes())
	try("more records said than there", with(func(b *kmsg.RecordBatch) { b.NumRecords, b.LastOffsetDelta = 3, 2 }))
	try("fewer records said than there", with(func(b *kmsg.RecordBatch) { b.NumRecords, b.LastOffsetDelta = 1, 0 }))
	try("last offset does not fit the count", with(func(b *kmsg.RecordBatch) { b.LastOffsetDelta = 5 }))
	try("negative count", with(func(b *kmsg.RecordBatch) { b.NumRecords = -1 }))
	try("unknown codec", with(func(b *kmsg.RecordBatch) { b.Attributes = 7 }))
	try("gzip that is none", with(func(b *kmsg.RecordBatch) { b.Attributes = 1 }))
	try("control batch", with(func(b *kmsg.RecordBatch) { b.Attributes = 0x20 }))
	try("transactional without a transaction", with(func(b *kmsg.RecordBatch) { b.Attributes = 0x10 }))
	try("producer without a sequence", with(func(b *kmsg.RecordBatch) { b.ProducerID, b.ProducerEpoch = 5, 0 }))
	try("record longer than the batch", with(func(b *kmsg.RecordBatch) { b.Records = append([]byte{0xfe, 0x7f}, b.Records[1:]...) }))
	try("bytes after the batch", append(good.bytes(), 0))
	try("offset of its own", after(func(b []byte) []byte { binary.BigEndian.PutUint64(b, 1000); return b }))
	try("time far ahead", batch{records: good.records, first: 9_000_000_000_000}.bytes())

	s.ask("unknown partition", func() *kmsg.ProduceRequest {
		r := produce(t, -1, one("k", "v"))
		r.Topics[0].Partitions[0].Partition = 7
		return r
	}())
	s.ask("unknown topic", produce(topic{name: s.topicName("nobody") + "/bad", id: [16]byte{15: 3}}, -1, one("k", "v")))
	s.ask("acks 2", produce(t, 2, one("k", "v")))
	s.silent("acks 0, refused", produce(t, 0, at(20, 0xaa)))
	s.ask("what was taken", fetch(t, 0, 0))
}

// producer takes a producer id of the broker.
func (s *script) producer() int64 {
	r := prepare(s, initProducer(), func(r *kmsg.InitProducerIDResponse) bool { return r.ErrorCode == 0 && r.ProducerID > 0 })
	s.mask.name("producer", r.ProducerID)
	return r.ProducerID
}

func initProducer() *kmsg.InitProducerIDRequest {
	r := kmsg.NewPtrInitProducerIDRequest()
	r.TransactionTimeoutMillis, r.ProducerID, r.ProducerEpoch = 60_000, -1, -1
	return r
}

func idempotent(s *script) {
	id := s.producer() // from here on the broker can give them out
	s.ask("a producer id", initProducer())
	empty := initProducer()
	empty.TransactionalID = ptr("")
	s.ask("an empty transactional id", empty)
	t := s.topic("t", 1)
	at := func(seq int32) []byte {
		return batch{records: recs(rec("a", "1"), rec("b", "2")), producer: id, sequence: seq}.bytes()
	}
	for seq := range int32(7) {
		s.ask("in order", produce(t, -1, at(2*seq)))
	}
	s.ask("the last again", produce(t, -1, at(12)))
	s.ask("the fifth last again", produce(t, -1, at(4)))
	s.ask("older than the last five", produce(t, -1, at(2)))
	s.ask("a gap", produce(t, -1, at(16)))
	s.ask("half known", produce(t, -1, at(13)))
	other := s.producer()
	s.ask("first of a producer, not at 0", produce(t, -1, batch{records: recs(rec("o", "1")), producer: other, sequence: 9}.bytes()))
	s.ask("all that is there", fetch(t, 0, 0))
	describe := kmsg.NewPtrDescribeProducersRequest()
	rt := kmsg.NewDescribeProducersRequestTopic()
	rt.Topic, rt.Partitions = t.name, []int32{0, 4}
	describe.Topics = append(describe.Topics, rt)
	s.ask("active producers", describe)
}

func producerEpochs(s *script) {
	t, id := s.topic("t", 1), s.producer()
	at := func(epoch int16, seq int32) *kmsg.ProduceRequest {
		return produce(t, -1, batch{records: recs(rec("a", "1")), producer: id, epoch: epoch, sequence: seq}.bytes())
	}
	s.ask("epoch 3", at(3, 0))
	s.ask("epoch 2", at(2, 1))
	s.ask("epoch 4, not at 0", at(4, 1))
	s.ask("epoch 4", at(4, 0))
	s.ask("epoch 3 again", at(3, 1))
	s.ask("up to the last sequence", at(5, 0))
}

func produceSettings(s *script) {
	compacted := s.topic("compacted", 1, "cleanup.policy=compact")
	s.ask("no key where keys are needed", produce(compacted, -1, batch{records: recs(rec("k", "v"), keyless("v"))}.bytes()))
	s.ask("with keys", produce(compacted, -1, batch{records: recs(rec("k", "v"), rec("", "v"))}.bytes()))

	small := s.topic("small", 1, "max.message.bytes=200")
	large := string(bytes.Repeat([]byte("x"), 300))
	s.ask("too large", produce(small, -1, one("k", large)))
	s.ask("not too large when compressed", produce(small, -1, batch{attributes: 1, records: recs(rec("k", large))}.bytes()))

	clocked := s.topic("clocked", 1, "message.timestamp.type=LogAppendTime")
	s.ask("the broker's clock", produce(clocked, -1, one("k", "v")))
	s.ask("the broker's clock, read", fetch(clocked, 0, 0))

	recent := s.topic("recent", 1, "message.timestamp.before.max.ms=1000")
	s.ask("too old", produce(recent, -1, one("k", "v")))

	two := s.topic("two", 1, "min.insync.replicas=2")
	s.ask("too few in-sync replicas", produce(two, -1, one("k", "v")))
	s.ask("too few, but not asked for", produce(two, 1, one("k", "v")))

	plain := s.topic("plain", 1, "compression.type=uncompressed")
	s.ask("to be stored plain", produce(plain, -1, batch{attributes: 1, records: recs(rec("k", "v"), rec("k2", "v2"))}.bytes()))
	s.ask("stored plain", fetch(plain, 0, 0))
	packed := s.topic("packed", 1, "compression.type=gzip")
	s.ask("to be stored as gzip", produce(packed, -1, one("k", "v")))
	s.ask("stored as gzip", fetch(packed, 0, 0))
}
