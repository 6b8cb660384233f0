package handler

import (
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/protocol/record"
)

// Produce (key 0), versions 3 to 13; 0 to 2 are advertised for librdkafka's sake and close the connection (KAFKA-18659).
//
//	v3  one v2 batch for each partition, transactional id     v5  log start offset in the answer
//	v7  zstd allowed                                          v8  record errors and message (KIP-467)
//	v9  flexible                                              v10 current leader with NOT_LEADER_OR_FOLLOWER (KIP-951)
//	v12 a partition joins a transaction by being written to (KIP-890)
//	v13 topic ids (KIP-516)
//
// Batches are appended before the handler returns; the answer is parked until each partition is as durable as acks asks.
// acks=0 has no answer: an error closes the connection.
func (h *handlers) produce(c *call.Call) {
	req := c.Request.(*kmsg.ProduceRequest)
	w := &produceWait{call: c, handlers: h, resp: req.ResponseKind().(*kmsg.ProduceResponse)}
	image := h.Cluster.Image()
	w.resp.Topics = make([]kmsg.ProduceResponseTopic, 0, len(req.Topics))
	for i := range req.Topics {
		w.topic(image, req, &req.Topics[i])
	}
	if req.Acks == 0 {
		c.Reply(call.Response{Nothing: !w.failed, Close: w.failed})
		return
	}
	w.park(req)
}

// produceWait is one produce request between append and answer.
type produceWait struct {
	call     *call.Call
	handlers *handlers
	resp     *kmsg.ProduceResponse
	failed   bool
	appended []appended

	mu      sync.Mutex
	left    int // partitions that wait
	replied bool
	timer   *time.Timer
}

// appended is a partition whose records are written and not yet durable.
type appended struct {
	partition *replica.Partition // nil once that is decided
	end       int64
	epoch     int32
	at        *kmsg.ProduceResponseTopicPartition
}

// topic appends what the request brings for one topic and fills its part of the answer. Of a partition named twice the
// last counts, as in Kafka.
func (w *produceWait) topic(image *cluster.Image, req *kmsg.ProduceRequest, rt *kmsg.ProduceRequestTopic) {
	if len(rt.Partitions) == 0 {
		return
	}
	out := kmsg.NewProduceResponseTopic()
	out.Topic, out.TopicID = rt.Topic, rt.TopicID
	out.Partitions = make([]kmsg.ProduceResponseTopicPartition, 0, len(rt.Partitions))
	t, refusal := w.resolve(image, req, rt)
	again := namedAgain(rt.Partitions)
	for i := range rt.Partitions {
		p := &rt.Partitions[i]
		if again(i) {
			continue
		}
		rp := kmsg.NewProduceResponseTopicPartition()
		rp.Partition, rp.BaseOffset = p.Partition, -1
		out.Partitions = append(out.Partitions, rp)
		at := &out.Partitions[len(out.Partitions)-1]
		if refusal != nil {
			w.refuse(at, refusal)
			continue
		}
		w.append(image, t, req, p, at)
	}
	w.resp.Topics = append(w.resp.Topics, out)
}

// fewPartitions is up to where looking through a list costs less than a map of it.
const fewPartitions = 16

// namedAgain answers whether the i-th partition is named once more after it, in time that does not grow with the square of
// what a client sends.
func namedAgain(all []kmsg.ProduceRequestTopicPartition) func(i int) bool {
	if len(all) <= fewPartitions {
		return func(i int) bool {
			for k := i + 1; k < len(all); k++ {
				if all[k].Partition == all[i].Partition {
					return true
				}
			}
			return false
		}
	}
	last := make(map[int32]int, len(all))
	for i := range all {
		last[all[i].Partition] = i
	}
	return func(i int) bool { return last[all[i].Partition] != i }
}

// resolve finds the topic and answers what is wrong with the request for all its partitions.
func (w *produceWait) resolve(image *cluster.Image, req *kmsg.ProduceRequest, rt *kmsg.ProduceRequestTopic) (*cluster.Topic, error) {
	var t *cluster.Topic
	if req.Version >= 13 {
		if t = image.TopicByID(rt.TopicID); t == nil {
			return nil, kerr.UnknownTopicID
		}
	} else if t = image.Topic(rt.Topic); t == nil {
		return nil, kerr.UnknownTopicOrPartition
	}
	switch {
	case req.Acks < -1 || req.Acks > 1:
		return nil, kerr.InvalidRequiredAcks
	case t.Internal:
		return nil, kerr.InvalidTopicException
	}
	return t, nil
}

func (w *produceWait) append(image *cluster.Image, t *cluster.Topic, req *kmsg.ProduceRequest, p *kmsg.ProduceRequestTopicPartition, at *kmsg.ProduceResponseTopicPartition) {
	part, err := w.handlers.partition(t, p.Partition)
	if err != nil {
		w.refusePartition(image, t, p.Partition, req.Version, at, err)
		return
	}
	batch, err := record.Single(p.Records)
	if err == nil && req.Version < 7 && !batch.Codec().Valid() {
		err = record.ErrUnknownCodec
	}
	unread := err != nil // refused before the partition's log is looked at
	switch {
	case unread:
	case batch.IsTransactional():
		err = w.transactional(req)
	case batch.Codec() == record.Zstd && req.Version < 7:
		err = kerr.UnsupportedCompressionType
	}
	if err == nil {
		var done replica.Appended
		done, err = part.Append(replica.Append{Batches: batch, Acks: req.Acks, Epoch: -1})
		if err == nil {
			at.BaseOffset, at.LogAppendTime, at.LogStartOffset = done.Base, done.LogAppendTime, done.LogStart
			w.appended = append(w.appended, appended{part, done.FlushEnd, done.Epoch, at})
			return
		}
	}
	w.refusePartition(image, t, p.Partition, req.Version, at, err)
	if !unread && !withoutLogStart[at.ErrorCode] {
		at.LogStartOffset = part.LogStart()
	}
}

