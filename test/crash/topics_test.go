package crash

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// churn makes topics, writes to them, deletes them, and makes some again under the same name. A topic whose creation was
// acknowledged stays, with its record; a deleted one stays deleted.
type churn struct {
	l   *load
	cl  *kgo.Client
	adm *kadm.Client
	marker

	mu     sync.Mutex
	topics map[string]*churned
}

// churned is a topic as far as its last answer tells. Each change of it raises version, before the request and after.
type churned struct {
	version int
	state   churnState
	record  string // the value of its only record; "" for none
	id      kadm.TopicID
}

type churnState int

const (
	unknown churnState = iota // a request is under way, or was when the broker ended
	exists
	gone
)

func startChurn(l *load) *churn {
	c := &churn{l: l, topics: map[string]*churned{}, cl: l.client(kgo.UnknownTopicRetries(-1), kgo.ProducerLinger(0))}
	c.adm = kadm.NewClient(c.cl)
	l.work.Go(func() {
		defer c.cl.Close()
		c.run()
	})
	return c
}

func (c *churn) run() {
	rng := c.l.rng(1)
	for n := 0; c.l.pause(time.Duration(rng.IntN(40)) * time.Millisecond); n++ {
		name := fmt.Sprintf("churn-%d", rng.IntN(40))
		c.mu.Lock()
		t := c.topics[name]
		if t == nil {
			t = &churned{state: gone}
			c.topics[name] = t
		}
		state := t.state
		c.mu.Unlock()
		switch {
		case state == exists:
			c.delete(name, t)
		case state == gone:
			c.create(rng, name, t)
		default:
			c.settle(name, t)
		}
	}
}

func (c *churn) become(t *churned, state churnState, change func()) {
	c.mu.Lock()
	t.version++
	t.state = state
	if change != nil {
		change()
	}
	c.mu.Unlock()
	if state != unknown {
		c.hit()
	}
}

func (c *churn) create(rng *rand.Rand, name string, t *churned) {
	c.become(t, unknown, func() { t.record, t.id = "", kadm.TopicID{} })
	answer, err := c.adm.CreateTopic(c.l.ctx, int32(1+rng.IntN(3)), 1, nil, name)
	if err == nil {
		err = answer.Err
	}
	if err != nil {
		if !transient(err) && !errors.Is(err, kerr.TopicAlreadyExists) { // that is what the client's second attempt finds
			c.l.fail("create %s: %w", name, err)
		}
		return
	}
	c.become(t, exists, func() { t.id = answer.ID })
	if rng.IntN(2) == 0 {
		return
	}
	// The record gets a client of its own: the long-lived one keeps what it knows of the topic that had the name before.
	cl := c.l.client(kgo.DisableIdempotentWrite(), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	defer cl.Close()
	record := fmt.Sprint(name, " ", answer.ID)
	if err := cl.ProduceSync(c.l.ctx, &kgo.Record{Topic: name, Value: []byte(record)}).FirstErr(); err == nil {
		c.become(t, exists, func() { t.record = record })
	} else if !transient(err) {
		c.l.fail("produce to %s: %w", name, err)
	}
}

func (c *churn) delete(name string, t *churned) {
	c.become(t, unknown, nil)
	if _, err := c.adm.DeleteTopic(c.l.ctx, name); err == nil {
		c.become(t, gone, nil)
	} else if !transient(err) && !errors.Is(err, kerr.UnknownTopicOrPartition) {
		c.l.fail("delete %s: %w", name, err)
	}
}

// settle deletes a topic of which nobody knows whether it exists.
func (c *churn) settle(name string, t *churned) {
	_, err := c.adm.DeleteTopic(c.l.ctx, name)
	if err == nil || errors.Is(err, kerr.UnknownTopicOrPartition) {
		c.become(t, gone, nil)
	}
}

func (c *churn) snapshot() map[string]churned {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string]churned{}
	for name, t := range c.topics {
		out[name] = *t
	}
	return out
}

// check compares the broker's topics with those acknowledged. Topics that change meanwhile are left out.
func (c *churn) check() {
	t := c.l.t
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), progressLimit)
	defer cancel()
	before := c.snapshot()
	listed, err := ask(ctx, func() (kadm.TopicDetails, error) { return c.l.adm.ListTopics(ctx) })
	require.NoError(t, err)
	after := c.snapshot()
	for name, was := range before {
		if after[name].version != was.version {
			continue
		}
		switch got, found := listed[name]; was.state {
		case exists:
			require.True(t, found && got.Err == nil, "seed %d: topic %s was acknowledged as created and is not there", c.l.seed, name)
			require.Equal(t, was.id, got.ID, "seed %d: topic %s is another one", c.l.seed, name)
		case gone:
			require.False(t, found, "seed %d: topic %s was acknowledged as deleted and is there", c.l.seed, name)
		}
	}
}

