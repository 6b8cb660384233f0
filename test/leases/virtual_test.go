package leases

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/tidemark-mq/tidemark/coordinator/config"
	"github.com/tidemark-mq/tidemark/protocol/private"
)

var (
	runs    = flag.Int("runs", 0, "histories under virtual time; 0: a few dozen, fewer with -short")
	seed    = flag.Uint64("seed", 0, "the one history, or the first of -runs, to make; 0: a random first")
	verbose = flag.Bool("log", false, "print the brokers' logs")
)

func TestMain(m *testing.M) {
	flag.Parse()
	goleak.VerifyTestMain(m)
}

// TestHistoriesUnderVirtualTime makes histories of random consumers at both doors of a queue, with kills and power cuts, and
// checks them.
func TestHistoriesUnderVirtualTime(t *testing.T) {
	n, first := *runs, *seed
	switch {
	case n == 0 && first != 0:
		n = 1
	case n == 0 && testing.Short():
		n = 6
	case n == 0:
		n = 40
	}
	if first == 0 {
		first = 1 + rand.Uint64N(1<<40)
	}
	t.Logf("seeds %d to %d (-args -seed N makes the same choices again)", first, first+uint64(n)-1)
	for s := first; s < first+uint64(n); s++ {
		t.Run(fmt.Sprintf("seed=%d", s), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { history(t, s) })
		})
	}
}

// history makes one history and checks it.
func history(t *testing.T, seed uint64) {
	w := newWorld(t, seed)
	defer w.end()
	rnd := w.rnd
	w.setUp(1+rnd.Int32N(3), someGroups(rnd))
	w.startActors()
	for range 1 + rnd.IntN(4) {
		time.Sleep(time.Duration(2000+rnd.IntN(6000)) * time.Millisecond)
		w.disturb()
	}
	time.Sleep(time.Duration(rnd.IntN(4000)) * time.Millisecond)
	w.quiet()
	w.count()                   // brings windows into use that were not since a restart, and ends what has run out
	time.Sleep(2 * time.Second) // dead letters on their way
	w.noteCounts(w.count())
	if *verbose {
		for _, g := range w.groups {
			t.Logf("%v group %s: %s", clock(time.Now()), g.Name, w.held(g))
		}
	}
	w.resume()
	time.Sleep(time.Duration(rnd.IntN(4000)) * time.Millisecond)
	w.stopped.Store(true)
	w.actors.Wait()
	for _, m := range w.members {
		m.drop()
	}
	w.drain()
	w.noteCounts(w.count())
	w.readLogs()
	judge(t, fmt.Sprintf("seed %d: ", seed), w.rec.History())
	w.Stop()
}

// judge fails the test for what is wrong in a history, with all that the messages went through.
func judge(t testing.TB, prefix string, h *History) {
	t.Helper()
	found := Check(h)
	for i, v := range found {
		if i == 10 {
			t.Errorf("and %d more", len(found)-i)
			break
		}
		t.Errorf("%s%v", prefix, v)
		for _, line := range h.story(v.Group, v.Value) {
			t.Logf("    %s", line)
		}
	}
}

// startActors lets producers and consumers go.
func (w *world) startActors() {
	for range 2 {
		w.act(w.rnd.Uint64(), w.produce)
	}
	for _, g := range w.groups {
		for n := range 1 + w.rnd.IntN(3) {
			c := &retriever{w: w, g: g, name: fmt.Sprintf("h%d", n)}
			w.act(w.rnd.Uint64(), c.step)
		}
		if g.httpOnly {
			continue
		}
		for n := range 1 + w.rnd.IntN(2) {
			m := &member{w: w, g: g, id: fmt.Sprintf("%s-k%d", g.Name[:min(len(g.Name), 10)], n)}
			w.members = append(w.members, m)
			w.act(w.rnd.Uint64(), m.step)
		}
	}
}

// disturb ends the broker's life in one of the ways that there are.
func (w *world) disturb() {
	switch w.rnd.IntN(6) {
	case 0:
		w.restart()
	case 1:
		w.crash() // out of nothing
	default:
		w.untilCut(1+w.rnd.Int64N(40), time.Second)
		w.crash()
	}
}

