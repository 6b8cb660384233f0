package leases

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/protocol/private"
	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/test/simulation"
)

// member is a share consumer that sends what Kafka's do, over a connection of its own.
type member struct {
	w  *world
	g  *consumed
	id string

	mu     sync.Mutex
	life   *simulation.Life // that conn is to; guarded by mu
	conn   context.Context
	hangUp context.CancelFunc
	open   bool  // there may be a session
	epoch  int32 // of the session's next request

	joined   int32 // member epoch; 0: not a member
	acquires []Taken
}

const sharer = "User:sharer"

// step does one thing that a share consumer may do.
func (m *member) step(rnd *rand.Rand) {
	l := m.w.Current()
	if l == nil {
		return
	}
	m.connect(l)
	if m.joined == 0 || rnd.IntN(8) == 0 {
		m.heartbeat()
	}
	switch n := rnd.IntN(20); {
	case n == 0:
		m.drop()
	case n == 1:
		m.close(rnd)
	case n == 2: // it sleeps until its leases have run out, and then goes on
		time.Sleep(m.g.lock + time.Duration(rnd.IntN(1000))*time.Millisecond)
	case n < 9 && len(m.acquires) > 0 && m.opened():
		m.acknowledge(rnd, rnd.IntN(4) == 0)
	default:
		m.fetch(rnd)
	}
}

// connect makes sure that there is a connection to the life.
func (m *member) connect(l *simulation.Life) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.life == l && m.conn.Err() == nil {
		return
	}
	if m.hangUp != nil {
		m.hangUp()
	}
	m.life, m.open, m.epoch = l, false, 0
	m.conn, m.hangUp = context.WithCancel(l.Context())
	if !m.g.Durable {
		m.acquires = nil
	}
}

func (m *member) opened() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.open
}

// drop breaks the connection.
func (m *member) drop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended()
	m.hangUp()
	m.acquires = nil
}

// ended notes that the session ends from now on.
func (m *member) ended() {
	if m.open {
		m.w.rec.Close(Close{m.g.Name, m.id, time.Now()})
		m.open, m.epoch = false, 0
	}
}

// orphaned says that the broker is about to end the connection in good order.
func (m *member) orphaned() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended()
}

// heartbeat joins the group, or stays in it.
func (m *member) heartbeat() {
	req := kmsg.NewPtrShareGroupHeartbeatRequest()
	req.Version, req.GroupID, req.MemberID, req.MemberEpoch = 1, m.g.Name, m.id, m.joined
	if m.joined == 0 {
		req.SubscribedTopicNames = []string{"q"}
	}
	resp, err := simulation.Ask[*kmsg.ShareGroupHeartbeatResponse](m.conn, m.life, sharer, req)
	switch {
	case err != nil:
	case resp.ErrorCode == 0:
		m.joined = resp.MemberEpoch
	default:
		m.joined = 0
	}
}

// partitions are all of the queue's.
func (m *member) partitions() (all []int32) {
	for n := range m.w.topic.Partitions {
		all = append(all, int32(n))
	}
	return all
}

// next takes the epoch of the session's next request; opening tells that it opens one.
func (m *member) next() (epoch int32, opening bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.epoch == 0 {
		m.ended()
		m.open, m.epoch = true, 1
		return 0, true
	}
	m.epoch++
	return m.epoch - 1, false
}

// lost says that the session is not as it was thought to be: the next request opens another.
func (m *member) lost() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.epoch = 0
}

