package clock

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestStepsOfTheWallClockAreNotSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		step := 5 * time.Minute
		wall := func() time.Time { return time.Now().Add(step) }
		now := Anchored(wall)
		begin := time.Now().Add(step)
		for _, step = range []time.Duration{time.Hour, -time.Hour, 0} {
			require.Equal(t, begin.UnixNano(), now().UnixNano())
			time.Sleep(1500 * time.Millisecond)
			begin = begin.Add(1500 * time.Millisecond)
		}
	})
}

func TestTimesAreComparedByWhatIsKeptOfThem(t *testing.T) {
	now := Anchored(time.Now)()
	require.Equal(t, now, time.Unix(0, now.UnixNano()), "no monotonic reading")
}
