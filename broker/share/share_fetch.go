package share

import (
	"context"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
)

// ShareFetch (key 78) settles what a member holds and takes more for it. v1 is KIP-932's; v2 adds the strict record limit and
// renewals.

// The acquire modes (KIP-1206).
const (
	wholeBatches = 0
	recordLimit  = 1
)

// A request of many partitions takes several times its size until it is answered, most of it for each partition's slot and its
// part of the answer. Others take little, and may be parked for long.
const (
	fetchFree   = 64 << 10 // decoded bytes of a usual request
	fetchFactor = 16
	fetchMost   = mostPartitions * 700
)

// FetchCost is the memory, in bytes, that answering a ShareFetch takes beyond the decoded request, by the size of that.
func FetchCost(decoded int64) int64 {
	if decoded <= fetchFree {
		return 0
	}
	return min(decoded*fetchFactor, fetchMost)
}

// fetching is one ShareFetch until it is answered. What only an attempt uses is of whoever works on it.
type fetching struct {
	door    *Door
	c       *call.Call
	req     *kmsg.ShareFetchRequest
	key     sessionKey
	session *session
	epoch   int32 // the session expects this one next while no other request came
	acker
	ctx    context.Context
	cancel context.CancelCauseFunc // nil: it does not wait
	poll   poll

	slots  []slot  // the session's partitions, in its order
	at     []int32 // the slot of each place
	mapped int     // see slotOf

	// Of the attempt under way.
	todo       []int32 // slots to acquire from
	next       int
	trying     *slot
	met        atomic.Bool // see acquired
	onAcquired func(acquired, error)
	records    int // that may still be acquired
	bytes      int // likewise
	final      bool
	finished   func(over bool)
}

// slot is what is to be said of one partition.
type slot struct {
	member  *member
	place   *place
	part    *partition // nil: not loaded, or an error
	known   int16      // the error that the client was told last
	code    int16      // of the fetch
	message string
	got     acquired
}

// ShareFetch answers a ShareFetch request: at once, or when there are records for it.
func (d *Door) ShareFetch(c *call.Call) {
	req := c.Request.(*kmsg.ShareFetchRequest)
	f := &fetching{door: d, c: c, req: req}
	key, code := keyOf(req.GroupID, req.MemberID)
	if code == nil {
		code = f.check()
	}
	if code != nil {
		f.refuse(code)
		return
	}
	f.key = key
	if f.takes() {
		f.ctx, f.cancel = context.WithCancelCause(c.Context)
	}
	switch req.ShareSessionEpoch {
	case openingEpoch:
		d.sessions.whenLeft(key, f.open)
	case closingEpoch:
		f.close()
	default:
		f.resume()
	}
}

// check says what is wrong with the request by itself.
func (f *fetching) check() *kerr.Error {
	r := f.req
	if r.IsRenewAck && (r.MaxWaitMillis != 0 || r.MinBytes != 0 || r.MaxBytes != 0 || r.MaxRecords != 0) {
		return kerr.InvalidRequest
	}
	if r.ShareSessionEpoch == openingEpoch && acknowledges(r) {
		return kerr.InvalidRequest
	}
	if asked, forgotten := f.count(); max(asked, forgotten) > mostPartitions {
		return kerr.ShareSessionLimitReached // before anything is made of them
	}
	return nil
}

// count is how many partitions the request names.
func (f *fetching) count() (asked, forgotten int) {
	for i := range f.req.Topics {
		asked += len(f.req.Topics[i].Partitions)
	}
	for i := range f.req.ForgottenTopicsData {
		forgotten += len(f.req.ForgottenTopicsData[i].Partitions)
	}
	return asked, forgotten
}

func acknowledges(r *kmsg.ShareFetchRequest) bool {
	for i := range r.Topics {
		for j := range r.Topics[i].Partitions {
			if len(r.Topics[i].Partitions[j].AcknowledgementBatches) > 0 {
				return true
			}
		}
	}
	return false
}

// takes tells whether the request asks for records at all.
func (f *fetching) takes() bool {
	return f.req.ShareSessionEpoch != closingEpoch && !f.req.IsRenewAck && f.req.MaxBytes != 0 && f.req.MaxRecords > 0
}

// partitions lists what the request names.
func (f *fetching) partitions() (asked, forgotten []topicPartition) {
	a, g := f.count()
	asked, forgotten = make([]topicPartition, 0, a), make([]topicPartition, 0, g)
	for i := range f.req.Topics {
		t := &f.req.Topics[i]
		for j := range t.Partitions {
			asked = append(asked, topicPartition{t.TopicID, t.Partitions[j].Partition})
		}
	}
	for i := range f.req.ForgottenTopicsData {
		t := &f.req.ForgottenTopicsData[i]
		for _, n := range t.Partitions {
			forgotten = append(forgotten, topicPartition{t.TopicID, n})
		}
	}
	return asked, forgotten
}

