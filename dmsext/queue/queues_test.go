package queue

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark-mq/tidemark/protocol/private"
)

func TestAQueueIsATopicWithTheSettingsOfItsMode(t *testing.T) {
	const forever = "9223372036854775807"
	for _, c := range []struct {
		n          NewQueue
		brokers    int
		prefix     string
		partitions int
		settings   map[string]string
	}{
		{NewQueue{}, 1, "q-", 3, map[string]string{"flush.messages": "1", "retention.ms": "259200000", "max.message.bytes": "2097152"}},
		{NewQueue{Mode: Normal, Partitions: 8}, 1, "q-", 8, nil},
		{NewQueue{Mode: FIFO}, 1, "q-", 1, map[string]string{"flush.messages": "1", "segment.ms": "3600000", "message.timestamp.type": "LogAppendTime"}},
		{NewQueue{Mode: KafkaHA, RetentionHours: 36}, 3, "k-", 3, map[string]string{"flush.messages": "1", "retention.ms": "129600000", "min.insync.replicas": "2", "max.message.bytes": "10489856"}},
		{NewQueue{Mode: KafkaHT}, 1, "k-", 3, map[string]string{"flush.messages": forever, "retention.ms": "259200000"}},
	} {
		w := newWorld(t)
		w.broker.brokers = c.brokers
		c.n.Name = "orders"
		q, err := w.CreateQueue(w.ctx, project, c.n)
		require.NoError(t, err)
		topic := w.broker.topics[c.prefix+project+"-"+q.ID]
		require.NotNil(t, topic, c.n.Mode)
		require.Equal(t, topic.name, q.Topic)
		require.Equal(t, c.n.Mode.Kafka(), q.KafkaTopic != "")
		require.Len(t, topic.partitions, c.partitions)
		for name, value := range c.settings {
			require.Equal(t, value, topic.settings[name], "%s: %s", c.n.Mode, name)
		}
		require.True(t, private.IsQueueTopic(topic.name))
	}
}

func TestAQueueIsShownAsItWasMade(t *testing.T) {
	w := newWorld(t)
	text := "order events"
	id, _ := w.queue(NewQueue{Name: "orders", Mode: FIFO, Description: &text, Redrive: true, MaxConsumeCount: 5})
	w.send(id, `1`, `2`)
	q, err := w.Queue(w.ctx, project, id)
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), q.Created, time.Minute)
	q.Created = time.Time{}
	require.Equal(t, Queue{ID: id, Name: "orders", Mode: FIFO, Description: &text, Retention: 72 * time.Hour, MaxMessageBytes: 524288, Messages: 2, Redrive: true,
		MaxConsumeCount: 5, Groups: 1, Topic: "q-" + project + "-" + id, Partitions: 1}, q)
}

func TestQueuesAreListedTheNewestFirstOfTheirProjectOnly(t *testing.T) {
	now := time.Now().Add(-time.Hour)
	broker := newFake(t)
	w := &world{T: t, ctx: t.Context(), broker: broker, Service: New(Options{Broker: broker, Now: func() time.Time { now = now.Add(time.Second); return now }})}
	first, _ := w.queue(NewQueue{Name: "a"})
	second, _ := w.queue(NewQueue{Name: "b"})
	_, err := w.CreateQueue(w.ctx, "another", NewQueue{Name: "a"})
	require.NoError(t, err)
	w.send(first, `1`)
	list, err := w.Queues(w.ctx, project)
	require.NoError(t, err)
	require.Len(t, list, 2)
	require.Equal(t, []string{second, first}, []string{list[0].ID, list[1].ID})
	require.Equal(t, int64(1), list[1].Messages)

	_, err = w.Queue(w.ctx, "another", first)
	require.Equal(t, CodeQueueNotFound, code(t, err))
	none, err := w.Queues(w.ctx, "nobody")
	require.NoError(t, err)
	require.NotNil(t, none)
	require.Empty(t, none)
}