// fetch asks for records, and may acknowledge some of those before.
func (m *member) fetch(rnd *rand.Rand) {
	epoch, opening := m.next()
	req := kmsg.NewPtrShareFetchRequest()
	req.Version, req.GroupID, req.MemberID, req.ShareSessionEpoch = 2, &m.g.Name, &m.id, epoch
	req.MinBytes, req.MaxBytes, req.MaxRecords, req.BatchSize = 1, 1<<20, 1+rnd.Int32N(10), 1+rnd.Int32N(10)
	req.MaxWaitMillis, req.ShareAcquireMode = rnd.Int32N(1500), int8(rnd.IntN(2))
	var said map[int32][]Said
	if opening {
		if m.g.Durable {
			m.forgetSome(rnd)
		} else {
			m.acquires = nil
		}
	} else if len(m.acquires) > 0 && rnd.IntN(2) == 0 {
		said = m.choose(rnd, false)
	}
	topic := kmsg.NewShareFetchRequestTopic()
	topic.TopicID = m.w.topic.ID
	for _, n := range m.partitions() {
		if _, speaks := said[n]; !opening && !speaks {
			continue
		}
		p := kmsg.NewShareFetchRequestTopicPartition()
		p.Partition = n
		for _, b := range batches(rnd, said[n]) {
			p.AcknowledgementBatches = append(p.AcknowledgementBatches, kmsg.ShareFetchRequestTopicPartitionAcknowledgementBatch(b))
		}
		topic.Partitions = append(topic.Partitions, p)
	}
	if len(topic.Partitions) > 0 {
		req.Topics = append(req.Topics, topic)
	}
	from := time.Now()
	resp, err := simulation.Ask[*kmsg.ShareFetchResponse](m.conn, m.life, sharer, req)
	request := Span{from, time.Now()}
	if err != nil || resp.ErrorCode != 0 {
		m.w.rec.Lost(Lost{Group: m.g.Name, Request: request, Until: request.To.Add(m.g.lock + skewed)})
		m.settled(said, request, func(int32) Outcome { return Unknown })
		m.lost()
		return
	}
	codes, failed := map[int32]int16{}, false
	t := Take{Group: m.g.Name, Holder: m.id, Door: Kafka, Request: request}
	// The answer leaves when the records are granted, or that is durable, and time is virtual.
	t.Granted = Span{later(from, request.To.Add(-10*slowest)), request.To}
	lock := time.Duration(resp.AcquisitionLockTimeoutMillis) * time.Millisecond
	t.Until = Span{t.Granted.From.Add(lock).Truncate(time.Millisecond), t.Granted.To.Add(lock)}
	for _, rt := range resp.Topics {
		for _, p := range rt.Partitions {
			codes[p.Partition] = p.AcknowledgeErrorCode
			failed = failed || p.ErrorCode != 0
			t.Records = append(t.Records, acquired(m.w, p)...)
		}
	}
	m.settled(said, request, func(n int32) Outcome {
		code, told := codes[n]
		if !told {
			return Unknown
		}
		return outcomeOf(code)
	})
	m.w.rec.Take(t)
	if failed || m.w.Broken(m.life) {
		m.w.rec.Lost(Lost{Group: m.g.Name, Request: request, Until: request.To.Add(m.g.lock + skewed)})
	}
	for _, r := range t.Records { // in place of an older delivery
		m.acquires = slices.DeleteFunc(m.acquires, func(o Taken) bool { return o.Place == r.Place })
		m.acquires = append(m.acquires, r)
	}
}

// forgetSome makes the member acknowledge later, in a new life, only some of what it took in the one before.
func (m *member) forgetSome(rnd *rand.Rand) {
	if rnd.IntN(2) == 0 {
		m.acquires = nil
	}
}

// acquired is what an answer gives of a partition.
func acquired(w *world, p kmsg.ShareFetchResponseTopicPartition) (out []Taken) {
	simulation.EachRecord(w.t, p.Records, func(r *record.Record) {
		for _, a := range p.AcquiredRecords {
			if r.Offset >= a.FirstOffset && r.Offset <= a.LastOffset {
				out = append(out, Taken{Place{p.Partition, r.Offset}, string(r.Value), int(a.DeliveryCount), -1})
			}
		}
	})
	return out
}

func outcomeOf(code int16) Outcome {
	switch code {
	case 0:
		return Done
	case kerr.InvalidRecordState.Code:
		return Refused
	}
	return Unknown
}

// choose makes up what to say of what is held, by partition.
func (m *member) choose(rnd *rand.Rand, renew bool) map[int32][]Said {
	said := map[int32][]Said{}
	for _, r := range m.acquires {
		if rnd.IntN(5) == 0 {
			continue
		}
		a := Accept
		switch {
		case renew:
			a = Renew
		case rnd.IntN(5) == 0:
			a = Release
		case rnd.IntN(12) == 0:
			a = Reject
		}
		said[r.Partition] = append(said[r.Partition], Said{r.Place, r.Value, a})
	}
	for _, s := range said {
		slices.SortFunc(s, func(a, b Said) int { return int(a.Offset - b.Offset) })
	}
	return said
}

// batch is a run of offsets with their acknowledgement types.
type batch = kmsg.ShareAcknowledgeRequestTopicPartitionAcknowledgementBatch

// batches puts what is said into batches, in one of the ways that there are.
func batches(rnd *rand.Rand, said []Said) (out []batch) {
	for _, s := range said {
		if n := len(out); n > 0 && out[n-1].LastOffset == s.Offset-1 && rnd.IntN(4) > 0 {
			b := &out[n-1]
			b.LastOffset = s.Offset
			b.AcknowledgeTypes = append(b.AcknowledgeTypes, int8(s.Action))
			continue
		}
		b := kmsg.NewShareAcknowledgeRequestTopicPartitionAcknowledgementBatch()
		b.FirstOffset, b.LastOffset, b.AcknowledgeTypes = s.Offset, s.Offset, []int8{int8(s.Action)}
		out = append(out, b)
	}
	return out
}

// settled notes what was said, and forgets what is not held any more.
func (m *member) settled(said map[int32][]Said, request Span, outcome func(n int32) Outcome) {
	for n, s := range said {
		o := outcome(n)
		m.w.rec.Settle(Settle{Group: m.g.Name, Holder: m.id, Door: Kafka, Request: request, Outcome: o, Records: s,
			Until: Span{request.From.Add(m.g.lock).Truncate(time.Millisecond), request.To.Add(m.g.lock)}})
		for _, r := range s {
			if r.Action != Renew || o != Done {
				m.acquires = slices.DeleteFunc(m.acquires, func(t Taken) bool { return t.Place == r.Place })
			}
		}
	}
}

