package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// progressLimit bounds how long a client may take to get on after a restart, on a busy machine.
const progressLimit = time.Minute

// load is what clients do to a broker while it crashes again and again, and what it acknowledged to them. The clients stay
// the same from one life of the broker to the next; only addr has to.
type load struct {
	t    *testing.T
	seed uint64
	addr string
	adm  *kadm.Client

	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	writers []*writer
	churn   *churn
	trims   *trims
	commits *commits
	watch   *starts

	failOnce sync.Once
	failed   chan struct{}
	failure  error // valid after failed is closed
}

// shape says which topics the load uses.
type shape struct {
	cached bool // also a topic that is acknowledged from the page cache: it survives a kill, not a power cut
}

// settings of a broker under this load: what happens rarely in production happens all the time.
var brokerSettings = map[string]string{
	"log.retention.check.interval.ms":  "200",
	"log.cleaner.backoff.ms":           "200",
	"group.initial.rebalance.delay.ms": "0",
}

// newLoad makes the topics and clients of a load against the broker at addr, and starts them.
func newLoad(t *testing.T, addr string, seed uint64, sh shape) *load {
	l := &load{t: t, seed: seed, addr: addr, failed: make(chan struct{})}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	t.Cleanup(l.abandon)
	l.adm = kadm.NewClient(l.client())

	l.topic("small", 3, nil)
	l.topic("large", 2, nil)
	l.topic("mixed", 4, map[string]string{"segment.bytes": "1048576"})
	l.topic("single", 2, nil)
	l.topic("trimmed", 2, map[string]string{"segment.bytes": "1048576", "file.delete.delay.ms": "100"})
	l.topic("retained", 1, map[string]string{"segment.bytes": "1048576", "retention.bytes": "4194304", "file.delete.delay.ms": "100"})
	l.topic("keys", 2, map[string]string{"segment.bytes": "1048576", "cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01",
		"file.delete.delay.ms": "100", "segment.ms": "2000"})
	if sh.cached {
		l.topic("cached", 2, map[string]string{"flush.messages": "100000"})
	}

	few, some, many := span{1, 4}, span{1, 30}, span{20, 60}
	l.writer(&writer{topic: "small", partitions: 3, burst: few, size: span{0, 200}, pause: span{1, 10}})
	l.writer(&writer{topic: "small", partitions: 3, burst: some, size: span{50, 150}, pause: span{5, 30}})
	l.writer(&writer{topic: "large", partitions: 2, burst: many, size: span{4 << 10, 16 << 10}, pause: span{50, 150}})
	l.writer(&writer{topic: "large", partitions: 2, burst: few, size: span{10, 100}, pause: span{1, 20}})
	l.writer(&writer{topic: "mixed", partitions: 4, burst: some, size: span{100, 4 << 10}, pause: span{10, 40}, codec: kgo.ZstdCompression()})
	l.writer(&writer{topic: "mixed", partitions: 4, burst: some, size: span{100, 4 << 10}, pause: span{10, 40}, codec: kgo.Lz4Compression()})
	l.writer(&writer{topic: "mixed", partitions: 4, burst: many, size: span{1000, 8 << 10}, pause: span{50, 150}, codec: kgo.SnappyCompression()})
	l.writer(&writer{topic: "single", partitions: 2, burst: some, size: span{50, 2000}, pause: span{5, 30}, acks1: true, codec: kgo.GzipCompression()})
	l.writer(&writer{topic: "trimmed", partitions: 2, burst: some, size: span{100, 2000}, pause: span{5, 30}})
	l.writer(&writer{topic: "retained", partitions: 1, burst: some, size: span{1000, 8 << 10}, pause: span{20, 60}})
	l.writer(&writer{topic: "keys", partitions: 2, burst: some, size: span{100, 4 << 10}, pause: span{10, 40}, keys: 300})
	l.writer(&writer{topic: "keys", partitions: 2, burst: some, size: span{100, 4 << 10}, pause: span{10, 40}, keys: 300, codec: kgo.ZstdCompression()})
	if sh.cached {
		l.writer(&writer{topic: "cached", partitions: 2, burst: some, size: span{50, 2000}, pause: span{5, 30}})
		l.writer(&writer{topic: "cached", partitions: 2, burst: some, size: span{50, 2000}, pause: span{5, 30}, acks1: true})
	}
	l.churn = startChurn(l)
	l.trims = startTrims(l)
	l.commits = startCommits(l)
	l.watch = startStarts(l)
	l.follow("small", "large", "mixed")
	return l
}