func TestWhatIsWrongWithANewQueueHasItsCode(t *testing.T) {
	text := func(n int, with string) *string { s := strings.Repeat("ä", n) + with; return &s }
	for _, c := range []struct {
		n    NewQueue
		code int
	}{
		{NewQueue{}, CodeQueueNameLength},
		{NewQueue{Name: strings.Repeat("a", 65)}, CodeQueueNameLength},
		{NewQueue{Name: "a b"}, CodeName},
		{NewQueue{Name: "ä"}, CodeName},
		{NewQueue{Name: "a", Description: text(161, "")}, CodeDescriptionLength},
		{NewQueue{Name: "a", Description: text(10, "<")}, CodeDescription},
		{NewQueue{Name: "a", Description: text(10, ">")}, CodeDescription},
		{NewQueue{Name: "a", Mode: "AMQP"}, CodeFormat},
		{NewQueue{Name: "a", Redrive: true}, CodeMaxConsumeCount},
		{NewQueue{Name: "a", Redrive: true, MaxConsumeCount: 101}, CodeMaxConsumeCount},
		{NewQueue{Name: "a", Mode: KafkaHA, Redrive: true, MaxConsumeCount: 3}, CodeFormat},
		{NewQueue{Name: "a", RetentionHours: 1}, CodeRetentionMode},
		{NewQueue{Name: "a", Mode: FIFO, RetentionHours: 72}, CodeRetentionMode},
		{NewQueue{Name: "a", Mode: KafkaHT, RetentionHours: 73}, CodeRetention},
		{NewQueue{Name: "a", Mode: KafkaHT, RetentionHours: -1}, CodeRetention},
		{NewQueue{Name: "a", Mode: FIFO, Partitions: 2}, CodeFormat},
		{NewQueue{Name: "a", Partitions: 201}, CodeFormat},
		{NewQueue{Name: "a", RetryBackoff: "-1"}, CodeFormat},
	} {
		w := newWorld(t)
		_, err := w.CreateQueue(w.ctx, project, c.n)
		require.Equal(t, c.code, code(t, err), "%+v", c.n)
		require.Empty(t, w.broker.docs)
		require.Empty(t, w.broker.topics)
	}
	w := newWorld(t)
	longest := NewQueue{Name: strings.Repeat("a", 64), Description: text(160, ""), Redrive: true, MaxConsumeCount: 100, Partitions: 200, RetryBackoff: "100,2,1000"}
	_, err := w.CreateQueue(w.ctx, project, longest)
	require.NoError(t, err)
	for _, bad := range []string{"", "a/b", "a b", strings.Repeat("a", 65)} {
		_, err = w.CreateQueue(w.ctx, bad, NewQueue{Name: "a"})
		require.Equal(t, CodeProject, code(t, err))
	}
}

func TestNamesThatArePathsHaveTheirCodes(t *testing.T) {
	w := newWorld(t)
	id, group := w.queue(NewQueue{})
	absent, absentGroup := newUUID(), "g-"+newUUID()
	for _, c := range []struct {
		queue, group string
		code         int
	}{
		{"orders", group, CodeQueueID}, {strings.ToUpper(id), group, CodeQueueID}, {id + "0", group, CodeQueueID}, {"", group, CodeQueueID},
		{absent, group, CodeQueueNotFound}, {id, absentGroup, CodeGroupNotFound}, {id, absent, CodeGroupID}, {id, "", CodeGroupID}, {id, "g-", CodeGroupID},
	} {
		_, err := w.Receive(w.ctx, project, c.queue, c.group, usual())
		require.Equal(t, c.code, code(t, err), c)
		_, err = w.Ack(w.ctx, project, c.queue, c.group, false, []Ack{{Handle: "x"}})
		require.Equal(t, c.code, code(t, err), c)
		require.Equal(t, c.code, code(t, w.DeleteGroup(w.ctx, project, c.queue, c.group)), c)
		if c.group == group {
			_, err = w.Queue(w.ctx, project, c.queue)
			require.Equal(t, c.code, code(t, err), c)
			_, err = w.Send(w.ctx, project, c.queue, []Message{{Body: []byte(`1`)}})
			require.Equal(t, c.code, code(t, err), c)
			require.Equal(t, c.code, code(t, w.DeleteQueue(w.ctx, project, c.queue)), c)
			_, err = w.CreateGroups(w.ctx, project, c.queue, []string{"a"})
			require.Equal(t, c.code, code(t, err), c)
		}
	}
}

