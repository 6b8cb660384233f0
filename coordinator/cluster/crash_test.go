package cluster

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/protocol/uuid"
)

// TestChangesCutAnywhere cuts the controller off at every transaction of a large creation, growth or deletion, with and without that
// transaction performed. The next controller finds the change whole or not at all, and removes what was left over.
func TestChangesCutAnywhere(t *testing.T) {
	const many = 700 // six transactions
	changes := map[string]func(ctx context.Context, c *Cluster) error{
		"create": func(ctx context.Context, c *Cluster) error {
			_, err := c.CreateTopic(ctx, TopicSpec{Name: "new", Partitions: many, ReplicationFactor: 1, Configs: map[string]string{"a": "b"}})
			return err
		},
		"grow": func(ctx context.Context, c *Cluster) error {
			_, err := c.CreatePartitions(ctx, PartitionsSpec{Topic: "t", Count: 2 * many})
			return err
		},
		"delete": func(ctx context.Context, c *Cluster) error { return c.DeleteTopic(ctx, c.Image().Topic("t").ID) },
	}
	for what, change := range changes {
		for cut := 0; ; cut++ {
			done := true
			for _, answerLost := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s cut at %d, answer lost %v", what, cut, answerLost), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { done = cutChange(t, change, many, cut, answerLost) && done })
				})
			}
			if done {
				break
			}
			require.Less(t, cut, 50)
		}
	}
}

func cutChange(t *testing.T, change func(context.Context, *Cluster) error, many int32, cut int, answerLost bool) (done bool) {
	store := NewMemory()
	c, line := join(t, store, 1)
	_, err := c.CreateTopic(t.Context(), topicOf(many, 1))
	require.NoError(t, err)
	synctest.Wait()

	line.cutAfter(cut, answerLost)
	failed := make(chan error)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { failed <- change(ctx, c) }()
	synctest.Wait()
	cancel() // an operation whose change was done, but whose watch is cut, waits for the image
	err = <-failed
	done = err == nil
	die(t, c, line)

	next, _ := join(t, store, 1, unclean)
	im := next.Image()
	for topic := range im.Topics() {
		want := many
		if topic.Name == "t" && len(topic.Partitions) > int(many) {
			want = 2 * many
		}
		require.Len(t, topic.Partitions, int(want), topic.Name)
	}
	require.Len(t, keysLeft(t, store, "partitions/"), im.NumPartitions(), "no orphans once the office is taken")
	for _, name := range keysLeft(t, store, "configs/topic/") {
		require.NotNil(t, im.Topic(name[len("configs/topic/"):]))
	}
	_, err = next.CreateTopic(t.Context(), TopicSpec{Name: "after", Partitions: 300, ReplicationFactor: 1})
	require.NoError(t, err)
	return done
}

// TestLostAnswerDoesNotHaunt: the transaction that was to end a creation got no answer. The same controller goes on, with the old transaction
// either performed or made impossible.
func TestLostAnswerDoesNotHaunt(t *testing.T) {
	for cut := range 7 {
		for _, answerLost := range []bool{false, true} {
			t.Run(fmt.Sprintf("cut at %d, answer lost %v", cut, answerLost), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					store := NewMemory()
					c, line := join(t, store, 1)
					line.cutAfter(cut, answerLost)
					res := make(chan error)
					go func() {
						_, err := c.CreateTopic(t.Context(), topicOf(700, 1))
						res <- err
					}()
					synctest.Wait()
					epoch := c.Image().ControllerEpoch
					line.mend()
					if err := <-res; err != nil {
						require.ErrorIs(t, err, ErrUnavailable)
						until(t, c, func(im *Image) bool { return im.ControllerEpoch > epoch && !c.view.hasLoose() })
					}
					topic, err := c.CreateTopic(t.Context(), topicOf(700, 1))
					if errors.Is(err, ErrTopicExists) {
						require.NotNil(t, c.Image().Topic("t"), "it was performed after all")
					} else {
						require.NoError(t, err)
						require.Len(t, topic.Partitions, 700)
					}
					require.Len(t, keysLeft(t, store, "partitions/"), 700)
				})
			})
		}
	}
}

