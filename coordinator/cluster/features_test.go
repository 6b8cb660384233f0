package cluster

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestAClusterFoundedEarlierIsRaisedToTheFeaturesOfItsBrokers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := NewMemory()
		core, logged := observer.New(zap.InfoLevel)
		with := func(levels map[string]int16) func(*Options) {
			return func(o *Options) { o.Features, o.Log = levels, zap.New(core) }
		}
		raised := func() int { return logged.FilterMessageSnippet("are raised").Len() }
		first, _ := join(t, store, 1, with(map[string]int16{"metadata.version": 29}))
		require.Zero(t, raised(), "it was founded so")

		second, _ := join(t, store, 2, with(map[string]int16{"metadata.version": 33, "share.version": 2}))
		want := map[string]int16{"metadata.version": 33, "share.version": 2}
		require.Equal(t, want, second.Image().Features)
		synctest.Wait()
		require.Equal(t, want, first.Image().Features, "all brokers see it")
		require.Equal(t, 1, raised())

		third, _ := join(t, store, 3, with(map[string]int16{"metadata.version": 30, "other.version": 1}))
		require.Equal(t, map[string]int16{"metadata.version": 33, "share.version": 2, "other.version": 1}, third.Image().Features, "nothing is lowered")
		require.Equal(t, 2, raised())
		join(t, store, 4, with(want))
		join(t, store, 5, with(nil))
		require.Equal(t, 2, raised())
	})
}

func TestFeaturesThatCannotBeReadAreLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := NewMemory()
		join(t, store, 1)
		key := keys(DefaultPrefix).features()
		_, err := store.Txn(t.Context(), Txn{Then: []Op{{Key: key, Value: []byte("{")}}})
		require.NoError(t, err)
		join(t, store, 2, func(o *Options) { o.Features = map[string]int16{"share.version": 2} })
		kv, err := get(t.Context(), store, key)
		require.NoError(t, err)
		require.Equal(t, "{", string(kv.Value))
	})
}
