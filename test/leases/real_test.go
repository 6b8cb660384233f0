package leases

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemark-mq/tidemark/test/harness"
)

var realTime = flag.Duration("real", 8*time.Second, "how long the real process is under load, before all is read; it is killed every few seconds")

// process is the real binary on one data directory and one pair of ports, killed and started again.
type process struct {
	t       *testing.T
	options harness.Options
	http    string
	broker  *harness.Broker
	queues  []*realQueue
	stopped atomic.Bool
	actors  sync.WaitGroup
	values  atomic.Int64

	mu      sync.Mutex
	sharers []*realSharer // guarded by mu
}

// realQueue is a queue with its groups. Each has a history of its own.
type realQueue struct {
	p      *process
	rec    Recorder
	id     string
	topic  string
	fifo   bool
	groups []*realGroup
}

type realGroup struct {
	q *realQueue
	Group
}

// lockTime is the least that Kafka allows for a share consumer's lease, and the queue service for its own.
const lockTime = 15 * time.Second

// TestHistoriesOfARealProcess kills the real binary again and again under random HTTP and share consumers.
func TestHistoriesOfARealProcess(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes some seconds")
	}
	s := *seed
	if s == 0 {
		s = rand.Uint64N(1 << 40)
	}
	t.Logf("seed %d", s)
	rnd := rand.New(rand.NewPCG(s, 9))
	p := &process{t: t}
	p.options = harness.Options{DataDir: filepath.Join(t.TempDir(), "data"), Addr: freePort(t, rnd)}
	p.http = freePort(t, rnd)
	p.options.Args = []string{"--http-listen", p.http, "--set", "group.share.record.lock.duration.ms=15000", "--set", "offsets.topic.num.partitions=3",
		"--set", "share.coordinator.state.topic.num.partitions=3"}
	p.start()
	p.setUp()
	p.startActors(rnd)
	for end := time.Now().Add(*realTime); time.Now().Before(end); {
		wait(time.Duration(1500+rnd.IntN(3000)) * time.Millisecond)
		p.broker.Kill()
		p.died()
		p.start()
		p.died()
	}
	wait(time.Second)
	p.stopped.Store(true)
	p.actors.Wait()
	for _, c := range p.sharers {
		if c.cl != nil {
			c.close()
		}
	}
	p.drain()
	for _, q := range p.queues {
		q.finish()
	}
	http.DefaultClient.CloseIdleConnections()
	require.NoError(t, p.broker.Stop(), "an orderly stop; the last log lines:\n%s", p.broker.Log())
}

// wait lets real time pass.
func wait(d time.Duration) { <-time.After(d) }

func (p *process) start() {
	p.t.Helper()
	b, err := harness.Launch(harness.Binary(p.t), p.options, nil)
	require.NoError(p.t, err)
	p.broker = b
	p.t.Cleanup(func() {
		b.Kill()
		if p.t.Failed() && b == p.broker {
			p.t.Logf("the broker's last log lines:\n%s", b.Log())
		}
	})
}

// died notes the end of the process in all histories. What franz-go does about its sessions then is its own affair: for some time
// anything of theirs may be given back.
func (p *process) died() {
	now := time.Now()
	p.mu.Lock()
	sharers := p.sharers
	p.mu.Unlock()
	for _, q := range p.queues {
		q.rec.Death(now)
	}
	for _, c := range sharers {
		for after := range 6 {
			c.g.q.rec.Close(Close{c.g.Name, c.name, now.Add(time.Duration(after) * time.Second)})
		}
	}
}

// freePort is an address that stays free while the broker is down: outside the range from which the clients' own ports come.
func freePort(t *testing.T, rnd *rand.Rand) string {
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 20000+rnd.IntN(12000))
		if l, err := net.Listen("tcp", addr); err == nil {
			require.NoError(t, l.Close())
			return addr
		}
	}
	t.Fatal("no free port")
	return ""
}

// setUp makes a NORMAL queue with dead letters and a FIFO queue without, with two groups each: the first is read at both doors, the
// second over HTTP only.
func (p *process) setUp() {
	p.t.Helper()
	for _, fifo := range []bool{false, true} {
		q := &realQueue{p: p, fifo: fifo}
		body := map[string]any{"name": fmt.Sprintf("queue-%v", fifo), "queue_mode": "NORMAL", "redrive_policy": "enable", "max_consume_count": 2}
		if fifo {
			body = map[string]any{"name": fmt.Sprintf("queue-%v", fifo), "queue_mode": "FIFO"}
		}
		var made struct{ ID string }
		p.must("POST", "/queues", body, &made)
		q.id, q.topic = made.ID, "q-local-"+made.ID
		var groups struct{ Groups []struct{ ID string } }
		p.must("POST", "/queues/"+q.id+"/groups", map[string]any{"groups": []map[string]string{{"name": "both"}, {"name": "http"}}}, &groups)
		for i, g := range groups.Groups {
			group := Group{Name: g.ID, Durable: true, Ordered: fifo, Unseen: i == 0}
			if !fifo {
				group.FailureLimit, group.DeadLetters = 2, true
			}
			q.groups = append(q.groups, &realGroup{q, group})
			q.rec.Note(func(h *History) { h.Groups = append(h.Groups, group) })
		}
		p.queues = append(p.queues, q)
	}
}

