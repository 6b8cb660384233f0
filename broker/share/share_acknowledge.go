package share

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/broker/share/window"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
)

// ShareAcknowledge (key 79) settles what a member holds. v1 is KIP-932's; v2 adds renewals and the acquisition lock timeout to the answer.

// acks is what a request acknowledges, by partition in the order of the request. One named again is asked as it was last, as in Kafka.
type acks struct {
	list []ack
	at   map[topicPartition]int // made for the second
}

// ack is what is said of one partition, and what became of that.
type ack struct {
	topicPartition
	actions []window.Action
	err     error
}

// slot is where a partition's outcome goes.
func (l *acks) slot(tp topicPartition) *ack {
	if len(l.list) > 0 {
		if l.at == nil {
			l.at = map[topicPartition]int{l.list[0].topicPartition: 0}
		}
		if i, again := l.at[tp]; again {
			l.list[i] = ack{topicPartition: tp}
			return &l.list[i]
		}
		l.at[tp] = len(l.list)
	}
	l.list = append(l.list, ack{topicPartition: tp})
	return &l.list[len(l.list)-1]
}

// of is the outcome for a partition, nil if it was not acknowledged.
func (l *acks) of(tp topicPartition) *ack {
	switch {
	case len(l.list) == 0:
		return nil
	case l.at != nil:
		if i, ok := l.at[tp]; ok {
			return &l.list[i]
		}
		return nil
	case l.list[0].topicPartition == tp:
		return &l.list[0]
	}
	return nil
}

// acker reads acknowledgements for one request.
type acker struct {
	acks
	set    *settings
	renews bool // the request announces renewals
	now    time.Time
	kept   int // actions, of all partitions
}

// mostActions bounds what one request may say of all its partitions, in actions of some 60 bytes: a type is one byte on the wire.
const mostActions = 1 << 20

func acknowledgeWith[B ackBatch](r *acker, topic [16]byte, n int32, batches []B) {
	if len(batches) == 0 {
		return
	}
	a := r.slot(topicPartition{topic, n})
	a.actions, a.err = actionsOf(batches, r.renews, r.now.Add(r.set.LockDuration))
	if r.kept += len(a.actions); r.kept > mostActions {
		r.kept -= len(a.actions)
		a.actions, a.err = nil, fmt.Errorf("%w: the request has more than %d changes of type", window.ErrRange, mostActions)
	}
	if a.err == nil && !r.set.Renew && renewsAny(a.actions) {
		a.actions, a.err = nil, fmt.Errorf("%w: the group does not allow renewals", window.ErrState)
	}
}

// settle does what was read, all or nothing for each partition; done is called once, when all of it is durable or refused, maybe
// from the state's goroutine.
func (d *Door) settle(key sessionKey, l *acks, done func()) {
	all := newCountdown(len(l.list)+1, done)
	image := d.engine.o.Image()
	for i := range l.list {
		a := &l.list[i]
		if _, _, err := leads(image, a.topicPartition); err != nil {
			a.err = err
		}
		if a.err != nil {
			all.one()
			continue
		}
		d.engine.partition(key.of(a.topicPartition), func(p *partition, err error) {
			if err != nil {
				a.err = err
				all.one()
				return
			}
			p.settle(key.member, a.actions, func(err error) {
				a.err, a.actions = err, nil
				all.one()
			})
		})
	}
	all.one()
}

// ShareAcknowledge answers a ShareAcknowledge request when what it does is durable.
func (d *Door) ShareAcknowledge(c *call.Call) {
	req := c.Request.(*kmsg.ShareAcknowledgeRequest)
	key, code := keyOf(req.GroupID, req.MemberID)
	switch {
	case code != nil:
	case req.ShareSessionEpoch == openingEpoch:
		code = kerr.InvalidShareSessionEpoch
	case partitionsOf(req) > mostPartitions:
		code = kerr.InvalidRequest // of more than any session has
	}
	var x *session
	if code == nil {
		x, code = d.next(key, req.ShareSessionEpoch)
	}
	if code != nil {
		resp := req.ResponseKind().(*kmsg.ShareAcknowledgeResponse)
		resp.ErrorCode = code.Code
		c.Reply(call.Response{Message: resp})
		return
	}
	r := acker{set: d.settingsOf(x), renews: req.IsRenewAck, now: d.engine.now()}
	for i := range req.Topics {
		t := &req.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			acknowledgeWith(&r, t.TopicID, p.Partition, p.AcknowledgementBatches)
		}
	}
	answer := func() { c.Reply(call.Response{Message: d.acknowledged(c, req, &r)}) }
	if req.ShareSessionEpoch != closingEpoch {
		d.settle(key, &r.acks, answer)
		return
	}
	held, removed := d.sessions.remove(x, errClosed)
	d.settle(key, &r.acks, func() {
		if !removed { // its connection broke just now
			answer()
			return
		}
		d.release(key, held, answer)
	})
}

