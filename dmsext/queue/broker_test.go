package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemark-mq/tidemark/broker"
)

// startBroker starts a real broker in the test's process, on a directory that outlives it.
func startBroker(t *testing.T, dir string) (b *broker.Broker, stop func()) {
	t.Helper()
	b, err := broker.Start(t.Context(), broker.Options{DataDir: dir, Listen: []string{"127.0.0.1:0"}, BrokerID: 1})
	require.NoError(t, err)
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			require.NoError(t, b.Stop(ctx))
		}
	}
	t.Cleanup(stop)
	return b, stop
}

// TestOnABroker goes through what a queue is for on a real broker, across a restart of it.
func TestOnABroker(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a broker twice")
	}
	dir := t.TempDir()
	b, stop := startBroker(t, dir)
	w := &world{T: t, ctx: t.Context(), Service: New(Options{Broker: b})}
	soon := func(r *Receive) { r.Wait = 10 * time.Second }

	normal, normalGroup := w.queue(NewQueue{Name: "normal"})
	for i := range 9 {
		w.send(normal, fmt.Sprint(3*i), fmt.Sprint(3*i+1), fmt.Sprint(3*i+2))
	}
	seen := map[string]bool{}
	for len(seen) < 27 {
		got := w.receive(normal, normalGroup, soon)
		require.NotEmpty(t, got)
		all := make([]bool, len(got))
		for i, m := range got {
			require.False(t, seen[string(m.Body)])
			seen[string(m.Body)], all[i] = true, true
		}
		result, err := w.Ack(w.ctx, project, normal, normalGroup, false, handles(got, all...))
		require.NoError(t, err)
		require.Equal(t, AckResult{Success: len(got)}, result)
		_, err = w.Ack(w.ctx, project, normal, normalGroup, false, handles(got, all...))
		require.Equal(t, CodeHandle, code(t, err))
	}
	w.counts(normal, Group{Produced: 27, Consumed: 27})

	fifo, fifoGroup := w.queue(NewQueue{Name: "fifo", Mode: FIFO, Redrive: true, MaxConsumeCount: 2})
	sent := w.send(fifo, `1`, `2`, `3`, `4`)
	got := w.receive(fifo, fifoGroup, soon)
	require.Equal(t, "1 2 3 4", bodies(got))
	require.Equal(t, sent[3].ID, got[3].ID)
	require.Empty(t, w.receive(fifo, fifoGroup), "nothing past what is not settled")
	result, err := w.Ack(w.ctx, project, fifo, fifoGroup, false, handles(got, true, false))
	require.NoError(t, err)
	require.Equal(t, AckResult{1, 1}, result)
	got = w.receive(fifo, fifoGroup, soon)
	require.Equal(t, "2 3 4", bodies(got))
	require.Equal(t, 2, got[0].Deliveries)
	_, err = w.Ack(w.ctx, project, fifo, fifoGroup, false, handles(got, false))
	require.NoError(t, err)
	got = w.receive(fifo, fifoGroup, soon)
	require.Equal(t, "3 4", bodies(got), "it has stepped aside")
	dead := w.receive(fifo, fifoGroup, soon, func(r *Receive) { r.DeadLetters = true })
	require.Equal(t, "2", bodies(dead))
	require.Equal(t, sent[1].ID, dead[0].ID)
	w.counts(fifo, Group{Produced: 4, Consumed: 2, Available: 2, InFlight: 2, ProducedDeadLetters: 1, AvailableDeadLetters: 1})

	stop()
	b, _ = startBroker(t, dir)
	w.Service = New(Options{Broker: b})
	require.NoError(t, w.Resume(w.ctx))
	_, err = w.Ack(w.ctx, project, fifo, fifoGroup, false, handles(got, true, true))
	require.NoError(t, err, "handles outlive a restart")
	_, err = w.Ack(w.ctx, project, fifo, fifoGroup, true, handles(dead, true))
	require.NoError(t, err)
	w.counts(fifo, Group{Produced: 4, Consumed: 4, ProducedDeadLetters: 1})

	labels, labelsGroup := w.queue(NewQueue{Name: "labels", Mode: FIFO})
	_, err = w.Send(w.ctx, project, labels, []Message{
		{Body: json.RawMessage(`1`), Labels: []string{"eu"}}, {Body: json.RawMessage(`2`), Labels: []string{"us"}},
		{Body: json.RawMessage(`{"later": true}`), Labels: []string{"eu"}, Attributes: []Attribute{{"a", json.RawMessage(`1`)}}, Delay: 500 * time.Millisecond},
	})
	require.NoError(t, err)
	eu := func(r *Receive) { r.Labels = []string{"eu"} }
	got = w.receive(labels, labelsGroup, soon, eu)
	require.Equal(t, "1", bodies(got))
	_, err = w.Ack(w.ctx, project, labels, labelsGroup, false, handles(got, true))
	require.NoError(t, err)
	got = w.receive(labels, labelsGroup, soon, eu)
	require.Equal(t, `{"later": true}`, bodies(got))
	require.Len(t, got[0].Attributes, 1)
	w.counts(labels, Group{Produced: 3, Consumed: 1, Available: 1, InFlight: 1, Filtered: 1})
	leases, _, err := w.Leases(w.ctx, project, labels, labelsGroup, false, 10)
	require.NoError(t, err)
	require.Len(t, leases, 1)
	require.NoError(t, w.SettleLease(w.ctx, project, labels, labelsGroup, ForcedSettle{Partition: leases[0].Partition, Offset: leases[0].First, Action: ReleaseLease}))
	require.NoError(t, w.Purge(w.ctx, project, labels))
	require.Empty(t, w.receive(labels, labelsGroup, eu))
	w.counts(labels, Group{Consumed: 1, Filtered: 1, Skipped: 1})

	kafka, kafkaGroup := w.queue(NewQueue{Name: "kafka", Mode: KafkaHT, RetentionHours: 1})
	w.send(kafka, `"k"`)
	require.Equal(t, `"k"`, bodies(w.receive(kafka, kafkaGroup, soon)))

	for _, id := range []string{normal, fifo, labels, kafka} {
		require.NoError(t, w.DeleteQueue(w.ctx, project, id))
	}
	list, err := w.Queues(w.ctx, project)
	require.NoError(t, err)
	require.Empty(t, list)
	all, err := w.allTopics(w.ctx)
	require.NoError(t, err)
	require.Empty(t, all, "no topic of a queue is left")
	groups := kmsg.NewPtrListGroupsRequest()
	groups.Version = 5
	listed, err := ask[*kmsg.ListGroupsResponse](w.ctx, w.Service, groups)
	require.NoError(t, err)
	require.Empty(t, listed.Groups, "no group either")
	resources := kmsg.NewPtrListConfigResourcesRequest()
	resources.Version, resources.ResourceTypes = 1, []int8{int8(kmsg.ConfigResourceTypeGroupConfig)}
	configured, err := ask[*kmsg.ListConfigResourcesResponse](w.ctx, w.Service, resources)
	require.NoError(t, err)
	require.Empty(t, configured.ConfigResources, "nor settings of one")
}

// counts waits for the numbers of a queue's only group to be these: what became of a dead letter is settled after it can be read.
func (w *world) counts(queue string, want Group) {
	w.Helper()
	require.EventuallyWithT(w, func(c *assert.CollectT) {
		list, err := w.Groups(w.ctx, project, queue, GroupsQuery{Counts: true})
		require.NoError(c, err)
		got := list.Groups[0]
		want.ID, want.Name, want.Created = got.ID, got.Name, got.Created
		require.Equal(c, want, got)
	}, 10*time.Second, 10*time.Millisecond)
}
