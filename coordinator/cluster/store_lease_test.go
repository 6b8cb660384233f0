package cluster

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// shortest is the shortest lease that both stores grant as asked.
const shortest = 2 * time.Second

func grant(t *testing.T, s Store) LeaseID {
	t.Helper()
	id, ttl, err := s.Grant(t.Context(), shortest-time.Millisecond)
	require.NoError(t, err)
	require.Equal(t, shortest, ttl, "whole seconds, rounded up")
	return id
}

// awaitGone waits for the deletion of n keys and gives their revisions.
func awaitGone(t *testing.T, s Store, prefix string, from int64, n int) []int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*shortest)
	defer cancel()
	w := watch(ctx, s, prefix, from)
	events := w.next(t, n)
	for _, e := range events {
		require.True(t, e.Deleted)
	}
	cancel()
	<-w.ended
	return revisions(events)
}

func testStoreLeaseRunsOut(t *testing.T, s Store, p string) {
	began := time.Now()
	lease := grant(t, s)
	from := mustTxn(t, s, Op{Key: p + "a", Value: []byte("1"), Lease: lease})
	kv, err := get(t.Context(), s, p+"a")
	require.NoError(t, err)
	require.Equal(t, lease, kv.Lease)
	awaitGone(t, s, p, from+1, 1)
	require.GreaterOrEqual(t, time.Since(began), shortest-10*time.Millisecond, "never before its time")
	_, err = s.KeepAlive(t.Context(), lease)
	require.ErrorIs(t, err, ErrLeaseGone)
}

func testStoreLeaseRenewed(t *testing.T, s Store, p string) {
	lease := grant(t, s)
	from := mustTxn(t, s, Op{Key: p + "a", Value: []byte("1"), Lease: lease})
	var renewed time.Time
	for range 3 {
		pause(t.Context(), shortest/2)
		renewed = time.Now()
		ttl, err := s.KeepAlive(t.Context(), lease)
		require.NoError(t, err)
		require.Equal(t, shortest, ttl)
	}
	require.Equal(t, []string{"a=1"}, list(t, s, p, 0))
	awaitGone(t, s, p, from+1, 1)
	require.GreaterOrEqual(t, time.Since(renewed), shortest-10*time.Millisecond)
}

func testStoreLeaseRevoked(t *testing.T, s Store, p string) {
	lease := grant(t, s)
	from := mustTxn(t, s, Op{Key: p + "a", Lease: lease}, Op{Key: p + "b", Lease: lease}, put(p+"c", "stays"))
	require.NoError(t, s.Revoke(t.Context(), lease))
	gone := awaitGone(t, s, p, from+1, 2)
	require.Equal(t, gone[0], gone[1])
	require.Equal(t, []string{"c=stays"}, list(t, s, p, 0))
	require.NoError(t, s.Revoke(t.Context(), lease), "again")
}

func testStoreLeaseReplaced(t *testing.T, s Store, p string) {
	old, young := grant(t, s), grant(t, s)
	mustTxn(t, s, Op{Key: p + "moved", Lease: old}, Op{Key: p + "freed", Lease: old})
	mustTxn(t, s, Op{Key: p + "moved", Lease: young}, Op{Key: p + "freed"})
	require.NoError(t, s.Revoke(t.Context(), old))
	require.Equal(t, []string{"freed=", "moved="}, list(t, s, p, 0))
	require.NoError(t, s.Revoke(t.Context(), young))
	require.Equal(t, []string{"freed="}, list(t, s, p, 0))
}

func testStoreLeaseGone(t *testing.T, s Store, p string) {
	lease := grant(t, s)
	require.NoError(t, s.Revoke(t.Context(), lease))
	_, err := s.Txn(t.Context(), Txn{Then: []Op{{Key: p + "a", Lease: lease}}})
	require.ErrorIs(t, err, ErrLeaseGone)
	_, err = s.KeepAlive(t.Context(), lease)
	require.ErrorIs(t, err, ErrLeaseGone)
	require.Empty(t, list(t, s, p, 0))
}

func testStoreTooMany(t *testing.T, s Store, p string) {
	var txn Txn
	for i := range MaxTxnOps + 1 {
		txn.Then = append(txn.Then, put(fmt.Sprint(p, i), ""))
	}
	_, err := s.Txn(t.Context(), txn)
	require.Error(t, err)
	require.Empty(t, list(t, s, p, 0))
	txn = Txn{}
	for i := range MaxTxnOps {
		txn.If = append(txn.If, Cond{Key: fmt.Sprint(p, i)})
		txn.Then = append(txn.Then, put(fmt.Sprint(p, i), ""))
	}
	res, err := s.Txn(t.Context(), txn)
	require.NoError(t, err)
	require.True(t, res.Done)
}