// verify reads the records of the topics that are left. It is for after stop.
func (c *churn) verify() {
	c.check()
	ctx, cancel := context.WithTimeout(context.Background(), progressLimit)
	defer cancel()
	for name, topic := range c.snapshot() {
		if topic.state != exists || topic.record == "" {
			continue
		}
		cl := c.l.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{name: {0: kgo.NewOffset().At(0)}}))
		records := cl.PollFetches(ctx).Records()
		cl.Close()
		require.NotEmpty(c.l.t, records, "topic %s", name)
		require.Equal(c.l.t, topic.record, string(records[0].Value), "topic %s", name)
	}
}

// trims deletes records of topic "trimmed": an acknowledged log start never goes back.
type trims struct {
	l     *load
	mu    sync.Mutex
	acked map[int32]int64
}

func startTrims(l *load) *trims {
	t := &trims{l: l, acked: map[int32]int64{}}
	l.work.Go(t.run)
	return t
}

func (t *trims) run() {
	rng := t.l.rng(2)
	adm := kadm.NewClient(t.l.client())
	defer adm.Close()
	for t.l.pause(time.Duration(50+rng.IntN(200)) * time.Millisecond) {
		p := int32(rng.IntN(2))
		start := t.start(p)
		end := start
		for _, offset := range t.l.writersOf("trimmed")[0].sent(p) {
			end = max(end, offset+1)
		}
		if end == start {
			continue
		}
		to := start + rng.Int64N(end-start+1)
		var offsets kadm.Offsets
		offsets.AddOffset("trimmed", p, to, -1)
		answers, err := adm.DeleteRecords(t.l.ctx, offsets)
		if err == nil {
			err = answers.Error()
		}
		switch {
		case err == nil:
			t.mu.Lock()
			t.acked[p] = to
			t.mu.Unlock()
		case !transient(err):
			t.l.fail("delete records of trimmed/%d up to %d: %w", p, to, err)
		}
	}
}

func (t *trims) start(p int32) int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.acked[p]
}

func (l *load) writersOf(topic string) (all []*writer) {
	for _, w := range l.writers {
		if w.topic == topic {
			all = append(all, w)
		}
	}
	return all
}

// check compares the log starts with those acknowledged before.
func (t *trims) check() {
	t.l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), progressLimit)
	defer cancel()
	before := map[int32]int64{0: t.start(0), 1: t.start(1)}
	listed, err := ask(ctx, func() (kadm.ListedOffsets, error) { return t.l.adm.ListStartOffsets(ctx, "trimmed") })
	require.NoError(t.l.t, err)
	for p, start := range before {
		got, _ := listed.Lookup("trimmed", p)
		require.NoError(t.l.t, got.Err)
		require.GreaterOrEqual(t.l.t, got.Offset, start, "seed %d: log start of trimmed/%d", t.l.seed, p)
	}
}

// starts watches the log start of the topic that retention cuts: what a client saw of it never goes back.
type starts struct {
	l    *load
	mu   sync.Mutex
	seen int64
}

func startStarts(l *load) *starts {
	s := &starts{l: l}
	adm := kadm.NewClient(l.client())
	l.work.Go(func() {
		defer adm.Close()
		for l.pause(100 * time.Millisecond) {
			s.look(l.ctx, adm)
		}
	})
	return s
}

func (s *starts) look(ctx context.Context, adm *kadm.Client) {
	s.mu.Lock()
	before := s.seen
	s.mu.Unlock()
	listed, err := adm.ListStartOffsets(ctx, "retained")
	if err != nil {
		return
	}
	got, _ := listed.Lookup("retained", 0)
	if got.Err != nil {
		return
	}
	if got.Offset < before {
		s.l.fail("log start of retained/0 went from %d back to %d", before, got.Offset)
	}
	s.mu.Lock()
	s.seen = max(s.seen, got.Offset)
	s.mu.Unlock()
}

// summary says what the load did, so that a run in which something never happened is noticed.
func (l *load) summary() string {
	l.commits.mu.Lock()
	live, simple := maps.Clone(l.commits.acked[liveGroup]), maps.Clone(l.commits.acked[simpleGroup])
	l.commits.mu.Unlock()
	versions := 0
	for _, t := range l.churn.snapshot() {
		versions += t.version
	}
	l.watch.mu.Lock()
	defer l.watch.mu.Unlock()
	return fmt.Sprintf("%d records acknowledged, group at %v, commits at %v, %d topic changes, trimmed to %d and %d, retained from %d",
		l.acknowledged(), live, simple, versions/2, l.trims.start(0), l.trims.start(1), l.watch.seen)
}
