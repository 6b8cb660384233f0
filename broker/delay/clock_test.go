package delay

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/broker/clock"
)

// TestAStepOfTheMachinesClockMovesNoMessage has the service's clock differ from the machine's by what that was stepped.
func TestAStepOfTheMachinesClockMovesNoMessage(t *testing.T) {
	for _, step := range []time.Duration{time.Hour, -time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			now := clock.Anchored(func() time.Time { return time.Now().Add(-step) })
			w := newWorldBy(t, now)
			defer w.stop()
			q := w.topic("q", 1)
			to := Target{q.ID, 0}
			require.NoError(t, w.delay(to, now().Add(10*time.Second), "ten"))
			require.NoError(t, w.delay(to, now().Add(2*time.Hour), "two hours"))
			time.Sleep(9990 * time.Millisecond)
			require.Empty(t, w.records(to), "step %v: early", step)
			time.Sleep(60 * time.Millisecond)
			require.Equal(t, []string{"ten"}, values(w.records(to)), "step %v: late", step)
			time.Sleep(2*time.Hour - 11*time.Second)
			require.Len(t, w.records(to), 1, "step %v: early", step)
			time.Sleep(2 * time.Second)
			require.Equal(t, []string{"ten", "two hours"}, values(w.records(to)), "step %v: late", step)
		})
	}
}
