package cluster

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

// rewriteKey changes one key n times, and gives the error that ended it.
func rewriteKey(t *testing.T, s Store, n, size int) error {
	t.Helper()
	for i := range n {
		value := append(bytes.Repeat([]byte{'x'}, size), fmt.Sprint(i)...)
		if _, err := s.Txn(t.Context(), Txn{Then: []Op{{Key: "k", Value: value}}}); err != nil {
			return fmt.Errorf("change %d: %w", i, err)
		}
	}
	return nil
}

// TestEmbeddedKeepsWithinItsRoom: changes that amount to many times the quota, between two of etcd's own compactions, neither fill the database
// for good nor end in an alarm that stays.
func TestEmbeddedKeepsWithinItsRoom(t *testing.T) {
	within := room{quota: 96 << 20, slack: 8 << 20, look: 10 * time.Millisecond}
	s, err := openEmbeddedWithin(t.Context(), t.TempDir(), within, zap.NewNop())
	require.NoError(t, err)
	refused := 0
	for range 800 {
		require.Eventually(t, func() bool {
			err := rewriteKey(t, s, 1, 256<<10)
			if err != nil {
				refused++
			}
			return err == nil
		}, time.Minute, 5*time.Millisecond, "room is found again")
	}
	t.Logf("%d changes refused for a moment", refused) // as fast as this machine was against its disk
	require.LessOrEqual(t, s.server.Backend().Size(), within.quota+within.quota/4)
	require.NoError(t, s.Close())
}

// TestEmbeddedRecoversFromFullRoom: a start ends the alarm of a database over its quota.
func TestEmbeddedRecoversFromFullRoom(t *testing.T) {
	dir := t.TempDir()
	within := room{quota: 24 << 20, slack: 1 << 40, look: time.Hour}
	s, err := openEmbeddedWithin(t.Context(), dir, within, zap.NewNop())
	require.NoError(t, err)
	require.ErrorContains(t, rewriteKey(t, s, 1000, 256<<10), "database space exceeded")
	_, _, err = s.Grant(t.Context(), shortest)
	require.Error(t, err, "no broker could register")
	require.NoError(t, s.Close())

	s, err = openEmbeddedWithin(t.Context(), dir, within, zap.NewNop())
	require.NoError(t, err)
	grant(t, s)
	require.NoError(t, rewriteKey(t, s, 3, 1))
	require.NoError(t, s.Close())
}
