package leases

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// call sends a request of the queue service; an error says that there was no whole answer.
func (p *process) call(method, path string, body, answer any) (status int, err error) {
	sent, err := json.Marshal(body)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+p.http+"/v1.0/local"+path, bytes.NewReader(sent))
	if err != nil {
		return 0, err
	}
	if body == nil {
		req.Body = http.NoBody
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	if len(text) > 0 {
		err = json.Unmarshal(text, answer)
	}
	return resp.StatusCode, err
}

func (p *process) must(method, path string, body, answer any) {
	p.t.Helper()
	var raw json.RawMessage
	status, err := p.call(method, path, body, &raw)
	require.NoError(p.t, err)
	require.Less(p.t, status, 300, "%s %s: %s", method, path, raw)
	require.NoError(p.t, json.Unmarshal(raw, answer))
}

// realRetriever is a consumer over HTTP.
type realRetriever struct {
	g       *realGroup
	name    string
	n       int
	handles map[int64]string
}

// step retrieves messages, and acknowledges them in one of the ways that there are.
func (c *realRetriever) step(rnd *rand.Rand) {
	t, ok := c.take(1+rnd.IntN(10), 1)
	if !ok {
		wait(100 * time.Millisecond)
		return
	}
	held := t.Records
	for len(held) > 0 && rnd.IntN(10) > 0 { // otherwise it vanishes
		wait(time.Duration(rnd.IntN(300)) * time.Millisecond)
		said := map[int64]Action{}
		for _, r := range held {
			if rnd.IntN(8) > 0 {
				said[r.Offset] = Accept
				if rnd.IntN(6) == 0 {
					said[r.Offset] = Fail
				}
			}
		}
		if len(said) == 0 {
			continue
		}
		outcome := c.settle(t, held, said)
		for range 3 {
			if outcome != Unknown {
				break
			}
			wait(time.Duration(rnd.IntN(2000)) * time.Millisecond)
			outcome = c.settle(t, held, said)
		}
		if outcome != Done {
			return
		}
		walked := Walk(held, said)
		if rnd.IntN(8) == 0 && len(walked) > 0 {
			c.settle(t, held, said) // once more
		}
		held = remaining(held, walked)
	}
}

// take retrieves messages. Offsets stand for places in the answer until the log is read.
func (c *realRetriever) take(most, wait int) (Take, bool) {
	c.n++
	var got []struct {
		Message struct{ Body string }
		Handler string
	}
	from := time.Now()
	status, err := c.g.q.p.call("GET", fmt.Sprintf("/queues/%s/groups/%s/messages?max_msgs=%d&time_wait=%d&ack_wait=%d", c.g.q.id, c.g.Name, most, wait, int(lockTime.Seconds())), nil, &got)
	request := Span{from, time.Now()}
	if err != nil || status != http.StatusOK {
		c.g.q.rec.Lost(Lost{Group: c.g.Name, Request: request, Until: request.To.Add(lockTime + skewed)})
		return Take{}, false
	}
	t := Take{Group: c.g.Name, Holder: fmt.Sprintf("%s-%d", c.name, c.n), Door: HTTP, Request: request, Granted: request,
		Until: Span{request.From.Add(lockTime).Truncate(time.Millisecond), request.To.Add(lockTime)}}
	c.handles = map[int64]string{}
	for i, m := range got {
		t.Records = append(t.Records, Taken{Place{0, int64(i)}, m.Message.Body, 0, -1})
		c.handles[int64(i)] = m.Handler
	}
	own := t
	own.Records = append([]Taken(nil), t.Records...) // their places change
	c.g.q.rec.Take(own)
	return t, len(got) > 0
}

func (c *realRetriever) settle(t Take, held []Taken, said map[int64]Action) Outcome {
	var list []map[string]string
	var named []Said
	for _, r := range held {
		if a, ok := said[r.Offset]; ok {
			list = append(list, map[string]string{"handler": c.handles[r.Offset], "status": map[Action]string{Accept: "success", Fail: "fail"}[a]})
			named = append(named, Said{r.Place, r.Value, a})
		}
	}
	var answer struct {
		ErrorCode any `json:"error_code"`
	}
	s := Settle{Group: c.g.Name, Holder: t.Holder, Door: HTTP, Records: Walk(held, said)}
	s.Request.From = time.Now()
	status, err := c.g.q.p.call("POST", fmt.Sprintf("/queues/%s/groups/%s/ack", c.g.q.id, c.g.Name), map[string]any{"message": list}, &answer)
	s.Request.To = time.Now()
	switch {
	case err != nil:
	case status == http.StatusOK:
		s.Outcome = Done
	case status == http.StatusBadRequest:
		s.Outcome, s.Records = Refused, named
	}
	c.g.q.rec.Settle(s)
	return s.Outcome
}

