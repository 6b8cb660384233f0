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
// nor end in an alarm.
func TestEmbeddedKeepsWithinItsRoom(t *testing.T) {
	within := room{quota: 96 << 20, slack: 8 << 20, look: 10 * time.Millisecond}
	s, err := openEmbeddedWithin(t.Context(), t.TempDir(), within, zap.NewNop())
	require.NoError(t, err)
	require.NoError(t, rewriteKey(t, s, 800, 256<<10))
	require.Less(t, s.server.Backend().Size(), within.quota)
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