// transactional is why a transactional batch is refused: this broker does not serve transactions yet.
func (w *produceWait) transactional(req *kmsg.ProduceRequest) error {
	if req.TransactionID == nil {
		return kerr.TransactionalIDAuthorizationFailed
	}
	return kerr.InvalidTxnState
}

// withoutLogStart are the refusals for which Kafka leaves the log start at -1.
var withoutLogStart = map[int16]bool{
	kerr.UnknownTopicOrPartition.Code: true, kerr.NotLeaderForPartition.Code: true, kerr.MessageTooLarge.Code: true,
	kerr.RecordListTooLarge.Code: true, kerr.CorruptMessage.Code: true, kerr.KafkaStorageError.Code: true,
	kerr.TransactionalIDAuthorizationFailed.Code: true, kerr.InvalidTxnState.Code: true, kerr.UnsupportedCompressionType.Code: true,
}

func (w *produceWait) refuse(at *kmsg.ProduceResponseTopicPartition, err error) {
	w.failed = true
	at.ErrorCode, at.BaseOffset = w.handlers.code(err, "produce"), -1
	var rejected *record.RejectedError
	if !errors.As(err, &rejected) || len(rejected.Records) == 0 {
		return
	}
	at.ErrorMessage = kmsg.StringPtr(rejected.Reason)
	at.ErrorRecords = make([]kmsg.ProduceResponseTopicPartitionErrorRecord, len(rejected.Records))
	for i, r := range rejected.Records {
		e := kmsg.NewProduceResponseTopicPartitionErrorRecord()
		e.RelativeOffset, e.ErrorMessage = r.Index, kmsg.StringPtr(r.Message)
		at.ErrorRecords[i] = e
	}
}

// refusePartition adds, for a partition led elsewhere, where that is (KIP-951).
func (w *produceWait) refusePartition(image *cluster.Image, t *cluster.Topic, n int32, version int16, at *kmsg.ProduceResponseTopicPartition, err error) {
	w.refuse(at, err)
	if at.ErrorCode != kerr.NotLeaderForPartition.Code || version < 10 || int(n) >= len(t.Partitions) || n < 0 {
		return
	}
	leader := t.Partitions[n]
	at.CurrentLeader.LeaderID, at.CurrentLeader.LeaderEpoch = leader.Leader, leader.LeaderEpoch
	for _, b := range w.resp.Brokers {
		if b.NodeID == leader.Leader {
			return
		}
	}
	if host, port, rack, ok := w.handlers.endpoint(image, leader.Leader, w.call.Peer.Listener); ok {
		b := kmsg.NewProduceResponseBroker()
		b.NodeID, b.Host, b.Port, b.Rack = leader.Leader, host, port, rack
		w.resp.Brokers = append(w.resp.Brokers, b)
	}
}

// flushGrace is the least time a produce waits for the local disk, however short the request's timeout: Kafka counts only
// the wait for other replicas against that.
const flushGrace = time.Second

// park answers when every partition is durable, or when the request's timeout ends. A client that goes away meanwhile, or a
// broker that stops, changes nothing: the records are written, and the disk answers sooner than anybody could miss it.
func (w *produceWait) park(req *kmsg.ProduceRequest) {
	if w.left = len(w.appended); w.left == 0 {
		w.reply()
		return
	}
	acks, timeout := req.Acks, max(time.Duration(req.TimeoutMillis)*time.Millisecond, flushGrace)
	for i := range w.appended {
		a := &w.appended[i]
		a.partition.WhenDurable(a.end, a.epoch, acks, func(err error) { w.durable(a, err) })
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.replied {
		w.timer = time.AfterFunc(timeout, w.expire)
	}
}

// durable notes that one partition's wait is over.
func (w *produceWait) durable(a *appended, err error) {
	w.mu.Lock()
	if w.replied {
		w.mu.Unlock()
		return
	}
	if err != nil {
		w.refuse(a.at, err)
	}
	a.partition = nil
	w.left--
	last := w.left == 0
	if last {
		w.replied = true
		if w.timer != nil {
			w.timer.Stop()
		}
	}
	w.mu.Unlock()
	if last {
		w.reply()
	}
}

// expire answers REQUEST_TIMED_OUT for the partitions that still wait. Their records stay written.
func (w *produceWait) expire() {
	w.mu.Lock()
	if w.replied {
		w.mu.Unlock()
		return
	}
	w.replied = true
	for i := range w.appended {
		a := &w.appended[i]
		if a.partition != nil {
			w.refuse(a.at, kerr.RequestTimedOut)
		}
		// The partition's list holds a until the disk comes back; it is not to hold the request's memory as long.
		a.partition, a.at = nil, nil
	}
	w.mu.Unlock()
	w.reply()
}

// reply is called by the one who set replied, or before anybody else knows of w.
func (w *produceWait) reply() {
	c, resp := w.call, w.resp
	w.call, w.resp = nil, nil
	c.Reply(call.Response{Message: resp})
}