// client is a Kafka client that outlives the broker: it tries again at once and for ever, also when the broker ended between a
// connection and its first answer, in which the library suspects a missing login.
func (l *load) client(opts ...kgo.Opt) *kgo.Client {
	base := []kgo.Opt{kgo.SeedBrokers(l.addr), kgo.RetryBackoffFn(func(int) time.Duration { return 30 * time.Millisecond }),
		kgo.MetadataMinAge(50 * time.Millisecond), kgo.DialTimeout(5 * time.Second), kgo.RequestRetries(1 << 30), kgo.RetryTimeout(progressLimit), kgo.AlwaysRetryEOF()}
	cl, err := kgo.NewClient(append(base, opts...)...)
	require.NoError(l.t, err)
	return cl
}

func (l *load) topic(name string, partitions int32, settings map[string]string) {
	configs := map[string]*string{}
	for k, v := range settings {
		configs[k] = &v
	}
	ctx, cancel := context.WithTimeout(l.ctx, progressLimit)
	defer cancel()
	_, err := l.adm.CreateTopic(ctx, partitions, 1, configs, name)
	require.NoError(l.t, err)
}

// rng is the randomness of one part of the load; parts do not share it, so that each is repeated by its seed.
func (l *load) rng(part uint64) *rand.Rand { return rand.New(rand.NewPCG(l.seed, part)) }

// fail ends the test with the first error that a part of the load found.
func (l *load) fail(format string, args ...any) {
	if l.ctx.Err() != nil {
		return
	}
	l.failOnce.Do(func() {
		l.failure = fmt.Errorf(format, args...)
		close(l.failed)
	})
}

// check fails the test if a part of the load failed.
func (l *load) check() {
	l.t.Helper()
	select {
	case <-l.failed:
		l.t.Fatalf("seed %d: %v", l.seed, l.failure)
	default:
	}
}

// progress waits until every client has got on since it was called, and for a while longer.
func (l *load) progress(longer time.Duration) {
	l.t.Helper()
	for _, w := range l.writers {
		l.await("producer of "+w.topic, w.mark())
	}
	l.await("commits", l.commits.mark())
	l.await("topic changes", l.churn.mark())
	select {
	case <-time.After(longer):
	case <-l.failed:
	}
	l.check()
}

func (l *load) await(who string, done <-chan struct{}) {
	l.t.Helper()
	began := time.Now()
	select {
	case <-done:
		if took := time.Since(began); took > 5*time.Second {
			l.t.Logf("%s: no progress for %d s after the restart", who, int(took.Seconds()))
		}
	case <-l.failed:
		l.check()
	case <-time.After(progressLimit):
		l.t.Fatalf("seed %d: %s: no progress within %s", l.seed, who, progressLimit)
	}
}

// stop lets every client finish what it began.
func (l *load) stop() {
	l.t.Helper()
	l.cancel()
	l.work.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), progressLimit)
	defer cancel()
	for _, w := range l.writers {
		require.NoError(l.t, w.cl.Flush(ctx), "producer of %s", w.topic)
	}
	select {
	case <-l.failed:
		l.t.Fatalf("seed %d: %v", l.seed, l.failure)
	default:
	}
}

// abandon ends the clients, whatever they are doing.
func (l *load) abandon() {
	l.cancel()
	for _, w := range l.writers {
		w.cl.Close()
	}
	l.work.Wait()
	l.adm.Close()
}

// marker lets a test wait for the next success of a part of the load.
type marker struct {
	mu      sync.Mutex
	waiting []chan struct{}
}

// mark answers a channel that is closed by the next hit.
func (m *marker) mark() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	ch := make(chan struct{})
	m.waiting = append(m.waiting, ch)
	return ch
}

func (m *marker) hit() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, ch := range m.waiting {
		close(ch)
	}
	m.waiting = nil
}

// span is a range of numbers to draw from, ends included.
type span struct{ from, to int }

func (s span) draw(r *rand.Rand) int { return s.from + r.IntN(s.to-s.from+1) }

// pause waits between two actions of a client; false when the load ends.
func (l *load) pause(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-l.ctx.Done():
		return false
	}
}

// ask repeats a question of a check until it is answered: a connection that died with the broker may still be found dead, and the
// library does not hide that from every request.
func ask[A any](ctx context.Context, question func() (A, error)) (A, error) {
	for {
		answer, err := question()
		if err == nil || !transient(err) || ctx.Err() != nil {
			return answer, err
		}
		select {
		case <-time.After(30 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// transient tells whether an error only says that the broker went away in between, so that nobody knows what happened.
func transient(err error) bool {
	var answer *kerr.Error
	return !errors.As(err, &answer) || answer.Retriable
}
