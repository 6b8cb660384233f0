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

	mu   sync.Mutex
	n    int           // parked polls
	none chan struct{} // closed when n falls to 0; nil while nobody waits for that
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
		c.Reply(refusal(req, code))
		return
	}
	p := &poll{fetcher: f, call: c, req: req, scope: sc, replicaID: replicaOf(req)}
	p.maxBytes = min(req.MaxBytes, f.o.MaxBytes)
	p.minBytes = int64(min(req.MinBytes, p.maxBytes)) // more than may be sent is not worth waiting for
	p.start(time.Duration(req.MaxWaitMillis) * time.Millisecond)
}

// parked counts a poll that waits, or is over.
func (f *Fetcher) parked(change int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n += change; f.n == 0 && f.none != nil {
		close(f.none)
		f.none = nil
	}
}

// Parked is how many requests wait.
func (f *Fetcher) Parked() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n
}

// Wait waits, within ctx, until no request waits any more: the contexts of their calls have ended. Nothing of a poll runs
// then.
func (f *Fetcher) Wait(ctx context.Context) error {
	f.mu.Lock()
	if f.n == 0 {
		f.mu.Unlock()
		return nil
	}
	if f.none == nil {
		f.none = make(chan struct{})
	}
	none := f.none
	f.mu.Unlock()
	select {
	case <-none:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// refusal is the answer for an error of the whole request.
func refusal(req *kmsg.FetchRequest, code *kerr.Error) call.Response {
	resp := req.ResponseKind().(*kmsg.FetchResponse)
	resp.ErrorCode = code.Code
	return call.Response{Message: resp}
}

// refuseAll answers a request of an isolation level that does not exist as Kafka does.
func (f *Fetcher) refuseAll(c *call.Call, req *kmsg.FetchRequest) {
	resp := req.ResponseKind().(*kmsg.FetchResponse)
	resp.ErrorCode = kerr.UnknownServerError.Code
	for i := range req.Topics {
		t := kmsg.NewFetchResponseTopic()
		t.Topic, t.TopicID = req.Topics[i].Topic, req.Topics[i].TopicID
		for _, p := range req.Topics[i].Partitions {
			r := kmsg.NewFetchResponseTopicPartition()
			r.Partition, r.ErrorCode, r.HighWatermark, r.LastStableOffset, r.LogStartOffset = p.Partition, kerr.UnknownServerError.Code, -1, -1, -1
			r.AbortedTransactions = []kmsg.FetchResponseTopicPartitionAbortedTransaction{}
			t.Partitions = append(t.Partitions, r)
		}
		resp.Topics = append(resp.Topics, t)
	}
	c.Reply(call.Response{Message: resp})
}
