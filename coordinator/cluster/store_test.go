package cluster

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"
)

// The suite below says what the package expects of etcd. It runs on the model under virtual time and on a real embedded etcd.

type storeCase struct {
	name  string
	run   func(t *testing.T, s Store, prefix string)
	waits bool // for leases to run out, in real time on the real store
}

var storeSuite = []storeCase{
	{"a transaction happens whole or not at all", testStoreTxn, false},
	{"conditions compare the last change", testStoreConditions, false},
	{"ranges are ordered, paged and may look back", testStoreRange, false},
	{"a deletion of nothing changes nothing", testStoreDeleteNothing, false},
	{"a watch sees each revision whole and in order", testStoreWatch, false},
	{"a watch starts in the past and in the future", testStoreWatchFrom, false},
	{"a watch ends with its context and its function", testStoreWatchEnds, false},
	{"keys end with their lease", testStoreLeaseRunsOut, true},
	{"a renewed lease stays", testStoreLeaseRenewed, true},
	{"a revoked lease takes its keys in one revision", testStoreLeaseRevoked, false},
	{"a key follows its newest lease", testStoreLeaseReplaced, false},
	{"nothing is put under a lease that is gone", testStoreLeaseGone, false},
	{"operations are bounded", testStoreTooMany, false},
}

func TestMemoryIsAStore(t *testing.T) {
	for _, c := range storeSuite {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { c.run(t, NewMemory(), "p/") })
		})
	}
	t.Run("compaction", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := NewMemory()
			testStoreCompaction(t, m, "p/", func(revision int64) { m.Compact(revision) })
		})
	})
}

func TestEtcdIsAStore(t *testing.T) {
	s, err := openEmbedded(t.Context(), filepath.Join(t.TempDir(), "etcd"), zaptest.NewLogger(t))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	for i, c := range storeSuite {
		t.Run(c.name, func(t *testing.T) {
			if c.waits {
				t.Parallel()
			}
			c.run(t, s, fmt.Sprintf("p%d/", i))
		})
	}
	t.Run("compaction", func(t *testing.T) {
		testStoreCompaction(t, s, "compact/", func(revision int64) {
			_, err := s.client.Compact(t.Context(), revision)
			require.NoError(t, err)
		})
	})
}

func put(key, value string) Op { return Op{Key: key, Value: []byte(value)} }

func mustTxn(t *testing.T, s Store, ops ...Op) int64 {
	t.Helper()
	res, err := s.Txn(t.Context(), Txn{Then: ops})
	require.NoError(t, err)
	require.True(t, res.Done)
	return res.Revision
}

// list gives the keys under prefix with their values, at a revision.
func list(t *testing.T, s Store, prefix string, revision int64) []string {
	t.Helper()
	res, err := s.Range(t.Context(), Range{Prefix: prefix, Revision: revision})
	require.NoError(t, err)
	out := []string{}
	for _, kv := range res.KVs {
		out = append(out, kv.Key[len(prefix):]+"="+string(kv.Value))
	}
	return out
}

func testStoreTxn(t *testing.T, s Store, p string) {
	first := mustTxn(t, s, put(p+"a", "1"), put(p+"b", "2"))
	res, err := s.Txn(t.Context(), Txn{If: []Cond{{Key: p + "a", Revision: first}, {Key: p + "c", Exists: true}}, Then: []Op{put(p+"a", "9")}})
	require.NoError(t, err)
	require.False(t, res.Done)
	second := mustTxn(t, s, put(p+"c", "3"), Op{Key: p + "a", Delete: true})
	require.Greater(t, second, first)
	require.Equal(t, []string{"b=2", "c=3"}, list(t, s, p, 0))
	require.Equal(t, []string{"a=1", "b=2"}, list(t, s, p, first))
}

func testStoreConditions(t *testing.T, s Store, p string) {
	try := func(conds ...Cond) bool {
		res, err := s.Txn(t.Context(), Txn{If: conds})
		require.NoError(t, err)
		return res.Done
	}
	require.True(t, try(Cond{Key: p + "a"}), "absent")
	require.False(t, try(Cond{Key: p + "a", Exists: true}))
	first := mustTxn(t, s, put(p+"a", "1"))
	require.False(t, try(Cond{Key: p + "a"}))
	require.True(t, try(Cond{Key: p + "a", Exists: true}, Cond{Key: p + "a", Revision: first}))
	second := mustTxn(t, s, put(p+"a", "1"))
	require.False(t, try(Cond{Key: p + "a", Revision: first}), "the same value is a change all the same")
	require.True(t, try(Cond{Key: p + "a", Revision: second}))
	mustTxn(t, s, Op{Key: p + "a", Delete: true})
	require.True(t, try(Cond{Key: p + "a"}), "absent again")
}

