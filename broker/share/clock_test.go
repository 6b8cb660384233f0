package share

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/broker/clock"
	"github.com/tidemark-mq/tidemark/protocol/private"
)

// TestAStepOfTheMachinesClockMovesNoLease has the engine's clock differ from the machine's by what that was stepped.
func TestAStepOfTheMachinesClockMovesNoLease(t *testing.T) {
	for _, step := range []time.Duration{time.Hour, -time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorldBy(t, clock.Anchored(func() time.Time { return time.Now().Add(-step) }))
			q := w.queue(1, queueGroup, "share.retry.backoff.ms", "10000")
			w.send(q, "a", "b")
			begin := w.now()
			leased := w.lease(asked(q, queueGroup, "one"))
			require.Equal(t, "a b", brief(leased))
			require.WithinDuration(t, begin.Add(30*time.Second), time.UnixMilli(leased.UntilMillis), 100*time.Millisecond)

			wait := asked(q, queueGroup, "two")
			wait.MaxWaitMillis = 120_000
			next := w.do(w.e.Lease, wait)
			<-time.After(20 * time.Second)
			require.Equal(t, "0+1", w.settleAll(&private.SettleRequest{Group: queueGroup, TopicID: q.ID, RenewMillis: 60_000, Leases: []private.SettledLease{
				{Holder: "one", Records: []private.SettledRecord{{Offset: 0, Action: private.Renew}}}}}))
			<-time.After(19 * time.Second)
			synctest.Wait()
			require.True(t, next.waits(), "step %v: b's lease ended at 30 s, and it backs off until 40 s", step)
			<-time.After(1500 * time.Millisecond)
			require.Equal(t, "b/1", brief(next.answer().(*private.LeaseResponse)), "step %v: late", step)
			<-time.After(39 * time.Second)
			require.Equal(t, "1+0", w.settle(q, queueGroup, "one", private.Accept, 0), "step %v: renewed until 80 s", step)
			require.Equal(t, []string{"0:1-1 0 "}, w.listed(q, queueGroup), "its lease ended at 70 s, and it backs off until 80 s")
		})
	}
}