func TestQueuesOfAProjectAreBoundedAndTheirNamesUniqueWhoeverMakesThem(t *testing.T) {
	broker := newFake(t)
	ctx := t.Context()
	services := []*Service{New(Options{Broker: broker, MaxQueues: 7}), New(Options{Broker: broker, MaxQueues: 7})}
	var mu sync.Mutex
	made, codes := map[string]int{}, map[int]int{}
	var all sync.WaitGroup
	for i := range 24 {
		name := fmt.Sprint("queue-", i%12) // each name twice, once from each service
		all.Go(func() {
			_, err := services[i/12].CreateQueue(ctx, project, NewQueue{Name: name})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				made[name]++
				return
			}
			codes[code(t, err)]++
		})
	}
	all.Wait()
	require.Len(t, made, 7, "codes %v", codes)
	for name, n := range made {
		require.Equal(t, 1, n, name)
	}
	require.Equal(t, 17, codes[CodeQuota]+codes[CodeQueueExists])
	quota, err := services[0].Quota(ctx, project)
	require.NoError(t, err)
	require.Equal(t, Quota{Limit: 7, Used: 7, Min: 0, Max: 500}, quota)

	list, err := services[1].Queues(ctx, project)
	require.NoError(t, err)
	require.NoError(t, services[1].DeleteQueue(ctx, project, list[0].ID))
	_, err = services[0].CreateQueue(ctx, project, NewQueue{Name: list[0].Name})
	require.NoError(t, err, "name and room of a deleted queue are free")
	_, err = services[0].CreateQueue(ctx, project, NewQueue{Name: list[0].Name})
	require.Equal(t, CodeQueueExists, code(t, err))
	_, err = services[0].CreateQueue(ctx, project, NewQueue{Name: "one-more"})
	require.Equal(t, CodeQuota, code(t, err))
}

func TestADeletedQueueLeavesNothingBehind(t *testing.T) {
	w := newWorld(t)
	id, group := w.queue(NewQueue{Redrive: true, MaxConsumeCount: 1})
	w.send(id, `1`, `2`)
	_, err := w.Send(w.ctx, project, id, []Message{{Body: []byte(`3`), Delay: time.Hour}})
	require.NoError(t, err)
	got := w.receive(id, group)
	_, err = w.Ack(w.ctx, project, id, group, false, handles(got, false))
	require.NoError(t, err)
	w.receive(id, group) // leased when the queue goes
	require.NoError(t, w.PutTag(w.ctx, project, id, Tag{"env", "prod"}))

	require.NoError(t, w.DeleteQueue(w.ctx, project, id))
	require.Empty(t, w.broker.topics)
	require.Empty(t, w.broker.groups)
	require.Empty(t, w.broker.settings)
	require.Empty(t, w.broker.delays)
	for key := range w.broker.docs {
		require.True(t, strings.HasPrefix(key, private.KindSecrets) || key == private.KindQueueNames+"\n"+project+"/", "%q is left", key)
	}
	require.Equal(t, CodeQueueNotFound, code(t, w.DeleteQueue(w.ctx, project, id)))
	_, err = w.Ack(w.ctx, project, id, group, false, handles(got, true))
	require.Equal(t, CodeQueueNotFound, code(t, err))
}

