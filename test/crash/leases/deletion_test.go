package leases

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/coordinator/cluster"
	"github.com/tidemark-mq/tidemark/coordinator/share"
	"github.com/tidemark-mq/tidemark/dmsext/queue"
	"github.com/tidemark-mq/tidemark/protocol/private"
	"github.com/tidemark-mq/tidemark/protocol/uuid"
	"github.com/tidemark-mq/tidemark/test/simulation"
)

// busy is a queue in the middle of everything: some messages are leased, some are dead letters, of which one is leased and others
// are being copied, some are delayed.
type busy struct {
	*graveyard
	late *delayed
}

func (w *world) busy() *busy {
	w.t.Helper()
	b := &busy{graveyard: w.graveyard(2)}
	q := b.q
	b.late = w.delayed(q)
	b.late.send("late", 20*time.Second)
	b.late.send("later", time.Hour)
	ctx, cancel := w.ctx()
	defer cancel()
	got, err := w.queues.Receive(ctx, project, q.id, q.group, queue.Receive{Max: 1, Wait: time.Second, AckWait: time.Minute, DeadLetters: true})
	require.NoError(w.t, err)
	require.Len(w.t, got, 1)
	b.fail() // not waited for
	return b
}

// bystander is another queue, with a lease and a delayed message; it must not notice anything.
type bystander struct {
	*ledger
	late *delayed
}

func (w *world) bystander() *bystander {
	w.t.Helper()
	q := w.queue(queue.NewQueue{Name: "others"})
	w.fill(q, 3)
	b := &bystander{ledger: w.ledger(q, 3), late: w.delayed(q)}
	b.late.send("other", 15*time.Second)
	_, err := b.lease("bystander", 2, 50*time.Second, 0)
	require.NoError(w.t, err)
	return b
}

func (b *bystander) untouched() {
	b.w.t.Helper()
	require.NoError(b.w.t, b.settle("bystander", private.Accept, 0, 0, 1))
	b.late.all()
	require.Len(b.w.t, b.late.accepted, 1)
	require.EqualValues(b.w.t, 2, b.w.count(b.q).Accepted)
}

// own are the keys of metadata that belong to brokers, not to queues: sessions, the controller, what handles are signed with.
var own = regexp.MustCompile(`/(brokers/|controller|producer-ids|documents/secrets/handles)`)

// kept are the keys of the cluster's metadata that are of something which users made.
func (w *world) kept() (keys []string) {
	w.t.Helper()
	got, err := w.Metadata.Range(context.Background(), cluster.Range{})
	require.NoError(w.t, err)
	for _, kv := range got.KVs {
		if !own.MatchString(kv.Key) {
			keys = append(keys, kv.Key)
		}
	}
	return keys
}

// groupNames are all groups that the broker lists.
func (w *world) groupNames() (names []string) {
	w.t.Helper()
	w.Patiently(func() error {
		req := kmsg.NewPtrListGroupsRequest()
		req.Version = 5
		resp, err := ask[*kmsg.ListGroupsResponse](w, req)
		if err != nil {
			return err
		}
		names = nil
		for _, g := range resp.Groups {
			names = append(names, g.Group)
		}
		return simulation.Refusal(resp.ErrorCode, "list groups")
	})
	slices.Sort(names)
	return names
}

// stateless tells whether a group has no state for a topic.
func (w *world) stateless(group string, topic uuid.ID) bool {
	w.t.Helper()
	var start int64
	w.Patiently(func() error {
		done := make(chan error, 1)
		w.Shares.Summary(share.Key{Group: group, Topic: topic}, func(s share.Stored, err error) {
			start = s.Start
			done <- err
		})
		return <-done
	})
	return start == -1
}