// act runs an actor until the test is over.
func (p *process) act(rnd *rand.Rand, step func(rnd *rand.Rand)) {
	own := rand.New(rand.NewPCG(rnd.Uint64(), 3))
	p.actors.Go(func() {
		for !p.stopped.Load() {
			step(own)
			wait(time.Duration(own.IntN(100)) * time.Millisecond)
		}
	})
}

func (p *process) startActors(rnd *rand.Rand) {
	for _, q := range p.queues {
		p.act(rnd, q.produce)
		for _, g := range q.groups {
			for n := range 2 {
				c := &realRetriever{g: g, name: fmt.Sprintf("h%d", n)}
				p.act(rnd, c.step)
			}
			if g.Unseen {
				c := &realSharer{g: g, name: "k0"}
				p.mu.Lock()
				p.sharers = append(p.sharers, c)
				p.mu.Unlock()
				p.act(rnd, c.step)
			}
		}
	}
}

// produce sends some messages, some of them delayed.
func (q *realQueue) produce(rnd *rand.Rand) {
	var sends []Send
	var messages []map[string]any
	for range 1 + rnd.IntN(4) {
		s := Send{Value: fmt.Sprintf("m%d", q.p.values.Add(1))}
		m := map[string]any{"body": s.Value}
		if rnd.IntN(4) == 0 {
			delay := rnd.IntN(4000)
			m["delayTime"], s.Due = delay, time.Now().Add(time.Duration(delay)*time.Millisecond)
		}
		sends, messages = append(sends, s), append(messages, m)
	}
	var answer struct{ Messages []struct{ State int } }
	status, err := q.p.call("POST", "/queues/"+q.id+"/messages", map[string]any{"messages": messages}, &answer)
	ok := err == nil && status == 201 && len(answer.Messages) == len(sends)
	q.rec.Note(func(h *History) {
		for i := range sends {
			sends[i].Accepted = ok && answer.Messages[i].State == 0
			h.Sends = append(h.Sends, sends[i])
		}
	})
}

// drain reads all queues until nothing is left.
func (p *process) drain() {
	p.t.Helper()
	wait(4 * time.Second) // what is delayed
	for deadline := time.Now().Add(2 * time.Minute); ; {
		left := false
		for _, q := range p.queues {
			for i, g := range q.counts() {
				if left = left || g.Available > 0; g.Available > 0 {
					c := &realRetriever{g: q.groups[i], name: fmt.Sprintf("drain%d", time.Now().UnixNano())}
					for c.drain() {
					}
				}
			}
		}
		if !left {
			return
		}
		require.True(p.t, time.Now().Before(deadline), "something is left after two minutes")
	}
}

// finish checks the queue's history, when nothing is left in it.
func (q *realQueue) finish() {
	t := q.p.t
	q.rec.Note(func(h *History) { h.Drained = true })
	q.readLogs()
	for _, g := range q.counts() {
		require.Zero(t, g.Available)
		require.Equal(t, g.Produced, g.Consumed, "group %s: all are accepted or dead letters", g.ID)
	}
	h := q.rec.History()
	t.Logf("queue %s: %d messages, %d deliveries, %d settlements, %d dead letters, %d lives", q.topic, len(h.Logged), len(h.Takes), len(h.Settles), len(h.DeadLetters), len(h.Deaths)/2+1)
	judge(t, "", h)
}

type realCount struct {
	ID        string
	Produced  int `json:"produced_messages"`
	Consumed  int `json:"consumed_messages"`
	Available int `json:"available_messages"`
}

func (q *realQueue) counts() []realCount {
	var answer struct{ Groups []realCount }
	q.p.must("GET", "/queues/"+q.id+"/groups", nil, &answer)
	return answer.Groups
}

// readLogs reads the queue's topic and its dead letters' as any Kafka consumer may, and tells everybody where messages lie.
func (q *realQueue) readLogs() {
	places := map[string]Place{}
	for _, r := range q.p.read(q.topic) {
		value := textOf(r.Value)
		places[value] = Place{r.Partition, r.Offset}
		q.rec.Note(func(h *History) { h.Logged = append(h.Logged, Logged{places[value], value, r.Timestamp}) })
	}
	for _, g := range q.groups {
		if !g.DeadLetters {
			continue
		}
		for _, r := range q.p.read(q.topic + "-dlq-" + g.Name) {
			q.rec.Note(func(h *History) {
				h.DeadLetters = append(h.DeadLetters, DeadLetter{g.Name, textOf(r.Value), r.Timestamp})
			})
		}
	}
	q.rec.Note(func(h *History) {
		for i := range h.Takes {
			for j := range h.Takes[i].Records {
				h.Takes[i].Records[j].Place = places[h.Takes[i].Records[j].Value]
			}
		}
	})
}

// textOf is a body: it lies in the log as the JSON text that it came as.
func textOf(value []byte) string {
	var s string
	if json.Unmarshal(value, &s) != nil {
		return string(value)
	}
	return s
}

// read reads all of a topic; none if it is not there.
func (p *process) read(topic string) (out []*kgo.Record) {
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(p.broker.Addr), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	require.NoError(p.t, err)
	defer cl.Close()
	for {
		short, cancel := context.WithTimeout(ctx, 2*time.Second)
		got := cl.PollFetches(short)
		cancel()
		if got.NumRecords() == 0 {
			return out
		}
		out = append(out, got.Records()...)
	}
}