// drain reads every group until nothing is left.
func (w *world) drain() {
	w.t.Helper()
	var all []*retriever
	for _, g := range w.groups {
		all = append(all, &retriever{w: w, g: g, name: "drain", whole: true})
	}
	for range 600 {
		for _, c := range all {
			l := w.Current()
			for {
				t, ok := c.take(l, w.rnd, 100, 5*time.Second, 0)
				if !ok {
					break
				}
				time.Sleep(time.Microsecond)
				lease := private.SettledLease{Partition: t.Records[0].Partition, Holder: t.Holder}
				var said []Said
				for _, r := range t.Records {
					lease.Records = append(lease.Records, private.SettledRecord{Offset: r.Offset, Action: private.Accept})
					said = append(said, Said{r.Place, r.Value, Accept})
				}
				c.settle(t, &private.SettleRequest{Group: c.g.Name, TopicID: w.topic.ID, Leases: []private.SettledLease{lease}, InOrder: true}, said)
			}
		}
		n := w.count()
		left := n.Delayed
		for _, g := range n.Groups {
			left += g.Available
		}
		if left == 0 {
			w.rec.Note(func(h *History) { h.Drained = true })
			return
		}
		time.Sleep(500 * time.Millisecond)
	}
	w.t.Errorf("something is left after five minutes: %+v", w.count())
}

// someGroups is groups of different kinds, two or three of them.
func someGroups(rnd *rand.Rand) []*consumed {
	kinds := []func(*rand.Rand, int) *consumed{queueGroup, queueGroup, fifoGroup, labelGroup, kafkaGroup, kafkaGroup}
	rnd.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	var out []*consumed
	for n, kind := range kinds[:2+rnd.IntN(2)] {
		g := kind(rnd, n)
		g.lock = time.Duration(2+rnd.IntN(6)) * time.Second
		g.settings["share.record.lock.duration.ms"] = fmt.Sprint(g.lock.Milliseconds())
		g.settings["share.auto.offset.reset"] = "earliest"
		if rnd.IntN(3) == 0 {
			value := []string{"200", "500,2", "1000,3,2000"}[rnd.IntN(3)]
			b, err := config.ParseBackoff(value)
			if err != nil {
				panic(err) // it is a constant
			}
			g.settings["share.retry.backoff.ms"] = value
			g.Backoff = func(n int) time.Duration { return b.After(int32(n)) }
		}
		out = append(out, g)
	}
	return out
}

// queueGroup is a group as the queue service makes them.
func queueGroup(rnd *rand.Rand, n int) *consumed {
	g := &consumed{Group: Group{Name: fmt.Sprintf("g-00000000-0000-4000-8000-00000000000%d", n), Durable: true}}
	g.settings = map[string]string{"share.acquisition.durable": "true", "share.window.max.records": "100000", "share.failure.count.limit": "0"}
	if rnd.IntN(2) == 0 {
		g.FailureLimit, g.DeadLetters = 1+rnd.IntN(4), true
		maps.Copy(g.settings, map[string]string{"share.failure.count.limit": fmt.Sprint(g.FailureLimit),
			"errors.deadletterqueue.topic.name": "q-dlq-" + g.Name, "errors.deadletterqueue.copy.record.enable": "true"})
	}
	return g
}

func fifoGroup(rnd *rand.Rand, n int) *consumed {
	g := queueGroup(rnd, n)
	g.Ordered = true
	g.settings["share.order"] = "partition"
	if rnd.IntN(4) == 0 {
		g.Durable = false
		g.settings["share.acquisition.durable"] = "false"
	}
	return g
}

func labelGroup(rnd *rand.Rand, n int) *consumed {
	g := queueGroup(rnd, n)
	g.Labels, g.AllLabels, g.httpOnly = []string{"a", "b"}[:1+rnd.IntN(2)], rnd.IntN(2) == 0, true
	return g
}

// kafkaGroup is a share group of Kafka's, durable or not.
func kafkaGroup(rnd *rand.Rand, n int) *consumed {
	g := &consumed{Group: Group{Name: fmt.Sprintf("share%d", n), DeliveryLimit: 2 + rnd.IntN(6)}, settings: map[string]string{}}
	if rnd.IntN(3) == 0 {
		g.Durable = true
		g.settings["share.acquisition.durable"] = "true"
	}
	g.settings["share.delivery.count.limit"] = fmt.Sprint(g.DeliveryLimit)
	if rnd.IntN(2) == 0 {
		g.DeadLetters = true
		g.settings["errors.deadletterqueue.topic.name"], g.settings["errors.deadletterqueue.copy.record.enable"] = "dlq."+g.Name, "true"
	}
	if rnd.IntN(3) == 0 {
		g.settings["share.window.max.records"] = fmt.Sprint(5 + rnd.IntN(20))
	}
	return g
}