func partitionsOf(req *kmsg.ShareAcknowledgeRequest) (n int) {
	for i := range req.Topics {
		n += len(req.Topics[i].Partitions)
	}
	return n
}

// next takes a session's next request: any that closes it, or the one of the epoch expected, which ends a fetch that waits.
func (d *Door) next(key sessionKey, epoch int32) (*session, *kerr.Error) {
	x := d.sessions.find(key)
	if x == nil {
		return nil, kerr.ShareSessionNotFound
	}
	if epoch == closingEpoch {
		return x, nil
	}
	x.mu.Lock()
	code := x.checkLocked(epoch)
	var superseded *fetching
	if code == nil {
		superseded = x.advanceLocked()
	}
	x.mu.Unlock()
	superseded.interrupt(errSuperseded)
	return x, code
}

// settingsOf is the settings of the session's group now.
func (d *Door) settingsOf(x *session) *settings {
	x.mu.Lock()
	last := x.last
	x.mu.Unlock()
	now := d.engine.settings(x.key.group, last)
	if now != last {
		x.mu.Lock()
		x.last = now
		x.mu.Unlock()
	}
	return now
}

// acknowledged is the answer.
func (d *Door) acknowledged(c *call.Call, req *kmsg.ShareAcknowledgeRequest, r *acker) *kmsg.ShareAcknowledgeResponse {
	resp := req.ResponseKind().(*kmsg.ShareAcknowledgeResponse)
	resp.AcquisitionLockTimeoutMillis = int32(r.set.LockDuration.Milliseconds())
	image := d.engine.o.Image()
	at := map[[16]byte]int{}
	var hints leaderHints
	for i := range r.list {
		a := &r.list[i]
		t, ok := at[a.topic]
		if !ok {
			t = len(resp.Topics)
			at[a.topic] = t
			resp.Topics = append(resp.Topics, kmsg.ShareAcknowledgeResponseTopic{TopicID: a.topic})
		}
		p := kmsg.NewShareAcknowledgeResponseTopicPartition()
		p.Partition = a.n
		code, text := d.engine.code(a.err, "acknowledge")
		p.ErrorCode, p.ErrorMessage = code, messageOf(text)
		p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch = hints.leader(image, a.topicPartition, code)
		resp.Topics[t].Partitions = append(resp.Topics[t].Partitions, p)
	}
	for _, n := range hints.nodes(d, image, c.Peer.Listener) {
		resp.NodeEndpoints = append(resp.NodeEndpoints, kmsg.ShareAcknowledgeResponseNodeEndpoint{NodeID: n.NodeID, Host: n.Host, Port: n.Port, Rack: n.Rack})
	}
	return resp
}

// leaderHints gathers the leaders that an answer names, so that clients ask them next (KIP-951).
type leaderHints struct{ named []int32 }

// leader is what an answer says of the leader: nothing (0 and 0, as Kafka) where its client does not need to know.
func (h *leaderHints) leader(image *cluster.Image, tp topicPartition, code int16) (id, epoch int32) {
	if !pointsElsewhere(code) {
		return 0, 0
	}
	id, epoch, _ = leads(image, tp)
	if id >= 0 {
		for _, have := range h.named {
			if have == id {
				return id, epoch
			}
		}
		h.named = append(h.named, id)
	}
	return id, epoch
}

// nodes is where they listen.
func (h *leaderHints) nodes(d *Door, image *cluster.Image, listener string) (nodes []kmsg.ShareFetchResponseNodeEndpoint) {
	for _, id := range h.named {
		if host, port, rack, ok := d.o.Endpoint(image, id, listener); ok {
			nodes = append(nodes, kmsg.ShareFetchResponseNodeEndpoint{NodeID: id, Host: host, Port: port, Rack: rack})
		}
	}
	return nodes
}
