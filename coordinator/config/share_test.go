package config

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBackoffGrowsByItsFactorUpToItsMost(t *testing.T) {
	b, err := ParseBackoff("1000, 2 ,5000")
	require.NoError(t, err)
	for failures, want := range map[int32]time.Duration{0: 0, 1: time.Second, 2: 2 * time.Second, 3: 4 * time.Second, 4: 5 * time.Second, math.MaxInt32: 5 * time.Second} {
		require.Equal(t, want, b.After(failures), failures)
	}
	b, err = ParseBackoff("100")
	require.NoError(t, err)
	require.Equal(t, 100*time.Millisecond, b.After(40))
	b, err = ParseBackoff("0")
	require.NoError(t, err)
	require.Zero(t, b.After(3))
	b, err = ParseBackoff("1,100")
	require.NoError(t, err)
	require.Equal(t, 24*time.Hour, b.After(1000))
	for _, bad := range []string{"", "-1", "1,0", "1,NaN", "1,2,3,4", "5,1,4", "1,101", "x", "86400001", "1,,2"} {
		_, err := ParseBackoff(bad)
		require.ErrorIs(t, err, ErrInvalid, bad)
	}
}

func TestShareSettingsAsKafkaHasThem(t *testing.T) {
	s := Layers{}.Share()
	require.Equal(t, ShareSettings{LockDuration: 30 * time.Second, DeliveryLimit: 5, FailureLimit: -1, MaxRecords: 2000, CountSettled: true, Renew: true,
		Backoff: Backoff{Factor: 1}, Reset: Reset{Latest: true}, SessionTimeout: 45 * time.Second, HeartbeatInterval: 5 * time.Second}, s)
	own, err := ValidateGroup(map[string]string{"share.acquisition.durable": "true", "share.order": "partition", "share.failure.count.limit": "3",
		"share.retry.backoff.ms": "10,2,100", "share.window.max.records": "100000", "share.auto.offset.reset": "by_duration:P1DT2H3M4.5S"}, Layers{})
	require.NoError(t, err)
	s = Layers{Own: own}.Share()
	require.True(t, s.Durable)
	require.True(t, s.Ordered)
	require.Equal(t, 3, s.FailureLimit)
	require.Equal(t, 100_000, s.MaxRecords)
	require.Equal(t, Backoff{Initial: 10 * time.Millisecond, Most: 100 * time.Millisecond, Factor: 2}, s.Backoff)
	require.Equal(t, 26*time.Hour+3*time.Minute+4500*time.Millisecond, s.Reset.By)
}