func testStoreRange(t *testing.T, s Store, p string) {
	var last int64
	for _, key := range []string{"d", "b", "a/x", "a", "c"} {
		last = mustTxn(t, s, put(p+key, key))
	}
	mustTxn(t, s, put(p+"b", "changed"), put(p+"0", "new"))
	res, err := s.Range(t.Context(), Range{Prefix: p, Limit: 2, Revision: last})
	require.NoError(t, err)
	require.True(t, res.More)
	require.Equal(t, p+"a", res.KVs[0].Key)
	require.Equal(t, p+"a/x", res.KVs[1].Key)
	res, err = s.Range(t.Context(), Range{Prefix: p, After: p + "a/x", Revision: last})
	require.NoError(t, err)
	require.False(t, res.More)
	require.Len(t, res.KVs, 3)
	require.Equal(t, "b", string(res.KVs[0].Value))
	require.Equal(t, last, res.KVs[1].ModRevision)
	one, err := get(t.Context(), s, p+"a")
	require.NoError(t, err)
	require.Equal(t, "a", string(one.Value))
	none, err := get(t.Context(), s, p+"a/")
	require.NoError(t, err)
	require.Zero(t, none.ModRevision)
}

func testStoreDeleteNothing(t *testing.T, s Store, p string) {
	before := mustTxn(t, s, put(p+"a", "1"))
	require.Equal(t, before, mustTxn(t, s, Op{Key: p + "nothing", Delete: true}))
	require.Equal(t, before+1, mustTxn(t, s, put(p+"a", "2")))
}

// watched collects batches of a watch as "key=value" or "key gone" texts joined by the revision they came with.
type watched struct {
	events chan []Event
	ended  chan error
}

func watch(ctx context.Context, s Store, prefix string, from int64) watched {
	w := watched{events: make(chan []Event, 100), ended: make(chan error, 1)}
	go func() {
		w.ended <- s.Watch(ctx, prefix, from, func(events []Event) error {
			w.events <- events
			return nil
		})
	}()
	return w
}

// next gives n events, however they were batched.
func (w watched) next(t *testing.T, n int) []Event {
	t.Helper()
	var all []Event
	for len(all) < n {
		select {
		case events := <-w.events:
			all = append(all, events...)
		case err := <-w.ended:
			t.Fatalf("watch ended after %d of %d events: %v", len(all), n, err)
		case <-time.After(10 * time.Second):
			t.Fatalf("%d of %d events came", len(all), n)
		}
	}
	require.Len(t, all, n)
	return all
}

func testStoreWatch(t *testing.T, s Store, p string) {
	ctx, cancel := context.WithCancel(t.Context())
	first := mustTxn(t, s, put(p+"a", "1"))
	w := watch(ctx, s, p, first+1)
	mustTxn(t, s, put("elsewhere/"+p, "x"))
	var ops []Op
	for i := range MaxTxnOps {
		ops = append(ops, put(fmt.Sprintf("%sn%03d", p, i), "v"))
	}
	second := mustTxn(t, s, ops...)
	third := mustTxn(t, s, Op{Key: p + "a", Delete: true}, put(p+"b", "2"))
	events := w.next(t, MaxTxnOps+2)
	for _, e := range events[:MaxTxnOps] {
		require.Equal(t, second, e.ModRevision)
		require.False(t, e.Deleted)
	}
	require.Equal(t, Event{KV: KV{Key: p + "a", ModRevision: third}, Deleted: true}, events[MaxTxnOps])
	require.Equal(t, "2", string(events[MaxTxnOps+1].Value))
	cancel()
	require.ErrorIs(t, <-w.ended, context.Canceled)
}

func testStoreWatchFrom(t *testing.T, s Store, p string) {
	ctx, cancel := context.WithCancel(t.Context())
	first := mustTxn(t, s, put(p+"a", "1"))
	second := mustTxn(t, s, put(p+"a", "2"))
	past := watch(ctx, s, p, first)
	require.Equal(t, []int64{first, second}, revisions(past.next(t, 2)))
	future := watch(ctx, s, p, second+2)
	mustTxn(t, s, put(p+"a", "3"))
	fourth := mustTxn(t, s, put(p+"a", "4"))
	require.Equal(t, []int64{fourth}, revisions(future.next(t, 1)))
	past.next(t, 2)
	cancel()
	<-past.ended
	<-future.ended
}

func revisions(events []Event) []int64 {
	var out []int64
	for _, e := range events {
		out = append(out, e.ModRevision)
	}
	return out
}

func testStoreWatchEnds(t *testing.T, s Store, p string) {
	stop := errors.New("enough")
	from := mustTxn(t, s, put(p+"a", "1"))
	require.ErrorIs(t, s.Watch(t.Context(), p, from, func([]Event) error { return stop }), stop)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.Watch(ctx, p, from+1, func([]Event) error { return nil }), context.Canceled)
}

func testStoreCompaction(t *testing.T, s Store, p string, compact func(int64)) {
	ctx, cancel := context.WithCancel(t.Context())
	first := mustTxn(t, s, put(p+"a", "1"))
	second := mustTxn(t, s, put(p+"a", "2"), put(p+"b", "2"))
	third := mustTxn(t, s, put(p+"a", "3"), Op{Key: p + "b", Delete: true})
	compact(second)
	_, err := s.Range(ctx, Range{Prefix: p, Revision: first})
	require.ErrorIs(t, err, ErrCompacted)
	require.ErrorIs(t, s.Watch(ctx, p, first, func([]Event) error { return nil }), ErrCompacted)
	require.Equal(t, []string{"a=2", "b=2"}, list(t, s, p, second))
	require.Equal(t, []string{"a=3"}, list(t, s, p, 0))
	w := watch(ctx, s, p, third)
	require.Equal(t, []int64{third, third}, revisions(w.next(t, 2)))
	cancel()
	<-w.ended
}