// TestCallerWhoGaveUp: the topic is made although its caller left; what follows builds on it.
func TestCallerWhoGaveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := NewMemory()
		c, _ := join(t, store, 1)
		held := make(chan struct{})
		c.OnChange(func(_, im *Image) {
			if im.Topic("t") != nil {
				<-held
			}
		})
		ctx, cancel := context.WithCancel(t.Context())
		res := make(chan error)
		go func() {
			_, err := c.CreateTopic(ctx, topicOf(300, 1))
			res <- err
		}()
		synctest.Wait()
		cancel()
		require.ErrorIs(t, <-res, context.Canceled)
		close(held)
		_, err := c.CreateTopic(t.Context(), topicOf(300, 1))
		require.ErrorIs(t, err, ErrTopicExists)
		require.Len(t, keysLeft(t, store, "partitions/"), 300)
	})
}

func TestImageIsReadyWhenShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := join(t, NewMemory(), 1)
		_, err := c.CreateTopic(t.Context(), topicOf(1, 1))
		require.NoError(t, err)
		var order []string
		var last *Image
		for _, name := range []string{"a", "b"} {
			c.OnChange(func(old, im *Image) {
				order = append(order, name)
				if im.Topic("u") != nil {
					require.Nil(t, c.Image().Topic("u"), "not shown before all callbacks ran")
				}
				if name == "a" && last != nil {
					require.Same(t, last, old, "no gap between images")
				}
				if name == "a" {
					last = im
				}
			})
		}
		require.Equal(t, []string{"a", "b"}, order, "each is called with what is there")
		require.NotNil(t, last.Topic("t"))
		_, err = c.CreateTopic(t.Context(), TopicSpec{Name: "u", Partitions: 300, ReplicationFactor: 1})
		require.NoError(t, err)
		require.Same(t, last, c.Image())
		for i := range len(order) / 2 {
			require.Equal(t, []string{"a", "b"}, order[2*i:2*i+2])
		}
	})
}

func TestWatcherReloadsAfterCompaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := NewMemory()
		c1, _ := join(t, store, 1)
		c2, line2 := join(t, store, 2)
		for _, name := range []string{"stays", "goes", "grows", "comes-back"} {
			_, err := c1.CreateTopic(t.Context(), TopicSpec{Name: name, Partitions: 2, ReplicationFactor: 1, Configs: map[string]string{"k": name}})
			require.NoError(t, err)
		}
		before := until(t, c2, func(im *Image) bool { return im.NumTopics() == 4 })
		var changed map[string][2]int
		var configs []string
		c2.OnChange(func(old, im *Image) {
			changed, configs = map[string][2]int{}, nil
			for was, is := range im.TopicChanges(old) {
				name, entry := "", [2]int{}
				if was != nil {
					name, entry[0] = was.Name, len(was.Partitions)
				}
				if is != nil {
					name, entry[1] = is.Name, len(is.Partitions)
				}
				changed[fmt.Sprint(name, was == nil)] = entry
			}
			for kind, name := range im.ConfigChanges(old) {
				configs = append(configs, kind+"/"+name)
			}
		})

		line2.cutNow()
		synctest.Wait() // its watch has ended
		require.NoError(t, c1.DeleteTopics(t.Context(), []uuid.ID{before.Topic("goes").ID, before.Topic("comes-back").ID})[0])
		_, err := c1.CreatePartitions(t.Context(), PartitionsSpec{Topic: "grows", Count: 3})
		require.NoError(t, err)
		_, err = c1.CreateTopic(t.Context(), TopicSpec{Name: "comes-back", Partitions: 1, ReplicationFactor: 1})
		require.NoError(t, err)
		store.Compact(c1.Image().Revision)
		line2.mend()
		after := until(t, c2, func(im *Image) bool { return im.Revision >= c1.Image().Revision })

		require.Same(t, before.Topic("stays"), after.Topic("stays"), "what did not change is the same")
		require.Equal(t, map[string][2]int{"goesfalse": {2, 0}, "growsfalse": {2, 3}, "comes-backfalse": {2, 0}, "comes-backtrue": {0, 1}}, changed)
		require.ElementsMatch(t, []string{"topic/goes", "topic/comes-back"}, configs)
		require.Equal(t, 6, after.NumPartitions())
	})
}