// acknowledge sends a ShareAcknowledge, sometimes twice.
func (m *member) acknowledge(rnd *rand.Rand, renew bool) {
	said := m.choose(rnd, renew)
	times := 1
	if rnd.IntN(8) == 0 {
		times = 2
	}
	for range times {
		epoch, opening := m.next()
		if opening {
			m.lost()
			return
		}
		if !m.acknowledgeAs(rnd, epoch, renew, said) {
			return
		}
		time.Sleep(time.Duration(rnd.IntN(1000)) * time.Microsecond)
	}
}

func (m *member) acknowledgeAs(rnd *rand.Rand, epoch int32, renew bool, said map[int32][]Said) bool {
	req := kmsg.NewPtrShareAcknowledgeRequest()
	req.Version, req.GroupID, req.MemberID, req.ShareSessionEpoch, req.IsRenewAck = 2, &m.g.Name, &m.id, epoch, renew
	topic := kmsg.NewShareAcknowledgeRequestTopic()
	topic.TopicID = m.w.topic.ID
	for n, s := range said {
		p := kmsg.NewShareAcknowledgeRequestTopicPartition()
		p.Partition, p.AcknowledgementBatches = n, batches(rnd, s)
		topic.Partitions = append(topic.Partitions, p)
	}
	req.Topics = append(req.Topics, topic)
	from := time.Now()
	resp, err := simulation.Ask[*kmsg.ShareAcknowledgeResponse](m.conn, m.life, sharer, req)
	request := Span{from, time.Now()}
	if err != nil || resp.ErrorCode != 0 {
		m.settled(said, request, func(int32) Outcome { return Unknown })
		m.lost()
		return false
	}
	codes := map[int32]int16{}
	for _, rt := range resp.Topics {
		for _, p := range rt.Partitions {
			codes[p.Partition] = p.ErrorCode
		}
	}
	m.settled(said, request, func(n int32) Outcome {
		code, told := codes[n]
		if !told {
			return Unknown
		}
		return outcomeOf(code)
	})
	return true
}

// close closes the session, with a last word about some of what is held.
func (m *member) close(rnd *rand.Rand) {
	if !m.opened() {
		return
	}
	said := m.choose(rnd, false)
	m.mu.Lock()
	m.ended()
	m.mu.Unlock()
	m.acknowledgeAs(rnd, -1, false, said)
	m.acquires = nil
	m.lost()
}

// produces makes messages: at once or later, with labels or without.
func (w *world) produce(rnd *rand.Rand) {
	l := w.Current()
	if l == nil {
		return
	}
	n := int32(rnd.IntN(len(w.topic.Partitions)))
	var sends []Send
	due := time.Time{}
	if rnd.IntN(3) == 0 {
		due = time.Now().Add(time.Duration(rnd.IntN(8000)) * time.Millisecond)
	}
	for range 1 + rnd.IntN(5) {
		s := Send{Value: fmt.Sprintf("m%d", w.values.Add(1)), Due: due}
		for _, label := range []string{"a", "b"} {
			if rnd.IntN(2) == 0 {
				s.Labels = append(s.Labels, label)
			}
		}
		sends = append(sends, s)
	}
	var err error
	if due.IsZero() {
		err = w.send(l, n, sends)
	} else {
		err = w.delay(l, n, sends)
	}
	w.rec.Note(func(h *History) {
		for _, s := range sends {
			s.Accepted = err == nil
			h.Sends = append(h.Sends, s)
		}
	})
}

func (w *world) send(l *simulation.Life, n int32, sends []Send) error {
	var b record.Builder
	b.Reset(record.Spec{})
	for _, s := range sends {
		var headers []record.Header
		for _, label := range s.Labels {
			headers = append(headers, record.Header{Name: private.LabelHeader, Value: []byte(label)})
		}
		b.Append(time.Now().UnixMilli(), nil, []byte(s.Value), headers...)
	}
	built, err := b.Build()
	if err != nil {
		return err
	}
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = 13, -1, 5000
	rt, rp := kmsg.NewProduceRequestTopic(), kmsg.NewProduceRequestTopicPartition()
	rp.Partition, rp.Records = n, slices.Clone(built)
	rt.TopicID, rt.Partitions = w.topic.ID, append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	resp, err := simulation.Ask[*kmsg.ProduceResponse](l.Context(), l, "User:producer", req)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
}

func (w *world) delay(l *simulation.Life, n int32, sends []Send) error {
	req := &private.DelayRequest{TopicID: w.topic.ID, Partition: n}
	for _, s := range sends {
		m := private.DelayedMessage{DueMillis: s.Due.UnixMilli(), Value: []byte(s.Value)}
		for _, label := range s.Labels {
			m.Headers = append(m.Headers, private.Header{Key: private.LabelHeader, Value: []byte(label)})
		}
		req.Messages = append(req.Messages, m)
	}
	resp, err := simulation.Ask[*private.DelayResponse](l.Context(), l, private.Principal, req)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.ErrorCode)
}
