package fetch

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/broker/replica"
	"github.com/tidemark-mq/tidemark/coordinator/cluster"
)

// Options is what a Fetcher stands on.
type Options struct {
	Replicas *replica.Manager
	Image    func() *cluster.Image
	Sessions *Sessions
	MaxBytes int32 // fetch.max.bytes: the most an answer holds, whatever is asked
}

// Fetcher answers Fetch requests.
type Fetcher struct {
	o        Options
	code     func(err error, doing string) int16
	endpoint func(image *cluster.Image, id int32, listener string) (host string, port int32, rack *string, ok bool)
}

// New makes a Fetcher.
func New(o Options) *Fetcher { return &Fetcher{o: o} }

// Answer sets how an error becomes a Kafka code (it is logged there if unknown), and where a broker listens for clients of
// a listener. To be called before the first Serve.
func (f *Fetcher) Answer(code func(err error, doing string) int16,
	endpoint func(image *cluster.Image, id int32, listener string) (host string, port int32, rack *string, ok bool)) {
	f.code, f.endpoint = code, endpoint
}

// Serve answers the call, at once or when there is enough to say.
func (f *Fetcher) Serve(c *call.Call) {
	req := c.Request.(*kmsg.FetchRequest)
	if req.IsolationLevel < 0 || req.IsolationLevel > 1 {
		f.refuseAll(c, req)
		return
	}
	sc, code := f.o.Sessions.scope(req, c.Received)
	if code != nil {
		resp := req.ResponseKind().(*kmsg.FetchResponse)
		resp.ErrorCode = code.Code
		c.Reply(call.Response{Message: resp})
		return
	}
	p := &poll{fetcher: f, call: c, req: req, scope: sc}
	if req.Version < 15 {
		p.replicaID = req.ReplicaID
	} else {
		p.replicaID = req.ReplicaState.ID
	}
	p.start()
}

// refuseAll answers a request of an isolation level that does not exist as Kafka does.
func (f *Fetcher) refuseAll(c *call.Call, req *kmsg.FetchRequest) {
	resp := req.ResponseKind().(*kmsg.FetchResponse)
	resp.ErrorCode = kerr.UnknownServerError.Code
	for i := range req.Topics {
		t := kmsg.NewFetchResponseTopic()
		t.Topic, t.TopicID = req.Topics[i].Topic, req.Topics[i].TopicID
		for _, p := range req.Topics[i].Partitions {
			r := failed(p.Partition, kerr.UnknownServerError.Code, []kmsg.FetchResponseTopicPartitionAbortedTransaction{})
			t.Partitions = append(t.Partitions, r)
		}
		resp.Topics = append(resp.Topics, t)
	}
	c.Reply(call.Response{Message: resp})
}

// poll is one Fetch request until it is answered.
type poll struct {
	fetcher   *Fetcher
	call      *call.Call
	req       *kmsg.FetchRequest
	scope     scope
	replicaID int32

	mu       sync.Mutex
	trying   bool // an attempt runs; again tells it to run once more
	again    bool
	expired  bool
	answered bool
	watched  []*replica.Partition
	timer    *time.Timer
	unhook   func() bool
}

// start makes the first attempt and parks the poll when that is not enough.
func (p *poll) start() {
	wait := time.Duration(p.req.MaxWaitMillis) * time.Millisecond
	last := wait <= 0 || len(p.scope.places) == 0
	if p.attempt(last) {
		return
	}
	p.park(wait)
}

// park watches the partitions and the clock. What happened between the first attempt and
// the watching is caught by trying once more.
func (p *poll) park(wait time.Duration) {
	p.mu.Lock()
	p.trying = true
	for _, place := range p.scope.places {
		if part, _ := p.fetcher.find(p.fetcher.o.Image(), place); part != nil {
			part.Watch(p)
			p.watched = append(p.watched, part)
		}
	}
	p.timer = time.AfterFunc(wait-time.Since(p.call.Received), p.expire)
	p.unhook = context.AfterFunc(p.call.Context, p.expire)
	p.mu.Unlock()
	p.run()
}

// PartitionChanged implements replica.Watcher: it is called from the flusher, so the
// attempt happens elsewhere.
func (p *poll) PartitionChanged(*replica.Partition) { p.nudge(false) }

func (p *poll) expire() { p.nudge(true) }

func (p *poll) nudge(expired bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expired = p.expired || expired
	if p.answered {
		return
	}
	if p.trying {
		p.again = true
		return
	}
	p.trying = true
	go p.run()
}

// run attempts until there is an answer or nothing new happened meanwhile. The caller has
// set trying.
func (p *poll) run() {
	for {
		p.mu.Lock()
		p.again = false
		last := p.expired
		p.mu.Unlock()
		if p.attempt(last) {
			p.finish()
			return
		}
		p.mu.Lock()
		if !p.again {
			p.trying = false
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
	}
}

// finish stops watching.
func (p *poll) finish() {
	p.mu.Lock()
	p.answered = true
	watched := p.watched
	p.watched = nil
	p.mu.Unlock()
	p.timer.Stop()
	p.unhook()
	for _, part := range watched {
		part.Unwatch(p)
	}
}

// attempt reads; it answers the call if that is enough, or if this is the last attempt.
func (p *poll) attempt(last bool) bool {
	image := p.fetcher.o.Image()
	results, total, urgent := p.readAll(image)
	if !last && !urgent && total < int64(p.req.MinBytes) {
		releaseAll(results)
		return false
	}
	// What the session leaves unmentioned holds no records, so nothing is to be released there.
	mentioned := p.scope.settle(results)
	p.call.Reply(call.Response{Payload: p.encode(image, mentioned)})
	return true
}

func releaseAll(results []result) {
	for i := range results {
		if results[i].slice.Len > 0 {
			results[i].slice.Release()
		}
	}
}