func TestGroupsAreShareGroupsWithTheQueuesSettings(t *testing.T) {
	w := newWorld(t)
	id, group := w.queue(NewQueue{Mode: FIFO, Redrive: true, MaxConsumeCount: 4, RetryBackoff: "100,2"})
	require.Equal(t, map[string]string{
		"share.acquisition.durable": "true", "share.auto.offset.reset": "earliest", "share.window.max.records": "100000", "share.failure.count.limit": "4",
		"share.order": "partition", "share.retry.backoff.ms": "100,2", "errors.deadletterqueue.topic.name": "q-" + project + "-" + id + "-dlq-" + group,
		"errors.deadletterqueue.copy.record.enable": "true",
	}, w.broker.settings[group])
	require.Contains(t, w.broker.groups, group)
	require.True(t, private.IsQueueGroup(group))

	kafka, other := w.queue(NewQueue{Name: "clicks", Mode: KafkaHT})
	require.Contains(t, w.broker.groups, "http."+other)
	require.NotContains(t, w.broker.groups, other, "the id stays free for Kafka clients")
	require.Equal(t, "0", w.broker.settings["http."+other]["share.failure.count.limit"])
	require.NotContains(t, w.broker.settings["http."+other], "share.order")
	w.send(kafka, `1`)
	require.Equal(t, "1", bodies(w.receive(kafka, other)))
	require.NoError(t, w.DeleteGroup(w.ctx, project, kafka, other))
	require.NotContains(t, w.broker.groups, "http."+other)
}

func TestGroupsAreMadeAllOrNone(t *testing.T) {
	w := newWorld(t)
	id, _ := w.queue(NewQueue{})
	for _, c := range []struct {
		names []string
		code  int
	}{
		{nil, CodeFormat},
		{[]string{""}, CodeGroupNameLength},
		{[]string{strings.Repeat("a", 33)}, CodeGroupNameLength},
		{[]string{"audit", "a b"}, CodeName},
		{[]string{"audit", "audit"}, CodeGroupExists},
		{[]string{"audit", "billing"}, CodeGroupExists},
		{[]string{"a", "b", "c"}, CodeTooManyGroups},
		{[]string{"a", "b", "c", "d"}, CodeTooManyGroups},
	} {
		_, err := w.CreateGroups(w.ctx, project, id, c.names)
		require.Equal(t, c.code, code(t, err), c.names)
		list, err := w.Groups(w.ctx, project, id, GroupsQuery{})
		require.NoError(t, err)
		require.Len(t, list.Groups, 1)
		require.Len(t, w.broker.groups, 1)
	}
	made, err := w.CreateGroups(w.ctx, project, id, []string{"zeta", strings.Repeat("a", 32)})
	require.NoError(t, err)
	list, err := w.Groups(w.ctx, project, id, GroupsQuery{Counts: true})
	require.NoError(t, err)
	require.Equal(t, []string{"billing", "zeta", strings.Repeat("a", 32)}, []string{list.Groups[0].Name, list.Groups[1].Name, list.Groups[2].Name})
	require.Equal(t, made[1].ID, list.Groups[2].ID)
	require.Equal(t, 3, list.Queue.Groups)

	require.NoError(t, w.DeleteGroup(w.ctx, project, id, made[0].ID))
	require.Equal(t, CodeGroupNotFound, code(t, w.DeleteGroup(w.ctx, project, id, made[0].ID)))
	_, err = w.CreateGroups(w.ctx, project, id, []string{"zeta"})
	require.NoError(t, err)
}

func TestGroupsOfAQueueAreBoundedWhoeverMakesThem(t *testing.T) {
	broker := newFake(t)
	ctx := t.Context()
	services := []*Service{New(Options{Broker: broker}), New(Options{Broker: broker})}
	q, err := services[0].CreateQueue(ctx, project, NewQueue{Name: "orders"})
	require.NoError(t, err)
	var all sync.WaitGroup
	for i := range 12 {
		all.Go(func() {
			_, err := services[i%2].CreateGroups(ctx, project, q.ID, []string{"g" + strconv.Itoa(i%4)})
			if err != nil && !slices.Contains([]int{CodeTooManyGroups, CodeGroupExists}, code(t, err)) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	list, err := services[1].Groups(ctx, project, q.ID, GroupsQuery{})
	require.NoError(t, err)
	names := map[string]bool{}
	for _, g := range list.Groups {
		names[g.Name] = true
	}
	require.Len(t, names, 3)
	require.Len(t, list.Groups, 3)
	require.Len(t, broker.groups, 3)
}
