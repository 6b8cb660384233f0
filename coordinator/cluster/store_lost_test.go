package cluster

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// copyOf is the state of a store as it is now, without leases: a backup.
func copyOf(t *testing.T, from *Memory) *Memory {
	t.Helper()
	from.mu.Lock()
	defer from.mu.Unlock()
	backup := NewMemory()
	backup.revision, backup.compacted = from.revision, from.revision
	for key, versions := range from.keys {
		last := versions[len(versions)-1]
		if !last.deleted && last.Lease == 0 {
			last.Value = bytes.Clone(last.Value)
			backup.keys[key] = []version{last}
		}
	}
	return backup
}

// TestStoreThatLostTheCluster: a broker whose etcd comes back without what the broker saw in it stays fenced and says why; nothing of the
// cluster is made anew there.
func TestStoreThatLostTheCluster(t *testing.T) {
	for name, lost := range map[string]struct {
		store func(before *Memory) *Memory
		says  string
	}{
		"emptied":              {func(*Memory) *Memory { return NewMemory() }, "etcd was emptied or replaced"},
		"restored from backup": {func(before *Memory) *Memory { return before }, "it was restored from a backup"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := NewMemory()
				core, logs := observer.New(zapcore.WarnLevel)
				c, line := join(t, store, 1, func(o *Options) { o.Log = zap.New(core) })
				backup := copyOf(t, store)
				for _, topic := range []string{"t", "u", "v"} {
					_, err := c.CreateTopic(t.Context(), TopicSpec{Name: topic, Partitions: 1, ReplicationFactor: 1})
					require.NoError(t, err)
				}

				other := lost.store(backup)
				keys := len(other.keys)
				line.cutNow()
				line.Store = other
				line.mend()
				_, _, err := c.AllocateProducerIDs(t.Context())
				if name == "emptied" {
					require.Error(t, err, "ids would be given out twice")
					require.Error(t, c.AlterConfigs(t.Context(), "broker", "", func(map[string]string) (map[string]string, error) {
						return map[string]string{"a": "b"}, nil
					}))
					require.Empty(t, keysLeft(t, other, ""))
					keys = 0
				} else {
					require.NoError(t, err)
					keys++
				}
				time.Sleep(time.Minute)
				require.False(t, c.Active())
				require.Len(t, keysLeft(t, other, ""), keys)
				last := logs.FilterMessage("lease not renewed").All()
				require.NotEmpty(t, last)
				require.Contains(t, last[len(last)-1].ContextMap()["error"], lost.says)

				line.cutNow() // the true store comes back
				line.Store = store
				line.mend()
				time.Sleep(time.Minute)
				require.True(t, c.Active())
				require.NotNil(t, c.Image().Topic("t"))
				require.NoError(t, c.Close(context.Background()))
			})
		})
	}
}

// TestUnreadableKeysCostNoOthers: a key that cannot be read, by the slip of somebody's hand, hides its topic; the topic's other keys stay, so
// that mending the one brings it back.
func TestUnreadableKeysCostNoOthers(t *testing.T) {
	for _, key := range []string{"partitions/%v/1", "topics/t"} {
		t.Run(key, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := NewMemory()
				c, line := join(t, store, 1)
				topic, err := c.CreateTopic(t.Context(), topicOf(3, 1))
				require.NoError(t, err)
				if strings.Contains(key, "%v") {
					key = fmt.Sprintf(key, topic.ID)
				}
				whole, err := get(t.Context(), store, DefaultPrefix+key)
				require.NoError(t, err)
				die(t, c, line)
				mustTxn(t, store, put(DefaultPrefix+key, "{"))

				next, line := join(t, store, 1)
				_, err = next.CreateTopic(t.Context(), TopicSpec{Name: "u", Partitions: 1, ReplicationFactor: 1})
				require.NoError(t, err)
				require.Nil(t, next.Image().Topic("t"))
				require.True(t, next.Image().Incomplete)
				require.Len(t, keysLeft(t, store, "partitions/"), 4)

				mustTxn(t, store, put(DefaultPrefix+key, string(whole.Value)))
				synctest.Wait()
				require.Len(t, next.Image().Topic("t").Partitions, 3)
				require.False(t, next.Image().Incomplete)
				die(t, next, line)
			})
		})
	}
}

// TestUnreadableKeysDeleteNothingOnReload: a load amid the life of a broker, after its place in the history was compacted away, goes on showing
// what it cannot read.
func TestUnreadableKeysDeleteNothingOnReload(t *testing.T) {
	for _, dir := range []string{"partitions/", "topics/"} {
		t.Run(dir, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := NewMemory()
				c, line := join(t, store, 1)
				topic, err := c.CreateTopic(t.Context(), topicOf(3, 1))
				require.NoError(t, err)
				c.OnChange(func(old, now *Image) { require.NotNil(t, now.Topic("t")) })

				line.cutNow()
				at := mustTxn(t, store, put(DefaultPrefix+keysLeft(t, store, dir)[0], "{"), put("elsewhere", ""))
				store.Compact(at)
				line.mend()
				time.Sleep(time.Minute)
				synctest.Wait()
				require.GreaterOrEqual(t, c.Image().Revision, at)
				require.Equal(t, topic.ID, c.Image().Topic("t").ID)
				_, err = c.CreateTopic(t.Context(), TopicSpec{Name: "u", Partitions: 1, ReplicationFactor: 1})
				require.NoError(t, err)
				require.Len(t, keysLeft(t, store, "partitions/"), 4)
				require.Len(t, c.Image().Topic("t").Partitions, 3)
			})
		})
	}
}
