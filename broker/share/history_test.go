package share

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/protocol/private"
	"github.com/tidemark-mq/tidemark/storage/vfs"
)

// ledger is what a queue's clients know, and so what must hold whatever power is lost.
type ledger struct {
	w       *world
	lease   map[int64]int64  // until when an answered lease holds, in ms
	holder  map[int64]string // whose it is
	settled map[int64]private.Action
	maybe   map[int64]bool // whose settling was not answered
}

func (l *ledger) forget(offset int64) { delete(l.lease, offset); delete(l.holder, offset) }

// granted checks a lease against what is known.
func (l *ledger) granted(resp *private.LeaseResponse, holder string, now int64) {
	for _, r := range resp.Records {
		if action, done := l.settled[r.Offset]; done {
			require.Fail(l.w.t, "a settled record came back", "offset %d, %d", r.Offset, action)
		}
		until, held := l.lease[r.Offset]
		require.False(l.w.t, held && until > now, "offset %d is leased to %s until %d, it is %d", r.Offset, l.holder[r.Offset], until, now)
		l.lease[r.Offset], l.holder[r.Offset] = resp.UntilMillis, holder
	}
}

// answered notes what became of a settlement.
func (l *ledger) answered(offset int64, action private.Action, code int16, came bool) {
	switch {
	case !came || code != 0 && code != 121:
		l.maybe[offset] = true
		l.forget(offset)
	case code == 0 && (action == private.Accept || action == private.DeadLetter):
		l.settled[offset] = action
		l.forget(offset)
	case code == 0:
		l.forget(offset)
	}
}

// A durable queue under random clients and losses of power: an answered lease is nobody else's until it ends, what was settled
// never comes back, and each dead letter is copied once.
func TestDurableQueuesKeepTheirWord(t *testing.T) {
	for seed := range uint64(25) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) { keepsItsWord(w, rand.New(rand.NewPCG(seed, 9))) })
		})
	}
}

func keepsItsWord(w *world, rnd *rand.Rand) {
	t := w.t
	q := w.deadQueue("share.failure.count.limit", "2")
	w.topic("q-dlq", 1, "errors.deadletterqueue.group.enable", "true")
	w.put(q, 0, values(40)...)
	l := &ledger{w: w, lease: map[int64]int64{}, holder: map[int64]string{}, settled: map[int64]private.Action{}, maybe: map[int64]bool{}}
	cut := func() {
		w.crash(rnd.Uint64())
		synctest.Wait()
	}
	for step := range 120 {
		if rnd.IntN(12) == 0 {
			w.fs.CutAt(w.fs.Ops()+1+rnd.Int64N(4), []vfs.When{vfs.BeforeSync, vfs.AfterSync}[rnd.IntN(2)])
		}
		switch rnd.IntN(5) {
		case 0, 1:
			ask := asked(q, queueGroup, fmt.Sprint("h", step))
			ask.MaxRecords, ask.LeaseMillis = 1+rnd.Int32N(6), 1000+rnd.Int32N(9000)
			if resp, came := w.reply(w.do(w.e.Lease, ask)); came {
				l.granted(resp.(*private.LeaseResponse), ask.Holder, time.Now().UnixMilli())
			}
		case 2, 3:
			for offset, until := range l.lease {
				action := []private.Action{private.Accept, private.Fail, private.Release, private.DeadLetter}[rnd.IntN(4)]
				resp, came := w.reply(w.do(w.e.Settle, &private.SettleRequest{Group: queueGroup, TopicID: q.ID, Leases: []private.SettledLease{
					{Holder: l.holder[offset], Records: []private.SettledRecord{{Offset: offset, Action: action}}}}}))
				code := int16(0)
				if came {
					code = resp.(*private.SettleResponse).ErrorCode
				}
				require.False(t, code == 121 && until > time.Now().UnixMilli(), "step %d: offset %d was leased to %s", step, offset, l.holder[offset])
				l.answered(offset, action, code, came)
				break
			}
		default:
			<-time.After(time.Duration(rnd.IntN(3000)) * time.Millisecond)
		}
		if w.fs.IsCut() {
			cut()
		}
	}
	w.fs.CutAt(0, vfs.BeforeSync)
	cut()
	<-time.After(time.Minute)
	w.take(q, queueGroup, "last", 1)
	<-time.After(time.Minute)
	t.Logf("%d settled, %d unknown, %d dead letters", len(l.settled), len(l.maybe), len(w.inTopic("q-dlq")))
	dead := map[string]int{}
	for _, m := range w.inTopic("q-dlq") {
		dead[m]++
		require.Equal(t, 1, dead[m], "copied twice: %s", m)
	}
	for offset, action := range l.settled {
		if action == private.DeadLetter {
			require.Equal(t, 1, dead[fmt.Sprintf("%d@q-0-%d", offset, offset)], "offset %d is no dead letter", offset)
		}
	}
	require.EqualValues(t, len(dead), w.count(q, queueGroup).Groups[0].DeadLettered)
}

// reply is an answer, or that the broker died first.
func (w *world) reply(r *request) (answer any, came bool) {
	synctest.Wait()
	for !w.fs.IsCut() {
		select {
		case m := <-r.done:
			return m, true
		case <-time.After(time.Second):
		}
	}
	select {
	case m := <-r.done:
		return m, true
	default:
		return nil, false
	}
}