func (f *fetching) open() {
	asked, _ := f.partitions()
	x, code := f.door.sessions.open(f.key, asked, f.door.room())
	if code != nil {
		f.refuse(code)
		return
	}
	f.door.bind(x, f.c)
	x.mu.Lock()
	f.session, f.epoch = x, openingEpoch+1
	err := f.currentLocked()
	if err == nil {
		x.waiting = f
	}
	x.mu.Unlock()
	if err != nil {
		f.refuse(err)
		return
	}
	f.acknowledge(f.fetch)
}

func (f *fetching) resume() {
	x := f.door.sessions.find(f.key)
	if x == nil {
		f.refuse(kerr.ShareSessionNotFound)
		return
	}
	superseded, code := f.advance(x)
	superseded.interrupt(errSuperseded)
	if code != nil {
		f.refuse(code)
		return
	}
	f.acknowledge(f.fetch)
}

// advance makes the fetch the session's current request.
func (f *fetching) advance(x *session) (superseded *fetching, code *kerr.Error) {
	asked, forgotten := f.partitions()
	sessions := &f.door.sessions
	x.mu.Lock()
	defer x.mu.Unlock()
	if code := x.checkLocked(f.req.ShareSessionEpoch); code != nil {
		return nil, code
	}
	if grown := x.growthLocked(asked); grown > 0 && !sessions.resize(x, x.countLocked()+grown, f.door.room()) {
		return nil, kerr.ShareSessionLimitReached
	}
	if x.updateLocked(asked, forgotten) {
		sessions.resize(x, x.countLocked(), f.door.room())
	}
	superseded = x.advanceLocked()
	f.session, f.epoch, x.waiting = x, x.epoch, f
	return superseded, nil
}

// close settles, gives back the rest, and answers.
func (f *fetching) close() {
	x := f.door.sessions.find(f.key)
	if x == nil {
		f.refuse(kerr.ShareSessionNotFound)
		return
	}
	f.session = x
	held, removed := f.door.sessions.remove(x, errClosed)
	if !removed {
		f.refuse(kerr.ShareSessionNotFound)
		return
	}
	f.acknowledge(func() {
		f.door.release(f.key, held, func() { f.reply(nil) })
	})
}

// acknowledge settles what the request acknowledges, and goes on.
func (f *fetching) acknowledge(then func()) {
	f.acker = acker{set: f.door.settingsOf(f.session), renews: f.req.IsRenewAck, now: f.door.engine.now()}
	for i := range f.req.Topics {
		t := &f.req.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			acknowledgeWith(&f.acker, t.TopicID, p.Partition, p.AcknowledgementBatches)
		}
	}
	f.req.Topics, f.req.ForgottenTopicsData = nil, nil // it may wait for long
	if len(f.list) == 0 {
		then()
		return
	}
	f.door.settle(f.key, &f.acks, func() { f.door.engine.spawn(then) }) // what follows reads, and this may be the state's goroutine
}

// currentLocked says why the fetch may not be answered from its session any more, nil if it may; session.mu is held.
func (f *fetching) currentLocked() error {
	switch {
	case f.session.over != nil:
		return f.session.over
	case f.session.epoch != f.epoch:
		return errSuperseded
	}
	return nil
}

func (f *fetching) current() error {
	f.session.mu.Lock()
	defer f.session.mu.Unlock()
	return f.currentLocked()
}

// interrupt ends the waiting of a fetch whose session is over, or has another request; f may be nil.
func (f *fetching) interrupt(why error) {
	if f != nil && f.cancel != nil {
		f.cancel(why)
	}
}

// refuse answers with an error of the whole request.
func (f *fetching) refuse(err error) {
	f.leave()
	resp := f.req.ResponseKind().(*kmsg.ShareFetchResponse)
	resp.ErrorCode = answerTo(err).Code
	f.c.Reply(call.Response{Message: resp})
}

// leave lets go of the session.
func (f *fetching) leave() {
	if f.cancel != nil && f.finished == nil { // otherwise the poll ends first: it would take it for a reason to end
		f.cancel(nil)
	}
	if x := f.session; x != nil {
		x.mu.Lock()
		if x.waiting == f {
			x.waiting = nil
		}
		x.mu.Unlock()
	}
}

// reply answers from these slots and from what was acknowledged.
func (f *fetching) reply(slots []*slot) {
	f.leave()
	f.c.Reply(call.Response{Payload: f.encode(slots)})
}
