package cluster

import (
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

func TestConfigsChangeAsAWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := NewMemory()
		c, _ := join(t, store, 1)
		set := func(kind, name string, values map[string]string) error {
			return c.AlterConfigs(t.Context(), kind, name, func(map[string]string) (map[string]string, error) { return values, nil })
		}
		for _, name := range []string{DefaultName, "1", "a/b/\x00ü"} {
			require.NoError(t, set("broker", name, map[string]string{"x": name}))
			require.Equal(t, map[string]string{"x": name}, c.Image().Config("broker", name))
		}
		require.Equal(t, []string{DefaultName, "1", "a/b/\x00ü"}, c.Image().ConfigNames("broker"))
		require.Empty(t, c.Image().ConfigNames("group"))
		require.NoError(t, set("broker", "1", nil))
		require.Nil(t, c.Image().Config("broker", "1"))
		revision := c.Image().Revision
		require.NoError(t, set("broker", DefaultName, map[string]string{"x": ""}), "the same again")
		require.Equal(t, revision, c.Image().Revision)

		require.ErrorIs(t, set(KindTopic, "none", map[string]string{"a": "b"}), ErrUnknownTopic)
		_, err := c.CreateTopic(t.Context(), topicOf(1, 1))
		require.NoError(t, err)
		require.NoError(t, set(KindTopic, "t", map[string]string{"a": "b"}))
		require.ErrorIs(t, set(KindTopic, "t", map[string]string{"a": strings.Repeat("x", maxConfigValue)}), ErrTooLarge)
		stop := errors.New("not so")
		require.ErrorIs(t, c.AlterConfigs(t.Context(), KindTopic, "t", func(map[string]string) (map[string]string, error) { return nil, stop }), stop)
		require.Equal(t, map[string]string{"a": "b"}, c.Image().Config(KindTopic, "t"))
	})
}

func TestConcurrentConfigChangesLoseNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := NewMemory()
		c1, _ := join(t, store, 1)
		c2, _ := join(t, store, 2)
		var tasks sync.WaitGroup
		for i := range 10 {
			for j, c := range []*Cluster{c1, c2} {
				tasks.Go(func() {
					key := strconv.Itoa(2*i + j)
					for {
						err := c.AlterConfigs(t.Context(), "broker", "", func(now map[string]string) (map[string]string, error) {
							now[key] = "set"
							return now, nil
						})
						if !errors.Is(err, ErrConflict) {
							require.NoError(t, err)
							require.Equal(t, "set", c.Image().Config("broker", "")[key])
							return
						}
					}
				})
			}
		}
		tasks.Wait()
		require.Len(t, until(t, c1, func(im *Image) bool { return im.Revision >= c2.Image().Revision }).Config("broker", ""), 20)
	})
}

func TestProducerIDsAreGivenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := NewMemory()
		c1, line1 := join(t, store, 1)
		c2, _ := join(t, store, 2)
		given := map[int64]bool{}
		for range 5 {
			for _, c := range []*Cluster{c1, c2} {
				first, n, err := c.AllocateProducerIDs(t.Context())
				require.NoError(t, err)
				require.Equal(t, ProducerIDBlock, n)
				require.False(t, given[first])
				require.Zero(t, first%ProducerIDBlock)
				given[first] = true
			}
		}
		require.True(t, given[0])
		line1.cutAfter(0, true) // performed, not answered: a hole, not a repetition
		_, _, err := c1.AllocateProducerIDs(t.Context())
		require.ErrorIs(t, err, ErrUnavailable)
		first, _, err := c2.AllocateProducerIDs(t.Context())
		require.NoError(t, err)
		require.Equal(t, int64(11*ProducerIDBlock), first)

		for _, value := range []string{`{"next":9223372036854775000}`, `{"next":-5}`} {
			mustTxn(t, store, put(DefaultPrefix+"producer-ids", value))
			_, _, err = c2.AllocateProducerIDs(t.Context())
			require.ErrorIs(t, err, ErrNoMoreProducerIDs)
		}
		mustTxn(t, store, put(DefaultPrefix+"producer-ids", `nonsense`))
		_, _, err = c2.AllocateProducerIDs(t.Context())
		require.ErrorIs(t, err, errMalformed)
	})
}

func TestProposalsAreComparedWithWhatIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := NewMemory()
		c1, _ := join(t, store, 1)
		c2, line2 := join(t, store, 2)
		spec := TopicSpec{Name: "t", Partitions: -1, ReplicationFactor: -1, Assignments: []Assignment{{Replicas: []int32{2, 1}}}}
		topic, err := c1.CreateTopic(t.Context(), spec)
		require.NoError(t, err)
		until(t, c2, func(im *Image) bool { return im.Topic("t") != nil })
		was := topic.Partitions[0]

		for _, wrong := range []Proposal{{was.Revision, 2, nil}, {was.Revision, 2, []int32{2, 3}}, {was.Revision, 2, []int32{2, 2}}, {was.Revision, 1, []int32{2}}} {
			_, err := c2.AlterPartition(t.Context(), topic.ID, 0, wrong)
			require.ErrorIs(t, err, ErrInvalidRequest)
		}
		_, err = c2.AlterPartition(t.Context(), topic.ID, 1, Proposal{})
		require.ErrorIs(t, err, ErrUnknownPartition)

		shrunk, err := c2.AlterPartition(t.Context(), topic.ID, 0, Proposal{Revision: was.Revision, Leader: 2, ISR: []int32{2}})
		require.NoError(t, err)
		requirePartition(t, shrunk, 2, 0, 1, []int32{2})
		require.Equal(t, shrunk, c2.Image().Topic("t").Partitions[0])
		_, err = c2.AlterPartition(t.Context(), topic.ID, 0, Proposal{Revision: was.Revision, Leader: 2, ISR: []int32{2, 1}})
		require.ErrorIs(t, err, ErrStalePartition)

		// The watch lags: the key changed, the image does not show it yet. The answer waits until it does.
		key := keys(DefaultPrefix).partition(topic.ID, 0)
		held := make(chan struct{})
		c2.OnChange(func(_, im *Image) {
			if p := im.partition(topic.ID, 0); p != nil && p.PartitionEpoch == 7 {
				<-held
			}
		})
		now := mustTxn(t, store, Op{Key: key, Value: encode(partitionRecord{Leader: 2, PartitionEpoch: 7, Replicas: []int32{2, 1}, ISR: []int32{2, 1}})})
		synctest.Wait()
		res := make(chan error)
		go func() {
			_, err := c2.AlterPartition(t.Context(), topic.ID, 0, Proposal{Revision: shrunk.Revision, Leader: 2, ISR: []int32{2, 1}})
			res <- err
		}()
		synctest.Wait()
		close(held)
		require.ErrorIs(t, <-res, ErrStalePartition)
		require.Equal(t, now, c2.Image().Topic("t").Partitions[0].Revision)

		// A broker that is not registered any more proposes nothing.
		line2.cutNow()
		until(t, c1, func(im *Image) bool { return im.Broker(2) == nil })
		p := until(t, c1, func(im *Image) bool { return im.Topic("t").Partitions[0].Leader == 1 }).Topic("t").Partitions[0]
		requirePartition(t, p, 1, 1, 8, []int32{1})
		_, err = c2.AlterPartition(t.Context(), topic.ID, 0, Proposal{Revision: now, Leader: 2, ISR: []int32{2}})
		require.ErrorIs(t, err, ErrFenced)
	})
}
