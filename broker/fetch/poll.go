package fetch

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker/call"
	"github.com/tidemark-mq/tidemark/broker/replica"
)

// poll is one Fetch request until it is answered. Whoever set running works on it, alone; the rest is guarded by mu.
type poll struct {
	fetcher   *Fetcher
	call      *call.Call
	req       *kmsg.FetchRequest
	scope     scope
	replicaID int32
	maxBytes  int32 // of the answer
	minBytes  int64 // worth an answer before the time is up

	// Of whoever works on it.
	spots   []spot
	weights []int64 // by spot; nil where any record is enough
	total   int64   // of weights

	timer  *time.Timer
	unhook func() bool

	mu      sync.Mutex
	running bool
	over    bool // answered
	expired bool
	news    []int32 // spots that changed since they were looked at
}

// spot is a poll's place on one partition.
type spot struct {
	watch replica.Watch
	poll  *poll
	part  *replica.Partition
	at    int32
	noted bool // in poll.news
}

// PartitionChanged implements replica.Watcher. It is called from the flusher, so what is to be done about it is done
// elsewhere.
func (s *spot) PartitionChanged(*replica.Partition) {
	p := s.poll
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over || s.noted {
		return
	}
	s.noted = true
	p.news = append(p.news, s.at)
	p.rouseLocked()
}

// expire is the end of the poll's time, or of its call's context: it is answered with what there is.
func (p *poll) expire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return
	}
	p.expired = true
	p.rouseLocked()
}

func (p *poll) rouseLocked() {
	if !p.running {
		p.running = true
		go p.run() // ends soon: it answers the call or parks it again
	}
}

// start makes the first attempt and parks the poll when that is not enough.
func (p *poll) start(wait time.Duration) {
	if answer, ok := p.attempt(wait <= 0 || len(p.scope.places) == 0); ok {
		p.call.Reply(answer)
		return
	}
	p.park(wait)
}

// park watches the partitions and the clock. What happened between the first attempt and the watching is caught by taking
// every partition for news.
func (p *poll) park(wait time.Duration) {
	n := len(p.scope.places)
	p.spots, p.news = make([]spot, n), make([]int32, 0, n)
	if p.minBytes > 1 {
		p.weights = make([]int64, n)
	}
	p.running = true // nobody else knows the poll yet
	p.fetcher.parked(1)
	image := p.fetcher.o.Image()
	for i := range p.spots {
		s := &p.spots[i]
		s.poll, s.at, s.watch.To, s.noted = p, int32(i), s, true
		p.news = append(p.news, s.at)
	}
	p.timer = time.AfterFunc(wait-time.Since(p.call.Received), p.expire)
	p.unhook = context.AfterFunc(p.call.Context, p.expire)
	for i, place := range p.scope.places {
		if part, _ := p.fetcher.find(image, place); part != nil {
			p.spots[i].part = part
			part.Watch(&p.spots[i].watch)
		}
	}
	p.run()
}

// run looks at what is new until there is an answer or nothing is. The caller has set running.
func (p *poll) run() {
	var looked []int32
	for {
		p.mu.Lock()
		looked, p.news = p.news, looked[:0]
		for _, i := range looked {
			p.spots[i].noted = false
		}
		last := p.expired
		if !last && len(looked) == 0 {
			p.running = false
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
		enough, worth := last, false
		if !last {
			enough, worth = p.judge(looked)
		}
		if !enough && !worth {
			continue
		}
		if answer, ok := p.attempt(enough); ok {
			p.unpark()
			p.call.Reply(answer)
			p.fetcher.parked(-1)
			return
		}
	}
}

// judge looks at partitions with news: whether there is enough for an answer, or whether reading is worth a try.
func (p *poll) judge(news []int32) (enough, worth bool) {
	image := p.fetcher.o.Image()
	for _, i := range news {
		at := p.scope.places[i]
		if p.weights == nil {
			more, urgent := p.glance(image, at)
			enough, worth = enough || urgent, worth || more
			continue
		}
		w := p.weigh(image, at)
		p.total += w.bytes - p.weights[i]
		p.weights[i] = w.bytes
		enough = enough || w.urgent
	}
	return enough || p.weights != nil && p.total >= p.minBytes, worth
}

// unpark stops watching.
func (p *poll) unpark() {
	p.mu.Lock()
	p.over, p.news = true, nil
	p.mu.Unlock()
	p.timer.Stop()
	p.unhook()
	for i := range p.spots {
		if s := &p.spots[i]; s.part != nil {
			s.part.Unwatch(&s.watch)
		}
	}
}

// attempt reads; it gives the answer if that is enough, or if there is to be one in any case.
func (p *poll) attempt(final bool) (answer call.Response, ok bool) {
	image := p.fetcher.o.Image()
	results, sum := p.readAll(image)
	if !final && !sum.urgent && sum.bytes < p.minBytes {
		releaseAll(results)
		return call.Response{}, false
	}
	if p.call.Context.Err() != nil {
		p.scope.opens = nil // for a client that is gone, or to go
	}
	if !p.scope.settle(p.fetcher.o.Sessions, results, time.Now()) {
		releaseAll(results)
		return refusal(p.req, kerr.InvalidFetchSessionEpoch), true
	}
	return call.Response{Payload: p.encode(image, results)}, true
}

func releaseAll(results []result) {
	for i := range results {
		if results[i].slice.Len > 0 {
			results[i].slice.Release()
		}
	}
}