// logs are the directories of partitions on the disk.
func (w *world) logs() (names []string) {
	w.t.Helper()
	all, err := w.Disk().List(simulation.Dir)
	require.NoError(w.t, err)
	for _, name := range all {
		if info, err := w.Disk().Stat(simulation.Dir + "/" + name); err == nil && info.IsDir() {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// before is what there was without the queue that is to be deleted.
type before struct{ keys, groups, logs []string }

func (w *world) before() before { return before{w.kept(), w.groupNames(), w.logs()} }

// resumed goes on with what was interrupted, as a start does.
func (w *world) resumed() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	require.NoError(w.t, w.queues.Resume(ctx))
}

// is checks that all is as it was before.
func (b before) is(w *world) {
	w.t.Helper()
	require.Equal(w.t, b.keys, w.kept(), "metadata")
	require.Equal(w.t, b.groups, w.groupNames(), "groups")
	w.eventually("the end of the logs", func() bool { return slices.Equal(b.logs, w.logs()) })
}

// TestRule3ADeletedQueueIsGone deletes a queue in the middle of everything. Once it is marked it is gone for everybody, and after a
// cut anywhere the next start goes on until nothing of it is left; before that it is as it was. No other queue is touched.
func TestRule3ADeletedQueueIsGone(t *testing.T) {
	s := func(w *world) (run, check func()) {
		other := w.bystander()
		was := w.before()
		b := w.busy()
		q := b.q
		topics := [...]uuid.ID{q.topic, w.Cluster.Image().Topic(q.dlq()).ID}
		deleted := false
		remove := func() error {
			ctx, cancel := w.ctx()
			defer cancel()
			return w.queues.DeleteQueue(ctx, project, q.id)
		}
		run = func() { deleted = remove() == nil }
		return run, func() {
			ctx, cancel := w.ctx()
			defer cancel()
			_, err := w.queues.Queue(ctx, project, q.id)
			if err == nil { // it was not marked
				require.False(w.t, deleted)
				b.failed()
				require.EqualValues(w.t, 2+buried, b.quiet().DeadLettered)
				require.Len(w.t, b.letters(), 2+buried)
				require.EqualValues(w.t, 2, b.late.waiting())
				require.NoError(w.t, b.settle("holder", private.Accept, 0, b.failing[buried-1]+1))
				require.NoError(w.t, remove())
			} else {
				var missing *queue.Error
				require.True(w.t, errors.As(err, &missing) && missing.Code == queue.CodeQueueNotFound, "%v", err)
			}
			w.resumed()
			w.resumed() // a second time there is nothing to do
			was.is(w)
			for i, topic := range topics {
				w.eventually([]string{"the end of the group's state", "the end of the group's state of dead letters"}[i], func() bool { return w.stateless(q.group, topic) })
				w.eventually("the end of what was delayed", func() bool {
					n, err := w.Delays.Count(topic, 1)
					return err == nil && n == 0
				})
			}
			require.Empty(w.t, w.Read(q.dlq()))
			other.untouched()
			was.is(w)
		}
	}
	t.Run("syncs", func(t *testing.T) { cutAtSyncs(t, 3, s) })
	t.Run("transactions", func(t *testing.T) { cutAtTransactions(t, 4, s) })
}

// TestRule3ADeletedGroupIsGone deletes one of two groups of a queue, with leases and dead letters open. The other goes on, with the
// leases that it has.
func TestRule3ADeletedGroupIsGone(t *testing.T) {
	s := func(w *world) (run, check func()) {
		other := w.bystander()
		b := w.busy()
		q := b.q
		topics := [...]uuid.ID{q.topic, w.Cluster.Image().Topic(q.dlq()).ID}
		sibling := *q
		sibling.group = w.group(q, "audit")
		sl := w.ledger(&sibling, len(b.records))
		_, err := sl.lease("auditor", 4, 50*time.Second, 0)
		require.NoError(w.t, err)
		deleted := false
		remove := func() error {
			ctx, cancel := w.ctx()
			defer cancel()
			return w.queues.DeleteGroup(ctx, project, q.id, q.group)
		}
		run = func() { deleted = remove() == nil }
		return run, func() {
			ctx, cancel := w.ctx()
			defer cancel()
			list, err := w.queues.Groups(ctx, project, q.id, queue.GroupsQuery{})
			require.NoError(w.t, err)
			if len(list.Groups) == 2 { // it was not marked
				require.False(w.t, deleted)
				b.failed()
				require.EqualValues(w.t, 2+buried, b.quiet().DeadLettered)
				require.NoError(w.t, remove())
			}
			w.resumed()
			w.resumed()
			for i, topic := range topics {
				w.eventually([]string{"the end of the group's state", "the end of the group's state of dead letters"}[i], func() bool { return w.stateless(q.group, topic) })
			}
			require.NotContains(w.t, w.groupNames(), q.group)
			require.Nil(w.t, w.Cluster.Image().Topic(q.dlq()))
			require.Empty(w.t, w.Cluster.Image().Config("group", q.group))
			for _, key := range w.kept() {
				require.NotContains(w.t, key, q.group)
			}
			require.EqualValues(w.t, 2, b.late.waiting(), "they are the queue's")
			require.NoError(w.t, sl.settle("auditor", private.Accept, 0, 0, 1, 2, 3))
			sl.check()
			require.EqualValues(w.t, 4, w.count(&sibling).Accepted)
			other.untouched()
		}
	}
	t.Run("syncs", func(t *testing.T) { cutAtSyncs(t, 3, s) })
	t.Run("transactions", func(t *testing.T) { cutAtTransactions(t, 3, s) })
}

// group makes another group of a queue.
func (w *world) group(q *shared, name string) string {
	w.t.Helper()
	ctx, cancel := w.ctx()
	defer cancel()
	g, err := w.queues.CreateGroups(ctx, project, q.id, []string{name})
	require.NoError(w.t, err)
	return g[0].ID
}