// drain takes what there is and accepts it; false: there was nothing.
func (c *realRetriever) drain() bool {
	t, ok := c.take(10, 1)
	if !ok {
		return false
	}
	said := map[int64]Action{}
	for _, r := range t.Records {
		said[r.Offset] = Accept
	}
	c.settle(t, t.Records, said)
	return true
}

// realSharer is a share consumer of franz-go.
type realSharer struct {
	g     *realGroup
	name  string
	cl    *kgo.Client
	since time.Time // before the last poll

	mu     sync.Mutex
	failed map[int32]bool // partitions some of whose acknowledgements failed; guarded by mu
	acks   int            // guarded by mu
}

func (c *realSharer) step(rnd *rand.Rand) {
	p := c.g.q.p
	if c.cl == nil {
		var err error
		c.since = time.Now()
		c.cl, err = kgo.NewClient(kgo.SeedBrokers(p.options.Addr), kgo.ShareGroup(c.g.Name), kgo.ConsumeTopics(c.g.q.topic), kgo.ShareMaxRecords(10),
			kgo.ShareAckCallback(func(_ *kgo.Client, all kgo.ShareAckResults) {
				c.mu.Lock()
				defer c.mu.Unlock()
				c.acks++
				for _, r := range all {
					if r.Err != nil {
						c.failed[r.Partition] = true
					}
				}
			}))
		if err != nil {
			p.t.Errorf("franz-go: %v", err)
			return
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 700*time.Millisecond)
	polled := time.Now()
	got := c.cl.PollRecords(ctx, 10)
	cancel()
	t := Take{Group: c.g.Name, Holder: c.name, Door: Kafka, Request: Span{c.since, time.Now()}}
	t.Granted, t.Until = t.Request, Span{t.Request.From.Add(lockTime), t.Request.To.Add(lockTime)}
	c.since = polled
	for _, r := range got.Records() {
		t.Records = append(t.Records, Taken{Place{r.Partition, r.Offset}, textOf(r.Value), int(r.DeliveryCount()), -1})
	}
	c.g.q.rec.Take(t)
	wait(time.Duration(rnd.IntN(200)) * time.Millisecond)
	c.acknowledge(rnd, got.Records())
	if rnd.IntN(15) == 0 || p.stopped.Load() {
		c.close()
	}
}

// acknowledge says something of each record, and waits until it is sent.
func (c *realSharer) acknowledge(rnd *rand.Rand, records []*kgo.Record) {
	if len(records) == 0 {
		return
	}
	c.mu.Lock()
	c.failed, c.acks = map[int32]bool{}, 0
	c.mu.Unlock()
	said := map[int32][]Said{}
	from := time.Now()
	for _, r := range records {
		a := Accept
		if rnd.IntN(6) == 0 {
			a = Release
		} else if rnd.IntN(12) == 0 && c.g.DeadLetters {
			a = Reject
		}
		said[r.Partition] = append(said[r.Partition], Said{Place{r.Partition, r.Offset}, textOf(r.Value), a})
		r.Ack(kgo.AckStatus(a))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	err := c.cl.FlushAcks(ctx)
	cancel()
	request := Span{from, time.Now()}
	c.mu.Lock()
	defer c.mu.Unlock()
	for n, s := range said {
		outcome := Unknown // an error is not told as one of the broker's or one of the client's own
		if err == nil && c.acks > 0 && !c.failed[n] {
			outcome = Done
		}
		c.g.q.rec.Settle(Settle{Group: c.g.Name, Holder: c.name, Door: Kafka, Request: request, Outcome: outcome, Records: s})
	}
}

// close leaves the group; what the client still holds is given back.
func (c *realSharer) close() {
	c.g.q.rec.Close(Close{c.g.Name, c.name, time.Now()})
	c.cl.Close()
	c.g.q.rec.Close(Close{c.g.Name, c.name, time.Now()})
	c.cl = nil
}
